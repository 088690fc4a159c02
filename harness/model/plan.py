"""The plan of a run: fixed by its seed before anything starts."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum

from harness.model.scenes import ScenePlan


class Profile(StrEnum):
    """How much a run tries.

    `smoke` drills each priority once, judges cells only and claims no rate. `gate` drills every alert, with enough
    injections for the bound that the targets ask for. `nightly` tries more of them, and every fault that there is.
    """

    SMOKE = "smoke"
    GATE = "gate"
    NIGHTLY = "nightly"


class Reach(StrEnum):
    """How far a fault's effect goes.

    lane: its own lane. shared: parts that all lanes share, and what goes on in the lanes is not disturbed by it.
    alone: nothing else may go on meanwhile, for the way of every alert is disturbed.
    """

    LANE = "lane"
    SHARED = "shared"
    ALONE = "alone"


@dataclass(frozen=True, slots=True)
class Traits:
    """What a plan must know of a fault: what it lays hands on, and how far its effect goes."""

    touches: frozenset[str]
    reach: Reach


class Control(StrEnum):
    """A negative control: an alert that is lost on purpose, or late by 31 s."""

    LOST = "lost"
    LATE = "late"


@dataclass(frozen=True, slots=True)
class Stage:
    """A part of a run that shares its plan with others: alerts today; logs, stores and the browser later.

    `cpu_weight` is the number of cores that the stage keeps busy, `excludes` the names of stages that may not run at
    the same time, `after` those that must have ended.
    """

    name: str
    cpu_weight: float
    estimate: timedelta
    excludes: frozenset[str] = frozenset()
    after: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Injection:
    """One fault, applied at a random instant and healed at a random instant, in one lane.

    `start` counts from the start of the stage and is the earliest instant; the lane's injections run in order.
    `phase` is added when the lane is free, `heal_after` once the messages are there (or the hold is over), so that
    neither instant is locked to Prometheus's phases. `hold` is how long a message may take, from due, before it is
    lost. `channels` are those that must hear, each of them one trial.

    `track` names what of its lane the fault touches: the tracks of a lane share nothing, so their injections go on side
    by side. `although` is a fault of the alerting path that is in place when the alert fires, `although_for` how long
    it stays after the effect of the fault itself was proven; the alert must be heard in time all the same.
    """

    id: str
    alert: str
    fault: str
    lane: str
    channels: tuple[str, ...]
    start: timedelta
    phase: timedelta
    heal_after: timedelta
    hold: timedelta
    deadline: timedelta
    since_condition: timedelta | None
    rule_hold: timedelta
    tolerates: tuple[str, ...] = ()
    control: Control | None = None
    estimate: timedelta = timedelta(0)
    track: str = ""
    stage: str = "alerts"
    although: str = ""
    although_for: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True)
class Timetable:
    """What a run will try: every injection, in its lane and stage, with the critical path.

    After `hard_stop` nothing more is tried. `lanes` are those that stand; injections into what all lanes share carry
    the lane `shared`, which is none of them. `scenes` are played one after another when all else is over;
    `scenes_left_out` says why the others are not, by id.
    """

    profile: Profile
    seed: int
    lanes: tuple[str, ...]
    injections: tuple[Injection, ...]
    stages: tuple[Stage, ...]
    critical_path: timedelta
    hard_stop: timedelta = timedelta(seconds=300)
    mix: dict[str, int] = field(default_factory=dict)
    scenes: tuple[ScenePlan, ...] = ()
    scenes_left_out: dict[str, str] = field(default_factory=dict)
