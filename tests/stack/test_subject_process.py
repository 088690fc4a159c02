"""The subject as a process, with nothing behind it, with a database that hangs, and over real MariaDB and Redis."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiomysql
import pytest
from aiohttp import ClientSession, ClientTimeout, CookieJar
from redis.asyncio import Redis as RedisClient

from harness.model.policy import ComponentPolicy
from harness.model.source import Span
from harness.model.stack import Address, Artifact
from harness.stack.components.mariadb import MariaDB
from harness.stack.components.redis import Redis
from harness.stack.guard import Guard
from harness.stack.ports import Ports
from harness.stack.readiness import until_ready
from harness.stack.relay import Relay
from harness.stack.runtimes import Running
from harness.stack.runtimes.process import ProcessRuntime
from harness.stack.site import Site

ACCOUNT = {"name": "bob", "password": "correct horse"}
POST = {"title": "t", "body": "한국어 😀"}
START_SECONDS = 0.8
STOP_SECONDS = 1.0
"""Less than a request may wait for a database (3.2 s): who ends at once waits for none. The figure is measured by
`benchmarks/startup.py`; a loaded machine is no slow subject."""
ANSWER_SECONDS = 4.0


@dataclass
class Instance:
    """A subject that runs, and a browser of it."""

    process: asyncio.subprocess.Process
    browser: ClientSession
    address: Address
    directory: Path

    async def get(self, path: str) -> int:
        """The status of a GET."""
        async with self.browser.get(f"http://{self.address}{path}") as answer:
            await answer.read()
            return answer.status

    async def post(self, path: str, body: object) -> int:
        """The status of a POST."""
        async with self.browser.post(f"http://{self.address}{path}", json=body) as answer:
            await answer.read()
            return answer.status

    async def becomes(self, path: str, status: int, deadline_seconds: float = 5.0) -> float:
        """Waits until a GET has a status; how long that took."""
        return await until(lambda: self._has(path, status), deadline_seconds)

    async def stop(self) -> float:
        """SIGTERM; seconds until it was gone, less what it waited for a core."""
        waited = before = self.waited_for_core()
        started = time.monotonic()
        self.process.terminate()
        while self.process.returncode is None:
            waited = self.waited_for_core() or waited
            await asyncio.sleep(0.002)
        assert self.process.returncode == 0
        return time.monotonic() - started - (waited - before)

    def waited_for_core(self) -> float:
        """Seconds that it could have run and had no core, so far; 0 once it is gone.

        The limits hold for a machine that has nothing else to do, and the tests must not fail on one that has.
        Source: the second field of `schedstat` (kernel.org, scheduler/sched-stats).
        """
        try:
            return int(Path(f"/proc/{self.process.pid}/schedstat").read_text().split()[1]) / 1e9
        except (OSError, IndexError):
            return 0.0

    async def _has(self, path: str, status: int) -> bool:
        try:
            return await self.get(path) == status
        except OSError:
            return False


async def until(holds: Callable[[], Awaitable[bool]], deadline_seconds: float) -> float:
    """Waits until something holds; seconds that it took."""
    started = time.monotonic()
    async with asyncio.timeout(deadline_seconds):
        while not await holds():  # noqa: ASYNC110  # what is waited for happens in another process
            await asyncio.sleep(0.005)
    return time.monotonic() - started


@asynccontextmanager
async def running(directory: Path, database: str, redis: str, **more: str) -> AsyncIterator[Instance]:
    """Starts a subject; it may not listen yet. Kills it at the end if it still runs."""
    ports = Ports()
    address = ports.take()
    environment = {
        "LISTEN": str(address),
        "DATABASE_URL": database,
        "REDIS_URL": redis,
        "LOG_DIR": str(directory),
        "ENVIRONMENT": "lane-01",
        "INSTANCE_ID": "cp-1",
        **more,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "harness.stack.subject", env=environment, stderr=asyncio.subprocess.PIPE
    )
    # Sessions of IP addresses are kept too: everything here is on loopback.
    async with ClientSession(cookie_jar=CookieJar(unsafe=True), timeout=ClientTimeout(5)) as browser:
        try:
            yield Instance(process, browser, address, directory)
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()
            ports.close()


@pytest.fixture
def nowhere() -> Address:
    """An address where nobody listens."""
    ports = Ports()
    address = ports.take()
    ports.close()
    return address


@asynccontextmanager
async def mute_server() -> AsyncIterator[Address]:
    """A server that accepts and never speaks."""
    held = []

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held.append(writer)
        await reader.read()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield Address(*server.sockets[0].getsockname())
    finally:
        server.close()
        for writer in held:
            writer.close()


def urls(database: Address, redis: Address) -> tuple[str, str]:
    """DATABASE_URL and REDIS_URL."""
    return f"mysql://app:secret@{database}/app", f"redis://{redis}/0"


async def start_seconds(directory: Path, nowhere: Address, **more: str) -> float:
    """The fastest of three starts, from the process's creation to its first 200 at /health, less waits for a core."""
    taken = []
    for _ in range(3):
        started = time.monotonic()
        async with running(directory, *urls(nowhere, nowhere), **more) as subject:
            await subject.becomes("/health", 200)
            taken.append(time.monotonic() - started - subject.waited_for_core())
    return min(taken)


async def test_it_serves_within_eight_tenths_of_a_second(tmp_path: Path, nowhere: Address) -> None:
    """Import time is start-up time, and every lane pays it."""
    assert await start_seconds(tmp_path, nowhere) <= START_SECONDS


async def test_a_slow_import_would_be_noticed(tmp_path: Path, nowhere: Address) -> None:
    """The twin: with an import that takes as long as the limit, the same measurement is above it."""
    (tmp_path / "sitecustomize.py").write_text(f"import select\nselect.select([], [], [], {START_SECONDS})\n")
    assert await start_seconds(tmp_path, nowhere, PYTHONPATH=str(tmp_path)) > START_SECONDS


async def test_without_database_and_redis_it_lives_and_says_503(tmp_path: Path, nowhere: Address) -> None:
    """Refused connections are answered at once, and liveness is not readiness."""
    async with running(tmp_path, *urls(nowhere, nowhere)) as subject:
        await subject.becomes("/health", 200)
        started = time.monotonic()
        assert await subject.get("/api/posts") == 503
        assert await subject.get("/api/posts/1") == 503
        assert await subject.get("/ready") == 503
        assert time.monotonic() - started < ANSWER_SECONDS
        assert await subject.post("/api/posts", POST) == 401


@pytest.mark.nightly  # a bound of seconds, and only the night has the machine to itself
async def test_a_database_that_never_speaks_costs_four_seconds_at_most(tmp_path: Path) -> None:
    """Eight requests at once, twice as many as connections: all are 503 in time, and the process still ends in time."""
    async with mute_server() as mute, running(tmp_path, *urls(mute, mute)) as subject:
        await subject.becomes("/health", 200)

        async def timed(path: str) -> tuple[int, bool]:
            started = time.monotonic()
            return await subject.get(path), time.monotonic() - started < ANSWER_SECONDS

        paths = ["/api/posts", "/api/posts/1"] * 4
        assert await asyncio.gather(*map(timed, paths)) == [(503, True)] * 8
        assert await subject.get("/health") == 200
        under_way = asyncio.create_task(subject.get("/api/posts"))
        await until(lambda: _started(under_way), 1)
        seconds = await subject.stop()
        await asyncio.gather(under_way, return_exceptions=True)
        assert seconds <= STOP_SECONDS


async def _started(task: asyncio.Task[int]) -> bool:
    # A request of ours is under way once its task waits for an answer; two turns of the loop send it.
    await asyncio.sleep(0.02)
    return not task.done()


async def test_an_address_that_is_taken_is_a_sentence(tmp_path: Path, nowhere: Address) -> None:
    """Exit code 4 and where; no traceback."""
    async with mute_server() as mute, running(tmp_path, *urls(nowhere, nowhere), LISTEN=str(mute)) as subject:
        _, told = await subject.process.communicate()
        assert subject.process.returncode == 4
        assert told.decode().startswith(f"The subject cannot listen on {mute}\n")
        assert b"Traceback" not in told


async def test_a_wrong_environment_is_a_sentence(tmp_path: Path, nowhere: Address) -> None:
    """Exit code 2 and which variable; no traceback."""
    async with running(tmp_path, "mysql://nobody", f"redis://{nowhere}/0") as subject:
        _, told = await subject.process.communicate()
        assert subject.process.returncode == 2
        assert told.decode().startswith("DATABASE_URL does not name a database\n")
        assert b"Traceback" not in told


@dataclass
class Back:
    """Real MariaDB and Redis, the database behind a relay."""

    relay: Relay
    redis: Address
    mariadb: Running
    secrets: Mapping[str, str]
    direct: Address

    @property
    def urls(self) -> tuple[str, str]:
        """DATABASE_URL, through the relay, and REDIS_URL."""
        account = f"{self.secrets['mysql_user']}:{self.secrets['mysql_password']}"
        return f"mysql://{account}@{self.relay.address}/{self.secrets['mysql_database']}", f"redis://{self.redis}/0"

    async def sql(self, statement: str) -> list[tuple[object, ...]]:
        """Runs a statement, past the relay."""
        async with self._cursor() as cursor:
            await cursor.execute(statement)
            return list(await cursor.fetchall())

    @asynccontextmanager
    async def locked(self, table: str) -> AsyncIterator[None]:
        """While this lasts somebody else has the table."""
        async with self._cursor() as cursor:
            await cursor.execute(f"LOCK TABLES {table} WRITE")
            yield

    @asynccontextmanager
    async def _cursor(self) -> AsyncIterator[aiomysql.Cursor]:
        connection = await aiomysql.connect(
            host=self.direct.host,
            port=self.direct.port,
            user=self.secrets["mysql_user"],
            password=self.secrets["mysql_password"],
            db=self.secrets["mysql_database"],
            autocommit=True,
        )
        try:
            async with connection.cursor() as cursor:
                yield cursor
        finally:
            connection.close()


@pytest.fixture
async def back(tmp_path: Path, cache: Path, artifacts: Mapping[str, Artifact]) -> AsyncIterator[Back]:
    """One lane's MariaDB and Redis, as the stack starts them."""
    ports = Ports()
    secrets = MariaDB().credentials()
    async with Guard.open(f"test-subject-{os.getpid()}", cache) as guard:
        runtime = ProcessRuntime(guard)
        started = {}
        for component in (MariaDB(), Redis()):
            site = Site(
                run=guard.run,
                component=ComponentPolicy(
                    component.kind, component.kind, (), None, True, Span("drills.yaml", 1, 1, 1, 1)
                ),
                lane="lane-01",
                address=ports.take(),
                data=guard.sandbox / component.kind,
                log=tmp_path / f"{component.kind}.log",
                cache=cache,
                project=tmp_path,
                artifact=artifacts[component.artifact],
                secrets=secrets,
            )
            site.data.mkdir()
            await component.prepare(site)
            started[component.kind] = await runtime.start(component.launch(site))
            await until_ready(component, site, started[component.kind], 20)
        mariadb = started["mariadb"]
        relay = await Relay.open(mariadb.launch.address)
        yield Back(relay, started["redis"].launch.address, mariadb, secrets, mariadb.launch.address)
        await relay.close()
        await runtime.close()
    ports.close()


@pytest.mark.stack
async def test_it_recovers_by_itself_from_everything(tmp_path: Path, back: Back) -> None:
    """Database cut, hung, a table gone, Redis emptied: each is felt as it should be, and is over when it is over."""
    async with running(tmp_path / "logs", *back.urls) as subject:
        await subject.becomes("/ready", 200)
        assert await subject.post("/api/auth/register", ACCOUNT) == 201
        assert await subject.post("/api/auth/register", ACCOUNT) == 409
        assert await subject.post("/api/auth/login", ACCOUNT) == 200
        assert await subject.post("/api/posts", POST) == 201
        assert await subject.post("/api/posts/4/comments", {"body": "b"}) == 201
        assert await subject.post("/api/posts/99/comments", {"body": "b"}) == 404
        assert await subject.get("/api/posts/4/comments") == 200
        assert await back.sql("SELECT body FROM posts WHERE id = 4") == [(POST["body"],)]

        await back.relay.refuse()
        assert [await subject.get("/api/posts") for _ in range(5)] == [503] * 5
        await back.relay.restore()
        assert await subject.get("/api/posts") == 200

        await back.sql("RENAME TABLE posts TO posts_gone")
        assert await subject.get("/api/posts") == 500
        async with running(tmp_path / "second", *back.urls) as second:
            await second.becomes("/ready", 200)
            assert await second.get("/api/posts") == 500
        await back.sql("RENAME TABLE posts_gone TO posts")
        assert await subject.get("/api/posts") == 200

        await back.mariadb.signal(signal.SIGSTOP)
        await subject.becomes("/api/posts", 503)  # its threads do not stop at the instant of the signal
        started = time.monotonic()
        assert await subject.get("/api/posts") == 503
        assert time.monotonic() - started < ANSWER_SECONDS
        await back.mariadb.signal(signal.SIGCONT)
        assert await subject.becomes("/api/posts", 200) < ANSWER_SECONDS

        async with RedisClient(host=back.redis.host, port=back.redis.port) as redis:
            await redis.flushall()
        assert await subject.post("/api/posts", POST) == 401
        assert await subject.post("/api/auth/login", ACCOUNT) == 200
        assert await subject.post("/api/posts", POST) == 201
        assert await subject.stop() <= STOP_SECONDS
    errors = (tmp_path / "logs/error.log").read_text()
    assert "1146" in errors
    assert back.secrets["mysql_password"] not in errors


@pytest.mark.stack
async def test_a_lock_makes_answers_late_and_a_longer_one_makes_them_errors(tmp_path: Path, back: Back) -> None:
    """Two seconds are waited for, reading and writing; of a lock that does not end a statement gives up in time."""
    async with running(tmp_path / "logs", *back.urls) as subject:
        await subject.becomes("/ready", 200)
        assert await subject.post("/api/auth/register", ACCOUNT) == 201
        assert await subject.post("/api/auth/login", ACCOUNT) == 200
        for locked_seconds, read, written in ((2.0, 200, 201), (ANSWER_SECONDS, 503, 503)):
            async with back.locked("posts"):
                started = time.monotonic()
                under_way = asyncio.gather(subject.get("/api/posts"), subject.post("/api/posts", POST))
                await asyncio.wait({under_way}, timeout=locked_seconds)
                assert under_way.done() == (read == 503)
            assert list(await under_way) == [read, written]
            assert time.monotonic() - started >= 2


@pytest.mark.stack
async def test_tables_are_made_when_the_database_lets_us(tmp_path: Path, back: Back) -> None:
    """Started while the database refuses, ready soon after it does not; two instances seed the rows once."""
    await back.relay.refuse()
    async with running(tmp_path / "1", *back.urls) as one, running(tmp_path / "2", *back.urls) as two:
        await one.becomes("/health", 200)
        await two.becomes("/health", 200)
        assert await one.get("/ready") == 503
        await back.relay.restore()
        assert await one.becomes("/ready", 200) < ANSWER_SECONDS
        assert await two.becomes("/ready", 200) < ANSWER_SECONDS
        assert await back.sql("SELECT COUNT(*) FROM posts") == [(3,)]
        assert await one.post("/api/auth/login", {"name": "ada", "password": "!"}) == 401
