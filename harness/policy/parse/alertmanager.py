"""alertmanager.yml: receivers with their integrations, the routes that lead to them, templates."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final
from urllib.parse import urlsplit

from harness.model.findings import Subject
from harness.model.matching import Inhibition
from harness.model.policy import Integration, Receiver
from harness.model.time import parse_duration
from harness.policy.parse import inhibitions
from harness.policy.parse.reading import Parsed, Reading
from harness.policy.parse.suggest import hint
from harness.policy.parse.yaml import Scalar, Table

_GROUP_WAIT: Final = timedelta(seconds=30)  # Alertmanager's own default

INTEGRATION_SUFFIX = "_configs"
"""Every list of integrations in a receiver has a key that ends so: `email_configs`, `slack_configs`, …"""

WEBHOOK = "webhook_configs"
"""The key of integrations that call a URL: a channel's, or that of a component of ours (the dead man's listener)."""


@dataclass(frozen=True, slots=True)
class AlertmanagerConfig:
    """What the rest of the house needs of alertmanager.yml; `routed` are the receivers that routes name.

    `waits` says of each of them how soon it is told at the soonest: the shortest `group_wait` of its routes.
    """

    receivers: tuple[Receiver, ...]
    routed: tuple[Scalar, ...]
    templates: tuple[Scalar, ...]
    inhibitions: tuple[Inhibition, ...] = ()
    waits: Mapping[str, timedelta] = field(default_factory=dict)


def parse(text: str, file: str) -> Parsed[AlertmanagerConfig]:
    """Reads an alertmanager.yml."""
    reading = Reading("alertmanager", file)
    document = reading.document(text)
    if document is None:
        return Parsed(AlertmanagerConfig((), (), ()), tuple(reading.findings))
    receivers = _receivers(reading, document)
    routed: list[Scalar] = []
    waits: dict[str, timedelta] = {}
    route = reading.table(document.get("route"), "route")
    if route is None:
        if document.get("route") is None or isinstance(document.get("route"), Scalar):
            reading.error("no-route", document.span, "there is no `route`: Alertmanager does not start without one")
    else:
        if reading.scalar(route.get("receiver"), "receiver") is None:
            reading.error("no-default-receiver", route.span, "the first route has no receiver")
        _routes(reading, route, routed)
        _waits(reading, route, ("", _GROUP_WAIT), waits)
    names = {receiver.name for receiver in receivers}
    for scalar in routed:
        if scalar.text not in names:
            reading.error(
                "unknown-receiver",
                scalar.span,
                f"a route leads to the receiver {scalar.text!r}, which there is not",
                fix=hint(scalar.text, names),
                about=Subject("receiver", scalar.text),
            )
    templates = tuple(reading.scalars(document.get("templates"), "templates"))
    silencing = inhibitions.read(reading, document)
    return Parsed(AlertmanagerConfig(receivers, tuple(routed), templates, silencing, waits), tuple(reading.findings))


def _receivers(reading: Reading, document: Table) -> tuple[Receiver, ...]:
    receivers: dict[str, Receiver] = {}
    for entry in reading.tables(document.get("receivers"), "receivers"):
        name = reading.scalar(entry.get("name"), "name")
        if name is None:
            reading.error("receiver-without-name", entry.span, "a receiver has no name")
            continue
        if name.text in receivers:
            reading.error(
                "duplicate-receiver",
                name.span,
                f"two receivers are called {name.text!r}",
                details=f"the first stands at {receivers[name.text].span}",
                about=Subject("receiver", name.text),
            )
            continue
        integrations = tuple(
            Integration(item.key.text, integration.span, _called(integration) if item.key.text == WEBHOOK else "")
            for item in entry.entries
            if item.key.text.endswith(INTEGRATION_SUFFIX)
            for integration in reading.tables(item.value, item.key.text)
        )
        receivers[name.text] = Receiver(name.text, integrations, entry.span)
    return tuple(receivers.values())


def _called(webhook: Table) -> str:
    url = webhook.get("url")
    return webhook_address(url.text) if isinstance(url, Scalar) else ""


def webhook_address(url: str) -> str:
    """The `host:port` that a webhook calls, as stack.yaml would name it; "" where the URL has none."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return ""
    return f"{host}:{port or {'http': 80, 'https': 443}.get(parts.scheme, 0)}" if host else ""


def _routes(reading: Reading, route: Table, routed: list[Scalar]) -> None:
    receiver = reading.scalar(route.get("receiver"), "receiver")
    if receiver is not None:
        routed.append(receiver)
    for child in reading.tables(route.get("routes"), "routes"):
        _routes(reading, child, routed)


def _waits(reading: Reading, route: Table, above: tuple[str, timedelta], waits: dict[str, timedelta]) -> None:
    """Notes how soon each receiver is told; what a route does not say its parent does."""
    receiver, wait = above
    named, stated = route.get("receiver"), route.get("group_wait")
    if isinstance(named, Scalar):
        receiver = named.text
    if isinstance(stated, Scalar):
        with suppress(ValueError):  # Alertmanager refuses such a file by itself
            wait = parse_duration(stated.text)
    waits[receiver] = min(wait, waits.get(receiver, wait))
    for child in reading.tables(route.get("routes"), "routes"):
        _waits(reading, child, (receiver, wait), waits)
