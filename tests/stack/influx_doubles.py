"""An InfluxDB of a few lines that can be down or refuse points, and the real one behind the same questions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson
from aiohttp import web
from event_doubles import DEADLINE_SECONDS, Collector


@dataclass
class Points:
    """What stands where InfluxDB should.

    `mood`: `well`, `down` (503). A line with the word `old` in it is refused as InfluxDB refuses what is too old, with
    how many of them there were; the others of its write are kept.
    """

    mood: str = "well"
    writes: list[tuple[str, int]] = field(default_factory=list)
    lines: dict[str, dict[bytes, bytes]] = field(default_factory=dict)
    port: int = 0

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}/"

    def names(self) -> list[str]:
        """The identities of all points that stand."""
        found = (orjson.loads(line.rpartition(b"sequence=")[2].rpartition(b" ")[0]) for line in self.standing())
        return sorted(found)

    def standing(self) -> list[bytes]:
        """All points that stand."""
        return [line for lines in self.lines.values() for line in lines.values()]

    async def write(self, request: web.Request) -> web.Response:
        """One write; a point takes the place of the one with its tags and timestamp."""
        body = (await request.read()).split(b"\n")
        database = request.query["db"]
        assert request.query["precision"] == "ns"
        self.writes.append((database, len(body)))
        if self.mood == "down":
            return web.json_response({"error": "timeout"}, status=503)
        good = [line for line in body if b"old" not in line]
        kept = self.lines.setdefault(database, {})
        kept.update({line.split(b" ")[0] + line.rpartition(b" ")[2]: line for line in good})
        if len(good) < len(body):
            reason = f"partial write: points beyond retention policy dropped={len(body) - len(good)}"
            return web.json_response({"error": reason}, status=400)
        return web.Response(status=204)


@asynccontextmanager
async def some_points(mood: str = "well") -> AsyncIterator[Points]:
    """An InfluxDB of a few lines that listens."""
    points = Points(mood)
    app = web.Application(client_max_size=2**28)
    app.router.add_post("/write", points.write)
    runner = web.AppRunner(app, shutdown_timeout=0.01)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        points.port = runner.addresses[0][1]
        yield points
    finally:
        await runner.cleanup()


async def health(collector: Collector) -> dict[str, Any]:
    """What a collector says of itself."""
    async with collector.session.get(f"http://127.0.0.1:{collector.port}/health") as answer:
        return dict(await answer.json())


async def waiting_for_influxdb(collector: Collector) -> int:
    """How many events a collector says that InfluxDB does not have yet."""
    return int((await health(collector))["waiting_by_destination"]["influxdb"])


async def written(collector: Collector) -> None:
    """Waits until InfluxDB has all that it is to have, or a dead letter says why not."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while await waiting_for_influxdb(collector):  # noqa: ASYNC110  # what is watched is another process
            await asyncio.sleep(0.02)


async def rows(url: str, database: str, query: str) -> list[list[object]]:
    """What the real InfluxDB answers to a query: the rows of its one series."""
    asked = {"db": database, "q": query, "epoch": "ns"}
    async with aiohttp.ClientSession() as session, session.get(f"{url}query", params=asked) as answer:
        [result] = (await answer.json())["results"]
    assert "error" not in result, result
    return list(result["series"][0]["values"]) if "series" in result else []


async def statement(url: str, query: str) -> None:
    """Has the real InfluxDB do something."""
    async with aiohttp.ClientSession() as session, session.post(f"{url}query", data={"q": query}) as answer:
        assert answer.status == 200
        assert "error" not in await answer.text()


async def standing(url: str, database: str) -> list[str]:
    """The identities of all points of a database of the real InfluxDB; one that stands twice is there twice."""
    return sorted(str(name) for _, name in await rows(url, database, f"SELECT sequence FROM {database}"))  # noqa: S608  # a name of ours
