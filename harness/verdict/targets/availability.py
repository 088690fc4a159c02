"""availability: every part of the monitoring is killed once, recovers by itself in time, and somebody notices."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from harness.drive.plan.timetable import ALONE
from harness.model.events import ComponentExited, ComponentRestarted
from harness.model.plan import Profile
from harness.model.policy import Target
from harness.model.stack import SHARED
from harness.model.verdicts import InjectionVerdict, TargetVerdict, Verdict
from harness.verdict.record import Record
from harness.verdict.stories import Story
from harness.verdict.targets import SMOKE_CLAIMS_NOTHING, Sample
from harness.verdict.trials import DELIVERED, UNJUDGED

OUTAGE_SECONDS = 60.0
"""How long an outage may be."""

CRASHES: Mapping[str, str] = {
    "prometheus-crashed": "Prometheus",
    "alertmanager-crashed": "Alertmanager",
    "exporter-crashed": "an exporter",
    "listener-crashed": "the dead man's listener",
}
"""The faults that kill a part of the monitoring and leave it to its own restart policy, and which part that is."""

_MONTH_SECONDS = 30 * 86_400.0

_PARTS: Mapping[str, Callable[[str], bool]] = {
    "Prometheus": lambda kind: kind == "prometheus",
    "Alertmanager": lambda kind: kind == "alertmanager",
    "an exporter": lambda kind: kind.endswith("-exporter"),
    "the dead man's listener": lambda kind: kind == "dead-mans-listener",
}


@dataclass(frozen=True, slots=True)
class Availability:
    """Maximum over outages: 99.9 % cannot be shown in minutes, so what is shown is how long one failure lasts.

    An outage counts from the end of a process to the moment when the next one works, started by its own unit: one that
    we started does not count. Prometheus works when it scrapes again.
    """

    id: str = "availability"

    def judge(self, target: Target, sample: Sample) -> TargetVerdict:
        """Green when every part was killed, no outage was longer than 60 s, each was noticed and no other happened."""
        record = sample.record
        kills = tuple(_kills(sample))
        others = tuple(_others(record))
        missing = [part for part in _PARTS if part not in {kill.part for kill in kills if kill.name}]
        wrong = [*(text for kill in kills for text in kill.wrong), *others]
        unknown = [text for kill in kills for text in kill.unknown]
        if missing:
            unknown.append(f"never killed: {', '.join(missing)}")
        verdict = Verdict.FAIL if wrong else Verdict.UNVERIFIED if unknown else Verdict.PASS
        claim = "; ".join([_recovery(kills, target.objective), *wrong, *unknown, _uptime(record)])
        if sample.profile == Profile.SMOKE:
            verdict, claim = Verdict.INCONCLUSIVE, f"{claim}; {SMOKE_CLAIMS_NOTHING}"
        return TargetVerdict(
            id=target.id,
            basis=target.basis,
            verdict=verdict,
            target=target.objective,
            observed=_share_up(record),
            lower_bound=None,
            upper_bound=None,
            n=len(kills),
            unit=target.unit,
            evidence="real",
            claim=claim,
        )


AVAILABILITY = Availability()


@dataclass(frozen=True, slots=True)
class _Kill:
    """One component, killed by an injection: for how long it was down, what of it is wrong, what nobody knows."""

    name: str
    part: str
    outage_seconds: float
    wrong: tuple[str, ...]
    unknown: tuple[str, ...]


def _kills(sample: Sample) -> Iterator[_Kill]:
    verdicts = {one.injection: one for one in sample.injections}
    for story in sample.record.stories:
        if story.planned.fault in CRASHES and story.planned.control is None and story.injected is not None:
            yield _kill(story, sample.record, verdicts.get(story.planned.id))


def _kill(story: Story, record: Record, verdict: InjectionVerdict | None) -> _Kill:
    began = story.applying_at or 0.0
    until = record.ended_at if story.healed is None else story.healed.healed_at
    part = CRASHES[story.planned.fault]
    label = f"{story.planned.fault} (injection {story.planned.id})"
    ends = (
        (at, one)
        for at, one in _lives(record, story)
        if isinstance(one, ComponentExited) and one.expected and began <= at <= until
    )
    killed = next(((at, one) for at, one in ends if _PARTS[part](_kind(record, one))), None)
    if killed is None:
        return _Kill("", part, math.nan, (), (f"{label}: no component ended by it",))
    exited_at, gone = killed
    name = f"{gone.name} in {gone.lane}" if gone.lane else gone.name
    lives = ((at, one) for at, one in _lives(record, story) if one.name == gone.name and at >= exited_at)
    restarted = next((one for _, one in lives if isinstance(one, ComponentRestarted)), None)
    wrong: list[str] = []
    unknown: list[str] = []
    outage = math.inf
    if restarted is None:
        (unknown if story.healed is None else wrong).append(f"{name} was not started again by its own unit")
    elif restarted.held:
        wrong.append(f"{name} was started again by us, not by its own unit")
    else:
        outage = restarted.outage_seconds
        if _kind(record, gone) == "prometheus":
            outage = max(outage, _blind_seconds(record, exited_at))
        if outage > OUTAGE_SECONDS:
            wrong.append(f"{name} was down for {_seconds(outage)}, {OUTAGE_SECONDS:g} s are allowed")
    outcomes = {trial.outcome for trial in verdict.trials} if verdict else set()
    if not outcomes & DELIVERED:
        heard = f"nobody was told that {name} had been down"
        (unknown if not outcomes or outcomes & UNJUDGED else wrong).append(heard)
    return _Kill(name, part, outage, tuple(wrong), tuple(unknown))


def _lives(record: Record, story: Story) -> Iterator[tuple[float, ComponentExited | ComponentRestarted]]:
    """The lives of the components within a fault's reach."""
    shared = story.planned.lane == SHARED or story.planned.stage == ALONE
    lane = None if shared else story.planned.lane
    return ((at, one) for at, one in record.lives if one.lane == lane)


def _kind(record: Record, gone: ComponentExited) -> str:
    """What a component is; its name in ledgers that do not tell."""
    reports = (one.report for one in record.components if (one.report.name, one.lane) == (gone.name, gone.lane))
    return next((report.of_kind for report in reports if report.of_kind), gone.name)


def _blind_seconds(record: Record, since: float) -> float:
    """How long after an instant it took until every target was scraped again; those that never were are left out."""
    found = [0.0]
    for one in record.scrapes:
        lost = set(one.lost)
        slots = (one.first_at + number * one.interval_seconds for number in range(one.expected) if number not in lost)
        found.append(next((at - since for at in slots if at >= since), 0.0))
    return max(found)


def _others(record: Record) -> Iterator[str]:
    """The outages of the monitoring that no fault of ours made."""
    for name, _, seconds in _unexpected(record):
        for_long = "was not started again" if math.isinf(seconds) else f"was down for {_seconds(seconds)}"
        yield f"{name} ended by itself and {for_long}"


def _unexpected(record: Record) -> Iterator[tuple[str, float, float]]:
    """Name, instant and seconds of each outage of the monitoring that no fault of ours made; infinite at the end."""
    for at, one in record.lives:
        if not isinstance(one, ComponentExited) or one.expected:
            continue
        if any(is_kind(_kind(record, one)) for is_kind in _PARTS.values()):
            again = (
                later.outage_seconds
                for when, later in record.lives
                if isinstance(later, ComponentRestarted) and (later.name, later.lane) == (one.name, one.lane)
                if when >= at
            )
            yield (f"{one.name} in {one.lane}" if one.lane else one.name, at, next(again, math.inf))


def _watched(record: Record) -> tuple[float, float]:
    """From when the last component stood to the end of the ledger."""
    return max((at for at, _ in record.ready), default=record.ended_at), record.ended_at


def _share_up(record: Record) -> float | None:
    """The share of the time in which no part of the monitoring was down, outages by our own faults aside."""
    since, until = _watched(record)
    if until <= since:
        return None
    return 1 - _union((max(at, since), min(at + seconds, until)) for _, at, seconds in _unexpected(record)) / (
        until - since
    )


def _union(spans: Iterable[tuple[float, float]]) -> float:
    """The length of what spans cover together."""
    covered, reached = 0.0, -math.inf
    for start, end in sorted(spans):
        covered += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return covered


def _recovery(kills: Iterable[_Kill], objective: float) -> str:
    """The sentence that is claimed, of the longest outage."""
    outages: dict[str, float] = {}
    for kill in kills:
        if kill.name:
            outages[kill.name] = max(kill.outage_seconds, outages.get(kill.name, 0.0))
    if not outages:
        return "no part of the monitoring was killed"
    slowest = max(outages, key=lambda name: outages[name])
    seconds = outages[slowest]
    if math.isinf(seconds):
        return f"{slowest} does not recover by itself"
    budget = (1 - objective) * _MONTH_SECONDS
    return (
        f"recovers in {_seconds(seconds)}; {objective * 100:g} % of a month ({budget / 60:.0f} min) is "
        f"{math.floor(budget / max(seconds, 0.05))} such failures; killed: "
        + ", ".join(f"{name} {_seconds(outage)}" for name, outage in outages.items())
    )


def _uptime(record: Record) -> str:
    since, until = _watched(record)
    share = _share_up(record)
    return f"up {share * 100:.4g} % of {until - since:.0f} s, our faults aside" if share is not None else "never up"


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f} s"
