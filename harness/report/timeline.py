"""The hop timeline of a trial: how far an alert came, hop by hop, and who is next to blame. Shared by report forms."""

from __future__ import annotations

from harness.model.hops import NEXT_PART, Hop
from harness.model.plan import Injection
from harness.model.verdicts import Outcome, Trial

_WIDTH = max(len(hop) for hop in Hop)
_DUE = "(due)"


def trail(trial: Trial, planned: Injection | None = None) -> tuple[str, ...]:
    """A trial told in lines: its outcome, each hop with its seconds since t0, the next part to blame, complaints.

    Args:
        trial: the trial.
        planned: what was planned; with it the lane, the fault and the instant at which the message was due are shown.
    """
    where = f" ({planned.fault} in {planned.lane})" if planned else ""
    lines = [f"{trial.alert} at {trial.channel}, injection {trial.injection}{where}: {trial.outcome}"]
    if Hop.INJECTED in trial.hops:
        t0 = trial.hops[Hop.INJECTED]
        seen = [(at - t0, hop.value) for hop, at in trial.hops.items()]
        if planned is not None:
            seen.append((planned.rule_hold.total_seconds(), _DUE))
        lines += [f"  {name:<{_WIDTH}} {seconds:+9.3f} s" for seconds, name in sorted(seen, key=lambda one: one[0])]
    if trial.trail_ends is not None and trial.outcome is not Outcome.HEARD:
        missing = _next(trial.trail_ends)
        lines.append(f"  {missing.value:<{_WIDTH}}  not seen;  next to blame: {NEXT_PART[trial.trail_ends]}")
    return (*lines, *(f"  {complaint}" for complaint in trial.complaints))


def _next(hop: Hop) -> Hop:
    """The next hop that every channel's trail has: `displayed` is confirmed by devices alone."""
    later = [other for other in list(Hop)[list(Hop).index(hop) + 1 :] if other is not Hop.DISPLAYED]
    return later[0]
