"""Success targets over injections: what each counts as a success, and what a smoke run may say of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from ledgers import CHANNELS, HOLD_SECONDS, Play, smoke

import harness.verdict.targets
from harness.model.events import InjectionPlanned, Payload
from harness.model.hops import Hop
from harness.model.verdicts import TargetVerdict, Verdict
from harness.verdict.judge import judge
from harness.verdict.targets.registry import TARGETS


def target(name: str, plays: dict[str, Play], *, profile: str = "gate") -> TargetVerdict:
    """One target of a run."""
    return next(one for one in judge(smoke(plays, profile=profile)).targets if one.id == name)


def test_the_registry_holds_every_target_file() -> None:
    """A file beside the registry is in its tuple, under the id that its name says."""
    folder = Path(harness.verdict.targets.__file__).parent
    files = {path.stem.replace("_", "-") for path in folder.glob("*.py")} - {"--init--", "registry"}
    assert {one.id for one in TARGETS} == files


@pytest.mark.parametrize(
    ("play", "delivered", "in_time"),
    [
        (Play(), 6, 6),
        (Play(deaf=("slack",)), 4, 4),
        (Play(reaches=Hop.INJECTED), 4, 4),
        (Play(after={"email": HOLD_SECONDS + 32}), 6, 4),
        (Play(text="ServerDown in lane-01 <no value>"), 4, 6),
        (Play(never_over=CHANNELS), 6, 6),
        (Play(also_at=("sms",)), 4, 6),
    ],
    ids=["healthy", "one-channel-deaf", "lost", "late", "wrong-content", "not-resolved", "wrong-channel"],
)
def test_what_counts_as_a_success(play: Play, delivered: int, in_time: int) -> None:
    """Delivered: right channel, right content, within the hold. In time: every message of an injection, from due."""
    plays = {"ServerDown": play}
    assert target("alerts-delivered", plays).observed == pytest.approx(delivered / 6)
    assert target("alert-delivery-time", plays).observed == pytest.approx(in_time / 6)


@pytest.mark.parametrize("name", ["alerts-delivered", "alert-delivery-time"])
def test_smoke_claims_no_rate(name: str) -> None:
    """Six successes of six or none: inconclusive, with the number of injections that would prove something."""
    for plays in ({}, {"ServerDown": Play(deaf=CHANNELS)}):
        found = target(name, plays, profile="smoke")
        assert found.verdict is Verdict.INCONCLUSIVE
        assert "a smoke run claims no rate" in found.claim
        assert "93 injections with at most one failure" in found.claim
        assert found.lower_bound is not None


def test_no_judged_injection_is_unverified() -> None:
    """Nothing could be proven to be broken: no evidence, in smoke as elsewhere."""
    mute = dict.fromkeys(("ServerDown", "DatabaseUnreachable", "HighErrorRatio"), Play(mute="no effect"))
    for profile in ("smoke", "gate"):
        found = target("alerts-delivered", mute, profile=profile)
        assert (found.verdict, found.n, found.observed, found.lower_bound) == (Verdict.UNVERIFIED, 0, None, None)


def test_an_injection_that_was_planned_and_not_tried_keeps_a_target_from_passing() -> None:
    """Left out of n, told in the claim, and no pass with it, however good the others are."""
    events = smoke({"ServerDown-1": Play(mute="no effect")}, profile="gate", repeats=40)
    found = judge(events).targets[0]
    assert (found.n, found.observed) == (119, 1.0)
    assert found.verdict is Verdict.UNVERIFIED
    assert "1 could not be judged" in found.claim


def test_the_time_since_the_condition_counts_where_it_is_promised() -> None:
    """29.5 s after due is in time; where the priority bounds the time since t0 to 20 s as well, it is not."""

    def bounded(payload: Payload) -> Payload:
        if isinstance(payload, InjectionPlanned) and payload.injection.alert == "ServerDown":
            return replace(payload, injection=replace(payload.injection, since_condition=timedelta(seconds=20)))
        return payload

    plays = {"ServerDown": Play(after=dict.fromkeys(CHANNELS, HOLD_SECONDS + 29.5))}
    assert target("alert-delivery-time", plays).observed == 1.0
    strict = judge(smoke(plays, profile="gate", change=bounded)).targets[1]
    assert strict.observed == pytest.approx(4 / 6)
