"""The error tree and its drawing, and what a message looks like."""

from __future__ import annotations

import re

from harness import errors
from harness.errors import HarnessError, NotReady, PolicyError
from harness.model.findings import Finding, Severity
from harness.model.source import Span


def drawn() -> dict[str, tuple[int, int]]:
    """Name -> (depth, exit code) as the module's docstring draws it."""
    lines = re.findall(r"^( *(?:[│├└]?[ ─]*)*)(\w+) +exit (\d)", errors.__doc__ or "", re.MULTILINE)
    return {name: (max(0, (len(indent) - 4) // 4), int(code)) for indent, name, code in lines}


def actual(kind: type[HarnessError], depth: int = 0) -> dict[str, tuple[int, int]]:
    """Name -> (depth, exit code) as the classes are."""
    found = {kind.__name__: (depth, kind.exit_code)}
    for child in kind.__subclasses__():
        if child.__module__ == errors.__name__:
            found |= actual(child, depth + 1)
    return found


def test_the_drawing_is_the_tree() -> None:
    """Every class is drawn at its depth with its exit code, and nothing else is."""
    assert drawn() == actual(HarnessError)


def test_a_message_says_what_where_and_what_to_do() -> None:
    """All that is known stands in the message: expected, seen, waited, the last lines, the hint."""
    error = NotReady(
        "prometheus did not become ready",
        expected="HTTP 200 at /-/ready",
        seen="connection refused",
        waited_seconds=5.04,
        output=["line 1", "line 2"],
        hint="read its log",
    )
    assert str(error).splitlines() == [
        "prometheus did not become ready",
        "  expected: HTTP 200 at /-/ready",
        "  seen: connection refused",
        "  waited: 5.0 s",
        "  | line 1",
        "  | line 2",
        "  hint: read its log",
    ]


def test_a_policy_error_lists_every_finding_with_its_place() -> None:
    """All findings at once, each with file:line:column."""
    finding = Finding(
        "drill/unknown-alert",
        Severity.ERROR,
        Span("drills.yaml", 3, 5, 3, 9),
        "no alert is called 'SrverDown'",
        fix="did you mean 'ServerDown'?",
    )
    assert str(PolicyError("the policies cannot be run", [finding])).splitlines() == [
        "the policies cannot be run",
        "drills.yaml:3:5: error: no alert is called 'SrverDown' (drill/unknown-alert)",
        "    hint: did you mean 'ServerDown'?",
    ]
