"""Planted changes: each with its own instant, seen when a query shows it, lost when none does, few at once."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from aiohttp import web

from harness.model.collection import ChangeNotPlanted, ChangePlanted, ChangeSeen
from harness.model.events import Payload
from harness.model.stack import Address
from harness.observe import planting
from harness.observe.planting import AT_ONCE, DATABASE, Planting

SOON = 0.2
"""How much later a delay may be told than it was, on a busy machine."""


@dataclass
class Server:
    """A Redis that knows what a client needs to plant: keys by database, counted; and can be deaf."""

    keys: int = 0
    deaf: bool = False
    sets: list[float] = field(default_factory=list)
    databases: set[str] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answers one connection."""
        queued: list[str] | None = None
        while (command := await _command(reader)) and not self.deaf:
            name = command[0].upper()
            if name == "SELECT":
                self.databases.add(command[1])
            if name == "MULTI":
                queued, answer = [], "+OK\r\n"
            elif name == "EXEC":
                assert queued is not None
                answer, queued = f"*{len(queued)}\r\n" + "".join(map(self._done, queued)), None
            elif queued is not None:
                queued.append(name)
                answer = "+QUEUED\r\n"
            else:
                answer = self._done(name)
            writer.write(answer.encode())
        writer.close()

    def _done(self, name: str) -> str:
        if name == "SET":
            self.keys += 1
            self.sets.append(time.monotonic())
        return f":{self.keys}\r\n" if name == "DBSIZE" else "+OK\r\n"


async def _command(reader: asyncio.StreamReader) -> list[str]:
    head = await reader.readline()
    words = []
    for _ in range(int(head[1:] or 0)):
        length = int((await reader.readline())[1:])
        words.append((await reader.readexactly(length + 2))[:-2].decode())
    return words


@dataclass
class World:
    """Lanes with a Redis each, and a Prometheus that shows their keys as they were `lag` seconds ago."""

    lanes: Mapping[str, Server]
    lag: float = 0.3
    blind: frozenset[str] = frozenset()
    shown: dict[str, int] = field(default_factory=dict)
    asked: list[tuple[float, str]] = field(default_factory=list)
    events: list[Payload] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)
    silent: bool = False

    async def query(self, request: web.Request) -> web.Response:
        """One instant query."""
        self.asked.append((time.monotonic(), str((await request.post())["query"])))
        if self.silent:
            return web.Response(status=503, text="no")
        now = time.monotonic()
        series = []
        for lane, server in self.lanes.items():
            recent = sum(at > now - self.lag for at in server.sets)
            keys = self.shown.get(lane, server.keys - recent)
            if lane not in self.blind and lane in self.asked[-1][1]:
                series.append({"metric": {"environment": lane, "db": "db15"}, "value": [now, str(keys)]})
        return web.Response(text=json.dumps({"status": "success", "data": {"result": series}}))

    def write(self, event: Payload) -> None:
        """Takes an event."""
        self.events.append(event)
        self.news.set()

    def told(self, kind: type[Payload]) -> list[Payload]:
        """The events of a kind, so far."""
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def seen(self) -> list[ChangeSeen]:
        """The changes that were seen or given up."""
        return [event for event in self.events if isinstance(event, ChangeSeen)]

    @asynccontextmanager
    async def planting(self, *, seed: int = 7, deadline: float = 2.0) -> AsyncIterator[asyncio.Event]:
        """Plants while it is entered; at the end what is still awaited is awaited."""
        app = web.Application()
        app.router.add_post("/api/v1/query", self.query)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        servers = {lane: await asyncio.start_server(one.serve, "127.0.0.1", 0) for lane, one in self.lanes.items()}
        stop = asyncio.Event()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            places = {lane: Address("127.0.0.1", one.sockets[0].getsockname()[1]) for lane, one in servers.items()}
            prometheus = Address("127.0.0.1", runner.addresses[0][1])
            task = asyncio.create_task(
                Planting(prometheus, places, seed, self.write, deadline_seconds=deadline).run(stop)
            )
            yield stop
            stop.set()
            await asyncio.wait_for(task, 20)
        finally:
            for server in servers.values():
                server.close()
            await runner.cleanup()

    async def until(self, count: int, kind: type[Payload], lane: str = "") -> None:
        """Waits until there are so many events of a kind, in a lane where one is named."""
        async with asyncio.timeout(20):
            while sum(lane in {"", getattr(event, "lane", "")} for event in self.told(kind)) < count:
                self.news.clear()
                await self.news.wait()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Changes follow each other quickly here."""
    monkeypatch.setattr(planting, "PAUSE_SECONDS", (0.01, 0.05))


def world(count: int = 3, **of: object) -> World:
    """A world of so many lanes."""
    return World({f"lane-{number:02}": Server() for number in range(1, count + 1)}, **of)  # type: ignore[arg-type]


async def test_a_change_is_seen_when_a_query_shows_it() -> None:
    """The delay counts from Redis's acknowledgement, and is as long as Prometheus lagged."""
    here = world()
    async with here.planting():
        await here.until(6, ChangeSeen)
    assert len(here.told(ChangePlanted)) == len(here.seen), "what is planted is awaited, after the stop too"
    assert all(here.lag - 0.01 <= one.seconds <= here.lag + SOON for one in here.seen)
    assert {one.error for one in here.seen} == {""}
    planted = [one for one in here.events if isinstance(one, ChangePlanted)]
    assert len({one.change for one in planted}) == len(planted)
    assert planted[0].query == f'redis_db_keys{{db="db15",environment="{planted[0].lane}"}}'
    assert abs(planted[0].at - time.time()) < 30
    assert {name for server in here.lanes.values() for name in server.databases} == {str(DATABASE)}


async def test_lanes_take_turns_and_instants_come_from_the_seed() -> None:
    """Every lane once before one is used again; another seed, another order."""
    orders = []
    for seed in (1, 1, 2):
        here = world(6, lag=0.02)
        async with here.planting(seed=seed):
            await here.until(6, ChangePlanted)
        planted = [one.lane for one in here.events if isinstance(one, ChangePlanted)][:6]
        assert set(planted) == set(here.lanes)
        orders.append(planted)
    assert orders[0] == orders[1]
    assert orders[0] != orders[2]


async def test_few_changes_are_awaited_at_once_by_one_query() -> None:
    """At most three, each in a lane of its own; while none is awaited nobody asks."""
    here = world(8, lag=0.4)
    async with here.planting():
        await here.until(9, ChangeSeen)
    awaited: set[str] = set()
    lane_of = {one.change: one.lane for one in here.events if isinstance(one, ChangePlanted)}
    most = 0
    for event in here.events:
        if isinstance(event, ChangePlanted):
            assert event.lane not in awaited
            awaited.add(event.lane)
        elif isinstance(event, ChangeSeen):
            awaited.discard(lane_of[event.change])
        most = max(most, len(awaited))
    assert most == AT_ONCE == 3
    assert any(query.count("lane-") == AT_ONCE for _, query in here.asked)
    gaps = [later - earlier for (earlier, _), (later, _) in pairwise(here.asked)]
    assert sorted(gaps)[len(gaps) // 2] >= planting.POLL_SECONDS * 0.5, "never a storm of queries"


async def test_nobody_asks_while_nothing_is_awaited(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two changes, one query before each is all."""
    monkeypatch.setattr(planting, "PAUSE_SECONDS", (0.5, 0.5))
    here = world(1, lag=0.1)
    async with here.planting():
        await here.until(2, ChangeSeen)
    times = [at for at, _ in here.asked]
    assert any(later - earlier > 0.2 for earlier, later in pairwise(times)), "there was a pause without queries"


async def test_a_change_that_no_query_shows_is_lost() -> None:
    """Infinite after the deadline, with what was shown instead; the others go on."""
    here = world(3, blind=frozenset({"lane-02"}))
    async with here.planting(deadline=0.8):
        await here.until(8, ChangeSeen)
    lane_of = {one.change: one.lane for one in here.events if isinstance(one, ChangePlanted)}
    lost = [one for one in here.seen if math.isinf(one.seconds)]
    assert lost
    assert {lane_of[one.change] for one in lost} == {"lane-02"}
    assert lost[0].error == "0.8 s later nothing instead of 1"
    assert any(lane_of[one.change] != "lane-02" for one in here.seen)


async def test_a_prometheus_that_answers_nothing_loses_every_change() -> None:
    """It is what may be found out; the plan goes on, and no exception comes of it."""
    here = world(2, silent=True)
    async with here.planting(deadline=0.3):
        await here.until(3, ChangeSeen)
    assert all(math.isinf(one.seconds) for one in here.seen)


async def test_a_change_that_cannot_be_made_is_told_as_such() -> None:
    """Nothing can be lost that never was; the lane is tried again in its turn."""
    here = world(2)
    here.lanes["lane-01"].deaf = True
    async with here.planting():
        await here.until(2, ChangeNotPlanted)
        await here.until(2, ChangeSeen)
        here.lanes["lane-01"].deaf = False
        await here.until(1, ChangePlanted, "lane-01")
    missed = [one for one in here.events if isinstance(one, ChangeNotPlanted)]
    assert {one.lane for one in missed} == {"lane-01"}
    assert all(one.why for one in missed)


async def test_what_a_dead_server_left_behind_is_no_change() -> None:
    """Prometheus shows one key of the server's former life; the first key of its new one must not pass for it."""
    here = world(1, shown={"lane-01": 1})
    async with here.planting(deadline=0.5):
        await here.until(1, ChangePlanted)
        first = next(one for one in here.events if isinstance(one, ChangePlanted))
        assert first.value == 2
        await here.until(1, ChangeSeen)
    assert math.isinf(here.seen[0].seconds)
    assert "1 keys instead of 2" in here.seen[0].error


async def test_a_failure_to_write_ends_the_planting(monkeypatch: pytest.MonkeyPatch) -> None:
    """A ledger that takes no more lines is told to whoever waits for the end, and nothing is left running."""
    here = world(1, lag=0.02)

    tried = asyncio.Event()

    def full(_: Payload) -> None:
        tried.set()
        raise OSError("no room")

    monkeypatch.setattr(here, "write", full)
    before = asyncio.all_tasks()
    with pytest.raises(OSError, match="no room"):
        async with here.planting(), asyncio.timeout(5):
            await tried.wait()
    assert {task.get_name() for task in asyncio.all_tasks() - before if "planted" in task.get_name()} == set()


async def test_only_a_change_that_failed_ends_the_planting() -> None:
    """One that is over, and not yet taken out of the set, or was broken off, is no failure."""

    async def fails() -> None:
        raise OSError("no room")

    changes = [asyncio.create_task(asyncio.sleep(seconds)) for seconds in (0, 60, 60)]
    changes.append(asyncio.create_task(fails()))
    changes[1].cancel()
    await asyncio.wait([changes[0], changes[1], changes[3]])
    assert [planting._failed(change) for change in changes] == [False, False, False, True]
    changes[2].cancel()


async def test_without_lanes_nothing_is_planted() -> None:
    """A stack without a Redis."""
    await Planting(Address("127.0.0.1", 1), {}, 1, lambda _: None).run(asyncio.Event())
