"""Whether the operator's searches find what they must: what is wrong with each, as a sentence."""

from __future__ import annotations

from collections.abc import Iterator

from harness.model.searching import SearchTried
from harness.model.verdicts import Verdict
from harness.verdict.record import Record


def search_complaints(told: Record) -> Iterator[tuple[Verdict, str]]:
    """Searches that missed something, found too much or came in another order; then those of which nobody knows.

    A record that the store does not hold is no fault of a search as far as the audit has counted it already: so many
    were lost on their way, and `logs-collected` is judged by them.
    """
    counted = sum(one.fates.lost + one.fates.corrupt + one.fates.unverified for one in told.audits)
    for one in told.searches:
        for wrong in _wrong(one, counted):
            yield Verdict.FAIL, f"search {one.query}: {wrong}"
        if one.error:
            yield Verdict.UNVERIFIED, f"search {one.query} could not be tried: {one.error.splitlines()[0]}"
        elif not one.expected:
            yield Verdict.UNVERIFIED, f"search {one.query} had nothing to find, so nothing is known of it"


def verdict_of(one: SearchTried, told: Record) -> Verdict:
    """The worst of what is said of a search."""
    said = [verdict for verdict, text in search_complaints(told) if text.startswith(f"search {one.query}")]
    return Verdict.FAIL if Verdict.FAIL in said else said[0] if said else Verdict.PASS


def _wrong(one: SearchTried, counted: int) -> Iterator[str]:
    missed = one.missing - min(one.absent, counted)
    if missed:
        yield f"{missed} of {one.expected} records are not found{_named(one, 'missing')}"
    if one.foreign:
        yield f"{one.foreign} records are found that do not belong there{_named(one, 'foreign')}"
    if not one.ordered:
        yield "the newest records do not come first"


def _named(one: SearchTried, kind: str) -> str:
    names = one.examples.get(kind, ())
    return f", e.g. {names[0]}" if names else ""
