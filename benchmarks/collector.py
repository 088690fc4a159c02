"""How many events a second the collector keeps, durably: `python benchmarks/collector.py [EVENTS]`.

The collector runs as a process of its own; from this one come batches of 200 over a few connections that are kept. What
is timed is the acknowledgement: every event counted is on the disk. Beside it the same events, in the same run and on
the same disk, as a naive collector would keep them: one event, one commit, one fsync. ClickHouse is not there, so that
nothing but the intake is measured.
"""

from __future__ import annotations

import asyncio
import sqlite3
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import aiohttp
import orjson
import psutil

from harness.stack.ports import Ports

BATCH = 200
CONNECTIONS = 6
EVENTS = 120_000
NAIVE_EVENTS = 1_000
WANTED_PER_SECOND = 20_000
START_SECONDS = 30.0
SCHEMAS = Path(__file__).parents[1] / "policies" / "events"


def event(number: int) -> dict[str, object]:
    """A performance event as the subject sends it."""
    return {
        "timestamp": "2026-11-23T10:00:00.000Z",
        "kind": "performance",
        "action": "request",
        "service": "community-platform",
        "environment": "lane-01",
        "userId": None,
        "ip": "127.0.0.1",
        "userAgent": "benchmark",
        "method": "GET",
        "endpoint": "/api/posts",
        "status": 200,
        "duration": number % 997 / 8,
        "metadata": {
            "sequence": f"20261123T130043Z-ac5c/performance.lane-01.1/{number}",
            "sessionId": None,
            "requestId": f"cp-1/1795435200/{number}",
        },
    }


def bodies(events: int) -> list[bytes]:
    """The batches, ready to be posted."""
    return [
        b"\n".join(orjson.dumps(event(number)) for number in range(first, first + BATCH))
        for first in range(0, events, BATCH)
    ]


async def posted(url: str, batches: Sequence[bytes]) -> float:
    """Posts all batches over a few connections; the seconds until the last was acknowledged."""
    waiting = iter(batches)

    async def post(session: aiohttp.ClientSession) -> int:
        accepted = 0
        for body in waiting:
            async with session.post(f"{url}/events", data=body) as answer:
                accepted += orjson.loads(await answer.read())["accepted"]
        return accepted

    async with aiohttp.ClientSession() as session:
        began = time.monotonic()
        accepted = sum(await asyncio.gather(*(post(session) for _ in range(CONNECTIONS))))
        seconds = time.monotonic() - began
    if accepted != len(batches) * BATCH:
        raise SystemExit(f"{accepted} events were accepted of {len(batches) * BATCH}: nothing was measured")
    return seconds


async def collector(folder: Path, batches: Sequence[bytes]) -> tuple[float, float]:
    """The seconds that a fresh collector takes to acknowledge all batches, and those of processor that it used."""
    ports = Ports()
    address = ports.take()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "harness.stack.collector", f"--web.listen-address={address}", f"--store.path={folder}",
        f"--events.schemas={SCHEMAS}", f"--clickhouse.url=http://{ports.take()}/",
        stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    url = f"http://{address}"
    try:
        async with aiohttp.ClientSession() as session, asyncio.timeout(START_SECONDS):
            while True:
                try:
                    async with session.get(f"{url}/health"):
                        break
                except aiohttp.ClientConnectionError:
                    await asyncio.sleep(0.02)
        before = psutil.Process(process.pid).cpu_times()
        seconds = await posted(url, batches)
        after = psutil.Process(process.pid).cpu_times()
        return seconds, after.user + after.system - before.user - before.system
    finally:
        process.kill()
        await process.wait()
        ports.close()


def naive(folder: Path, events: int) -> float:
    """The seconds that one commit an event takes, with the same database and the same durability."""
    database = sqlite3.connect(folder / "naive.sqlite3", isolation_level=None)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=FULL")
    database.execute("CREATE TABLE events (identity TEXT PRIMARY KEY, record BLOB)")
    records = [(str(number), orjson.dumps(event(number))) for number in range(events)]
    began = time.monotonic()
    for record in records:
        database.execute("INSERT INTO events VALUES (?, ?)", record)
    seconds = time.monotonic() - began
    database.close()
    return seconds


def main() -> int:
    """Measures both; 0 where the collector keeps as many as are wanted."""
    events = int(sys.argv[1]) if len(sys.argv) > 1 else EVENTS
    batches = bodies(events)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        seconds, processor = asyncio.run(collector(folder / "store", batches))
        ours = events / seconds
        alone = NAIVE_EVENTS / naive(folder, NAIVE_EVENTS)
    print(f"collector, batches of {BATCH}: {ours:,.0f} events/s acknowledged, each checked and on disk")  # noqa: T201
    print(f"for 1 s of processor:         {events / processor:,.0f} events, in {seconds / processor:.1f} s")  # noqa: T201
    print(f"one fsync an event:           {alone:,.0f} events/s; the collector keeps {ours / alone:.1f} times as many")  # noqa: T201
    return 0 if ours >= WANTED_PER_SECOND else 1


if __name__ == "__main__":
    sys.exit(main())
