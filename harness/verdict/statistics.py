"""Exact one-sided bounds of a proportion and of a quantile, and what they allow to be said.

Clopper-Pearson bounds as `scipy.stats.binomtest(…).proportion_ci(0.95)` gives them for a one-sided alternative (the
default is two-sided); bounds of a quantile are order statistics (David and Nagaraja, Order Statistics, 7.1). scipy is
imported where it is needed: it is slow to load, and `tocsin --version` needs none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
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


def at_least(good: int, of: int, share: float) -> bool:
    """Whether so many are this share of all, counted and not estimated; nothing is every share of nothing."""
    return good >= (share - _EXACT) * of


@dataclass(frozen=True, slots=True)
class QuantileBounds:
    """A quantile of what was sampled, and its one-sided 95 % bounds; None where the sample is too small for one."""

    observed: float
    lower: float | None
    upper: float | None


def quantile_bounds(values: Sequence[float], quantile: float) -> QuantileBounds | None:
    """A quantile from raw values, nothing interpolated; None without any.

    The upper bound is the order statistic of rank `binom.ppf(0.95, n, q) + 1`: that the value of this rank lies below
    the quantile has a probability of at most 5 %. It does not exist below n = 59 for q = 0.95, 299 for 0.99. The lower
    bound is that of rank `binom.ppf(0.05, n, q)`.
    """
    if not values:
        return None
    from scipy.stats import binom

    ordered, n = sorted(values), len(values)
    upper_rank = int(binom.ppf(CONFIDENCE, n, quantile)) + 1
    lower_rank = int(binom.ppf(1 - CONFIDENCE, n, quantile))
    return QuantileBounds(
        observed=ordered[max(math.ceil(quantile * n - _EXACT), 1) - 1],
        lower=ordered[lower_rank - 1] if lower_rank >= 1 else None,
        upper=ordered[upper_rank - 1] if upper_rank <= n else None,
    )


@cache
def values_needed(quantile: float) -> int:
    """The smallest number of values for which a quantile has an upper bound: none of them may then be beyond it.

    Raises:
        ValueError: the quantile is not between 0 and 1, both excluded.
    """
    if not 0 < quantile < 1:
        raise ValueError(f"a quantile of {quantile} has no bound")
    return math.ceil(math.log(1 - CONFIDENCE) / math.log(quantile) - _EXACT)


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


def rate_upper_bound(events: int, exposure: float) -> float | None:
    """The exact one-sided 95 % upper bound of a Poisson rate; None where nothing was watched.

    Source: Garwood, "Fiducial limits for the Poisson distribution" (1936), by way of chi-squared. Without any event
    it is 3.0 divided by the exposure.
    """
    if exposure <= 0:
        return None
    from scipy.stats import chi2

    return float(chi2.ppf(CONFIDENCE, 2 * (events + 1))) / 2 / exposure


def quantiles(seconds: Sequence[float]) -> Quantiles | None:
    """Median and maximum of raw values, or None without any.

    The median is one of the values, of an even number the upper one: nothing is interpolated, least of all with a
    lost message, which counts as infinite.
    """
    if not seconds:
        return None
    ordered = sorted(seconds)
    return Quantiles(p50=ordered[len(ordered) // 2], max=ordered[-1])
