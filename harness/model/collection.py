"""Events of the collection of metrics: scrape slots that were counted, changes that were planted and seen.

They are kinds of the ledger like those in `harness/model/events.py`, whose union names them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class ScrapesCounted:
    """The scrape slots of one target over the window of a census, as Prometheus has stored them.

    Slot number k of `expected` is due at `first_at` + k x `interval_seconds` (Unix seconds). In `stored` of them a
    sample of `up` is stored, in `good` one that says 1; the numbers of the others are `lost`. `longest_gap_seconds` is
    the longest time without a good sample, whoever is to blame. `lane` is empty for a target without one.
    """

    kind: ClassVar[str] = "scrapes-counted"
    job: str
    instance: str
    lane: str
    interval_seconds: float
    first_at: float
    expected: int
    stored: int
    good: int
    lost: tuple[int, ...]
    longest_gap_seconds: float


@dataclass(frozen=True, slots=True)
class CensusTaken:
    """Every target's scrape slots were counted between two instants; `error` says why some could not be."""

    kind: ClassVar[str] = "census-taken"
    from_at: float
    to_at: float
    targets: int
    error: str = ""


@dataclass(frozen=True, slots=True)
class ChangePlanted:
    """Something in the world was changed on purpose: `at` is the instant at which the change was acknowledged.

    `query` is what shows `value` once the change is collected.
    """

    kind: ClassVar[str] = "change-planted"
    change: str
    lane: str
    at: float
    query: str
    value: float


@dataclass(frozen=True, slots=True)
class ChangeSeen:
    """A query showed a planted change so long after it was made; infinite where it did not until the deadline."""

    kind: ClassVar[str] = "change-seen"
    change: str
    seconds: float
    error: str = ""


@dataclass(frozen=True, slots=True)
class ChangeNotPlanted:
    """A change could not be made at that instant (Unix seconds): nothing can be said of when it would be seen."""

    kind: ClassVar[str] = "change-not-planted"
    change: str
    lane: str
    at: float
    why: str
