"""Scenes without a stack: what they do and in which order, and that nothing of them stays whatever happens."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from lane_doubles import UntouchedLane

from harness.drive import notifying
from harness.drive.casting import Cast, NoPart
from harness.drive.faults import Fault, LaneControl, Proof, Reach
from harness.drive.faults.registry import FAULTS
from harness.drive.journal import Journal
from harness.drive.plan.timetable import ALONE, PLAYED, plan
from harness.drive.playing import Company, play
from harness.drive.scenes import Expectation, Props, Scene, ScenePlan, Theatre
from harness.drive.scenes.grouped import until_middle
from harness.drive.scenes.registry import SCENES, planned
from harness.drive.surroundings import Limits, Surroundings
from harness.errors import EffectNotProven, FaultError, HarnessError, LedgerError
from harness.model.events import LaneRetired, Payload, PlanClosed
from harness.model.notifications import Status
from harness.model.plan import Injection, Profile, Timetable, Traits
from harness.model.policy import Alert, Policies
from harness.model.scenes import Demand, SceneDid, SceneEnded, SceneLeftOut, ScenePlanned, SceneStarted
from harness.model.stack import SHARED, Address, Lane
from harness.model.time import from_rfc3339, rfc3339
from harness.observe.declaration import declare
from harness.policy.rewire.shortened import shortened
from harness.run import load_policies

ROOT = Path(__file__).parent.parent.parent
POLICIES = load_policies(ROOT / "policies").policies
ALERTS = {alert.name: alert for alert in POLICIES.alerts}
LANE = "lane-01"
LOST = 0.3
"""How long these tests let things take that never come, in seconds."""


# --- an Alertmanager and a Prometheus that remember what they were asked ------------------------------------------


@dataclass
class Api:
    """What both answer, and what came in: method, path, body."""

    alerts: list[Mapping[str, object]] = field(default_factory=list)
    targets: list[Mapping[str, object]] = field(default_factory=list)
    status: int = 200
    silence_over: bool = False
    asked: list[tuple[str, str, object]] = field(default_factory=list)

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """One answer."""
        text = await request.text()
        self.asked.append((request.method, request.path_qs, json.loads(text) if text else None))
        if self.status != 200:
            return web.Response(status=self.status, text="no")
        if request.method == "DELETE":
            over = web.Response(status=500, text='"silence abc already expired"')
            return over if self.silence_over else web.Response()
        if request.path == "/api/v2/silences":
            return web.json_response({"silenceID": "abc"})
        if request.path == "/api/v1/targets":
            return web.json_response({"status": "success", "data": {"activeTargets": self.targets}})
        return web.json_response(self.alerts) if request.method == "GET" else web.Response()

    def bodies(self, path: str) -> list[object]:
        """What was posted to a path."""
        return [body for method, asked, body in self.asked if method == "POST" and asked == path]


@asynccontextmanager
async def served(api: Api) -> AsyncIterator[Address]:
    """The API on a port of loopback."""
    runner = web.ServerRunner(web.Server(api.answer))
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield Address(*runner.addresses[0][:2])
    finally:
        await runner.cleanup()


def known(name: str, lane: str, state: str, **by: list[str]) -> Mapping[str, object]:
    """An alert as Alertmanager lists it."""
    return {"labels": {"alertname": name, "environment": lane}, "status": {"state": state, **by}}


# --- the play of each scene ---------------------------------------------------------------------------------------


class _Rehearsed:
    """A theatre in which nothing happens and time passes by being kept: it notes what a scene does."""

    def __init__(self, scene: ScenePlan, api: Address, instances: Mapping[str, Address] | None = None) -> None:
        self.plan = scene
        self.alertmanager = api
        self.props: Props = self
        self.control: LaneControl = _Watched(Lane(LANE, dict(instances or {}), {}), api)
        self.time = 1_700_000_000.0
        self.marks: dict[str, float] = {}
        self.steps: list[str] = []
        self.in_place: list[str] = []
        self.heard: list[tuple[Expectation, float]] = []
        self.repeating_every: timedelta | None = None

    def fault(self, name: str) -> Fault:
        return next(fault for fault in FAULTS if fault.id == name)

    def alert(self, name: str) -> Alert:
        return ALERTS[name]

    def now(self) -> float:
        return self.time

    def did(self, mark: str, at: float, saw: str) -> None:
        assert mark not in self.marks, f"{mark} is made twice"
        assert saw
        self.marks[mark] = at
        self.steps.append(mark)

    async def bring_about(self, fault: Fault, mark: str) -> Proof:
        self.in_place.append(mark)
        self.time += 0.5
        self.did(mark, self.time, f"{fault.id} is in place")
        return Proof(self.time, "there")

    async def take_back(self, fault: Fault, mark: str) -> Proof:
        self.in_place.pop()
        self.time += 0.5
        self.did(mark, self.time, f"{fault.id} is gone")
        return Proof(self.time, "gone")

    async def hear(
        self, expected: Expectation, since: float, *, within: timedelta | None = None, ends: bool = True
    ) -> None:
        assert expected.demand in {Demand.HEARD, Demand.REPEATED}
        assert within is None or not ends
        self.heard.append((expected, since))
        self.time += 6

    async def held_back(self, alerts: tuple[str, ...], by: Mapping[str, str], mark: str, seconds: float) -> None:
        assert seconds > 0
        assert by in (notifying.SILENCED, notifying.INHIBITED)
        self.time += 1
        self.did(mark, self.time, f"one of {alerts} is held back")

    async def keep(self, seconds: float) -> None:
        self.time += max(0.0, seconds)

    @asynccontextmanager
    async def repeating(self, every: timedelta) -> AsyncIterator[Address]:
        self.repeating_every = every
        yield self.alertmanager
        self.steps.append("copy-ended")

    async def quiet(self, lane: str, seconds: float) -> tuple[str, ...]:
        raise AssertionError(f"{lane} {seconds}: a scene does not ask for this")


class _Watched(UntouchedLane):
    """A lane of which nothing is known but the Prometheus that watches it."""

    def __init__(self, lane: Lane, prometheus: Address) -> None:
        super().__init__(lane)
        self._prometheus = prometheus

    @property
    def prometheus(self) -> Address:
        return self._prometheus


async def rehearsed(name: str, api: Api | None = None) -> tuple[_Rehearsed, Api]:
    """A scene of the shipped policies, played where nothing happens."""
    api = api or Api()
    instances = {"mysql-exporter": Address("127.0.0.1", 1), "redis-exporter": Address("127.0.0.1", 2)}
    api.targets = [
        {
            "labels": {"instance": str(address)},
            "lastScrape": rfc3339(1_699_999_999.0 + number),
            "scrapeInterval": "2s",
        }
        for number, address in enumerate(instances.values())
    ]
    scene = next(one for one in SCENES if one.id == name)
    async with served(api) as address:
        theatre = _Rehearsed(scene.plan(Cast(POLICIES)), address, instances)
        await scene.play(theatre)
    return theatre, api


@pytest.mark.parametrize("name", [scene.id for scene in SCENES])
async def test_a_scene_makes_every_mark_that_it_is_judged_by(name: str) -> None:
    """Else it could never pass: each mark of its expectations is made, in order, and all that is done is undone."""
    theatre, _ = await rehearsed(name)
    for one in theatre.plan.expects:
        assert {mark for mark in (one.since, one.until, one.given) if mark} <= theatre.marks.keys()
        if one.until:
            assert theatre.marks[one.since] < theatre.marks[one.until]
    assert theatre.in_place == []
    assert all(theatre.marks[one.since] == since for one, since in theatre.heard)
    demanded = [one for one in theatre.plan.expects if one.demand in {Demand.HEARD, Demand.REPEATED}]
    assert [one for one, _ in theatre.heard] == demanded, "it waits for what must be heard, while that can be heard"


async def test_the_flood_has_its_time_and_is_listened_for_afterwards() -> None:
    """The cause stays longer than hold and window of the slowest symptom; 20 s pass when it is over."""
    theatre, _ = await rehearsed("cause-not-flood")
    slowest = ALERTS["HighErrorRatio"].hold.total_seconds() + 10
    assert theatre.marks["outlasted"] - theatre.marks["refused"] > slowest
    assert theatre.time >= theatre.marks["back"] + 20
    (silent,) = [one for one in theatre.plan.expects if one.demand is Demand.SILENT]
    assert {"ErrorRatioCritical", "HighErrorRatio", "SlowResponses", "SlowQueries"} <= set(silent.alerts)
    assert not set(silent.alerts) & set(theatre.plan.may_be_heard)


async def test_both_exporters_go_in_the_middle_of_the_longer_gap() -> None:
    """They are scraped a second apart, each every 2 s: halfway between two of these instants, and down for 7 s more."""
    theatre, _ = await rehearsed("grouped")
    assert theatre.marks["killed"] % 1 == pytest.approx(0.5)
    assert {"first", "second"} <= theatre.marks.keys()
    assert theatre.marks["waited"] - theatre.marks["down"] >= 7


@pytest.mark.parametrize(
    ("first", "second", "now", "wait"),
    [
        (10.0, 10.5, 10.6, 0.65),
        (10.0, 11.5, 10.0, 0.75),
        (10.0, 11.5, 10.8, 1.95),
        (11.5, 10.0, 11.5, 1.25),
        (10.0, 10.0, 10.2, 0.8),
    ],
)
def test_the_middle_of_the_longer_gap(first: float, second: float, now: float, wait: float) -> None:
    """Both rhythms have an interval of 2 s: seen from any moment, whichever of the two comes first."""
    assert until_middle(first, second, 2.0, now) == pytest.approx(wait)


@pytest.mark.parametrize("spoilt", ["status", "targets"])
async def test_without_the_instants_of_scrapes_nothing_is_killed(spoilt: str) -> None:
    """Where Prometheus does not say when it looks, the scene cannot be played; no exporter goes down."""
    api = Api()
    scene = next(one for one in SCENES if one.id == "grouped")
    async with served(api) as address:
        instances = {name: Address("127.0.0.1", 1) for name in ("mysql-exporter", "redis-exporter")}
        theatre = _Rehearsed(scene.plan(Cast(POLICIES)), address, instances)
        api.status = 503 if spoilt == "status" else 200
        with pytest.raises(FaultError, match="does not say when it looks at the exporters"):
            await scene.play(theatre)
    assert theatre.marks == {}


async def test_the_silence_covers_the_alert_and_ends_before_the_fault() -> None:
    """One alert of one lane, until the mark; the fault is taken back after that, and then the silence is deleted."""
    theatre, api = await rehearsed("silence-honoured")
    (body,) = api.bodies("/api/v2/silences")
    assert isinstance(body, dict)
    assert {(one["name"], one["value"], one["isRegex"]) for one in body["matchers"]} == {
        ("alertname", "DatabaseDown", False),
        ("environment", LANE, False),
    }
    assert from_rfc3339(body["startsAt"]) == theatre.marks["silenced"]
    assert from_rfc3339(body["endsAt"]) == theatre.marks["silence-over"] < theatre.marks["back"]
    assert ("DELETE", "/api/v2/silence/abc", None) in api.asked


async def test_the_cause_is_taken_back_first_and_only_then_the_other_must_be_heard() -> None:
    """The table is away before the database is refused, and comes back after the other alert was heard."""
    theatre, _ = await rehearsed("inhibited-then-heard")
    assert theatre.steps == ["missing", "refused", "held-back", "back", "mended"]
    heard = [one for one, _ in theatre.heard]
    assert [one.alerts for one in heard] == [("DatabaseDown",), ("ErrorRatioCritical",)]
    assert heard[1].within == timedelta(seconds=50), "30 s, and 20 s of CauseRecently"


async def test_the_worse_comes_on_top_of_the_bad() -> None:
    """Both are in place when the critical one must be heard, at more channels than the high one."""
    theatre, _ = await rehearsed("priority-rises")
    assert theatre.steps == ["bad", "worse", "better", "good"]
    high, critical = (one for one, _ in theatre.heard)
    assert set(high.channels) < set(critical.channels)


async def test_one_alert_is_posted_to_the_shortened_copy() -> None:
    """With the rule's own labels, firing for longer than the scene; the copy stands until a repetition is late."""
    theatre, api = await rehearsed("repeated")
    (posted,) = api.bodies("/api/v2/alerts")
    assert isinstance(posted, list)
    (alert,) = posted
    assert alert["labels"] == {**ALERTS["DatabaseDown"].labels, "alertname": "DatabaseDown", "environment": LANE}
    assert alert["annotations"].keys() == ALERTS["DatabaseDown"].annotations.keys()
    assert from_rfc3339(alert["endsAt"]) > theatre.time
    (repeated,) = theatre.plan.expects
    assert theatre.repeating_every == repeated.within == timedelta(seconds=12)
    assert theatre.marks["watched"] - theatre.marks["posted"] >= (repeated.within + repeated.slack).total_seconds()
    assert theatre.steps == ["shortened", "posted", "watched", "copy-ended"]


# --- what Alertmanager is asked -----------------------------------------------------------------------------------


async def test_who_is_kept_back_and_by_whom() -> None:
    """Suppressed by what is asked for, of the right name; else a sentence says which alerts there are."""
    api = Api(alerts=[known("A", LANE, "suppressed", inhibitedBy=["x"], silencedBy=[]), known("B", LANE, "active")])
    async with served(api) as address:
        there = await notifying.kept_back(address, LANE, ("A", "B"), notifying.INHIBITED)
        assert (there.there, there.saw) == (
            True,
            f"Alertmanager has A of {LANE} and keeps it back: it is inhibited",
        )
        for alerts, by in ((("A",), notifying.SILENCED), (("B",), notifying.INHIBITED)):
            look = await notifying.kept_back(address, LANE, alerts, by)
            assert (look.there, look.saw) == (False, f"Alertmanager has A (suppressed), B (active) of {LANE}")
    assert {path for _, path, _ in api.asked} == {"/api/v2/alerts?filter=environment=%22lane-01%22"}


async def test_a_silence_is_ended_whatever_happens() -> None:
    """By an error too; that it has expired by itself meanwhile is no trouble, that Alertmanager refuses is."""
    api = Api()
    async with served(api) as address:
        with pytest.raises(ZeroDivisionError):
            async with notifying.silenced(address, {"alertname": "A"}, 1.0, 2.0):
                raise ZeroDivisionError
        assert api.asked[-1][:2] == ("DELETE", "/api/v2/silence/abc")
        api.silence_over = True
        async with notifying.silenced(address, {"alertname": "A"}, 1.0, 2.0) as name:
            assert name == "abc"
        api.silence_over = False
        with pytest.raises(FaultError, match="A silence could not be ended"):
            async with notifying.silenced(address, {"alertname": "A"}, 1.0, 2.0):
                api.status = 503
        with pytest.raises(FaultError, match="A silence was not taken"):
            async with notifying.silenced(address, {"alertname": "A"}, 1.0, 2.0):
                raise AssertionError("it was not taken")
    with pytest.raises(FaultError, match="An alert was not taken"):
        await notifying.post(address, {}, {}, 1.0, 2.0)


# --- playing ------------------------------------------------------------------------------------------------------


@dataclass
class _Deed:
    """A fault that is nothing but a note in a list."""

    id: str
    log: list[str]
    undone: list[float]
    summary: str = "Something breaks."
    signal: str = "real"
    touches: frozenset[str] = frozenset()
    reach: Reach = Reach.LANE
    unproven: bool = False
    stuck: bool = False

    def facts(self, control: LaneControl) -> Mapping[str, str]:
        return {"lane": control.lane.name}

    async def apply(self, control: LaneControl) -> None:
        self.log.append(f"+{self.id} in {control.lane.name}")

    async def prove(self, control: LaneControl, deadline_seconds: float) -> Proof:
        if self.unproven:
            raise EffectNotProven(f"{self.id} has no effect in {control.lane.name} within {deadline_seconds:g} s")
        return Proof(10.0, "there")

    async def undo(self, control: LaneControl, deadline_seconds: float) -> Proof:
        if self.stuck:
            raise FaultError(f"{self.id} stays in {control.lane.name} for {deadline_seconds:g} s")
        self.log.append(f"-{self.id} in {control.lane.name}")
        self.undone.append(asyncio.get_running_loop().time())
        return Proof(20.0, "gone")

    async def undo_from(self, facts: Mapping[str, str]) -> bool:
        raise AssertionError(facts)


@dataclass
class _Sketch:
    """A scene made of a function."""

    id: str
    acts: Callable[[Theatre], Awaitable[None]]
    summary: str = "A sketch."

    def plan(self, cast: Cast) -> ScenePlan:
        raise AssertionError(cast)

    async def play(self, theatre: Theatre) -> None:
        await self.acts(theatre)


class _Ears:
    """Hears at once what it was told of, by alert and status; waits for nothing else."""

    def __init__(self, heard: Mapping[tuple[str, Status], frozenset[str]]) -> None:
        self._heard = heard
        self.asked: list[tuple[str, Status, tuple[str, ...], float]] = []

    async def heard(
        self,
        alert: str,
        lane: str,
        channels: Sequence[str],
        status: Status,
        *,
        since_wall: float,
        deadline_monotonic: float,
    ) -> frozenset[str]:
        assert lane == LANE
        self.asked.append((alert, status, tuple(channels), since_wall))
        assert deadline_monotonic >= 0
        return self._heard.get((alert, status), frozenset()) & frozenset(channels)

    async def caught(self, *_: object, **__: object) -> frozenset[str]:
        raise AssertionError("scenes have no controls")

    def interfere(self, injection: Injection, until_wall: float | None) -> Callable[[], None]:
        raise AssertionError((injection, until_wall))


@dataclass
class _Stage:
    """Everything around scenes, and what became of it."""

    journal: Journal
    log: list[str] = field(default_factory=list)
    wrote: list[Payload] = field(default_factory=list)
    unquiet: list[tuple[str, ...]] = field(default_factory=list)
    faults: dict[str, _Deed] = field(default_factory=dict)
    ears: _Ears = field(default_factory=lambda: _Ears({}))
    lane_fails: HarnessError | None = None
    given_up: dict[str, str] = field(default_factory=dict)
    hard_stop_seconds: float = 60.0
    asked_quiet: list[float] = field(default_factory=list)
    undone: list[float] = field(default_factory=list)
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    def deed(self, name: str, *, unproven: bool = False, stuck: bool = False) -> _Deed:
        """A fault."""
        self.faults[name] = _Deed(name, self.log, self.undone, unproven=unproven, stuck=stuck)
        return self.faults[name]

    def repeating(self, every: timedelta) -> AbstractAsyncContextManager[Address]:
        raise AssertionError(every)

    async def quiet(self, lane: str, seconds: float) -> tuple[str, ...]:
        assert (lane, seconds > 0) == (LANE, True)
        self.log.append("quiet?")
        self.asked_quiet.append(asyncio.get_running_loop().time())
        return self.unquiet.pop(0) if self.unquiet else ()

    def lane_control(self, name: str) -> LaneControl:
        if self.lane_fails is not None:
            raise self.lane_fails
        return UntouchedLane(Lane(name, {}, {}))

    async def play(self, *acts: Callable[[Theatre], Awaitable[None]], api: Address | None = None) -> None:
        """Plays functions, one scene each."""
        scenes: dict[str, Scene] = {f"s{number}": _Sketch(f"s{number}", act) for number, act in enumerate(acts, 1)}
        world = Surroundings(
            faults=self.faults,
            lane_control=self.lane_control,
            ears=self.ears,
            write=self.wrote.append,
            journal=self.journal,
            read_hops=_never,
            quiet=_never,
            limits=Limits(undo_seconds=LOST, stopped_seconds=LOST, quiet_seconds=LOST),
            given_up=self.given_up,
        )
        company = Company(scenes, ALERTS, api or Address("127.0.0.1", 1), self)
        plans = [ScenePlan(name, "A sketch.", LANE, (), (), timedelta(0)) for name in scenes]
        hard_stop = asyncio.get_running_loop().time() + self.hard_stop_seconds
        await play(plans, company, world, stop=self.stop, hard_stop_monotonic=hard_stop)

    @property
    def ends(self) -> dict[str, str]:
        """Why each scene ended."""
        ended = [one for one in self.wrote if isinstance(one, SceneEnded)]
        assert len({one.scene for one in ended}) == len(ended), "one last word each"
        return {one.scene: one.why for one in ended}

    @property
    def marks(self) -> dict[str, float]:
        """What was done, at which instants."""
        return {one.mark: one.at for one in self.wrote if isinstance(one, SceneDid)}


async def _never(*_: object) -> Any:
    raise AssertionError("scenes do not ask for this")


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> _Stage:
    """A stage on which nobody waits for Prometheus."""
    monkeypatch.setattr("harness.drive.playing.SEEN_SECONDS", 0.0)
    return _Stage(Journal.open(tmp_path / "undo.jsonl"))


async def test_a_scene_begins_and_ends_in_a_quiet_lane(stage: _Stage) -> None:
    """Quiet, started, done, undone with its marks, told that it is over, quiet, ended; the journal has nothing left."""
    deed = stage.deed("one")
    stage.ears = _Ears({("A", Status.FIRING): frozenset({"slack"})})
    heard = Expectation(Demand.HEARD, ("A",), ("email", "slack"), since="broken", within=timedelta(seconds=LOST))

    async def act(theatre: Theatre) -> None:
        proof = await theatre.bring_about(theatre.fault("one"), "broken")
        assert stage.journal.outstanding()
        await theatre.hear(heard, proof.at)
        await theatre.take_back(deed, "mended")

    await stage.play(act)
    kinds = [type(one) for one in stage.wrote]
    assert kinds == [SceneStarted, SceneDid, SceneDid, SceneEnded]
    assert (stage.marks, stage.ends) == ({"broken": 10.0, "mended": 20.0}, {"s1": ""})
    assert stage.log == ["quiet?", f"+one in {LANE}", f"-one in {LANE}", "quiet?"]
    assert stage.journal.outstanding() == ()
    assert [one[:3] for one in stage.ears.asked] == [
        ("A", Status.FIRING, ("email", "slack")),
        ("A", Status.RESOLVED, ("slack",)),
    ], "only who heard is told that it is over"


async def test_what_was_undone_is_seen_before_the_lane_is_called_quiet(
    stage: _Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A restart that undoing brings raises an alert of its own after a scrape: nobody asks before."""
    monkeypatch.setattr("harness.drive.playing.SEEN_SECONDS", 0.2)
    stage.deed("one")

    async def act(theatre: Theatre) -> None:
        await theatre.bring_about(theatre.fault("one"), "broken")

    await stage.play(act)
    _, after = stage.asked_quiet
    (undone,) = stage.undone
    assert after - undone >= 0.2


async def test_an_unquiet_lane_is_not_used(stage: _Stage) -> None:
    """What was before would be heard as the scene's work: it ends unplayed, and the next one has its chance."""
    stage.unquiet = [("HighCpu",)]

    async def act(theatre: Theatre) -> None:
        theatre.did("played", 1.0, "seen")

    await stage.play(act, act)
    assert stage.ends == {"s1": f"{LANE} is not quiet: HighCpu", "s2": ""}
    assert [one.scene for one in stage.wrote if isinstance(one, SceneStarted)] == ["s2"]


async def test_a_lane_that_is_gone_is_told(stage: _Stage) -> None:
    """Its error is the scene's last word."""
    stage.lane_fails = FaultError("the lane is gone")
    await stage.play(_never_acts)
    assert stage.ends == {"s1": "the lane is gone"}


async def _never_acts(theatre: Theatre) -> None:
    raise AssertionError(theatre)


async def test_what_a_scene_leaves_in_place_is_undone_the_last_thing_first(stage: _Stage) -> None:
    """Whatever kept it from its end: an effect that was not seen, and what had been brought about before."""
    stage.deed("one")
    stage.deed("two", unproven=True)

    async def act(theatre: Theatre) -> None:
        await theatre.bring_about(theatre.fault("one"), "first")
        await theatre.bring_about(theatre.fault("two"), "second")
        raise AssertionError("the second one has no effect")

    await stage.play(act)
    assert stage.log == ["quiet?", f"+one in {LANE}", f"+two in {LANE}", f"-two in {LANE}", f"-one in {LANE}", "quiet?"]
    assert list(stage.marks) == ["first", "second-undone", "first-undone"]
    assert "two has no effect" in stage.ends["s1"]
    assert stage.journal.outstanding() == ()


async def test_what_cannot_be_undone_retires_the_lane(stage: _Stage) -> None:
    """The scene says so, nothing more is played there, and the journal keeps it for the next start."""
    stage.deed("one", stuck=True)

    async def act(theatre: Theatre) -> None:
        await theatre.bring_about(theatre.fault("one"), "broken")

    await stage.play(act, _never_acts)
    assert "one could not be undone: one stays" in stage.ends["s1"]
    assert stage.ends["s2"].startswith(f"{LANE} was retired: one could not be undone")
    assert [one.lane for one in stage.wrote if isinstance(one, LaneRetired)] == [LANE]
    assert [left.injection for left in stage.journal.outstanding()] == ["s1/broken"]


async def test_no_scene_is_played_in_a_lane_that_did_not_come_up(stage: _Stage) -> None:
    """Each has its last word with the reason, and nobody asks whether the lane is quiet."""
    stage.given_up = {LANE: "mysql ended"}
    await stage.play(_never_acts, _never_acts)
    assert stage.ends == dict.fromkeys(("s1", "s2"), f"{LANE} did not come up: mysql ended")
    assert stage.asked_quiet == []


async def test_taking_back_that_fails_ends_the_scene_and_is_tried_again(stage: _Stage) -> None:
    """A scene that cannot take back does not go on as if it had."""
    deed = stage.deed("one", stuck=True)

    async def act(theatre: Theatre) -> None:
        await theatre.bring_about(deed, "broken")
        try:
            await theatre.take_back(deed, "mended")
        finally:
            deed.stuck = False
        raise AssertionError("it was not taken back")

    await stage.play(act)
    assert list(stage.marks) == ["broken", "broken-undone"]
    assert "one stays" in stage.ends["s1"]
    assert not [one for one in stage.wrote if isinstance(one, LaneRetired)]


async def test_a_stop_undoes_and_leaves_the_others_out(stage: _Stage) -> None:
    """Whoever stops the run: what is in place is undone at once, and every scene has its last word."""
    stage.deed("one")

    async def act(theatre: Theatre) -> None:
        await theatre.bring_about(theatre.fault("one"), "broken")
        stage.stop.set()
        await theatre.keep(60)

    await stage.play(act, _never_acts)
    assert stage.ends == {"s1": "the run was stopped", "s2": "the run was stopped"}
    assert stage.log[-1] == f"-one in {LANE}"


async def test_the_hard_stop_ends_scenes_too(stage: _Stage) -> None:
    """One that is being played, and one that was never begun."""
    stage.hard_stop_seconds = 0.05

    async def act(theatre: Theatre) -> None:
        await theatre.keep(60)

    await stage.play(act, _never_acts)
    assert stage.ends == {"s1": "the run reached its hard stop", "s2": "the run reached its hard stop"}
    late = _Stage(stage.journal, hard_stop_seconds=-1.0)
    await late.play(_never_acts)
    assert late.ends == {"s1": "the run reached its hard stop"}


async def test_a_cancelled_run_undoes_and_is_cancelled(stage: _Stage) -> None:
    """Ctrl-C in the middle of a scene."""
    stage.deed("one")
    there = asyncio.Event()

    async def act(theatre: Theatre) -> None:
        await theatre.bring_about(theatre.fault("one"), "broken")
        there.set()
        await theatre.keep(60)

    task = asyncio.create_task(stage.play(act, _never_acts))
    await asyncio.wait_for(there.wait(), 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert stage.ends == {"s1": "the run was cancelled"}
    assert stage.log[-1] == f"-one in {LANE}"
    assert stage.journal.outstanding() == ()


async def test_a_journal_that_cannot_be_written_ends_the_run(stage: _Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be noted is not done; what was noted before is undone."""
    stage.deed("one")
    stage.deed("two")

    async def act(theatre: Theatre) -> None:
        await theatre.bring_about(theatre.fault("one"), "first")

        def full(*_: object) -> None:
            raise LedgerError("the disk is full")

        monkeypatch.setattr(stage.journal, "record", full)
        await theatre.bring_about(theatre.fault("two"), "second")

    with pytest.raises(LedgerError):
        await stage.play(act)
    assert stage.log == ["quiet?", f"+one in {LANE}", f"-one in {LANE}"]


async def test_what_must_be_held_back_is_waited_for(stage: _Stage) -> None:
    """Alertmanager's own word for it is the mark; where it keeps nothing back, the scene ends with what there was."""
    api = Api(alerts=[known("A", LANE, "active")])

    async def act(theatre: Theatre) -> None:
        api.alerts = [known("A", LANE, "suppressed", inhibitedBy=["x"])]
        await theatre.held_back(("A",), notifying.INHIBITED, "held-back", 5)
        api.alerts = [known("A", LANE, "active")]
        await theatre.held_back(("A",), notifying.INHIBITED, "never", LOST)

    async with served(api) as address:
        await stage.play(act, api=address)
    assert list(stage.marks) == ["held-back"]
    assert "No alert was inhibited that the scene is about" in stage.ends["s1"]
    assert f"Alertmanager has A (active) of {LANE}" in stage.ends["s1"]


# --- cast, plan, copy ---------------------------------------------------------------------------------------------


def test_the_parts_are_found_by_their_faults() -> None:
    """Who plays is what the drills say; bounds are those of the drill."""
    part = Cast(POLICIES).raised_by("database-refused")
    assert (part.name, part.within) == ("DatabaseDown", timedelta(seconds=30))
    assert part.may_be_heard == ("DatabaseDown", *part.drill.tolerates)
    high = Cast(POLICIES).raised_by("exporter-killed")
    assert high.within == high.alert.hold + timedelta(seconds=30), "no bound since t0: due and the deadline"
    assert Cast(POLICIES).memory() == timedelta(seconds=20)
    assert Cast(POLICIES).group_interval() == timedelta(seconds=5)


def without(policies: Policies, fault: str) -> Policies:
    """Policies in which no drill names a fault."""
    return replace(policies, drills=tuple(drill for drill in policies.drills if fault not in drill.faults))


def test_a_scene_without_its_parts_is_left_out_and_said() -> None:
    """For policies that have nobody for a part, and where the run does not drill that alert."""
    plans, left_out = planned(Cast(without(POLICIES, "posts-table-missing")))
    assert [one.id for one in plans] == ["cause-not-flood", "grouped", "silence-honoured", "repeated"]
    assert set(left_out.values()) == {"no drill names the fault posts-table-missing"}
    plans, left_out = planned(Cast(POLICIES, only=("ExporterDown",)))
    assert [one.id for one in plans] == ["grouped"]
    assert left_out["repeated"] == "this run does not drill DatabaseDown"
    with pytest.raises(NoPart, match="ever inhibited"):
        Cast(replace(POLICIES, inhibitions=())).inhibited()


def test_an_hour_is_not_waited_for() -> None:
    """With a group interval of minutes the repetition is left out; one that is not stated is Alertmanager's 5 m."""
    name = POLICIES.alertmanager_file
    slow = POLICIES.documents[name].replace("  group_interval: 5s #", "  # group_interval: 5s #")
    assert slow != POLICIES.documents[name]
    cast = Cast(replace(POLICIES, documents={**POLICIES.documents, name: slow}))
    assert cast.group_interval() == timedelta(minutes=5)
    _, left_out = planned(cast)
    assert left_out == {"repeated": "a group_interval of 0:05:00 is too long to be watched"}


def timetable(profile: Profile) -> Timetable:
    """The plan of a run."""
    scenes, _ = planned(Cast(POLICIES))
    return plan(
        POLICIES.drills,
        POLICIES.priorities,
        ALERTS,
        {fault.id: Traits(fault.touches, fault.reach) for fault in FAULTS},
        profile=profile,
        seed=1,
        scenes=scenes,
        scenes_left_out={"another": "nobody plays it"},
    )


def test_scenes_are_played_at_night_when_all_else_is_over() -> None:
    """Their stage comes after every other one and takes the sum of them; other profiles play none."""
    nightly = timetable(Profile.NIGHTLY)
    last = nightly.stages[-1]
    assert last.name == PLAYED
    assert last.after == {stage.name for stage in nightly.stages[:-1]} >= {ALONE}
    assert last.estimate == sum((one.estimate for one in nightly.scenes), timedelta(0))
    assert [one.id for one in nightly.scenes] == [scene.id for scene in SCENES]
    assert {one.lane for one in nightly.scenes} <= set(nightly.lanes) - {SHARED}
    for profile in (Profile.SMOKE, Profile.GATE):
        assert (timetable(profile).scenes, timetable(profile).scenes_left_out) == ((), {})
        assert PLAYED not in {stage.name for stage in timetable(profile).stages}


def test_what_will_be_played_is_written_before() -> None:
    """Every scene with its expectations, and why others are left out, before the plan is closed."""
    wrote: list[Payload] = []
    declare(wrote.append, POLICIES, (), timetable(Profile.NIGHTLY), {fault.id: fault.signal for fault in FAULTS})
    kinds = [type(one) for one in wrote]
    assert kinds.count(ScenePlanned) == len(SCENES)
    assert kinds.count(SceneLeftOut) == 1
    assert kinds.index(ScenePlanned) < kinds.index(PlanClosed) == len(kinds) - 1


def test_the_copy_repeats_sooner_and_says_so() -> None:
    """Longer intervals are cut, shorter ones and everything else stay; each difference says what it is."""
    text = POLICIES.documents["alertmanager.yml"]
    short, differences = shortened(text, "alertmanager.yml", timedelta(seconds=12))
    assert {(one.path, one.before, one.after) for one in differences} == {
        ("route.repeat_interval", "1h", "12s"),
        ("route.routes[7].repeat_interval", "1d", "12s"),
    }
    assert all(one.why.startswith("shortened copy: ") for one in differences)
    again, none = shortened(short, "alertmanager.yml", timedelta(seconds=12))
    assert (again, none) == (short, ())
    unsaid, (only,) = shortened("route: {receiver: x}\nreceivers: [{name: x}]\n", "a.yml", timedelta(seconds=12))
    assert "repeat_interval: 12s" in unsaid
    assert "after 4h" in only.why
