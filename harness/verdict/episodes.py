"""Episodes, judged: what a fault of the records' way has cost, held against what it may. Pure."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from typing import Final

from harness.model.audit import Fates, RecordsAudited
from harness.model.notifications import Status
from harness.model.stack import SHARED
from harness.model.verdicts import EpisodeVerdict, Verdict
from harness.verdict.record import Record
from harness.verdict.stories import EpisodeStory

AFTERMATH_SECONDS: Final = 20.0
"""How long after its end an episode is still to be heard of: a window of 10 s forgets it, a scrape and an evaluation
see that (3 s), and Alertmanager looks at a group every 5 s."""


def judge_episodes(told: Record) -> tuple[EpisodeVerdict, ...]:
    """Each planned episode: pass, fail where it cost more than it may, unverified where nobody can say.

    What counts are the records that were announced from its beginning until records flowed again. Lost and damaged
    ones count against what is allowed; late ones are told, for to be late is what such a fault does.
    """
    return tuple(_judged(story, told) for story in told.episodes)


def raised(record: Record, names: Collection[str], at: float, status: Status) -> frozenset[str]:
    """Those of the alerts that an episode truly raises at an instant, in the lane of what all share: no false alarms.

    It does from its beginning to shortly after its end. The way of records has one user at a time: what an injection of
    the same alert has begun since then is the injection's, but for the news of the episode's end, which may still be on
    its way until the injection is healed.

    Args:
        record: the run.
        names: the alerts that a message speaks of.
        at: when it arrived.
        status: what it says.
    """
    return frozenset(
        name for name in names if any(_raises(story, name, at, status, record) for story in record.episodes)
    )


def _raises(story: EpisodeStory, name: str, at: float, status: Status, record: Record) -> bool:
    if name not in story.plan.tolerates or story.began_at is None or at < story.began_at:
        return False
    ended_at = math.inf if story.ended_at is None else story.ended_at
    if at <= ended_at:
        return True
    since = [
        other
        for other in record.stories
        if (other.planned.alert, other.planned.lane) == (name, SHARED)
        and other.applying_at is not None
        and ended_at <= other.applying_at <= at
    ]
    late_news = status is Status.RESOLVED and all(one.healed is None or at < one.healed.healing_at for one in since)
    return at <= ended_at + AFTERMATH_SECONDS and (not since or late_news)


def _judged(story: EpisodeStory, told: Record) -> EpisodeVerdict:
    plan = story.plan
    audits = [one for one in told.audits if one.source in plan.sources]
    fates = sum((one.by_fault.get(plan.fault, Fates()) for one in audits), Fates())
    allowed = plan.promise.allowed(fates.written)
    doubts = tuple(_doubts(story, audits, fates))
    complaints = tuple(_complaints(story, fates, allowed))
    verdict = Verdict.UNVERIFIED if doubts else Verdict.FAIL if complaints else Verdict.PASS
    return EpisodeVerdict(
        id=plan.id,
        fault=plan.fault,
        summary=plan.summary,
        verdict=verdict,
        written=fates.written,
        allowed=allowed,
        lost=fates.lost,
        corrupt=fates.corrupt,
        duplicate=fates.duplicate,
        late=fates.late,
        told=(*doubts, *complaints, *_remarks(story, fates)),
    )


def _doubts(story: EpisodeStory, audits: list[RecordsAudited], fates: Fates) -> Iterator[str]:
    """Why nobody can say what it has cost."""
    if story.why:
        yield story.why
    elif not story.ended:
        yield "it was never told how it ended" if story.began else "it was not played"
    elif story.proven is None:
        yield "its effect was never proven"
    if not story.began:
        return
    missing = sorted(set(story.plan.sources) - {one.source for one in audits})
    if missing:
        yield f"not audited: {', '.join(missing)}"
    for one in audits:
        if one.fates.written > one.fates.lost and not one.control.exact:
            yield f"the negative control of {one.source} was not counted exactly"
    if audits and not fates.written:
        yield "no record was announced while it was in place"
    if fates.unverified:
        yield f"of {fates.unverified} of {fates.written} records nobody knows what became of them"


def _complaints(story: EpisodeStory, fates: Fates, allowed: int) -> Iterator[str]:
    """What it has cost and may not."""
    promise = story.plan.promise
    cost = fates.lost + fates.corrupt
    if cost > allowed:
        kinds = ", ".join(
            f"{count} {name}" for count, name in ((fates.lost, "lost"), (fates.corrupt, "damaged")) if count
        )
        yield f"{kinds} of {fates.written} records, and {allowed} may be"
    if fates.duplicate and not promise.duplicates:
        yield f"{fates.duplicate} of {fates.written} records were found more than once, and none may be"


def _remarks(story: EpisodeStory, fates: Fates) -> Iterator[str]:
    """What is to be known besides."""
    promise = story.plan.promise
    if fates.written:
        text = f"{fates.collected + fates.late} of {fates.written} records were found whole"
        yield f"{text}, {fates.late} of them late" if fates.late else text
    if promise.why and (promise.lost or promise.ratio):
        yield f"allowed because {promise.why}"
    if story.proven is not None:
        yield story.proven.proof
