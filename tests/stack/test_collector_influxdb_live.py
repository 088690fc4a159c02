"""The collector before the real InfluxDB: every point is there once, whatever dies in between; what is lost is seen."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from event_doubles import COLLECTOR, DEADLINE_SECONDS, HASTY, a_collector, a_store, event, named
from influx_doubles import health, rows, standing, statement, waiting_for_influxdb, written
from stack_doubles import component, policies, until

from harness.drive.keeping.ground import Ground
from harness.model.stack import Artifact
from harness.run import load_policies
from harness.stack.guard import Guard
from harness.stack.layout import lay_out
from harness.stack.ports import Ports
from harness.stack.probe import ask
from harness.stack.runtimes.process import ProcessRuntime
from harness.stack.site import Site
from harness.stack.stack import Stack

pytestmark = pytest.mark.stack

POLICIES = Path(__file__).parents[2] / "policies"
START = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
GIVES_UP = (
    "-c",
    """
import sys
from harness.stack.collector import __main__ as program
from harness.stack.collector.forwarder import NotTaken
from harness.stack.collector.influxdb import InfluxDB

take = InfluxDB.take

async def once(self, session, parcel):
    try:
        await take(self, session, parcel)
    except NotTaken:
        pass

InfluxDB.take = once
sys.exit(program.main(sys.argv[1:]))
""",
)
"""A collector that asks InfluxDB once: what the tests of an outage must find out."""


def at(number: int, kind: str = "performance", **changed: object) -> dict[str, Any]:
    """An event with an instant of its own: InfluxDB has no other for its place."""
    instant = (START + timedelta(milliseconds=number)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return event(number, kind, **{"timestamp": instant, **changed})


class Influx:
    """The real InfluxDB with the shipped databases, which may end and begin again over the same data."""

    def __init__(self, ground: Ground, site: Site, running: AsyncExitStack) -> None:
        self._ground = ground
        self._site = site
        self._running = running
        self.url = f"http://{site.address}/"

    async def begin(self) -> None:
        """It stands, and has its databases."""
        await self._running.enter_async_context(self._ground.standing(self._site))

    async def end(self) -> None:
        """`kill -9`."""
        await self._running.aclose()


@pytest.fixture
async def influx(tmp_path: Path, cache: Path, artifacts: Mapping[str, Artifact]) -> AsyncIterator[Influx]:
    """The real InfluxDB, standing."""
    found = load_policies(POLICIES).policies
    production = next(one for one in found.components if one.kind == "influxdb")
    async with running(tmp_path / "influx", cache, artifacts) as (ground, leaving):
        site = ground.site(production, "points", configuration=ground.documents("influxdb"), folder="influxdb")
        made = Influx(ground, site, leaving)
        await made.begin()
        yield made


@asynccontextmanager
async def running(
    folder: Path, cache: Path, artifacts: Mapping[str, Artifact]
) -> AsyncIterator[tuple[Ground, AsyncExitStack]]:
    """A ground in a sandbox of its own, and what is ended with it."""
    folder.mkdir()
    async with Guard.open(f"points-{time.time_ns()}", cache) as guard, AsyncExitStack() as lasting:
        runtime, ports = ProcessRuntime(guard), Ports()
        lasting.callback(ports.close)
        lasting.push_async_callback(runtime.close)
        policies = load_policies(POLICIES).policies
        ground = Ground(guard.run, policies, artifacts, cache, guard.sandbox, folder, runtime, ports, lasting)
        leaving = await lasting.enter_async_context(AsyncExitStack())
        yield ground, leaving


async def test_an_event_is_a_point_with_its_own_figures(tmp_path: Path, influx: Influx) -> None:
    """Tags, fields and instant, in the database of its kind; once, though a second collector sends it again."""
    events = [at(n, endpoint="/a b,c=d", environment="lane-é") for n in range(20)] + [at(n, "user") for n in range(5)]
    async with a_store() as store:
        for life in ("first", "second"):
            async with a_collector(tmp_path / life, store.url, f"--influxdb.url={influx.url}") as collector:
                assert (await collector.post([*events, event(99, "security")])).body["accepted"] == 26
                await written(collector)
    asked = 'SELECT "duration", endpoint, environment, sequence FROM performance'
    first = int(START.timestamp()) * 1_000_000_000
    assert await rows(influx.url, "performance", asked) == [
        [first + n * 1_000_000, n + 0.5, "/a b,c=d", "lane-é", name] for n, name in enumerate(named(events[:20]))
    ]
    asked = "SELECT action, environment, sequence FROM user_activity"
    assert await rows(influx.url, "user_activity", asked) == [
        [first + n * 1_000_000, "view", "lane-01", name] for n, name in enumerate(named(events[20:]))
    ]


async def test_two_events_of_one_place_are_one_point(tmp_path: Path, influx: Influx) -> None:
    """As agreed: the one that was posted last stands, and does so after both were sent again."""
    first, second = at(0), at(1, timestamp=at(0)["timestamp"])
    elsewhere = at(2, timestamp=at(0)["timestamp"], endpoint="/other")
    async with a_store() as store:
        for life in ("first", "second"):
            async with a_collector(tmp_path / life, store.url, f"--influxdb.url={influx.url}") as collector:
                await collector.post([first, second, elsewhere])
                await written(collector)
    assert await standing(influx.url, "performance") == sorted(named([second, elsewhere]))


async def test_what_influxdb_refuses_is_a_dead_letter(tmp_path: Path, influx: Influx) -> None:
    """Too old, or of a type that its shard does not have: with InfluxDB's own words; the others stand."""
    yesterday = START - timedelta(days=2)
    stamp = f"{yesterday.isoformat(timespec='milliseconds').removesuffix('+00:00')}Z"
    place = f"{influx.url}write?db=performance"
    body = f'performance,endpoint=/x,environment=y duration="long" {int(yesterday.timestamp())}000000000'
    async with aiohttp.ClientSession() as session, session.post(place, data=body.encode()) as answer:
        assert answer.status == 204
    ancient = (START - timedelta(days=95)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    bad = {7: ancient, 8: ancient, 40: stamp, 199: ancient}
    events = [at(n, **({"timestamp": bad[n]} if n in bad else {})) for n in range(200)]
    old = [at(n, "user", timestamp=ancient) for n in range(200, 1200)]
    async with a_store() as store, a_collector(tmp_path / "s", store.url, f"--influxdb.url={influx.url}") as collector:
        await collector.post(events)
        await collector.post(old)
        await collector.emptied()
        began = time.monotonic()
        await written(collector)
        letters = collector.letters()
        assert time.monotonic() - began < DEADLINE_SECONDS / 2
    by_name = {one["identity"]: one["reason"] for one in letters}
    assert sorted(by_name) == sorted(named([*(events[n] for n in bad), *old]))
    assert "points beyond retention policy" in by_name[named([events[7]])[0]]
    assert "field type conflict" in by_name[named([events[40]])[0]]
    stands = await standing(influx.url, "performance")
    assert [one for one in stands if one != "None"] == sorted(named(events[n] for n in range(200) if n not in bad))
    assert len(store.names()) == 1200


async def posted_until_killed(folder: Path, influx: Influx, program: Sequence[str]) -> set[str]:
    """Posts from several sides and kills the collector in the middle; the identities that it had acknowledged."""
    acknowledged: set[str] = set()
    flags = (f"--influxdb.url={influx.url}", "--influxdb.batch=50")
    async with a_store() as store, a_collector(folder, store.url, *flags, program=program) as collector:

        async def post(side: int) -> None:
            with suppress(aiohttp.ClientError, OSError):
                for number in range(side * 100_000, (side + 1) * 100_000, 5):
                    batch = [at(n) for n in range(number, number + 5)]
                    if (await collector.post(batch)).status == 200:
                        acknowledged.update(named(batch))

        posting = [asyncio.create_task(post(side)) for side in range(4)]
        await until(lambda: len(acknowledged) >= 500, DEADLINE_SECONDS)
        async with asyncio.timeout(DEADLINE_SECONDS):
            while program == COLLECTOR and not await standing(influx.url, "performance"):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        await collector.kill()
        await asyncio.gather(*posting)
    return acknowledged


@pytest.mark.parametrize(("program", "loses"), [(COLLECTOR, False), (HASTY, True)], ids=["ours", "hasty"])
async def test_kill_9_between_posting_and_sending(
    tmp_path: Path, influx: Influx, program: Sequence[str], loses: bool
) -> None:
    """All that was acknowledged is there, once; the twin, which acknowledges before it writes, is found out."""
    acknowledged = await posted_until_killed(tmp_path / "store", influx, program)
    before = set(await standing(influx.url, "performance"))
    assert not acknowledged <= before
    async with (
        a_store() as store,
        a_collector(tmp_path / "store", store.url, f"--influxdb.url={influx.url}") as collector,
    ):
        await written(collector)
    stands = await standing(influx.url, "performance")
    assert len(stands) == len(set(stands))
    assert (not acknowledged <= set(stands)) is loses


@pytest.mark.parametrize(("program", "loses"), [(COLLECTOR, False), (GIVES_UP, True)], ids=["ours", "gives-up"])
async def test_influxdb_down_for_a_while(tmp_path: Path, influx: Influx, program: Sequence[str], loses: bool) -> None:
    """ClickHouse goes on meanwhile, afterwards every point is there; the twin, which asks once, is found out."""
    before, meanwhile = [at(n) for n in range(50)], [at(n) for n in range(50, 300)]
    flag = f"--influxdb.url={influx.url}"
    async with a_store() as store, a_collector(tmp_path / "s", store.url, flag, program=program) as collector:
        await collector.post(before)
        await written(collector)
        await influx.end()
        await collector.post(meanwhile)
        await collector.emptied()
        assert sorted(store.names()) == sorted(named([*before, *meanwhile]))
        if not loses:
            # An outage that ends before the collector has tried would prove nothing.
            async with asyncio.timeout(DEADLINE_SECONDS):
                while "cannot be reached" not in (await health(collector))["influxdb"]:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            assert await waiting_for_influxdb(collector) == len(meanwhile)
        else:
            await written(collector)
        await influx.begin()
        await written(collector)
        failures = (await collector.samples())["event_collector_influxdb_forward_failures_total"]
    assert (failures > 0) is not loses
    expected = before if loses else [*before, *meanwhile]
    assert await standing(influx.url, "performance") == sorted(named(expected))


async def test_a_database_that_is_missing_is_waited_for(tmp_path: Path, influx: Influx) -> None:
    """It is trouble of InfluxDB's and none of the events': no dead letter, and all of them once somebody makes it."""
    events = [at(n) for n in range(20)]
    await statement(influx.url, "DROP DATABASE performance")
    async with a_store() as store, a_collector(tmp_path / "s", store.url, f"--influxdb.url={influx.url}") as collector:
        await collector.post([*events, at(20, "user")])
        await collector.emptied()
        async with asyncio.timeout(DEADLINE_SECONDS):
            while "database not found" not in (await health(collector))["influxdb"]:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert await waiting_for_influxdb(collector) == 21
        await statement(influx.url, "CREATE DATABASE performance")
        await written(collector)
        assert collector.letters() == []
    assert await standing(influx.url, "performance") == sorted(named(events))
    assert len(await standing(influx.url, "user_activity")) == 1


async def test_from_a_request_to_its_point(tmp_path: Path, artifacts: Mapping[str, Artifact]) -> None:
    """The stack of subject, collector and InfluxDB by the shipped units: what was requested is a point, in its lane."""
    found = load_policies(POLICIES).policies
    names = {"event-collector", "influxdb"}
    shipped = [one for one in found.components if one.kind in names]
    app = component("community-platform", "subject", "/srv/app", command=())
    made = policies(*shipped, app, root=POLICIES)
    files = {name: text for name, text in found.documents.items() if name.startswith(("events/", "influxdb/"))}
    async with Guard.open(f"test-{time.monotonic_ns()}", tmp_path) as guard:
        layout = lay_out(
            made, artifacts, ("a",), run=guard.run, sandbox=guard.sandbox, logs=tmp_path / "logs", cache=tmp_path,
            manifests=tmp_path / "manifests",
            environment={"subject": {"DATABASE_URL": "mysql://a:b@127.0.0.1:9/c", "REDIS_URL": "redis://127.0.0.1:9/0"}},
        )  # fmt: skip
        async with Stack(layout, ProcessRuntime(guard), lambda _event: None) as stack:
            await stack.up(files)
            for number in range(5):
                await ask(layout.site("community-platform", "a").address, f"/api/nothing/{number}")
                await asyncio.sleep(0.01)  # no two of them in one millisecond
            url = f"http://{layout.site('influxdb').address}/"
            async with asyncio.timeout(DEADLINE_SECONDS):
                while len(await standing(url, "performance")) < 5:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            lanes = await rows(url, "performance", "SELECT environment, sequence FROM performance")
    assert {lane for _, lane, _ in lanes} == {"a"}
    assert len(lanes) == 5
