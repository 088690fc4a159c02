"""Cells: what is known of every alert at every channel that must hear it. A status, never an inference over others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.model.events import DrillDeclared
from harness.model.hops import Hop
from harness.model.plan import Injection
from harness.model.verdicts import AlertCoverage, Cell, CellStatus, InjectionVerdict, Outcome, Quantiles, Trial
from harness.verdict.statistics import is_below, quantiles
from harness.verdict.trials import DELIVERED, FAILED, UNJUDGED

CELL_TARGET = 0.95
"""The share of a cell's trials that must succeed where targets.yaml promises no alerts-delivered."""

_WORST_FIRST = (CellStatus.BROKEN, CellStatus.FLAKY, CellStatus.UNVERIFIED, CellStatus.HEARD)
_TIMED = (Hop.VISIBLE, Hop.PENDING, Hop.FIRING, Hop.RECEIVED, Hop.NOTIFIED)


def coverage(
    planned: Sequence[Injection],
    injections: Sequence[InjectionVerdict],
    drills: Sequence[DrillDeclared],
    target: float = CELL_TARGET,
) -> tuple[AlertCoverage, ...]:
    """Every planned alert with its cells, in the order of the plan; negative controls are no part of it."""
    declared = {drill.alert: drill for drill in drills}
    verdicts = {verdict.injection: verdict for verdict in injections}
    own = [one for one in planned if one.control is None]
    return tuple(
        _alert(
            [one for one in own if one.alert == alert],
            verdicts,
            declared.get(alert),
            target,
        )
        for alert in dict.fromkeys(one.alert for one in own)
    )


def status_of(trials: Sequence[Trial], target: float = CELL_TARGET) -> CellStatus:
    """The status of a cell from its trials.

    heard: every one was heard. broken: so many of those that could be judged failed that the upper bound of their
    share is below the target (0 of 2, 1 of 3, 2 of 4). flaky: some failed, not enough to say so. unverified: none
    failed, and not all could be judged.
    """
    judged = [trial for trial in trials if trial.outcome not in UNJUDGED]
    failed = sum(trial.outcome in FAILED for trial in judged)
    if failed:
        return CellStatus.BROKEN if is_below(len(judged) - failed, len(judged), target) else CellStatus.FLAKY
    return CellStatus.HEARD if judged and len(judged) == len(trials) else CellStatus.UNVERIFIED


def _alert(
    planned: Sequence[Injection],
    verdicts: Mapping[str, InjectionVerdict],
    drill: DrillDeclared | None,
    target: float,
) -> AlertCoverage:
    injections = [verdicts[one.id] for one in planned]
    channels = dict.fromkeys(channel for one in planned for channel in one.channels)
    cells = tuple(
        _cell(channel, [trial for one in injections for trial in one.trials if trial.channel == channel], target)
        for channel in channels
    )
    statuses = {cell.status for cell in cells}
    return AlertCoverage(
        alert=planned[0].alert,
        priority=drill.priority if drill else "unknown",
        fault=drill.fault if drill else planned[0].fault,
        signal=drill.signal if drill else "simulated",  # the weaker claim
        status=next((status for status in _WORST_FIRST if status in statuses), CellStatus.UNVERIFIED),
        cells=cells,
        hops=_hop_times(injections),
    )


def _cell(channel: str, trials: Sequence[Trial], target: float) -> Cell:
    judged = [trial for trial in trials if trial.outcome not in UNJUDGED]
    ends = [trial.trail_ends for trial in trials if trial.outcome is not Outcome.HEARD and trial.trail_ends is not None]
    order = list(Hop)
    return Cell(
        channel=channel,
        status=status_of(trials, target),
        expected=len(trials),
        delivered=sum(trial.outcome in DELIVERED for trial in trials),
        resolved=sum(Hop.RESOLVED in trial.hops for trial in trials),
        seconds=quantiles([trial.seconds for trial in judged]),
        since_condition_seconds=quantiles([trial.since_condition_seconds for trial in judged]),
        trail_ends=min(ends, key=order.index, default=None),
        complaints=tuple(dict.fromkeys(complaint for trial in trials for complaint in trial.complaints)),
    )


def _hop_times(injections: Sequence[InjectionVerdict]) -> Mapping[Hop, Quantiles]:
    """Seconds from t0 to each hop, one value an injection (its last channel's for what is heard)."""
    found = {}
    for hop in _TIMED:
        values = [
            max(trial.hops[hop] - trial.hops[Hop.INJECTED] for trial in one.trials if hop in trial.hops)
            for one in injections
            if any(hop in trial.hops for trial in one.trials)
        ]
        times = quantiles(values)
        if times is not None:
            found[hop] = times
    return found
