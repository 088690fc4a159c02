"""Census and planted changes on a real Prometheus with real exporters of real Redis servers."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import ClientSession

from harness.model.collection import CensusTaken, ChangePlanted, ChangeSeen, ScrapesCounted
from harness.model.events import Payload
from harness.model.stack import Address, Artifact
from harness.observe.asking import NoAnswer, ask
from harness.observe.census import take_census
from harness.observe.planting import Planting

pytestmark = pytest.mark.stack

LANES = ("lane-01", "lane-02", "lane-03")
INTERVAL = 0.5


def free_address() -> Address:
    """A port that is free now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return Address("127.0.0.1", free.getsockname()[1])


@asynccontextmanager
async def running(artifact: Artifact, program: str, log: Path, *arguments: str) -> AsyncIterator[int]:
    """A component while it is entered; gives its process."""
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            artifact.programs[program], *arguments, env=dict(artifact.environment), stdout=output, stderr=output
        )
        try:
            yield process.pid
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


async def scraped(prometheus: Address, query: str, count: int) -> None:
    """Waits until a query gives so many series."""
    async with asyncio.timeout(30), ClientSession(f"http://{prometheus}") as session:
        while True:
            try:
                if len(await ask(session, query)) == count:
                    return
            except NoAnswer:
                pass
            await asyncio.sleep(0.05)


async def test_changes_are_seen_within_a_scrape_and_slots_are_counted(
    tmp_path: Path, artifacts: Mapping[str, Artifact]
) -> None:
    """A change comes through with the next scrape; an exporter that is stopped loses its slots, the others none."""
    prometheus = free_address()
    redis = {lane: free_address() for lane in LANES}
    exporters = {lane: free_address() for lane in LANES}
    configuration = {
        "global": {"scrape_interval": "500ms", "scrape_timeout": "500ms"},
        "scrape_configs": [
            {
                "job_name": "redis",
                "static_configs": [
                    {"targets": [str(address)], "labels": {"environment": lane}} for lane, address in exporters.items()
                ],
            }
        ],
    }
    (tmp_path / "prometheus.yml").write_text(json.dumps(configuration))
    events: list[Payload] = []
    async with AsyncExitStack() as exits:
        pids = {}
        for lane in LANES:
            (tmp_path / lane).mkdir()
            await exits.enter_async_context(
                running(
                    artifacts["redis"],
                    "redis-server",
                    tmp_path / f"redis.{lane}.log",
                    *("--bind", "127.0.0.1", "--port", str(redis[lane].port)),
                    *("--dir", str(tmp_path / lane), "--save", ""),
                )
            )
            pids[lane] = await exits.enter_async_context(
                running(
                    artifacts["redis-exporter"],
                    "redis_exporter",
                    tmp_path / f"exporter.{lane}.log",
                    f"--redis.addr=redis://{redis[lane]}",
                    f"--web.listen-address={exporters[lane]}",
                )
            )
        await exits.enter_async_context(
            running(
                artifacts["prometheus"],
                "prometheus",
                tmp_path / "prometheus.log",
                f"--config.file={tmp_path}/prometheus.yml",
                f"--storage.tsdb.path={tmp_path}/tsdb",
                f"--web.listen-address={prometheus}",
            )
        )
        await scraped(prometheus, "redis_up == 1", len(LANES))
        since = time.time()
        stop = asyncio.Event()

        def write(event: Payload) -> None:
            events.append(event)
            if sum(isinstance(event, ChangeSeen) for event in events) >= 9:
                stop.set()

        async with asyncio.timeout(60):
            await Planting(prometheus, redis, 7, write).run(stop)
        os.kill(pids["lane-03"], signal.SIGSTOP)
        await scraped(prometheus, 'up{environment="lane-03"} == 0', 1)
        os.kill(pids["lane-03"], signal.SIGCONT)
        await scraped(prometheus, 'up{environment="lane-03"} == 1', 1)
        *counted, census = await take_census(prometheus, since_wall=since, until_wall=time.time())

    seen = [event for event in events if isinstance(event, ChangeSeen)]
    assert {one.lane for one in events if isinstance(one, ChangePlanted)} == set(LANES)
    # Generous above, because a shared machine may lose a scrape.
    assert all(0 < one.seconds < 2 * INTERVAL + 1 for one in seen), seen
    assert any(one.seconds > 0.1 for one in seen), "a change waits for a scrape"
    assert isinstance(census, CensusTaken)
    assert (census.targets, census.error) == (3, "")
    by_lane = {one.lane: one for one in counted if isinstance(one, ScrapesCounted)}
    assert set(by_lane) == set(LANES)
    assert {one.interval_seconds for one in by_lane.values()} == {INTERVAL}
    assert all(one.expected >= 8 for one in by_lane.values())
    assert by_lane["lane-03"].lost
    assert by_lane["lane-03"].stored == by_lane["lane-03"].expected, "a scrape that failed is stored as such"
    assert {lane: by_lane[lane].lost for lane in LANES[:2]} == {"lane-01": (), "lane-02": ()}
