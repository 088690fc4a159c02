"""Samples compared: those that must be there with those that are; and copies spoilt on purpose. Pure."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Final, TypeAlias

from harness.model.series import Gap, SeriesControl

NANOSECONDS: Final = 1_000_000_000

WITHHELD: Final = 2
CHANGED: Final = 2
ADDED: Final = 1
FEWEST: Final = WITHHELD + CHANGED
"""A series with fewer samples that are there and right has nothing that could be spoilt."""

_EXAMPLES = 5
_GAPS = 100

Sample: TypeAlias = tuple[int, float]
"""An instant in nanoseconds, and a value."""


@dataclass(slots=True)
class Tally:
    """What was counted: see `SeriesCompared` for what each count is."""

    series: int = 0
    expected: int = 0
    found: int = 0
    missing: int = 0
    differing: int = 0
    foreign: int = 0
    twice: int = 0
    unwritable: int = 0
    examples: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    _missed: Counter[int] = field(default_factory=Counter)

    def take(self, name: str, wanted: Sequence[Sample], got: Sequence[Sample]) -> None:
        """Holds the points of a series against the samples that it must have.

        A sample that is no number has no point; one that is there all the same is foreign.
        """
        must = {at: value for at, value in wanted if math.isfinite(value)}
        self.unwritable += len(wanted) - len(must)
        self.expected += len(must)
        seen: set[int] = set()
        for at, value in got:
            if at not in must:
                self.foreign += 1
                self.note("foreign", name, at)
            elif at in seen:
                self.twice += 1
                self.note("twice", name, at)
            elif must[at] != value:
                self.differing += 1
                self.note("differing", name, at)
            else:
                self.found += 1
            seen.add(at)
        for at in must.keys() - seen:
            self.missing += 1
            self._missed[at // NANOSECONDS] += 1
        for at in sorted(must.keys() - seen)[:1]:
            self.note("missing", name, at)

    def note(self, what: str, name: str, at: int | None = None) -> None:
        """Keeps an example, where there are not yet enough."""
        if len(self.examples[what]) < _EXAMPLES:
            self.examples[what].append(name if at is None else f"{name} at {at / NANOSECONDS:.3f}")

    def gaps(self) -> tuple[Gap, ...]:
        """When the missing samples were due; stretches close to each other are one where there would be too many."""
        apart = 2
        while True:
            found: list[Gap] = []
            for second, count in sorted(self._missed.items()):
                if found and second - found[-1].to_at <= apart:
                    found[-1] = Gap(found[-1].from_at, second + 1, found[-1].missing + count)
                else:
                    found.append(Gap(second, second + 1, count))
            if len(found) <= _GAPS:
                return tuple(found)
            apart *= 2


def spoilt(wanted: Sequence[Sample], got: Sequence[Sample], random: Random) -> list[Sample] | None:
    """A copy of a series' points: some withheld, some changed, one added; None where it is too small for that.

    Only what is there and right is spoilt, so that each change makes exactly one difference.
    """
    must, counts = dict(wanted), Counter(at for at, _ in got)
    right = [at for at, value in got if counts[at] == 1 and must.get(at) == value]
    if len(right) < FEWEST:
        return None
    drawn = random.sample(right, FEWEST)
    withheld, changed = set(drawn[:WITHHELD]), set(drawn[WITHHELD:])
    copy = [(at, -value - 1.0 if at in changed else value) for at, value in got if at not in withheld]
    stray = drawn[0] + 1
    while stray in must or counts[stray]:
        stray += 1
    return [*copy, (stray, 0.0)]


def controlled(name: str, wanted: Sequence[Sample], got: Sequence[Sample], random: Random) -> SeriesControl | None:
    """The negative control of one series, by the ordinary comparison; None where it is too small for one."""
    copy = spoilt(wanted, got, random)
    if copy is None:
        return None
    plain, other = Tally(), Tally()
    plain.take(name, wanted, got)
    other.take(name, wanted, copy)
    counted = (other.missing - plain.missing, other.differing - plain.differing, other.foreign - plain.foreign)
    return judged(counted, (WITHHELD, CHANGED, ADDED))


def judged(counted: tuple[int, int, int], spoiled: tuple[int, int, int]) -> SeriesControl:
    """What was counted of what was spoilt: withheld, changed and added ones."""
    told = ""
    if counted != spoiled:
        told = "counted {} missing, {} differing and {} foreign".format(*counted)
        told += " where {} were withheld, {} changed and {} added".format(*spoiled)
    return SeriesControl(*spoiled, told)
