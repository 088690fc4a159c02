"""alerts-delivered: the share of injections whose every message reached the right channel with the right content."""

from __future__ import annotations

from dataclasses import dataclass

from harness.model.policy import Target
from harness.model.verdicts import InjectionVerdict, TargetVerdict
from harness.verdict.binomial import judge_share
from harness.verdict.targets import Sample
from harness.verdict.trials import DELIVERED


@dataclass(frozen=True, slots=True)
class AlertsDelivered:
    """Binomial over injections: delivered is right channel, right content, before the hold of 35 s ended.

    One that came later than promised was delivered (alert-delivery-time judges that); one that nobody was told the
    end of was delivered too (its cell is not heard).
    """

    id: str = "alerts-delivered"

    def judge(self, target: Target, sample: Sample) -> TargetVerdict:
        """Green when the lower bound of the share is at the objective and no cell is broken."""
        return judge_share(
            target,
            sample,
            _delivered,
            objective=target.objective if target.share is None else target.share,
            claim="every message of an injection reached its channels with the right content within 35 s of due",
        )


def _delivered(injection: InjectionVerdict) -> bool:
    return all(trial.outcome in DELIVERED for trial in injection.trials) and not injection.unexpected


ALERTS_DELIVERED = AlertsDelivered()
