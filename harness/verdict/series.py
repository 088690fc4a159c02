"""Whether InfluxDB has what was written into it: what each class of time series comes to, and a sentence. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Final

from harness.model.events import ComponentExited, ComponentRestarted
from harness.model.series import Gap, SeriesCompared
from harness.model.verdicts import Verdict
from harness.verdict.record import Record

BEFORE_SECONDS: Final = 10.0
"""How long before its end a sample may have been taken that a crash of Prometheus loses: scraped, and not yet sent.

What Prometheus has not sent when it is killed it never sends: a new one sends what is younger than itself. A batch
waits two seconds, and a refused one as long again before each of its tries."""

AFTER_SECONDS: Final = 5.0
"""How long after its start a new Prometheus may take until it sends what it scrapes."""

_WORST_FIRST: Final = (Verdict.FAIL, Verdict.UNVERIFIED, Verdict.INCONCLUSIVE, Verdict.PASS)


def worst(*verdicts: Verdict) -> Verdict:
    """The worst of some verdicts: what fails fails, whatever nobody knows besides."""
    return min(verdicts, key=_WORST_FIRST.index)


def judge_series(told: Record, classes: Collection[str]) -> tuple[Verdict, str]:
    """What the compared ones of these classes come to, and the sentence that is claimed; empty where there is none."""
    compared = [one for one in told.series if one.of_class in classes]
    verdicts = [verdict_of(one, told) for one in compared]
    return worst(Verdict.PASS, *verdicts), "; ".join(sentence(one, told) for one in compared)


def verdict_of(one: SeriesCompared, told: Record) -> Verdict:
    """Fail where a sample is lost, wrong or nobody's; unverified where nothing was compared or no control exact."""
    if any(_wrong(one, told)):
        return Verdict.FAIL
    return Verdict.UNVERIFIED if any(_doubts(one)) else Verdict.PASS


def excused(one: SeriesCompared, told: Record) -> int:
    """How many of the missing samples Prometheus had when it was killed, and had not sent."""
    return sum(gap.missing for gap in one.gaps if _crashed(gap, one.writer, told))


def sentence(one: SeriesCompared, told: Record) -> str:
    """A class in one sentence."""
    name = f"the class {one.of_class}"
    if one.error:
        return f"{name} was not compared: {one.error.splitlines()[0]}"
    parts = [f"{name} in {one.store or 'its store'} has {one.found} of {one.expected} samples of {one.series} series"]
    parts += [*_wrong(one, told), *_doubts(one)]
    if one.overwritten:
        parts.append(f"{one.overwritten} stand under another one of the same instant and tags")
    pardoned = excused(one, told)
    if pardoned:
        parts.append(f"{pardoned} were not yet sent when {one.writer} was killed")
    return ", ".join(parts)


def _wrong(one: SeriesCompared, told: Record) -> Iterator[str]:
    lost = one.missing - excused(one, told)
    for count, what in (
        (lost, "missing"),
        (one.differing, "differing"),
        (one.foreign, "foreign"),
        (one.twice, "twice"),
    ):
        if count:
            kept = one.examples.get(what) or one.examples.get(f"{what} or overwritten", ())
            yield f"{count} {what}{f' ({kept[0]})' if kept else ''}"


def _doubts(one: SeriesCompared) -> Iterator[str]:
    """Why nobody may call it whole."""
    if one.error:
        yield one.error
    elif not one.expected:
        yield "nothing was due, so nothing is known of it"
    elif not one.control.exact:
        yield f"the negative control was not counted exactly ({one.control.told or 'nothing could be spoilt'})"


def _crashed(gap: Gap, writer: str, told: Record) -> bool:
    """Whether a gap lies wholly within what an end of its writer may cost."""
    ends = [at for at, life in told.lives if isinstance(life, ComponentExited) and _is(life, writer)]
    begins = [at for at, life in told.lives if isinstance(life, ComponentRestarted) and _is(life, writer)]
    for ended in ends:
        again = min((at for at in begins if at >= ended), default=ended)
        if ended - BEFORE_SECONDS <= gap.from_at and gap.to_at <= again + AFTER_SECONDS:
            return True
    return False


def _is(life: ComponentExited | ComponentRestarted, writer: str) -> bool:
    return life.name == writer and life.lane is None
