"""alert-delivery-time: the share of injections whose every message came within the promised time."""

from __future__ import annotations

from dataclasses import dataclass

from harness.model.policy import Target
from harness.model.verdicts import InjectionVerdict, TargetVerdict
from harness.verdict.binomial import judge_share
from harness.verdict.targets import Sample

DEFAULT_SHARE = 0.95
"""The share that must be in time where targets.yaml names none: a p95 and "95 % within" are one test."""


@dataclass(frozen=True, slots=True)
class AlertDeliveryTime:
    """Binomial over the same injections as alerts-delivered: from due to arrival, native seconds, lost is infinite.

    Where a priority bounds the time since the condition was true as well, both bounds must hold.
    """

    id: str = "alert-delivery-time"

    def judge(self, target: Target, sample: Sample) -> TargetVerdict:
        """Green when the lower bound of the share in time is at the asked share and no cell is broken."""

        def in_time(injection: InjectionVerdict) -> bool:
            bound = sample.planned[injection.injection].since_condition
            return all(
                trial.seconds <= target.objective
                and (bound is None or trial.since_condition_seconds <= bound.total_seconds())
                for trial in injection.trials
            )

        return judge_share(
            target,
            sample,
            in_time,
            objective=DEFAULT_SHARE if target.share is None else target.share,
            claim=f"every message of an injection arrived within {target.objective:g} s of due",
        )


ALERT_DELIVERY_TIME = AlertDeliveryTime()
