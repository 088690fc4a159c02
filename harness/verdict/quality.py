"""How good the alerts are over the faults of a run: recall, precision, detection time, reset time, noise.

Source of the four: "The Site Reliability Workbook", chapter "Alerting on SLOs". Here the events are known, for they are
the run's injections; docs/quality.md defines every figure. It is shown and not judged.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from harness.model.hops import Hop
from harness.model.notifications import Notification, ReceivedAlert, Status
from harness.model.stack import LANE_LABEL, SHARED
from harness.model.verdicts import FalseAlarm, FaultQuality, InjectionVerdict, Noise, Outcome, Quality, Trial
from harness.observe.attribution import says, speaks_of
from harness.verdict.disturbances import reaches_everything
from harness.verdict.episodes import raised
from harness.verdict.record import Record
from harness.verdict.statistics import quantiles, rate_upper_bound
from harness.verdict.stories import Story
from harness.verdict.trials import UNJUDGED

_DAY_SECONDS = 86_400.0
_RACE_SECONDS = 2.0
"""Alertmanager composes a message some milliseconds before it arrives; that the alert is over may be posted between."""

_REACHED = frozenset({Hop.FIRING, Hop.RECEIVED, Hop.NOTIFIED})

Pair = tuple[str, str]
"""An alert's name and the lane in which it speaks."""


def quality_of(record: Record, verdicts: Sequence[InjectionVerdict]) -> Quality:
    """The quality of the alerts of a run; negative controls are outside of it, though what they raise is explained.

    Args:
        record: the run.
        verdicts: its injections, judged, controls among them.
    """
    own = [one for one in verdicts if one.control is None]
    stories = {story.planned.id: story for story in record.stories}
    explained, false = _alarms(record)
    faults = dict.fromkeys(one.fault for one in own)
    by_fault = tuple(
        _quality(
            fault,
            [one for one in own if one.fault == fault],
            stories,
            explained[fault],
            sum(alarm.fault == fault for alarm in false),
        )
        for fault in faults
    )
    return Quality(
        overall=_quality("", own, stories, sum(explained.values()), len(false)),
        by_fault=by_fault,
        noise=_noise(record, [alarm for alarm in false if not alarm.fault]),
        false_alarms=tuple(false),
    )


def _quality(
    fault: str,
    verdicts: Sequence[InjectionVerdict],
    stories: Mapping[str, Story],
    explained: int,
    false_alarms: int,
) -> FaultQuality:
    proven = [one for one in verdicts if stories[one.injection].injected is not None]
    known = [one for one in proven if _fired(one) or _missed(one)]
    timed = [one for one in known if not one.starved]
    return FaultQuality(
        fault=fault,
        injections=len(known),
        fired=sum(_fired(one) for one in known),
        unknown=len(proven) - len(known),
        explained=explained,
        false_alarms=false_alarms,
        firing_seconds=quantiles([seconds for one in timed for seconds in _detection(one, Hop.FIRING)]),
        message_seconds=quantiles([seconds for one in timed for seconds in _detection(one, Hop.NOTIFIED)]),
        reset_seconds=quantiles([seconds for one in timed for seconds in _reset(one, stories[one.injection])]),
    )


def _fired(one: InjectionVerdict) -> bool:
    """Whether the alert was seen firing, on its way, or in any channel."""
    return any(_REACHED & trial.hops.keys() for trial in one.trials)


def _missed(one: InjectionVerdict) -> bool:
    """Whether it is known that it did not fire: every trial could be judged, and none has a trace of it."""
    return bool(one.trials) and not any(trial.outcome in UNJUDGED for trial in one.trials) and not _fired(one)


def _detection(one: InjectionVerdict, hop: Hop) -> Iterator[float]:
    """From t0 to the first trial's hop: infinite where it is known never to have come, nothing where that is open."""
    seconds = [trial.hops[hop] - trial.hops[Hop.INJECTED] for trial in one.trials if hop in trial.hops]
    if seconds:
        yield min(seconds)
    elif _missed(one) or (hop is Hop.NOTIFIED and all(trial.outcome is Outcome.LOST for trial in one.trials)):
        yield math.inf


def _reset(one: InjectionVerdict, story: Story) -> Iterator[float]:
    """From healing to the last of the resolved messages at the channels that had heard of it."""
    heard = [trial for trial in one.trials if Hop.NOTIFIED in trial.hops]
    if story.healed is None or not heard or any(_end_is_unknown(trial) for trial in heard):
        return
    # What is healed may be seen by the monitoring before we have proven it.
    yield max(max(0.0, trial.hops.get(Hop.RESOLVED, math.inf) - story.healed.healed_at) for trial in heard)


def _end_is_unknown(trial: Trial) -> bool:
    return Hop.RESOLVED not in trial.hops and trial.outcome in UNJUDGED


# --- what messages told of ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Told:
    """One alert in one lane of which one message says that it fires.

    `turn` counts how often the channel had said before that it was over: messages of one turn tell of one episode.
    """

    alert: str
    lane: str
    at: float
    channel: str
    turn: int


def _alarms(record: Record) -> tuple[Counter[str], list[FalseAlarm]]:
    """How many alerts that somebody was told of an injection explains, by fault; and those that none does, in order.

    An alert counts once in an injection, and once in every episode outside of one, at however many channels it spoke.
    """
    explained: dict[tuple[str, str, str], Story] = {}
    false: dict[tuple[str, str, int], FalseAlarm] = {}
    turns: dict[tuple[str, str], int] = {}
    for told in _told(record):
        if told.lane == SHARED and raised(record, (told.alert,), told.at, Status.FIRING):
            continue  # an episode has truly raised it, and episodes are judged by what they cost
        story = _explaining(told, record.stories, turns)
        if story is not None:
            explained[told.alert, told.lane, story.planned.id] = story
        else:
            alarm = FalseAlarm(told.alert, told.lane, told.at, _fault_under_way(told, record))
            false.setdefault((told.alert, told.lane, told.turn), alarm)
    own = (story.planned for story in explained.values() if story.planned.control is None)
    return Counter(planned.fault for planned in own), list(false.values())


def _explaining(told: _Told, stories: Iterable[Story], turns: dict[tuple[str, str], int]) -> Story | None:
    """The injection that explains why this alert speaks in its lane, or None.

    An injection explains its own alert from its proof on, until a channel says that all is over: who says firing again
    after that speaks of nothing that was done. It explains what its drill tolerates as long as it is the last in its
    track. `turns` keeps the turn in which each injection's alert first spoke at each channel.
    """
    under_way = [one for one in stories if one.reaches(told.lane) and one.covers(told.at)]
    for story in under_way:
        if (
            told.lane != story.planned.lane
            or story.planned.alert != told.alert
            or (story.injected is not None and told.at < story.injected.proven_at)
        ):
            continue
        if turns.setdefault((story.planned.id, told.channel), told.turn) == told.turn:
            return story
    return next((story for story in under_way if told.alert in story.planned.tolerates), None)


def _told(record: Record) -> Iterator[_Told]:
    """What messages say is firing, in the order of their arrival.

    A message may mention an alert in prose: where Alertmanager had been handed some of the alerts that it speaks of as
    firing, it tells of these alone. A message that says neither firing nor resolved is no good news; one that speaks of
    no alert that is known tells of one without a name.
    """
    handed = _Handed(record.received)
    alerts = {drill.alert for drill in record.drills} | {alert for alert, _ in handed.posts}
    lanes = {story.planned.lane for story in record.stories} | {lane for _, lane in handed.posts}
    over: Counter[tuple[str, Pair]] = Counter()
    for message in record.judged_messages:
        at = message.arrived.wall
        pairs = list(_spoken_of(message, sorted(alerts - {""}), sorted(lanes - {""})))
        if message.status is Status.RESOLVED:
            over.update((message.channel, pair) for pair in pairs if not handed.firing(pair, at))
        elif says(message.status, Status.FIRING) or message.status is Status.UNKNOWN:
            for pair in [one for one in pairs if handed.firing(one, at)] or pairs or [("", "")]:
                yield _Told(*pair, at, message.channel, over[message.channel, pair])


def _spoken_of(message: Notification, alerts: Sequence[str], lanes: Sequence[str]) -> Iterator[Pair]:
    shown = "\n".join((message.title, message.text, *message.marks.values()))
    near = [alert for alert in alerts if alert in shown]  # thousands of messages: whole words only where it may matter
    for lane in lanes:
        if lane in shown:
            yield from ((alert, lane) for alert in near if speaks_of(message, alert, lane))


class _Handed:
    """What Alertmanager was handed, by alert and lane."""

    def __init__(self, received: Iterable[ReceivedAlert]) -> None:
        self.posts: dict[Pair, list[ReceivedAlert]] = defaultdict(list)
        for post in received:
            self.posts[post.labels.get("alertname", ""), post.labels.get(LANE_LABEL, "")].append(post)

    def firing(self, pair: Pair, at: float) -> bool:
        """Whether it held an alert for firing when it composed a message that arrived then."""
        posts = self.posts.get(pair, ())
        return any(self._firing(posts, instant) for instant in (at, at - _RACE_SECONDS))

    @staticmethod
    def _firing(posts: Iterable[ReceivedAlert], at: float) -> bool:
        latest = {tuple(sorted(post.labels.items())): post for post in posts if post.received.wall <= at}
        return any(not post.resolved and (post.ends_at is None or post.ends_at > at) for post in latest.values())


# --- quiet time -------------------------------------------------------------------------------------------------


def _noise(record: Record, alarms: Sequence[FalseAlarm]) -> Noise:
    """The false alarms of quiet time: from the loaded rules to the end of the drills, where nothing was under way."""
    began, ended = record.drilled or (0.0, 0.0)
    lanes = {story.planned.lane for story in record.stories} - {SHARED} - record.given_up.keys()
    quiet = sum(ended - began - _busy(record, lane, began, ended) for lane in lanes)
    count = sum(began <= alarm.at <= ended for alarm in alarms)
    days = quiet / _DAY_SECONDS
    return Noise(count, quiet, count / days if days > 0 else None, rate_upper_bound(count, days))


def _busy(record: Record, lane: str, began: float, ended: float) -> float:
    """For how many seconds of a window something was under way in a lane; side by side counts once."""
    busy, done_until = 0.0, began
    windows = [_window(story, ended) for story in record.stories if _is_felt(story, lane)]
    windows += [
        (scene.started_at, scene.until_at)
        for scene in record.scenes
        if scene.started_at is not None and scene.plan.lane == lane
    ]
    for from_at, to_at in sorted(windows):
        busy += max(0.0, min(to_at, ended) - max(from_at, done_until))
        done_until = max(done_until, to_at)
    return busy


def _fault_under_way(told: _Told, record: Record) -> str:
    """The fault that was last to begin of those under way in a lane at an instant, or "" in quiet time."""
    found = [
        story
        for story in record.stories
        if (not told.lane or _is_felt(story, told.lane)) and _is_in(_window(story, math.inf), told.at)
    ]
    return max(found, key=lambda story: story.applying_at or 0.0).planned.fault if found else ""


def _is_felt(story: Story, lane: str) -> bool:
    return story.applying_at is not None and (story.planned.lane == lane or reaches_everything(story))


def _window(story: Story, ended: float) -> tuple[float, float]:
    """From when a fault was applied to when nothing more was awaited; where that was never so, to the next one."""
    began = ended if story.applying_at is None else story.applying_at
    return began, min(story.ends_at, ended) if story.closed_at is None else story.closed_at


def _is_in(window: tuple[float, float], at: float) -> bool:
    return window[0] <= at <= window[1]
