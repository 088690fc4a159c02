"""How compared time series are shown: rows for a person, JSON for other programs."""

from __future__ import annotations

from typing import TypeAlias

from harness.model.series import SeriesCompared
from harness.verdict.record import Record
from harness.verdict.series import excused, verdict_of

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
"""What JSON can say."""

COLUMNS = (
    "class", "verdict", "series", "expected", "found", "missing", "differing", "foreign", "twice", "overwritten",
    "took",
)  # fmt: skip
"""Of the table of classes."""


def rows(told: Record) -> list[tuple[str, ...]]:
    """The table of classes, in the order of `COLUMNS`."""
    return [
        (
            one.of_class,
            verdict_of(one, told).value,
            f"{one.series} of {one.known}",
            *map(
                str,
                (
                    one.expected,
                    one.found,
                    one.missing,
                    one.differing,
                    one.foreign,
                    one.twice,
                    one.overwritten,
                ),
            ),
            f"{one.seconds:.1f} s",
        )
        for one in told.series
    ]


def remarks(told: Record) -> list[str]:
    """What is to be said besides: why nothing was compared, doubts, some of what is wrong by name."""
    found = []
    for one in told.series:
        doubts = [f"not compared: {one.error.splitlines()[0]}"] if one.error else list(one.doubts)
        doubts += [f"{what}: {', '.join(names)}" for what, names in one.examples.items() if names]
        found += [f"series of {one.of_class}: {doubt}" for doubt in doubts]
    return found


def sentence(one: SeriesCompared) -> str:
    """A class in one line, as it happens."""
    if one.error:
        return f"series  {one.of_class} not compared: {one.error.splitlines()[0]}"
    bad = (
        (one.missing, "missing"),
        (one.differing, "differing"),
        (one.foreign, "foreign"),
        (one.twice, "twice"),
        (one.overwritten, "overwritten"),
    )
    wrong = "".join(f", {count} {what}" for count, what in bad if count)
    return f"series  {one.of_class}: {one.found} of {one.expected} samples of {one.series} series found{wrong}"


def series_json(told: Record) -> list[Json]:
    """The classes for other programs."""
    return [_series(one, told) for one in told.series]


def _series(one: SeriesCompared, told: Record) -> Json:
    control = one.control
    return {
        "class": one.of_class,
        "verdict": verdict_of(one, told).value,
        "store": one.store,
        "writer": one.writer,
        "known": one.known,
        "series": one.series,
        "expected": one.expected,
        "found": one.found,
        "missing": one.missing,
        "excused": excused(one, told),
        "differing": one.differing,
        "foreign": one.foreign,
        "twice": one.twice,
        "overwritten": one.overwritten,
        "unwritable": one.unwritable,
        "examples": {what: list(names) for what, names in one.examples.items()},
        "control": {
            "withheld": control.withheld,
            "changed": control.changed,
            "added": control.added,
            "exact": control.exact,
            "told": control.told,
        },
        "waited_seconds": round(one.waited_seconds, 6),
        "seconds": round(one.seconds, 6),
        "error": one.error,
        "doubts": list(one.doubts),
    }
