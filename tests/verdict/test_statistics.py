"""Exact bounds, held to published figures and to what bounds must do."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.model.verdicts import Verdict
from harness.verdict.statistics import (
    is_below,
    lower_bound,
    proportion_verdict,
    quantiles,
    trials_needed,
    upper_bound,
)

DOCS = Path(__file__).parents[2] / "docs" / "verdicts.md"
FAILURES = (0, 1, 2, 3, 5)


def table() -> list[tuple[float, int, int]]:
    """The table of trials in docs/verdicts.md, as (target, failures, trials)."""
    rows = re.findall(r"^\| (0\.\d+) \|((?: \d+ \|){5})$", DOCS.read_text(encoding="utf-8"), re.MULTILINE)
    return [
        (float(target), failures, int(needed))
        for target, cells in rows
        for failures, needed in zip(FAILURES, cells.replace("|", " ").split(), strict=True)
    ]


SAMPLES = st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@pytest.mark.parametrize(("target", "failures", "needed"), table())
def test_trials_needed(target: float, failures: int, needed: int) -> None:
    """The table of trials that docs/verdicts.md prints is what the bounds say."""
    assert trials_needed(target, failures) == needed


def test_the_table_is_whole() -> None:
    """The twin: the test above found all fifteen figures in the page, among them those that everybody quotes."""
    assert len(table()) == 15
    assert {(0.95, 0, 59), (0.95, 1, 93), (0.99, 0, 299)} <= set(table())


@pytest.mark.parametrize("target", [0.5, 0.8, 0.95])
@pytest.mark.parametrize("failures", [0, 1, 2, 7])
def test_trials_needed_is_the_least_number(target: float, failures: int) -> None:
    """So many trials prove the target, one fewer does not."""
    needed = trials_needed(target, failures)
    assert lower_bound(needed - failures, needed) >= target
    assert lower_bound(max(needed - 1 - failures, 0), needed - 1) < target


@pytest.mark.parametrize("target", [0.0, 1.0, 1.5])
def test_certainty_cannot_be_proven(target: float) -> None:
    """No number of trials proves a share of 1, and none is needed for 0."""
    with pytest.raises(ValueError, match="cannot be proven"):
        trials_needed(target, 0)


def test_bounds_are_one_sided() -> None:
    """59 of 59 proves 0.95; the two-sided bound, 0.939, would not."""
    assert lower_bound(59, 59) == pytest.approx(0.05 ** (1 / 59))
    assert lower_bound(59, 59) >= 0.95
    assert lower_bound(58, 58) < 0.95


def test_bounds_without_trials_say_nothing() -> None:
    """No trial, no knowledge: anything between 0 and 1."""
    assert (lower_bound(0, 0), upper_bound(0, 0)) == (0.0, 1.0)
    assert proportion_verdict(0, 0, 0.95) is Verdict.UNVERIFIED


@settings(max_examples=60, deadline=None)
@given(SAMPLES)
def test_bounds_hold_the_observed_share_between_them(sample: tuple[int, int]) -> None:
    """Lower bound <= observed <= upper bound, all within 0 and 1, and mirrored when failures are counted instead."""
    k, n = sample
    assert 0 <= lower_bound(k, n) <= k / n <= upper_bound(k, n) <= 1
    assert upper_bound(k, n) == pytest.approx(1 - lower_bound(n - k, n), abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(SAMPLES)
def test_bounds_rise_with_every_success(sample: tuple[int, int]) -> None:
    """One success more lifts both bounds; one failed trial more lowers both."""
    k, n = sample
    assert lower_bound(k + 1, n + 1) >= lower_bound(k, n)
    assert upper_bound(k, n + 1) <= upper_bound(k, n)


@settings(max_examples=60, deadline=None)
@given(SAMPLES, st.floats(0.01, 0.99))
def test_a_verdict_is_never_both(sample: tuple[int, int], target: float) -> None:
    """Pass and fail exclude each other, and more successes never turn pass into anything else."""
    k, n = sample
    verdict = proportion_verdict(k, n, target)
    assert (verdict is Verdict.FAIL) is is_below(k, n, target)
    if verdict is Verdict.PASS and k < n:
        assert proportion_verdict(k + 1, n, target) is Verdict.PASS


@pytest.mark.parametrize(
    ("k", "n", "verdict"),
    [
        (93, 93, Verdict.PASS),
        (92, 93, Verdict.PASS),
        (91, 93, Verdict.INCONCLUSIVE),
        (58, 58, Verdict.INCONCLUSIVE),
        (80, 93, Verdict.FAIL),
    ],
)
def test_the_gate_at_95_percent(k: int, n: int, verdict: Verdict) -> None:
    """93 injections pass with at most one failure."""
    assert proportion_verdict(k, n, 0.95) is verdict


@pytest.mark.parametrize(
    ("k", "n", "below"),
    [(0, 1, False), (0, 2, True), (1, 2, False), (1, 3, True), (2, 3, False), (2, 4, True), (3, 4, False)],
)
def test_few_trials_can_prove_a_cell_broken(k: int, n: int, *, below: bool) -> None:
    """0 of 2, 1 of 3 and 2 of 4 are below 95 %; one failure of two or three is not proof."""
    assert is_below(k, n, 0.95) is below


def test_quantiles_keep_a_lost_message_in_the_sample() -> None:
    """Values are raw, of two the upper is the median, and a lost one is infinite."""
    assert quantiles([]) is None
    both = quantiles([4.0, math.inf])
    assert both is not None
    assert (both.p50, both.max) == (math.inf, math.inf)
    three = quantiles([5.0, 1.0, 3.0])
    assert three is not None
    assert (three.p50, three.max) == (3.0, 5.0)
