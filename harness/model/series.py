"""Time series as a second store has them: what was written, held against what is read back, sample by sample.

The event is a kind of the ledger like those in `harness/model/events.py`, whose union names it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Final

METRICS: Final = "metrics"
"""The class of what Prometheus writes on."""

EVENT_CLASSES: Final[Mapping[str, str]] = {"performance": "performance", "user_activity": "user"}
"""The classes of what the event collector writes, each with the source of its events."""


@dataclass(frozen=True, slots=True)
class Gap:
    """A stretch of time (Unix seconds) in which so many samples are missing."""

    from_at: float
    to_at: float
    missing: int


@dataclass(frozen=True, slots=True)
class SeriesControl:
    """The negative control: in a copy of what the store answered so many samples were withheld, changed and added.

    The ordinary comparison must count exactly these; `told` says what it counted instead, empty where it did.
    """

    withheld: int = 0
    changed: int = 0
    added: int = 0
    told: str = ""

    @property
    def exact(self) -> bool:
        """Whether at least one of each was tried and all were counted."""
        return not self.told and min(self.withheld, self.changed, self.added) > 0


@dataclass(frozen=True, slots=True)
class SeriesCompared:
    """One class of time series: every sample of the drawn series in a window, held against the store's points.

    Args:
        of_class: the class, which is the name of its database.
        store: what was asked (`InfluxDB 1.6.7`).
        writer: who writes it: the name of the component.
        from_at: where the window begins, Unix seconds.
        to_at: where it ends.
        known: series that should be there; of events the writers' lives.
        series: those of them that were compared sample by sample.
        expected: samples that must be there.
        found: those of them that are, with the same timestamp and the same value.
        missing: those that are not.
        differing: those that are, with another value.
        foreign: points that nobody wrote.
        twice: samples that are there more than once.
        overwritten: events in whose place another one's point stands, for both have the same instant and tags.
        unwritable: samples that this store has no number for (NaN, infinity) and that are rightly not there.
        gaps: when the missing ones were due.
        examples: some of the missing, differing, foreign and twofold ones, by name.
        control: the negative control.
        waited_seconds: how long it took until the writer had sent all of the window.
        seconds: how long the comparison took.
        error: why nothing could be compared; empty where it was.
        doubts: what is to be said besides.
    """

    kind: ClassVar[str] = "series-compared"
    of_class: str
    store: str = ""
    writer: str = ""
    from_at: float = 0.0
    to_at: float = 0.0
    known: int = 0
    series: int = 0
    expected: int = 0
    found: int = 0
    missing: int = 0
    differing: int = 0
    foreign: int = 0
    twice: int = 0
    overwritten: int = 0
    unwritable: int = 0
    gaps: tuple[Gap, ...] = ()
    examples: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    control: SeriesControl = SeriesControl()
    waited_seconds: float = 0.0
    seconds: float = 0.0
    error: str = ""
    doubts: tuple[str, ...] = ()
