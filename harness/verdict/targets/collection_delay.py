"""collection-delay: how long it takes from a change in the world to the first moment when a query sees it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from harness.model.collection import ChangePlanted
from harness.model.plan import Profile
from harness.model.policy import Target
from harness.model.verdicts import TargetVerdict, Verdict
from harness.verdict.disturbances import Disturbance, disturbances, starved
from harness.verdict.record import Record
from harness.verdict.statistics import at_least, quantile_bounds, values_needed
from harness.verdict.targets import SMOKE_CLAIMS_NOTHING, Sample

DEFAULT_QUANTILE = 0.95
"""The quantile that is bounded where targets.yaml names none."""

_FINER = 0.99
_FAULT_FELT_SECONDS = 2.0  # one scrape interval of the shipped policies: what a fault is still felt for afterwards


@dataclass(frozen=True, slots=True)
class CollectionDelay:
    """Quantile over planted changes, from the instant at which each was acknowledged; one that is never seen is late.

    A change that came late, or never, is excluded where a fault of ours was in place in its lane meanwhile, and counted
    by that fault. So that this hides no slow collection, too few in time among the changes that no fault met are
    a failure whatever the others say.
    """

    id: str = "collection-delay"

    def judge(self, target: Target, sample: Sample) -> TargetVerdict:
        """Green when the upper bound of the quantile is at most the objective; unverified when there is none."""
        record = sample.record
        quantile = DEFAULT_QUANTILE if target.share is None else target.share
        told = _sort(record, target.objective)
        verdict = _verdict(told.seconds, told.quiet, quantile, target.objective)
        if verdict is Verdict.FAIL and told.starved:
            seconds, quiet = _without(told.seconds, told.starved), _without(told.quiet, told.starved)
            if _verdict(seconds, quiet, quantile, target.objective) is not Verdict.FAIL:
                verdict = Verdict.INCONCLUSIVE
        if told.unknown and verdict is not Verdict.FAIL:
            verdict = Verdict.UNVERIFIED
        claim = _claim(told, quantile, target.objective)
        if sample.profile == Profile.SMOKE:
            verdict, claim = Verdict.INCONCLUSIVE, f"{claim}; {SMOKE_CLAIMS_NOTHING}"
        bounds = quantile_bounds(told.seconds, quantile)
        return TargetVerdict(
            id=target.id,
            basis=target.basis,
            verdict=verdict,
            target=target.objective,
            observed=bounds.observed if bounds else None,
            lower_bound=bounds.lower if bounds else None,
            upper_bound=bounds.upper if bounds else None,
            n=len(told.seconds),
            unit=target.unit,
            evidence="real",
            claim=claim,
        )


COLLECTION_DELAY = CollectionDelay()


@dataclass(frozen=True, slots=True)
class _Sorted:
    """The changes of a run: delays in seconds of those that count, and of those among them that no fault met.

    `starved` are the late ones among the delays that may be late because the harness was starved; `excluded` counts by
    fault; `unknown` are changes that were not made, or not awaited to the end, without a fault to excuse it.
    """

    seconds: tuple[float, ...]
    quiet: tuple[float, ...]
    starved: tuple[float, ...]
    excluded: Counter[str]
    unknown: int


def _sort(record: Record, objective: float) -> _Sorted:
    ours = disturbances(record)
    seconds, quiet, late_while_starved = [], [], []
    excluded: Counter[str] = Counter()
    unknown = 0
    for change in record.changes:
        seen = record.changes_seen.get(change.change)
        delay = seen.seconds if seen is not None else None
        # What comes after the objective cannot have made it late.
        until = change.at + (objective if delay is None else min(delay, objective))
        cause = _met(change, until, ours)
        if cause is not None and (delay is None or delay > objective):
            excluded[cause] += 1
        elif delay is None:
            unknown += 1
        else:
            seconds.append(delay)
            if cause is None:
                quiet.append(delay)
            if delay > objective and starved(record, change.at, until):
                late_while_starved.append(delay)
    for missed in record.changes_not_made:
        cause = next((one.fault for one in ours if one.covers(missed.lane, missed.at, missed.at, 0)), None)
        if cause is None:
            unknown += 1
        else:
            excluded[cause] += 1
    return _Sorted(tuple(seconds), tuple(quiet), tuple(late_while_starved), excluded, unknown)


def _met(change: ChangePlanted, until: float, ours: Sequence[Disturbance]) -> str | None:
    """The first fault that a change met on its way: in place, or still to be felt, before it was to be seen."""
    return next((one.fault for one in ours if one.covers(change.lane, change.at, until, _FAULT_FELT_SECONDS)), None)


def _verdict(seconds: Sequence[float], quiet: Sequence[float], quantile: float, objective: float) -> Verdict:
    bounds, undisturbed = quantile_bounds(seconds, quantile), quantile_bounds(quiet, quantile)
    for one in (bounds, undisturbed):
        if one is not None and one.lower is not None and one.lower > objective:
            return Verdict.FAIL
    if bounds is None or bounds.upper is None:
        return Verdict.UNVERIFIED
    in_time = sum(one <= objective for one in quiet)
    if not quiet or not at_least(in_time, len(quiet), quantile):
        return Verdict.INCONCLUSIVE
    return Verdict.PASS if bounds.upper <= objective else Verdict.INCONCLUSIVE


def _without(seconds: Sequence[float], some: Sequence[float]) -> tuple[float, ...]:
    left = Counter(some)
    kept = []
    for one in seconds:
        if left[one]:
            left[one] -= 1
        else:
            kept.append(one)
    return tuple(kept)


def _claim(told: _Sorted, quantile: float, objective: float) -> str:
    n, name = len(told.seconds), f"p{quantile * 100:g}"
    in_time = sum(one <= objective for one in told.seconds)
    text = f"{in_time} of {n} planted changes could be queried within {objective:g} s"
    bounds, finer = quantile_bounds(told.seconds, quantile), quantile_bounds(told.seconds, _FINER)
    if bounds is None or bounds.upper is None:
        text += f"; the {name} has no upper bound below {values_needed(quantile)} changes"
    else:
        text += f"; with 95 % confidence the {name} is {_told(bounds.upper)}"
    if finer is not None and finer.upper is not None:
        text += f", the p99 {_told(finer.upper)}"
    else:
        text += f"; a p99 needs {values_needed(_FINER)}"
    quiet_in_time = sum(one <= objective for one in told.quiet)
    text += f"; of those that no fault of ours met {quiet_in_time} of {len(told.quiet)}"
    if told.excluded:
        causes = ", ".join(f"{fault} {count}" for fault, count in told.excluded.most_common())
        text += f"; excluded are {told.excluded.total()} that met one and were late, lost or not made: {causes}"
    if told.starved:
        text += f"; {len(told.starved)} were late while the harness was starved"
    if told.unknown:
        text += f"; {told.unknown} were not made, or not awaited to the end"
    return f"{text}; it holds for this load"


def _told(bound: float) -> str:
    return f"at most {bound:.2f} s" if math.isfinite(bound) else "without a bound, for some were never seen"
