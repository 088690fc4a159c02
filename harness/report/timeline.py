"""The hop timeline of a trial: how far an alert came, hop by hop, and who is next to blame. Shared by report forms."""

from __future__ import annotations

from harness.model.hops import NEXT_PART, Hop
from harness.model.plan import Injection
from harness.model.verdicts import InjectionVerdict, Outcome, Trial

_SHOWN = tuple(hop for hop in Hop if hop is not Hop.DISPLAYED)
_WIDTH = max(len(hop) for hop in Hop)


def timeline(trial: Trial, injection: InjectionVerdict, planned: Injection | None = None) -> tuple[str, ...]:
    """A trial told in lines: what it was, each hop with its seconds since t0, the next part to blame, complaints.

    Args:
        trial: the trial.
        injection: the injection that it belongs to.
        planned: what was planned, for the instant at which the message was due.
    """
    lines = [
        f"{trial.alert} at {trial.channel}: {trial.outcome}",
        f"  injection {trial.injection}: fault {injection.fault} in {injection.lane}",
    ]
    if Hop.INJECTED not in trial.hops:
        return (*lines, *(f"  {complaint}" for complaint in trial.complaints))
    t0 = trial.hops[Hop.INJECTED]
    seen = [(trial.hops[hop] - t0, f"{hop.value:<{_WIDTH}}") for hop in _SHOWN if hop in trial.hops]
    seen += [(trial.hops[hop] - t0, f"{hop.value:<{_WIDTH}}") for hop in Hop if hop not in _SHOWN and hop in trial.hops]
    if planned is not None:
        seen.append((planned.rule_hold.total_seconds(), f"{'(due)':<{_WIDTH}}"))
    lines += [f"  {name}  {seconds:+8.2f} s" for seconds, name in sorted(seen, key=lambda one: one[0])]
    if trial.trail_ends is not None and trial.outcome is not Outcome.HEARD:
        missing = _after(trial.trail_ends)
        lines.append(f"  {missing.value:<{_WIDTH}}  not seen; next to blame: {NEXT_PART[trial.trail_ends]}")
    return (*lines, *(f"  {complaint}" for complaint in trial.complaints))


def _after(hop: Hop) -> Hop:
    """The next hop that everybody's trail has."""
    return _SHOWN[_SHOWN.index(hop) + 1]
