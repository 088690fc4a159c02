"""Exact one-sided bounds of a proportion, and what they allow to be said.

Clopper-Pearson bounds as `scipy.stats.binomtest(…).proportion_ci(0.95)` gives them for a one-sided alternative (the
default is two-sided). scipy is imported where it is needed: it is slow to load, and `tocsin --version` needs none.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from harness.model.verdicts import Quantiles, Verdict

CONFIDENCE = 0.95
"""One-sided confidence of every bound."""

_EXACT = 1e-9  # a bound that equals the target is at the target, whatever the last bits of a float say


def lower_bound(successes: int, trials: int) -> float:
    """The one-sided 95 % lower bound of a proportion: 0 without trials."""
    if trials == 0:
        return 0.0
    from scipy.stats import binomtest

    return float(binomtest(successes, trials, alternative="greater").proportion_ci(CONFIDENCE).low)


def upper_bound(successes: int, trials: int) -> float:
    """The one-sided 95 % upper bound of a proportion: 1 without trials."""
    if trials == 0:
        return 1.0
    from scipy.stats import binomtest

    return float(binomtest(successes, trials, alternative="less").proportion_ci(CONFIDENCE).high)


def proportion_verdict(successes: int, trials: int, target: float) -> Verdict:
    """What a number of trials says of a target.

    pass: the lower bound is at or above it; fail: the upper bound is below it; inconclusive: neither, there were not
    enough trials; unverified: there was none.
    """
    if trials == 0:
        return Verdict.UNVERIFIED
    if lower_bound(successes, trials) >= target - _EXACT:
        return Verdict.PASS
    if is_below(successes, trials, target):
        return Verdict.FAIL
    return Verdict.INCONCLUSIVE


def is_below(successes: int, trials: int, target: float) -> bool:
    """Whether so few successes prove the proportion below the target (its upper bound is)."""
    return upper_bound(successes, trials) < target - _EXACT


@cache
def trials_needed(target: float, failures: int) -> int:
    """The smallest number of trials that proves `target` although so many of them failed.

    Raises:
        ValueError: the target is not between 0 and 1, both excluded: no number of trials proves certainty.
    """
    if not 0 < target < 1:
        raise ValueError(f"a target of {target} cannot be proven by trials")
    enough = failures + 1
    while lower_bound(enough - failures, enough) < target - _EXACT:
        enough *= 2
    too_few = enough // 2 if enough > failures + 1 else failures
    while enough - too_few > 1:
        middle = (enough + too_few) // 2
        if lower_bound(max(middle - failures, 0), middle) >= target - _EXACT:
            enough = middle
        else:
            too_few = middle
    return enough


def quantiles(seconds: Sequence[float]) -> Quantiles | None:
    """Median and maximum of raw values, or None without any.

    The median is one of the values, of an even number the upper one: nothing is interpolated, least of all with a
    lost message, which counts as infinite.
    """
    if not seconds:
        return None
    ordered = sorted(seconds)
    return Quantiles(p50=ordered[len(ordered) // 2], max=ordered[-1])
