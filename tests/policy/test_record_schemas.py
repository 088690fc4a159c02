"""The schemas of log records, held against the records that our own writers write."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

LOGS = Path(__file__).parents[2] / "policies" / "logs"
SOURCES = ("application", "error", "nginx-access", "system")
METADATA = {"sequence": "run/epoch/1"}
HEAD = {"timestamp": "2026-11-30T04:03:05.123Z", "level": "ERROR", "service": "community-platform", "component": "a"}
RECORDS: Mapping[str, dict[str, Any]] = {
    "application": {
        **HEAD, "userId": None, "action": "login", "duration": 1.5, "status": 500, "ip": "127.0.0.1", "userAgent": None,
        "metadata": {**METADATA, "sessionId": None, "requestId": "cp-1/1/1"},
    },
    "error": {
        **HEAD, "error": {"name": "E", "message": "", "stack": "a\nb", "code": "1146"},
        "context": {"query": None, "parameters": ["***"], "duration": 12}, "metadata": METADATA,
    },
    "nginx-access": {
        **HEAD, "component": "nginx", "method": "GET", "path": "/", "protocol": "HTTP/1.1", "status": 502, "bytes": 0,
        "duration": 3, "ip": "127.0.0.1", "userAgent": "", "metadata": {**METADATA, "requestId": "ab"},
    },
    "system": {**HEAD, "text": "한국어\n", "metadata": METADATA},
}  # fmt: skip


def schema(source: str) -> dict[str, Any]:
    """A shipped schema."""
    document = json.loads((LOGS / f"{source}.schema.json").read_text(encoding="utf-8"))
    assert isinstance(document, dict)
    return document


def judge(source: str) -> jsonschema_rs.Validator:
    """What validates a source's records, formats included."""
    return jsonschema_rs.validator_for(schema(source), validate_formats=True)


def test_there_are_these_and_no_others() -> None:
    """The tests below are about every schema that there is."""
    assert {path.name for path in LOGS.iterdir()} == {f"{source}.schema.json" for source in SOURCES}


@pytest.mark.parametrize("source", SOURCES)
def test_a_schema_is_one_and_demands_an_identity(source: str) -> None:
    """JSON Schema 2020-12; the identity stands where it says, and a record without one is none."""
    document = schema(source)
    jsonschema_rs.meta.validate(document)
    assert document["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert document["x-tocsin-identity"] == "metadata.sequence"
    record = RECORDS[source]
    assert judge(source).is_valid(record)
    without = {name: value for name, value in record["metadata"].items() if name != "sequence"}
    assert not judge(source).is_valid({**record, "metadata": without})


@pytest.mark.parametrize("source", SOURCES)
def test_every_field_that_is_required_is_missed(source: str) -> None:
    """The twin of validity: without any one of its fields a record is no record."""
    record = RECORDS[source]
    assert set(record) == set(schema(source)["properties"])
    for name in record:
        assert not judge(source).is_valid({key: value for key, value in record.items() if key != name}), name


@pytest.mark.parametrize(
    ("source", "change"),
    [
        ("application", {"duration": "1.5"}),
        ("application", {"duration": -1}),
        ("application", {"status": 42}),
        ("application", {"timestamp": "yesterday"}),
        ("application", {"metadata": {**RECORDS["application"]["metadata"], "password": "x"}}),
        ("error", {"level": "INFO"}),
        ("error", {"context": {"query": None, "parameters": [1], "duration": 1}}),
        ("nginx-access", {"component": "httpd"}),
        ("nginx-access", {"duration": 0.004}),
        ("system", {"text": None}),
    ],
)
def test_a_value_that_cannot_be_is_a_violation(source: str, change: dict[str, Any]) -> None:
    """Types, ranges, and nothing foreign in what is ours alone."""
    assert not judge(source).is_valid({**RECORDS[source], **change})


@pytest.mark.parametrize("source", SOURCES)
def test_what_a_shipper_adds_is_no_violation(source: str) -> None:
    """Host, tags, the environment, the instant of its arrival."""
    added = {"host": {"name": "a"}, "tags": ["error"], "environment": "production", "event": {"ingested": "now"}}
    assert judge(source).is_valid({**RECORDS[source], **added})
