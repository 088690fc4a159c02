"""What records of logs and events look like: `logs/*.schema.json` and `events/*.schema.json`, one a source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import jsonschema_rs
import orjson

from harness.model.findings import Finding, Subject
from harness.model.records import IDENTITY_FIELD, RecordSchema
from harness.model.source import Span
from harness.policy.parse import json_tree
from harness.policy.parse.files import Folder
from harness.policy.parse.reading import Parsed, Reading
from harness.policy.parse.yaml import Table

PATTERNS: Final = ("logs/*.schema.json", "events/*.schema.json")

SUFFIX: Final = ".schema.json"

IDENTITY_KEY: Final = "x-tocsin-identity"
"""The key of a schema that says where its records carry their identity."""


def load(folder: Folder, found: list[Finding]) -> tuple[RecordSchema, ...]:
    """The schemas of a policies folder, none where it has none; `found` takes what is wrong with them.

    A file of which somebody else has told already that it is no schema is not told of twice.
    """
    schemas: dict[str, RecordSchema] = {}
    for name in (name for pattern in PATTERNS for name in folder.matching(pattern, "stack.yaml") or ()):
        text = folder.read(name)
        if text is None:
            continue
        parsed = parse(text, folder.shown(name), name)
        if folder.shown(name) not in {finding.span.file for finding in found}:
            found.extend(parsed.findings)
        if parsed.value is None:
            continue
        first = schemas.setdefault(parsed.value.source, parsed.value)
        if first is not parsed.value:
            reading = Reading("records", folder.shown(name))
            reading.error(
                "duplicate",
                reading.start(),
                f"{first.file} speaks of the records of {first.source!r} already",
                fix="a source is called as its file, in `logs/` and `events/` together; rename one of them",
                about=Subject("file", name),
            )
            found.extend(reading.findings)
    return tuple(schemas.values())


def parse(text: str, file: str, name: str) -> Parsed[RecordSchema | None]:
    """Reads one schema.

    Args:
        text: the file's text.
        file: how it is shown in findings.
        name: its path relative to the policies folder.
    """
    reading = Reading("records", file)
    table = json_tree.read(reading, text)
    if table is None or reading.findings:
        return Parsed(None, tuple(reading.findings))
    document: Any = orjson.loads(text)
    about = Subject("file", name)
    try:
        jsonschema_rs.Draft202012Validator(document)
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as error:
        path = list(getattr(error, "instance_path", ()))
        summary = f"this is no JSON Schema: {str(error).splitlines()[0]}"
        reading.error("not-a-schema", _at(table, path), summary, about=about)
        return Parsed(None, tuple(reading.findings))
    properties = document.get("properties")
    if not properties:
        where = table.key("properties")
        reading.error(
            "no-fields",
            where.span if where is not None else reading.start(),
            "the schema declares no field, so nobody could see that a record has lost one",
            fix="list the fields of a record under `properties`",
            about=about,
        )
        return Parsed(None, tuple(reading.findings))
    field = document.get(IDENTITY_KEY, IDENTITY_FIELD)
    if not isinstance(field, str) or not all(field.split(".")):
        reading.error(
            "identity",
            _at(table, [IDENTITY_KEY]),
            f"`{IDENTITY_KEY}` must be the name of a field, with dots between",
            fix=f"leave it away for `{IDENTITY_FIELD}`",
            about=about,
        )
        return Parsed(None, tuple(reading.findings))
    _identity(reading, table, document, field, about)
    source = name.rpartition("/")[2].removesuffix(SUFFIX)
    return Parsed(RecordSchema(source, name, document, field), tuple(reading.findings))


def _identity(reading: Reading, table: Table, document: Mapping[str, Any], field: str, about: Subject) -> None:
    """A record without its identity is never found again: every part of the way to it must be required."""
    schema: Any = document
    path: list[str] = []
    for part in field.split("."):
        required = schema.get("required", ()) if isinstance(schema, Mapping) else ()
        properties = schema.get("properties", {}) if isinstance(schema, Mapping) else {}
        if part not in properties or part not in required:
            missing = "declared" if part not in properties else "required"
            reading.error(
                "identity-not-required",
                _at(table, [*path, "required" if part in properties else "properties"]),
                f"the identity of a record, `{field}`, is not {missing}",
                details="what bears no identity cannot be found again, and would count as lost",
                fix=f"declare `{part}` under `properties` and name it in `required`",
                about=about,
            )
            return
        path += ["properties", part]
        schema = properties[part]


def _at(table: Table, path: Sequence[str | int]) -> Span:
    """Where a part of the document stands: its key, or the nearest one on the way to it."""
    span, node = table.span, table
    for part in path:
        if not isinstance(node, Table) or not isinstance(part, str):
            break
        key, value = node.key(part), node.get(part)
        if key is None or value is None:
            break
        span = key.span
        if not isinstance(value, Table):
            break
        node = value
    return span
