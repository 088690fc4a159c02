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
    at_least,
    is_below,
    lower_bound,
    proportion_verdict,
    quantile_bounds,
    quantiles,
    trials_needed,
    upper_bound,
    values_needed,
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


@pytest.mark.parametrize(("quantile", "needed"), [(0.95, 59), (0.99, 299), (0.9, 29)])
def test_a_quantile_needs_so_many_values(quantile: float, needed: int) -> None:
    """59 for the p95, 299 for the p99: the greatest of them bounds it, and one fewer bounds nothing."""
    assert values_needed(quantile) == needed
    enough, few = quantile_bounds(range(needed), quantile), quantile_bounds(range(needed - 1), quantile)
    assert enough is not None
    assert few is not None
    assert (enough.upper, few.upper) == (needed - 1, None)
    assert quantile_bounds([], quantile) is None


@pytest.mark.parametrize("quantile", [0.0, 1.0])
def test_the_extremes_have_no_bound(quantile: float) -> None:
    """Nobody has seen the slowest of all."""
    with pytest.raises(ValueError, match="has no bound"):
        values_needed(quantile)


@settings(max_examples=60, deadline=None)
@given(SAMPLES, st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_a_quantile_within_a_limit_is_a_share_within_it(sample: tuple[int, int], quantile: float) -> None:
    """The upper bound of the p95 is within a limit exactly where 95 % within it is proven; so is the contrary."""
    k, n = sample
    found = quantile_bounds([1.0] * k + [9.0] * (n - k), quantile)
    assert found is not None
    assert (found.upper is not None and found.upper <= 5) is (proportion_verdict(k, n, quantile) is Verdict.PASS)
    assert (found.lower is not None and found.lower > 5) is is_below(k, n, quantile)


def test_a_quantile_of_twenty_is_one_of_them() -> None:
    """19 of 20 values are at most the observed p95; nothing is interpolated, and a lost value stays infinite."""
    found = quantile_bounds([*range(1, 20), math.inf], 0.95)
    assert found is not None
    assert (found.observed, found.upper) == (19, None)
    lost = quantile_bounds([math.inf], 0.95)
    assert lost is not None
    assert (lost.observed, lost.lower) == (math.inf, None)


@pytest.mark.parametrize(("good", "of", "held"), [(99, 100, True), (98, 100, False), (0, 0, True), (0, 1, False)])
def test_a_counted_share(good: int, of: int, *, held: bool) -> None:
    """99 of 100 are 99 %, whatever the last bit of a float says."""
    assert at_least(good, of, 0.99) is held
