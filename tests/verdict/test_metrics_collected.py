"""metrics-collected: a census of scrape slots, in which our own faults excuse what was lost and hide nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ledgers import EPOCH, Play, smoke

from harness.drive.plan.timetable import ALONE
from harness.model.collection import CensusTaken, ScrapesCounted
from harness.model.events import DrillDeclared, Healed, InjectionPlanned, Payload, Starved, TargetDeclared
from harness.model.policy import Basis, Target
from harness.model.source import Span
from harness.model.stack import SHARED
from harness.model.verdicts import TargetVerdict, Verdict
from harness.verdict.disturbances import AFTERMATH_INTERVALS, DISCOVERY_SECONDS
from harness.verdict.judge import judge

INTERVAL = 2.0
SLOTS = 100
FIRST_FAULT = EPOCH + 10
QUIET_LANE = "lane-09"
TARGET = Target(
    "metrics-collected", Basis.CENSUS, 0.99, "ratio", "scrapes are stored", Span("policies/targets.yaml", 1, 1, 1, 1)
)


def slots(lane: str, lost: Sequence[int] = (), *, expected: int = SLOTS, job: str = "mysql") -> ScrapesCounted:
    """A target whose first slot is due when the first fault is applied."""
    return ScrapesCounted(
        job=job,
        instance=f"127.0.0.1:{len(job)}",
        lane=lane,
        interval_seconds=INTERVAL,
        first_at=FIRST_FAULT,
        expected=expected,
        stored=expected - len(lost),
        good=expected - len(lost),
        lost=tuple(sorted(lost)),
        longest_gap_seconds=INTERVAL,
    )


def judged(
    *counted: ScrapesCounted,
    taken: CensusTaken | None = None,
    profile: str = "gate",
    more: Sequence[Payload] = (),
    change: Callable[[Payload], Payload] = lambda payload: payload,
    plays: dict[str, Play] | None = None,
) -> TargetVerdict:
    """The target over a run with these targets; `taken` is a census that counted them all where None."""
    taken = taken or CensusTaken(FIRST_FAULT, FIRST_FAULT + SLOTS * INTERVAL, len(counted))
    extra = [(-10.0, TargetDeclared(TARGET)), *((300.0, payload) for payload in (*more, *counted, taken))]
    found = judge(smoke(plays, profile=profile, extra=extra, change=change)).targets
    return next(one for one in found if one.id == TARGET.id)


def test_every_slot_stored_is_a_pass() -> None:
    """All of them, in the claim as in the numbers; a census has no bounds."""
    found = judged(slots(QUIET_LANE), slots("lane-01"))
    assert (found.verdict, found.observed, found.n) == (Verdict.PASS, 1.0, 2 * SLOTS)
    assert (found.lower_bound, found.upper_bound, found.basis) == (None, None, Basis.CENSUS)
    assert found.claim.startswith("200 of 200 scrape slots of 2 targets are stored in this window of 200 s")
    assert "excluded" not in found.claim


@pytest.mark.parametrize(("lost", "verdict"), [((50,), Verdict.PASS), ((50, 51), Verdict.FAIL)])
def test_the_objective_is_the_limit(lost: tuple[int, ...], verdict: Verdict) -> None:
    """99 of 100 is 99 %; 98 is not, and the claim says whose slots were lost, and for how long."""
    found = judged(slots(QUIET_LANE, lost))
    assert found.verdict is verdict
    assert found.observed == pytest.approx(1 - len(lost) / 100)
    assert f"lost most: mysql in lane-09 {len(lost)}; the longest gap is {2 + 2 * len(lost)} s" in found.claim


def test_what_our_fault_took_down_is_excluded_and_counted() -> None:
    """A target that is dead while its server is killed loses nothing that counts."""
    found = judged(slots("lane-01", range(4)), slots(QUIET_LANE))
    assert (found.verdict, found.observed, found.n) == (Verdict.PASS, 1.0, 2 * SLOTS - 4)
    assert "excluded are 4 that were lost while one was: server-killed 4" in found.claim


def test_a_fault_in_another_lane_excuses_nothing() -> None:
    """The twin: the same slots of a lane in which nothing was done."""
    found = judged(slots(QUIET_LANE, range(4)), slots("lane-01"))
    assert found.verdict is Verdict.FAIL
    assert "excluded" not in found.claim


def test_a_fault_excuses_until_it_was_healed_and_a_little_longer() -> None:
    """Two intervals: what was lost after them is lost, as is what was lost before the fault."""
    healed = [healed.healed_at for healed in _healed("ServerDown-1")]
    last = int((healed[0] - FIRST_FAULT + AFTERMATH_INTERVALS * INTERVAL) / INTERVAL)
    assert "server-killed 1" in judged(slots("lane-01", [last]), slots(QUIET_LANE)).claim
    assert "excluded" not in judged(slots("lane-01", [last + 1]), slots(QUIET_LANE)).claim


def test_a_fault_that_was_never_healed_excuses_to_the_end() -> None:
    """Its lane was retired: nothing that it collects is the monitoring's fault."""

    def unhealed(payload: Payload) -> Payload:
        mine = isinstance(payload, Healed) and payload.injection == "ServerDown-2"
        return Starved("steal", 0, 1, 1, 1) if mine else payload

    lost = range(SLOTS - 5, SLOTS)
    assert "excluded are 5" in judged(slots("lane-01", lost), slots(QUIET_LANE), change=unhealed).claim
    assert "excluded" not in judged(slots("lane-01", lost), slots(QUIET_LANE)).claim


def _healed(name: str) -> list[Healed]:
    events = [event.payload for event in smoke(profile="gate")]
    return [one for one in events if isinstance(one, Healed) and one.injection == name]


def _alone(payload: Payload) -> Payload:
    if isinstance(payload, InjectionPlanned) and payload.injection.id == "ServerDown-1":
        return InjectionPlanned(replace(payload.injection, lane=SHARED, stage=ALONE, fault="prometheus-crashed"))
    return payload


def test_a_fault_of_the_monitoring_itself_excuses_every_lane() -> None:
    """Where Prometheus is started anew nothing is scraped, and not before it has looked for its targets."""
    last = int((_healed("ServerDown-1")[0].healed_at - FIRST_FAULT + 2 * INTERVAL + DISCOVERY_SECONDS) / INTERVAL)
    found = judged(slots(QUIET_LANE, range(last + 1)), change=_alone)
    assert found.verdict is Verdict.PASS
    assert f"prometheus-crashed {last + 1}" in found.claim
    assert judged(slots(QUIET_LANE, range(1, last + 3)), change=_alone).verdict is Verdict.FAIL


def test_a_fault_of_a_shared_part_beside_the_lanes_excuses_its_own_targets_alone() -> None:
    """What disturbs no lane takes no lane's target down."""

    def shared(payload: Payload) -> Payload:
        if isinstance(payload, InjectionPlanned) and payload.injection.id == "ServerDown-1":
            return InjectionPlanned(replace(payload.injection, lane=SHARED, fault="heartbeat-refused"))
        return payload

    assert judged(slots(QUIET_LANE, range(3)), slots(SHARED), change=shared).verdict is Verdict.FAIL
    assert "heartbeat-refused 3" in judged(slots(QUIET_LANE), slots(SHARED, range(3)), change=shared).claim


def test_a_simulated_fault_excuses_nothing() -> None:
    """Figures that are made at an exporter's input take no target down."""

    def simulated(payload: Payload) -> Payload:
        if isinstance(payload, DrillDeclared) and payload.fault == "server-killed":
            return replace(payload, fault="host-cpu-busy, server-killed", signal="simulated")
        return payload

    assert judged(slots("lane-01", range(4)), slots(QUIET_LANE), change=simulated).verdict is Verdict.FAIL


@pytest.mark.parametrize(("lane", "verdict"), [("lane-01", Verdict.FAIL), (QUIET_LANE, Verdict.PASS)])
def test_slots_under_a_fault_do_not_thin_out_what_is_lost_beside_it(lane: str, verdict: Verdict) -> None:
    """1 of 120 is within the objective, 1 of the 20 during which no fault was in place is not."""
    found = judged(slots(QUIET_LANE, [7], expected=20), *(slots(lane, expected=5) for _ in range(20)))
    assert found.observed == pytest.approx(119 / 120)
    assert found.verdict is verdict


@pytest.mark.parametrize(
    ("counted", "taken", "why"),
    [
        ((), CensusTaken(0, 1, 0, "Prometheus at 127.0.0.1:9 cannot be asked"), "could be counted: Prometheus at"),
        ((slots(QUIET_LANE),), CensusTaken(0, 1, 2), "the ledger tells of 1 of 2 targets"),
        ((slots(QUIET_LANE, expected=0),), CensusTaken(0, 1, 1), "no scrape was due"),
        ((slots("lane-01", range(4), expected=4),), CensusTaken(0, 1, 1), "a fault of ours was in place at every slot"),
        ((slots("lane-01", expected=4),), CensusTaken(0, 1, 1), "a fault of ours was in place at every slot"),
    ],
)
def test_without_a_whole_census_there_is_no_evidence(
    counted: tuple[ScrapesCounted, ...], taken: CensusTaken, why: str
) -> None:
    """Unverified, with the reason; never a pass of nothing."""
    found = judged(*counted, taken=taken)
    assert found.verdict is Verdict.UNVERIFIED
    assert why in found.claim


def test_a_run_without_a_census_is_unverified() -> None:
    """Nobody counted."""
    found = judge(smoke(profile="gate", extra=[(-10, TargetDeclared(TARGET))])).targets[-1]
    assert (found.verdict, found.n, found.observed) == (Verdict.UNVERIFIED, 0, None)
    assert found.claim == "nobody counted the scrape slots of this run"


def test_a_starved_harness_may_not_say_that_scrapes_were_lost() -> None:
    """What failed while the machine was starved is inconclusive; at another time it fails all the same."""
    lost = (50, 51)
    at = FIRST_FAULT + 50 * INTERVAL
    found = judged(slots(QUIET_LANE, lost), more=[Starved("run-queue", at, at + 3, 20, 16)])
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "2 were lost while the harness was starved" in found.claim
    assert judged(slots(QUIET_LANE, lost), more=[Starved("steal", at + 9, at + 12, 1, 1)]).verdict is Verdict.FAIL


def test_smoke_claims_nothing() -> None:
    """Neither good nor bad news of so short a run turns it."""
    for counted in (slots(QUIET_LANE), slots(QUIET_LANE, range(50))):
        found = judged(counted, profile="smoke")
        assert found.verdict is Verdict.INCONCLUSIVE
        assert found.claim.endswith("a smoke run claims nothing of it")


@given(
    st.sets(st.integers(0, SLOTS - 1)),
    st.sets(st.integers(0, SLOTS - 1)),
    st.integers(0, SLOTS - 1),
)
def test_one_more_lost_slot_never_helps(here: set[int], there: set[int], more: int) -> None:
    """Good and expected stay within each other, excluded or not; who passes with a loss passes without it."""
    worse = judged(slots("lane-01", sorted(here | {more})), slots(QUIET_LANE, sorted(there | {more})))
    better = judged(slots("lane-01", sorted(here - {more})), slots(QUIET_LANE, sorted(there - {more})))
    for found in (worse, better):
        assert found.observed is not None
        assert 0 <= found.observed <= 1
        assert found.n <= 2 * SLOTS
    assert better.observed is not None
    assert worse.observed is not None
    assert better.observed >= worse.observed
    if worse.verdict is Verdict.PASS:
        assert better.verdict is Verdict.PASS
