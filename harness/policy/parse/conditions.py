"""conditions.yaml: what the monitoring plan asks for, and which alert answers it, to whom and by when."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from harness.model.findings import Subject
from harness.model.policy import Asked, Condition, Priority
from harness.model.source import Span
from harness.policy.parse import schema
from harness.policy.parse.reading import Parsed, Reading
from harness.policy.parse.yaml import Table

# What a deadline falls back to where it cannot be read, which is a finding.
_NOTHING = timedelta(0)


@dataclass(frozen=True, slots=True)
class Placed:
    """A condition, and where its words stand that other files must agree with."""

    condition: Condition
    alert: Span
    priority: Span
    channels: Span
    deadline: Span


def parse(text: str, file: str) -> Parsed[tuple[Placed, ...]]:
    """Reads a conditions.yaml; there are none where the file does not fit its schema."""
    reading = Reading("condition", file)
    document = reading.document(text)
    if document is None:
        return Parsed((), tuple(reading.findings))
    reading.findings.extend(schema.validate(document, "conditions"))
    if reading.findings:
        return Parsed((), tuple(reading.findings))
    placed: dict[tuple[str, str], Placed] = {}
    for entry in reading.tables(document.get("conditions"), "conditions"):
        one = _placed(reading, entry)
        what, alert = one.condition.what, one.condition.alert
        first = placed.setdefault((what, alert), one)
        if first is not one:
            reading.error(
                "duplicate",
                entry.span,
                f"{what!r} is answered by {alert!r} twice",
                details=f"it stands first at {first.condition.span}",
                about=Subject("condition", what),
            )
    return Parsed(tuple(placed.values()), tuple(reading.findings))


def _placed(reading: Reading, entry: Table) -> Placed:
    def text(key: str) -> str:
        scalar = reading.scalar(entry.get(key), key)
        return scalar.text if scalar else ""

    def span(key: str) -> Span:
        node = entry.get(key)
        return node.span if node is not None else entry.span

    return Placed(
        condition=Condition(
            what=text("what"),
            asked=Asked(text("asks")),
            severity=text("severity") or None,
            alert=text("alert"),
            priority=Priority(text("priority")),
            channels=tuple(scalar.text for scalar in reading.scalars(entry.get("channels"), "channels")),
            deadline=reading.duration(entry.get("deadline"), "deadline", _NOTHING),
            span=entry.span,
        ),
        alert=span("alert"),
        priority=span("priority"),
        channels=span("channels"),
        deadline=span("deadline"),
    )
