"""What became of every trial: one notification (alert x channel) that an injection had to cause."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from harness.model.events import Injected
from harness.model.hops import Hop
from harness.model.notifications import Notification, Status
from harness.model.verdicts import InjectionVerdict, Outcome, Trial, Verdict
from harness.observe.attribution import says
from harness.observe.content import complaints
from harness.verdict.messages import Attribution, alerts_told, posts_of
from harness.verdict.record import Record
from harness.verdict.stories import Story

FAILED = frozenset({Outcome.LATE, Outcome.LOST, Outcome.WRONG_CONTENT, Outcome.NOT_RESOLVED})
"""Outcomes for which the monitoring is to blame."""

UNJUDGED = frozenset({Outcome.INCONCLUSIVE, Outcome.UNVERIFIED})
"""Outcomes that say nothing about the monitoring."""

DELIVERED = frozenset({Outcome.HEARD, Outcome.LATE, Outcome.NOT_RESOLVED})
"""Outcomes in which the right message reached the right channel before its hold was over."""

_WATCHED_SECONDS = 1.0
"""How much earlier than at the end of the hold watching may end: it is timed on another clock than messages."""

_EARLY_SECONDS = 1.0
"""A sample and a rule carry the instant at which they were meant to be taken; on a busy machine that is a little before
it was so."""

_TRAIL = (Hop.INJECTED, Hop.VISIBLE, Hop.PENDING, Hop.FIRING, Hop.RECEIVED)


def judge_injection(story: Story, messages: Attribution, record: Record) -> InjectionVerdict:
    """One injection with all its trials: it succeeds when every trial did and nobody heard what they should not."""
    planned = story.planned
    starved = _starved(story, record)
    why = _why_unverified(story)
    heard = messages.heard.get(planned.id, ())
    unexpected = messages.unexpected.get(planned.id, ())
    trials = tuple(
        _unjudged(story, channel, Outcome.UNVERIFIED, why)
        if why or story.injected is None
        else _judge(story, story.injected, channel, heard, record, starved)
        for channel in planned.channels
    )
    outcomes = {trial.outcome for trial in trials}
    if outcomes & FAILED or unexpected:
        verdict = Verdict.FAIL
    elif Outcome.UNVERIFIED in outcomes or not trials:
        verdict = Verdict.UNVERIFIED
    elif Outcome.INCONCLUSIVE in outcomes:
        verdict = Verdict.INCONCLUSIVE
    else:
        verdict = Verdict.PASS
    return InjectionVerdict(
        injection=planned.id,
        alert=planned.alert,
        fault=planned.fault,
        lane=planned.lane,
        control=planned.control.value if planned.control else None,
        verdict=verdict,
        trials=trials,
        unexpected=unexpected,
        starved=bool(starved),
        why=why or starved,
    )


def _why_unverified(story: Story) -> str:
    """Why an injection cannot be judged at all, or an empty string."""
    if story.unverified:
        return story.unverified
    if story.applying_at is None:
        return "it was planned and never tried"
    if story.injected is None:
        return "the run ended before the fault had been proven"
    if story.planned.although and story.disturbed is not False:
        seen = "was never seen" if story.disturbed is None else "was never seen to be over"
        return f"the disturbance of the alert's way ({story.planned.although}) {seen}"
    return ""


def _starved(story: Story, record: Record) -> str:
    """Which starvation overlaps an injection, in a sentence, or an empty string."""
    if story.applying_at is None:
        return ""
    until = story.closed_at if story.closed_at is not None else story.watched_until
    for window in record.starved:
        if window.from_at <= until and window.to_at >= story.applying_at:
            return f"the harness was starved: {window.what} {window.value:g}, at most {window.limit:g} is allowed"
    return ""


def _unjudged(story: Story, channel: str, outcome: Outcome, why: str) -> Trial:
    return Trial(
        injection=story.planned.id,
        alert=story.planned.alert,
        channel=channel,
        outcome=outcome,
        hops={},
        seconds=math.inf,
        since_condition_seconds=math.inf,
        trail_ends=None,
        complaints=(why,) if why else (),
    )


def _judge(
    story: Story,
    injected: Injected,
    channel: str,
    heard: Sequence[Notification],
    record: Record,
    starved: str,
) -> Trial:
    """One trial of an injection whose fault was proven."""
    t0 = injected.proven_at
    due_at, lost_after = story.due_at or t0, story.lost_after or t0
    here = [message for message in heard if message.channel == channel and message.arrived.wall >= t0]
    spoken = [message for message in here if says(message.status, Status.FIRING) or message.status is Status.UNKNOWN]
    first = next((message for message in spoken if message.arrived.wall <= lost_after), None)
    # An unreadable message is the news only where none that can be read came in time.
    readable = (message for message in spoken if says(message.status, Status.FIRING))
    first = next((message for message in readable if message.arrived.wall <= lost_after), first)
    over = _over(story, here)
    hops = _hops(story, t0, record)
    if first is not None:
        hops[Hop.NOTIFIED] = first.arrived.wall
    if over is not None:
        hops[Hop.RESOLVED] = over.arrived.wall
    since = first.arrived.wall - t0 if first is not None else math.inf
    seconds = first.arrived.wall - due_at if first is not None else math.inf
    if first is None:
        outcome, told = _lost(story, hops, spoken, lost_after)
        told += [f"the {channel} sink refused: {why}" for why in _refusals(story, channel, record)]
    else:
        outcome, told = _heard(story, first, over, seconds, since, record)
    told += _duplicates(here)
    if starved and outcome is not Outcome.UNVERIFIED:
        outcome, told = Outcome.INCONCLUSIVE, [starved, *told]
    return Trial(
        injection=story.planned.id,
        alert=story.planned.alert,
        channel=channel,
        outcome=outcome,
        hops=hops,
        seconds=seconds,
        since_condition_seconds=since,
        trail_ends=_trail_ends(hops),
        complaints=tuple(told),
    )


def _hops(story: Story, t0: float, record: Record) -> dict[Hop, float]:
    """The hops up to Alertmanager that were seen, in their order; what is missing in between stays missing."""
    hops = {Hop.INJECTED: t0, **{hop: story.hops[hop] for hop in _TRAIL if hop in story.hops}}
    for post in posts_of(story, record):
        if not post.resolved and t0 <= post.received.wall < story.ends_at:
            hops[Hop.RECEIVED] = post.received.wall
            break
    return hops


def _over(story: Story, here: Sequence[Notification]) -> Notification | None:
    """The message that it is over: the first after healing began, for what is healed may be seen before our proof."""
    if story.healed is None:
        return None
    healing_at = story.healed.healing_at
    over = (one for one in here if one.status is Status.RESOLVED and one.arrived.wall >= healing_at)
    return next(over, None)


def _lost(
    story: Story, hops: dict[Hop, float], spoken: Sequence[Notification], lost_after: float
) -> tuple[Outcome, list[str]]:
    """What to say where no message came before its hold was over."""
    hold = story.planned.hold.total_seconds()
    if story.watched_until < lost_after - _WATCHED_SECONDS:
        return Outcome.UNVERIFIED, [f"nobody listened for the whole hold of {hold:g} s"]
    if story.healed is not None and story.healed.healing_at < lost_after - _WATCHED_SECONDS:
        return Outcome.UNVERIFIED, [f"the fault was healed before the hold of {hold:g} s was over"]
    if story.unread and Hop.RECEIVED not in hops:
        return Outcome.UNVERIFIED, [f"nothing arrived, and its hops could not be read: {story.unread}"]
    told = [f"nothing arrived within {hold:g} s of due"]
    if spoken:
        late = spoken[0].arrived.wall - lost_after + hold
        told.append(f"a message came {late:.1f} s after due, when it counted as lost")
    return Outcome.LOST, told


def _heard(
    story: Story, first: Notification, over: Notification | None, seconds: float, since: float, record: Record
) -> tuple[Outcome, list[str]]:
    """What to say where a message came: of its content, of its time, of the message that it is over."""
    told = []
    if first.status is Status.UNKNOWN:
        told.append("the message says neither that the alert is firing nor that it is over")
    unseen = []
    for message, when in ((first, ""), (over, "when it was over: ")):
        if message is not None:
            wrong, checked = _content(story, message, record)
            told += [f"{when}{complaint}" for complaint in wrong]
            if not checked:
                unseen.append(
                    f"{when}its content could not be checked: the alert was not seen on its way to Alertmanager"
                )
    if told:
        return Outcome.WRONG_CONTENT, told
    if unseen:
        return Outcome.UNVERIFIED, unseen
    early = _early(story, first, record)
    if early > 0:
        return Outcome.UNVERIFIED, [
            f"the alert was firing {early:.1f} s before this fault could have raised it: something else did"
        ]
    late = list(_lateness(story, seconds, since))
    if late:
        return Outcome.LATE, late
    if over is not None:
        return Outcome.HEARD, []
    if story.healed is None:
        return Outcome.UNVERIFIED, ["it was never seen that the fault was healed"]
    if story.closed_at is None:
        return Outcome.UNVERIFIED, ["the run ended before anybody could hear that it was over"]
    waited = story.closed_at - story.healed.healed_at
    return Outcome.NOT_RESOLVED, [f"nobody was told that it was over, {waited:.1f} s after it was healed"]


def _early(story: Story, message: Notification, record: Record) -> float:
    """By how many seconds the alert fired before the fault plus the rule's own hold; 0 where it did not."""
    if story.injected is None:
        return 0.0
    possible = story.injected.applied_at + story.planned.rule_hold.total_seconds()
    began = min(post.starts_at for alerts in alerts_told(message, story, record)[:1] for post in alerts)
    early = possible - began
    return early if early > _EARLY_SECONDS else 0.0


def _content(story: Story, message: Notification, record: Record) -> tuple[list[str], bool]:
    """What is wrong with a message's content, and whether it could be compared with anything.

    A message is right when it agrees with one of the states that it may have been composed from.
    """
    newest: list[str] | None = None
    for alerts in alerts_told(message, story, record):
        wrong = list(complaints(message, alerts))
        if not wrong:
            return [], True
        newest = wrong if newest is None else newest
    return newest or [], newest is not None


def _lateness(story: Story, seconds: float, since: float) -> Iterator[str]:
    deadline, bound = story.planned.deadline.total_seconds(), story.planned.since_condition
    if seconds > deadline:
        yield f"{seconds:.1f} s after due, {deadline:g} s are allowed"
    if bound is not None and since > bound.total_seconds():
        yield f"{since:.1f} s after the condition was true, {bound.total_seconds():g} s are allowed"


def _duplicates(here: Sequence[Notification]) -> list[str]:
    """A message that comes twice is told of, no more: Alertmanager promises at least once."""
    told = []
    for status in (Status.FIRING, Status.RESOLVED):
        count = sum(message.status is status for message in here)
        if count > 1:
            told.append(f"{count} messages say {status}, one is enough")
    return told


def _refusals(story: Story, channel: str, record: Record) -> list[str]:
    """Why the channel's sink could take nothing while the injection was under way."""
    found = [why.why for at, why in record.refused if why.channel == channel and story.covers(at)]
    return list(dict.fromkeys(found))


def _trail_ends(hops: dict[Hop, float]) -> Hop | None:
    """The last hop of a trail that does not reach its end."""
    if Hop.NOTIFIED in hops:
        return None if Hop.RESOLVED in hops else Hop.NOTIFIED
    return [hop for hop in _TRAIL if hop in hops][-1]
