"""Episodes: faults of the way that records take, each with the loss that is allowed while it is in place.

Their events are kinds of the ledger like those in `harness/model/events.py`, whose union names them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar, TypeAlias


@dataclass(frozen=True, slots=True)
class Promise:
    """What may become of records that are announced while a fault is in place.

    Args:
        lost: how many may be lost or damaged; 0 where the way promises that each is delivered at least once.
        ratio: where set, the share of the announced ones that may be, in place of `lost`.
        duplicates: whether a second copy may be found.
        why: what of the configuration allows that, in a sentence; empty where nothing is allowed.
    """

    lost: int = 0
    ratio: float | None = None
    duplicates: bool = False
    why: str = ""

    def allowed(self, written: int) -> int:
        """How many of so many announced records may be lost or damaged."""
        return self.lost if self.ratio is None else int(self.ratio * written)


@dataclass(frozen=True, slots=True)
class EpisodeTraits:
    """What a plan must know of a fault of the records' way.

    Args:
        fault: its id.
        summary: what it does, in a sentence.
        signal: `real` or `simulated`.
        needs: the kinds of component that it needs.
        concerns: whose records it can cost: the folder of their schemas (`logs/`, `events/`), or one schema's file.
        promise: what the shipped configuration promises.
        hold: how long it stays once it is proven.
        gate_hold: the same in the gate; None where it is for the night alone.
    """

    fault: str
    summary: str
    signal: str
    needs: frozenset[str]
    concerns: str
    promise: Promise
    hold: timedelta
    gate_hold: timedelta | None = None


@dataclass(frozen=True, slots=True)
class EpisodePlan:
    """A fault of the records' way as it will be played, and what is allowed.

    Args:
        id: its name in this run.
        fault: the fault's id; a run plays each at most once.
        summary: what it does.
        signal: `real` or `simulated`.
        sources: the sources of records that are held to the promise.
        phase: how long after the end of the one before it begins.
        hold: how long the fault stays once it is proven.
        promise: what may become of records that are announced from its beginning until records flow again.
        tolerates: alerts that may speak from its beginning until shortly after its end.
    """

    id: str
    fault: str
    summary: str
    signal: str
    sources: tuple[str, ...]
    phase: timedelta
    hold: timedelta
    promise: Promise
    tolerates: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EpisodePlanned:
    """What will be done to the way of records and what it may cost, written before anything is done."""

    kind: ClassVar[str] = "episode-planned"
    episode: EpisodePlan


@dataclass(frozen=True, slots=True)
class EpisodeLeftOut:
    """A fault of the records' way that this run does not play, with the reason."""

    kind: ClassVar[str] = "episode-left-out"
    fault: str
    why: str


@dataclass(frozen=True, slots=True)
class EpisodeBegan:
    """Records flow, and a fault of their way is about to be applied: what is announced from now on is the episode's."""

    kind: ClassVar[str] = "episode-began"
    episode: str
    fault: str


@dataclass(frozen=True, slots=True)
class EpisodeProven:
    """The fault's effect was seen by its own observation, at that instant (Unix seconds)."""

    kind: ClassVar[str] = "episode-proven"
    episode: str
    at: float
    proof: str


@dataclass(frozen=True, slots=True)
class EpisodeEnded:
    """The fault is undone and records flow again, or `why` says what of that failed, or why it was not played."""

    kind: ClassVar[str] = "episode-ended"
    episode: str
    why: str = ""


EpisodeEvent: TypeAlias = EpisodePlanned | EpisodeLeftOut | EpisodeBegan | EpisodeProven | EpisodeEnded
"""What a ledger tells of episodes."""
