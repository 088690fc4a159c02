"""dead-man.yaml: what the dead man's listener says when no heartbeat comes, when, and to whom.

The listener (harness/stack/listener) and the policies are read by the same function, so that what is checked is what
runs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from harness.model.findings import Subject
from harness.model.policy import PLACEHOLDER, Alert
from harness.policy.parse import schema
from harness.policy.parse.reading import Parsed, Reading
from harness.policy.parse.yaml import Node, Table

KIND: Final = "dead-mans-listener"
"""What stack.yaml calls the component that reads this file."""

LISTENER: Final = "listener"
"""What `Alert.told_by` says of an alert that the listener raises."""

CHANNELS: Final = ("email", "slack", "discord")
"""The channels that the listener can speak through; each is a key of the file."""

_WATCHDOG = "Watchdog"
_GRACE = timedelta(minutes=1)
_REPEAT = timedelta(hours=1)
_BRACES = re.compile(r"\{\{|\}\}")


@dataclass(frozen=True, slots=True)
class Secret:
    """A password or a URL that is one: itself, or the file that holds it. It is not shown by `repr`."""

    value: str = field(repr=False)
    file: str


@dataclass(frozen=True, slots=True)
class Email:
    """A mail server, `smarthost` as `host:port`, and who is told; `recipients` are addresses."""

    smarthost: str
    sender: str
    recipients: tuple[str, ...]
    username: str
    password: Secret


@dataclass(frozen=True, slots=True)
class Webhook:
    """An incoming webhook; `channel` is "" where the webhook's own is meant."""

    url: Secret
    channel: str = ""


@dataclass(frozen=True, slots=True)
class DeadMan:
    """What dead-man.yaml says.

    `watchdog` is the alert whose messages are heartbeats. It speaks after `silence` without one, or after `grace` where
    none came since its start, and again every `repeat`.
    """

    alert: Alert
    watchdog: str
    silence: timedelta
    grace: timedelta
    repeat: timedelta
    email: Email | None
    slack: Webhook | None
    discord: Webhook | None

    @property
    def channels(self) -> tuple[str, ...]:
        """The channels that it speaks through."""
        present = zip(CHANNELS, (self.email, self.slack, self.discord), strict=True)
        return tuple(name for name, where in present if where is not None)


def parse(text: str, file: str) -> Parsed[DeadMan | None]:
    """Reads a dead-man.yaml; None where it does not fit its schema."""
    reading = Reading("dead-man", file)
    document = reading.document(text)
    if document is None:
        return Parsed(None, tuple(reading.findings))
    reading.findings.extend(schema.validate(document, "dead-man"))
    if reading.findings:
        return Parsed(None, tuple(reading.findings))
    alert = _alert(reading, document, file)
    email, slack, discord = (document.get(name) for name in CHANNELS)
    found = DeadMan(
        alert=alert,
        watchdog=_text(reading, document, "watchdog") or _WATCHDOG,
        silence=_duration(reading, document, "silence", _GRACE),
        grace=_duration(reading, document, "grace", _GRACE),
        repeat=_duration(reading, document, "repeat", _REPEAT),
        email=_email(reading, email) if isinstance(email, Table) else None,
        slack=_webhook(reading, slack, "slack") if isinstance(slack, Table) else None,
        discord=_webhook(reading, discord, "discord") if isinstance(discord, Table) else None,
    )
    if not found.channels:
        reading.error(
            "no-channel",
            document.span,
            "the listener would speak to nobody: the file names no channel",
            fix=f"add at least one of {', '.join(CHANNELS)}",
            about=Subject("alert", alert.name),
        )
    return Parsed(None if reading.findings else found, tuple(reading.findings))


def _alert(reading: Reading, document: Table, file: str) -> Alert:
    name = reading.scalar(document.get("alert"), "alert")
    labels = reading.strings(document.get("labels"), "labels")
    annotations = reading.table(document.get("annotations"), "annotations")
    for entry in annotations.entries if annotations else ():
        _rendering(reading, entry.value, entry.key.text, labels)
    return Alert(
        name=name.text if name else "",
        expr="",
        hold=timedelta(0),
        labels=labels,
        annotations=reading.strings(annotations, "annotations"),
        group="",
        file=file,
        span=name.span if name else document.span,
        told_by=LISTENER,
    )


def _rendering(reading: Reading, node: Node, key: str, labels: Mapping[str, str]) -> None:
    """A placeholder that the listener cannot fill would reach a person as it stands."""
    scalar = reading.scalar(node, key)
    text = scalar.text if scalar else ""
    if unknown := [name for name in PLACEHOLDER.findall(text) if name not in labels]:
        summary, fix = f"{key} speaks of the label {unknown[0]!r}, which the alert does not have", "add it to `labels`"
    elif _BRACES.search(PLACEHOLDER.sub("", text)):
        summary, fix = f"{key} holds a template that the listener cannot fill", "`{{ $labels.<name> }}` is all it knows"
    else:
        return
    reading.error("template", node.span, summary, fix=fix)


def _email(reading: Reading, table: Table) -> Email:
    recipients = (part.strip() for part in _text(reading, table, "to").split(","))
    return Email(
        smarthost=_text(reading, table, "smarthost"),
        sender=_text(reading, table, "from"),
        recipients=tuple(part for part in recipients if part),
        username=_text(reading, table, "username"),
        password=_secret(reading, table, "password", "email"),
    )


def _webhook(reading: Reading, table: Table, name: str) -> Webhook:
    return Webhook(_secret(reading, table, "webhook_url", name), _text(reading, table, "channel"))


def _secret(reading: Reading, table: Table, key: str, owner: str) -> Secret:
    secret = Secret(_text(reading, table, key), _text(reading, table, f"{key}_file"))
    if bool(secret.value) == bool(secret.file):
        both = "both" if secret.value else "neither"
        reading.error(
            "secret",
            table.span,
            f"{owner} has {both} of {key} and {key}_file",
            fix=f"name the file that holds it under {key}_file" if both == "neither" else "keep one of them",
        )
    return secret


def _duration(reading: Reading, table: Table, key: str, default: timedelta) -> timedelta:
    node = table.get(key)
    if node is None:
        return default
    found = reading.duration(node, key, default)
    if not found:
        reading.error("duration", node.span, f"{key} is no time at all", fix="write a duration above zero, e.g. 12s")
    return found


def _text(reading: Reading, table: Table, key: str) -> str:
    node = table.get(key)
    scalar = reading.scalar(node, key) if node is not None else None
    return scalar.text if scalar else ""
