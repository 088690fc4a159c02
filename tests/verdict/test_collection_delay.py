"""collection-delay: a bound on a quantile of planted changes; a lost one counts, one that met our fault is told."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ledgers import EPOCH, smoke

from harness.model.collection import ChangeNotPlanted, ChangePlanted, ChangeSeen
from harness.model.events import Payload, Starved, TargetDeclared
from harness.model.policy import Basis, Target
from harness.model.source import Span
from harness.model.verdicts import TargetVerdict, Verdict
from harness.verdict.judge import judge

FIRST_FAULT = EPOCH + 10
QUIET_LANE = "lane-09"
TARGET = Target(
    "collection-delay", Basis.QUANTILE, 5, "seconds", "seen soon", Span("policies/targets.yaml", 1, 1, 1, 1), share=0.95
)
Lines = list[tuple[float, Payload]]


def changes(
    seconds: Sequence[float | None], lane: str = QUIET_LANE, since: float = 0.0, every: float = 1.0, name: str = "a"
) -> Lines:
    """Changes, one after another from the first fault on, and how late each was seen; None: not awaited to the end."""
    lines: Lines = []
    for number, delay in enumerate(seconds):
        at = since + number * every
        lines.append((at, ChangePlanted(f"{name}-{number}", lane, FIRST_FAULT + at, "redis_db_keys", 1.0)))
        if delay is not None:
            lines.append((at + min(delay, 15), ChangeSeen(f"{name}-{number}", delay)))
    return lines


def judged(*lines: Lines, profile: str = "gate") -> TargetVerdict:
    """The target over a run with these lines."""
    extra = [(-10.0, TargetDeclared(TARGET)), *(line for some in lines for line in some)]
    return judge(smoke(profile=profile, extra=extra)).targets[-1]


def test_a_bound_of_the_quantile_decides() -> None:
    """59 changes, all in time: the slowest of them bounds the p95."""
    found = judged(changes([1.0] * 58 + [4.5]))
    assert (found.verdict, found.n, found.upper_bound, found.observed) == (Verdict.PASS, 59, 4.5, 1.0)
    assert "with 95 % confidence the p95 is at most 4.50 s; a p99 needs 299" in found.claim
    assert "for this load" in found.claim


def test_too_few_changes_are_unverified() -> None:
    """58 have no bound, however quick they were; neither has none."""
    found = judged(changes([1.0] * 58))
    assert (found.verdict, found.n, found.upper_bound) == (Verdict.UNVERIFIED, 58, None)
    assert "no upper bound below 59 changes" in found.claim
    nothing = judged()
    assert (nothing.verdict, nothing.n, nothing.observed) == (Verdict.UNVERIFIED, 0, None)


@pytest.mark.parametrize(
    ("late", "verdict"), [(0, Verdict.PASS), (1, Verdict.PASS), (2, Verdict.INCONCLUSIVE), (20, Verdict.FAIL)]
)
@pytest.mark.parametrize("delay", [5.001, math.inf])
def test_late_and_lost_changes_count(late: int, verdict: Verdict, delay: float) -> None:
    """Of 93 changes one may be late; with two nothing is proven, with twenty the contrary is."""
    found = judged(changes([1.0] * (93 - late) + [delay] * late))
    assert found.verdict is verdict
    assert found.n == 93
    assert f"{93 - late} of 93" in found.claim
    assert ("for some were never seen" in found.claim) is (math.isinf(delay) and late > 1)


def test_exactly_five_seconds_are_in_time() -> None:
    """At most 5 s is promised."""
    assert judged(changes([5.0] * 59)).verdict is Verdict.PASS
    assert judged(changes([5.001] * 59)).verdict is Verdict.FAIL


def test_what_met_our_fault_is_excluded_and_counted_by_it() -> None:
    """Lost, late or not even made while a fault was in place in its lane."""
    lines = changes([math.inf, 7.0, None], "lane-01", since=1.0, name="met")
    missed: Lines = [(4.0, ChangeNotPlanted("met-9", "lane-01", FIRST_FAULT + 4, "connection refused"))]
    found = judged(changes([1.0] * 59), lines, missed)
    assert (found.verdict, found.n) == (Verdict.PASS, 59)
    assert "excluded are 4 that met one and were late, lost or not made: server-killed 4" in found.claim


def test_a_fault_elsewhere_excuses_nothing() -> None:
    """The twin: the same in a lane where nothing was done."""
    found = judged(changes([1.0] * 59), changes([math.inf, 7.0], since=1.0, name="b"))
    assert (found.verdict, found.n) == (Verdict.INCONCLUSIVE, 61)
    refused: Lines = [(4.0, ChangeNotPlanted("d", QUIET_LANE, FIRST_FAULT + 4, "refused"))]
    for lines in (changes([None], name="c"), refused):
        assert judged(changes([1.0] * 59), lines).verdict is Verdict.UNVERIFIED


def test_a_fault_that_began_when_it_was_late_already_is_no_excuse() -> None:
    """5 s before the fault a change was to be seen."""
    for before, n in ((-5.1, 60), (-4.9, 59)):
        assert judged(changes([1.0] * 59), changes([math.inf], "lane-01", since=before, name="b")).n == n


def test_a_change_that_came_in_time_counts_in_spite_of_a_fault() -> None:
    """It is evidence; what is excluded is what the fault may have delayed."""
    found = judged(changes([1.0] * 59, "lane-01", every=0.05), changes([1.0], name="b"))
    assert found.n == 60
    assert "of those that no fault of ours met 1 of 1" in found.claim


def test_exclusions_do_not_hide_a_collection_that_is_slow_everywhere() -> None:
    """Quick ones under faults do not outvote what was late while there was none."""
    under = changes([1.0] * 200, "lane-01", every=0.02)
    found = judged(under, changes([6.0, 6.0], name="b"))
    assert found.upper_bound == 1.0, "all together would pass"
    assert found.verdict is Verdict.FAIL
    assert judged(under, changes([1.0, 6.0], name="b")).verdict is Verdict.INCONCLUSIVE
    assert judged(under).verdict is Verdict.INCONCLUSIVE, "nothing is known of the time without a fault"
    assert judged(under, changes([1.0, 1.0], name="b")).verdict is Verdict.PASS


def test_a_starved_harness_may_not_say_that_changes_were_late() -> None:
    """Inconclusive where the late ones met starvation, a failure where they did not."""
    lines = changes([1.0] * 50 + [9.0] * 20)
    window: Lines = [(80.0, Starved("steal", FIRST_FAULT + 49, FIRST_FAULT + 75, 1, 1))]
    found = judged(lines, window)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "20 were late while the harness was starved" in found.claim
    early: Lines = [(80.0, Starved("steal", FIRST_FAULT, FIRST_FAULT + 40, 1, 1))]
    assert judged(lines, early).verdict is Verdict.FAIL


def test_smoke_claims_nothing() -> None:
    """A few changes, early or late."""
    for delay in (1.0, math.inf):
        found = judged(changes([delay] * 70), profile="smoke")
        assert found.verdict is Verdict.INCONCLUSIVE
        assert found.claim.endswith("a smoke run claims nothing of it")


@given(st.lists(st.floats(0.1, 20), min_size=59, max_size=130), st.floats(0.1, 20))
def test_an_earlier_change_never_harms(seconds: list[float], other: float) -> None:
    """Bounds keep their order, and who passes still passes when a change comes sooner."""
    found = judged(changes(seconds))
    assert found.lower_bound is not None
    assert found.observed is not None
    assert found.upper_bound is not None
    assert found.lower_bound <= found.observed <= found.upper_bound
    sooner = judged(changes([*seconds[:-1], min(other, seconds[-1])]))
    if found.verdict is Verdict.PASS:
        assert sooner.verdict is Verdict.PASS
