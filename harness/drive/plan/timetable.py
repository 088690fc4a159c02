"""Which fault, in which lane, when: a timetable fixed by its seed before anything is touched.

Pure: the same drills, options and seed give the same timetable, on every machine.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from harness.drive.plan.estimate import FIRE, cost, window
from harness.drive.plan.packing import in_sequence, load, longest, packed, tracks
from harness.drive.plan.shapes import MINIMUM_TRIALS, SHAPES, Shape
from harness.drive.plan.stages import critical_path
from harness.errors import UsageError
from harness.model.plan import Control, Injection, Profile, Reach, Stage, Timetable, Traits
from harness.model.policy import Alert, Drill, Priority, PriorityRule
from harness.model.scenes import ScenePlan
from harness.model.stack import SHARED
from harness.policy.parse.suggest import hint

HOLD = timedelta(seconds=35)
"""How long a message may take from due before it is lost: past the 30 s promise, so that late and lost differ."""

STAGE = "alerts"
"""The stage in which faults of lanes, and those that disturb no lane, are injected side by side."""

ALONE = "monitoring"
"""The stage in which the way of every alert is disturbed: one injection at a time, and nothing else."""

PLAYED = "scenes"
"""The stage in which scenes are played, each of them alone, when all else is over."""

_CPU_WEIGHT = 0.5
_ALTHOUGH_LEAST = timedelta(seconds=3)
_ALTHOUGH_SPAN = timedelta(seconds=4)
"""A fault of the alerting path outlasts the first attempt to notify (group_wait is 2 s), and ends long before 30 s."""


def plan(
    drills: Sequence[Drill],
    priorities: Mapping[Priority, PriorityRule],
    alerts: Mapping[str, Alert],
    traits: Mapping[str, Traits],
    *,
    profile: Profile,
    seed: int,
    lanes: int | None = None,
    only: Sequence[str] = (),
    scenes: Sequence[ScenePlan] = (),
    scenes_left_out: Mapping[str, str] | None = None,
) -> Timetable:
    """The timetable of a run.

    Every chosen drill is injected at least twice. Injections of one lane that touch different things go on side by
    side, the others one after another; what disturbs all lanes is injected in a stage of its own, alone. Further
    injections, up to the number that the profile asks for, go where they lengthen the run least.

    Args:
        drills: what the policy drills.
        priorities: who must hear, by when.
        alerts: the alerting rules by name.
        traits: what each fault touches, and how far it reaches.
        profile: how much is tried.
        seed: what every random instant is drawn from.
        lanes: how many lanes may be used; the profile's own number where None.
        only: names of the alerts to drill; all where empty.
        scenes: what could be played; it is where the profile plays scenes.
        scenes_left_out: why other scenes could not, by id.

    Raises:
        UsageError: nothing is left to drill, a name is unknown, there are too few lanes, or a cell has fewer than two
            trials.
    """
    shape = SHAPES[profile]
    asked = _chosen(drills, alerts, only)
    chosen = asked if only else shape.chosen(asked, {drill.alert: cost(alerts[drill.alert]) for drill in asked}, traits)
    if lanes is not None and lanes < 1:
        raise UsageError(f"{lanes} lanes are too few", expected="at least one")
    draft = _Draft(shape, drills, priorities, alerts, traits, seed)
    trials, controls = draft.fill(chosen, lanes or shape.lanes, wanted=0 if only else shape.injections)
    side_by_side = [one for one in (*controls, *trials) if one.stage == STAGE]
    in_lanes = [one for one in side_by_side if one.lane != SHARED]
    count = min(lanes or shape.lanes, max(Counter(one.track for one in in_lanes).values(), default=1))
    names = tuple(f"lane-{number:02}" for number in range(1, count + 1))
    urgency = {drill.alert: drill.priority for drill in chosen}
    placed = packed(in_lanes, names, urgency, seed)
    placed += packed([one for one in side_by_side if one.lane == SHARED], (SHARED,), urgency, seed)
    alone = in_sequence([one for one in (*controls, *trials) if one.stage == ALONE], urgency, f"{seed}/alone")
    check_cells([*placed, *alone])
    stages = [Stage(STAGE, cpu_weight=_CPU_WEIGHT, estimate=longest(placed))]
    if alone:
        stages.append(Stage(ALONE, cpu_weight=_CPU_WEIGHT, estimate=load(alone), after=frozenset({STAGE})))
    played = tuple(scenes) if shape.scenes else ()
    if played:
        length = sum((scene.estimate for scene in played), timedelta(0))
        before = frozenset(stage.name for stage in stages)
        stages.append(Stage(PLAYED, cpu_weight=_CPU_WEIGHT, estimate=length, after=before))
    return Timetable(
        profile=profile,
        seed=seed,
        lanes=names,
        injections=(*placed, *alone),
        stages=tuple(stages),
        critical_path=critical_path(stages),
        hard_stop=shape.hard_stop,
        mix=dict(sorted(Counter(one.alert for one in (*placed, *alone) if one.control is None).items())),
        scenes=played,
        scenes_left_out=dict(scenes_left_out or {}) if shape.scenes else {},
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


@dataclass(frozen=True, slots=True)
class _Draft:
    """Makes injections; their instants are drawn from the seed and their own name alone."""

    shape: Shape
    drills: Sequence[Drill]
    priorities: Mapping[Priority, PriorityRule]
    alerts: Mapping[str, Alert]
    traits: Mapping[str, Traits]
    seed: int

    def fill(self, chosen: Sequence[Drill], lanes: int, *, wanted: int) -> tuple[list[Injection], list[Injection]]:
        """The injections, each in its track and stage and not yet in a lane; and the negative controls."""
        everything = {fault for drill in chosen for fault in self.shape.faults(drill)}
        track = tracks(
            sorted(fault for fault in everything if self.traits[fault].reach is not Reach.ALONE), self.traits
        )
        counts = {drill.alert: max(MINIMUM_TRIALS, len(self.shape.faults(drill))) for drill in chosen}
        trials = [self._trial(drill, number, track) for drill in chosen for number in range(1, counts[drill.alert] + 1)]
        trials += [
            self._although(drill, number, fault)
            for drill in chosen
            for number, fault in enumerate(self.shape.although(drill), start=1)
        ]
        controls = self._controls(chosen, track)
        loads: dict[str, timedelta] = {}
        for one in (*controls, *trials):
            if one.stage == STAGE and one.lane != SHARED:
                loads[one.track] = loads.get(one.track, timedelta(0)) + one.estimate
        longest_row = max(
            [*(spent / lanes for spent in loads.values()), *self._rows_of_what_is_shared(trials)], default=timedelta(0)
        )
        while len(trials) < wanted and loads:
            further = [
                one
                for drill in chosen
                if (one := self._trial(drill, counts[drill.alert] + 1, track)).stage == STAGE and one.lane != SHARED
            ]
            # What was tried least, as long as that does not make the run longer; else where it does so least.
            best = min(
                further,
                key=lambda one: (
                    max(longest_row, (loads[one.track] + one.estimate) / lanes),
                    counts[one.alert],
                    one.alert,
                ),
            )
            counts[best.alert] += 1
            loads[best.track] += best.estimate
            longest_row = max(longest_row, loads[best.track] / lanes)
            trials.append(best)
        return trials, controls

    def _rows_of_what_is_shared(self, trials: Sequence[Injection]) -> list[timedelta]:
        """How long the tracks take that are not in lanes, and go on beside them."""
        rows: dict[str, timedelta] = {}
        for one in trials:
            if one.stage == STAGE and one.lane == SHARED:
                rows[one.track] = rows.get(one.track, timedelta(0)) + one.estimate
        return [*rows.values()]

    def _trial(self, drill: Drill, number: int, track: Mapping[str, str]) -> Injection:
        faults = self.shape.faults(drill)
        fault = faults[(number - 1) % len(faults)]
        return self._within_reach(self._injection(drill, f"{drill.alert}-{number}", fault), track)

    def _within_reach(self, one: Injection, track: Mapping[str, str]) -> Injection:
        """The injection in the stage and the track that its fault's reach asks for; one of a lane has none yet."""
        reach = self.traits[one.fault].reach
        if reach is Reach.ALONE:
            return replace(one, lane=SHARED, track=ALONE, stage=ALONE)
        return replace(one, lane=SHARED if reach is Reach.SHARED else "", track=track[one.fault], stage=STAGE)

    def _although(self, drill: Drill, number: int, disturbance: str) -> Injection:
        """The drill again, in a stage in which nothing else goes on, while the way of its alert is disturbed.

        Whatever alert the disturbance itself must raise may speak too: under a dead Alertmanager the dead man's
        listener does its duty. Under any other disturbance the same message is a false alarm.
        """
        raised = [other.alert for other in self.drills if disturbance in (*other.faults, *other.nightly)]
        one = self._injection(drill, f"{drill.alert}-although-{number}", drill.fault)
        dice = random.Random(f"{self.seed}/{one.id}/although")
        return replace(
            one,
            lane="lane-01",
            track=ALONE,
            stage=ALONE,
            tolerates=tuple(dict.fromkeys((*drill.tolerates, *raised))),
            although=disturbance,
            although_for=_ALTHOUGH_LEAST + _drawn(dice, _ALTHOUGH_SPAN),
            estimate=one.estimate + _ALTHOUGH_SPAN,
        )

    def _controls(self, chosen: Sequence[Drill], track: Mapping[str, str]) -> list[Injection]:
        """For each control as many injections as make two trials, from the drill that costs least."""
        in_lanes = [drill for drill in chosen if self.traits[drill.fault].reach is Reach.LANE]
        urgency = list(Priority)
        most_urgent = min((drill.priority for drill in in_lanes or chosen), key=urgency.index)
        urgent = [drill for drill in in_lanes or chosen if drill.priority is most_urgent]
        cheapest = min(urgent, key=lambda drill: self.alerts[drill.alert].hold + window(self.alerts[drill.alert]))
        found = []
        for control in Control:
            first = self._injection(cheapest, f"control-{control}-1", cheapest.fault, control)
            needed = -(-MINIMUM_TRIALS // max(1, len(first.channels)))
            names = [f"control-{control}-{number}" for number in range(2, needed + 1)]
            others = [self._injection(cheapest, name, cheapest.fault, control) for name in names]
            found += [self._within_reach(one, track) for one in (first, *others)]
        return found

    def _injection(self, drill: Drill, name: str, fault: str, control: Control | None = None) -> Injection:
        if drill.priority not in self.priorities:
            raise UsageError(
                f"{drill.span}: the drill for {drill.alert} has priority {drill.priority}, which promises nothing",
                expected=f"one of {', '.join(sorted(self.priorities))}",
                hint="state the channels and the deadline of that priority in drills.yaml",
            )
        rule, alert = self.priorities[drill.priority], self.alerts[drill.alert]
        dice = random.Random(f"{self.seed}/{name}")
        phase = _drawn(dice, self.shape.phase)
        # What a control shows is seen when its hold is over: nothing is learnt from leaving it in place for longer.
        heal_after = _drawn(dice, self.shape.heal_within) if control is None else timedelta(0)
        return Injection(
            id=name,
            alert=drill.alert,
            fault=fault,
            lane="",
            channels=rule.channels if drill.channels is None else drill.channels,
            start=timedelta(0),
            phase=phase,
            heal_after=heal_after,
            hold=HOLD,
            deadline=rule.deadline,
            since_condition=rule.since_condition,
            rule_hold=alert.hold,
            tolerates=drill.tolerates,
            control=control,
            estimate=phase + heal_after + cost(alert, heard_after=FIRE if control is None else HOLD),
        )


def _drawn(dice: random.Random, below: timedelta) -> timedelta:
    """A duration from [0, below), each microsecond as likely as the next."""
    return timedelta(microseconds=dice.randrange(below // timedelta(microseconds=1)))
