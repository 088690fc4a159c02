"""Whether scenes got what they expected, and which messages are theirs: from the ledger alone."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from harness.model.notifications import Notification, ReceivedAlert, Status
from harness.model.scenes import Demand, Expectation
from harness.model.stack import LANE_LABEL
from harness.model.verdicts import SceneVerdict, Verdict
from harness.observe.attribution import says, speaks_of
from harness.observe.content import complaints
from harness.verdict.record import Record
from harness.verdict.stories import SceneStory

_EARLY_SECONDS = 0.5
"""By how much less than its interval apart two messages may arrive: Alertmanager counts from when it sends, and one
may be on its way for longer than the other."""

_WATCHED_SECONDS = 1.0
"""How much earlier than at the end of its time listening may end: it is timed on another clock than messages."""

_Told = Iterator[tuple[Verdict, str]]
"""Sentences, each with what it makes of the scene's verdict."""


@dataclass(frozen=True, slots=True)
class Shares:
    """The messages of a run, by whom they belong to.

    `by_scene` holds those of each scene, `strange` sentences about those among them that nobody should have heard;
    `rest` is the run without them.
    """

    by_scene: Mapping[str, tuple[Notification, ...]]
    strange: Mapping[str, tuple[str, ...]]
    rest: Record


def shares(record: Record) -> Shares:
    """Lays messages to the scenes.

    To a scene belongs what arrives while it is played and speaks of an alert in its lane. Where that is none of those
    that may be heard, somebody heard what they should not. After its end only a message that says that one of its
    alerts is over still belongs to it.
    """
    names = {drill.alert for drill in record.drills} | {post.labels.get("alertname", "") for post in record.received}
    names |= {name for story in record.scenes for name in story.plan.may_be_heard}
    by_scene: dict[str, list[Notification]] = defaultdict(list)
    strange: dict[str, list[str]] = defaultdict(list)
    rest = []
    for message in record.messages:
        story = _whose(message, record, names)
        if story is None:
            rest.append(message)
            continue
        by_scene[story.plan.id].append(message)
        others = _spoken_of(message, story, names, record) - set(story.plan.may_be_heard) - _kept_silent(story)
        strange[story.plan.id].extend(f"{_told(message)} speaks of {name}" for name in sorted(others))
    return Shares(
        by_scene={name: tuple(messages) for name, messages in by_scene.items()},
        strange={name: tuple(told) for name, told in strange.items() if told},
        rest=replace(record, messages=tuple(rest)) if record.scenes else record,
    )


def judge_scenes(record: Record, shared: Shares) -> tuple[SceneVerdict, ...]:
    """Every scene that was planned, judged; what was planned and not played to its end is unverified.

    Args:
        record: the whole run.
        shared: whose messages are whose.
    """
    return tuple(_judge(story, record, shared) for story in record.scenes)


def _judge(story: SceneStory, record: Record, shared: Shares) -> SceneVerdict:
    name = story.plan.id
    told = [(Verdict.FAIL, sentence) for sentence in shared.strange.get(name, ())]
    messages = shared.by_scene.get(name, ())
    for expectation in story.plan.expects:
        told += _CHECKS[expectation.demand](expectation, story, messages, record)
    told += _doubts(story)
    starved = _starved(story, record)
    if starved:
        told = [(Verdict.UNVERIFIED, starved), *told]
    kinds = {kind for kind, _ in told}
    if Verdict.FAIL in kinds and not starved:
        verdict = Verdict.FAIL
    elif kinds - {Verdict.PASS}:
        verdict = Verdict.UNVERIFIED
    else:
        verdict = Verdict.PASS
    decisive = [sentence for kind, sentence in told if kind is verdict]
    others = [sentence for kind, sentence in told if kind is not verdict]
    return SceneVerdict(
        id=name,
        lane=story.plan.lane,
        summary=story.plan.summary,
        verdict=verdict,
        told=tuple(dict.fromkeys((*decisive, *others))),
        seconds=story.seconds,
    )


def _doubts(story: SceneStory) -> _Told:
    """Why nobody can vouch for it."""
    if not story.plan.expects:
        yield Verdict.UNVERIFIED, "it expects nothing"
    if story.ended_at is None:
        started = "never played" if story.started_at is None else "not played to its end"
        yield Verdict.UNVERIFIED, f"it was planned and {started}"
    elif story.why:
        yield Verdict.UNVERIFIED, f"it was not played to its end: {story.why}"
    for expectation in story.plan.expects:
        for mark in (expectation.since, expectation.until, expectation.given):
            if mark and mark not in story.marks:
                yield Verdict.UNVERIFIED, f"it never came to `{mark}`"


def _starved(story: SceneStory, record: Record) -> str:
    """Which starvation overlaps a scene, in a sentence, or an empty string."""
    if story.started_at is None:
        return ""
    for window in record.starved:
        if window.from_at <= story.until_at and window.to_at >= story.started_at:
            return f"the harness was starved: {window.what} {window.value:g}, at most {window.limit:g} is allowed"
    return ""


# --- what is demanded --------------------------------------------------------------------------------------------


def _heard(
    expectation: Expectation,
    story: SceneStory,
    messages: Sequence[Notification],
    record: Record,  # noqa: ARG001 - every check is called alike
) -> _Told:
    since = story.marks.get(expectation.since)
    if since is None:
        return
    allowed = expectation.within.total_seconds()
    for alert in expectation.alerts:
        slowest = 0.0
        for channel in expectation.channels:
            first = next((at - since for at in _firing(messages, story, alert, channel) if at >= since), math.inf)
            slowest = max(slowest, first)
            what = f"{alert} at {channel}"
            if math.isinf(first) and story.until_at - since < allowed - _WATCHED_SECONDS:
                yield Verdict.UNVERIFIED, f"nobody listened for {what} for the whole {allowed:g} s"
            elif math.isinf(first):
                yield Verdict.FAIL, f"{what} was not heard within {allowed:g} s of `{expectation.since}`"
            elif first > allowed:
                yield (
                    Verdict.FAIL,
                    f"{what} was heard {first:.1f} s after `{expectation.since}`, not within {allowed:g}",
                )
        if slowest <= allowed:
            yield (
                Verdict.PASS,
                f"{alert} was heard everywhere, {slowest:.1f} s after `{expectation.since}` at the latest",
            )


def _silent(
    expectation: Expectation,
    story: SceneStory,
    messages: Sequence[Notification],
    record: Record,  # noqa: ARG001 - every check is called alike
) -> _Told:
    since = story.marks.get(expectation.since)
    if since is None:
        return
    until = story.marks.get(expectation.until, math.inf) + expectation.within.total_seconds()
    broken = False
    for message in messages:
        # That something is over is told to those alone who have heard of it: the end of what was before the scene.
        if not since <= message.arrived.wall < until or message.status is Status.RESOLVED:
            continue
        if expectation.channels and message.channel not in expectation.channels:
            continue
        for alert in expectation.alerts:
            if speaks_of(message, alert, story.plan.lane):
                broken = True
                after = message.arrived.wall - since
                yield Verdict.FAIL, f"{_told(message)} speaks of {alert}, {after:.1f} s after `{expectation.since}`"
    if story.until_at < until - _WATCHED_SECONDS and not math.isinf(until):
        yield Verdict.UNVERIFIED, f"nobody listened for the whole time in which {_named(expectation)} must be silent"
    elif not broken:
        yield Verdict.PASS, f"nobody heard of {_named(expectation)}"


def _together(expectation: Expectation, story: SceneStory, messages: Sequence[Notification], record: Record) -> _Told:
    since, until = story.marks.get(expectation.since), story.marks.get(expectation.until)
    if since is None or until is None:
        return
    for alert in expectation.alerts:
        handed = _handed(alert, story, record, since, until)
        if len(handed) < 2:
            yield Verdict.UNVERIFIED, f"Alertmanager was handed {len(handed)} alerts {alert}, where two should meet"
            continue
        for channel in expectation.channels:
            here = [
                message
                for message in messages
                if _says(message, story, alert, channel) and since <= message.arrived.wall <= until
            ]
            if len(here) != 1:
                yield Verdict.FAIL, f"{channel} got {len(here)} messages that say {alert} fires, one was to tell all"
                continue
            wrong = complaints(here[0], handed)
            for sentence in wrong:
                yield Verdict.FAIL, f"the message at {channel} does not tell of all: {sentence}"
            if not wrong:
                yield Verdict.PASS, f"one message at {channel} tells of {len(handed)} alerts {alert}"


def _repeated(
    expectation: Expectation,
    story: SceneStory,
    messages: Sequence[Notification],
    record: Record,  # noqa: ARG001 - every check is called alike
) -> _Told:
    since = story.marks.get(expectation.since)
    if since is None:
        return
    until = story.marks.get(expectation.until, story.until_at)
    due, late = expectation.within.total_seconds(), (expectation.within + expectation.slack).total_seconds()
    for alert in expectation.alerts:
        for channel in expectation.channels:
            what = f"{alert} at {channel}"
            told = [at for at in _firing(messages, story, alert, channel) if since <= at <= until]
            if not told:
                yield Verdict.FAIL, f"{what} was not heard at all"
                continue
            if len(told) == 1 and until - told[0] < late - _WATCHED_SECONDS:
                yield Verdict.UNVERIFIED, f"nobody listened until a repetition of {what} was late"
            elif len(told) == 1:
                yield Verdict.FAIL, f"{what} was not repeated within {late:g} s"
            for before, after in pairwise(told):
                if after - before < due - _EARLY_SECONDS:
                    yield Verdict.FAIL, f"{what} was repeated after {after - before:.1f} s, due after {due:g} s"
                elif after - before > late:
                    yield Verdict.FAIL, f"{what} was repeated after {after - before:.1f} s, {late:g} s are allowed"
                else:
                    yield Verdict.PASS, f"{what} was repeated after {after - before:.1f} s, due after {due:g} s"


_CHECKS = {
    Demand.HEARD: _heard,
    Demand.SILENT: _silent,
    Demand.TOGETHER: _together,
    Demand.REPEATED: _repeated,
}


def _firing(messages: Sequence[Notification], story: SceneStory, alert: str, channel: str) -> list[float]:
    """When messages arrived at a channel that say that an alert fires in the scene's lane, in order."""
    return [message.arrived.wall for message in messages if _says(message, story, alert, channel)]


def _says(message: Notification, story: SceneStory, alert: str, channel: str) -> bool:
    return (
        message.channel == channel
        and says(message.status, Status.FIRING)
        and speaks_of(message, alert, story.plan.lane)
    )


def _handed(alert: str, story: SceneStory, record: Record, since: float, until: float) -> tuple[ReceivedAlert, ...]:
    """Every alert of a name in the lane that Alertmanager was handed as firing meanwhile, as it knew it first."""
    found: dict[tuple[tuple[str, str], ...], ReceivedAlert] = {}
    for post in record.received:
        if (
            post.labels.get("alertname") == alert
            and post.labels.get(LANE_LABEL) == story.plan.lane
            and not post.resolved
            and since <= post.received.wall <= until
        ):
            found.setdefault(tuple(sorted(post.labels.items())), post)
    return tuple(found.values())


# --- whose message -----------------------------------------------------------------------------------------------


def _whose(message: Notification, record: Record, names: set[str]) -> SceneStory | None:
    """The scene that a message belongs to, or None."""
    at = message.arrived.wall
    for story in record.scenes:
        if story.started_at is None or at < story.started_at:
            continue
        spoken = _spoken_of(message, story, names, record)
        own = spoken & set(story.plan.may_be_heard)
        over = message.status is Status.RESOLVED
        if at <= story.until_at:
            # The end of what a drill before it did is told late, and the drill is judged for that.
            if own or (spoken and not over):
                return story
        elif over and spoken and spoken == own:
            return story
    return None


def _spoken_of(message: Notification, story: SceneStory, names: set[str], record: Record) -> set[str]:
    """The alerts of the scene's lane that a message speaks of.

    Beside one that may be heard it may mention another's name in prose: that one counts only where Alertmanager was
    handed it as firing since the scene began.
    """
    lane = story.plan.lane
    spoken = {name for name in names if name and speaks_of(message, name, lane)}
    own = spoken & set(story.plan.may_be_heard)
    if not own:
        return spoken
    firing = {
        post.labels.get("alertname", "")
        for post in record.received
        if post.labels.get(LANE_LABEL) == lane
        and not post.resolved
        and (story.started_at or 0.0) <= post.received.wall <= message.arrived.wall
    }
    return own | (spoken & firing)


def _kept_silent(story: SceneStory) -> set[str]:
    """The alerts of which an expectation tells that somebody heard of them."""
    return {
        name for one in story.plan.expects if one.demand is Demand.SILENT and not one.channels for name in one.alerts
    }


def _named(expectation: Expectation) -> str:
    *first, last = expectation.alerts
    return f"{', '.join(first)} or {last}" if first else last


def _told(message: Notification) -> str:
    to = f" to receiver {message.receiver}" if message.receiver else ""
    return f"a message at {message.channel}{to} ({message.status})"
