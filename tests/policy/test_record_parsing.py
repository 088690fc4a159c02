"""Schemas of records: read with their identity, or refused with the place of what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.model.findings import Finding
from harness.policy.parse import records
from harness.policy.parse.files import Folder

GOOD = """\
{
  "type": "object",
  "required": ["level", "metadata"],
  "properties": {
    "level": {"type": "string"},
    "metadata": {"type": "object", "required": ["sequence"], "properties": {"sequence": {"type": "string"}}}
  }
}
"""


def test_a_schema_is_read() -> None:
    """Its source is the stem of its name, its fields are those that it declares."""
    parsed = records.parse(GOOD, "policies/logs/application.schema.json", "logs/application.schema.json")
    assert parsed.findings == ()
    assert parsed.value is not None
    assert (parsed.value.source, parsed.value.identity_field) == ("application", "metadata.sequence")
    assert parsed.value.fields == {"level", "metadata"}


def test_another_place_of_the_identity_is_read() -> None:
    """What is not required at the usual place may be at another."""
    text = GOOD.replace('"type": "object",\n', '"type": "object", "x-tocsin-identity": "level",\n', 1)
    parsed = records.parse(text, "f", "logs/a.schema.json")
    assert parsed.findings == ()
    assert parsed.value is not None
    assert parsed.value.identity_field == "level"


@pytest.mark.parametrize(
    ("old", "new", "at", "told"),
    [
        ('"level": {', '"level": {,', "f:5:15", "this is no JSON"),
        ('"type": "string"},\n', '"type": "strin"},\n', "f:5:15", "this is no JSON Schema"),
        (', "required": ["sequence"]', "", "f:6:5", "`metadata.sequence`, is not required"),
        ('"sequence": {"type": "string"}', "", "f:6:62", "`metadata.sequence`, is not declared"),
        ('["level", "metadata"]', '["level"]', "f:3:3", "is not required"),
        ('"type": "object",\n', '"x-tocsin-identity": 7,\n', "f:2:3", "must be the name of a field"),
        (GOOD, "[]", "f:1:1", "one JSON object"),
        (GOOD, "{}", "f:1:1", "declares no field"),
        (GOOD, "", "f:1:1", "no JSON"),
    ],
)
def test_a_wrong_schema_is_told_with_its_place(old: str, new: str, at: str, told: str) -> None:
    """Not JSON, not a schema, an identity that a record need not have."""
    parsed = records.parse(GOOD.replace(old, new, 1), "f", "logs/a.schema.json")
    (finding,) = parsed.findings
    assert told in finding.summary
    assert str(finding.span) == at


def test_a_folder_is_read_whole(tmp_path: Path) -> None:
    """Both kinds; a source that two files speak of, and a file that is no schema, are told."""
    for name, text in {
        "logs/application.schema.json": GOOD,
        "logs/user.schema.json": GOOD,
        "events/user.schema.json": GOOD,
        "events/business.schema.json": "{",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    found: list[Finding] = []
    schemas = records.load(Folder(tmp_path), found)
    assert [schema.file for schema in schemas] == ["logs/application.schema.json", "logs/user.schema.json"]
    assert [finding.id for finding in found] == ["records/not-json", "records/duplicate"]


def test_what_was_told_of_a_file_is_not_told_again(tmp_path: Path) -> None:
    """Another reader of the same file has been there."""
    (tmp_path / "events").mkdir()
    (tmp_path / "events" / "user.schema.json").write_text("{")
    found: list[Finding] = []
    records.load(Folder(tmp_path), found)
    assert len(found) == 1
    records.load(Folder(tmp_path), found)
    assert len(found) == 1


def test_a_folder_without_schemas_has_none(tmp_path: Path) -> None:
    """That is no mistake: not every team audits its logs."""
    (tmp_path / "x").touch()
    found: list[Finding] = []
    assert records.load(Folder(tmp_path), found) == ()
    assert found == []
