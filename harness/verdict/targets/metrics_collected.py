"""metrics-collected: the share of scrape slots whose samples are stored, in the window of the run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from harness.model.collection import ScrapesCounted
from harness.model.plan import Profile
from harness.model.policy import Target
from harness.model.series import METRICS
from harness.model.verdicts import TargetVerdict, Verdict
from harness.verdict.disturbances import Disturbance, disturbances, starved
from harness.verdict.record import Record
from harness.verdict.series import judge_series, worst
from harness.verdict.statistics import at_least
from harness.verdict.targets import SMOKE_CLAIMS_NOTHING, Sample


@dataclass(frozen=True, slots=True)
class MetricsCollected:
    """Census, no inference: every slot of every target's scrape clock; good is stored, by a scrape that succeeded.

    A slot that was lost while a fault of ours was in place in its lane is excluded, and counted by that fault. Because
    such a slot may have been lost for another reason, the objective must hold a second time, over those slots alone
    during which no fault was in place. Where samples are written on into a store of time series, each that was drawn
    must be there, too.
    """

    id: str = "metrics-collected"

    def judge(self, target: Target, sample: Sample) -> TargetVerdict:
        """Green when both shares are at the objective.

        Unverified when nothing could be counted outside of faults, or a lane was never there to be scraped. Red as well
        when a sample was lost on its way into InfluxDB, however few.
        """
        record = sample.record
        counts = _count(record)
        held = counts.holds(target.objective)
        why = _unverified(record, counts)
        if why:
            verdict = Verdict.UNVERIFIED
        elif held:
            # What was never scraped has no slot that could be lost, and nobody may call it collected.
            verdict = Verdict.UNVERIFIED if record.given_up else Verdict.PASS
        elif counts.starved and counts.without_starved().holds(target.objective):
            verdict = Verdict.INCONCLUSIVE
        else:
            verdict = Verdict.FAIL
        claim = _claim(record, counts) if counts.slots else ""
        if why:
            claim = f"{why}; {claim}" if claim else why
        kept, sentence = judge_series(record, (METRICS,))
        verdict, claim = worst(verdict, kept), "; ".join(filter(None, (claim, sentence)))
        if sample.profile == Profile.SMOKE:
            verdict, claim = Verdict.INCONCLUSIVE, f"{claim}; {SMOKE_CLAIMS_NOTHING}"
        return TargetVerdict(
            id=target.id,
            basis=target.basis,
            verdict=verdict,
            target=target.objective,
            observed=counts.good / counts.expected if counts.expected else None,
            lower_bound=None,
            upper_bound=None,
            n=counts.expected,
            unit=target.unit,
            evidence="real",
            claim=claim,
        )


METRICS_COLLECTED = MetricsCollected()


@dataclass(slots=True)
class _Counts:
    """Slots of all targets: `quiet` are those outside of every fault.

    `starved` of the quiet ones were lost while the harness was starved. `lost_in` counts the quiet ones that were lost
    by target, `gap_seconds` is the longest stretch of them.
    """

    slots: int = 0
    good: int = 0
    quiet: int = 0
    quiet_good: int = 0
    starved: int = 0
    excluded: Counter[str] = field(default_factory=Counter)
    lost_in: Counter[str] = field(default_factory=Counter)
    gap_seconds: float = 0.0
    gap_in: str = ""

    @property
    def expected(self) -> int:
        return self.slots - self.excluded.total()

    def holds(self, objective: float) -> bool:
        return at_least(self.good, self.expected, objective) and at_least(self.quiet_good, self.quiet, objective)

    def without_starved(self) -> _Counts:
        return _Counts(
            slots=self.slots - self.starved,
            good=self.good,
            quiet=self.quiet - self.starved,
            quiet_good=self.quiet_good,
            excluded=self.excluded,
        )


def _count(record: Record) -> _Counts:
    counts = _Counts()
    ours = disturbances(record)
    for one in record.scrapes:
        _count_target(one, [fault for fault in ours if fault.lane in {None, one.lane}], record, counts)
    return counts


def _count_target(one: ScrapesCounted, ours: Sequence[Disturbance], record: Record, counts: _Counts) -> None:
    name = f"{one.job} in {one.lane}" if one.lane else f"{one.job} at {one.instance}"
    lost, stretch = set(one.lost), 0
    for number in range(one.expected):
        at = one.first_at + number * one.interval_seconds
        cause = next((fault.fault for fault in ours if fault.covers(one.lane, at, at, one.interval_seconds)), None)
        counts.slots += 1
        counts.good += number not in lost
        if cause is None:
            counts.quiet += 1
            counts.quiet_good += number not in lost
        if number not in lost or cause is not None:
            counts.excluded.update([cause] if cause is not None and number in lost else [])
            stretch = 0
            continue
        counts.lost_in[name] += 1
        counts.starved += starved(record, at, at + one.interval_seconds)
        stretch += 1
        if (stretch + 1) * one.interval_seconds > counts.gap_seconds:
            counts.gap_seconds, counts.gap_in = (stretch + 1) * one.interval_seconds, name


def _unverified(record: Record, counts: _Counts) -> str:
    """Why nothing can be said, or an empty string."""
    if record.census is None:
        return "nobody counted the scrape slots of this run"
    if record.census.error:
        return f"not every scrape slot could be counted: {record.census.error}"
    if record.census.targets != len(record.scrapes):
        return f"the ledger tells of {len(record.scrapes)} of {record.census.targets} targets"
    if not counts.slots:
        return "no scrape was due in this window"
    if not counts.expected or not counts.quiet:
        return "a fault of ours was in place at every slot"
    return ""


def _claim(record: Record, counts: _Counts) -> str:
    seconds = record.census.to_at - record.census.from_at if record.census else 0.0
    told = (
        f"{counts.good} of {counts.expected} scrape slots of {len(record.scrapes)} targets are stored in this window "
        f"of {seconds:.0f} s; while no fault of ours was in place {counts.quiet_good} of {counts.quiet}"
    )
    if record.given_up:
        told += f"; nothing is known of {', '.join(record.given_up)}, which did not come up"
    if counts.excluded:
        causes = ", ".join(f"{fault} {count}" for fault, count in counts.excluded.most_common())
        told += f"; excluded are {counts.excluded.total()} that were lost while one was: {causes}"
    if counts.lost_in:
        worst = ", ".join(f"{name} {count}" for name, count in counts.lost_in.most_common(3))
        told += f"; lost most: {worst}; the longest gap is {counts.gap_seconds:g} s ({counts.gap_in})"
    if counts.starved:
        told += f"; {counts.starved} were lost while the harness was starved"
    return told
