"""The plan of a run: fixed by its seed before anything starts."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum


class Profile(StrEnum):
    """How much a run tries. `smoke` judges cells only and claims no rate."""

    SMOKE = "smoke"


class Reach(StrEnum):
    """How far a fault's effect goes.

    lane: its own lane. shared: parts that all lanes share, and what goes on in the lanes is not disturbed by it.
    alone: nothing else may go on meanwhile, for the way of every alert is disturbed.
    """

    LANE = "lane"
    SHARED = "shared"
    ALONE = "alone"


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


@dataclass(frozen=True, slots=True)
class Timetable:
    """What a run will try: every injection, in its lane, with the critical path (the longest lane)."""

    profile: Profile
    seed: int
    lanes: tuple[str, ...]
    injections: tuple[Injection, ...]
    stages: tuple[Stage, ...]
    critical_path: timedelta
    mix: dict[str, int] = field(default_factory=dict)
