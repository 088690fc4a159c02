"""availability: every part of the monitoring killed once, back by itself within 60 s, and somebody told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ledgers import EPOCH, Play, smoke

from harness.drive.plan.timetable import ALONE
from harness.model.collection import ScrapesCounted
from harness.model.events import (
    ComponentExited,
    ComponentReady,
    ComponentRestarted,
    FaultApplying,
    InjectionPlanned,
    Payload,
    TargetDeclared,
)
from harness.model.plan import Injection
from harness.model.policy import Basis, Target
from harness.model.source import Span
from harness.model.stack import ComponentReport
from harness.model.verdicts import TargetVerdict, Verdict
from harness.verdict.judge import judge

FIRST_FAULT = EPOCH + 10
TARGET = Target(
    "availability", Basis.MAXIMUM, 0.999, "ratio", "it comes back", Span("policies/targets.yaml", 1, 1, 1, 1)
)
KILLS: Mapping[str, tuple[str, str, str, str | None]] = {
    "ServerDown-1": ("prometheus-crashed", "prometheus", "prometheus", None),
    "DatabaseUnreachable-1": ("alertmanager-crashed", "alertmanager", "alertmanager", None),
    "HighErrorRatio-1": ("listener-crashed", "the-listener", "dead-mans-listener", None),
    "ServerDown-2": ("exporter-crashed", "redis-exporter", "redis-exporter", "lane-01"),
}
"""Which injection of the synthetic run kills what: fault, component, its kind, its lane."""


def crashing(planned: Injection) -> Injection:
    """The injection of the synthetic run, with the crash for its fault; the shared parts' ones are alone."""
    if planned.id not in KILLS or planned.control is not None:
        return planned
    fault, _, _, lane = KILLS[planned.id]
    return replace(planned, fault=fault, stage=planned.stage if lane else ALONE)


def run(
    outages: Mapping[str, float] | None = None,
    *,
    held: Sequence[str] = (),
    never_back: Sequence[str] = (),
    never_gone: Sequence[str] = (),
    plays: dict[str, Play] | None = None,
    extra: Sequence[tuple[float, Payload]] = (),
    profile: str = "gate",
    kinds: bool = True,
    kills: Sequence[str] = tuple(KILLS),
) -> TargetVerdict:
    """The target over a run in which each of `KILLS` dies with its injection and is back a second later.

    `outages` are other lengths in seconds; `held` were started by us, `never_back` by nobody, `never_gone` did not die.
    """

    def change(payload: Payload) -> Payload:
        if isinstance(payload, InjectionPlanned) and payload.injection.id in kills:
            return InjectionPlanned(crashing(payload.injection))
        return payload

    lines: list[tuple[float, Payload]] = [(-10.0, TargetDeclared(TARGET)), *extra]
    began = {
        event.payload.injection: event.wall
        for event in smoke(plays, profile=profile)
        if isinstance(event.payload, FaultApplying)
    }
    for name in kills:
        _, component, kind, lane = KILLS[name]
        report = ComponentReport(component, "1", "process", "apt", 0.1, kind if kinds else "")
        lines.append((-9.0, ComponentReady(report, lane, "x.log")))
        at = began[name] - FIRST_FAULT + 0.1
        outage = (outages or {}).get(name, 1.0)
        if name not in never_gone:
            lines.append((at, ComponentExited(component, lane, -9, expected=True)))
        if name not in (*never_back, *never_gone):
            lines.append((at + outage, ComponentRestarted(component, lane, outage, held=name in held)))
    return judge(smoke(plays, profile=profile, extra=lines, change=change)).targets[-1]


def test_every_part_that_comes_back_in_time_and_is_noticed_is_a_pass() -> None:
    """The claim is about one failure, and about a month in the words of the plan."""
    found = run({"ServerDown-1": 5.5})
    assert (found.verdict, found.n, found.observed, found.target) == (Verdict.PASS, 4, 1.0, 0.999)
    assert found.claim.startswith("recovers in 5.5 s; 99.9 % of a month (43 min) is 471 such failures; killed: ")
    assert "prometheus 5.5 s" in found.claim
    assert "redis-exporter in lane-01 1.0 s" in found.claim


@pytest.mark.parametrize("name", KILLS)
@pytest.mark.parametrize(("outage", "verdict"), [(60.0, Verdict.PASS), (60.1, Verdict.FAIL)])
def test_each_outage_is_bounded(name: str, outage: float, verdict: Verdict) -> None:
    """60 s are allowed, for every part."""
    found = run({name: outage})
    assert found.verdict is verdict
    assert ("60 s are allowed" in found.claim) is (verdict is Verdict.FAIL)


@pytest.mark.parametrize("name", KILLS)
def test_a_part_that_we_started_has_not_recovered(name: str) -> None:
    """Neither has one that nobody started: its own unit has to."""
    held = run(held=[name])
    assert held.verdict is Verdict.FAIL
    assert f"{KILLS[name][1]}" in held.claim
    assert "was started again by us, not by its own unit" in held.claim
    gone = run(never_back=[name])
    assert gone.verdict is Verdict.FAIL
    assert "was not started again by its own unit" in gone.claim
    assert "does not recover by itself" in gone.claim


@pytest.mark.parametrize("name", KILLS)
def test_an_outage_that_nobody_heard_of_is_a_failure(name: str) -> None:
    """The alert of its injection has to reach somebody; one channel is enough, none is not."""
    found = run(plays={name: Play(deaf=("email", "slack"))})
    assert found.verdict is Verdict.FAIL
    assert f"nobody was told that {KILLS[name][1]}" in found.claim
    assert run(plays={name: Play(deaf=("email",))}).verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("name", "part"),
    [*zip(KILLS, ("Prometheus", "Alertmanager", "the dead man's listener", "an exporter"), strict=True)],
)
def test_every_part_has_to_be_killed(name: str, part: str) -> None:
    """One that was not is named; so is one whose fault was not proven, or killed nothing."""
    left = [one for one in KILLS if one != name]
    for found in (run(kills=left), run(plays={name: Play(mute="no effect")}), run(never_gone=[name])):
        assert found.verdict is Verdict.UNVERIFIED
        assert f"never killed: {part}" in found.claim
    assert f"{KILLS[name][0]} (injection {name}): no component ended by it" in run(never_gone=[name]).claim


def test_nothing_killed_is_unverified() -> None:
    """All four are named, and no recovery is claimed."""
    found = run(kills=())
    assert (found.verdict, found.n) == (Verdict.UNVERIFIED, 0)
    assert found.claim.startswith("no part of the monitoring was killed; never killed: Prometheus, Alertmanager, ")


def test_a_ledger_that_does_not_tell_kinds_is_read_by_names() -> None:
    """A component that is called as its kind is; the listener here is not."""
    assert "never killed: the dead man's listener" in run(kinds=False).claim


def test_another_outage_is_a_failure_and_lowers_the_uptime() -> None:
    """A part of the monitoring that ends by itself, back or not; an application that does is none of it."""
    exits = [(20.0, ComponentExited("prometheus", None, 1, expected=False))]
    back = run(extra=[*exits, (23.0, ComponentRestarted("prometheus", None, 3.0))])
    assert back.verdict is Verdict.FAIL
    assert "prometheus ended by itself and was down for 3.0 s" in back.claim
    assert back.observed is not None
    assert 0.9 < back.observed < 1
    gone = run(extra=exits)
    assert gone.verdict is Verdict.FAIL
    assert "prometheus ended by itself and was not started again" in gone.claim
    assert gone.observed is not None
    assert gone.observed < back.observed
    application = run(extra=[(100.0, ComponentExited("community-platform", "lane-01", 1, expected=False))])
    assert (application.verdict, application.observed) == (Verdict.PASS, 1.0)


@pytest.mark.parametrize(
    ("lost", "seconds"), [((0, 1, 2), 5.9), ((0,), 1.9), ((), 1.0), (tuple(range(40)), 79.9), (tuple(range(50)), 1.0)]
)
def test_prometheus_works_again_when_it_scrapes(lost: tuple[int, ...], seconds: float) -> None:
    """Its process answers long before it has found its targets; one that never had a sample says nothing."""
    counted = ScrapesCounted("mysql", "127.0.0.1:1", "lane-01", 2.0, FIRST_FAULT, 50, 50, 50, lost, 2.0)
    found = run(extra=[(300.0, counted)])
    longest = max(seconds, 1.9) if len(lost) < 50 else 1.0
    assert f"prometheus {longest:.1f} s" in found.claim
    assert found.verdict is (Verdict.FAIL if seconds > 60 else Verdict.PASS)


@pytest.mark.parametrize(
    ("lane", "after", "expected"), [("lane-02", 0.2, True), ("lane-01", 100.0, True), ("lane-01", 0.2, False)]
)
def test_an_exit_that_the_fault_did_not_make_is_not_its_kill(lane: str, after: float, *, expected: bool) -> None:
    """What ends in another lane, or after it was healed, or unexpectedly, was ended by somebody else."""
    began = next(
        event.wall - FIRST_FAULT
        for event in smoke(profile="gate")
        if isinstance(event.payload, FaultApplying) and event.payload.injection == "ServerDown-2"
    )
    gone = [(began + after, ComponentExited("redis-exporter", lane, -9, expected=expected))]
    found = run(never_gone=["ServerDown-2"], extra=gone)
    assert "never killed: an exporter" in found.claim
    assert found.verdict is (Verdict.UNVERIFIED if expected else Verdict.FAIL)


def test_smoke_claims_nothing() -> None:
    """Neither a recovery nor its want."""
    for found in (run(profile="smoke"), run(profile="smoke", kills=()), run(profile="smoke", held=["ServerDown-1"])):
        assert found.verdict is Verdict.INCONCLUSIVE
        assert found.claim.endswith("a smoke run claims nothing of it")


@given(st.lists(st.floats(0.1, 200), min_size=4, max_size=4))
def test_the_longest_outage_decides(seconds: list[float]) -> None:
    """Green exactly where the longest is within the limit."""
    found = run(dict(zip(KILLS, seconds, strict=True)))
    assert (found.verdict is Verdict.PASS) is (max(seconds) <= 60)
    assert f"recovers in {max(seconds):.1f} s" in found.claim
