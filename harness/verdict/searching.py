"""Whether the operator's searches find what they must: what is wrong with each, as a sentence."""

from __future__ import annotations

from collections.abc import Iterator

from harness.model.searching import ArchiveTried, SearchTried, TailTried
from harness.model.verdicts import Verdict
from harness.verdict.record import Record


def search_complaints(told: Record) -> Iterator[tuple[Verdict, str]]:
    """What is wrong with searches, or not known of them; then of the archive and the live tails.

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
    for archive in told.archives:
        yield from ((Verdict.FAIL, f"archive: {wrong}") for wrong in _lost_in_archive(archive))
        if archive.error:
            yield Verdict.UNVERIFIED, f"the archive could not be tried: {archive.error.splitlines()[0]}"
        elif not archive.records or not any(archive.before.values()):
            yield Verdict.UNVERIFIED, "the archive had nothing to keep, so nothing is known of it"
    for tail in told.tails:
        yield from ((Verdict.FAIL, f"live tail ({tail.filters}): {wrong}") for wrong in _wrong_in_tail(tail))
        if tail.error:
            yield Verdict.UNVERIFIED, f"live tail ({tail.filters}) could not be tried: {tail.error.splitlines()[0]}"
        elif not tail.expected:
            yield Verdict.UNVERIFIED, f"live tail ({tail.filters}) had nothing to deliver, so nothing is known of it"


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


def _lost_in_archive(one: ArchiveTried) -> Iterator[str]:
    changed = [name for name in {*one.before, *one.after} if one.before.get(name) != one.after.get(name)]
    if not one.error and changed:
        name = min(changed)
        yield f"{name} found {one.before.get(name, 0)} records before, and {one.after.get(name, 0)} when they were back"
    if one.missing:
        yield f"{one.missing} records are not found when they are back"
    if one.foreign:
        yield f"{one.foreign} records came back that do not belong there"
    if one.left:
        yield f"{one.left} records of {one.index} are still there after it has aged out"


def _wrong_in_tail(one: TailTried) -> Iterator[str]:
    if one.missing and not one.error:
        yield f"{one.missing} of {one.expected} records were not delivered"
    if one.twice:
        yield f"{one.twice} records were delivered more than once"
    if one.foreign:
        yield f"{one.foreign} records were delivered that were not asked for"


def _named(one: SearchTried, kind: str) -> str:
    names = one.examples.get(kind, ())
    return f", e.g. {names[0]}" if names else ""
