"""The faults of processes and paths against what they are for: MariaDB, Redis, exporters and the subject in one lane.

What mysqld_exporter says of each of them is held here too, for the rules of the policies are written for it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import aiohttp
import pytest

from harness.drive.faults import Fault
from harness.drive.faults.cache_killed import CacheKilled
from harness.drive.faults.database_half_open import DatabaseHalfOpen
from harness.drive.faults.database_killed import DatabaseKilled
from harness.drive.faults.database_refused import DatabaseRefused
from harness.drive.faults.database_reset import DatabaseReset
from harness.drive.faults.database_slow import DatabaseSlow
from harness.drive.faults.exporter_crashed import ExporterCrashed
from harness.drive.faults.exporter_killed import ExporterKilled
from harness.drive.faults.scrapes_lost import ScrapesLost
from harness.drive.faults.server_frozen import ServerFrozen
from harness.errors import EffectNotProven
from harness.model.events import ComponentExited, ComponentRestarted, Payload
from harness.model.stack import Artifact
from harness.run import load_policies
from harness.stack.guard import Guard
from harness.stack.handle import LaneHandle
from harness.stack.layout import lay_out
from harness.stack.runtimes.process import ProcessRuntime
from harness.stack.stack import Stack

pytestmark = [pytest.mark.stack, pytest.mark.nightly]

ROOT = Path(__file__).parent.parent.parent
COMPONENTS = ("community-platform", "mysql", "redis", "mysql-exporter", "redis-exporter")
SCRAPE_SECONDS = 2.0
PATIENCE_SECONDS = 10.0
"""Longer than the subject's own with its database, which is a few seconds."""
OFFSET_SECONDS = 0.25
"""By so much an exporter gives up before Prometheus does (mysqld_exporter, `--timeout-offset`)."""

FAULTS: Mapping[str, Fault] = {
    fault.id: fault
    for fault in (
        ServerFrozen(),
        DatabaseKilled(),
        DatabaseHalfOpen(),
        DatabaseReset(),
        DatabaseSlow(),
        CacheKilled(),
        ExporterKilled(),
        ExporterCrashed(),
        ScrapesLost(),
    )
}


@dataclass(frozen=True)
class _Lane:
    """A lane that stands, and what was written of its life."""

    control: LaneHandle
    events: list[Payload]

    def told(self, name: str) -> list[ComponentExited | ComponentRestarted]:
        """The exits and restarts of a component."""
        found = [event for event in self.events if isinstance(event, ComponentExited | ComponentRestarted)]
        return [event for event in found if event.name == name]


@asynccontextmanager
async def standing(folder: Path, artifacts: Mapping[str, Artifact], cache: Path) -> AsyncIterator[_Lane]:
    """One lane of production's own units, Prometheus and Alertmanager left out."""
    whole = load_policies(ROOT / "policies").policies
    policies = replace(whole, components=tuple(one for one in whole.components if one.name in COMPONENTS))
    events: list[Payload] = []
    async with Guard.open(f"paths-{time.monotonic_ns()}", folder) as guard:
        layout = lay_out(
            policies, artifacts, ["a"], run=guard.run, sandbox=guard.sandbox, logs=folder / "logs", cache=cache
        )
        async with Stack(layout, ProcessRuntime(guard), events.append) as stack:
            await stack.up({})
            yield _Lane(stack.lane("a"), events)


@pytest.fixture
async def lane(tmp_path: Path, artifacts: Mapping[str, Artifact], cache: Path) -> AsyncIterator[_Lane]:
    """A lane that is well."""
    async with standing(tmp_path, artifacts, cache) as lane:
        yield lane


@dataclass(frozen=True)
class _Scrape:
    """What a scrape as Prometheus makes it came to: None where there was no answer in its time."""

    mysql_up: str | None
    whole: bool
    seconds: float


async def scrape(lane: _Lane, within_seconds: float = SCRAPE_SECONDS) -> _Scrape:
    """One scrape of the database's exporter, with Prometheus's own header."""
    begun = time.monotonic()
    body = ""
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=within_seconds)) as session,
            session.get(
                f"http://{lane.control.lane.addresses['mysql-exporter']}/metrics",
                headers={"X-Prometheus-Scrape-Timeout-Seconds": f"{SCRAPE_SECONDS:g}"},
            ) as response,
        ):
            body = await response.text()
    except (TimeoutError, aiohttp.ClientError):
        pass
    values = [line.split()[1] for line in body.splitlines() if line.startswith("mysql_up ")]
    return _Scrape(
        mysql_up=values[0] if values else None,
        whole="\nmysql_global_status_threads_connected " in body,
        seconds=time.monotonic() - begun,
    )


async def request(lane: _Lane, path: str) -> tuple[int, float]:
    """What the subject answers, and after how many seconds; 0 where our patience ends first."""
    begun = time.monotonic()
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PATIENCE_SECONDS)) as session,
            session.get(f"http://{lane.control.lane.addresses['community-platform']}{path}") as response,
        ):
            return response.status, time.monotonic() - begun
    except (TimeoutError, aiohttp.ClientError):
        return 0, time.monotonic() - begun


async def recovers(lane: _Lane, path: str) -> None:
    """The subject answers 200 again soon after a fault was healed."""
    give_up = time.monotonic() + 10
    while (answer := await request(lane, path))[0] != 200:
        assert time.monotonic() < give_up, answer


@pytest.mark.parametrize("name", FAULTS)
async def test_a_fault_proves_itself_and_is_undone_twice(lane: _Lane, name: str) -> None:
    """Unproven where nothing was done; applied, proven, undone, again; the application works, each end was expected."""
    fault = FAULTS[name]
    for _ in range(2):
        with pytest.raises(EffectNotProven):
            await fault.prove(lane.control, 0.2)
        begun = time.time()
        await fault.apply(lane.control)
        proof = await fault.prove(lane.control, 10)
        assert begun < proof.at <= time.time()
        healed = await fault.undo(lane.control, 15)
        assert healed.at > proof.at
        await recovers(lane, "/api/posts")
    assert all(event.expected for event in lane.events if isinstance(event, ComponentExited))


async def test_a_frozen_server_is_the_same_process_afterwards(lane: _Lane) -> None:
    """Nobody is answered meanwhile, nothing of it ended, and what waited is answered late."""
    fault = FAULTS["server-frozen"]
    await fault.apply(lane.control)
    await fault.prove(lane.control, 5)
    waiting = asyncio.create_task(request(lane, "/health"))
    done, _ = await asyncio.wait({waiting}, timeout=0.5)
    assert not done
    await fault.undo(lane.control, 5)
    assert (await waiting)[0] == 200
    assert lane.told("community-platform") == []


@pytest.mark.parametrize("fault", [DatabaseRefused(), DatabaseReset(), DatabaseKilled()], ids=lambda one: str(one.id))
async def test_the_exporter_says_at_once_that_it_cannot_log_in(lane: _Lane, fault: Fault) -> None:
    """`mysql_up 0`, well within a scrape, and 503 from the subject; whole again after the undo."""
    well = await scrape(lane)
    assert (well.mysql_up, well.whole) == ("1", True)
    await fault.apply(lane.control)
    await fault.prove(lane.control, 5)
    down = await scrape(lane)
    assert (down.mysql_up, down.whole) == ("0", False)
    assert down.seconds < 0.5
    assert (await request(lane, "/api/posts"))[0] == 503
    await fault.undo(lane.control, 15)
    again = await scrape(lane)
    assert (again.mysql_up, again.whole) == ("1", True)


async def test_the_exporter_hangs_where_the_path_is_half_open(lane: _Lane) -> None:
    """No answer in twice a scrape's time: `mysql_up` is missing and not 0. Healed, it answers at once."""
    fault = FAULTS["database-half-open"]
    await fault.apply(lane.control)
    await fault.prove(lane.control, 5)
    hanging = await scrape(lane, 2 * SCRAPE_SECONDS)
    assert hanging.mysql_up is None
    assert hanging.seconds >= 2 * SCRAPE_SECONDS
    assert (await request(lane, "/api/posts"))[0] == 503
    assert lane.told("mysql") == [], "the database ran on"
    await fault.undo(lane.control, 5)
    again = await scrape(lane)
    assert (again.mysql_up, again.whole) == ("1", True)


async def test_a_slow_database_is_slow_for_all_and_its_exporter_bears_it(lane: _Lane) -> None:
    """Each request takes longer than the delay and succeeds; each scrape is whole before the exporter gives up."""
    fault = FAULTS["database-slow"]
    await recovers(lane, "/api/posts")
    await fault.apply(lane.control)
    await fault.prove(lane.control, 5)
    for _ in range(3):
        status, seconds = await request(lane, "/api/posts")
        assert status == 200
        assert seconds >= 0.1
        scraped = await scrape(lane)
        assert (scraped.mysql_up, scraped.whole) == ("1", True)
        assert scraped.seconds < SCRAPE_SECONDS - OFFSET_SECONDS
    await fault.undo(lane.control, 5)


async def test_a_crashed_exporter_comes_back_by_itself(lane: _Lane) -> None:
    """Its own unit starts it again after its pause: one expected exit, one restart that nobody let it do."""
    fault = FAULTS["exporter-crashed"]
    await fault.apply(lane.control)
    proof = await fault.prove(lane.control, 10)
    assert "process_start_time_seconds was" in proof.saw
    await fault.undo(lane.control, 5)
    give_up = time.monotonic() + 5
    while len(lane.told("redis-exporter")) < 2:
        assert time.monotonic() < give_up
        await asyncio.sleep(0.02)
    exited, restarted = lane.told("redis-exporter")
    assert isinstance(exited, ComponentExited)
    assert exited.expected
    assert isinstance(restarted, ComponentRestarted)
    assert not restarted.held
    assert 0.5 <= restarted.outage_seconds < 5


async def test_single_scrapes_are_lost_and_never_two_in_a_row(lane: _Lane) -> None:
    """Whatever their phase, scrapers that come every 2 s each lose some scrapes, and none loses two in a row."""
    fault = FAULTS["scrapes-lost"]
    address = lane.control.lane.addresses["redis-exporter"]

    async def answered() -> bool:
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=SCRAPE_SECONDS)) as session,
                session.get(f"http://{address}/metrics") as response,
            ):
                return "redis_up 1" in await response.text()
        except (TimeoutError, aiohttp.ClientError):
            return False

    async def scraper(begin: float) -> str:
        seen = ""
        for number in range(6):
            await asyncio.sleep(begin + number * SCRAPE_SECONDS - time.monotonic())
            seen += "1" if await answered() else "0"
        return seen

    await fault.apply(lane.control)
    await fault.prove(lane.control, 10)
    begin = time.monotonic()
    seen = await asyncio.gather(*(scraper(begin + phase * SCRAPE_SECONDS / 5) for phase in range(5)))
    await fault.undo(lane.control, 5)
    assert all("0" in one for one in seen), seen
    assert not any("00" in one for one in seen), seen
    before = len(lane.told("redis-exporter"))
    async with asyncio.timeout(5):
        assert await answered()
    assert len(lane.told("redis-exporter")) <= before + 1, "undone, nobody takes it down any more"
