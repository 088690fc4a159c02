"""Negative controls: as expected only when every trial failed in the way meant, by our own hand."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest

from harness.model.hops import Hop
from harness.model.notifications import MessageInterfered
from harness.model.verdicts import ControlVerdict, InjectionVerdict, Outcome, Trial, Verdict
from harness.verdict.controls import judge_controls

BY_OUTCOME = {Outcome.HEARD: Verdict.PASS, Outcome.UNVERIFIED: Verdict.UNVERIFIED}


def control(name: str, number: int, outcomes: Sequence[Outcome], *, over: bool = True) -> InjectionVerdict:
    """An injection of a control with one trial a channel."""
    hops = {Hop.INJECTED: 1.0, **({Hop.RESOLVED: 9.0} if over else {})}
    trials = tuple(
        Trial(f"{name}-{number}", "ServerDown", channel, outcome, hops, math.inf, math.inf, None)
        for channel, outcome in zip(("email", "slack"), outcomes, strict=False)
    )
    worst = BY_OUTCOME.get(outcomes[0], Verdict.FAIL)
    return InjectionVerdict(f"{name}-{number}", "ServerDown", "server-killed", "lane-04", name, worst, trials)


def judged(name: str, *injections: InjectionVerdict, channels: Sequence[str] = ("email", "slack")) -> ControlVerdict:
    """What becomes of a control, our hand having been on those channels."""
    interfered = [MessageInterfered(channel, name, "lane-04") for channel in channels]
    return next(one for one in judge_controls(injections, interfered) if one.name == name)


def test_as_meant() -> None:
    """Both messages of one injection, or one message each of two."""
    both = judged("lost", control("lost", 1, [Outcome.LOST] * 2))
    assert (both.as_expected, both.trials, both.verdict) == (True, 2, Verdict.FAIL)
    assert judged("late", control("late", 1, [Outcome.LATE]), control("late", 2, [Outcome.LATE])).as_expected


@pytest.mark.parametrize(
    "outcomes",
    [
        [Outcome.LOST],
        [Outcome.LOST, Outcome.LATE],
        [Outcome.HEARD, Outcome.HEARD],
        [Outcome.LOST, Outcome.HEARD],
        [Outcome.WRONG_CONTENT, Outcome.WRONG_CONTENT],
        [Outcome.INCONCLUSIVE, Outcome.INCONCLUSIVE],
        [Outcome.UNVERIFIED, Outcome.UNVERIFIED],
    ],
)
def test_not_as_meant(outcomes: list[Outcome]) -> None:
    """Too few trials, another outcome, no verdict, or one that got through."""
    assert not judged("lost", control("lost", 1, outcomes)).as_expected


def test_our_hand_must_have_been_on_every_channel() -> None:
    """What was lost at a channel that we did not touch was lost for another reason."""
    assert not judged("lost", control("lost", 1, [Outcome.LOST] * 2), channels=("email",)).as_expected


def test_a_late_alert_is_taken_back() -> None:
    """Only the first message is held: an end that nobody hears of is a fault of the path, not ours."""
    assert not judged("late", control("late", 1, [Outcome.LATE] * 2, over=False)).as_expected


def test_one_injection_that_passes_is_enough_to_distrust() -> None:
    """The verdict shown is the one that should not be there."""
    found = judged("lost", control("lost", 1, [Outcome.LOST] * 2), control("lost", 2, [Outcome.HEARD] * 2))
    assert (found.verdict, found.as_expected) == (Verdict.PASS, False)


def test_a_control_that_was_not_tried() -> None:
    """Both controls are listed whatever was planned, and nothing is expected of nothing."""
    assert [(one.name, one.trials, one.verdict, one.as_expected) for one in judge_controls((), ())] == [
        ("lost", 0, Verdict.UNVERIFIED, False),
        ("late", 0, Verdict.UNVERIFIED, False),
    ]
