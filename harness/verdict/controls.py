"""Negative controls: alerts that are lost or late on purpose, judged by the ordinary judge, which must say fail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.model.hops import Hop
from harness.model.notifications import MessageInterfered
from harness.model.plan import Control
from harness.model.verdicts import ControlVerdict, InjectionVerdict, Outcome, Trial, Verdict

MINIMUM_TRIALS = 2
"""Fewer trials of a control prove nothing about the judge."""

_EXPECTED: Mapping[Control, Outcome] = {Control.LOST: Outcome.LOST, Control.LATE: Outcome.LATE}
_WORST_FIRST = (Verdict.FAIL, Verdict.UNVERIFIED, Verdict.INCONCLUSIVE, Verdict.PASS)


def judge_controls(
    injections: Sequence[InjectionVerdict], interfered: Sequence[MessageInterfered]
) -> tuple[ControlVerdict, ...]:
    """Every negative control there is, tried or not."""
    return tuple(
        _judge(control, [one for one in injections if one.control == control], interfered) for control in Control
    )


def _judge(
    control: Control, injections: Sequence[InjectionVerdict], interfered: Sequence[MessageInterfered]
) -> ControlVerdict:
    """A control is as expected when all of its trials failed in the way meant, by our own interference, and no other.

    A message that is lost for another reason shows nothing about the judge; one that is late on purpose is taken back
    like any other.
    """
    trials = [(one.lane, trial) for one in injections for trial in one.trials]
    touched = {(event.lane, event.channel) for event in interfered if event.control == control}
    verdicts = {one.verdict for one in injections}
    verdict = next((one for one in _WORST_FIRST if one in verdicts), Verdict.UNVERIFIED)
    if Verdict.PASS in verdicts:
        verdict = Verdict.PASS
    return ControlVerdict(
        name=control.value,
        trials=len(trials),
        verdict=verdict,
        as_expected=(
            verdict is Verdict.FAIL
            and len(trials) >= MINIMUM_TRIALS
            and all(_as_meant(control, trial) and (lane, trial.channel) in touched for lane, trial in trials)
        ),
    )


def _as_meant(control: Control, trial: Trial) -> bool:
    if control is Control.LATE and Hop.RESOLVED not in trial.hops:
        return False
    return trial.outcome is _EXPECTED[control]
