"""Recall, precision, detection time, reset time, noise: counted by their definitions, and never out of nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ledgers import ALERTS, CHANNELS, EPOCH, Ledger, Play, injection, message, only, post, smoke

from harness.drive.plan.timetable import ALONE
from harness.model.events import (
    Event,
    FaultApplying,
    InjectionClosed,
    InjectionPlanned,
    Payload,
    RunEnded,
    StageEnded,
    StageStarted,
    Starved,
)
from harness.model.hops import Hop
from harness.model.notifications import Status
from harness.model.stack import SHARED
from harness.model.verdicts import FaultQuality, Quality
from harness.verdict.judge import judge
from harness.verdict.statistics import rate_upper_bound

T0 = 0.3
"""When the first fault of every lane of a smoke ledger is proven, in seconds since the first fault."""

FAULTS = [fault for _, fault in ALERTS.values()]


def quality(events: tuple[Event, ...]) -> Quality:
    """The quality of a run's alerts."""
    return judge(events).quality


def of(events: tuple[Event, ...], fault: str) -> FaultQuality:
    """One fault's."""
    return next(one for one in quality(events).by_fault if one.fault == fault)


def firing(alert: str, lane: str, after: float, channel: str = "email") -> tuple[float, Payload]:
    """A message that says firing, so many seconds after the first fault."""
    return after, message(alert, lane, channel, EPOCH + 10 + after)


def resolved(alert: str, lane: str, after: float, channel: str = "email") -> tuple[float, Payload]:
    """A message that says that it is over."""
    return after, message(alert, lane, channel, EPOCH + 10 + after, Status.RESOLVED)


def test_a_healthy_run() -> None:
    """Everything is recalled and explained, with the times that the ledger was made with; controls do not count."""
    found = quality(smoke())
    assert [one.fault for one in found.by_fault] == FAULTS
    for one, count in ((found.overall, 6), *((one, 2) for one in found.by_fault)):
        assert (one.injections, one.fired, one.unknown, one.recall) == (count, count, 0, 1.0)
        assert (one.explained, one.false_alarms, one.precision) == (count, 0, 1.0)
        assert one.firing_seconds is not None
        assert one.message_seconds is not None
        assert one.reset_seconds is not None
        assert one.firing_seconds.p50 == pytest.approx(3.9)
        assert one.message_seconds.max == pytest.approx(6.0)
        assert one.reset_seconds.max == pytest.approx(7.6)
    assert (found.noise.false_alarms, found.noise.per_lane_day, found.false_alarms) == (0, 0.0, ())


# --- recall -----------------------------------------------------------------------------------------------------


def test_an_alert_that_did_not_fire_is_missed() -> None:
    """Two of six: nothing was seen beyond the first sample, so its time is infinite, for the fault and in all."""
    events = smoke({"ServerDown": Play(reaches=Hop.VISIBLE)})
    killed = of(events, "server-killed")
    assert (killed.injections, killed.fired, killed.recall) == (2, 0, 0.0)
    assert killed.firing_seconds is not None
    assert killed.message_seconds is not None
    assert killed.firing_seconds.p50 == killed.message_seconds.p50 == math.inf
    assert killed.precision is None
    overall = quality(events).overall
    assert overall.recall == pytest.approx(4 / 6)
    assert overall.precision == 1.0
    assert overall.message_seconds is not None
    assert overall.message_seconds.p50 == pytest.approx(6.0)
    assert overall.message_seconds.max == math.inf


@pytest.mark.parametrize("play", [Play(reaches=Hop.FIRING), Play(deaf=CHANNELS), Play(deaf=("email",))])
def test_an_alert_that_fired_is_recalled_though_nobody_heard(play: Play) -> None:
    """Delivery is judged elsewhere: here it counts that the alert spoke; the message that never came is infinite."""
    killed = of(smoke({"ServerDown": play}), "server-killed")
    assert killed.recall == 1.0
    assert killed.firing_seconds is not None
    assert killed.firing_seconds.max == pytest.approx(3.9)
    assert killed.message_seconds is not None
    assert math.isfinite(killed.message_seconds.max) is (play.deaf == ("email",))


def test_a_fault_without_effect_is_no_injection() -> None:
    """Unproven ones are not in the sample; where none is left there is no evidence, least of all a perfect score."""
    some = of(smoke({"ServerDown-1": Play(mute="no effect")}), "server-killed")
    assert (some.injections, some.fired) == (1, 1)
    none = of(smoke({"ServerDown": Play(mute="no effect")}), "server-killed")
    assert (none.injections, none.unknown, none.recall, none.precision) == (0, 0, None, None)
    assert (none.firing_seconds, none.message_seconds, none.reset_seconds) == (None, None, None)


def test_what_could_not_be_seen_is_unknown_not_missed() -> None:
    """Nothing arrived and Prometheus could not be asked: nobody knows whether it fired, so it is told apart."""
    killed = of(smoke({"ServerDown": Play(reaches=Hop.INJECTED, unread="connection refused")}), "server-killed")
    assert (killed.injections, killed.fired, killed.unknown, killed.recall) == (0, 0, 2, None)
    asked = of(smoke({"ServerDown": Play(reaches=Hop.INJECTED)}), "server-killed")
    assert (asked.injections, asked.fired, asked.unknown, asked.recall) == (2, 0, 0, 0.0)


def test_a_starved_harness_times_nothing() -> None:
    """What was heard while we were starved was heard, but its times are ours and not the monitoring's."""
    starved = (1.0, Starved("loop-lag", EPOCH + 10.5, EPOCH + 11, 0.8, 0.25))
    late = {f"{alert}-1": Play(after=dict.fromkeys(CHANNELS, 9.0)) for alert in ALERTS}
    found = quality(smoke(late, extra=[starved])).overall
    assert (found.injections, found.fired) == (6, 6)
    assert found.message_seconds is not None
    assert found.message_seconds.max == pytest.approx(6.0)
    unstarved = quality(smoke(late)).overall.message_seconds
    assert unstarved is not None
    assert unstarved.max == pytest.approx(9.0)


# --- reset ------------------------------------------------------------------------------------------------------


def test_reset_is_when_the_last_channel_knows() -> None:
    """One channel that is never told that it is over makes it infinite; one that never heard of it does not count."""
    never = of(smoke({"ServerDown-1": Play(never_over=("slack",))}), "server-killed")
    assert never.reset_seconds is not None
    assert (never.reset_seconds.p50, never.reset_seconds.max) == (math.inf, math.inf)
    deaf = of(smoke({"ServerDown": Play(deaf=("slack",))}), "server-killed")
    assert deaf.reset_seconds is not None
    assert deaf.reset_seconds.max == pytest.approx(7.6)


def test_a_run_that_ended_before_the_end_was_told_does_not_time_it() -> None:
    """Healed, and nobody listened on: the reset of that injection is not known."""
    events = only(smoke(), lambda event: event.wall < EPOCH + 20)
    assert any(event.kind == "healed" for event in events)
    found = quality(events).overall
    assert found.fired == 3
    assert found.reset_seconds is None


# --- precision --------------------------------------------------------------------------------------------------


def test_a_false_alarm_in_quiet_time() -> None:
    """Told at two channels and twice at one of them it is one alarm; it counts as noise and against no fault."""
    alarm = [
        firing("ServerDown", "lane-02", -3.0),
        firing("ServerDown", "lane-02", -2.9, "slack"),
        firing("ServerDown", "lane-02", -2.0),
    ]
    found = quality(smoke(extra=alarm))
    (false,) = found.false_alarms
    assert (false.alert, false.lane, false.at, false.fault) == ("ServerDown", "lane-02", EPOCH + 7, "")
    assert found.overall.precision == pytest.approx(6 / 7)
    assert {one.precision for one in found.by_fault} == {1.0}
    assert found.noise.false_alarms == 1


def test_a_second_episode_is_a_second_alarm() -> None:
    """Over at its channel and then on again: two alarms; the same in two lanes: two as well."""
    on, off, again = (
        firing("ServerDown", "lane-02", -4.0),
        resolved("ServerDown", "lane-02", -3.5),
        firing("ServerDown", "lane-02", -3.0),
    )
    assert quality(smoke(extra=[on, again])).noise.false_alarms == 1
    assert quality(smoke(extra=[on, off, again])).noise.false_alarms == 2
    assert quality(smoke(extra=[on, firing("ServerDown", "lane-03", -4.0)])).noise.false_alarms == 2


def test_a_strange_alert_beside_a_fault_is_laid_to_the_fault() -> None:
    """It is no noise of quiet time; tolerated by the drill it is explained, as one alarm more."""
    strange = [firing("HighErrorRatio", "lane-01", T0 + 2), (T0 + 1, post("HighErrorRatio", "lane-01", EPOCH + 11.3))]

    def tolerant(payload: Payload) -> Payload:
        if isinstance(payload, InjectionPlanned):
            return InjectionPlanned(replace(payload.injection, tolerates=("HighErrorRatio",)))
        return payload

    found = quality(smoke(extra=strange))
    assert [(one.fault, one.precision) for one in found.by_fault] == [
        ("server-killed", pytest.approx(2 / 3)),
        ("database-refused", 1.0),
        ("errors-from-database", 1.0),
    ]
    assert (found.overall.false_alarms, found.noise.false_alarms) == (1, 0)
    tolerated = quality(smoke(extra=strange, change=tolerant))
    assert (tolerated.by_fault[0].explained, tolerated.by_fault[0].precision) == (3, 1.0)


@pytest.mark.parametrize(
    ("extra", "false"),
    [
        ([firing("ServerDown", "lane-01", 0.1)], 1),
        ([firing("ServerDown", "lane-01", 8.0)], 0),
        ([firing("ServerDown", "lane-01", 15.5)], 1),
        ([firing("ServerDown", "lane-01", 15.5, "slack"), firing("ServerDown", "lane-01", 15.6)], 1),
        ([firing("ServerDown", "lane-02", 8.0)], 1),
    ],
    ids=["before the proof", "a repetition", "on again after the end", "the same at two channels", "in another lane"],
)
def test_what_an_injection_explains(extra: list[tuple[float, Payload]], false: int) -> None:
    """Its own alert in its own lane, from its proof until a channel has said that all is over."""
    assert quality(smoke(extra=extra)).overall.false_alarms == false


def test_prose_tells_of_nothing() -> None:
    """A message that mentions another alert tells of it only where Alertmanager had been handed it as firing."""
    text = "ServerDown in lane-01\nSomething is wrong in lane-01, look at it.\nseverity: critical, see HighErrorRatio"
    play = {"ServerDown-1": Play(text=text)}
    handed = (T0 + 1, post("HighErrorRatio", "lane-01", EPOCH + 11.3))
    over = (T0 + 2, post("HighErrorRatio", "lane-01", EPOCH + 12.3, over=True))
    assert quality(smoke(play)).false_alarms == ()
    assert [one.alert for one in quality(smoke(play, extra=[handed])).false_alarms] == ["HighErrorRatio"]
    assert quality(smoke(play, extra=[handed, over])).false_alarms == ()
    just_over = (T0 + 5, post("HighErrorRatio", "lane-01", EPOCH + 15.3, over=True))
    assert len(quality(smoke(play, extra=[handed, just_over])).false_alarms) == 1  # it may have been composed before
    forgotten = (-18.0, post("HighErrorRatio", "lane-01", EPOCH - 8))
    assert quality(smoke(play, extra=[forgotten])).false_alarms == ()  # not posted again for longer than it lasts


def test_an_end_that_is_mentioned_in_prose_is_no_end() -> None:
    """Something else is over and its message mentions an alert that still fires: its next message is a repetition."""
    text = "All is well again, HighErrorRatio in lane-03 aside."
    mention = (6.8, message("ServerDown", "lane-03", "email", EPOCH + 16.8, Status.RESOLVED, text=text))
    assert quality(smoke(extra=[mention, firing("HighErrorRatio", "lane-03", 7.0)])).false_alarms == ()
    end = resolved("HighErrorRatio", "lane-03", 15.4)
    assert len(quality(smoke(extra=[end, firing("HighErrorRatio", "lane-03", 15.6)])).false_alarms) == 1


def test_an_unproven_fault_explains_from_its_beginning_on() -> None:
    """Whatever came of it, what speaks before it was applied is not its doing."""
    play = {"ServerDown-1": Play(mute="no effect")}
    assert quality(smoke(play, extra=[firing("ServerDown", "lane-01", 3.0)])).false_alarms == ()
    assert quality(smoke(play, extra=[firing("ServerDown", "lane-01", -3.0)])).noise.false_alarms == 1


def test_a_message_that_nobody_understands_is_a_false_alarm() -> None:
    """It names no alert, or says neither firing nor resolved: somebody was disturbed all the same."""
    unnamed = (-3.0, message("ServerDown", "lane-01", "email", EPOCH + 7, title="[FIRING] something", text="is wrong"))
    (false,) = quality(smoke(extra=[unnamed])).false_alarms
    assert (false.alert, false.lane, false.fault) == ("", "", "")
    meanwhile = (
        3.0,
        message("ServerDown", "lane-01", "email", EPOCH + 13, title="[FIRING] something", text="is wrong"),
    )
    (false,) = quality(smoke(extra=[meanwhile])).false_alarms
    assert false.fault in FAULTS  # it names no lane, and in none of them was it quiet
    unclear = (-3.0, message("ServerDown", "lane-01", "email", EPOCH + 7, Status.UNKNOWN))
    assert quality(smoke(extra=[unclear])).noise.false_alarms == 1
    assert quality(smoke(extra=[resolved("ServerDown", "lane-01", -3.0)])).false_alarms == ()


def test_controls_explain_and_do_not_count() -> None:
    """The late control's messages are neither false alarms nor explained ones of its fault."""
    found = quality(smoke())
    assert found.overall.explained == 6
    heard = quality(smoke({"control-lost-1": Play(also_at=CHANNELS)}))
    assert (heard.overall.explained, heard.overall.false_alarms) == (6, 0)


# --- noise ------------------------------------------------------------------------------------------------------


def run_of(lanes: Mapping[str, list[tuple[float, float]]], seconds: float, stage: str = "alerts") -> tuple[Event, ...]:
    """A run of drills that lasts so long, with injections under way at the given times, each of a fault of its own."""
    ledger = Ledger()
    ledger.add(EPOCH, StageStarted("alerts"))
    for lane, windows in lanes.items():
        for number, (began, ended) in enumerate(windows):
            name = f"{lane}-{number}"
            planned = replace(injection("ServerDown", 1, lane), id=name, fault=name, track=str(number), stage=stage)
            ledger.add(EPOCH - 1, InjectionPlanned(planned))
            ledger.add(EPOCH + began, FaultApplying(name, name, lane))
            if math.isfinite(ended):
                ledger.add(EPOCH + ended, InjectionClosed(name))
    ledger.add(EPOCH + seconds, StageEnded("alerts"))
    ledger.add(EPOCH + seconds + 50, RunEnded(seconds + 50))
    return ledger.events


@pytest.mark.parametrize(
    ("lanes", "quiet"),
    [
        ({"lane-01": [(10, 30)]}, 80),
        ({"lane-01": [(10, 30)], "lane-02": [(50, 60)]}, 170),
        ({"lane-01": [(10, 30), (20, 40)]}, 70),
        ({"lane-01": [(10, 40), (20, 30)]}, 70),
        ({"lane-01": [(10, 40), (20, 30), (35, 50)]}, 60),
        ({"lane-01": [(90, 120)]}, 90),
        ({"lane-01": [(10, math.inf)]}, 10),
        ({"lane-01": [(10, 30)], SHARED: [(20, 50)]}, 80),
        ({"lane-01": []}, 0),
    ],
    ids=[
        "one",
        "two lanes",
        "side by side",
        "within another",
        "a chain",
        "over after the end",
        "never over",
        "what is shared is no lane",
        "no lane",
    ],
)
def test_quiet_time_is_the_lanes_time_without_an_injection(
    lanes: Mapping[str, list[tuple[float, float]]], quiet: float
) -> None:
    """Summed over the lanes, from the beginning of the drills to their end; what goes on side by side counts once."""
    noise = quality(run_of(lanes, 100)).noise
    assert noise.quiet_seconds == pytest.approx(quiet)
    assert (noise.upper_bound_per_lane_day is None) is (quiet == 0)


def test_no_lane_is_quiet_while_the_way_of_every_alert_is_disturbed() -> None:
    """An injection into what all share, in the stage in which nothing else goes on, is under way in every lane."""
    lanes = {"lane-01": [(10.0, 30.0)], SHARED: [(20.0, 50.0)]}
    assert quality(run_of(lanes, 100, stage=ALONE)).noise.quiet_seconds == pytest.approx(60)


def test_of_faults_side_by_side_the_last_is_blamed() -> None:
    """As unexpected messages are laid to injections: to the one that was last to begin, while it is under way."""
    for at, blamed in ((15, "lane-01-0"), (25, "lane-01-1"), (45, "lane-01-0"), (70, "")):
        ledger = Ledger()
        run = run_of({"lane-01": [(10, 50), (20, 40)]}, 100)
        ledger.lines = [(event.wall, event.payload) for event in run if event.payload is not None]
        ledger.add(EPOCH + at, message("HighErrorRatio", "lane-01", "email", EPOCH + at))
        assert [one.fault for one in quality(ledger.events).false_alarms] == [blamed]


def test_what_speaks_before_or_after_the_drills_is_no_noise_of_theirs() -> None:
    """The time in which it is counted is the time by which it is divided; it stays among the false alarms."""
    events = smoke(extra=[firing("ServerDown", "lane-01", -6.0)])
    found = quality(events)
    assert (found.noise.false_alarms, len(found.false_alarms)) == (0, 1)
    within = quality(smoke(extra=[firing("ServerDown", "lane-01", -4.0)]))
    assert within.noise.false_alarms == 1


def test_the_bound_is_in_alarms_a_lane_and_day() -> None:
    """Two lanes quiet for 43,200 s each are a lane-day: none seen allows 3.0 of them, one 4.74."""
    lanes: Mapping[str, list[tuple[float, float]]] = {"lane-01": [(0, 1)], "lane-02": [(0, 1)]}
    noise = quality(run_of(lanes, 43_201)).noise
    assert noise.upper_bound_per_lane_day == pytest.approx(2.9957, abs=1e-3)
    assert noise.per_lane_day == 0.0
    ledger = Ledger()
    ledger.lines = [(event.wall, event.payload) for event in run_of(lanes, 43_201) if event.payload is not None]
    ledger.add(EPOCH + 900, message("ServerDown", "lane-02", "email", EPOCH + 900))
    one = quality(ledger.events).noise
    assert one.false_alarms == 1
    assert one.per_lane_day == pytest.approx(1.0)
    assert one.upper_bound_per_lane_day == pytest.approx(4.7439, abs=1e-3)


@pytest.mark.parametrize(("events", "bound"), [(0, 2.9957), (1, 4.7439), (2, 6.2958), (10, 16.9622)])
def test_the_poisson_bound_is_the_tables(events: int, bound: float) -> None:
    """Exact one-sided 95 % bounds, as tables of the Poisson distribution have them."""
    assert rate_upper_bound(events, 1.0) == pytest.approx(bound, abs=1e-4)
    assert rate_upper_bound(events, 0.0) is None


@given(st.integers(0, 200), st.floats(0.01, 1000))
@settings(max_examples=60, deadline=None)
def test_the_poisson_bound_leaves_five_percent(events: int, exposure: float) -> None:
    """At the bound so few events have a probability of 5 %; it lies above what was seen and falls with the exposure."""
    bound = rate_upper_bound(events, exposure)
    longer = rate_upper_bound(events, 2 * exposure)
    assert bound is not None
    assert longer is not None
    mean = bound * exposure
    probability = sum(math.exp(k * math.log(mean) - mean - math.lgamma(k + 1)) for k in range(events + 1))
    assert probability == pytest.approx(0.05, rel=1e-6)
    assert events / exposure < bound
    assert longer == pytest.approx(bound / 2)


# --- over all ledgers -------------------------------------------------------------------------------------------


def test_no_evidence_is_none_everywhere() -> None:
    """An empty ledger: not one figure is a number that could be taken for good."""
    found = quality(())
    assert found.by_fault == ()
    assert (found.overall.recall, found.overall.precision) == (None, None)
    assert (found.overall.firing_seconds, found.overall.reset_seconds) == (None, None)
    assert (found.noise.per_lane_day, found.noise.upper_bound_per_lane_day) == (None, None)


_plays = st.builds(
    Play,
    reaches=st.sampled_from([Hop.INJECTED, Hop.VISIBLE, Hop.FIRING, Hop.RECEIVED]),
    deaf=st.sampled_from([(), ("email",), CHANNELS]),
    never_over=st.sampled_from([(), ("slack",)]),
    mute=st.sampled_from(["", "", "no effect"]),
)
_alarms = st.lists(
    st.builds(
        lambda alert, lane, at, channel: firing(alert, f"lane-0{lane}", at, channel),
        st.sampled_from(sorted(ALERTS)),
        st.integers(1, 5),
        st.floats(-4, 60),
        st.sampled_from(CHANNELS),
    ),
    max_size=4,
)


@given(st.dictionaries(st.sampled_from([f"{alert}-{n}" for alert in ALERTS for n in (1, 2)]), _plays), _alarms)
@settings(max_examples=80, deadline=None)
def test_the_figures_hold_together(plays: Mapping[str, Play], alarms: list[tuple[float, Payload]]) -> None:
    """Parts sum up to the whole, shares lie between 0 and 1, and only what was proven is counted."""
    found = quality(smoke(plays, extra=alarms))
    unproven = sum(bool(play.mute) for play in plays.values())
    assert found.overall.injections + found.overall.unknown == 6 - unproven
    for name in ("injections", "fired", "unknown", "explained"):
        assert getattr(found.overall, name) == sum(getattr(one, name) for one in found.by_fault)
    quiet = sum(not one.fault for one in found.false_alarms)
    of_faults = sum(one.fault in FAULTS for one in found.false_alarms)
    assert (quiet + of_faults, found.noise.false_alarms) == (len(found.false_alarms), quiet)
    assert found.overall.false_alarms == quiet + sum(one.false_alarms for one in found.by_fault)
    assert found.overall.false_alarms <= len(alarms)
    for one in (found.overall, *found.by_fault):
        assert one.fired <= one.injections
        assert (one.recall is None) is (one.injections == 0)
        assert one.recall is None or 0 <= one.recall <= 1
        assert one.precision is None or 0 <= one.precision <= 1


@given(_plays, st.sampled_from([f"{alert}-1" for alert in ALERTS]))
@settings(max_examples=40, deadline=None)
def test_nothing_that_goes_wrong_improves_a_figure(play: Play, name: str) -> None:
    """Against the healthy run no share rises, and no median or maximum falls, whatever happens to one injection."""
    well, ill = quality(smoke()).overall, quality(smoke({name: play})).overall
    for share in ("recall", "precision"):
        assert getattr(ill, share) <= getattr(well, share)
    for times in ("firing_seconds", "message_seconds", "reset_seconds"):
        assert getattr(ill, times).max >= getattr(well, times).max - 1e-6


def test_the_property_can_fail() -> None:
    """The twin of the one above: a message that comes earlier does lower the time, so it is measured."""
    sooner = quality(smoke({alert: Play(after=dict.fromkeys(CHANNELS, 5.0)) for alert in ALERTS})).overall
    assert sooner.message_seconds is not None
    assert sooner.message_seconds.max == pytest.approx(5.0)


@pytest.mark.parametrize(("although", "alarms"), [("alertmanager-down", 0), ("", 1)])
def test_what_a_disturbed_way_raises_in_the_shared_lane_is_no_noise(although: str, alarms: int) -> None:
    """An injection of a lane explains what it tolerates of the shared one if it disturbs that, and only then."""

    def disturbed(payload: Payload) -> Payload:
        if isinstance(payload, InjectionPlanned) and payload.injection.alert == "ServerDown":
            one = replace(payload.injection, although=although, tolerates=("HighErrorRatio",))
            return InjectionPlanned(one)
        return payload

    told = (0.5, post("HighErrorRatio", SHARED, EPOCH + 10.5)), firing("HighErrorRatio", SHARED, 1.0)
    assert len(quality(smoke(extra=told, change=disturbed)).false_alarms) == alarms
