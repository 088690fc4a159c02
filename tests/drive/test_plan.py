"""The timetable: fixed by its seed, two trials in every cell, controls in lanes of their own; and which stages run."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.drive.plan.packing import LATEST_BEGIN, tracks
from harness.drive.plan.stages import critical_path, next_stages
from harness.drive.plan.timetable import HOLD, check_cells, plan
from harness.errors import UsageError
from harness.model.plan import Control, Injection, Profile, Reach, Stage, Timetable, Traits
from harness.model.policy import Alert, Drill, Priority, PriorityRule
from harness.model.source import Span
from harness.model.stack import SHARED

SPAN = Span("policies/drills.yaml", 1, 1, 1, 1)


def rule(priority: Priority, *channels: str) -> PriorityRule:
    """What a priority promises."""
    since = timedelta(seconds=30) if priority is Priority.CRITICAL else None
    return PriorityRule(priority, channels, timedelta(seconds=30), since, SPAN)


def alert(name: str, hold_seconds: float = 2, expr: str = "up == 0") -> Alert:
    """An alerting rule."""
    return Alert(name, expr, timedelta(seconds=hold_seconds), {}, {}, "group", "alerts.yml", SPAN)


PRIORITIES = {
    Priority.CRITICAL: rule(Priority.CRITICAL, "email", "slack"),
    Priority.HIGH: rule(Priority.HIGH, "email", "slack"),
    Priority.LOW: rule(Priority.LOW, "slack"),
}
ALERTS = {
    one.name: one
    for one in (
        alert("DatabaseUnreachable", 4),
        alert("ServerDown", 2),
        alert("HighErrorRatio", 5, "rate(errors_total[10s]) / rate(requests_total[1m]) >= 0.05"),
        alert("Recovered", 1),
    )
}
DRILLS = (
    Drill("DatabaseUnreachable", Priority.CRITICAL, "database-refused", ("HighErrorRatio",), SPAN),
    Drill("ServerDown", Priority.CRITICAL, "server-killed", (), SPAN),
    Drill("HighErrorRatio", Priority.HIGH, "posts-table-missing", (), SPAN),
)
QUIET = Drill("Recovered", Priority.LOW, "server-killed", (), SPAN)
APPLICATION = Traits(frozenset({"application"}), Reach.LANE)
TRAITS = {
    "server-killed": APPLICATION,
    "server-frozen": APPLICATION,
    "database-refused": APPLICATION,
    "posts-table-missing": APPLICATION,
    "host-cpu-busy": Traits(frozenset({"host-cpu"}), Reach.LANE),
    "host-memory-full": Traits(frozenset({"host-memory"}), Reach.LANE),
    "heartbeat-refused": Traits(frozenset({"heartbeat"}), Reach.SHARED),
    "alertmanager-down": Traits(frozenset({"monitoring"}), Reach.ALONE),
    "receiver-erroring": Traits(frozenset({"channels"}), Reach.ALONE),
}


def smoke(
    drills: Sequence[Drill] = DRILLS,
    *,
    seed: int = 1,
    lanes: int | None = None,
    only: Sequence[str] = (),
    alerts: Mapping[str, Alert] = ALERTS,
    profile: Profile = Profile.SMOKE,
) -> Timetable:
    """The timetable of a smoke run, unless another profile is asked for."""
    return plan(drills, PRIORITIES, alerts, TRAITS, profile=profile, seed=seed, lanes=lanes, only=only)


def trials(timetable: Timetable) -> list[Injection]:
    """The injections that are no controls."""
    return [one for one in timetable.injections if one.control is None]


def test_smoke_injects_one_drill_of_each_priority_twice_and_both_controls() -> None:
    """The cheapest drill of every priority, both controls, and the mix as it is printed."""
    timetable = smoke([*DRILLS, QUIET])
    assert timetable.mix == {"HighErrorRatio": 2, "Recovered": 2, "ServerDown": 2}
    assert timetable.lanes == tuple(f"lane-0{number}" for number in range(1, 7))
    assert sorted(one.control for one in timetable.injections if one.control) == [Control.LATE, Control.LOST]
    assert len({one.id for one in timetable.injections}) == len(timetable.injections) == 8
    assert "DatabaseUnreachable" in smoke([*DRILLS, QUIET], profile=Profile.GATE).mix


def test_injections_carry_what_their_priority_promises() -> None:
    """Channels, deadline and the bound since the condition come from the priority; the hold is past the promise."""
    by_alert = {one.alert: one for one in trials(smoke(profile=Profile.GATE))}
    database = by_alert["DatabaseUnreachable"]
    assert (database.channels, database.fault, database.tolerates) == (
        ("email", "slack"),
        "database-refused",
        ("HighErrorRatio",),
    )
    assert (database.deadline, database.since_condition) == (timedelta(seconds=30), timedelta(seconds=30))
    assert by_alert["HighErrorRatio"].since_condition is None
    assert database.rule_hold == timedelta(seconds=4)
    assert database.hold == HOLD == timedelta(seconds=35)


def test_a_drill_may_name_its_own_channels() -> None:
    """Who hears it is then not what its priority says."""
    (drill,) = [replace(QUIET, channels=("email",))]
    assert {one.channels for one in smoke([drill]).injections} == {("email",)}


def test_a_control_comes_first_in_its_track_and_is_the_cheapest_of_the_most_urgent() -> None:
    """It takes the longest of all, so nothing is before it, and each has a lane where none of the other's is."""
    for profile in Profile:
        timetable = smoke(profile=profile)
        controls = [one for one in timetable.injections if one.control]
        assert len({one.lane for one in controls}) == 2
        for control in controls:
            assert control.start <= LATEST_BEGIN
            assert control.alert == "ServerDown"
            assert control.estimate > HOLD


def test_a_control_has_two_trials_where_only_one_channel_must_hear() -> None:
    """One channel makes one trial an injection, so the control is injected twice."""
    timetable = smoke([QUIET])
    for name in Control:
        injections = [one for one in timetable.injections if one.control is name]
        assert sum(len(one.channels) for one in injections) == 2


def test_only_drills_what_was_asked_for() -> None:
    """One alert: its own injections, its own controls, no more lanes than they need."""
    timetable = smoke(only=["HighErrorRatio"])
    assert {one.alert for one in timetable.injections} == {"HighErrorRatio"}
    assert len(timetable.lanes) == 4


def test_the_instants_of_an_injection_do_not_depend_on_what_else_is_drilled() -> None:
    """A run of one alert repeats the instants of the whole run, so a red run can be looked at alone."""
    whole = {one.id: (one.phase, one.heal_after) for one in trials(smoke())}
    alone = {one.id: (one.phase, one.heal_after) for one in trials(smoke(only=["ServerDown"]))}
    assert alone.items() <= whole.items()
    assert alone


def test_an_alert_that_is_not_known_is_a_usage_error() -> None:
    """A misspelt name gets the one that was meant."""
    with pytest.raises(UsageError, match="did you mean 'ServerDown'"):
        smoke(only=["ServerDwon"])


def test_an_alert_without_a_drill_is_told_apart_from_an_unknown_one() -> None:
    """The alert is there, only nobody drills it."""
    with pytest.raises(UsageError, match="has no drill"):
        smoke(only=["Recovered"])


def test_a_drill_for_an_unknown_alert_is_a_usage_error() -> None:
    """With the file and line of the drill."""
    with pytest.raises(UsageError, match=r"policies/drills.yaml:1:1: .*ServerDown"):
        smoke(alerts={name: one for name, one in ALERTS.items() if name != "ServerDown"})


def test_nothing_to_drill_is_a_usage_error() -> None:
    """No drill means no evidence, and says so before anything starts."""
    with pytest.raises(UsageError, match="nothing to drill"):
        smoke([])


def test_a_priority_that_promises_nothing_is_a_usage_error() -> None:
    """A drill of a priority that nobody described."""
    priorities = {Priority.HIGH: PRIORITIES[Priority.HIGH]}
    with pytest.raises(UsageError, match="promises nothing"):
        plan([QUIET], priorities, ALERTS, TRAITS, profile=Profile.SMOKE, seed=1)


def test_a_priority_without_channels_is_a_usage_error() -> None:
    """An alert that nobody must hear has no cell, and no cell is ever red."""
    with pytest.raises(UsageError, match="nobody must hear Recovered"):
        plan([QUIET], {Priority.LOW: rule(Priority.LOW)}, ALERTS, TRAITS, profile=Profile.SMOKE, seed=1)


def test_one_trial_in_a_cell_is_a_planning_error() -> None:
    """Two are the least; controls do not count."""
    injections = smoke().injections
    check_cells(injections)
    with pytest.raises(UsageError, match="ServerDown at email, ServerDown at slack"):
        check_cells([one for one in injections if one.id != "ServerDown-2"])


def test_too_few_lanes_are_a_usage_error() -> None:
    """One lane is the least; in it everything follows one another."""
    with pytest.raises(UsageError, match="0 lanes are too few"):
        smoke(lanes=0)
    timetable = smoke(lanes=1)
    assert {one.lane for one in timetable.injections} == {"lane-01"}


def test_a_track_is_never_planned_twice_at_once() -> None:
    """Within a track each start lies past all that cannot be shortened of the injection before."""
    timetable = smoke(lanes=1)
    lane = [one for one in timetable.injections if one.lane == "lane-01"]
    assert len(lane) == 6
    for before, after in pairwise(lane):
        assert after.start == before.start + before.phase + before.rule_hold + before.heal_after


def test_the_critical_path_is_the_longest_track_and_what_runs_alone() -> None:
    """What a run takes at least, by its estimates; more lanes never make it longer."""
    drills = [*DRILLS, BUSY, DEAF]
    timetable = smoke(drills, profile=Profile.GATE)
    rows: dict[tuple[str, str], timedelta] = {}
    for one in timetable.injections:
        row = (one.lane, one.track) if one.stage == "alerts" else ("", "")
        rows[row] = rows.get(row, timedelta(0)) + one.estimate
    alone = rows.pop(("", ""))
    assert timetable.critical_path == max(rows.values()) + alone
    assert [stage.estimate for stage in timetable.stages] == [max(rows.values()), alone]
    assert smoke(drills, profile=Profile.GATE, lanes=3).critical_path > timetable.critical_path


def test_a_window_makes_an_injection_longer() -> None:
    """What was bad stays in sight as long as the rule looks back, at its shortest; minutes are only compared with."""
    plain = {**ALERTS, "HighErrorRatio": alert("HighErrorRatio", 5)}
    compared = {**ALERTS, "HighErrorRatio": alert("HighErrorRatio", 5, "max_over_time(up[5m]) unless up")}
    with_window, without, with_history = (
        next(one for one in trials(smoke(alerts=alerts)) if one.id == "HighErrorRatio-1")
        for alerts in (ALERTS, plain, compared)
    )
    assert with_window.estimate - without.estimate == timedelta(seconds=10)
    assert with_history.estimate == without.estimate


SEEDS = st.integers(0, 2**32)


@settings(max_examples=50, deadline=None)
@given(SEEDS)
def test_the_same_seed_gives_the_same_timetable(seed: int) -> None:
    """Nothing but the seed and the policy decides what is tried, and when."""
    assert smoke(seed=seed) == smoke(seed=seed)


@settings(max_examples=50, deadline=None)
@given(SEEDS, SEEDS)
def test_another_seed_gives_other_instants(one: int, other: int) -> None:
    """Two seeds never repeat each other's instants; what is tried is the same."""
    if one == other:
        return
    first, second = smoke(seed=one), smoke(seed=other)
    assert {(x.id, x.alert) for x in first.injections} == {(x.id, x.alert) for x in second.injections}
    assert {(x.id, x.phase, x.heal_after) for x in first.injections}.isdisjoint(
        {(x.id, x.phase, x.heal_after) for x in second.injections}
    )


@settings(max_examples=50, deadline=None)
@given(SEEDS)
def test_instants_stay_within_their_spans(seed: int) -> None:
    """The phase lies within one scrape interval, healing within the group's interval, whatever the seed."""
    for one in smoke(seed=seed).injections:
        assert timedelta(0) <= one.phase < timedelta(seconds=2)
        assert timedelta(0) <= one.heal_after < timedelta(seconds=5)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 12), st.integers(1, 9), SEEDS, st.sampled_from(Profile))
def test_every_plan_is_whole(count: int, lanes: int, seed: int, profile: Profile) -> None:
    """Any number of drills on any number of lanes: what the profile asks for is planned, every cell at least twice."""
    alerts = {name: alert(name, number) for number, name in enumerate(f"Alert{n}" for n in range(count))}
    drills = [Drill(name, Priority.HIGH, "server-killed", (), SPAN) for name in alerts]
    timetable = smoke(drills, seed=seed, lanes=lanes, alerts=alerts, profile=profile)
    check_cells(timetable.injections)
    least = {Profile.SMOKE: 2, Profile.GATE: 124, Profile.NIGHTLY: 208}[profile]
    assert len(trials(timetable)) == max(least, 2 if profile is Profile.SMOKE else 2 * count)
    assert {one.lane for one in timetable.injections} == set(timetable.lanes)
    assert len(timetable.lanes) <= lanes
    assert sum(timetable.mix.values()) == len(trials(timetable))


BUSY = Drill("HostBusy", Priority.MEDIUM, "host-cpu-busy", (), SPAN)
FULL = Drill("HostFull", Priority.CRITICAL, "host-memory-full", (), SPAN)
DEAF = Drill("DeadMan", Priority.CRITICAL, "alertmanager-down", (), SPAN)
SILENT = Drill("HeartbeatLost", Priority.CRITICAL, "heartbeat-refused", (), SPAN)
ALERTS |= {one.name: one for one in map(alert, ("HostBusy", "HostFull", "DeadMan", "HeartbeatLost"))}
PRIORITIES[Priority.MEDIUM] = rule(Priority.MEDIUM, "email")


def test_what_touches_different_things_goes_on_side_by_side() -> None:
    """The tracks of a lane: a busy processor does not wait for a server that is down."""
    timetable = smoke([*DRILLS, BUSY, FULL], profile=Profile.GATE, lanes=2)
    tracks = {one.alert: one.track for one in timetable.injections}
    assert tracks["HostBusy"] == "host-cpu"
    assert tracks["HostFull"] == "host-memory"
    assert tracks["ServerDown"] == tracks["DatabaseUnreachable"] == "application"
    for row in {(one.lane, one.track) for one in timetable.injections}:
        starts = [one.start for one in timetable.injections if (one.lane, one.track) == row]
        assert starts == sorted(starts)


def test_faults_that_share_something_are_one_track_even_through_a_third() -> None:
    """A touches x, B touches x and y, C touches y: none of them side by side."""
    traits = {
        "a": Traits(frozenset({"x"}), Reach.LANE),
        "b": Traits(frozenset({"x", "y"}), Reach.LANE),
        "c": Traits(frozenset({"y"}), Reach.LANE),
        "d": Traits(frozenset({"z"}), Reach.LANE),
    }
    assert tracks({"a", "b", "c", "d"}, traits) == {"a": "x", "b": "x", "c": "x", "d": "z"}
    assert tracks({"a", "c"}, traits) == {"a": "x", "c": "y"}, "nobody joins them"


def test_what_disturbs_every_alert_is_injected_alone_and_last() -> None:
    """A stage of its own, after the other; what is shared and disturbs nobody goes on beside the lanes."""
    timetable = smoke([*DRILLS, DEAF, SILENT], profile=Profile.GATE)
    by_alert = {one.alert: one for one in trials(timetable)}
    assert (by_alert["DeadMan"].lane, by_alert["DeadMan"].stage) == (SHARED, "monitoring")
    assert (by_alert["HeartbeatLost"].lane, by_alert["HeartbeatLost"].stage) == (SHARED, "alerts")
    assert [stage.name for stage in timetable.stages] == ["alerts", "monitoring"]
    assert timetable.stages[1].after == {"alerts"}
    assert SHARED not in timetable.lanes


def test_the_faults_of_a_drill_take_turns() -> None:
    """Each is tried, as often as the others give or take one; those of the night at night alone."""
    drill = replace(DRILLS[1], also=("server-frozen",), nightly=("database-refused",))
    gate = Counter(one.fault for one in trials(smoke([drill], profile=Profile.GATE)))
    assert gate == {"server-killed": 62, "server-frozen": 62}
    night = Counter(one.fault for one in trials(smoke([drill], profile=Profile.NIGHTLY)))
    assert sorted(night.values()) == [69, 69, 70]


def test_an_alert_must_be_heard_although_its_way_is_disturbed() -> None:
    """At night, alone, for a drawn time that outlasts the first attempt to notify and ends before the deadline."""
    drill = replace(DRILLS[1], although=("receiver-erroring",))
    assert not [one for one in smoke([drill], profile=Profile.GATE).injections if one.although]
    (found,) = [one for one in smoke([drill], profile=Profile.NIGHTLY).injections if one.although]
    assert (found.although, found.lane, found.stage) == ("receiver-erroring", "lane-01", "monitoring")
    assert timedelta(seconds=3) <= found.although_for < timedelta(seconds=7)


def test_what_a_disturbance_itself_must_raise_may_speak_too() -> None:
    """Under the disturbance that raises it at night, and under no other; nor where nothing disturbs the way."""
    loud = replace(QUIET, nightly=("receiver-erroring",))
    drill = replace(DRILLS[1], tolerates=("HighErrorRatio",), although=("receiver-erroring", "database-refused"))
    night = smoke([drill, loud], profile=Profile.NIGHTLY, only=["ServerDown"])
    tolerated = {one.although: one.tolerates for one in trials(night)}
    assert tolerated == {
        "": ("HighErrorRatio",),
        "receiver-erroring": ("HighErrorRatio", "Recovered"),
        "database-refused": ("HighErrorRatio",),
    }


def test_the_less_urgent_come_first() -> None:
    """What an outage leaves behind, a window or an inhibition, would silence a lesser alert that comes after it."""
    timetable = smoke([*DRILLS, QUIET], profile=Profile.GATE, lanes=2)
    for lane in timetable.lanes:
        order = [one.alert for one in trials(timetable) if one.lane == lane]
        urgency = [["Recovered", "HighErrorRatio", "ServerDown", "DatabaseUnreachable"].index(name) for name in order]
        assert [min(place, 2) for place in urgency] == sorted(min(place, 2) for place in urgency)


def test_tracks_do_not_all_begin_at_the_same_instant() -> None:
    """Those that are done long before the others begin within some seconds; the longest begins at once."""
    timetable = smoke([*DRILLS, BUSY, FULL], profile=Profile.GATE)
    rows: dict[tuple[str, str], list[Injection]] = {}
    for one in timetable.injections:
        rows.setdefault((one.lane, one.track), []).append(one)
    begins = [waiting[0].start for waiting in rows.values()]
    assert min(begins) == timedelta(0)
    assert max(begins) <= LATEST_BEGIN
    assert len(set(begins)) > len(begins) / 2
    whole = timetable.critical_path
    for waiting in rows.values():
        assert waiting[0].start + sum((one.estimate for one in waiting), timedelta(0)) <= whole


def test_further_injections_lengthen_the_run_least() -> None:
    """Every drill is tried about as often, as long as no track becomes the longest; then where there is room."""
    timetable = smoke([*DRILLS, BUSY, FULL], profile=Profile.GATE)
    mix = timetable.mix
    assert sum(mix.values()) == 124
    assert min(mix.values()) >= 2
    assert min(mix["HostBusy"], mix["HostFull"]) > max(mix[drill.alert] for drill in DRILLS), "they have tracks alone"


def stage(name: str, weight: float = 1, *, after: str = "", excludes: str = "", seconds: float = 1) -> Stage:
    """A stage; `after` and `excludes` are names with blanks between."""
    return Stage(name, weight, timedelta(seconds=seconds), frozenset(excludes.split()), frozenset(after.split()))


def names(stages: Sequence[Stage]) -> list[str]:
    """Their names."""
    return [one.name for one in stages]


def test_stages_run_together_as_far_as_the_cores_go() -> None:
    """Two cores bear two stages of one core each; the third waits for one of them."""
    three = [stage("a"), stage("b"), stage("c")]
    assert names(next_stages(three, (), (), cores=2)) == ["a", "b"]
    assert names(next_stages(three, ("a", "b"), (), cores=2)) == []
    assert names(next_stages(three, ("b",), ("a",), cores=2)) == ["c"]


def test_the_longest_chain_comes_first() -> None:
    """A short stage that others wait for goes before a longer one that nobody waits for."""
    stages = [stage("alone", seconds=5), stage("first"), stage("second", after="first", seconds=9)]
    assert names(next_stages(stages, (), (), cores=1)) == ["first"]
    assert critical_path(stages) == timedelta(seconds=10)


def test_exclusion_holds_both_ways() -> None:
    """Whoever of two stages declares it, they never run together."""
    stages = [stage("browser", 0.1, excludes="stores", seconds=2), stage("stores", 0.1)]
    assert names(next_stages(stages, (), (), cores=8)) == ["browser"]
    assert names(next_stages(stages, ("stores",), (), cores=8)) == []


def test_a_stage_waits_for_those_before_it() -> None:
    """A stage that is running has not ended."""
    stages = [stage("first"), stage("second", after="first")]
    assert names(next_stages(stages, ("first",), (), cores=8)) == []
    assert names(next_stages(stages, (), ("first",), cores=8)) == ["second"]


def test_a_stage_too_heavy_for_the_machine_runs_alone() -> None:
    """It would never start otherwise."""
    stages = [stage("heavy", 4, seconds=9), stage("light", 0.1)]
    assert names(next_stages(stages, (), (), cores=2)) == ["heavy"]
    assert names(next_stages(stages, ("light",), (), cores=2)) == []


def test_stages_in_a_circle_are_a_usage_error() -> None:
    """With the circle, named."""
    circle = [stage("a", after="c"), stage("b", after="a"), stage("c", after="b")]
    with pytest.raises(UsageError, match="a before b before c before a"):
        next_stages(circle, (), (), cores=2)


def test_an_unknown_stage_is_a_usage_error() -> None:
    """With the one that was meant."""
    with pytest.raises(UsageError, match="did you mean 'alerts'"):
        next_stages([stage("alerts"), stage("logs", after="alert")], (), (), cores=2)


def test_two_stages_of_one_name_are_a_usage_error() -> None:
    """Names are how stages refer to each other."""
    with pytest.raises(UsageError, match="same name"):
        critical_path([stage("alerts"), stage("alerts")])


@st.composite
def plans_of_stages(draw: st.DrawFn) -> list[Stage]:
    """Stages in any order that has no circle: each comes after some of those drawn before it."""
    stages: list[Stage] = []
    for number in range(draw(st.integers(1, 7))):
        known = [one.name for one in stages]
        some = st.frozensets(st.sampled_from(known), max_size=2) if known else st.just(frozenset[str]())
        weight = draw(st.floats(0.1, 3))
        stages.append(Stage(f"s{number}", weight, timedelta(seconds=1), draw(some), draw(some)))
    return draw(st.permutations(stages))


@settings(max_examples=100, deadline=None)
@given(plans_of_stages(), st.floats(0.5, 4), st.randoms(use_true_random=False))
def test_every_plan_of_stages_comes_to_its_end(stages: list[Stage], cores: float, dice: random.Random) -> None:
    """Nothing waits for ever, and no rule is broken on the way, whichever stage ends first."""
    by_name = {one.name: one for one in stages}
    running: list[str] = []
    done: list[str] = []
    while len(done) < len(stages):
        started = next_stages(stages, running, done, cores)
        assert started or running
        running += names(started)
        assert len(running) == 1 or sum(by_name[name].cpu_weight for name in running) <= cores
        for name in running:
            assert by_name[name].after <= set(done)
            assert by_name[name].excludes.isdisjoint(running)
        ended = dice.choice(running)
        running.remove(ended)
        done.append(ended)
