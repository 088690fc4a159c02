"""The way of records is one track for the whole run: an episode and an injection never lay hands on it together."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from lane_doubles import UntouchedLane

from harness.drive.conduct import conduct
from harness.drive.episodes import play_episodes
from harness.drive.faults import RECORDS, LaneControl, Proof, Reach
from harness.drive.journal import Journal
from harness.drive.look import Look
from harness.drive.records import RecordFault, Way
from harness.drive.surroundings import Limits, Surroundings
from harness.model.episodes import EpisodeBegan, EpisodeEnded, EpisodePlan, Promise
from harness.model.events import FaultApplying, InjectionClosed, InjectionUnverified, Payload
from harness.model.plan import Injection
from harness.model.stack import SHARED, Address, Lane

NOTHING = timedelta(0)
EPISODE = EpisodePlan("episode-x", "x", "It does.", "real", ("system",), NOTHING, timedelta(seconds=0.05), Promise())
INJECTION = Injection(
    id="LogsNotCollected-1",
    alert="LogsNotCollected",
    fault="stop-the-shipper",
    lane=SHARED,
    channels=("email",),
    start=NOTHING,
    phase=NOTHING,
    heal_after=timedelta(seconds=0.05),
    hold=timedelta(seconds=1),
    deadline=timedelta(seconds=1),
    since_condition=None,
    rule_hold=NOTHING,
)


class SharedLane(UntouchedLane):
    """A shared lane in which nothing stands."""

    def __init__(self) -> None:
        super().__init__(Lane(SHARED, {"store": Address("127.0.0.1", 1)}, {}))


class Hands:
    """Who lays hands on the way at an instant, and whether it were ever two."""

    def __init__(self) -> None:
        self.on: set[str] = set()
        self.together = False

    def lay(self, who: str) -> None:
        """One more."""
        self.on.add(who)
        self.together |= len(self.on) > 1


class Episode(RecordFault):
    """A fault of the records' way that does nothing but be in place."""

    id = "x"
    summary = "It does."
    component = "elasticsearch"
    what = "the store"
    done = "made to do"
    effect = "it does"
    health = "it is well"

    def __init__(self, hands: Hands) -> None:
        self._hands = hands

    async def disturb(self, control: LaneControl) -> None:  # noqa: ARG002 - a double
        """It is in place."""
        self._hands.lay("episode")

    async def mend(self, control: LaneControl) -> None:  # noqa: ARG002 - a double
        """It is not any more."""
        self._hands.on.discard("episode")

    async def seen(self, control: LaneControl) -> Look:  # noqa: ARG002 - a double
        """There."""
        return Look(True, "it does")

    async def well(self, control: LaneControl) -> Look:  # noqa: ARG002 - a double
        """Well."""
        return Look(True, "it is well")

    async def flows(self, way: Way, since: float) -> Look:  # noqa: ARG002 - a double
        """They flow."""
        return Look(True, "they flow")


class StopTheShipper:
    """A fault of an injection that touches that way, or something else."""

    id = "stop-the-shipper"
    summary = "It stops."
    signal = "real"
    reach = Reach.SHARED

    def __init__(self, hands: Hands, touches: frozenset[str] = RECORDS) -> None:
        self._hands = hands
        self.touches = touches

    def facts(self, control: LaneControl) -> Mapping[str, str]:  # noqa: ARG002 - a double
        """None."""
        return {}

    async def apply(self, control: LaneControl) -> None:  # noqa: ARG002 - a double
        """It is in place."""
        self._hands.lay("injection")

    async def prove(self, control: LaneControl, deadline_seconds: float) -> Proof:  # noqa: ARG002 - a double
        """There."""
        return Proof(time.time(), "it stands still")

    async def undo(self, control: LaneControl, deadline_seconds: float) -> Proof:  # noqa: ARG002 - a double
        """It is not any more."""
        self._hands.on.discard("injection")
        return Proof(time.time(), "it goes on")

    async def undo_from(self, facts: Mapping[str, str]) -> bool:  # noqa: ARG002 - a double
        """Nothing."""
        return False


class Ears:
    """Everybody hears at once."""

    async def heard(self, *about: Any, **_: Any) -> frozenset[str]:
        """All of them."""
        return frozenset(about[2])

    caught = heard


class Everybody(asyncio.Lock):
    """A way for which nobody waits: the twin's."""

    async def acquire(self) -> bool:  # type: ignore[override]
        """At once."""
        return True

    def release(self) -> None:
        """Nothing."""


class Run:
    """What is played and injected at the same time, on one way."""

    def __init__(
        self,
        folder: Path,
        *,
        way: asyncio.Lock | None = None,
        touches: frozenset[str] = RECORDS,
        left: tuple[str, ...] = (),
        hard_stop_seconds: float = 60,
    ) -> None:
        self.hands = Hands()
        self.told: list[Payload] = []
        self.stop = asyncio.Event()
        self.way = asyncio.Lock() if way is None else way
        self._folder = folder
        self._touches = touches
        self._left = left
        self._hard_stop = hard_stop_seconds

    async def _quiet(self, _: Injection, __: float) -> tuple[str, ...]:
        return self._left

    @asynccontextmanager
    async def world(self) -> Any:
        """Its surroundings."""
        async with AsyncExitStack() as exits:
            yield Surroundings(
                faults={INJECTION.fault: StopTheShipper(self.hands, self._touches)},
                lane_control=lambda _: SharedLane(),
                ears=Ears(),  # type: ignore[arg-type]
                write=self.told.append,
                journal=exits.enter_context(Journal.open(self._folder / "undo.jsonl")),
                read_hops=lambda *_: asyncio.sleep(0),
                quiet=self._quiet,
                limits=Limits(hard_stop_seconds=self._hard_stop),
                records=self.way,
            )

    async def both(self) -> None:
        """Three episodes, and an injection beside them."""
        async with self.world() as world:
            way = Way(SharedLane(), {"elasticsearch": "store"}, None, "*")
            playing = play_episodes(
                [EPISODE] * 3, lambda: way, world, stop=self.stop, faults={"x": Episode(self.hands)}
            )
            now = asyncio.get_running_loop().time()
            await asyncio.gather(playing, conduct([INJECTION], world, stop=self.stop, started_monotonic=now))

    def first(self, kind: type[Payload]) -> int:
        """Where the first event of a kind stands in the ledger."""
        return next(number for number, one in enumerate(self.told) if isinstance(one, kind))


async def test_an_episode_and_an_injection_exclude_each_other(tmp_path: Path) -> None:
    """Neither begins while the other is there, and both come to their end."""
    run = Run(tmp_path)
    await run.both()
    assert not run.hands.together
    assert sum(isinstance(one, EpisodeEnded) and not one.why for one in run.told) == 3
    assert sum(isinstance(one, InjectionClosed) for one in run.told) == 1
    assert not run.way.locked()
    busy = None
    for one in run.told:
        if isinstance(one, EpisodeBegan | FaultApplying):
            assert busy is None, "who waits has not begun, and is not late"
            busy = one
        elif isinstance(one, EpisodeEnded | InjectionClosed):
            busy = None


@pytest.mark.parametrize("how", ["nobody waits", "it touches something else"])
async def test_without_that_they_would_meet(tmp_path: Path, how: str) -> None:
    """The twins: on a way that everybody has at once, and with a fault that says it touches something else."""
    run = Run(tmp_path, way=Everybody()) if how == "nobody waits" else Run(tmp_path, touches=frozenset({"heartbeat"}))
    await run.both()
    assert run.hands.together


async def test_what_is_left_of_an_episode_is_waited_for(tmp_path: Path) -> None:
    """Its alert would be heard as the injection's; where it does not go, that is told before anything is applied."""
    run = Run(tmp_path, left=("LogsNotCollected",))
    await run.both()
    told = next(n for n, one in enumerate(run.told) if "not quiet: LogsNotCollected" in getattr(one, "text", ""))
    assert told < run.first(FaultApplying)
    calm = Run(tmp_path)
    await calm.both()
    assert not any("not quiet" in getattr(one, "text", "") for one in calm.told)


async def test_nobody_waits_for_ever(tmp_path: Path) -> None:
    """Somebody has the way and keeps it: an episode is over with the run, an injection with its hard stop at latest."""
    run = Run(tmp_path, hard_stop_seconds=0.2)
    await run.way.acquire()
    asyncio.get_running_loop().call_later(0.4, run.stop.set)
    await asyncio.wait_for(run.both(), 5)
    assert run.way.locked(), "it is still theirs"
    assert not run.hands.on
    assert [one.why for one in run.told if isinstance(one, EpisodeEnded)] == ["the load ended before it was played"] * 3
    [unverified] = [one for one in run.told if isinstance(one, InjectionUnverified)]
    assert "hard stop" in unverified.why
    assert not any(isinstance(one, EpisodeBegan | FaultApplying) for one in run.told)


async def test_who_is_cancelled_while_waiting_leaves_the_way_as_it_was(tmp_path: Path) -> None:
    """Ctrl-C while both wait: nothing was begun, and nobody has what is not theirs."""
    run = Run(tmp_path)
    await run.way.acquire()
    going = asyncio.create_task(run.both())
    await asyncio.sleep(0.05)
    going.cancel()
    with pytest.raises(asyncio.CancelledError):
        await going
    run.way.release()
    assert not run.way.locked()
    assert not any(isinstance(one, EpisodeBegan | FaultApplying) for one in run.told)
