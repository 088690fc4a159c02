"""`events/`, `clickhouse/` and `influxdb/`: missing files and schemas that are none are findings, with their places."""

from __future__ import annotations

from pathlib import Path

import pytest
from policy_folders import SHIPPED, copy, loaded

from harness.errors import PolicyError
from harness.model.findings import Finding, Severity
from harness.policy.parse import events
from harness.policy.parse.files import Folder

READERS = {"event-collector", "clickhouse", "influxdb"}


def of_events(root: Path) -> list[Finding]:
    """What of its events keeps a folder from being run."""
    with pytest.raises(PolicyError) as refused:
        loaded(root)
    return [finding for finding in refused.value.findings if finding.id.startswith("events/")]


def test_the_shipped_files_are_read_whole() -> None:
    """The twin of all below: nothing is found, and every file is there for its component."""
    found: list[Finding] = []
    names = events.native(Folder(SHIPPED), loaded().policies.components, found)
    assert found == []
    for folder in ("events", "clickhouse", "influxdb"):
        there = {f"{folder}/{path.name}" for path in (SHIPPED / folder).iterdir()}
        assert there
        assert there == {name for name in names if name.startswith(f"{folder}/")}


@pytest.mark.parametrize(
    ("kind", "pattern", "told"),
    [
        ("event-collector", "events/*.schema.json", "no event is accepted"),
        ("clickhouse", "clickhouse/*.sql", "no table that events could be kept in"),
        ("influxdb", "influxdb/influxdb.conf", "nothing says how it is run"),
        ("influxdb", "influxdb/*.iql", "no database that anything could be kept in"),
    ],
)
def test_a_component_without_its_files_is_an_error(tmp_path: Path, kind: str, pattern: str, told: str) -> None:
    """At the component that would read them; no other is blamed."""
    root = copy(tmp_path, {str(path.relative_to(SHIPPED)): None for path in SHIPPED.glob(pattern)})
    [finding] = of_events(root)
    assert (finding.id, finding.severity) == ("events/missing", Severity.ERROR)
    assert finding.summary.startswith(f"there is no {pattern}: ")
    assert told in finding.summary
    assert finding.subject is not None
    assert (finding.subject.kind, finding.subject.name) == ("component", kind)
    [declared] = [one for one in loaded().policies.components if one.kind == kind]
    assert (finding.span.line, finding.span.column) == (declared.span.line, declared.span.column)
    assert finding.span.file.endswith("stack.yaml")


def test_files_that_nobody_reads_are_nobody_s_mistake(tmp_path: Path) -> None:
    """Without the component neither a missing file nor a broken one is told of, nor is any read."""
    root = copy(tmp_path, {"events/user.schema.json": "{", "clickhouse/01-events.sql": None})
    others = [one for one in loaded().policies.components if one.kind not in READERS]
    found: list[Finding] = []
    assert events.native(Folder(root), others, found) == ()
    assert found == []


@pytest.mark.parametrize(
    ("text", "place", "told"),
    [
        ('{\n  "type": "object",\n  oops\n}', (3, 3), "this is not JSON"),
        ("[1]", (1, 1), "it is no object"),
        ('{"type": 7}', (1, 1), "this is not a JSON Schema: "),
        ('{"$ref": "#/$defs/nowhere"}', (1, 1), "this is not a JSON Schema: "),
        ('{"properties": {"a": {"pattern": "("}}}', (1, 1), "this is not a JSON Schema: "),
    ],
    ids=["no JSON", "no object", "no schema", "reference", "pattern"],
)
def test_a_schema_that_is_none_is_an_error(tmp_path: Path, text: str, place: tuple[int, int], told: str) -> None:
    """In its file, at its place where JSON knows one; the others are read all the same."""
    root = copy(tmp_path, {"events/user.schema.json": text})
    [finding] = of_events(root)
    assert (finding.id, finding.severity) == ("events/schema", Severity.ERROR)
    assert told in finding.summary
    assert "\n" not in finding.summary
    assert finding.span.file.endswith("events/user.schema.json")
    assert (finding.span.line, finding.span.column) == place
    assert finding.subject is not None
    assert (finding.subject.kind, finding.subject.name) == ("file", "events/user.schema.json")
