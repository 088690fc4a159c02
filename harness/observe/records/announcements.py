"""What the manifests of a run announce, as facts that a query can be held against; read as a stream."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from harness.errors import HarnessError
from harness.model.audit import FaultWindow
from harness.model.logs import LogPolicy
from harness.model.records import UNKNOWN_DIGEST, Announced, announced_from
from harness.model.stack import SHARED
from harness.observe.records.matching import Between

SLACK_SECONDS: Final = 2.0
"""How far a record's own timestamp may be from its announcement: its writer was scheduled in between."""

REQUEST_SECONDS: Final = 60.0
"""How much later that of an access log's record may be: it is written when the request is over."""

_CANDIDATES = 8
_LONG_SECONDS = 3 * SLACK_SECONDS  # in a shorter time nobody could say of any record that it lies within


@dataclass(frozen=True, slots=True)
class OfAnnouncement:
    """The facts of an announced record: its source, lane, level and instant, its identity, and nothing else.

    Without `timed` not its instant either: a writer whose clock was stepped writes another one.
    """

    one: Announced
    logs: frozenset[str]
    timed: bool = True

    def values(self, field: str) -> Sequence[object] | None:
        """None for all that nobody announced."""
        one = self.one
        known: Mapping[str, Sequence[object] | None] = {
            "metadata.sequence": (one.identity,),
            "level": (one.level,) if one.level else None,
            "fields.log": (one.source,) if one.source in self.logs else None,
            "fields.environment": (one.lane,) if one.lane != SHARED else None,
            "@timestamp": (instants(one),) if self.timed else None,
            "timestamp": (instants(one),) if self.timed else None,
        }
        return known.get(field)


def instants(one: Announced) -> Between:
    """Between which instants a record's own timestamp must lie."""
    later = REQUEST_SECONDS if one.digest == UNKNOWN_DIGEST else SLACK_SECONDS
    return Between(one.at - SLACK_SECONDS, one.at + later)


@dataclass(frozen=True, slots=True)
class Announcements:
    """The manifests of the sources that go into the store of logs.

    Args:
        folder: the run's folder of manifests.
        sources: the stems of their schemas.
        logs: what the shipper writes into `fields.log`.
    """

    folder: Path
    sources: frozenset[str]
    logs: frozenset[str]

    @classmethod
    def of(cls, folder: Path, sources: Sequence[str], policy: LogPolicy) -> Announcements:
        """Those of a policy."""
        return cls(folder, frozenset(sources), frozenset(one["log"] for one in policy.fields if "log" in one))

    def __iter__(self) -> Iterator[Announced]:
        """Every line; a record that was taken back comes twice, the second time as its withdrawal.

        Raises:
            HarnessError: a manifest cannot be read.
        """
        try:
            for path in sorted(self.folder.glob("*.tsv")):
                if path.name.partition(".")[0] in self.sources:
                    with path.open("rb") as lines:
                        yield from (one for one in map(announced_from, lines) if one is not None)
        except OSError as error:
            raise HarnessError(f"The manifests in {self.folder} cannot be read", seen=str(error)) from error

    def facts(self, one: Announced, *, timed: bool = True) -> OfAnnouncement:
        """What is known of a record; without its instant where not `timed`."""
        return OfAnnouncement(one, self.logs, timed)

    def busiest(
        self, windows: Sequence[FaultWindow], *, since: float, until: float, besides: str
    ) -> FaultWindow | None:
        """The time of one lane in which most was surely written: while a fault was there, else the middle third.

        All of a lane counts where a third of it would be too short to say of any record that it lies within. A record
        counts where all of the instants lie within at which it may have been written: no other must be found.

        Args:
            windows: the faults of the run.
            since: from when on records count, Unix seconds.
            until: until when.
            besides: a lane that does not count.

        Raises:
            HarnessError: a manifest cannot be read.
        """
        whole = [one for one in windows if one.lane and since <= one.from_at < one.until_at <= until]
        longest = sorted(whole, key=lambda one: one.from_at - one.until_at)[:_CANDIDATES]
        own = [one for one in longest if one.until_at - one.from_at >= _LONG_SECONDS]
        counted: Counter[FaultWindow] = Counter()
        by_lane: dict[str, _Stretch] = defaultdict(_Stretch)
        for one in self:
            if one.lane in {SHARED, besides} or not since <= one.at < until or one.is_withdrawal:
                continue
            written = instants(one)
            by_lane[one.lane].take(one.at)
            counted.update(
                window
                for window in own
                if window.lane == one.lane and window.from_at < written.earliest and written.latest < window.until_at
            )
        if counted:
            return counted.most_common(1)[0][0]
        lane, stretch = max(by_lane.items(), key=lambda pair: pair[1].count, default=("", _Stretch()))
        if not stretch.count:
            return None
        third = (stretch.last - stretch.first) / 3
        inset = third if third >= _LONG_SECONDS else -_LONG_SECONDS
        return FaultWindow("", lane, stretch.first + inset, stretch.last - inset)


@dataclass(slots=True)
class _Stretch:
    """How much was announced in a lane, from when to when."""

    count: int = 0
    first: float = field(default=float("inf"))
    last: float = field(default=float("-inf"))

    def take(self, at: float) -> None:
        """Counts one."""
        self.count += 1
        self.first, self.last = min(self.first, at), max(self.last, at)
