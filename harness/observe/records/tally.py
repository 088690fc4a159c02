"""What records amount to, counted: parts are made bucket by bucket, in any process, and added up."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import TYPE_CHECKING, Any, Final, Self, TypeAlias

from harness.model.audit import Fates, FaultWindow
from harness.model.records import UNKNOWN_DIGEST
from harness.observe.records.fates import CopyRow, Fate

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

EXAMPLES: Final = 5
"""How many identities of each bad fate are named."""

FINE_SECONDS: Final = 600.0
"""Delays are kept to the millisecond up to here and to the second beyond, so that their number is bounded."""

Drawn: TypeAlias = "tuple[str, float, str, str, str, int]"
"""An announcement that the control may use: identity, instant, digest, level, its fate, how many copies."""


@dataclass(slots=True)
class Tally:
    """The records of one source.

    `fates` counts by fate, lane and level; `in_windows` by the number of a fault's window and fate; `delays` by
    milliseconds, rounded up.
    """

    fates: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    in_windows: Counter[tuple[int, str]] = field(default_factory=Counter)
    delays: Counter[int] = field(default_factory=Counter)
    found: int = 0
    surplus: int = 0
    withdrawn: int = 0
    repeated: int = 0
    undigested: int = 0
    skew: float = -math.inf
    earliest: float = math.inf
    latest: float = -math.inf
    examples: dict[str, list[str]] = field(default_factory=dict)
    drawn: list[Drawn] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        """Adds another part."""
        self.fates += other.fates
        self.in_windows += other.in_windows
        self.delays.update(other.delays)
        self.found += other.found
        self.surplus += other.surplus
        self.withdrawn += other.withdrawn
        self.repeated += other.repeated
        self.undigested += other.undigested
        self.skew = max(self.skew, other.skew)
        self.earliest = min(self.earliest, other.earliest)
        self.latest = max(self.latest, other.latest)
        for fate, names in other.examples.items():
            self.examples[fate] = sorted([*self.examples.get(fate, ()), *names])[:EXAMPLES]
        self.drawn += other.drawn

    def copies(self, at: float, digest: str, rows: Sequence[CopyRow], delay: float | None) -> None:
        """Counts what was found of a record: its copies, their timestamps, its delay where that is known."""
        if len(rows) > 1:
            self.surplus += len(rows) - 1
        self.found += len(rows)
        if digest == UNKNOWN_DIGEST:
            self.undigested += 1
        for row in rows:
            stamped_at = row[4]
            if stamped_at is not None:
                skew = stamped_at - at if stamped_at > at else at - stamped_at
                if skew > self.skew:  # noqa: PLR1730 - half of what `max` costs, for every record
                    self.skew = skew
        if delay is None:
            return
        milliseconds = ceil(delay * 1000) if delay < FINE_SECONDS else ceil(delay) * 1000
        self.delays[milliseconds] = self.delays.get(milliseconds, 0) + 1
        if delay < self.earliest:  # noqa: PLR1730 - as above
            self.earliest = delay
        if delay > self.latest:  # noqa: PLR1730 - as above
            self.latest = delay

    def plain_copies(
        self, ats: NDArray[np.float64], searchable: NDArray[np.float64], stamped: NDArray[np.float64]
    ) -> None:
        """Counts records each of which was found once, with a digest and a delay, as `copies` counts one.

        A timestamp that a copy does not tell is no number.
        """
        if not len(ats):
            return
        self.found += len(ats)
        apart = abs(stamped - ats)
        self.skew = max(self.skew, apart.max(where=apart == apart, initial=-math.inf).item())  # noqa: PLR0124 - NaN
        delays = searchable - ats
        self.earliest = min(self.earliest, delays.min().item())
        self.latest = max(self.latest, delays.max().item())
        if self.latest < FINE_SECONDS:
            self.delays.update(map(ceil, (delays * 1000).tolist()))
        else:
            self.delays.update(
                [ceil(delay * 1000) if delay < FINE_SECONDS else ceil(delay) * 1000 for delay in delays.tolist()]
            )

    def windows(self, windows: Sequence[FaultWindow], ats: Sequence[float], lanes: Sequence[str], fate: str) -> None:
        """Counts records of one fate by the windows in which they were announced."""
        if not windows or not ats:
            return
        by_lane: dict[str, list[float]] = {}
        for lane, at in zip(lanes, ats, strict=True):
            by_lane.setdefault(lane, []).append(at)
        for announced in by_lane.values():
            announced.sort()
        for number, window in enumerate(windows):
            for lane, announced in by_lane.items():
                if window.lane in {"", lane}:
                    within = bisect_right(announced, window.until_at) - bisect_left(announced, window.from_at)
                    if within > 0:
                        self.in_windows[number, fate] += within

    def example(self, fate: Fate, name: str) -> None:
        """Names a record of a bad fate, while there are few."""
        named = self.examples.setdefault(fate.value, [])
        if len(named) < EXAMPLES:
            named.append(name)

    def total(self) -> Fates:
        """All records together."""
        return fates_of((fate, count) for (fate, _, _), count in self.fates.items())

    def by_lane(self) -> dict[str, Fates]:
        """The records by lane."""
        return _by((lane, fate, count) for (fate, lane, _), count in self.fates.items())

    def by_level(self) -> dict[str, Fates]:
        """The records by level; "" for those without one."""
        return _by((level, fate, count) for (fate, _, level), count in self.fates.items())

    def by_window(self, names: tuple[str, ...]) -> dict[str, Fates]:
        """The records by the name of the fault that was in place when they were announced."""
        return _by((names[number], fate, count) for (number, fate), count in self.in_windows.items())

    def quantile(self, share: float) -> float | None:
        """The delay that this share of the records with a known one does not exceed, in seconds; None without any."""
        rank = math.ceil(share * self.delays.total())
        for milliseconds in sorted(self.delays):
            rank -= self.delays[milliseconds]
            if rank <= 0:
                return milliseconds / 1000
        return None

    def plain(self) -> list[Any]:
        """All of it in plain lists, for `from_plain`."""
        return [
            [[*key, count] for key, count in self.fates.items()],
            [[*key, count] for key, count in self.in_windows.items()],
            list(self.delays.items()),
            [self.found, self.surplus, self.withdrawn, self.repeated, self.undigested],
            [self.skew, self.earliest, self.latest],
            self.examples,
            self.drawn,
        ]

    @classmethod
    def from_plain(cls, plain: list[Any]) -> Self:
        """What `plain` gave."""
        fates, in_windows, delays, counts, instants, examples, drawn = plain
        found, surplus, withdrawn, repeated, undigested = counts
        skew, earliest, latest = instants
        return cls(
            fates=Counter({(fate, lane, level): count for fate, lane, level, count in fates}),
            in_windows=Counter({(number, fate): count for number, fate, count in in_windows}),
            delays=Counter(dict(delays)),
            found=found,
            surplus=surplus,
            withdrawn=withdrawn,
            repeated=repeated,
            undigested=undigested,
            skew=skew,
            earliest=earliest,
            latest=latest,
            examples=examples,
            drawn=drawn,
        )


def fates_of(counts: Iterable[tuple[str, int]]) -> Fates:
    """Counts by fate as `Fates`."""
    found: Counter[str] = Counter()
    for fate, count in counts:
        found[fate] += count
    return Fates(found.total(), *(found[fate] for fate in Fate))


def _by(counts: Iterable[tuple[str, str, int]]) -> dict[str, Fates]:
    apart: dict[str, Counter[str]] = {}
    for name, fate, count in counts:
        apart.setdefault(name, Counter())[fate] += count
    return {name: fates_of(found.items()) for name, found in sorted(apart.items())}


Tallies: TypeAlias = Mapping[str, Tally]
"""A tally for each source; the one of "" counts copies of this run that nobody announced, by epoch."""
