"""drills.yaml: for every alert the faults that must raise it, who must hear it, by when."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType

from harness.model.findings import Subject
from harness.model.policy import Drill, NotDrilled, Priority, PriorityRule
from harness.model.source import Span
from harness.policy.parse import schema
from harness.policy.parse.reading import Parsed, Reading
from harness.policy.parse.yaml import Node, Table

# What a text field falls back to where the schema has already said that it is not there.
_NOTHING = timedelta(0)

_FAULT_LISTS = ("also", "although", "nightly")


@dataclass(frozen=True, slots=True)
class Named:
    """A word that must mean something elsewhere (an alert, a fault, a channel), and where it stands."""

    word: str
    span: Span


@dataclass(frozen=True, slots=True)
class Names:
    """Every word of drills.yaml that other files or the harness must know, for findings at the very word."""

    drilled: tuple[Named, ...]
    not_drilled: tuple[Named, ...]
    tolerated: tuple[Named, ...]
    faults: tuple[Named, ...]
    channels: tuple[Named, ...]


@dataclass(frozen=True, slots=True)
class Drills:
    """What drills.yaml says."""

    priorities: Mapping[Priority, PriorityRule]
    drills: tuple[Drill, ...]
    not_drilled: tuple[NotDrilled, ...]
    names: Names


def parse(text: str, file: str) -> Parsed[Drills]:
    """Reads a drills.yaml; its entries are empty where the file does not fit its schema."""
    reading = Reading("drill", file)
    document = reading.document(text)
    nothing = Drills(MappingProxyType({}), (), (), Names((), (), (), (), ()))
    if document is None:
        return Parsed(nothing, tuple(reading.findings))
    reading.findings.extend(schema.validate(document, "drills"))
    if reading.findings:
        return Parsed(nothing, tuple(reading.findings))
    priorities = _priorities(reading, document)
    entries = tuple(reading.tables(document.get("drills"), "drills"))
    excused = tuple(reading.tables(document.get("not_drilled"), "not_drilled"))
    drills = tuple(_drill(reading, entry) for entry in entries)
    not_drilled = tuple(
        NotDrilled(_text(reading, entry, "alert"), _text(reading, entry, "why"), entry.span) for entry in excused
    )
    rules = reading.table(document.get("priorities"), "priorities")
    names = Names(
        drilled=_named(reading, entries, "alert"),
        not_drilled=_named(reading, excused, "alert"),
        tolerated=_listed(reading, entries, "tolerates"),
        faults=(
            *_named(reading, entries, "fault"),
            *(named for key in _FAULT_LISTS for named in _listed(reading, entries, key)),
        ),
        channels=(
            *_listed(reading, [entry.value for entry in rules.entries] if rules else (), "channels"),
            *_listed(reading, entries, "channels"),
        ),
    )
    for entry in entries:
        _faults_once(reading, entry)
    for drill in drills:
        if drill.priority not in priorities:
            reading.error(
                "no-priority",
                drill.span,
                f"the drill of {drill.alert!r} has priority {drill.priority}, of which `priorities` says nothing",
                fix=f"add `{drill.priority}` under `priorities`, with its channels and its deadline",
                about=Subject("drill", drill.alert),
            )
    return Parsed(Drills(MappingProxyType(priorities), drills, not_drilled, names), tuple(reading.findings))


def _priorities(reading: Reading, document: Table) -> dict[Priority, PriorityRule]:
    priorities: dict[Priority, PriorityRule] = {}
    table = reading.table(document.get("priorities"), "priorities")
    for entry in table.entries if table else ():
        rule = reading.table(entry.value, entry.key.text)
        if rule is None:
            continue
        since = rule.get("since_condition")
        priorities[Priority(entry.key.text)] = PriorityRule(
            priority=Priority(entry.key.text),
            channels=tuple(channel.text for channel in reading.scalars(rule.get("channels"), "channels")),
            deadline=reading.duration(rule.get("deadline"), "deadline", _NOTHING),
            since_condition=None if since is None else reading.duration(since, "since_condition", _NOTHING),
            span=entry.key.span,
        )
    return priorities


def _drill(reading: Reading, entry: Table) -> Drill:
    return Drill(
        alert=_text(reading, entry, "alert"),
        priority=Priority(_text(reading, entry, "priority")),
        fault=_text(reading, entry, "fault"),
        tolerates=_words(reading, entry, "tolerates"),
        span=entry.span,
        also=_words(reading, entry, "also"),
        channels=_words(reading, entry, "channels") or None,
        although=_words(reading, entry, "although"),
        nightly=_words(reading, entry, "nightly"),
    )


def _faults_once(reading: Reading, entry: Table) -> None:
    """A fault has one part in a drill: one that stands twice would be tried twice as often, or once by mistake."""
    first: dict[str, Named] = {}
    for named in (
        *_named(reading, (entry,), "fault"),
        *(named for key in _FAULT_LISTS for named in _listed(reading, (entry,), key)),
    ):
        if named.word in first:
            alert = _text(reading, entry, "alert")
            reading.error(
                "fault-twice",
                named.span,
                f"the drill of {alert!r} names the fault {named.word!r} twice",
                details=f"it stands first at {first[named.word].span}",
                fix="leave it where it belongs: `fault` and `also` in every profile, `nightly` and `although` at night",
                about=Subject("drill", alert),
            )
        first.setdefault(named.word, named)


def _words(reading: Reading, entry: Table, key: str) -> tuple[str, ...]:
    return tuple(scalar.text for scalar in reading.scalars(entry.get(key), key))


def _text(reading: Reading, entry: Table, key: str) -> str:
    scalar = reading.scalar(entry.get(key), key)
    return scalar.text if scalar else ""


def _named(reading: Reading, entries: Iterable[Table], key: str) -> tuple[Named, ...]:
    found = (reading.scalar(entry.get(key), key) for entry in entries)
    return tuple(Named(scalar.text, scalar.span) for scalar in found if scalar)


def _listed(reading: Reading, entries: Iterable[Node], key: str) -> tuple[Named, ...]:
    tables = (entry for entry in entries if isinstance(entry, Table))
    return tuple(Named(item.text, item.span) for table in tables for item in reading.scalars(table.get(key), key))
