"""Which fault, in which lane, when: a timetable fixed by its seed before anything is touched.

Pure: the same drills, options and seed give the same timetable, on every machine.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from harness.errors import UsageError
from harness.model.plan import Control, Injection, Profile, Stage, Timetable
from harness.model.policy import Alert, Drill, Priority, PriorityRule
from harness.model.time import parse_duration
from harness.policy.parse.suggest import hint

HOLD = timedelta(seconds=35)
"""How long a message may take from due before it is lost: past the 30 s promise, so that late and lost differ."""

STAGE = "alerts"
"""The name of the stage that this timetable fills."""

MINIMUM_TRIALS = 2
"""Fewer planned trials in a cell could not tell a dead cell from an unlucky one."""

_FIRE = timedelta(seconds=6)
_RESOLVE = timedelta(seconds=8)
_PHASE = timedelta(seconds=2)
_CPU_WEIGHT = 0.5
_RANGE = re.compile(r"\[([0-9a-z]+)")


@dataclass(frozen=True, slots=True)
class _Shape:
    """What a profile asks for: injections of every drill, lanes for them, the span of the random heal instant."""

    injections: int
    lanes: int
    heal_within: timedelta


_SHAPES: Mapping[Profile, _Shape] = {
    Profile.SMOKE: _Shape(injections=MINIMUM_TRIALS, lanes=3, heal_within=timedelta(seconds=5))
}


def plan(
    drills: Sequence[Drill],
    priorities: Mapping[Priority, PriorityRule],
    alerts: Mapping[str, Alert],
    *,
    profile: Profile,
    seed: int,
    lanes: int | None = None,
    only: Sequence[str] = (),
) -> Timetable:
    """The timetable of a run.

    Every chosen drill is injected at least twice, one injection at a time in a lane, longest first onto the lane that
    is free soonest. Each negative control has a lane of its own, because it lasts as long as the whole hold.

    Args:
        drills: what the policy drills.
        priorities: who must hear, by when.
        alerts: the alerting rules by name.
        profile: how much is tried.
        seed: what every random instant is drawn from.
        lanes: how many lanes may be used, the controls' included; the profile's own number where None.
        only: names of the alerts to drill; all where empty.

    Raises:
        UsageError: nothing is left to drill, a name is unknown, there are too few lanes, or a cell has fewer than two
            trials.
    """
    shape = _SHAPES[profile]
    chosen = _chosen(drills, alerts, only)
    trials = [
        _injection(drill, priorities, alerts, f"{drill.alert}-{number}", seed, shape)
        for drill in chosen
        for number in range(1, shape.injections + 1)
    ]
    controls = _controls(chosen, priorities, alerts, seed, shape)
    count = _trial_lanes(lanes, shape, len(trials), len(controls))
    names = tuple(f"lane-{number:02}" for number in range(1, count + len(controls) + 1))
    by_lane = dict(zip(names, [*_packed(trials, count, seed), *controls], strict=True))
    placed = tuple(injection for lane, waiting in by_lane.items() for injection in _in_order([*waiting], lane))
    check_cells(placed)
    critical_path = max(sum((one.estimate for one in waiting), timedelta(0)) for waiting in by_lane.values())
    return Timetable(
        profile=profile,
        seed=seed,
        lanes=names,
        injections=placed,
        stages=(Stage(STAGE, cpu_weight=_CPU_WEIGHT, estimate=critical_path),),
        critical_path=critical_path,
        mix=dict(sorted(Counter(one.alert for one in placed if one.control is None).items())),
    )


def check_cells(injections: Sequence[Injection]) -> None:
    """Holds that every required cell (alert x channel) has at least two planned trials, controls apart.

    Raises:
        UsageError: a cell has fewer, or an injection has nobody who must hear it.
    """
    planned = Counter((one.alert, channel) for one in injections if one.control is None for channel in one.channels)
    deaf = sorted({one.alert for one in injections if not one.channels})
    if deaf:
        raise UsageError(
            f"nobody must hear {', '.join(deaf)}",
            expected="at least one channel for the priority of every drill",
            hint="name the channels of that priority in drills.yaml",
        )
    thin = sorted(f"{alert} at {channel}" for (alert, channel), count in planned.items() if count < MINIMUM_TRIALS)
    if thin:
        raise UsageError(
            f"too few trials are planned: {', '.join(thin)}",
            expected=f"at least {MINIMUM_TRIALS} trials in every cell",
            hint="a single trial cannot tell a dead cell from an unlucky one",
        )


def _chosen(drills: Sequence[Drill], alerts: Mapping[str, Alert], only: Sequence[str]) -> list[Drill]:
    drilled = [drill.alert for drill in drills]
    for name in only:
        if name in drilled:
            continue
        if name in alerts:
            raise UsageError(
                f"--only {name}: this alert has no drill",
                expected=f"one of {', '.join(sorted(drilled)) or 'no alert at all'}",
                hint="give it a drill in drills.yaml: the fault that must raise it and its priority",
            )
        raise UsageError(
            f"--only {name}: there is no such alert",
            hint=hint(name, drilled),
        )
    chosen = [drill for drill in drills if not only or drill.alert in only]
    if not chosen:
        raise UsageError(
            "there is nothing to drill",
            expected="at least one drill",
            hint="write a drill for every alert into drills.yaml",
        )
    for drill in chosen:
        if drill.alert not in alerts:
            raise UsageError(
                f"{drill.span}: the drill is for {drill.alert}, and no rule file has such an alert",
                hint=hint(drill.alert, alerts),
            )
    return chosen


def _injection(
    drill: Drill,
    priorities: Mapping[Priority, PriorityRule],
    alerts: Mapping[str, Alert],
    name: str,
    seed: int,
    shape: _Shape,
    control: Control | None = None,
) -> Injection:
    """One injection, not yet in a lane; its instants are drawn from the seed and its own name alone."""
    if drill.priority not in priorities:
        raise UsageError(
            f"{drill.span}: the drill for {drill.alert} has priority {drill.priority}, which promises nothing",
            expected=f"one of {', '.join(sorted(priorities))}",
            hint="state the channels and the deadline of that priority in drills.yaml",
        )
    rule, alert = priorities[drill.priority], alerts[drill.alert]
    dice = random.Random(f"{seed}/{name}")
    phase = _drawn(dice, _PHASE)
    heal_after = _drawn(dice, shape.heal_within)
    heard_after = _FIRE if control is None else HOLD
    return Injection(
        id=name,
        alert=drill.alert,
        fault=drill.fault,
        lane="",
        channels=rule.channels,
        start=timedelta(0),
        phase=phase,
        heal_after=heal_after,
        hold=HOLD,
        deadline=rule.deadline,
        since_condition=rule.since_condition,
        rule_hold=alert.hold,
        tolerates=drill.tolerates,
        control=control,
        estimate=phase + alert.hold + heard_after + heal_after + _window(alert) + _RESOLVE + alert.keep_firing_for,
    )


def _drawn(dice: random.Random, below: timedelta) -> timedelta:
    """A duration from [0, below), each microsecond as likely as the next."""
    return timedelta(microseconds=dice.randrange(below // timedelta(microseconds=1)))


def _window(alert: Alert) -> timedelta:
    """The longest range that the rule looks back over: what was bad stays in sight that long."""
    spelled = _RANGE.findall(" ".join((alert.expr, *alert.selectors)))
    return max((_parsed(text) for text in spelled), default=timedelta(0))


def _parsed(text: str) -> timedelta:
    try:
        return parse_duration(text)
    except ValueError:  # PromQL allows plain numbers of seconds as well since 3.0; an estimate needs no more
        return timedelta(0)


def _controls(
    chosen: Sequence[Drill],
    priorities: Mapping[Priority, PriorityRule],
    alerts: Mapping[str, Alert],
    seed: int,
    shape: _Shape,
) -> list[list[Injection]]:
    """For each control the injections of its lane: as many as make two trials, from the drill that costs least."""
    urgency = list(Priority)
    most_urgent = min((drill.priority for drill in chosen), key=urgency.index)
    urgent = [drill for drill in chosen if drill.priority is most_urgent]
    cheapest = min(urgent, key=lambda drill: alerts[drill.alert].hold + _window(alerts[drill.alert]))
    found = []
    for control in Control:
        first = _injection(cheapest, priorities, alerts, f"control-{control}-1", seed, shape, control)
        needed = -(-MINIMUM_TRIALS // max(1, len(first.channels)))
        others = [
            _injection(cheapest, priorities, alerts, f"control-{control}-{number}", seed, shape, control)
            for number in range(2, needed + 1)
        ]
        found.append([first, *others])
    return found


def _trial_lanes(lanes: int | None, shape: _Shape, trials: int, controls: int) -> int:
    """How many lanes the trials get: never more than there are trials."""
    if lanes is None:
        return min(shape.lanes, trials)
    if lanes <= controls:
        raise UsageError(
            f"{lanes} lanes are too few",
            expected=f"at least {controls + 1}: one for each of {controls} negative controls, one for the drills",
        )
    return min(lanes - controls, trials)


def _packed(trials: Sequence[Injection], count: int, seed: int) -> list[list[Injection]]:
    """Longest first onto the lane that is free soonest; of equal lanes the one where this alert was tried least.

    Within a lane the order is then drawn from the seed: longest first is good for packing, and nothing else.
    """
    packed: list[list[Injection]] = [[] for _ in range(count)]
    for one in sorted(trials, key=lambda one: (-one.estimate, one.id)):
        soonest = min(
            packed,
            key=lambda lane: (
                sum((other.estimate for other in lane), timedelta(0)),
                sum(other.alert == one.alert for other in lane),
            ),
        )
        soonest.append(one)
    for number, lane in enumerate(packed, start=1):
        random.Random(f"{seed}/order of lane {number}").shuffle(lane)
    return packed


def _in_order(waiting: Sequence[Injection], lane: str) -> list[Injection]:
    """The injections of a lane one after another; none can start before what cannot be shortened has passed."""
    earliest, placed = timedelta(0), []
    for one in waiting:
        placed.append(replace(one, lane=lane, start=earliest))
        earliest += one.phase + one.rule_hold + one.heal_after
    return placed
