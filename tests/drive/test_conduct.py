"""The conductor, in virtual time: an event loop whose clock jumps to whatever is due next."""

from __future__ import annotations

import asyncio
import itertools
import selectors
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lane_doubles import UntouchedLane

from harness.drive import effect as effecting
from harness.drive.conduct import conduct
from harness.drive.faults import APPLICATION, LaneControl, Proof, Reach
from harness.drive.journal import Journal
from harness.drive.surroundings import Limits, Surroundings
from harness.errors import EffectNotProven, FaultError, HarnessError, LedgerError, NotReady
from harness.model.events import (
    FaultApplying,
    Healed,
    HopsRead,
    Injected,
    InjectionClosed,
    InjectionUnverified,
    LaneRetired,
    PathDisturbed,
    PathRestored,
    Payload,
    Progress,
)
from harness.model.notifications import Status
from harness.model.plan import Control, Injection
from harness.model.stack import Lane
from harness.model.time import Instant

WALL = 1_700_000_000.0
STARTED = 10.0
HOLD = 35.0


class _Jumping(selectors.DefaultSelector):
    """Waits for nothing: time passes by jumping. Counts the turns of the loop and acts at one of them."""

    def __init__(self) -> None:
        super().__init__()
        self.now = STARTED
        self.turns = 0
        self.act: Mapping[int, Callable[[], object]] = {}

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.turns += 1
        if (act := self.act.get(self.turns)) is not None:
            act()
            timeout = 0
        ready = super().select(0)
        if not ready and timeout is None:
            raise RuntimeError("nothing can ever happen any more")
        self.now += timeout or 0 if not ready else 0
        return ready


class _VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.jumping = _Jumping()
        super().__init__(self.jumping)

    def time(self) -> float:
        return self.jumping.now


def clock() -> Instant:
    """Both clocks, in step with the loop's."""
    now = asyncio.get_running_loop().time()
    return Instant(WALL + now, now)


@dataclass
class Behaviour:
    """What a fault does in this world."""

    apply_seconds: float = 0.2
    prove_seconds: float = 0.1
    undo_seconds: float = 0.4
    apply_fails: Exception | None = None
    prove_fails: Exception | None = None
    undo_fails: Exception | None = None


@dataclass
class World:
    """What is true of the lanes, and what was done to them."""

    in_place: set[str] = field(default_factory=set)
    most_at_once: int = 0
    did: list[tuple[float, str]] = field(default_factory=list)

    def note(self, what: str) -> None:
        """Something was done, now."""
        self.did.append((asyncio.get_running_loop().time(), what))

    def at(self, what: str) -> list[float]:
        """When something was done."""
        return [at for at, did in self.did if did == what]


@dataclass(frozen=True)
class _FakeFault:
    """A fault that takes its time in the middle of everything that it does."""

    id: str
    world: World
    behaviour: Behaviour
    summary: str = "Something breaks."
    signal: str = "real"
    touches: frozenset[str] = APPLICATION
    reach: Reach = Reach.LANE

    def facts(self, control: LaneControl) -> Mapping[str, str]:
        return {"lane": control.lane.name}

    async def apply(self, control: LaneControl) -> None:
        await asyncio.sleep(self.behaviour.apply_seconds / 2)
        if self.behaviour.apply_fails:
            raise self.behaviour.apply_fails
        self.world.in_place.add(control.lane.name)
        self.world.note(f"applied {control.lane.name}")
        await asyncio.sleep(self.behaviour.apply_seconds / 2)

    async def prove(self, control: LaneControl, deadline_seconds: float) -> Proof:
        assert deadline_seconds > 0
        await asyncio.sleep(self.behaviour.prove_seconds)
        if self.behaviour.prove_fails:
            raise self.behaviour.prove_fails
        self.world.note(f"proven {control.lane.name}")
        return Proof(clock().wall, "it is broken")

    async def undo(self, control: LaneControl, deadline_seconds: float) -> Proof:
        assert deadline_seconds > 0
        await asyncio.sleep(self.behaviour.undo_seconds / 2)
        if self.behaviour.undo_fails:
            raise self.behaviour.undo_fails
        self.world.in_place.discard(control.lane.name)
        self.world.note(f"undone {control.lane.name}")
        await asyncio.sleep(self.behaviour.undo_seconds / 2)
        return Proof(clock().wall, "it is whole")

    async def undo_from(self, facts: Mapping[str, str]) -> bool:
        raise AssertionError(facts)


@dataclass
class _FakeEars:
    """People who hear `after` seconds, unless they are deaf or a control is at work."""

    world: World
    after: float = 4.0
    deaf: bool = False
    controls: dict[str, float | None] = field(default_factory=dict)

    async def _wait(self, after: float, channels: Sequence[str], deadline: float) -> frozenset[str]:
        loop = asyncio.get_running_loop()
        wanted = loop.time() + after
        await asyncio.sleep(max(0.0, min(wanted, deadline) - loop.time()))
        return frozenset(channels if wanted <= deadline else ())

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
        assert (alert, channels) == ("Broken", ("email", "slack"))
        self.world.note(f"listening {status} {lane} since {since_wall - WALL:.3f} until {deadline_monotonic:.3f}")
        after = self.after
        if lane in self.controls and status is Status.FIRING:
            until = self.controls[lane]
            after = 1e9 if until is None else until - clock().wall
        heard = await self._wait(1e9 if self.deaf else after, channels, deadline_monotonic)
        self.world.note(f"heard {status} {lane}")
        return heard

    async def caught(
        self,
        alert: str,
        lane: str,
        channels: Sequence[str],
        status: Status,
        *,
        since_wall: float,
        deadline_monotonic: float,
    ) -> frozenset[str]:
        assert lane in self.controls
        assert (alert, since_wall <= clock().wall) == ("Broken", True)
        caught = await self._wait(self.after, channels, deadline_monotonic)
        self.world.note(f"caught {status} {lane}")
        return caught

    def interfere(self, injection: Injection, until_wall: float | None) -> Callable[[], None]:
        self.controls[injection.lane] = until_wall
        self.world.note(f"interfering {injection.lane}")

        def end() -> None:
            del self.controls[injection.lane]
            self.world.note(f"interfered {injection.lane}")

        return end


def injection(number: int, lane: str = "lane-1", **other: Any) -> Injection:
    """An injection with instants of its own."""
    made = Injection(
        id=f"{lane}/{number}",
        alert="Broken",
        fault="break",
        lane=lane,
        channels=("email", "slack"),
        start=timedelta(seconds=1),
        phase=timedelta(seconds=0.25 * number),
        heal_after=timedelta(seconds=1.5 + number),
        hold=timedelta(seconds=HOLD),
        deadline=timedelta(seconds=30),
        since_condition=None,
        rule_hold=timedelta(seconds=2),
    )
    return replace(made, **other)


PLAN = (injection(1), injection(2), injection(1, "lane-2"), injection(2, "lane-2", control=Control.LOST))


@dataclass
class Outcome:
    """What was left of a run."""

    world: World
    ears: _FakeEars
    written: list[tuple[float, Payload]]
    outstanding: tuple[str, ...]
    error: BaseException | None
    turns: int
    ended_at: float
    told: list[tuple[str, float, float]]

    def kinds(self, lane: str) -> list[str]:
        """The kinds of a lane's events, in order."""
        return [
            payload.kind
            for _, payload in self.written
            if getattr(payload, "injection", "").startswith(f"{lane}/") or getattr(payload, "lane", "") == lane
        ]

    def last_words(self) -> dict[str, list[str]]:
        """For each injection what ended it."""
        words: dict[str, list[str]] = {}
        for _, payload in self.written:
            if isinstance(payload, InjectionClosed | InjectionUnverified):
                words.setdefault(payload.injection, []).append(payload.kind)
        return words

    def only(self, kind: type[Payload], one: str) -> Any:
        """The one event of that kind of that injection."""
        (found,) = [
            (at, payload)
            for at, payload in self.written
            if isinstance(payload, kind) and getattr(payload, "injection", "") == one
        ]
        return found

    def unverified(self) -> dict[str, str]:
        """Why injections are unverified."""
        return {it.injection: it.why for _, it in self.written if isinstance(it, InjectionUnverified)}


Act = Callable[["asyncio.Task[None]", asyncio.Event], object]


def run(
    path: Path,
    *plan: Injection,
    behaviour: Behaviour | None = None,
    jam: Behaviour | None = None,
    deaf: bool = False,
    acts: Mapping[int, Act] | None = None,
    at_second: tuple[float, Act] | None = None,
    limits: Limits | None = None,
    write_fails_at: int | None = None,
    hops_fail: bool = False,
    loud: tuple[str, ...] = (),
    no_lane: str = "",
    because: Exception | None = None,
    in_one_row: bool = False,
    given_up: Mapping[str, str] | None = None,
) -> Outcome:
    """Carries a plan out in virtual time, and acts on it at turns of the loop or at an instant."""
    path.unlink(missing_ok=True)
    loop = _VirtualLoop()
    world = World()
    ears = _FakeEars(world, deaf=deaf)
    written: list[tuple[float, Payload]] = []
    told: list[tuple[str, float, float]] = []

    def write(payload: Payload) -> None:
        if write_fails_at is not None and len(written) >= write_fails_at:
            raise LedgerError("The disk is full")
        world.most_at_once = max(world.most_at_once, len(world.in_place))
        written.append((loop.time(), payload))

    def lane_control(lane: str) -> LaneControl:
        if lane == no_lane:
            raise because or NotReady(f"{lane} never came up")
        return UntouchedLane(Lane(lane, {}, {}))

    async def read_hops(one: Injection, t0_wall: float, until_wall: float) -> None:
        await asyncio.sleep(0.05)
        told.append((one.id, t0_wall - WALL, until_wall - WALL))
        world.note(f"hops {one.id}")
        if hops_fail:
            raise HarnessError("Prometheus does not answer")

    async def quiet(one: Injection, seconds: float) -> tuple[str, ...]:
        await asyncio.sleep(seconds if loud else 4)
        world.note(f"quiet {one.lane}")
        return loud

    async def scene(journal: Journal) -> BaseException | None:
        stop = asyncio.Event()
        conductor = asyncio.current_task()
        faults = {
            "break": _FakeFault("break", world, behaviour or Behaviour()),
            "jam": _FakeFault("jam", world, jam or Behaviour()),
        }
        going = loop.create_task(
            conduct(
                plan,
                Surroundings(
                    faults,
                    lane_control,
                    ears,
                    write,
                    journal,
                    read_hops,
                    quiet,
                    limits or Limits(),
                    clock,
                    given_up or {},
                ),
                stop=stop,
                started_monotonic=STARTED,
                in_one_row=in_one_row,
            )
        )
        first = loop.jumping.turns
        loop.jumping.act = {
            first + turn: partial(loop.call_soon, act, going, stop) for turn, act in (acts or {}).items()
        }
        if at_second is not None:
            loop.call_later(at_second[0], at_second[1], going, stop)
        try:
            await asyncio.wait({going})
        finally:
            loop.jumping.act = {}
        assert asyncio.all_tasks() == {conductor}, "a task was left behind"
        return asyncio.CancelledError() if going.cancelled() else going.exception()

    with asyncio.Runner(loop_factory=lambda: loop) as runner, Journal.open(path) as journal:
        error = runner.run(scene(journal))
        turns, ended_at = loop.jumping.turns, loop.time()
        outstanding = tuple(left.injection for left in journal.outstanding())
    return Outcome(world, ears, written, outstanding, error, turns, ended_at, told)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the journal is."""
    return tmp_path / "undo.jsonl"


def assert_nothing_left(outcome: Outcome, plan: Sequence[Injection] = PLAN) -> None:
    """No fault in place, nothing outstanding, no control at work, one last word for each injection."""
    assert outcome.world.in_place == set()
    assert outcome.outstanding == ()
    assert outcome.ears.controls == {}
    words = outcome.last_words()
    assert sorted(words) == sorted(one.id for one in plan)
    assert all(len(word) == 1 for word in words.values()), words


def cancel(going: asyncio.Task[None], stop: asyncio.Event) -> None:
    """As Ctrl-C does."""
    going.cancel()


def set_stop(going: asyncio.Task[None], stop: asyncio.Event) -> None:
    """As a run that ends itself does."""
    stop.set()


def test_an_injection_passes_its_stations_at_the_instants_of_the_plan(path: Path) -> None:
    """Start and phase from the plan, t0 from the proof, deadline from due, healing from the plan, then the resolve."""
    outcome = run(path, injection(1))
    assert outcome.error is None
    assert outcome.kinds("lane-1") == ["fault-applying", "injected", "healed", "injection-closed"]
    applying_at, _ = outcome.only(FaultApplying, "lane-1/1")
    assert applying_at == pytest.approx(STARTED + 1 + 0.25)
    _, injected = outcome.only(Injected, "lane-1/1")
    assert injected.applied_at - WALL == pytest.approx(11.25)
    t0 = 11.25 + 0.2 + 0.1
    assert injected.proven_at - WALL == pytest.approx(t0)
    healing = t0 + 4 + 2.5
    _, healed = outcome.only(Healed, "lane-1/1")
    assert healed.healing_at - WALL == pytest.approx(healing)
    assert healed.healed_at - WALL == pytest.approx(healing + 0.4)
    assert [did for _, did in outcome.world.did if did.startswith("listening")] == [
        f"listening firing lane-1 since 11.250 until {t0 + 2 + HOLD:.3f}",
        f"listening resolved lane-1 since {healing:.3f} until {healing + 0.4 + HOLD:.3f}",
    ]
    ((told, since, until),) = outcome.told
    assert told == "lane-1/1"
    assert since == pytest.approx(t0)
    assert until == pytest.approx(healing + 0.4 + 4)


@pytest.mark.parametrize("drawn", [0.0, 0.7, 4.9])
def test_healing_waits_as_long_as_was_drawn(path: Path, drawn: float) -> None:
    """Another heal_after moves the healing by exactly that much, counted from the last message."""
    outcome = run(path, injection(1, heal_after=timedelta(seconds=drawn)))
    (heard,) = outcome.world.at("heard firing lane-1")
    _, healed = outcome.only(Healed, "lane-1/1")
    assert healed.healing_at - WALL - heard == pytest.approx(drawn, abs=1e-6)


def test_what_nobody_hears_is_waited_for_until_the_hold_is_over_and_healed_as_drawn(path: Path) -> None:
    """The twin: with deaf ears both waits take their whole hold, and the injection is closed all the same."""
    outcome = run(path, injection(1), deaf=True)
    (proven,) = outcome.world.at("proven lane-1")
    _, healed = outcome.only(Healed, "lane-1/1")
    assert healed.healing_at - WALL == pytest.approx(proven + 2 + HOLD + 2.5)
    closed_at, _ = outcome.only(InjectionClosed, "lane-1/1")
    assert closed_at == pytest.approx(healed.healed_at - WALL + HOLD + 0.05)


def test_a_lane_runs_its_injections_one_after_another_and_lanes_side_by_side(path: Path) -> None:
    """A lane's next fault comes when no alert of the last is left in it; two lanes have a fault at the same time."""
    outcome = run(path, *PLAN)
    assert_nothing_left(outcome)
    assert outcome.world.most_at_once == 2
    second_at, _ = outcome.only(FaultApplying, "lane-1/2")
    (hops_at,) = outcome.world.at("hops lane-1/1")
    (quiet_at,) = outcome.world.at("quiet lane-1")
    assert quiet_at == pytest.approx(hops_at + 4)
    assert second_at == pytest.approx(quiet_at + 0.5), "its phase is added when the lane is free"
    assert [one for one, _, _ in outcome.told if one.startswith("lane-1/")] == ["lane-1/1", "lane-1/2"]


def test_tracks_of_a_lane_go_on_side_by_side(path: Path) -> None:
    """What touches different things does not wait for each other; within a track it does."""
    plan = (injection(1), injection(2), injection(3, track="host-cpu"))
    outcome = run(path, *plan)
    assert_nothing_left(outcome, plan)
    first, second, beside = (outcome.only(FaultApplying, f"lane-1/{number}")[0] for number in (1, 2, 3))
    ended, _ = outcome.only(InjectionClosed, "lane-1/1")
    assert beside < ended < second
    assert first < beside < first + 1


def test_what_runs_in_one_row_waits_for_each_other_whatever_its_lane(path: Path) -> None:
    """The stage of what disturbs every alert: the next one begins when the last one is closed."""
    plan = (injection(1), injection(1, "lane-2"))
    outcome = run(path, *plan, in_one_row=True)
    assert_nothing_left(outcome, plan)
    assert outcome.world.most_at_once == 1
    assert outcome.only(FaultApplying, "lane-2/1")[0] > outcome.only(InjectionClosed, "lane-1/1")[0]


DISTURBED = (injection(1, although="jam", although_for=timedelta(seconds=3)),)


def test_the_way_of_an_alert_is_disturbed_while_its_fault_is_proven_and_for_as_long_as_was_drawn(path: Path) -> None:
    """Disturbed first, then the fault; 3 s after its effect was proven the way is well again, before anybody hears."""
    outcome = run(path, *DISTURBED)
    assert_nothing_left(outcome, DISTURBED)
    jammed, disturbed = outcome.only(PathDisturbed, "lane-1/1")
    proven, _ = outcome.only(Injected, "lane-1/1")
    well, restored = outcome.only(PathRestored, "lane-1/1")
    assert (disturbed.fault, restored.fault) == ("jam", "jam")
    assert jammed < proven
    assert well == pytest.approx(proven + 3 + 0.4, abs=0.05)
    assert outcome.only(Healed, "lane-1/1")[0] > well


def test_a_way_that_could_not_be_disturbed_leaves_its_injection_unverified(path: Path) -> None:
    """Heard although nothing was in the way proves nothing: the fault itself is not even applied."""
    outcome = run(path, *DISTURBED, jam=Behaviour(prove_fails=EffectNotProven("The receiver still answers")))
    assert_nothing_left(outcome, DISTURBED)
    assert "could not be disturbed" in outcome.unverified()["lane-1/1"]
    assert not [payload for _, payload in outcome.written if isinstance(payload, FaultApplying)]


def test_a_way_that_stays_disturbed_retires_its_track(path: Path) -> None:
    """Nothing more is tried there, and the journal keeps what is in place."""
    plan = (*DISTURBED, injection(2))
    outcome = run(path, *plan, jam=Behaviour(undo_fails=FaultError("The receiver does not come back")))
    (retired,) = [payload for _, payload in outcome.written if isinstance(payload, LaneRetired)]
    assert "does not come back" in retired.why
    assert outcome.outstanding == ("lane-1/1/although",)
    assert set(outcome.unverified()) == {"lane-1/1", "lane-1/2"}


@pytest.mark.parametrize("second", [1.3, 1.6, 2.2, 3.0, 4.4, 5.2, 9.0])
def test_a_disturbance_is_over_whenever_the_run_is_cancelled(path: Path, second: float) -> None:
    """While it begins, while it lasts, while it ends: the way is well again, and so is the lane."""
    outcome = run(path, *DISTURBED, at_second=(second, cancel))
    assert outcome.world.in_place == set()
    assert outcome.outstanding == ()


def test_a_lane_that_does_not_become_quiet_is_used_all_the_same_and_told(path: Path) -> None:
    """An alert that never ends must not end the run; whoever judges sees that it fired before its fault."""
    outcome = run(path, *PLAN, loud=("Loud",), limits=Limits(quiet_seconds=7))
    assert_nothing_left(outcome)
    (hops_at,) = outcome.world.at("hops lane-1/1")
    second_at, _ = outcome.only(FaultApplying, "lane-1/2")
    assert second_at == pytest.approx(hops_at + 7.5)
    told = [payload.text for _, payload in outcome.written if isinstance(payload, Progress)]
    assert sorted(told) == [f"lane-{number} is used again although it is not quiet: Loud" for number in (1, 2)]


def test_an_effect_that_is_not_seen_leaves_its_injection_unverified_and_the_lane_in_use(path: Path) -> None:
    """The fault is undone, nobody listens, the next injection of the lane is tried."""
    behaviour = Behaviour(prove_fails=EffectNotProven("It still responds", seen="200"))
    outcome = run(path, *PLAN, behaviour=behaviour)
    assert_nothing_left(outcome)
    assert outcome.kinds("lane-1") == ["fault-applying", "injection-unverified", "healed"] * 2
    assert "It still responds" in outcome.unverified()["lane-1/1"]
    assert outcome.world.at("undone lane-1")
    assert not outcome.told


def test_a_fault_that_cannot_be_applied_is_undone_all_the_same(path: Path) -> None:
    """It may have been half applied: undone, unverified with the reason, and the lane goes on."""
    outcome = run(path, *PLAN, behaviour=Behaviour(apply_fails=FaultError("No such process")))
    assert_nothing_left(outcome)
    assert len(outcome.world.at("undone lane-1")) == 2
    assert all("No such process" in why for why in outcome.unverified().values())


def test_a_fault_that_hangs_while_it_is_applied_is_given_up_and_undone(path: Path) -> None:
    """The limit of applying is kept."""
    outcome = run(path, *PLAN, behaviour=Behaviour(apply_seconds=1000), limits=Limits(apply_seconds=2))
    assert_nothing_left(outcome)
    assert all("could not be applied in time" in why for why in outcome.unverified().values())


def test_a_fault_that_cannot_be_undone_retires_its_lane(path: Path) -> None:
    """The lane is not used again, its rest is unverified with the reason, the journal keeps what is outstanding."""
    plan = (injection(1), injection(2), injection(3))
    outcome = run(path, *plan, behaviour=Behaviour(undo_fails=FaultError("The disk is gone")))
    assert outcome.error is None
    assert outcome.kinds("lane-1") == ["fault-applying", "injected", "lane-retired", *["injection-unverified"] * 3]
    assert all("The disk is gone" in why for why in outcome.unverified().values())
    assert outcome.outstanding == ("lane-1/1",)
    assert not outcome.told


def test_one_retired_lane_does_not_stop_another(path: Path) -> None:
    """A lane that never came up is retired by name; the other's injections are closed."""
    outcome = run(path, *PLAN, no_lane="lane-2")
    assert_nothing_left(outcome)
    assert outcome.kinds("lane-2") == ["lane-retired", "injection-unverified", "injection-unverified"]
    retired = [payload for _, payload in outcome.written if isinstance(payload, LaneRetired)]
    assert "never came up" in retired[0].why
    assert outcome.last_words()["lane-1/2"] == ["injection-closed"]


@pytest.mark.parametrize("in_one_row", [False, True])
def test_nothing_is_tried_in_a_lane_that_did_not_come_up(path: Path, in_one_row: bool) -> None:
    """Its injections are unverified at once, with the reason; the other lane is injected as ever."""
    outcome = run(path, *PLAN, given_up={"lane-2": "mysql ended"}, no_lane="lane-2", in_one_row=in_one_row)
    assert_nothing_left(outcome)
    left = [injection.id for injection in PLAN if injection.lane == "lane-2"]
    assert len(left) == 2
    assert outcome.unverified() == dict.fromkeys(left, "lane-2 did not come up: mysql ended")
    assert outcome.kinds("lane-2") == ["injection-unverified"] * 2
    assert {at for at, payload in outcome.written if isinstance(payload, InjectionUnverified)} == {STARTED}
    assert outcome.last_words()["lane-1/2"] == ["injection-closed"]


def test_a_lost_control_drops_until_its_resolved_message_was_dropped_too(path: Path) -> None:
    """It is healed when the whole hold is over, and dropping ends only once the resolved message was caught."""
    outcome = run(path, injection(1, control=Control.LOST), injection(2))
    names = [what for _, what in outcome.world.did if "listening" not in what]
    assert names[:8] == [
        "applied lane-1",
        "proven lane-1",
        "interfering lane-1",
        "heard firing lane-1",
        "undone lane-1",
        "caught resolved lane-1",
        "interfered lane-1",
        "hops lane-1/1",
    ]
    (proven, _) = outcome.world.at("proven lane-1")
    assert outcome.world.at("heard firing lane-1")[0] == pytest.approx(proven + 2 + HOLD)
    assert outcome.world.at("interfered lane-1")[0] < outcome.only(FaultApplying, "lane-1/2")[0]


def test_a_late_control_holds_messages_until_one_second_past_the_deadline(path: Path) -> None:
    """Until t0 + the rule's hold + deadline + 1 s, which is still inside the hold: heard, and late."""
    held: list[float | None] = []
    interfere = _FakeEars.interfere

    def noting(ears: _FakeEars, one: Injection, until_wall: float | None) -> Callable[[], None]:
        held.append(until_wall)
        return interfere(ears, one, until_wall)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_FakeEars, "interfere", noting)
        outcome = run(path, injection(1, control=Control.LATE))
    (proven,) = outcome.world.at("proven lane-1")
    assert held == [pytest.approx(WALL + proven + 2 + 31)]
    assert outcome.world.at("heard firing lane-1") == [pytest.approx(proven + 2 + 31)]
    assert outcome.last_words() == {"lane-1/1": ["injection-closed"]}


def test_an_ordinary_injection_is_not_interfered_with(path: Path) -> None:
    """The twin of the two tests above."""
    outcome = run(path, injection(1))
    assert not [did for _, did in outcome.world.did if did.startswith("interfer")]


def test_hops_that_cannot_be_read_are_noted_and_the_run_goes_on(path: Path) -> None:
    """A HopsRead with the error, then the injection is closed."""
    outcome = run(path, injection(1), hops_fail=True)
    assert outcome.kinds("lane-1")[-2:] == [HopsRead.kind, "injection-closed"]
    _, noted = outcome.only(HopsRead, "lane-1/1")
    assert "Prometheus does not answer" in noted.error


def test_a_fault_that_there_is_not_is_told_before_anything_is_touched(path: Path) -> None:
    """A FaultError with the names that there are."""
    outcome = run(path, injection(1), injection(2, fault="brake"))
    assert isinstance(outcome.error, FaultError)
    assert "brake" in str(outcome.error)
    assert outcome.world.did == []


@pytest.mark.parametrize("act", [cancel, set_stop])
def test_every_fault_is_undone_wherever_the_run_is_stopped(path: Path, act: Act) -> None:
    """At every turn of the loop, so at every await there is: nothing is left, and it is over within 4 s."""
    whole = run(path, *PLAN)
    assert_nothing_left(whole)
    reached = set()
    for turn in range(1, whole.turns):
        stopped_at: list[float] = []

        def act_now(going: asyncio.Task[None], stop: asyncio.Event, stopped_at: list[float] = stopped_at) -> None:
            stopped_at.append(asyncio.get_running_loop().time())
            act(going, stop)

        outcome = run(path, *PLAN, acts={turn: act_now})
        assert_nothing_left(outcome)
        if not stopped_at:
            break  # it was over
        reached |= {did.split()[0] for at, did in outcome.world.did if at <= stopped_at[0]}
        assert outcome.ended_at - stopped_at[0] < 4
        if act is set_stop:
            assert outcome.error is None
        elif outcome.unverified():
            assert isinstance(outcome.error, asyncio.CancelledError)
            assert {*outcome.unverified().values()} == {"the run was cancelled"}
    assert reached == {
        "applied",
        "proven",
        "interfering",
        "listening",
        "heard",
        "undone",
        "caught",
        "interfered",
        "hops",
        "quiet",
    }


def test_cancelling_again_while_faults_are_undone_changes_nothing(path: Path) -> None:
    """Ctrl-C twice and three times, at every pair of moments that lie close together."""
    turns = run(path, *PLAN).turns
    for first, gap in itertools.product(range(1, turns, 3), (1, 2, 4)):
        outcome = run(path, *PLAN, acts={first: cancel, first + gap: cancel, first + gap + 1: cancel})
        assert_nothing_left(outcome)


def test_a_conductor_that_can_be_interrupted_while_undoing_is_caught(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The twin: where waiting for the undo is broken off by a cancellation, the test above goes red."""

    async def breakable(doing: Any, seconds: float, stopped_seconds: float) -> tuple[asyncio.Task[Any], bool]:
        task = asyncio.create_task(doing)
        try:
            await task
        except asyncio.CancelledError:
            return task, True
        except HarnessError:
            pass
        return task, False

    monkeypatch.setattr(effecting, "finished", breakable)
    turns = run(path, *PLAN).turns
    left = [run(path, *PLAN, acts={turn: cancel, turn + 2: cancel}).outstanding for turn in range(1, turns)]
    assert any(left)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seconds=st.floats(min_value=0, max_value=140))
def test_the_hard_stop_undoes_everything_whenever_it_comes(path: Path, seconds: float) -> None:
    """Returns without an error, nothing is left, and what was not tried says why."""
    outcome = run(path, *PLAN, limits=Limits(hard_stop_seconds=seconds))
    assert_nothing_left(outcome)
    assert outcome.error is None
    assert all("hard stop" in why for why in outcome.unverified().values())
    assert outcome.ended_at <= STARTED + seconds + 4


def test_a_stop_does_not_wait_long_for_a_fault_that_cannot_be_undone(path: Path) -> None:
    """Undoing hangs: after 3 s and a little the lane is retired and the journal keeps the fault."""
    outcome = run(path, injection(1), behaviour=Behaviour(undo_seconds=1000), at_second=(4.0, cancel))
    assert isinstance(outcome.error, asyncio.CancelledError)
    assert 3 <= outcome.ended_at - (STARTED + 4) < 4
    assert outcome.outstanding == ("lane-1/1",)
    assert "lane-retired" in outcome.kinds("lane-1")


def test_a_fault_that_is_just_being_applied_is_applied_to_its_end_before_it_is_undone(path: Path) -> None:
    """A statement that a server still carries out would outlive an undo that came too early."""
    outcome = run(path, injection(1), behaviour=Behaviour(apply_seconds=2), at_second=(1.5, cancel))
    names = [what for _, what in outcome.world.did]
    assert names == ["applied lane-1", "undone lane-1"]
    assert outcome.outstanding == ()


@pytest.mark.parametrize("written", range(16))
def test_a_ledger_that_cannot_be_written_ends_the_run_with_every_fault_undone(path: Path, written: int) -> None:
    """Whichever event it is that fails: a LedgerError, no fault in place, nothing outstanding."""
    outcome = run(path, *PLAN, write_fails_at=written)
    assert isinstance(outcome.error, LedgerError)
    assert outcome.world.in_place == set()
    assert outcome.outstanding == ()
    assert outcome.ears.controls == {}


def test_a_failure_in_one_lane_is_not_hidden_and_ends_the_others(path: Path) -> None:
    """A programming error reaches the caller at once; what the other lane had planned is not tried any more."""
    outcome = run(path, *PLAN, no_lane="lane-2", because=ZeroDivisionError("a bug"))
    assert isinstance(outcome.error, ZeroDivisionError)
    assert_nothing_left(outcome)
    assert set(outcome.unverified().values()) == {"the run failed in lane-2"}


def test_a_programming_error_of_a_fault_undoes_it(path: Path) -> None:
    """Even what is not in the error tree leaves no fault in place."""
    outcome = run(path, *PLAN, behaviour=Behaviour(prove_fails=ZeroDivisionError("a bug")))
    assert isinstance(outcome.error, ZeroDivisionError)
    assert outcome.world.at("undone lane-1")
    assert_nothing_left(outcome)


def test_a_journal_that_cannot_be_written_means_that_nothing_is_applied(path: Path) -> None:
    """What could not be noted must not be done."""
    with pytest.MonkeyPatch.context() as patch:

        def full(*_: object) -> None:
            raise LedgerError("No room")

        patch.setattr(Journal, "record", full)
        outcome = run(path, *PLAN)
    assert isinstance(outcome.error, LedgerError)
    assert outcome.world.did == []
