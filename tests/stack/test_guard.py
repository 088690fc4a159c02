"""Nothing outlives the harness."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from stack_doubles import until

from harness.errors import CacheError, StackError
from harness.stack import guardian
from harness.stack.guard import RUN_VARIABLE, Guard, abandoned

SLEEPER = "import signal\nwhile True: signal.pause()"


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Processes that a test started, ended after it."""
    processes: list[subprocess.Popen[bytes]] = []
    yield processes
    for process in processes:
        process.kill()
        process.wait()


def sleeper(started: list[subprocess.Popen[bytes]], environment: dict[str, str] | None = None) -> int:
    """A process that waits for ever, in its own session."""
    env = {"PATH": "/usr/bin:/bin", **(environment or {})}
    started.append(subprocess.Popen([sys.executable, "-S", "-c", SLEEPER], env=env, start_new_session=True))
    pid = started[-1].pid
    deadline = time.monotonic() + 5
    # The kernel closes what Popen waits for before the new program's environment can be read.
    while not Path(f"/proc/{pid}/environ").read_bytes() and time.monotonic() < deadline:
        time.sleep(0.001)
    return pid


def ended(process: subprocess.Popen[bytes], within_seconds: float = 2.0) -> bool:
    """Whether a child of ours ended."""
    try:
        process.wait(within_seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


async def test_closing_ends_what_was_registered(tmp_path: Path, started: list[subprocess.Popen[bytes]]) -> None:
    """A registered process does not outlive an orderly close, although nothing marks it."""
    guard = Guard.open("run-1", tmp_path)
    guard.register(sleeper(started))
    await guard.close()
    assert ended(started[0])


async def test_closing_ends_what_carries_the_mark(tmp_path: Path, started: list[subprocess.Popen[bytes]]) -> None:
    """A process that nobody registered is found by the run's mark in its environment, in its own session too."""
    guard = Guard.open("run-1", tmp_path)
    sleeper(started, dict(guard.environment))
    await guard.close()
    assert ended(started[0])


async def test_other_runs_are_left_alone(tmp_path: Path, started: list[subprocess.Popen[bytes]]) -> None:
    """A process of another run whose id begins alike, and one that was forgotten, stay."""
    guard = Guard.open("run-1", tmp_path)
    sleeper(started, {RUN_VARIABLE: "run-12"})
    forgotten = sleeper(started)
    guard.register(forgotten)
    guard.forget(forgotten)
    await guard.close()
    assert not ended(started[0], 0.05)
    assert not ended(started[1], 0.05)


def test_a_reused_pid_is_left_alone(tmp_path: Path, started: list[subprocess.Popen[bytes]]) -> None:
    """A process is known by its start time as well: another one under the same number is not ours to end."""
    pid = sleeper(started)
    start = guardian.start_time(pid)
    assert start is not None
    guardian.clear("run-1", {pid: start - 1}, str(tmp_path / "none"), str(tmp_path / "none.lock"), 0.0)
    assert not ended(started[0], 0.05)
    guardian.clear("run-1", {pid: start}, str(tmp_path / "none"), str(tmp_path / "none.lock"), 0.0)
    assert ended(started[0])


async def test_the_sandbox_is_there_and_then_gone(tmp_path: Path) -> None:
    """The sandbox is a private folder while the guard is open; afterwards nothing of it is left."""
    async with Guard.open("run-1", tmp_path) as guard:
        assert guard.sandbox.stat().st_mode & 0o777 == 0o700
        (guard.sandbox / "deep" / "er").mkdir(parents=True)
        (guard.sandbox / "deep" / "er" / "file").write_text("x")
        (guard.sandbox / "loop").symlink_to(guard.sandbox)
        (guard.sandbox / "outside").symlink_to(tmp_path)
    assert list((tmp_path / "sandboxes").iterdir()) == []
    await guard.close()


async def test_signals_of_a_terminal_do_not_reach_it(tmp_path: Path, started: list[subprocess.Popen[bytes]]) -> None:
    """Ctrl-C goes to the terminal's session, which is not the guardian's; SIGINT and SIGTERM do not end it."""
    guard = Guard.open("run-1", tmp_path)
    assert os.getsid(guard.pid) == guard.pid != os.getsid(0)
    # It ignores signals from the moment at which it listens, and it listens when it took a message.
    guard.register(sleeper(started))
    await until(lambda: ignores(guard.pid, signal.SIGTERM))
    os.kill(guard.pid, signal.SIGINT)
    os.kill(guard.pid, signal.SIGTERM)
    await guard.close()
    assert ended(started[0])


def ignores(pid: int, number: int) -> bool:
    """Whether a process ignores a signal (the mask `SigIgn` in proc(5))."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    mask = next(int(line.split()[1], 16) for line in lines if line.startswith("SigIgn"))
    return bool(mask & 1 << (number - 1))


async def test_a_dead_guardian_is_noticed(tmp_path: Path, started: list[subprocess.Popen[bytes]]) -> None:
    """Where the guardian was killed nothing may be started any more: registering says so."""
    guard = Guard.open("run-1", tmp_path)
    os.kill(guard.pid, signal.SIGKILL)
    pid = sleeper(started)
    # The kernel tells once the guardian is a zombie; before that the pipe takes what is written.
    await until(lambda: guardian.start_time(guard.pid) is None)
    with pytest.raises(StackError, match="guard of this run is gone"):
        guard.register(pid)
    await guard.close()
    assert not guard.sandbox.exists()


async def test_two_living_runs_cannot_share_an_id(tmp_path: Path) -> None:
    """The second run of the same id is refused while the first one lives, and its sandbox stays."""
    async with Guard.open("run-1", tmp_path) as guard:
        with pytest.raises(CacheError, match="belongs to a run that is alive"):
            Guard.open("run-1", tmp_path)
        assert guard.sandbox.is_dir()


async def test_the_sweep_takes_dead_runs_only(tmp_path: Path, started: list[subprocess.Popen[bytes]]) -> None:
    """What a machine that went down left is removed at the next start, its processes too; a living run's stays."""
    async with Guard.open("alive", tmp_path) as alive:
        dead = tmp_path / "sandboxes" / "dead"
        (dead / "mysql").mkdir(parents=True)
        (tmp_path / "sandboxes" / "dead.lock").touch()
        (tmp_path / "sandboxes" / "without-lock").mkdir()
        sleeper(started, {RUN_VARIABLE: "dead"})
        with abandoned(tmp_path) as left:
            assert [one.run for one in left] == ["dead", "without-lock"]
            assert dead.is_dir(), "whoever wants to look into it can"
        assert alive.sandbox.is_dir()
        assert {path.name for path in (tmp_path / "sandboxes").iterdir()} == {"alive", "alive.lock"}
        assert ended(started[0])


async def test_what_is_spared_is_left_and_its_processes_are_not(
    tmp_path: Path, started: list[subprocess.Popen[bytes]]
) -> None:
    """A dead run's folder that somebody still needs stays for the next sweep; what ran in it is ended all the same."""
    (tmp_path / "sandboxes" / "dead").mkdir(parents=True)
    sleeper(started, {RUN_VARIABLE: "dead"})
    with abandoned(tmp_path) as left:
        left[0].spared = True
    assert (tmp_path / "sandboxes" / "dead").is_dir()
    assert ended(started[0])
    with abandoned(tmp_path) as left:
        assert [one.run for one in left] == ["dead"]
    assert list((tmp_path / "sandboxes").iterdir()) == []


async def test_nobody_else_sweeps_what_is_looked_into(tmp_path: Path) -> None:
    """While one run looks into a dead one's sandbox, another neither sees nor removes it; nor after a failed look."""
    (tmp_path / "sandboxes" / "dead").mkdir(parents=True)
    with suppress(StackError), abandoned(tmp_path) as mine:
        with abandoned(tmp_path) as others:
            assert (len(mine), others) == (1, ())
        raise StackError("it could not look")
    assert (tmp_path / "sandboxes" / "dead").is_dir()


def test_where_nothing_was_left_nothing_is_swept(tmp_path: Path) -> None:
    """A cache without sandboxes is not touched."""
    with abandoned(tmp_path / "cache") as left:
        assert left == ()
    assert not (tmp_path / "cache").exists()


def test_a_cache_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    """A file where the cache should be is reported as what it is."""
    (tmp_path / "cache").write_text("not a folder")
    with pytest.raises(CacheError, match="sandbox cannot be made"):
        Guard.open("run-1", tmp_path / "cache")


HARNESS = """
import asyncio, os, sys
from pathlib import Path
sys.path.insert(0, {doubles!r})
from harness.stack.guard import Guard
from harness.stack.layout import lay_out
from harness.stack.runtimes.process import ProcessRuntime
from harness.stack.stack import Stack
from stack_doubles import policies, server

async def main():
    cache = Path(sys.argv[1])
    async with Guard.open(sys.argv[2], cache) as guard:
        print("sandbox", flush=True)
        made = policies(server("app"), server("forks", "child"), server("strays", "stray"), server("deaf", "deaf"))
        layout = lay_out(made, {{}}, ["a", "b"], run=guard.run, sandbox=guard.sandbox, logs=cache / "logs", cache=cache)
        for site in layout.sites:
            print("port", site.address.port, flush=True)
        async with Stack(layout, ProcessRuntime(guard), lambda _: None) as stack:
            print("starting", flush=True)
            await stack.up({{}})
            print("up", flush=True)
            await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("moment", "after_seconds"),
    [("sandbox", 0.0), ("starting", 0.0), ("starting", 0.01), ("starting", 0.03), ("starting", 0.06), ("up", 0.0)],
)
def test_kill_9_leaves_nothing(tmp_path: Path, moment: str, after_seconds: float) -> None:
    """Killed at any moment, the harness leaves no process, no port and no sandbox for longer than 2 s."""
    run = f"killed-{os.getpid()}-{moment}-{after_seconds}"
    script = textwrap.dedent(HARNESS).format(doubles=str(Path(__file__).parent))
    harness = subprocess.Popen([sys.executable, "-c", script, str(tmp_path), run], stdout=subprocess.PIPE, text=True)
    assert harness.stdout is not None
    ports = []
    for line in harness.stdout:
        if line.startswith("port"):
            ports.append(int(line.split()[1]))
        if line.strip() == moment:
            break
    if after_seconds:
        time.sleep(after_seconds)
    if moment == "up":
        assert len(guardian.carriers(run)) >= 12, "the twin: there is something to leave behind"
        assert all(listens(port) for port in ports)
    harness.kill()
    harness.wait()
    deadline = time.monotonic() + 2
    while left := leftovers(run, ports, tmp_path):
        assert time.monotonic() < deadline, f"left behind: {left}"
        time.sleep(0.02)
    # Nothing may turn up late either: a child that was between fork and exec at the kill.
    assert not guardian.carriers(run)


def leftovers(run: str, ports: list[int], cache: Path) -> list[str]:
    """What a dead run left: processes, ports, files."""
    left = [f"process {pid}" for pid in guardian.carriers(run)]
    left += [f"port {port}" for port in ports if listens(port)]
    return left + [str(path) for path in (cache / "sandboxes").iterdir()]


def listens(port: int) -> bool:
    """Whether somebody listens at a port of loopback."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
