"""docs/policies.md: its examples are read by the parsers that read the files, and its tables name what there is."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from policy_folders import KINDS

from harness.policy.parse import conditions, drills, record_drills, stack, targets
from harness.policy.parse.reading import Parsed
from harness.policy.parse.targets import TARGET_IDS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "policies.md").read_text(encoding="utf-8")
EXAMPLES = {match.group(1): match.group(2) for match in re.finditer(r"```yaml\n# (\S+)\n(.*?)```", PAGE, re.DOTALL)}
PARSERS: Mapping[str, Callable[[str, str], Parsed[object]]] = {
    "drills.yaml": drills.parse,
    "targets.yaml": targets.parse,
    "stack.yaml": stack.parse,
    "conditions.yaml": conditions.parse,
    "record-drills.yaml": record_drills.parse,
}


def test_each_file_has_an_example() -> None:
    """The page shows all of our own files, and no YAML that is not held by a test."""
    assert set(EXAMPLES) == set(PARSERS)
    assert PAGE.count("```yaml") == len(EXAMPLES)


@pytest.mark.parametrize("name", PARSERS)
def test_the_example_is_right(name: str) -> None:
    """A reader may copy it: it has no mistakes (a page need not declare all nine targets)."""
    parsed = PARSERS[name](EXAMPLES[name], name)
    assert [finding for finding in parsed.findings if finding.id != "target/missing"] == []
    assert parsed.value


@pytest.mark.parametrize("name", PARSERS)
def test_every_key_is_explained(name: str) -> None:
    """Each key that a schema of ours allows under its own objects stands on the page."""
    schema = json.loads((ROOT / "harness/policy/schemas" / f"{name.removesuffix('.yaml')}.schema.json").read_text())
    section = PAGE.split(f"## {name}")[1].split("\n## ")[0]
    for definition in [schema, *schema["$defs"].values()]:
        for key in definition.get("properties", {}):
            assert re.search(rf"\b{re.escape(key)}\b", section) or key.startswith("timeSlice") or key == "displayName"


def test_names_are_those_that_there_are() -> None:
    """Target ids and component kinds of the page are the parser's and the harness's."""
    for name in (*TARGET_IDS, *KINDS):
        assert f"`{name}`" in PAGE
