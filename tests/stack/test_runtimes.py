"""One suite over every runtime, and what the process runtime promises beyond it."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
from stack_doubles import until

from harness.errors import StackError
from harness.model.stack import Address
from harness.stack import guardian
from harness.stack.guard import Guard
from harness.stack.output import last_lines
from harness.stack.runtimes import Launch, Running, Runtime
from harness.stack.runtimes import process as process_module
from harness.stack.runtimes.process import ProcessRuntime


@asynccontextmanager
async def as_processes(folder: Path) -> AsyncIterator[Runtime]:
    """Components as processes."""
    async with Guard.open("runtimes", folder / "cache") as guard:
        runtime = ProcessRuntime(guard)
        yield runtime
        await runtime.close()


Open = Callable[[Path], AbstractAsyncContextManager[Runtime]]
RUNTIMES: Mapping[str, Open] = {"process": as_processes}
"""Every runtime, by the name that reports give it."""


@pytest.fixture(params=RUNTIMES)
async def runtime(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Runtime]:
    """Each runtime in turn."""
    async with RUNTIMES[request.param](tmp_path) as opened:
        assert opened.name == request.param
        yield opened


@pytest.fixture
def launch(tmp_path: Path) -> Callable[..., Launch]:
    """Makes the launch of a shell script."""

    def make(script: str, *, argv: tuple[str, ...] = (), environment: Mapping[str, str] | None = None) -> Launch:
        folder = tmp_path / "data"
        folder.mkdir(exist_ok=True)
        return Launch(
            name="shell",
            lane="a",
            argv=argv or ("/bin/sh", "-c", script),
            environment={"PATH": "/usr/bin:/bin", **(environment or {})},
            directory=folder,
            log=tmp_path / "logs" / "shell.a.log",
            address=Address("127.0.0.1", 1),
        )

    return make


WAITS = "echo started; while :; do sleep 0.05; done"
DEAF = "trap '' TERM; " + WAITS


async def said(running: Running, line: str) -> None:
    """Waits until a component wrote a line."""
    await until(lambda: line in running.tail())


class TestEveryRuntime:
    """What callers rely on."""

    async def test_it_starts_and_is_killed(self, runtime: Runtime, launch: Callable[..., Launch]) -> None:
        """A component is alive from start to kill, which is told as the signal that it was."""
        running = await runtime.start(launch(WAITS))
        alive = [running.alive]
        assert running.launch.name == "shell"
        await running.kill()
        assert [*alive, running.alive] == [True, False]
        assert await running.wait() == -signal.SIGKILL

    @pytest.mark.parametrize("code", [0, 3])
    async def test_it_tells_how_it_ended(self, runtime: Runtime, launch: Callable[..., Launch], code: int) -> None:
        """The exit code is the component's own, for everybody who waits."""
        running = await runtime.start(launch(f"exit {code}"))
        assert list(await asyncio.gather(running.wait(), running.wait())) == [code, code]
        assert not running.alive

    async def test_a_waiter_who_gives_up_ends_nothing(self, runtime: Runtime, launch: Callable[..., Launch]) -> None:
        """Cancelling one wait leaves the component and the other waits as they are."""
        running = await runtime.start(launch(WAITS))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await running.wait()
        assert running.alive
        await running.kill()
        assert await running.wait() == -signal.SIGKILL

    async def test_stopping_asks_first(self, runtime: Runtime, launch: Callable[..., Launch]) -> None:
        """A component that heeds SIGTERM ends in its own way; stopping twice changes nothing."""
        running = await runtime.start(launch("trap 'echo bye; exit 7' TERM; " + WAITS))
        await said(running, "started")
        await running.stop(5)
        await running.stop()
        assert await running.wait() == 7
        assert running.tail()[-1] == "bye"

    async def test_stopping_does_not_wait_for_the_deaf(self, runtime: Runtime, launch: Callable[..., Launch]) -> None:
        """A component that ignores SIGTERM is killed after the grace, and not before."""
        running = await runtime.start(launch(DEAF))
        await said(running, "started")
        began = time.monotonic()
        await running.stop(0.15)
        assert 0.15 <= time.monotonic() - began < 2
        assert await running.wait() == -signal.SIGKILL

    async def test_a_frozen_component_can_be_stopped(self, runtime: Runtime, launch: Callable[..., Launch]) -> None:
        """One that SIGSTOP froze is woken to hear that it should end."""
        running = await runtime.start(launch("trap 'exit 7' TERM; " + WAITS))
        await said(running, "started")
        await running.signal(signal.SIGSTOP)
        assert running.alive
        await running.stop(5)
        assert await running.wait() == 7

    async def test_output_is_appended_and_its_end_can_be_read(
        self, runtime: Runtime, launch: Callable[..., Launch]
    ) -> None:
        """Both outputs of every life of a component are in its log; the tail is its end, oldest first."""
        for number in (1, 2):
            running = await runtime.start(launch(f"echo out {number}; echo err {number} >&2"))
            await running.wait()
        assert list(running.tail()) == ["out 1", "err 1", "out 2", "err 2"]
        assert list(running.tail(1)) == ["err 2"]

    async def test_closing_ends_everything(self, runtime: Runtime, launch: Callable[..., Launch]) -> None:
        """What still runs is ended, deaf or not, all at once."""
        running = [await runtime.start(launch(script)) for script in (WAITS, DEAF, "exit 0")]
        await said(running[1], "started")
        await runtime.close()
        assert [one.alive for one in running] == [False, False, False]

    async def test_what_cannot_be_run_is_a_sentence(self, runtime: Runtime, launch: Callable[..., Launch]) -> None:
        """A program that is not there is told by its path."""
        with pytest.raises(StackError, match="/no/such/program"):
            await runtime.start(launch("", argv=("/no/such/program",)))


@pytest.fixture
async def processes(tmp_path: Path) -> AsyncIterator[Runtime]:
    """The process runtime."""
    async with as_processes(tmp_path) as opened:
        yield opened


async def test_nothing_of_ours_leaks_in(
    processes: Runtime, launch: Callable[..., Launch], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its environment is the launch's and the run's mark; its input is empty; no descriptor is inherited."""
    monkeypatch.setenv("SECRET_OF_OURS", "1")
    leak = socket.socket()
    os.set_inheritable(leak.fileno(), True)
    ours, theirs = os.pipe()
    os.write(theirs, b"input of ours")
    kept = os.dup(0)
    os.dup2(ours, 0)
    script = (
        "timeout 1 cat; pwd; env | grep -v -e ^_= -e ^PWD= -e ^SHLVL= -e ^OLDPWD= | sort; ls -1 /proc/self/fd | wc -l"
    )
    running = await processes.start(launch(script, environment={"ONE": "1"}))
    assert await running.wait() == 0
    os.dup2(kept, 0)
    for descriptor in (ours, theirs, kept):
        os.close(descriptor)
    leak.close()
    # Three descriptors, and the one with which ls reads the folder.
    assert list(running.tail()) == [
        str(running.launch.directory),
        "ONE=1",
        "PATH=/usr/bin:/bin",
        "TOCSIN_RUN=runtimes",
        "4",
    ]


async def test_variables_of_the_loader_reach_the_component_alone(
    processes: Runtime, launch: Callable[..., Launch]
) -> None:
    """A private library folder is for the component: a wrapper of the host's that found it might not even start."""
    broken = launch("echo $LD_LIBRARY_PATH", environment={"LD_LIBRARY_PATH": "/somewhere/lib"})
    running = await processes.start(broken)
    assert await running.wait() == 0
    assert list(running.tail()) == ["/somewhere/lib"]
    wrapped = process_module._without_loader(broken.environment)
    assert wrapped == {"PATH": "/usr/bin:/bin"}


async def test_it_leads_its_own_session(processes: Runtime, launch: Callable[..., Launch]) -> None:
    """Ctrl-C in a terminal reaches the harness, which then stops its components in order."""
    running = await processes.start(launch(WAITS))
    assert running.pid is not None
    assert os.getsid(running.pid) == running.pid != os.getsid(0)


async def test_its_children_end_with_it(processes: Runtime, launch: Callable[..., Launch]) -> None:
    """What a component left in its process group ends when it does, as systemd does with a control group."""
    running = await processes.start(launch("while :; do sleep 0.05; done & echo child $!; exit 0"))
    assert await running.wait() == 0
    child = int(running.tail()[-1].split()[1])
    await until(lambda: guardian.start_time(child) is None)


@pytest.mark.parametrize("with_setpriv", [True, False])
async def test_the_kernel_ends_it_with_its_parent(
    processes: Runtime, launch: Callable[..., Launch], monkeypatch: pytest.MonkeyPatch, with_setpriv: bool
) -> None:
    """The signal for the parent's death is set with setpriv and, where that is missing, without it."""
    if not with_setpriv:
        monkeypatch.setattr(shutil, "which", lambda _: None)
    asks = "import ctypes; n = ctypes.c_int(); ctypes.CDLL(None).prctl(2, ctypes.byref(n)); print(n.value)"
    running = await processes.start(launch("", argv=(sys.executable, "-I", "-S", "-c", asks)))
    assert await running.wait() == 0
    assert list(running.tail()) == [str(int(signal.SIGKILL))]


async def test_nothing_is_started_when_the_guard_is_gone(tmp_path: Path, launch: Callable[..., Launch]) -> None:
    """A component that nobody would clear away is ended at once, and the start says why."""
    guard = Guard.open("runtimes", tmp_path / "cache")
    runtime = ProcessRuntime(guard)
    os.kill(guard.pid, signal.SIGKILL)
    await until(lambda: guardian.start_time(guard.pid) is None)
    with pytest.raises(StackError, match="guard of this run is gone"):
        await runtime.start(launch(WAITS))
    # Killed, all of them; whoever is no child of ours is seen until the kernel has taken it away.
    await until(lambda: guardian.carriers(guard.run) == [])
    await guard.close()


def test_the_tail_of_a_long_log_is_whole_lines(tmp_path: Path) -> None:
    """Only the end of a long log is read, and the line that was cut is left out."""
    log = tmp_path / "log"
    log.write_text("".join(f"line {number} {'x' * 90}\n" for number in range(2000)))
    lines = last_lines(log, 1000)
    assert lines[-1].startswith("line 1999 ")
    assert all(line.startswith("line ") for line in lines)
    assert last_lines(tmp_path / "none", 5) == ()
