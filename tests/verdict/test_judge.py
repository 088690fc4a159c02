"""Whole ledgers judged: the healthy one passes, and every way to break it gives the right red at the right place."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ledgers import ALERTS, CHANNELS, EPOCH, HOLD_SECONDS, Play, message, only, post, smoke, without

from harness.model.events import (
    DrillDeclared,
    FaultApplying,
    Healed,
    HopSeen,
    Injected,
    InjectionPlanned,
    LoadMeasured,
    Payload,
    PlanClosed,
    RunEnded,
    StageEnded,
    Starved,
    TargetDeclared,
)
from harness.model.hops import NEXT_PART, Hop
from harness.model.notifications import MessageArrived, MessageInterfered, SinkRefused, Status
from harness.model.policy import Basis, Target
from harness.model.source import Span
from harness.model.verdicts import Cell, CellStatus, Judgement, Outcome, Trial, Verdict
from harness.verdict.judge import judge


def cell(judgement: Judgement, alert: str, channel: str) -> Cell:
    """The cell of an alert at a channel."""
    return next(
        one for found in judgement.alerts if found.alert == alert for one in found.cells if one.channel == channel
    )


def trials(judgement: Judgement, injection: str) -> tuple[Trial, ...]:
    """The trials of one injection."""
    return next(one for one in judgement.injections if one.injection == injection).trials


def planned(**fields: Any) -> Callable[[Payload], Payload]:
    """Changes every planned injection of a ledger."""

    def change(payload: Payload) -> Payload:
        if isinstance(payload, InjectionPlanned):
            return replace(payload, injection=replace(payload.injection, **fields))
        return payload

    return change


def test_the_healthy_run_passes() -> None:
    """All cells heard, both controls failed as meant, nothing to complain of, and no rate claimed."""
    judgement = judge(smoke())
    assert judgement.headline == "smoke: PASS — 6 of 6 cells heard (real); no rate is claimed"
    assert (judgement.verdict, judgement.exit_code, judgement.reasons) == (Verdict.PASS, 0, ())
    assert (judgement.planned, judgement.tried, judgement.failed, judgement.starved_trials) == (6, 6, 0, 0)
    assert {one.status for alert in judgement.alerts for one in alert.cells} == {CellStatus.HEARD}
    assert all(control.as_expected and control.trials == 2 for control in judgement.controls)
    assert not any(trial.complaints for one in judgement.injections if not one.control for trial in one.trials)


def test_times_count_from_due_and_from_the_condition() -> None:
    """Arrival 6 s after t0 of a rule that holds 2 s: 4 s since due, 6 s since the condition was true."""
    first = trials(judge(smoke()), "ServerDown-1")[0]
    assert first.seconds == pytest.approx(6 - HOLD_SECONDS, abs=1e-4)
    assert first.since_condition_seconds == pytest.approx(6, abs=1e-4)
    assert list(first.hops) == [
        Hop.INJECTED,
        Hop.VISIBLE,
        Hop.PENDING,
        Hop.FIRING,
        Hop.RECEIVED,
        Hop.NOTIFIED,
        Hop.RESOLVED,
    ]


@pytest.mark.parametrize(
    ("play", "trail_ends"),
    [
        (Play(deaf=CHANNELS), Hop.RECEIVED),
        (Play(reaches=Hop.FIRING), Hop.FIRING),
        (Play(reaches=Hop.PENDING), Hop.PENDING),
        (Play(reaches=Hop.VISIBLE), Hop.VISIBLE),
        (Play(reaches=Hop.INJECTED), Hop.INJECTED),
    ],
    ids=["route-removed", "alertmanager-unreachable", "hold-too-long", "rule-off", "target-lost"],
)
def test_a_lost_alert_is_red_at_its_hop(play: Play, trail_ends: Hop) -> None:
    """Wherever the trail ends, both cells of that alert are broken there, and no other cell is touched."""
    judgement = judge(smoke({"ServerDown": play}))
    assert judgement.verdict is Verdict.FAIL
    assert judgement.exit_code == 1
    for channel in CHANNELS:
        found = cell(judgement, "ServerDown", channel)
        assert (found.status, found.trail_ends) == (CellStatus.BROKEN, trail_ends)
        assert (found.delivered, found.expected) == (0, 2)
        assert found.seconds is not None
        assert found.seconds.max == math.inf
        assert cell(judgement, "HighErrorRatio", channel).status is CellStatus.HEARD
    assert {trial.outcome for trial in trials(judgement, "ServerDown-1")} == {Outcome.LOST}
    assert f"ServerDown at email is broken (lost, the trail ends at {trail_ends})" in judgement.headline
    assert NEXT_PART[trail_ends] in judgement.reasons[0]


def test_a_sink_that_takes_nothing_is_red_at_its_channel_alone() -> None:
    """One deaf channel: that cell is broken, the other is heard, and what the sink said is told."""
    refusal = (3.0, SinkRefused("email", "the password is wrong"))
    judgement = judge(smoke({"ServerDown": Play(deaf=("email",))}, extra=[refusal]))
    assert cell(judgement, "ServerDown", "email").status is CellStatus.BROKEN
    assert cell(judgement, "ServerDown", "slack").status is CellStatus.HEARD
    assert "the email sink refused: the password is wrong" in trials(judgement, "ServerDown-1")[0].complaints


def test_one_loss_of_two_is_flaky_and_not_green() -> None:
    """One trial of two proves nothing broken; a smoke run is red all the same, and names the cell."""
    judgement = judge(smoke({"ServerDown-2": Play(deaf=("slack",))}))
    assert cell(judgement, "ServerDown", "slack").status is CellStatus.FLAKY
    assert judgement.verdict is Verdict.FAIL
    assert "ServerDown at slack is flaky (lost, the trail ends at received)" in judgement.headline
    assert "1 of 2 trials failed" in judgement.reasons[0]


def test_a_late_message_is_red() -> None:
    """31 s after due is late where 30 s are promised: delivered, and not heard in time."""
    judgement = judge(smoke({"HighErrorRatio": Play(after={"email": HOLD_SECONDS + 31})}))
    found = cell(judgement, "HighErrorRatio", "email")
    assert (found.status, found.delivered) == (CellStatus.BROKEN, 2)
    assert trials(judgement, "HighErrorRatio-1")[0].outcome is Outcome.LATE
    assert judgement.verdict is Verdict.FAIL


def test_a_message_just_in_time_is_green() -> None:
    """The twin: 29.9 s after due is heard."""
    judgement = judge(smoke({"HighErrorRatio": Play(after={"email": HOLD_SECONDS + 29.9})}))
    assert judgement.verdict is Verdict.PASS


def test_the_time_since_the_condition_is_bounded_too() -> None:
    """In time since due, too late since t0: late, where the priority bounds both."""
    judgement = judge(smoke({"ServerDown": Play(after={"email": 31.5, "slack": 31.5}), "ServerDown-2": Play()}))
    assert {trial.outcome for trial in trials(judgement, "ServerDown-1")} == {Outcome.HEARD}
    bounded = smoke(
        {"ServerDown-1": Play(after={"email": 29, "slack": 29})}, change=planned(since_condition=timedelta(seconds=20))
    )
    told = trials(judge(bounded), "ServerDown-1")
    assert {trial.outcome for trial in told} == {Outcome.LATE}
    assert "after the condition was true, 20 s are allowed" in told[0].complaints[0]


def test_a_message_after_its_hold_is_lost() -> None:
    """36 s after due nobody waits any more: lost, infinite, and the straggler is told of."""
    judgement = judge(smoke({"HighErrorRatio": Play(after={"email": HOLD_SECONDS + 36})}))
    trial = trials(judgement, "HighErrorRatio-1")[0]
    assert (trial.outcome, trial.seconds) == (Outcome.LOST, math.inf)
    assert any("36.0 s after due" in complaint for complaint in trial.complaints)


def test_wrong_content_is_red() -> None:
    """A message without the description is no message: its cell is broken although something arrived."""
    text = "ServerDown in lane-01 severity: critical <no value>"
    judgement = judge(smoke({"ServerDown": Play(text=text)}))
    found = cell(judgement, "ServerDown", "email")
    assert (found.status, found.delivered) == (CellStatus.BROKEN, 0)
    assert trials(judgement, "ServerDown-1")[0].outcome is Outcome.WRONG_CONTENT
    assert any("description" in complaint for complaint in found.complaints)


def test_a_message_of_unknown_status_is_wrong_content_and_not_lost() -> None:
    """Somebody heard something, and could not tell whether it was on or over."""

    def unreadable(payload: Payload) -> Payload:
        if isinstance(payload, MessageArrived) and payload.notification.status is Status.FIRING:
            heard = payload.notification
            if heard.channel == "email" and "lane-01" in heard.title:
                told = replace(heard, status=Status.UNKNOWN, title="ServerDown (lane-01)")
                return replace(payload, notification=told)
        return payload

    told = trials(judge(smoke(change=unreadable)), "ServerDown-1")
    assert told[0].outcome is Outcome.WRONG_CONTENT
    assert told[1].outcome is Outcome.HEARD


def test_nobody_told_the_end_is_red() -> None:
    """An alert that is never taken back: not resolved, the trail ends at notified, and still delivered."""
    judgement = judge(smoke({"DatabaseUnreachable": Play(never_over=("slack",))}))
    found = cell(judgement, "DatabaseUnreachable", "slack")
    assert (found.status, found.trail_ends) == (CellStatus.BROKEN, Hop.NOTIFIED)
    assert (found.delivered, found.resolved) == (2, 0)
    assert trials(judgement, "DatabaseUnreachable-1")[1].outcome is Outcome.NOT_RESOLVED


def test_a_duplicate_is_told_and_does_not_fail() -> None:
    """Alertmanager promises at least once: a message that came twice is a complaint, no failure."""
    judgement = judge(smoke({"ServerDown-1": Play(twice=("email",))}))
    assert judgement.verdict is Verdict.PASS
    assert "2 messages say firing, one is enough" in trials(judgement, "ServerDown-1")[0].complaints


def test_the_wrong_channel_is_red() -> None:
    """A message at a channel that must not hear fails its injection, and the deaf channel's cell is broken."""
    play = Play(deaf=("slack",), also_at=("sms",))
    judgement = judge(smoke({"HighErrorRatio": play}))
    assert cell(judgement, "HighErrorRatio", "slack").status is CellStatus.BROKEN
    assert any("sms" in reason and "nobody must hear it there" in reason for reason in judgement.reasons)


def test_one_channel_too_many_is_red_by_itself() -> None:
    """Everybody heard who must, and somebody else too: the run is not green."""
    judgement = judge(smoke({"HighErrorRatio-1": Play(also_at=("sms",))}))
    assert {one.status for alert in judgement.alerts for one in alert.cells} == {CellStatus.HEARD}
    assert judgement.verdict is Verdict.FAIL
    assert judgement.failed == 1


def test_another_alert_in_the_same_lane_is_red() -> None:
    """An alert that this fault must not raise speaks up during the injection."""
    at = EPOCH + 14
    judgement = judge(smoke(extra=[(4.0, message("HighErrorRatio", "lane-01", "email", at))]))
    assert judgement.verdict is Verdict.FAIL
    assert (
        "ServerDown in lane-01): a message at email to receiver email-critical (firing) speaks of HighErrorRatio"
        in (judgement.headline)
    )


def test_a_tolerated_alert_may_speak() -> None:
    """The twin: a consequence that the drill tolerates changes nothing."""
    spoken = (4.0, message("HighErrorRatio", "lane-01", "email", EPOCH + 14))
    judgement = judge(smoke(extra=[spoken], change=planned(tolerates=("HighErrorRatio",))))
    assert judgement.verdict is Verdict.PASS


def test_a_grouped_message_that_carries_another_alert_is_red() -> None:
    """Two alerts in one message: the second counts when Alertmanager was handed it, not when prose mentions it."""
    text = "ServerDown in lane-01\nSomething is wrong in lane-01, look at it.\nseverity: critical, see HighErrorRatio"
    assert judge(smoke({"ServerDown-1": Play(text=text)})).verdict is Verdict.PASS
    handed = (4.0, post("HighErrorRatio", "lane-01", EPOCH + 14))
    judgement = judge(smoke({"ServerDown-1": Play(text=text)}, extra=[handed]))
    assert judgement.verdict is Verdict.FAIL
    assert "speaks of HighErrorRatio" in judgement.reasons[0]


def test_a_message_that_no_injection_explains_is_red() -> None:
    """A false alarm in quiet time, before any fault, fails the run although every cell was heard."""
    judgement = judge(smoke(extra=[(-2.0, message("ServerDown", "lane-01", "email", EPOCH + 8))]))
    assert judgement.verdict is Verdict.FAIL
    assert "belongs to no injection" in judgement.headline


def test_over_while_the_fault_is_there_is_red() -> None:
    """Firing, then "all is over" before anything was healed: the person who heard it was told a lie."""
    lie = (6.8, message("ServerDown", "lane-01", "email", EPOCH + 16.8, Status.RESOLVED))
    judgement = judge(smoke(extra=[lie]))
    assert judgement.verdict is Verdict.FAIL
    assert "all is over while the fault was still there" in judgement.reasons[0]


def test_firing_again_after_all_was_over_is_red() -> None:
    """A flapping alert: over, then on again although nothing is wrong any more."""
    again = (15.5, message("ServerDown", "lane-01", "email", EPOCH + 25.5))
    judgement = judge(smoke(extra=[again]))
    assert judgement.verdict is Verdict.FAIL
    assert "says firing again" in judgement.reasons[0]


@pytest.mark.parametrize("name", ["lost", "late"])
def test_a_control_that_passes_makes_the_run_unverified(name: str) -> None:
    """The judge found nothing wrong where something was broken on purpose: its word is worth nothing."""
    after = {} if name == "lost" else dict.fromkeys(CHANNELS, 6.0)
    play = Play(also_at=CHANNELS) if name == "lost" else Play(after=after)
    judgement = judge(smoke({f"control-{name}-1": play}))
    control = next(one for one in judgement.controls if one.name == name)
    assert (control.verdict, control.as_expected) == (Verdict.PASS, False)
    assert (judgement.verdict, judgement.exit_code) == (Verdict.UNVERIFIED, 3)
    assert f"`{name}`" in judgement.headline


def test_a_control_that_failed_by_itself_proves_nothing() -> None:
    """Its messages were lost, and not by us: the control is not as expected."""
    judgement = judge(only(smoke(), lambda event: not isinstance(event.payload, MessageInterfered)))
    assert not any(control.as_expected for control in judgement.controls)
    assert judgement.verdict is Verdict.UNVERIFIED


def test_a_run_without_controls_is_unverified() -> None:
    """Controls that were not tried are not expected to be fine."""
    controlled = ("control-", "lane-04", "lane-05")
    events = only(smoke(), lambda event: not any(word in str(event.payload) for word in controlled))
    judgement = judge(events)
    assert [control.trials for control in judgement.controls] == [0, 0]
    assert judgement.verdict is Verdict.UNVERIFIED


def test_a_starved_harness_may_not_judge() -> None:
    """Trials that overlap starvation are inconclusive, counted, and keep the run from passing."""
    judgement = judge(smoke(extra=[(1.0, Starved("loop-lag", EPOCH + 10.5, EPOCH + 11, 0.8, 0.25))]))
    assert (judgement.verdict, judgement.exit_code) == (Verdict.UNVERIFIED, 3)  # the controls were starved too
    first = [one for one in judgement.injections if one.injection.endswith("-1")]
    assert all(one.starved and {trial.outcome for trial in one.trials} == {Outcome.INCONCLUSIVE} for one in first)
    assert judgement.starved_trials == 10
    assert cell(judgement, "ServerDown", "email").status is CellStatus.UNVERIFIED


def test_starvation_of_some_trials_is_inconclusive() -> None:
    """Where the controls are whole, starvation alone gives no verdict."""
    judgement = judge(smoke({"ServerDown-2": Play()}, extra=[(63.0, Starved("steal", EPOCH + 73, EPOCH + 74, 1, 0))]))
    assert judgement.verdict is Verdict.PASS  # nothing was under way then
    late = {"HighErrorRatio-2": Play(after={"email": 29, "slack": 29})}
    judgement = judge(smoke(late, extra=[(44.0, Starved("steal", EPOCH + 54, EPOCH + 60, 1, 0))]))
    starved = {one.injection for one in judgement.injections if one.starved}
    assert "HighErrorRatio-2" in starved


def test_an_unproven_fault_is_unverified() -> None:
    """The fault was applied and nobody saw its effect: nothing can be said of the alert."""
    judgement = judge(smoke({"ServerDown-1": Play(mute="the port still answered after 5 s")}))
    assert judgement.verdict is Verdict.UNVERIFIED
    assert (judgement.planned, judgement.tried) == (6, 5)
    assert cell(judgement, "ServerDown", "email").status is CellStatus.UNVERIFIED
    assert "the port still answered" in judgement.headline


def test_hops_that_cannot_be_read_do_not_excuse_a_message_that_alertmanager_had() -> None:
    """Lost with unreadable hops is unverified, unless the trail is known to go as far as Alertmanager."""
    nothing = judge(smoke({"ServerDown": Play(reaches=Hop.FIRING, unread="connection refused")}))
    assert trials(nothing, "ServerDown-1")[0].outcome is Outcome.UNVERIFIED
    assert nothing.verdict is Verdict.UNVERIFIED
    handed = judge(smoke({"ServerDown": Play(deaf=CHANNELS, unread="connection refused")}))
    assert trials(handed, "ServerDown-1")[0].outcome is Outcome.LOST
    assert trials(handed, "ServerDown-1")[0].trail_ends is Hop.RECEIVED


def test_a_hop_that_is_missing_in_between_hides_nothing() -> None:
    """A sample that was not read does not end a trail that goes on behind it."""
    events = only(
        smoke({"ServerDown": Play(deaf=CHANNELS)}),
        lambda event: not (isinstance(event.payload, HopSeen) and event.payload.hop == Hop.VISIBLE),
    )
    judgement = judge(events)
    assert trials(judgement, "ServerDown-1")[0].trail_ends is Hop.RECEIVED


def test_a_harness_error_is_an_error_whatever_was_heard() -> None:
    """Exit code 4 comes before everything else."""
    judgement = judge(smoke({"ServerDown": Play(deaf=CHANNELS)}, error="prometheus died\n| panic"))
    assert (judgement.verdict, judgement.exit_code) == (Verdict.ERROR, 4)
    assert "smoke: ERROR" in judgement.headline
    assert "\n" not in judgement.headline


def test_an_error_that_only_means_no_evidence_is_unverified() -> None:
    """No network and nothing in the cache: exit code 3, as the error tree draws it."""

    def offline(payload: Payload) -> Payload:
        return replace(payload, error="no network", exit_code=3) if isinstance(payload, RunEnded) else payload

    judgement = judge(smoke(change=offline))
    assert (judgement.verdict, judgement.exit_code) == (Verdict.UNVERIFIED, 3)
    assert "no network" in judgement.headline


def test_an_empty_ledger_is_unverified() -> None:
    """No evidence is not green."""
    judgement = judge(())
    assert (judgement.verdict, judgement.exit_code, judgement.planned) == (Verdict.UNVERIFIED, 3, 0)


def test_a_run_that_planned_nothing_is_unverified() -> None:
    """A ledger that is whole and holds no injection is not green."""
    judgement = judge(only(smoke(), lambda event: event.kind in {"run-started", "plan-closed", "run-ended"}))
    assert judgement.verdict is Verdict.UNVERIFIED
    assert "nothing was planned, so nothing was heard" in judgement.reasons


def test_a_stage_that_was_cut_short_is_unverified() -> None:
    """Somebody stopped the stage: the run does not pass, and says why."""
    judgement = judge(smoke(extra=[(200.0, StageEnded("alerts", "interrupted"))]))
    assert judgement.verdict is Verdict.UNVERIFIED
    assert "the stage alerts was cut short: interrupted" in judgement.reasons


def test_fewer_injections_than_planned_are_noticed() -> None:
    """The plan was closed with more than the ledger tells of."""

    def more(payload: Payload) -> Payload:
        return replace(payload, injections=9) if isinstance(payload, PlanClosed) else payload

    judgement = judge(smoke(change=more))
    assert judgement.verdict is Verdict.UNVERIFIED
    assert "the ledger tells of 8 of 9 planned injections" in judgement.reasons


def test_more_injections_than_planned_are_noticed() -> None:
    """Nothing is added after a bad look: neither to a plan that is closed nor once the faults have begun."""

    def fewer(payload: Payload) -> Payload:
        return replace(payload, injections=7) if isinstance(payload, PlanClosed) else payload

    judgement = judge(smoke(change=fewer))
    assert judgement.verdict is Verdict.UNVERIFIED
    assert "8 injections are planned, and the plan was closed with 7" in judgement.reasons
    judgement = judge(smoke(extra=[(20.0, PlanClosed(8, 60.0, {}))]))
    assert judgement.verdict is Verdict.UNVERIFIED
    assert "the plan was changed after the first fault" in judgement.reasons


@pytest.mark.parametrize(("seconds", "verdict"), [(9.9, Verdict.PASS), (10.0, Verdict.UNVERIFIED)])
def test_a_lane_without_load_is_noticed(seconds: float, verdict: Verdict) -> None:
    """Load that stopped reaching a lane, though its process lived: no error ratio could rise there."""
    load = LoadMeasured(900, 0, 0.1, 0.1, 0.1, {"lane-01": 900}, {"lane-01": seconds, "lane-02": 0.5})
    judgement = judge(smoke(extra=[(200.0, load)]))
    assert judgement.verdict is verdict
    assert any("no load reached lane-01 for" in reason for reason in judgement.reasons) is (verdict is not Verdict.PASS)


def test_missing_lines_are_noticed() -> None:
    """A hole in the numbering is a hole in the evidence."""
    events = smoke()
    judgement = judge((*events[:3], *events[4:]))
    assert judgement.verdict is Verdict.UNVERIFIED
    assert "lines are missing from the ledger" in judgement.reasons


@pytest.mark.parametrize("profile", ["gate", "nightly"])
def test_other_profiles_are_judged_by_their_targets(profile: str) -> None:
    """Six injections prove no rate: what a smoke run may leave open is inconclusive elsewhere."""
    judgement = judge(smoke(profile=profile))
    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert "no rate is claimed" not in judgement.headline
    assert any("target alerts-delivered is inconclusive" in reason for reason in judgement.reasons)


def test_enough_injections_prove_the_rate() -> None:
    """96 injections with none failed pass outside smoke, with their lower bound above the target."""
    judgement = judge(smoke(profile="gate", repeats=32))
    assert judgement.verdict is Verdict.PASS
    delivered = judgement.targets[0]
    assert (delivered.verdict, delivered.n) == (Verdict.PASS, 96)
    assert delivered.lower_bound is not None
    assert delivered.lower_bound > 0.95


def test_a_pool_does_not_hide_a_broken_cell() -> None:
    """A target whose bound would hold fails all the same when one cell is broken."""
    plays = {f"ServerDown-{number}": Play(never_over=("slack",)) for number in range(1, 33)}
    judgement = judge(smoke(plays, profile="gate", repeats=32))
    assert judgement.targets[0].observed == 1.0
    assert judgement.targets[0].verdict is Verdict.FAIL
    assert judgement.verdict is Verdict.FAIL


def test_a_target_that_is_set_aside_is_listed_and_never_passed() -> None:
    """Excluded: unverified, named, and no reason against a green run; not set aside: a reason."""
    judgement = judge(smoke())
    assert judgement.excluded == ("retention",)
    aside = next(target for target in judgement.targets if target.id == "retention")
    assert (aside.verdict, aside.excluded) == (Verdict.UNVERIFIED, "no store is drilled yet")
    unmeasured = Target("dashboard-load", Basis.QUANTILE, 3, "seconds", "drawn", Span("t", 1, 1, 1, 1))
    judgement = judge(smoke(extra=[(-5.0, TargetDeclared(unmeasured))]))
    assert judgement.verdict is Verdict.UNVERIFIED
    assert "target dashboard-load is measured by nothing" in judgement.headline


def test_the_headline_names_the_evidence() -> None:
    """Where one signal is made at an input, the evidence is mixed, and the headline says so."""
    judgement = judge(smoke(signals={"HighErrorRatio": "simulated"}))
    assert "6 of 6 cells heard (mixed)" in judgement.headline
    assert judgement.targets[0].evidence == "mixed"


HEALTHY = smoke()
EVIDENCE = (
    MessageArrived,
    Injected,
    Healed,
    FaultApplying,
    MessageInterfered,
    RunEnded,
    DrillDeclared,
    InjectionPlanned,
)
INDEXES = [index for index, event in enumerate(HEALTHY) if isinstance(event.payload, EVIDENCE)]


@pytest.mark.parametrize("index", INDEXES)
def test_no_evidence_can_be_taken_away_from_a_pass(index: int) -> None:
    """Removing any single message, proof of a fault, proof of its healing, … never leaves the run green."""
    assert judge(without(HEALTHY, index)).verdict is not Verdict.PASS, HEALTHY[index].payload


@settings(max_examples=60, deadline=None)
@given(st.sets(st.sampled_from(range(len(HEALTHY))), min_size=1))
def test_no_set_of_lines_makes_up_for_lost_evidence(removed: set[int]) -> None:
    """Whatever else is gone too: where evidence is missing the run is not green, and judging never raises."""
    judgement = judge(only(HEALTHY, lambda event: event.seq - 1 not in removed))
    assert judgement.verdict is not Verdict.PASS or not removed & set(INDEXES)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, len(HEALTHY) - 2))
def test_no_beginning_of_a_ledger_passes(length: int) -> None:
    """A run that died at any line is not green, and judging it never raises."""
    judgement = judge(HEALTHY[: length + 1])
    assert judgement.verdict is not Verdict.PASS
    assert judgement.headline


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(sorted(ALERTS)),
    st.sampled_from(CHANNELS),
    st.floats(0.0, 60.0),
)
def test_heard_if_and_only_if_in_time(alert: str, channel: str, after_due: float) -> None:
    """Whenever a message comes, it is heard up to the promise, late up to the end of the hold, and lost after."""
    judgement = judge(smoke({f"{alert}-1": Play(after={channel: HOLD_SECONDS + 4 + after_due})}))
    trial = next(one for one in trials(judgement, f"{alert}-1") if one.channel == channel)
    seconds = after_due + 4
    expected = Outcome.HEARD if seconds < 30 else Outcome.LATE if seconds < 35 else Outcome.LOST
    near = min(abs(seconds - 30), abs(seconds - 35)) < 1e-3
    assert near or trial.outcome is expected
    assert (judgement.verdict is Verdict.PASS) is (trial.outcome is Outcome.HEARD)
