"""A ledger's events, put in order: what was planned, what was done, what was seen of it. Nothing is judged here."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from harness.drive.plan.timetable import ALONE
from harness.model.audit import RecordsAudited, RecordsNotAudited
from harness.model.collection import CensusTaken, ChangeNotPlanted, ChangePlanted, ChangeSeen, ScrapesCounted
from harness.model.episodes import (
    EpisodeBegan,
    EpisodeEnded,
    EpisodeLeftOut,
    EpisodePlan,
    EpisodePlanned,
    EpisodeProven,
)
from harness.model.events import (
    ComponentExited,
    ComponentReady,
    ComponentRestarted,
    DrillDeclared,
    Event,
    FaultApplying,
    FindingNoted,
    Healed,
    HopSeen,
    HopsRead,
    Injected,
    InjectionClosed,
    InjectionPlanned,
    InjectionUnverified,
    LaneRetired,
    LoadMeasured,
    PathDisturbed,
    PathRestored,
    PlanClosed,
    Rewired,
    RunEnded,
    RunStarted,
    StageEnded,
    StageStarted,
    Starved,
    TargetDeclared,
)
from harness.model.findings import Finding
from harness.model.hops import ALERT_HOPS, Hop
from harness.model.keeping import RestoreDrilled, RetentionProbed, StoresDeclared, StoreToKeep
from harness.model.notifications import (
    AlertReceived,
    MessageArrived,
    MessageInterfered,
    Notification,
    ReceivedAlert,
    SinkRefused,
)
from harness.model.plan import Injection
from harness.model.policy import Target
from harness.model.scenes import SceneDid, SceneEnded, SceneLeftOut, ScenePlan, ScenePlanned, SceneStarted
from harness.model.searching import ArchiveTried, SearchTried, TailTried
from harness.model.series import SeriesCompared
from harness.model.stack import Difference
from harness.verdict.stories import EpisodeStory, SceneStory, Story

_READ_FROM_PROMETHEUS = {Hop.VISIBLE, Hop.PENDING, Hop.FIRING}


@dataclass(frozen=True, slots=True)
class Record:
    """A whole ledger in order; `damage` says in sentences what is missing from it.

    `lives` are the ends and the new beginnings of components at their instants, `ready` the instants at which they
    stood, Unix seconds all of them; `drilled` is from when the rules were loaded and the drills began to when they
    ended, None where they never began; `ended_at` is the instant of the last line. `given_up` says of every lane that
    did not come up why.
    """

    started: RunStarted | None
    ended: RunEnded | None
    plan: PlanClosed | None
    stories: tuple[Story, ...]
    targets: tuple[Target, ...]
    drills: tuple[DrillDeclared, ...]
    findings: tuple[Finding, ...]
    differences: tuple[Difference, ...]
    components: tuple[ComponentReady, ...]
    exits: tuple[ComponentExited, ...]
    ready: tuple[tuple[float, ComponentReady], ...]
    lives: tuple[tuple[float, ComponentExited | ComponentRestarted], ...]
    scrapes: tuple[ScrapesCounted, ...]
    census: CensusTaken | None
    changes: tuple[ChangePlanted, ...]
    changes_seen: Mapping[str, ChangeSeen]
    changes_not_made: tuple[ChangeNotPlanted, ...]
    load: LoadMeasured | None
    received: tuple[ReceivedAlert, ...]
    messages: tuple[Notification, ...]
    interfered: tuple[MessageInterfered, ...]
    refused: tuple[tuple[float, SinkRefused], ...]
    starved: tuple[Starved, ...]
    damage: tuple[str, ...]
    wall_seconds: float
    ended_at: float
    drilled: tuple[float, float] | None = None
    scenes: tuple[SceneStory, ...] = ()
    scenes_left_out: Mapping[str, str] = field(default_factory=dict)
    given_up: Mapping[str, str] = field(default_factory=dict)
    stores: tuple[StoreToKeep, ...] = ()
    retentions: tuple[RetentionProbed, ...] = ()
    restores: tuple[RestoreDrilled, ...] = ()
    audits: tuple[RecordsAudited, ...] = ()
    not_audited: tuple[RecordsNotAudited, ...] = ()
    searches: tuple[SearchTried, ...] = ()
    archives: tuple[ArchiveTried, ...] = ()
    tails: tuple[TailTried, ...] = ()
    series: tuple[SeriesCompared, ...] = ()
    episodes: tuple[EpisodeStory, ...] = ()
    episodes_left_out: Mapping[str, str] = field(default_factory=dict)

    @property
    def judged_messages(self) -> tuple[Notification, ...]:
        """The messages by which a run is judged: those told at once, and before the drills were over.

        A batch tells once more, minutes later, what was told at once. When the drills are over every injection was
        closed, and what is reckoned then (a million records sorted) loads the machine as nothing in production would.
        """
        until = math.inf if self.drilled is None else self.drilled[1]
        later = () if self.plan is None else self.plan.told_later
        return tuple(one for one in self.messages if one.arrived.wall <= until and one.receiver not in later)

    @property
    def profile(self) -> str:
        """The profile that ran; "run" where the ledger does not even say that."""
        return self.started.profile if self.started else "run"


@dataclass(slots=True)
class _Chapter:
    """What is gathered of one injection while the ledger is read."""

    applying_at: float | None = None
    injected: Injected | None = None
    healed: Healed | None = None
    closed_at: float | None = None
    unverified: str = ""
    hops: dict[Hop, float] = field(default_factory=dict)
    unread: str = "Prometheus was not asked for its hops"
    disturbed: bool | None = None


def record(events: Iterable[Event]) -> Record:
    """Puts a ledger in order; events of kinds that this version does not know are passed over."""
    ledger = tuple(events)
    payloads = [event.payload for event in ledger if event.payload is not None]
    chapters: dict[str, _Chapter] = defaultdict(_Chapter)
    for event in ledger:
        _read(event, chapters)
    injections = [payload.injection for payload in payloads if isinstance(payload, InjectionPlanned)]
    last_at = max((event.wall for event in ledger), default=0.0)
    ended = next((payload for payload in payloads if isinstance(payload, RunEnded)), None)
    plan = next((payload for payload in payloads if isinstance(payload, PlanClosed)), None)
    spent = ledger[-1].monotonic - ledger[0].monotonic if ledger else 0.0
    return Record(
        started=next((payload for payload in payloads if isinstance(payload, RunStarted)), None),
        ended=ended,
        plan=plan,
        stories=tuple(_story(one, chapters[one.id], _later(one, injections, chapters), last_at) for one in injections),
        targets=tuple(payload.target for payload in payloads if isinstance(payload, TargetDeclared)),
        drills=tuple(payload for payload in payloads if isinstance(payload, DrillDeclared)),
        findings=tuple(payload.finding for payload in payloads if isinstance(payload, FindingNoted)),
        differences=tuple(payload.difference for payload in payloads if isinstance(payload, Rewired)),
        components=tuple(payload for payload in payloads if isinstance(payload, ComponentReady)),
        exits=tuple(payload for payload in payloads if isinstance(payload, ComponentExited)),
        ready=tuple((event.wall, event.payload) for event in ledger if isinstance(event.payload, ComponentReady)),
        lives=tuple(
            (event.wall, event.payload)
            for event in ledger
            if isinstance(event.payload, ComponentExited | ComponentRestarted)
        ),
        scrapes=tuple(payload for payload in payloads if isinstance(payload, ScrapesCounted)),
        census=next((payload for payload in reversed(payloads) if isinstance(payload, CensusTaken)), None),
        changes=tuple(payload for payload in payloads if isinstance(payload, ChangePlanted)),
        changes_seen={payload.change: payload for payload in payloads if isinstance(payload, ChangeSeen)},
        changes_not_made=tuple(payload for payload in payloads if isinstance(payload, ChangeNotPlanted)),
        load=next((payload for payload in reversed(payloads) if isinstance(payload, LoadMeasured)), None),
        received=tuple(
            sorted(
                (payload.alert for payload in payloads if isinstance(payload, AlertReceived)),
                key=lambda alert: alert.received.wall,
            )
        ),
        messages=tuple(
            sorted(
                (payload.notification for payload in payloads if isinstance(payload, MessageArrived)),
                key=lambda message: message.arrived.wall,
            )
        ),
        interfered=tuple(payload for payload in payloads if isinstance(payload, MessageInterfered)),
        refused=tuple((event.wall, event.payload) for event in ledger if isinstance(event.payload, SinkRefused)),
        starved=tuple(payload for payload in payloads if isinstance(payload, Starved)),
        damage=tuple(_damage(ledger, injections, plan, ended)),
        wall_seconds=ended.wall_seconds if ended else spent,
        ended_at=last_at,
        drilled=_drilled(ledger, last_at),
        scenes=tuple(_scene(one.scene, ledger, last_at) for one in payloads if isinstance(one, ScenePlanned)),
        scenes_left_out={one.scene: one.why for one in payloads if isinstance(one, SceneLeftOut)},
        given_up={one.lane: one.why for one in payloads if isinstance(one, LaneRetired) and not one.came_up},
        stores=tuple(store for one in payloads if isinstance(one, StoresDeclared) for store in one.stores),
        retentions=tuple(one for one in payloads if isinstance(one, RetentionProbed)),
        restores=tuple(one for one in payloads if isinstance(one, RestoreDrilled)),
        audits=tuple({one.source: one for one in payloads if isinstance(one, RecordsAudited)}.values()),
        not_audited=tuple(one for one in payloads if isinstance(one, RecordsNotAudited)),
        series=tuple({one.of_class: one for one in payloads if isinstance(one, SeriesCompared)}.values()),
        searches=tuple(one for one in payloads if isinstance(one, SearchTried)),
        archives=tuple(one for one in payloads if isinstance(one, ArchiveTried)),
        tails=tuple(one for one in payloads if isinstance(one, TailTried)),
        episodes=tuple(_episode(one.episode, ledger) for one in payloads if isinstance(one, EpisodePlanned)),
        episodes_left_out={one.fault: one.why for one in payloads if isinstance(one, EpisodeLeftOut)},
    )


def _episode(plan: EpisodePlan, ledger: Iterable[Event]) -> EpisodeStory:
    story = EpisodeStory(plan)
    for event in ledger:
        match event.payload:
            case EpisodeBegan(episode=plan.id):
                story = replace(story, began=True, began_at=event.wall)
            case EpisodeProven(episode=plan.id) as proven:
                story = replace(story, proven=proven)
            case EpisodeEnded(episode=plan.id, why=why):
                story = replace(story, ended=True, why=why, ended_at=event.wall)
            case _:
                pass
    return story


def _scene(plan: ScenePlan, ledger: tuple[Event, ...], last_at: float) -> SceneStory:
    started_at = ended_at = None
    why, marks = "", dict[str, float]()
    for event in ledger:
        match event.payload:
            case SceneStarted(scene=plan.id):
                started_at = event.wall
            case SceneDid(scene=plan.id, mark=mark, at=at):
                marks.setdefault(mark, at)
            case SceneEnded(scene=plan.id, why=why):
                ended_at = event.wall
            case _:
                pass
    return SceneStory(plan, started_at, ended_at, why, marks, last_at if ended_at is None else ended_at)


def _drilled(ledger: tuple[Event, ...], last_at: float) -> tuple[float, float] | None:
    began = [event.wall for event in ledger if isinstance(event.payload, StageStarted)]
    over = [event.wall for event in ledger if isinstance(event.payload, StageEnded)]
    if not began:
        return None
    return min(began), max(over) if len(over) == len(began) else last_at


def _read(event: Event, chapters: Mapping[str, _Chapter]) -> None:
    """Takes what one event tells of an injection."""
    match event.payload:
        case FaultApplying(injection=name):
            chapters[name].applying_at = event.wall
        case Injected(injection=name) as injected:
            chapters[name].injected = injected
        case InjectionUnverified(injection=name, why=why):
            chapters[name].unverified = why
        case PathDisturbed(injection=name):
            chapters[name].disturbed = True
        case PathRestored(injection=name):
            chapters[name].disturbed = False
        case Healed(injection=name) as healed:
            chapters[name].healed = healed
        case InjectionClosed(injection=name):
            chapters[name].closed_at = event.wall
        case HopsRead(injection=name, error=error):
            chapters[name].unread = error
        case HopSeen(family=ALERT_HOPS.name, injection=name, hop=hop, at=at) if hop in _READ_FROM_PROMETHEUS:
            known = chapters[name].hops
            known[Hop(hop)] = min(at, known.get(Hop(hop), math.inf))
        case _:
            pass


def _later(one: Injection, injections: Iterable[Injection], chapters: Mapping[str, _Chapter]) -> Iterator[float]:
    """When faults began that may end the story of an injection.

    Those are the ones of its track and of other stages in its lane; where all go on one at a time, any of them.
    """
    for other in injections:
        began = chapters[other.id].applying_at
        in_lane = other.lane == one.lane and (other.track == one.track or other.stage != one.stage)
        if began is not None and (in_lane or one.stage == other.stage == ALONE):
            yield began


def _story(planned: Injection, chapter: _Chapter, faults: Iterable[float], last_at: float) -> Story:
    began = chapter.applying_at
    ends_at = min((at for at in faults if began is not None and at > began), default=math.inf)
    return Story(
        planned=planned,
        applying_at=began,
        injected=chapter.injected,
        healed=chapter.healed,
        closed_at=chapter.closed_at,
        unverified=chapter.unverified,
        hops=chapter.hops,
        unread=chapter.unread,
        ends_at=ends_at,
        watched_until=min(ends_at, last_at),
        disturbed=chapter.disturbed,
    )


def _damage(
    ledger: tuple[Event, ...], injections: list[Injection], plan: PlanClosed | None, ended: RunEnded | None
) -> Iterable[str]:
    if not any(isinstance(event.payload, RunStarted) for event in ledger):
        yield "the ledger does not tell how the run started"
    numbers = [event.seq for event in ledger]
    if numbers != list(range(1, len(numbers) + 1)):
        yield "lines are missing from the ledger"
    if plan is None:
        yield "the plan was never completed"
    elif len(injections) < plan.injections:
        yield f"the ledger tells of {len(injections)} of {plan.injections} planned injections"
    elif len(injections) > plan.injections:
        yield f"{len(injections)} injections are planned, and the plan was closed with {plan.injections}"
    kinds = [type(event.payload) for event in ledger]
    if FaultApplying in kinds and {InjectionPlanned, PlanClosed} & set(kinds[kinds.index(FaultApplying) :]):
        yield "the plan was changed after the first fault"
    for event in ledger:
        if isinstance(event.payload, StageEnded) and event.payload.why:
            yield f"the stage {event.payload.stage} was cut short: {event.payload.why}"
    if ended is None:
        yield "the ledger ends before the run did"
