"""Messages: what arrived in a channel, and what Alertmanager was handed.

Their events are kinds of the ledger like those in `harness/model/events.py`, whose union names them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, TypeAlias

from harness.model.time import Instant


class Status(StrEnum):
    """What a message says of the alerts in it; `unknown` where neither can be read from it."""

    FIRING = "firing"
    RESOLVED = "resolved"
    MIXED = "mixed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class RawMessage:
    """A message as it came in at a sink, before anybody read it.

    `receiver` is the receiver's name in alertmanager.yml where the sink can tell, else "". `envelope` holds what the
    protocol said beside the body (mail from, recipients, TLS, user; request path, headers). Credentials are not kept.
    """

    id: str
    channel: str
    receiver: str
    arrived: Instant
    envelope: Mapping[str, str]
    body: str


@dataclass(frozen=True, slots=True)
class Notification:
    """A message as a person would read it: `title` is the subject or heading, `text` all that is shown below it.

    `marks` are formal properties that the channel requires and that a person does not read (Slack's `channel`, a
    mail's recipients).
    """

    id: str
    channel: str
    receiver: str
    arrived: Instant
    status: Status
    title: str
    text: str
    marks: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ReceivedAlert:
    """An alert as Prometheus posted it to Alertmanager; `starts_at`, `ends_at` in Unix seconds."""

    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    starts_at: float
    ends_at: float | None
    received: Instant

    @property
    def resolved(self) -> bool:
        """Whether the post says that the alert is over."""
        return self.ends_at is not None and self.ends_at <= self.received.wall


@dataclass(frozen=True, slots=True)
class AlertReceived:
    """Prometheus posted an alert to Alertmanager, as the recording proxy between them saw it."""

    kind: ClassVar[str] = "alert-received"
    alert: ReceivedAlert


@dataclass(frozen=True, slots=True)
class MessageArrived:
    """A message arrived in a channel."""

    kind: ClassVar[str] = "message-arrived"
    raw: RawMessage
    notification: Notification


@dataclass(frozen=True, slots=True)
class MessageInterfered:
    """A message was dropped or held back on purpose by a negative control; `until_at` for one held back."""

    kind: ClassVar[str] = "message-interfered"
    channel: str
    control: str
    lane: str
    until_at: float | None = None


@dataclass(frozen=True, slots=True)
class SinkRefused:
    """Somebody spoke to a sink and it could not take a message: wrong credentials, no TLS, broken syntax."""

    kind: ClassVar[str] = "sink-refused"
    channel: str
    why: str


MessageEvent: TypeAlias = AlertReceived | MessageArrived | MessageInterfered | SinkRefused
"""What a ledger tells of messages."""
