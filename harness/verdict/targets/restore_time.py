"""restore-time: every store is back from its backup within an hour, with the content that it had."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.model.keeping import RestoreDrilled
from harness.model.plan import Profile
from harness.model.policy import Target
from harness.model.verdicts import TargetVerdict, Verdict
from harness.verdict.growth import fit
from harness.verdict.targets import SMOKE_CLAIMS_NOTHING, Sample, evidence_of

_HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class RestoreTime:
    """Maximum over drills: each took this long at its size and brought back what had been written, record by record.

    Some drills prove the longest of some drills, nothing more; what they say of larger stores is a fitted line, and
    the claim tells how far it was stretched.
    """

    id: str = "restore-time"

    def judge(self, target: Target, sample: Sample) -> TargetVerdict:
        """Green when every declared store was drilled, each drill was in time and each content equal."""
        by_store = {
            store.store: [one for one in sample.record.restores if one.store == store.store]
            for store in sample.record.stores
        }
        wrong, unknown, told = list[str](), list[str](), list[str]()
        if not by_store:
            unknown.append("no store was declared and restored")
        for store, drills in by_store.items():
            done = [one for one in drills if not one.error]
            unknown.extend(f"{store}: {one.error.splitlines()[0]}" for one in drills if one.error)
            if not drills:
                unknown.append(f"{store}: nobody restored it")
            for drill in done:
                wrong.extend(f"{store} {one}" for one in _wrong(drill, target.objective))
                if not drill.records:
                    unknown.append(f"{store} was restored without a record in it")
            if done:
                told.append(_told(store, done, target.objective))
        seconds = [one.restore_seconds for drills in by_store.values() for one in drills if not one.error]
        verdict = Verdict.FAIL if wrong else Verdict.UNVERIFIED if unknown else Verdict.PASS
        claim = "; ".join([*wrong, *unknown, *told])
        if sample.profile == Profile.SMOKE:
            verdict, claim = Verdict.INCONCLUSIVE, f"{claim}; {SMOKE_CLAIMS_NOTHING}"
        return TargetVerdict(
            id=target.id,
            basis=target.basis,
            verdict=verdict,
            target=target.objective,
            observed=max(seconds, default=None),
            lower_bound=None,
            upper_bound=None,
            n=len(seconds),
            unit=target.unit,
            evidence=evidence_of(one.evidence for drills in by_store.values() for one in drills if not one.error),
            claim=claim,
        )


RESTORE_TIME = RestoreTime()


def _wrong(drill: RestoreDrilled, allowed: float) -> list[str]:
    found = []
    if drill.restore_seconds > allowed:
        found.append(f"took {drill.restore_seconds:.1f} s to be back, {allowed:g} s are allowed")
    parts = ((drill.missing, "missing"), (drill.changed, "changed"), (drill.foreign, "never written"))
    said = ", ".join(f"{count:,} {what}" for count, what in parts if count)
    if said:
        found.append(f"came back with other content than the {drill.records:,} records that it had: {said}")
    return found


def _told(store: str, drills: Sequence[RestoreDrilled], allowed: float) -> str:
    longest = max(drills, key=lambda one: one.restore_seconds)
    text = f"{store}: {longest.restore_seconds:.1f} s at most over {len(drills)} drills"
    growth = fit([(one.bytes, one.restore_seconds) for one in drills])
    within = f"{allowed / _HOUR:g} h" if allowed >= _HOUR else f"{allowed:g} s"
    return f"{text}, {growth.told(allowed, within)}" if growth else f"{text}, of one size: no growth is fitted"
