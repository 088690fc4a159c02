"""What a profile asks for. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from harness.model.plan import Profile, Reach, Traits
from harness.model.policy import Drill, Priority

MINIMUM_TRIALS = 2
"""Fewer planned trials in a cell could not tell a dead cell from an unlucky one."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What a profile asks for.

    Args:
        injections: how many there must be at least, over all drills; each drill has at least two, or one for each of
            its faults where it has more.
        lanes: how many lanes stand at most.
        phase: the span from which an injection's phase is drawn: one scrape interval of the shipped policies.
        heal_within: the span from which the instant of healing is drawn: their group interval.
        every_priority_once: whether one drill stands for all of its priority.
        every_fault: whether the faults are tried that a drill reserves for the night.
        hard_stop: how long the drills may take; what was not tried then is unverified.
        scenes: whether scenes are played, too.
        records: whether records are followed from their writers to the stores, and stores are kept.
    """

    injections: int
    lanes: int
    phase: timedelta
    heal_within: timedelta
    every_priority_once: bool = False
    every_fault: bool = False
    hard_stop: timedelta = timedelta(seconds=300)
    scenes: bool = False
    records: bool = False

    def chosen(
        self, drills: Sequence[Drill], costs: Mapping[str, timedelta], traits: Mapping[str, Traits]
    ) -> list[Drill]:
        """The drills that this profile tries: all, or of each priority the one that costs least (the first of equals).

        One that needs nothing but its lane goes before all others, since it can go on beside them.

        Args:
            drills: those that could be tried.
            costs: what one injection of an alert's drill costs.
            traits: how far each fault reaches.
        """
        if not self.every_priority_once:
            return [*drills]

        def dear(drill: Drill) -> tuple[bool, timedelta]:
            return traits[drill.fault].reach is not Reach.LANE, costs[drill.alert]

        found = []
        for priority in Priority:
            of_priority = [drill for drill in drills if drill.priority is priority]
            if of_priority:
                found.append(min(of_priority, key=dear))
        return found

    def faults(self, drill: Drill) -> tuple[str, ...]:
        """The faults that take turns in raising a drill's alert."""
        if self.every_priority_once:
            return (drill.fault,)
        return (*drill.faults, *(drill.nightly if self.every_fault else ()))

    def although(self, drill: Drill) -> tuple[str, ...]:
        """The faults of the alerting path under which its alert must be heard all the same."""
        return drill.although if self.every_fault else ()


_PHASE = timedelta(seconds=2)
_HEAL_WITHIN = timedelta(seconds=5)

SHAPES: Mapping[Profile, Shape] = {
    Profile.SMOKE: Shape(
        injections=0, lanes=6, phase=_PHASE / 2, heal_within=_HEAL_WITHIN / 2, every_priority_once=True
    ),
    # 93 are the least of which one may fail and the lower bound is still at 95 %. With 124, of which two may, a
    # pipeline of 99.5 % passes in 97 % of all gates instead of 92 %, and the run is no longer for it.
    # Eight lanes: two cores are not enough for twelve with stores and shippers beside them.
    Profile.GATE: Shape(injections=124, lanes=8, phase=_PHASE, heal_within=_HEAL_WITHIN, records=True),
    # 208: five of them may fail.
    Profile.NIGHTLY: Shape(
        injections=208,
        lanes=8,
        phase=_PHASE,
        heal_within=_HEAL_WITHIN,
        every_fault=True,
        hard_stop=timedelta(minutes=30),
        scenes=True,
        records=True,
    ),
}
"""The profiles, measured on two cores (`docs/verdicts.md` says what each of them may claim)."""
