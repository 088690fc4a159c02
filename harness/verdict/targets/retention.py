"""retention: data that is 90 days old still answers, in every store that the policies declare."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from harness.model.keeping import AgedData, RetentionProbed
from harness.model.plan import Profile
from harness.model.policy import Target
from harness.model.verdicts import TargetVerdict, Verdict
from harness.verdict.targets import SMOKE_CLAIMS_NOTHING, Sample, evidence_of

EDGE_DAYS = 0.15
"""How close to the objective, in days, the oldest data that was asked for must be: 89.9 of 90 is at its edge."""

_EXACT = 1e-6


@dataclass(frozen=True, slots=True)
class Retention:
    """Boundary: in each store data on this side of the edge answers, to the last record.

    What is older than the objective and one unit that the store drops as a whole should be gone. Where it answers the
    target is met all the same, and the claim says what it costs.
    """

    id: str = "retention"

    def judge(self, target: Target, sample: Sample) -> TargetVerdict:
        """Green when every declared store was probed at its edge and all of its data up to there answered."""
        ages = [one for one in sample.record.stores if one.ages]
        probes = {one.store: one for one in sample.record.retentions}
        wrong, unknown, told = list[str](), list[str](), list[str]()
        if not ages:
            unknown.append("no store whose data ages was declared and probed")
        for store in ages:
            probe = probes.get(store.store)
            if probe is None or probe.error:
                why = probe.error.splitlines()[0] if probe is not None else "nobody probed it"
                unknown.append(f"{store.store}: {why}")
                continue
            lost, doubts = _judge(probe, target.objective)
            wrong.extend(f"{store.store} {one}" for one in lost)
            unknown.extend(f"{store.store} {one}" for one in doubts)
            told.append(_told(probe, target.objective))
        verdict = Verdict.FAIL if wrong else Verdict.UNVERIFIED if unknown else Verdict.PASS
        claim = "; ".join([*wrong, *unknown, *told])
        if sample.profile == Profile.SMOKE:
            verdict, claim = Verdict.INCONCLUSIVE, f"{claim}; {SMOKE_CLAIMS_NOTHING}"
        answered = [_oldest_answered(probes[one.store]) for one in ages if one.store in probes]
        return TargetVerdict(
            id=target.id,
            basis=target.basis,
            verdict=verdict,
            target=target.objective,
            observed=min(answered, default=None),
            lower_bound=None,
            upper_bound=None,
            n=sum(not probes[one.store].error for one in ages if one.store in probes),
            unit=target.unit,
            evidence=evidence_of(one.evidence for one in probes.values()),
            claim=claim,
        )


RETENTION = Retention()


def _judge(probe: RetentionProbed, days: float) -> tuple[list[str], list[str]]:
    """What is wrong with a store, and what nobody knows of it; each of its parts has an edge of its own."""
    lost, doubts = list[str](), list[str]()
    for part in dict.fromkeys(one.part for one in probe.aged) or ("",):
        aged = [one for one in probe.aged if one.part == part and one.written]
        within = [one for one in aged if one.oldest_days <= days]
        where = f"in {part} " if part else ""
        lost.extend(
            f"answers {where}{one.answered} of {one.written} records that are {one.newest_days:.2f} to "
            f"{one.oldest_days:.2f} d old"
            for one in within
            if one.answered < one.written
        )
        if not any(one.oldest_days >= days - EDGE_DAYS for one in within):
            doubts.append(f"was not asked {where}for data at the edge of {days:g} d")
        if not any(_beyond(one, probe, days) for one in aged):
            doubts.append(
                f"was not given {where}data beyond {days:g} d and one {probe.unit}, so nothing says that any ages out"
            )
    return lost, doubts


def _beyond(one: AgedData, probe: RetentionProbed, days: float) -> bool:
    """Whether data should be gone: all of it is older than is asked for and one unit more."""
    return one.newest_days > days + probe.unit_days - _EXACT


def _told(probe: RetentionProbed, days: float) -> str:
    """What was seen of a store, in words."""
    within = max((one.oldest_days for one in probe.aged if one.answered and one.oldest_days <= days), default=0.0)
    text = f"{probe.store} ({probe.keeps}) answers data of {within:.2f} d"
    costly = list(_costly(probe, days))
    if costly:
        text += f" and still of {max(one.newest_days for one in costly):.2f} d, which costs more than is asked for"
    else:
        beyond = [one.newest_days for one in probe.aged if _beyond(one, probe, days)]
        text += f"; that of {min(beyond, default=0.0):.2f} d is gone"
    return f"{text}; {probe.told}" if probe.told else text


def _costly(probe: RetentionProbed, days: float) -> Iterator[AgedData]:
    return (one for one in probe.aged if one.answered and _beyond(one, probe, days))


def _oldest_answered(probe: RetentionProbed) -> float:
    """Up to which age everything answered, without a hole."""
    return _unbroken(sorted(probe.aged, key=lambda one: one.oldest_days))


def _unbroken(aged: Iterable[AgedData]) -> float:
    oldest = 0.0
    for one in aged:
        if one.answered < one.written:
            return oldest
        oldest = max(oldest, one.oldest_days)
    return oldest
