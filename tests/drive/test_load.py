"""Raw samples and what they say; Locust as a subprocess against applications in memory."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from hypothesis import given
from hypothesis import strategies as st

from harness.drive.load.locust import LocustLoad
from harness.drive.load.samples import Sample, SampleReader, measure, quantile, read_samples
from harness.errors import ComponentDied, HarnessError, NotReady, UsageError
from harness.model.stack import Address
from harness.stack.guard import Guard
from harness.stack.runtimes.process import ProcessRuntime
from harness.stack.subject.app import Parts, build
from harness.stack.subject.domain import Unavailable
from harness.stack.subject.logs import Journal
from harness.stack.subject.memory import MemoryPostCache, MemorySessions, MemoryStore
from harness.stack.subject.metrics import Metrics

COMMUNITY = Path(__file__).parents[2] / "loadtests/community.py"
OF_COMMUNITY = f"""
import sys
sys.path.insert(0, {str(COMMUNITY.parent)!r})
import community
from community import Member
"""
FLOWING_SECONDS = 30.0


def line(lane: str = "lane-01", seconds: object = 0.01, error: str | None = None, **more: object) -> bytes:
    """A line as a locustfile writes it."""
    sample = {
        "intended_at": 100.0, "started_at": 100.5, "seconds": seconds, "lane": lane, "method": "GET",
        "name": "/api/posts", "status": 503 if error else 200, "error": error, **more,
    }  # fmt: skip
    return json.dumps(sample).encode() + b"\n"


@pytest.mark.parametrize(
    ("count", "q", "expected"),
    [(1, 0.5, 1), (2, 0.5, 1), (3, 0.5, 2), (20, 0.95, 19), (21, 0.95, 20), (100, 0.55, 55), (10, 1, 10)],
)
def test_a_quantile_is_the_value_of_its_rank(count: int, q: float, expected: int) -> None:
    """Rank ceil(q n), in whatever order the values come; 0.55 of 100 is the 55th and not, by rounding, the 56th."""
    assert quantile([float(value) for value in range(count, 0, -1)], q) == expected


@given(st.lists(st.floats(allow_nan=False), min_size=1), st.floats(0.001, 1))
def test_a_quantile_was_measured(values: list[float], q: float) -> None:
    """Never a value between two: at least the share q of the sample is at or below it, and less is below it."""
    found = quantile(values, q)
    assert found in values
    assert sum(value <= found for value in values) >= q * len(values) - 1e-6
    assert sum(value < found for value in values) < q * len(values) + 1e-6


@pytest.mark.parametrize(("values", "q"), [([], 0.5), ([1.0], 0.0), ([1.0], 1.1)])
def test_there_is_no_quantile_of_nothing(values: list[float], q: float) -> None:
    """Nothing measured, or no quantile: an error instead of a number."""
    with pytest.raises(ValueError, match="no quantile"):
        quantile(values, q)


def test_samples_are_whole_wherever_the_file_was_cut() -> None:
    """Two pieces, cut at any byte, give what one piece gives; what is unfinished is known."""
    data = line(name="/글") + line("lane-02", error="HTTP 503")
    whole = read_samples(data)
    assert [sample.lane for sample in whole] == ["lane-01", "lane-02"]
    for cut in range(len(data)):
        reader = SampleReader()
        assert reader.feed(data[:cut]) + reader.feed(data[cut:]) == whole
        assert reader.unfinished == b""


def test_a_half_written_last_line_is_left_out() -> None:
    """A writer that was killed leaves one; everything before it counts."""
    reader = SampleReader()
    assert len(reader.feed(line() + line()[:20])) == 1
    assert reader.unfinished == line()[:20]


@pytest.mark.parametrize("broken", [b"\n", b"{}\n", b"[1]\n", b'{"lane": \n', line(seconds="soon"), b"\xff\n"])
def test_a_broken_line_in_the_middle_is_an_error(broken: bytes) -> None:
    """It is named by its number, never skipped: a lost sample would be a better figure."""
    with pytest.raises(HarnessError, match="Line 2 of the load's samples"):
        read_samples(line() + broken + line())


def test_load_is_measured_from_its_samples() -> None:
    """Requests, failures, order statistics and lanes; where there was no request, no time keeps a limit."""
    data = b"".join(line(f"lane-0{number % 2}", seconds=number / 100) for number in range(1, 101))
    measured = measure(read_samples(data + line("lane-07", seconds=9, error="HTTP 503")))
    assert (measured.requests, measured.failures) == (101, 1)
    assert (measured.p50_seconds, measured.p95_seconds, measured.max_seconds) == (0.51, 0.96, 9)
    assert measured.by_lane == {"lane-00": 50, "lane-01": 50, "lane-07": 1}
    assert measured.longest_gap_seconds.keys() == measured.by_lane.keys()
    nothing = measure([])
    assert (nothing.requests, nothing.p95_seconds <= 1e9, nothing.max_seconds <= 1e9) == (0, False, False)


def test_the_longest_gap_of_a_lane_is_told() -> None:
    """From the lane's first request to the end: between two, while nothing but one waits, and after the last one."""

    def sample(lane: str, started: float, seconds: float) -> Sample:
        return Sample(started, started, seconds, lane, "GET", "/", 200, None)

    samples = [sample("a", 10, 1), sample("a", 14, 1), sample("b", 12, 1), sample("b", 13, 8)]
    assert measure(samples).longest_gap_seconds == {"a": 6, "b": 8}
    assert measure(samples, until=40.0).longest_gap_seconds == {"a": 25, "b": 19}
    assert measure(samples, until=21.0).longest_gap_seconds == {"a": 6, "b": 8}
    assert measure([sample("a", 1, 0)]).longest_gap_seconds == {"a": 0}


@dataclass
class Application:
    """The subject over stores in memory, in this process; `open` is cleared to let it stall."""

    directory: Path
    store: MemoryStore = field(default_factory=MemoryStore)
    sessions: MemorySessions = field(default_factory=MemorySessions)
    open: asyncio.Event = field(default_factory=asyncio.Event)
    address: Address = field(init=False)

    async def serve(self, leaving: AsyncExitStack) -> Address:
        """Serves on a free port."""
        self.open.set()
        metrics = Metrics(environment="lane", instance="cp", heap_limit_bytes=1)
        journal = leaving.enter_context(Journal(self.directory, metrics.log_line_lost))
        app = build(Parts(self.store, self.sessions, MemoryPostCache(), metrics, journal, "lane", "cp"))

        @web.middleware
        async def gate(
            request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
        ) -> web.StreamResponse:
            await self.open.wait()
            return await handler(request)

        app.middlewares.append(gate)
        server = TestServer(app)
        await server.start_server()
        leaving.push_async_callback(server.close)
        assert server.port is not None
        self.address = Address("127.0.0.1", server.port)
        return self.address


@dataclass
class Bench:
    """Two lanes, a runtime, and a load that is ended whatever happens."""

    directory: Path
    runtime: ProcessRuntime
    applications: Mapping[str, Application]
    load: LocustLoad = field(default_factory=LocustLoad)

    @property
    def lanes(self) -> dict[str, Address]:
        """The lanes with their addresses."""
        return {name: application.address for name, application in self.applications.items()}

    async def start(
        self, locustfile: Path = COMMUNITY, lanes: Mapping[str, Address] | None = None, users_per_lane: int = 3
    ) -> None:
        """Starts the load."""
        await self.load.start(
            self.runtime,
            lanes or self.lanes,
            locustfile=locustfile,
            users_per_lane=users_per_lane,
            samples=self.directory / "samples.jsonl",
            log=self.directory / "logs/locust.log",
            directory=self.directory / "locust",
        )

    def samples(self) -> list[Sample]:
        """What was written so far."""
        return read_samples((self.directory / "samples.jsonl").read_bytes())

    async def until(self, holds: Callable[[list[Sample]], bool], deadline_seconds: float = 15) -> list[Sample]:
        """Waits until the samples so far have a property."""
        async with asyncio.timeout(deadline_seconds):
            while not holds(self.samples()):  # noqa: ASYNC110  # another process writes them
                await asyncio.sleep(0.05)
        return self.samples()

    def locustfile(self, text: str) -> Path:
        """A locustfile of the test's own."""
        path = self.directory / "own.py"
        path.write_text(text)
        return path


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    """Two applications that serve."""
    async with AsyncExitStack() as leaving:
        guard = await leaving.enter_async_context(Guard.open(f"test-load-{os.getpid()}", tmp_path / "cache"))
        applications = {}
        for lane in ("lane-01", "lane-02"):
            applications[lane] = Application(tmp_path / lane)
            await applications[lane].serve(leaving)
        runtime = ProcessRuntime(guard)
        leaving.push_async_callback(runtime.close)
        yield Bench(tmp_path, runtime, applications)


async def test_load_reaches_every_lane_at_its_pace(bench: Bench) -> None:
    """Five users give a lane more than 6 requests/s, of every kind, on time, without failures, in whole lines."""
    await bench.start(users_per_lane=5)
    await bench.load.flowing(FLOWING_SECONDS, minimum=10)
    began = time.time()
    samples = await bench.until(lambda samples: samples[-1].intended_at > began + 3)
    counted = Counter(sample.lane for sample in samples if began <= sample.intended_at < began + 3)
    assert sum(counted.values()) >= 2 * 6 * 3
    alive = bench.load.alive
    measured = await bench.load.stop()
    assert (alive, bench.load.alive) == (True, False)
    assert await bench.load.stop() == measured

    data = (bench.directory / "samples.jsonl").read_bytes()
    assert data.endswith(b"\n")
    again = measure(read_samples(data))
    assert replace(measured, longest_gap_seconds={}) == replace(again, longest_gap_seconds={})
    assert max(measured.longest_gap_seconds.values()) < 5
    assert (measured.failures, set(measured.by_lane)) == (0, {"lane-01", "lane-02"})
    assert min(measured.by_lane.values()) > 0.5 * max(measured.by_lane.values())
    assert {(sample.method, sample.name) for sample in bench.samples()} >= {
        ("GET", "/api/posts"),
        ("GET", "/api/posts/{id}"),
        ("GET", "/api/posts/{id}/comments"),
        ("POST", "/api/auth/register"),
        ("POST", "/api/auth/login"),
    }
    delays = [sample.started_at - sample.intended_at for sample in bench.samples()]
    assert quantile(delays, 0.5) < 0.1
    assert list((bench.directory / "locust").iterdir()) == []


async def test_users_outlive_errors_and_lost_sessions(bench: Bench) -> None:
    """A database that fails for a while, and sessions that are gone: failures are samples, then all is well again."""
    failing = bench.applications["lane-01"]
    # Only writers: who logs out and in by habit would hide that a lost session is noticed.
    await bench.start(bench.locustfile(f"{OF_COMMUNITY}Member.tasks = [Member.write]\n"))
    await bench.load.flowing(FLOWING_SECONDS, minimum=10)
    failing.store.failure = Unavailable("refused", code="2003")
    await bench.until(lambda samples: sum(sample.status == 503 for sample in samples) >= 5)
    failing.store.failure = None
    failing.sessions.open_sessions.clear()
    lost_at = time.time()
    samples = await bench.until(
        lambda samples: any(
            sample.lane == "lane-01" and sample.name == "/api/auth/login" and sample.status == 200
            for sample in samples
            if sample.started_at > lost_at
        )
    )
    assert {sample.lane for sample in samples if sample.status == 503} == {"lane-01"}
    assert all(sample.error == "HTTP 503" for sample in samples if sample.status == 503)
    measured = await bench.load.stop()
    assert measured.failures >= 5
    assert "Traceback" not in (bench.directory / "logs/locust.log").read_text()


async def test_a_stall_is_charged_from_the_intended_start(bench: Bench) -> None:
    """Who would have come during a stall waited too, also who could not even be sent.

    The other lane is the twin: it does not stall and none of its samples is late.
    """
    stalled = bench.applications["lane-01"]
    own = bench.locustfile(f"{OF_COMMUNITY}community.LATEST_SECONDS = 0.8\n")
    await bench.start(own)
    await bench.load.flowing(FLOWING_SECONDS, minimum=5)
    stalled.open.clear()
    began = time.time()
    await bench.until(lambda samples: samples[-1].intended_at > began + 2)
    stalled.open.set()
    ended = time.time()
    samples = await bench.until(lambda samples: samples[-1].intended_at > ended + 1.5)
    await bench.load.stop()
    waited = [sample for sample in samples if sample.status and sample.started_at - sample.intended_at > 0.3]
    assert {sample.lane for sample in waited} == {"lane-01"}
    assert all(sample.seconds > sample.started_at - sample.intended_at - 0.001 for sample in waited)
    unsent = [sample for sample in samples if sample.error and sample.error.startswith("NotSent")]
    assert unsent
    assert {(sample.lane, sample.status) for sample in unsent} == {("lane-01", 0)}
    assert max(sample.seconds for sample in samples if sample.lane == "lane-02") < 0.8


async def test_a_lane_that_is_not_reached_is_named(bench: Bench, unused: Address) -> None:
    """Requests without answers are no load: the lane, its requests and the reason stand in the error."""
    await bench.start(lanes={"lane-01": bench.lanes["lane-01"], "lane-09": unused})
    with pytest.raises(NotReady) as raised:
        await bench.load.flowing(4, minimum=2)
    assert "lane-09: 0 of " in str(raised.value)
    assert "(last: ConnectionRefusedError)" in str(raised.value)
    measured = await bench.load.stop()
    assert 0 < measured.failures < measured.requests


@pytest.fixture
def unused(bench: Bench) -> Address:
    """An address where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return Address(*probe.getsockname())


async def test_load_that_ends_by_itself_is_an_error(bench: Bench) -> None:
    """Stopping what had died is not a quiet end: the run was without load."""
    await bench.start(users_per_lane=1)
    await bench.load.flowing(FLOWING_SECONDS)
    pid = int((await _children())[0])
    os.kill(pid, signal.SIGKILL)
    async with asyncio.timeout(5):
        while bench.load.alive:  # noqa: ASYNC110  # another process ends
            await asyncio.sleep(0.02)
    with pytest.raises(ComponentDied, match="ended by itself with code -9"):
        await bench.load.stop()
    assert (await bench.load.stop()).requests >= 2


async def _children() -> list[str]:
    """Processes of ours that run Locust."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            parent = (folder / "stat").read_text().rpartition(")")[2].split()[1]
            if parent == str(os.getpid()) and b"\0locust\0" in (folder / "cmdline").read_bytes():
                found.append(folder.name)
        except OSError:
            continue
    return found


async def test_a_locustfile_that_is_not_there_or_no_python_is_a_sentence(bench: Bench) -> None:
    """Told before anything is started, with the line."""
    with pytest.raises(UsageError, match="cannot be read"):
        await bench.start(bench.directory / "missing.py")
    with pytest.raises(UsageError, match="cannot be read"):
        await bench.start(bench.directory)
    with pytest.raises(UsageError, match=r"own\.py:2"):
        await bench.start(bench.locustfile("import os\ndef broken(:\n"))
    with pytest.raises(UsageError, match="0 users"):
        await bench.start(users_per_lane=0)
    assert await _children() == []


@pytest.mark.parametrize(
    ("text", "kind", "told"),
    [
        ("import locust\n\nboom = undefined\n", UsageError, r"own\.py:3"),
        ("import os\n", NotReady, "No User class found"),
        ("import sys\nsys.exit('TOCSIN_LANES is not JSON')\n", NotReady, "seen: TOCSIN_LANES is not JSON"),
    ],
)
async def test_a_locustfile_that_does_not_run_is_a_sentence(
    bench: Bench, text: str, kind: type[HarnessError], told: str
) -> None:
    """Where it went wrong and what was said, without a traceback."""
    await bench.start(bench.locustfile(text))
    with pytest.raises(kind, match=told) as raised:
        await bench.load.flowing(FLOWING_SECONDS)
    assert "Traceback" not in str(raised.value)


async def test_locust_gets_no_more_than_it_needs(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret of ours and a home with somebody's settings do not reach it; PATH does."""
    monkeypatch.setenv("SECRET_TOKEN", "hunter2")
    await bench.start(bench.locustfile("import json, os, sys\nsys.exit(json.dumps(dict(os.environ)))\n"))
    with pytest.raises(NotReady) as raised:
        await bench.load.flowing(FLOWING_SECONDS)
    assert raised.value.seen is not None
    environment = json.loads(raised.value.seen)
    assert (environment["PATH"], "SECRET_TOKEN" in environment) == (os.environ["PATH"], False)
    assert environment["HOME"] == str(bench.directory / "locust")


async def test_the_journeys_work_by_hand(bench: Bench) -> None:
    """Without any variable of ours, against one host: people register there, and Locust ends when it is asked to."""
    host = f"http://{bench.lanes['lane-01']}"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "locust", "-f", str(COMMUNITY), "--host", host, "--headless", "-u", "8", "-r", "8",
        env={"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"},
        cwd=bench.directory,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        async with asyncio.timeout(60):
            while not bench.applications["lane-01"].store.users:
                assert process.returncode is None
                await asyncio.sleep(0.05)
    finally:
        if process.returncode is None:
            process.terminate()
    assert await process.wait() == 0


def test_driving_locust_does_not_import_it() -> None:
    """Importing it would patch this whole process."""
    assert "harness.drive.load.locust" in sys.modules
    assert "gevent" not in sys.modules
