"""How the operator's searches are shown: rows for a person, JSON for other programs."""

from __future__ import annotations

from typing import TypeAlias

from harness.model.searching import SearchTried
from harness.verdict.record import Record
from harness.verdict.searching import verdict_of

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
"""What JSON can say."""

COLUMNS = ("search", "verdict", "expected", "found", "missing", "foreign", "not told", "newest first", "took")
"""Of the table of searches."""


def rows(told: Record) -> list[tuple[str, ...]]:
    """The table of searches, in the order of `COLUMNS`."""
    return [
        (
            one.query,
            verdict_of(one, told).value,
            str(one.expected),
            str(one.found),
            str(one.missing),
            str(one.foreign),
            str(one.untold),
            "yes" if one.ordered else "no",
            f"{one.seconds:.2f} s",
        )
        for one in told.searches
    ]


def searches_json(told: Record) -> list[Json]:
    """The searches for other programs."""
    return [_search(one, verdict_of(one, told).value) for one in told.searches]


def sentence(one: SearchTried) -> str:
    """A search in one line, as it happens."""
    if one.error:
        return f"search  {one.query} not tried: {one.error.splitlines()[0]}"
    wrong = [f"{count} {name}" for count, name in ((one.missing, "missing"), (one.foreign, "foreign")) if count]
    wrong += [] if one.ordered else ["not the newest first"]
    return f"search  {one.query}: {one.found} found, {one.expected} expected{''.join(f', {each}' for each in wrong)}"


def _search(one: SearchTried, verdict: str) -> Json:
    return {
        "query": one.query,
        "verdict": verdict,
        "expected": one.expected,
        "found": one.found,
        "missing": one.missing,
        "absent": one.absent,
        "foreign": one.foreign,
        "untold": one.untold,
        "ordered": one.ordered,
        "seconds": round(one.seconds, 6),
        "error": one.error,
        "examples": {kind: list(names) for kind, names in one.examples.items()},
    }
