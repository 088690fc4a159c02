"""A real InfluxDB with a database, what is written into it by hand, and an application to be scraped."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import ClientError, ClientSession, web

from harness.model.stack import Address, Artifact


def free_address() -> Address:
    """A port that is free now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return Address("127.0.0.1", free.getsockname()[1])


class Program:
    """A program that can be killed and started again over the same data."""

    def __init__(self, artifact: Artifact, program: str, log: Path, *arguments: str, **variables: str) -> None:
        self._command = (artifact.programs[program], *arguments)
        self._environment = {**artifact.environment, **variables}
        self._log = log
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Starts it."""
        with self._log.open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                *self._command, env=self._environment, stdout=output, stderr=output
            )

    async def kill(self) -> None:
        """Ends it as `kill -9` does."""
        assert self._process is not None
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()


@asynccontextmanager
async def standing(program: Program) -> AsyncIterator[Program]:
    """A program while it is entered."""
    await program.start()
    try:
        yield program
    finally:
        await program.kill()


class Influxd:
    """An InfluxDB over a folder."""

    def __init__(self, artifact: Artifact, folder: Path) -> None:
        self.address = free_address()
        folder.mkdir(exist_ok=True)
        self.program = Program(
            artifact,
            "influxd",
            folder / "log",
            INFLUXDB_META_DIR=f"{folder}/meta",
            INFLUXDB_DATA_DIR=f"{folder}/data",
            INFLUXDB_DATA_WAL_DIR=f"{folder}/wal",
            INFLUXDB_HTTP_BIND_ADDRESS=str(self.address),
            INFLUXDB_BIND_ADDRESS="127.0.0.1:0",
            INFLUXDB_REPORTING_DISABLED="true",
        )

    async def until_it_answers(self) -> None:
        """Waits for its first answer."""
        async with asyncio.timeout(30), ClientSession() as session:
            while True:
                try:
                    async with session.get(f"http://{self.address}/ping"):
                        return
                except (ClientError, OSError):
                    await asyncio.sleep(0.05)

    async def does(self, statement: str, database: str = "") -> None:
        """Runs a statement."""
        async with (
            ClientSession() as session,
            session.post(f"http://{self.address}/query", data={"q": statement, "db": database}) as answer,
        ):
            text = await answer.text()
            assert "error" not in text, text

    async def takes(self, database: str, *lines: str) -> None:
        """Writes points in the line protocol."""
        body = "\n".join(lines).encode()
        async with (
            ClientSession() as session,
            session.post(f"http://{self.address}/write?db={database}", data=body) as answer,
        ):
            assert answer.status == 204, await answer.text()


@asynccontextmanager
async def an_influxdb(artifacts: Mapping[str, Artifact], folder: Path, *databases: str) -> AsyncIterator[Influxd]:
    """An InfluxDB with these databases, while it is entered."""
    influxd = Influxd(artifacts["influxdb"], folder)
    async with standing(influxd.program):
        await influxd.until_it_answers()
        for database in databases:
            await influxd.does(f'CREATE DATABASE "{database}"')
        yield influxd


class Application:
    """What is scraped: series that come and go, one that is now and then no number, one that nobody wants."""

    def __init__(self) -> None:
        self.scrapes = 0
        self.more = ""

    def text(self) -> str:
        """The next scrape's answer."""
        self.scrapes += 1
        return (
            f'http_requests_total{{path="/a b,\\"c\\"=é",status="200"}} {self.scrapes}\n'
            f"cache_ratio {'NaN' if self.scrapes % 3 == 0 else 0.1 * self.scrapes}\n"
            f"{'' if self.scrapes % 4 == 0 else 'database_flap 1'}\n"
            f"go_goroutines {self.scrapes}\n{self.more}"
        )

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[Address]:
        """Where it listens."""

        async def metrics(_: web.Request) -> web.Response:
            return web.Response(text=self.text(), headers={"Content-Type": "text/plain; version=0.0.4"})

        app = web.Application()
        app.router.add_get("/metrics", metrics)
        runner = web.AppRunner(app)
        await runner.setup()
        address = free_address()
        await web.TCPSite(runner, address.host, address.port).start()
        try:
            yield address
        finally:
            await runner.cleanup()
