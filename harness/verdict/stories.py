"""What a ledger tells of one injection, one scene, one episode."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from harness.model.episodes import EpisodePlan, EpisodeProven
from harness.model.events import Healed, Injected
from harness.model.hops import Hop
from harness.model.plan import Injection
from harness.model.scenes import ScenePlan
from harness.model.stack import SHARED


@dataclass(frozen=True, slots=True)
class Story:
    """What the ledger tells of one injection. Instants are Unix seconds.

    `ends_at` is the instant at which the next fault begins in its track, or one of a later stage in its lane, else
    infinite; `watched_until` the instant up to which somebody listened. `unread` says why Prometheus could not be asked
    for hops, empty where it was. `disturbed` tells of a disturbance of the alert's way: None where there was none, True
    where it was never seen to be over.
    """

    planned: Injection
    applying_at: float | None
    injected: Injected | None
    healed: Healed | None
    closed_at: float | None
    unverified: str
    hops: Mapping[Hop, float]
    unread: str
    ends_at: float
    watched_until: float
    disturbed: bool | None = None

    @property
    def due_at(self) -> float | None:
        """t0 plus the rule's own hold, or None where the fault's effect was never proven."""
        if self.injected is None:
            return None
        return self.injected.proven_at + self.planned.rule_hold.total_seconds()

    @property
    def lost_after(self) -> float | None:
        """The instant after which a message is lost."""
        return None if self.due_at is None else self.due_at + self.planned.hold.total_seconds()

    def reaches(self, lane: str) -> bool:
        """Whether it does something in a lane: its own and, where it disturbs the way of its alert, the shared one."""
        return lane == self.planned.lane or (lane == SHARED and bool(self.planned.although))

    def covers(self, at: float) -> bool:
        """Whether an instant lies between the beginning of this fault and that of the next one in its track."""
        return self.applying_at is not None and self.applying_at <= at < self.ends_at


@dataclass(frozen=True, slots=True)
class SceneStory:
    """What the ledger tells of one scene. Instants are Unix seconds.

    `marks` are the instants of what it did and saw; `why` is what kept it from its end; `until_at` is when it ended, or
    the ledger did.
    """

    plan: ScenePlan
    started_at: float | None
    ended_at: float | None
    why: str
    marks: Mapping[str, float]
    until_at: float

    @property
    def seconds(self) -> float:
        """How long it was played."""
        return 0.0 if self.started_at is None else self.until_at - self.started_at


@dataclass(frozen=True, slots=True)
class EpisodeStory:
    """What the ledger tells of one episode. `why` is what kept it from its end; `ended` whether that was told.

    `began_at` and `ended_at` are the instants of both, Unix seconds.
    """

    plan: EpisodePlan
    began: bool = False
    proven: EpisodeProven | None = None
    ended: bool = False
    why: str = ""
    began_at: float | None = None
    ended_at: float | None = None
