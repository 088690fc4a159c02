"""Single trials: which message counts, from when, against which state of the alert, and what nobody can vouch for."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from ledgers import CHANNELS, EPOCH, Ledger, Play, injection, message, only, post, smoke

from harness.drive.plan.timetable import ALONE
from harness.model.events import Event, Healed, InjectionPlanned, Payload, Progress
from harness.model.hops import Hop
from harness.model.notifications import AlertReceived, MessageArrived, Status
from harness.model.verdicts import InjectionVerdict, Outcome, Trial, Verdict
from harness.verdict.judge import judge

T0 = EPOCH + 10.3
"""When the first fault of every lane is proven in a smoke ledger; messages come 6 s later, healing a second after."""


def verdict_of(events: tuple[Event, ...], name: str = "ServerDown-1") -> InjectionVerdict:
    """One injection of a run, judged."""
    return next(one for one in judge(events).injections if one.injection == name)


def email(events: tuple[Event, ...]) -> Trial:
    """The trial of the first injection of ServerDown at email."""
    return verdict_of(events).trials[0]


def test_a_message_from_before_t0_counts_for_nothing_but_suspicion() -> None:
    """It came before the fault had been proven: the trial is timed by the next one, the injection fails."""
    early = (0.1, message("ServerDown", "lane-01", "email", EPOCH + 10.1))
    judged = verdict_of(smoke(extra=[early]))
    assert judged.trials[0].hops[Hop.NOTIFIED] == pytest.approx(T0 + 6)
    assert judged.trials[0].outcome is Outcome.HEARD
    assert judged.verdict is Verdict.FAIL
    assert "came before the fault had been proven" in judged.unexpected[0]


@pytest.mark.parametrize(("starts_at", "outcome"), [(EPOCH + 10.9, Outcome.UNVERIFIED), (EPOCH + 11.1, Outcome.HEARD)])
def test_an_alert_that_fired_before_the_fault_could_raise_it_proves_nothing(starts_at: float, outcome: Outcome) -> None:
    """Applied at 10.01 s, held for 2 s by its rule: what the fault before it raised is not this fault's."""

    def started(payload: Payload) -> Payload:
        if not isinstance(payload, AlertReceived) or payload.alert.labels["environment"] != "lane-01":
            return payload
        return AlertReceived(replace(payload.alert, starts_at=starts_at))

    trial = email(smoke(change=started))
    assert trial.outcome is outcome
    if outcome is Outcome.UNVERIFIED:
        assert trial.complaints == (
            "the alert was firing 1.1 s before this fault could have raised it: something else did",
        )


def test_resolved_counts_from_the_healing_on() -> None:
    """Of two messages that say so, the one after healing began is the resolved hop."""
    early = (6.8, message("ServerDown", "lane-01", "email", EPOCH + 16.8, Status.RESOLVED))
    trial = email(smoke(extra=[early]))
    assert trial.hops[Hop.RESOLVED] > EPOCH + 20


def test_a_run_that_ended_before_the_hold_calls_nothing_lost() -> None:
    """Ten seconds after t0 nothing has come: not lost yet, and nobody listened on."""
    events = only(smoke({"ServerDown": Play(deaf=CHANNELS)}), lambda event: event.wall < T0 + 10)
    trial = email(events)
    assert trial.outcome is Outcome.UNVERIFIED
    assert trial.complaints == ("nobody listened for the whole hold of 35 s",)


def test_a_fault_that_was_healed_too_early_calls_nothing_lost() -> None:
    """Nothing came, and it was healed 7 s after t0: it might have come within the hold."""

    def unheard(event: Event) -> bool:
        told = event.payload.notification if isinstance(event.payload, MessageArrived) else None
        return told is not None and (told.status, told.channel) == (Status.FIRING, "email")

    long_enough = smoke(extra=[(120.0, Progress("somebody listened all the time"))])
    trial = verdict_of(only(long_enough, lambda event: not unheard(event)), "ServerDown-2").trials[0]
    assert (trial.outcome, trial.seconds) == (Outcome.UNVERIFIED, math.inf)
    assert "healed before the hold" in trial.complaints[0]


def test_content_that_cannot_be_compared_is_unverified() -> None:
    """The recording proxy saw nothing of the alert: what the message should have said is not known."""
    events = only(smoke(), lambda event: not isinstance(event.payload, AlertReceived))
    assert email(events).outcome is Outcome.UNVERIFIED
    assert "could not be checked" in email(events).complaints[0]


def test_the_message_that_it_is_over_is_read_too() -> None:
    """A resolved message without the description is wrong content, and says which of the two it was."""

    def bare(payload: Payload) -> Payload:
        if isinstance(payload, MessageArrived) and payload.notification.status is Status.RESOLVED:
            return replace(payload, notification=replace(payload.notification, text="severity: critical"))
        return payload

    trial = email(smoke(change=bare))
    assert trial.outcome is Outcome.WRONG_CONTENT
    assert all(complaint.startswith("when it was over: ") for complaint in trial.complaints)


@pytest.mark.parametrize(("seconds_before", "outcome"), [(1.0, Outcome.HEARD), (4.0, Outcome.WRONG_CONTENT)])
def test_a_message_may_be_composed_just_before_a_post(seconds_before: float, outcome: Outcome) -> None:
    """Alertmanager composed it before a newer description came in: right for a moment, wrong a while later."""
    at = T0 + 12 - seconds_before
    newer = post("ServerDown", "lane-01", at)
    changed = {**newer.alert.annotations, "description": "Something else is wrong by now."}
    newer = replace(newer, alert=replace(newer.alert, annotations=changed))
    play = {"ServerDown-1": Play(after=dict.fromkeys(CHANNELS, 12))}
    assert email(smoke(play, extra=[(at - EPOCH - 10, newer)])).outcome is outcome


@pytest.mark.parametrize("over", [True, False])
def test_an_alert_of_the_group_that_is_over_need_not_be_named(*, over: bool) -> None:
    """Of two instances one is back before the message comes: the message must speak of those that are not."""
    carried = {"summary": "ServerDown at instance two", "description": "The second instance is gone."}
    extra: list[tuple[float, Payload]] = []
    for at, back in ((T0 + 1, False), (T0 + 2, over)):
        one = post("ServerDown", "lane-01", at, over=back)
        labels = {**one.alert.labels, "instance": "two"}
        changed = replace(one, alert=replace(one.alert, labels=labels, annotations=carried))
        extra.append((at - EPOCH - 10, changed))
    of_firing = [one for one in email(smoke(extra=extra)).complaints if not one.startswith("when it was over")]
    assert bool(of_firing) is not over


def test_prose_that_names_an_alert_that_was_over_before_is_no_alarm() -> None:
    """Beside its own alert a message mentions another: only what fires since the fault began is heard by it."""
    text = "ServerDown in lane-01\nSomething is wrong in lane-01, look at it.\nseverity: critical, see HighErrorRatio"
    play = {"ServerDown-1": Play(text=text)}
    long_ago = (-5.0, post("HighErrorRatio", "lane-01", EPOCH + 5))
    over_now = (3.0, post("HighErrorRatio", "lane-01", EPOCH + 13, over=True))
    assert judge(smoke(play, extra=[long_ago, over_now])).verdict is Verdict.PASS
    fires = (3.0, post("HighErrorRatio", "lane-01", EPOCH + 13))
    assert judge(smoke(play, extra=[fires])).verdict is Verdict.FAIL


def test_a_straggler_of_the_injection_before_is_no_false_alarm() -> None:
    """The lane goes on to another drill, and the first alert's end is told only then: the first is to blame for it."""
    ledger = Ledger()
    first, second = injection("ServerDown", 1, "lane-01"), injection("HighErrorRatio", 1, "lane-01")
    ledger.add(EPOCH, InjectionPlanned(first), InjectionPlanned(second))
    free = ledger.play(first, EPOCH + 10, Play(never_over=("slack",)))
    ledger.play(second, free + 1)
    ledger.add(free + 3, message("ServerDown", "lane-01", "slack", free + 3, Status.RESOLVED))
    judged = {one.injection: one for one in judge(ledger.events).injections}
    assert judged["HighErrorRatio-1"].unexpected == ()
    assert judged["ServerDown-1"].trials[1].outcome is Outcome.NOT_RESOLVED
    ledger.add(free + 4, message("ServerDown", "lane-01", "slack", free + 4))
    judged = {one.injection: one for one in judge(ledger.events).injections}
    assert "speaks of ServerDown" in judged["HighErrorRatio-1"].unexpected[0]


def test_the_end_told_once_more_is_a_duplicate() -> None:
    """Alertmanager was killed while something else was drilled, and sends what it had sent: told of, no false alarm."""
    ledger = Ledger()
    first, second = injection("ServerDown", 1, "lane-01"), injection("HighErrorRatio", 1, "shared")
    first, second = replace(first, stage=ALONE), replace(second, stage=ALONE)
    ledger.add(EPOCH, InjectionPlanned(first), InjectionPlanned(second))
    free = ledger.play(first, EPOCH + 10)
    ledger.play(second, free + 1)
    ledger.add(free + 3, message("ServerDown", "lane-01", "slack", free + 3, Status.RESOLVED))
    judgement = judge(ledger.events)
    told = {one.injection: one for one in judgement.injections}
    assert told["ServerDown-1"].trials[1].outcome is Outcome.HEARD
    assert told["ServerDown-1"].trials[1].complaints == ("2 messages say resolved, one is enough",)
    assert not any("belongs to no injection" in reason for reason in judgement.reasons)


@pytest.mark.parametrize(
    ("play", "channel", "status"),
    [
        (Play(never_over=("slack",)), "slack", Status.RESOLVED),
        (Play(), "sms", Status.RESOLVED),
        (Play(), "slack", Status.FIRING),
    ],
)
def test_what_was_not_told_before_is_no_duplicate(play: Play, channel: str, status: Status) -> None:
    """The twin: an end that its channel had not been told, a channel that must not hear, an alarm."""
    ledger = Ledger()
    first, second = injection("ServerDown", 1, "lane-01"), injection("HighErrorRatio", 1, "shared")
    first, second = replace(first, stage=ALONE), replace(second, stage=ALONE)
    ledger.add(EPOCH, InjectionPlanned(first), InjectionPlanned(second))
    free = ledger.play(first, EPOCH + 10, play)
    ledger.play(second, free + 1)
    ledger.add(free + 3, message("ServerDown", "lane-01", channel, free + 3, status))
    assert any("belongs to no injection" in reason for reason in judge(ledger.events).reasons)


def test_nothing_is_judged_without_the_healing() -> None:
    """It was heard, and nobody saw it healed: whether anybody had to hear the end is not known."""
    events = only(smoke(), lambda event: not isinstance(event.payload, Healed))
    assert email(events).outcome is Outcome.UNVERIFIED


def test_a_straggler_of_the_same_alert_is_no_lie() -> None:
    """The end of the first injection is told while the second is not heard yet: then it speaks of the first."""
    ledger = Ledger()
    first, second = injection("ServerDown", 1, "lane-01"), injection("ServerDown", 2, "lane-01")
    ledger.add(EPOCH, InjectionPlanned(first), InjectionPlanned(second))
    free = ledger.play(first, EPOCH + 10, Play(never_over=("slack",)))
    ledger.play(second, free + 1, Play(twice=("slack",)))
    ledger.add(free + 3, message("ServerDown", "lane-01", "slack", free + 3, Status.RESOLVED))
    judged = {one.injection: one for one in judge(ledger.events).injections}
    assert judged["ServerDown-2"].unexpected == ()
    assert [trial.outcome for trial in judged["ServerDown-2"].trials] == [Outcome.HEARD, Outcome.HEARD]
    assert judged["ServerDown-1"].trials[1].outcome is Outcome.NOT_RESOLVED
