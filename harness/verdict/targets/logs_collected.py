"""logs-collected: the share of all records that were written which a search finds, whole and in time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from harness.model.audit import Fates, RecordsAudited, RecordsNotAudited
from harness.model.plan import Profile
from harness.model.policy import Target
from harness.model.series import EVENT_CLASSES
from harness.model.verdicts import TargetVerdict, Verdict
from harness.verdict.series import judge_series, worst
from harness.verdict.statistics import at_least
from harness.verdict.targets import SMOKE_CLAIMS_NOTHING, Sample


@dataclass(frozen=True, slots=True)
class LogsCollected:
    """Census, no inference: every announced record of every source, faults included.

    Collected is what was found whole under its own identity, and could be found by a search within the allowance. A
    second copy is no loss. What nobody can say anything of counts as not collected, and keeps the target from a pass
    that it could not carry.
    """

    id: str = "logs-collected"

    def judge(self, target: Target, sample: Sample) -> TargetVerdict:
        """Green when the share over all sources is at the objective and each source's control was counted exactly.

        Where events are written into InfluxDB as well, each must be there, too.
        """
        record = sample.record
        verdict, claim = judge_audits(record.audits, record.not_audited, target.objective)
        kept, sentence = judge_series(record, EVENT_CLASSES)
        verdict, claim = worst(verdict, kept), "; ".join(filter(None, (claim, sentence)))
        total = sum((one.fates for one in record.audits), Fates())
        if sample.profile == Profile.SMOKE:
            verdict, claim = Verdict.INCONCLUSIVE, f"{claim}; {SMOKE_CLAIMS_NOTHING}"
        stands_in = _stands_in(record.audits)
        return TargetVerdict(
            id=target.id,
            basis=target.basis,
            verdict=verdict,
            target=target.objective,
            observed=total.collected / total.written if total.written else None,
            lower_bound=None,
            upper_bound=None,
            n=total.written,
            unit=target.unit,
            evidence="real" if stands_in is None else "stand-in",
            claim=claim,
            stands_in=stands_in,
        )


LOGS_COLLECTED = LogsCollected()

_FEWEST: Final = 3
"""A control spoils one record of each kind: with fewer there is nothing to count."""


def _stands_in(audits: Sequence[RecordsAudited]) -> dict[str, str] | None:
    """Which products stood in for which, in one order; None where all were the policy's own."""
    pairs = dict.fromkeys((one.stands_in["for"], one.stands_in["is"]) for one in audits if one.stands_in)
    if not pairs:
        return None
    return {"for": ", ".join(wanted for wanted, _ in pairs), "is": ", ".join(had for _, had in pairs)}


def judge_audits(
    audits: Sequence[RecordsAudited], gaps: Sequence[RecordsNotAudited], objective: float
) -> tuple[Verdict, str]:
    """What audits amount to, and the sentence that is claimed."""
    total = sum((one.fates for one in audits), Fates())
    distrust = tuple(_distrust(audits))
    missing = tuple(_missing(audits, [f"{one.source}: {one.why}" if one.source else one.why for one in gaps]))
    quiet = tuple(_quiet(audits))
    best = total.collected + total.unverified
    if distrust or not total.written:
        verdict = Verdict.UNVERIFIED
    elif not at_least(best, total.written, objective):
        verdict = Verdict.FAIL  # not even what nobody knows of could save it
    elif missing or not at_least(total.collected, total.written, objective):
        verdict = Verdict.UNVERIFIED
    else:
        verdict = Verdict.PASS
    return verdict, "; ".join([*distrust, *missing, *([_claim(audits, total)] if total.written else []), *quiet])


def _distrust(audits: Sequence[RecordsAudited]) -> Iterator[str]:
    """Why counts cannot be trusted. Where everything was lost there is nothing to spoil, and no doubt either.

    So it is where hardly anything was written, if the control of another source of the same store was counted exactly:
    the same code has counted both.
    """
    exact = {one.store for one in audits if one.control.exact}
    for one in audits:
        untried = one.fates.written < _FEWEST and not one.control.withheld and one.store in exact
        if one.fates.written > one.fates.lost and not one.control.exact and not untried:
            seen = one.control.told or "not one record of each kind was spoilt"
            yield f"the negative control of {one.source} was not counted exactly ({seen})"


def _missing(audits: Sequence[RecordsAudited], gaps: Sequence[str]) -> Iterator[str]:
    """What was not counted at all."""
    if not audits and not gaps:
        yield "nobody looked for the records of this run"
    for gap in gaps:
        yield f"not audited: {gap}"
    busy = _busy(audits)
    for store in dict.fromkeys(one.store for one in audits if one.store not in busy):
        names = ", ".join(one.source for one in audits if one.store == store)
        yield f"no record of {names} was written in this window, and no other for {store}"


def _quiet(audits: Sequence[RecordsAudited]) -> Iterator[str]:
    """Sources that wrote nothing, beside others of the same store: told, and no reason for doubt.

    Whether there is a failed log-in or an error to tell of is not up to who ships it. A store for which nobody wrote
    anything is another matter: of that way nothing is known.
    """
    busy = _busy(audits)
    for one in audits:
        if not one.fates.written and one.store in busy:
            yield f"no record of {one.source} was written in this window"


def _busy(audits: Sequence[RecordsAudited]) -> frozenset[str]:
    """The stores for which something was written."""
    return frozenset(one.store for one in audits if one.fates.written)


def _claim(audits: Sequence[RecordsAudited], total: Fates) -> str:
    allowance = max(one.allowance_seconds for one in audits)
    told = (
        f"{total.collected} of {total.written} records of {len(audits)} sources were found whole within "
        f"{allowance:g} s in this window, faults included"
    )
    bad = [
        f"{count} {name}"
        for name, count in (
            ("late", total.late),
            ("corrupt", total.corrupt),
            ("lost", total.lost),
            ("unverified", total.unverified),
        )
        if count
    ]
    if bad:
        told += f"; {', '.join(bad)}, most in {_worst(audits)}"
    if total.duplicate:
        told += f"; {total.duplicate} were found more than once"
    violations = sum(one.schema_violations for one in audits)
    if violations:
        told += f"; {violations} copies violate their schema ({_offending(audits)})"
    slowest = max((one for one in audits if one.delay_p99_seconds is not None), key=_p99, default=None)
    if slowest is not None:
        told += f"; p99 of the delay {_p99(slowest):.1f} s ({slowest.source})"
    return told


def _p99(one: RecordsAudited) -> float:
    return one.delay_p99_seconds or 0.0


def _worst(audits: Sequence[RecordsAudited]) -> str:
    worst = max(audits, key=lambda one: one.fates.written - one.fates.collected)
    faults = {name: fates.written - fates.collected for name, fates in worst.by_fault.items()}
    if any(faults.values()):
        return f"{worst.source}, while {max(faults, key=lambda name: faults[name])} was in place"
    return worst.source


def _offending(audits: Sequence[RecordsAudited]) -> str:
    worst = max(audits, key=lambda one: one.schema_violations)
    field = next(iter(worst.offending), "unknown field")
    return f"{worst.source}, {field}"
