"""A target with binomial basis: the share of injections that succeeded, with its exact bounds."""

from __future__ import annotations

from collections.abc import Callable

from harness.model.plan import Profile
from harness.model.policy import Target
from harness.model.verdicts import InjectionVerdict, TargetVerdict, Verdict
from harness.verdict.statistics import lower_bound, proportion_verdict, trials_needed, upper_bound
from harness.verdict.targets import Sample
from harness.verdict.trials import UNJUDGED


def judge_share(
    target: Target,
    sample: Sample,
    succeeded: Callable[[InjectionVerdict], bool],
    *,
    objective: float,
    claim: str,
) -> TargetVerdict:
    """A target over the injections of a run; those that could not be judged are not in n, and keep it from passing.

    A smoke run claims no rate: its verdict is `inconclusive`, whatever the numbers, and `unverified` without any.

    Args:
        target: as the policy states it.
        sample: the run's injections.
        succeeded: whether an injection counts as a success.
        objective: the share that must succeed.
        claim: what one success means, a clause for the claim's sentence.
    """
    judged = [one for one in sample.injections if not {trial.outcome for trial in one.trials} & UNJUDGED]
    n, successes = len(judged), sum(succeeded(one) for one in judged)
    left_out = len(sample.injections) - n
    told = f"{successes} of {n} injections: {claim}"
    if sample.profile == Profile.SMOKE:
        verdict = Verdict.INCONCLUSIVE if n else Verdict.UNVERIFIED
        enough = trials_needed(objective, 1) if n and 0 < objective < 1 else 0
        told += "; a smoke run claims no rate"
        if enough:
            told += f" ({enough} injections with at most one failure would prove {objective:g})"
    else:
        verdict = proportion_verdict(successes, n, objective)
        if sample.broken:
            verdict = Verdict.FAIL
            told += f"; broken: {', '.join(sample.broken)}"
        elif left_out and verdict is not Verdict.FAIL:
            verdict = Verdict.UNVERIFIED
        told += "; it holds for these alerts, these faults and this mix"
    if left_out:
        told += f"; {left_out} could not be judged"
    return TargetVerdict(
        id=target.id,
        basis=target.basis,
        verdict=verdict,
        target=objective,
        observed=successes / n if n else None,
        lower_bound=lower_bound(successes, n) if n else None,
        upper_bound=upper_bound(successes, n) if n else None,
        n=n,
        unit="ratio",
        evidence=sample.evidence,
        claim=told,
    )
