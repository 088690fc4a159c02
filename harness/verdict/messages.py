"""Whose message is whose: what arrived is laid to the injection that caused it; what nobody should hear is named."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.model.notifications import Notification, ReceivedAlert, Status
from harness.model.policy import rendered
from harness.model.stack import LANE_LABEL, SHARED
from harness.model.time import Instant
from harness.observe.attribution import says, spoken
from harness.verdict.episodes import raised
from harness.verdict.record import Record
from harness.verdict.stories import Story

_RACE_SECONDS = 2.0
"""Alertmanager composes a message some milliseconds before it arrives (25 measured); a post may come in between."""


@dataclass(frozen=True, slots=True)
class Attribution:
    """Messages by the injection that they belong to.

    `heard` holds those about an injection's own alert at channels that must hear it; `unexpected` sentences about what
    somebody heard during an injection and should not; `unexplained` those about messages that no injection explains.
    """

    heard: Mapping[str, tuple[Notification, ...]]
    unexpected: Mapping[str, tuple[str, ...]]
    unexplained: tuple[str, ...]


def attribute(record: Record) -> Attribution:
    """Lays every message of a run to its injection."""
    heard: dict[str, list[Notification]] = defaultdict(list)
    unexpected: dict[str, list[str]] = defaultdict(list)
    unexplained = []
    names = {drill.alert for drill in record.drills} | {one.labels.get("alertname", "") for one in record.received}
    names |= {story.planned.alert for story in record.stories}
    lanes = {story.planned.lane for story in record.stories} | {SHARED}
    for message in record.judged_messages:
        said = spoken(message, names | lanes)
        under_way = [
            story
            for story in record.stories
            if any(story.reaches(lane) for lane in said & lanes) and story.covers(message.arrived.wall)
        ]
        by_episode = (
            raised(record, said & names, message.arrived.wall, message.status) if SHARED in said else frozenset()
        )
        explained = bool(by_episode)
        for story in under_way:
            planned = story.planned
            own = {planned.alert, planned.lane} <= said and planned.alert not in by_episode
            beside = _beside(story, under_way)
            others = _others(message, story, record, said & names, mentioned_beside=own)
            strange = sorted(others - set(planned.tolerates) - _earlier(message, story, record) - beside - by_episode)
            if story is _latest(story, under_way):
                unexpected[planned.id].extend(f"{_told(message)} speaks of {name}" for name in strange)
            if own:
                wrong = _wrong(message, story, heard[planned.id])
                if wrong:
                    unexpected[planned.id].append(f"{_told(message)} {wrong}")
                if message.channel in planned.channels:
                    heard[planned.id].append(message)
            explained = explained or own or bool(others)
        repeated = None if explained else _repeated(message, said, heard, record)
        if repeated is not None:
            heard[repeated.planned.id].append(message)
        elif not explained:
            unexplained.append(f"{_told(message)} belongs to no injection: {message.title!r}")
    return Attribution(
        heard={name: tuple(messages) for name, messages in heard.items()},
        unexpected={name: tuple(told) for name, told in unexpected.items() if told},
        unexplained=tuple(unexplained),
    )


def _repeated(
    message: Notification, said: set[str], heard: Mapping[str, Sequence[Notification]], record: Record
) -> Story | None:
    """The latest injection of an alert in a lane whose end a message tells once more, in a channel that was told of it.

    Alertmanager promises at least once: where it is killed after it had sent, and before its notification log was on
    disk, it sends again (20 s later, measured). Nobody is told of anything that is not so.
    """
    if message.status is not Status.RESOLVED:
        return None
    told = [
        story
        for story in record.stories
        if {story.planned.alert, story.planned.lane} <= said
        and story.applying_at is not None
        and story.applying_at < message.arrived.wall
    ]
    latest = max(told, key=lambda story: story.applying_at or 0.0, default=None)
    if latest is None:
        return None
    here = [one.status for one in heard.get(latest.planned.id, ()) if one.channel == message.channel]
    return latest if here[-1:] == [Status.RESOLVED] else None


def _beside(story: Story, under_way: Sequence[Story]) -> set[str]:
    """Alerts that other injections that reach this lane, under way at the same time, raise or tolerate."""
    return {
        name
        for other in under_way
        if other is not story and other.reaches(story.planned.lane)
        for name in (other.planned.alert, *other.planned.tolerates)
    }


def _latest(story: Story, under_way: Sequence[Story]) -> Story:
    """Of the injections under way in a story's lane the last to begin: what nobody expected is laid to it, once."""
    in_lane = (other for other in under_way if other.planned.lane == story.planned.lane)
    return max(in_lane, key=lambda other: other.applying_at or 0.0)


def alerts_told(message: Notification, story: Story, record: Record) -> tuple[tuple[ReceivedAlert, ...], ...]:
    """The sets of alerts that a message may rightly have been composed from, the newest first.

    For a message that says firing: this alert in this lane, as Alertmanager knew it when the message arrived, or at
    any instant of the two seconds before; as it knew it at any instant before where nothing was firing any more. For
    one that says resolved: those that were over by then. Empty sets are left out.
    """
    assert story.injected is not None
    by_itself = _told_by_itself(story, record)
    if by_itself is not None:
        return ((by_itself,),)
    posts = [
        post
        for post in posts_of(story, record)
        if story.injected.proven_at <= post.received.wall <= message.arrived.wall
    ]
    at_arrival = [message.arrived.wall]
    at_arrival += [post.received.wall for post in posts if message.arrived.wall - post.received.wall <= _RACE_SECONDS]
    earlier = [post.received.wall for post in posts if message.arrived.wall - post.received.wall > _RACE_SECONDS]
    # Where no state of the last seconds fits what the message says, it has been on its way for longer.
    return _states([*at_arrival, *earlier[-1:]], posts, message) or _states(earlier, posts, message)


def _states(
    instants: Sequence[float], posts: Sequence[ReceivedAlert], message: Notification
) -> tuple[tuple[ReceivedAlert, ...], ...]:
    """What was firing, or was over, at some instants, the newest first; whichever the message speaks of."""
    found = []
    for at in sorted(set(instants), reverse=True):
        latest = {tuple(sorted(post.labels.items())): post for post in posts if post.received.wall <= at}
        over = message.status is Status.RESOLVED
        known = tuple(post for post in latest.values() if _over(post, at) is over)
        if known:
            found.append(known)
    return tuple(found)


def _told_by_itself(story: Story, record: Record) -> ReceivedAlert | None:
    """The alert as the policy has it, where a listener outside Alertmanager tells of it: nobody is handed it."""
    drill = next((one for one in record.drills if one.alert == story.planned.alert), None)
    if drill is None or drill.told_by == "alertmanager" or story.due_at is None:
        return None
    labels = {**drill.labels, "alertname": drill.alert, LANE_LABEL: story.planned.lane}
    annotations = {name: rendered(text, labels) for name, text in drill.annotations.items()}
    return ReceivedAlert(labels, annotations, story.due_at, None, Instant(story.due_at, 0.0))


def posts_of(story: Story, record: Record) -> tuple[ReceivedAlert, ...]:
    """What Alertmanager was handed of an injection's alert in its lane, over the whole run, in order."""
    planned = story.planned
    return tuple(
        post
        for post in record.received
        if post.labels.get("alertname") == planned.alert and post.labels.get(LANE_LABEL) == planned.lane
    )


def _over(post: ReceivedAlert, at: float) -> bool:
    return post.resolved or (post.ends_at is not None and post.ends_at <= at)


def _others(message: Notification, story: Story, record: Record, said: set[str], *, mentioned_beside: bool) -> set[str]:
    """Of the alerts that a message of this lane speaks of those that are not the injection's own.

    Beside its own alert a message may mention another's name in prose, so there only those count that Alertmanager
    was handed as firing since the fault began.
    """
    planned = story.planned
    others = said - {planned.alert}
    if mentioned_beside and others:
        others &= {
            post.labels.get("alertname", "")
            for post in record.received
            if post.labels.get(LANE_LABEL) == planned.lane
            and not post.resolved
            and story.covers(post.received.wall)
            and post.received.wall <= message.arrived.wall
        }
    return others


def _earlier(message: Notification, story: Story, record: Record) -> set[str]:
    """Alerts that earlier injections in this lane raised or tolerated, where the message only says that they are over.

    Such a straggler is no false alarm; that it came too late is what the earlier injection is judged for.
    """
    if message.status is not Status.RESOLVED:
        return set()
    return {
        name
        for other in record.stories
        if story.reaches(other.planned.lane)
        and other.applying_at is not None
        and other.applying_at < (story.applying_at or 0.0)
        for name in (other.planned.alert, *other.planned.tolerates)
    }


def _wrong(message: Notification, story: Story, before: list[Notification]) -> str:
    """Why nobody should have heard this message about the drilled alert, or an empty string."""
    if message.channel not in story.planned.channels:
        return f"tells of {story.planned.alert}, and nobody must hear it there"
    if story.injected is None:
        return ""
    firing, over = says(message.status, Status.FIRING), message.status is Status.RESOLVED
    at = message.arrived.wall
    if firing and at < story.injected.proven_at:
        return "came before the fault had been proven"
    said = [other.status for other in before if other.channel == message.channel]
    spoken = next((number for number, status in enumerate(said) if says(status, Status.FIRING)), None)
    if firing and spoken is not None and Status.RESOLVED in said[spoken:]:
        return "says firing again after it had said that all was over"
    healing_at = story.healed.healing_at if story.healed else None
    if over and spoken is not None and healing_at is not None and at < healing_at:
        return "says that all is over while the fault was still there"
    return ""


def _told(message: Notification) -> str:
    to = f" to receiver {message.receiver}" if message.receiver else ""
    return f"a message at {message.channel}{to} ({message.status})"
