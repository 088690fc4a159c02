"""Requests announced before they are sent: in this process, and by Locust."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from aiohttp import web

from harness.drive.load.announced import HEADER, MANIFESTS, RUN, AnnouncedRequests
from harness.drive.load.locust import LocustLoad
from harness.model.records import Announced, announced_from
from harness.model.stack import Address
from harness.stack.guard import Guard
from harness.stack.ports import Ports
from harness.stack.runtimes.process import ProcessRuntime

COMMUNITY = Path(__file__).parents[2] / "loadtests/community.py"
IMPATIENT = f"""
import sys
sys.path.insert(0, {str(COMMUNITY.parent)!r})
import community
from community import Member
Member.network_timeout = 0.5
"""


def announced(folder: Path, lane: str) -> list[Announced]:
    """What a lane's manifest says."""
    path = folder / f"nginx-access.{lane}.1.tsv"
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    return [found for found in map(announced_from, lines) if found is not None]


def withdrawn(folder: Path, lane: str) -> tuple[set[str], set[str]]:
    """The identities that a lane announced, and those that it took back."""
    told = announced(folder, lane)
    return {one.identity for one in told if not one.is_withdrawal}, {one.identity for one in told if one.is_withdrawal}


@pytest.mark.parametrize(
    ("status", "error", "taken_back"),
    [
        (200, None, False),
        (503, None, False),
        (0, TimeoutError(), False),
        (0, ConnectionRefusedError(), True),
        (0, ConnectionResetError(), True),
    ],
)
def test_what_nginx_cannot_know_is_withdrawn(
    tmp_path: Path, status: int, error: Exception | None, taken_back: bool
) -> None:
    """An answer, or the lack of one in time, is in its log; a connection that was refused is not."""
    with AnnouncedRequests(tmp_path, "run").request("a") as request:
        assert request.headers == {HEADER: "run/nginx-access.a.1/1"}
        assert [one.identity for one in announced(tmp_path, "a")] == ["run/nginx-access.a.1/1"]
        request.ended(status, error)
    names, back = withdrawn(tmp_path, "a")
    assert back == (names if taken_back else set())


def test_a_request_that_breaks_off_is_withdrawn(tmp_path: Path) -> None:
    """The end of the load, in the middle of it."""
    with pytest.raises(KeyboardInterrupt), AnnouncedRequests(tmp_path, "run").request("a"):
        raise KeyboardInterrupt
    assert withdrawn(tmp_path, "a")[1] == {"run/nginx-access.a.1/1"}


def test_without_a_folder_nothing_is_announced(tmp_path: Path) -> None:
    """By hand, and where no nginx stands before the application; a folder without a run is a mistake."""
    with AnnouncedRequests.from_environment({}).request("a") as request:
        assert request.headers == {}
    with pytest.raises(ValueError, match=f"{RUN} is not"):
        AnnouncedRequests.from_environment({MANIFESTS: str(tmp_path)})
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_announced_is_not_sent(tmp_path: Path) -> None:
    """A folder that cannot be made: an error before the request."""
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="directory"), AnnouncedRequests(tmp_path / "file" / "m", "run").request("a"):
        raise AssertionError("it was sent")


async def test_a_load_announces_every_request_and_takes_back_what_reached_nobody(tmp_path: Path) -> None:
    """Three lanes: one answers, one refuses, one never answers; what came is what stands announced."""
    came: Counter[str] = Counter()

    async def answer(request: web.Request) -> web.Response:
        came[request.headers.get(HEADER, "nobody")] += 1
        return web.json_response({"posts": []})

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with AsyncExitStack() as leaving:
        guard = await leaving.enter_async_context(Guard.open(f"test-announced-{os.getpid()}", tmp_path / "cache"))
        runtime, ports = ProcessRuntime(guard), Ports()
        leaving.push_async_callback(runtime.close)
        leaving.callback(ports.close)
        app = web.Application()
        app.router.add_route("*", "/{rest:.*}", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        leaving.push_async_callback(runner.cleanup)
        answers, refuses, hangs = ports.take(), ports.take(), ports.take()
        await web.TCPSite(runner, answers.host, answers.port, reuse_address=True).start()
        server = await asyncio.start_server(hang, hangs.host, hangs.port, reuse_address=True)
        leaving.callback(server.close)
        lanes: Mapping[str, Address] = {"answers": answers, "refuses": refuses, "hangs": hangs}
        (tmp_path / "own.py").write_text(IMPATIENT)
        load = LocustLoad()
        await load.start(
            runtime, lanes, locustfile=tmp_path / "own.py", users_per_lane=2, samples=tmp_path / "samples",
            log=tmp_path / "log", directory=tmp_path / "locust", announcing=(tmp_path / "m", "run"),
        )  # fmt: skip
        async with asyncio.timeout(60):
            while not all(len(announced(tmp_path / "m", lane)) > 8 for lane in lanes):
                assert load.alive, (tmp_path / "log").read_text()
                await asyncio.sleep(0.05)
        await load.stop()
    names, back = withdrawn(tmp_path / "m", "answers")
    assert set(came) <= names
    assert all(name.startswith("run/nginx-access.answers.1/") for name in names)
    assert names - back <= set(came)
    assert max(came.values()) == 1
    names, back = withdrawn(tmp_path / "m", "refuses")
    assert names == back
    names, back = withdrawn(tmp_path / "m", "hangs")
    assert len(back) <= 2  # those of the two users that were under way at the end
    assert len(names) > 4
