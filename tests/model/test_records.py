"""Identity, manifest lines and digests of records."""

from __future__ import annotations

import pytest

from harness.model.records import Announced, announced_from, digest_of, identity, line_of

RECORD = {"level": "INFO", "duration": 12.0, "metadata": {"sequence": "r/e/1", "ratio": 0.5}, "host": {"name": "a"}}


def test_a_manifest_line_says_what_was_announced() -> None:
    """What is written is what is read, to the microsecond."""
    announced = Announced(identity("run", "application.lane-01.1", 7), 1.25, "application", "lane-01", "INFO", "ab" * 8)
    assert announced_from(line_of(announced)) == announced


@pytest.mark.parametrize("line", [b"", b"a\tb\n", b"r/e/1\t1.0\tapplication\tlane\tINFO\tab", b"r\tx\ts\tl\tI\td\n"])
def test_an_unfinished_line_announces_nothing(line: bytes) -> None:
    """A writer that was killed in the middle of a line leaves a line that is no announcement."""
    assert announced_from(line) is None


def test_the_digest_ignores_what_a_shipper_adds() -> None:
    """Only declared fields count; their order and a float without a fraction do not."""
    fields = {"level", "duration", "metadata"}
    shipped = {"metadata": {"ratio": 0.5, "sequence": "r/e/1"}, "tags": ["error"], "duration": 12, "level": "INFO"}
    assert digest_of(shipped, fields) == digest_of(RECORD, fields)


@pytest.mark.parametrize("change", [{"level": "WARN"}, {"duration": 12.5}, {"metadata": {"sequence": "r/e/1"}}])
def test_the_digest_sees_what_is_changed_or_lost(change: dict[str, object]) -> None:
    """The twin: a changed value, a lost nested field."""
    fields = {"level", "duration", "metadata"}
    assert digest_of({**RECORD, **change}, fields) != digest_of(RECORD, fields)
