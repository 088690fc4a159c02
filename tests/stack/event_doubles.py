"""Events, a collector that runs, and a ClickHouse of a few lines that can be down, slow or forgetful."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

SCHEMAS = Path(__file__).parents[2] / "policies" / "events"
DEADLINE_SECONDS = 30.0

COLLECTOR = ("-m", "harness.stack.collector")
HASTY = (
    "-c",
    """
import asyncio, sys
from harness.stack.collector import __main__ as program
from harness.stack.collector.commits import GroupCommit

kept = GroupCommit.kept

async def hasty(self, batch):
    async def later():
        await asyncio.sleep(60)
        await kept(self, batch)
    tasks.append(asyncio.create_task(later()))
    return [True] * len(batch)

tasks = []
GroupCommit.kept = hasty
sys.exit(program.main(sys.argv[1:]))
""",
)
"""A collector that acknowledges before it writes: what the tests of durability must find out."""


def event(number: int, kind: str = "performance", **changed: object) -> dict[str, Any]:
    """An event that its schema accepts; its identity is `run/<kind>.lane-01.1/<number>`."""
    action = {"user": "view", "business": "post_created", "security": "login_failed", "performance": "request"}[kind]
    more: dict[str, dict[str, object]] = {
        "business": {"object": {"type": "post", "id": number}},
        "security": {"status": 401},
        "performance": {"status": 200, "duration": number + 0.5},
    }
    return {
        "timestamp": "2026-11-23T10:00:00.000Z",
        "kind": kind,
        "action": action,
        "service": "community-platform",
        "environment": "lane-01",
        "userId": None,
        "ip": "127.0.0.1",
        "userAgent": "test",
        "method": "GET",
        "endpoint": "/api/posts",
        **more.get(kind, {}),
        "metadata": {"sequence": f"run/{kind}.lane-01.1/{number}", "sessionId": None, "requestId": f"r-{number}"},
        **changed,
    }


def named(events: Iterable[Mapping[str, Any]]) -> list[str]:
    """The identities of events."""
    return [one["metadata"]["sequence"] for one in events]


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@dataclass
class Store:
    """What stands where ClickHouse should: takes inserts of JSONAsString, and can be told to fail.

    `mood`: `well`, `down` (503), `hanging`, `forgetful` (stores, and closes before it answers). A record with the word
    `poison` in it is refused as one that cannot be read.
    """

    mood: str = "well"
    records: dict[str, list[bytes]] = field(default_factory=dict)
    tokens: list[str] = field(default_factory=list)
    stored: set[str] = field(default_factory=set)
    port: int = 0

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}/"

    def names(self) -> list[str]:
        """The identities of all that is stored, doubled ones twice."""
        return named(json.loads(record) for records in self.records.values() for record in records)

    async def insert(self, request: web.Request) -> web.Response:
        """One insert."""
        body = await request.read()
        token = request.query["insert_deduplication_token"]
        self.tokens.append(token)
        if self.mood == "hanging":
            await asyncio.sleep(3600)
        if self.mood == "down":
            return web.Response(status=503, text="Code: 999. DB::Exception: down")
        if b"poison" in body:
            headers = {"X-ClickHouse-Exception-Code": "117"}
            return web.Response(status=400, text="Code: 117. DB::Exception: poison", headers=headers)
        if token not in self.stored:
            self.stored.add(token)
            self.records.setdefault(request.query["query"].split()[2], []).extend(body.split(b"\n"))
        if self.mood == "forgetful" and request.transport is not None:
            request.transport.close()
        return web.Response()


@asynccontextmanager
async def a_store(mood: str = "well", port: int = 0) -> AsyncIterator[Store]:
    """A store that listens."""
    store = Store(mood)
    app = web.Application(client_max_size=2**28)
    app.router.add_post("/", store.insert)
    runner = web.AppRunner(app, shutdown_timeout=0.01)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", port)
        await site.start()
        store.port = runner.addresses[0][1]
        yield store
    finally:
        await runner.cleanup()


@dataclass(frozen=True)
class Posted:
    """What the collector answered."""

    status: int
    body: dict[str, Any]
    headers: Mapping[str, str]


@dataclass
class Collector:
    """A collector that runs as a process of its own."""

    process: asyncio.subprocess.Process
    port: int
    folder: Path
    session: aiohttp.ClientSession

    async def post(self, events: Sequence[object] | bytes) -> Posted:
        """Posts events, or a body as it is."""
        body = events if isinstance(events, bytes) else json.dumps(events).encode()
        async with self.session.post(f"http://127.0.0.1:{self.port}/events", data=body) as answer:
            return Posted(answer.status, json.loads(await answer.text()), answer.headers)

    async def waiting(self) -> int:
        """How many events it says that it still has to send."""
        async with self.session.get(f"http://127.0.0.1:{self.port}/health") as answer:
            return int((await answer.json())["waiting"])

    async def emptied(self) -> None:
        """Waits until all of them are sent."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while await self.waiting():  # noqa: ASYNC110  # what is watched is another process
                await asyncio.sleep(0.02)

    async def samples(self) -> dict[str, float]:
        """Its metrics, by series."""
        async with self.session.get(f"http://127.0.0.1:{self.port}/metrics") as answer:
            lines = (await answer.text()).splitlines()
        return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if line[0] != "#"}

    def letters(self) -> list[dict[str, Any]]:
        """Its dead letters."""
        return [json.loads(line) for line in (self.folder / "dead-letters.ndjson").read_bytes().splitlines()]

    async def kill(self) -> None:
        """`kill -9`."""
        self.process.kill()
        await self.process.wait()


@asynccontextmanager
async def a_collector(
    folder: Path, clickhouse: str, *flags: str, program: Sequence[str] = COLLECTOR
) -> AsyncIterator[Collector]:
    """A collector that has begun to listen; killed at the end."""
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        sys.executable, *program, f"--web.listen-address=127.0.0.1:{port}", f"--store.path={folder}",
        f"--events.schemas={SCHEMAS}", f"--clickhouse.url={clickhouse}", *flags,
        stderr=(folder.parent / "collector.log").open("ab"), env=os.environ | {"TMPDIR": str(folder.parent)},
    )  # fmt: skip
    async with aiohttp.ClientSession() as session:
        collector = Collector(process, port, folder, session)
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                while True:
                    try:
                        await collector.waiting()
                        break
                    except aiohttp.ClientConnectionError:
                        assert process.returncode is None, (folder.parent / "collector.log").read_text()
                        await asyncio.sleep(0.02)
            yield collector
        finally:
            if process.returncode is None:
                await collector.kill()
