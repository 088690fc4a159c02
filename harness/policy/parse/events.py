"""What an event is and where events are kept: the folders `events/`, `clickhouse/` and `influxdb/`, as they are.

Nothing in them is rewired: the copy holds them byte for byte.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import jsonschema_rs
import orjson

from harness.model.findings import Finding, Severity, Subject
from harness.model.policy import ComponentPolicy
from harness.model.source import Span
from harness.policy.parse.files import Folder

COLLECTOR: Final = "event-collector"
"""The kind of component that reads the schemas of events."""

CLICKHOUSE: Final = "clickhouse"
"""The kind of component that runs the SQL files."""

INFLUXDB: Final = "influxdb"
"""The kind of component that reads a configuration and runs files of InfluxQL."""

SCHEMAS: Final = "events"
SQL: Final = "clickhouse"


def native(folder: Folder, components: Sequence[ComponentPolicy], found: list[Finding]) -> tuple[str, ...]:
    """The files that the components of these policies read; `found` takes what is wrong with them.

    Only of components that are declared: a folder that nobody reads is nobody's mistake.
    """
    names: list[str] = []
    for kind, pattern, what in (
        (COLLECTOR, f"{SCHEMAS}/*.schema.json", "no event is accepted"),
        (CLICKHOUSE, f"{SQL}/*.sql", "it has no table that events could be kept in"),
        (INFLUXDB, f"{INFLUXDB}/influxdb.conf", "nothing says how it is run"),
        (INFLUXDB, f"{INFLUXDB}/*.iql", "it has no database that anything could be kept in"),
    ):
        readers = [component for component in components if component.kind == kind]
        if not readers:
            continue
        matching = folder.matching(pattern, "stack.yaml") or []
        if not matching:
            found.append(
                Finding(
                    "events/missing",
                    Severity.ERROR,
                    readers[0].span,
                    f"there is no {pattern}: {what}",
                    subject=Subject("component", readers[0].name),
                )
            )
        for name in matching:
            text = folder.read(name)
            if text is not None and kind == COLLECTOR:
                found.extend(_schema(text, folder.shown(name), name))
        names.extend(name for name in matching if name in folder.texts)
    return tuple(names)


def _schema(text: str, file: str, name: str) -> list[Finding]:
    """What is wrong with a schema of events."""
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        return [_wrong(file, name, f"this is not JSON: {error.msg}", error.lineno, error.colno)]
    if not isinstance(document, dict):
        return [_wrong(file, name, "this is not a JSON Schema: it is no object")]
    try:
        jsonschema_rs.Draft202012Validator(document)
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as error:
        return [_wrong(file, name, f"this is not a JSON Schema: {str(error).splitlines()[0]}")]
    return []


def _wrong(file: str, name: str, summary: str, line: int = 1, column: int = 1) -> Finding:
    return Finding(
        "events/schema", Severity.ERROR, Span(file, line, column, line, column), summary, subject=Subject("file", name)
    )
