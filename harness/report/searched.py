"""How the operator's searches are shown: rows for a person, JSON for other programs."""

from __future__ import annotations

from typing import TypeAlias

from harness.model.searching import ArchiveTried, SearchTried, TailTried
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


def archive_sentence(one: ArchiveTried) -> str:
    """The archive in one line."""
    if one.error:
        return f"archive  not tried: {one.error.splitlines()[0]}"
    found, again = sum(one.before.values()), sum(one.after.values())
    return (
        f"archive  {one.index}: {one.records} records put away in {one.archive_seconds:.1f} s, back in "
        f"{one.restore_seconds:.1f} s; searches found {found} before and {again} after"
    )


def tail_sentence(one: TailTried) -> str:
    """A live tail in one line."""
    if one.error:
        return f"tail  {one.filters} not tried: {one.error.splitlines()[0]}"
    delays = (one.delay_p50_seconds, one.delay_max_seconds)
    slow = ", ".join("-" if delay is None else f"{delay:.2f}" for delay in delays)
    return (
        f"tail  {one.filters}: {one.expected - one.missing} of {one.expected} delivered, {one.twice} twice, "
        f"{one.foreign} foreign; delay p50, max {slow} s"
    )


def remarks(told: Record) -> list[str]:
    """What is to be said of the archive and of live tails."""
    return [*map(archive_sentence, told.archives), *map(tail_sentence, told.tails)]


def archives_json(told: Record) -> list[Json]:
    """The archives for other programs."""
    return [
        {
            "index": one.index,
            "back_as": one.back_as,
            "records": one.records,
            "before": dict(one.before),
            "after": dict(one.after),
            "missing": one.missing,
            "foreign": one.foreign,
            "left": one.left,
            "archive_seconds": round(one.archive_seconds, 6),
            "restore_seconds": round(one.restore_seconds, 6),
            "error": one.error,
        }
        for one in told.archives
    ]


def tails_json(told: Record) -> list[Json]:
    """The live tails for other programs."""
    return [
        {
            "filters": one.filters,
            "expected": one.expected,
            "delivered": one.delivered,
            "missing": one.missing,
            "twice": one.twice,
            "foreign": one.foreign,
            "delay_seconds": {"p50": _rounded(one.delay_p50_seconds), "max": _rounded(one.delay_max_seconds)},
            "seconds": round(one.seconds, 6),
            "error": one.error,
        }
        for one in told.tails
    ]


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


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
