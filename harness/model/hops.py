"""Hops: the stations that an alert passes on its way to a person.

Families are open: an alert's is defined here; logs and browsers bring theirs with the issue that delivers them, and
the ledger carries any family (`tests/observe/test_ledger.py` holds that).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Hop(StrEnum):
    """The hops of an alert, in order.

    injected: the fault's effect is proven, the condition is true in the world (t0).
    visible: the first raw sample after t0 of a series that the rule reads is in Prometheus.
    pending, firing: the first raw `ALERTS{alertstate=…}` sample after t0.
    received: Alertmanager was handed the alert.
    notified: the message arrived in the channel.
    displayed: a device confirmed it.
    resolved: the message that it is over arrived in the channel.
    """

    INJECTED = "injected"
    VISIBLE = "visible"
    PENDING = "pending"
    FIRING = "firing"
    RECEIVED = "received"
    NOTIFIED = "notified"
    DISPLAYED = "displayed"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True)
class HopFamily:
    """A named, ordered set of hops, e.g. those of an alert or of a log record."""

    name: str
    hops: tuple[str, ...]


ALERT_HOPS = HopFamily("alert", tuple(Hop))

# Who is to blame when the trail ends at this hop: the first part that should have carried it on.
NEXT_PART: Mapping[Hop, str] = {
    Hop.INJECTED: "prometheus (scrape) or the exporter",
    Hop.VISIBLE: "prometheus (the rule)",
    Hop.PENDING: "prometheus (the rule's hold)",
    Hop.FIRING: "prometheus (sending to Alertmanager)",
    Hop.RECEIVED: "alertmanager (route, receiver) or the channel",
    Hop.NOTIFIED: "the channel",
    Hop.DISPLAYED: "the device",
}
