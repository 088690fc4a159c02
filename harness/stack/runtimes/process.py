"""Components as processes of this machine: nothing of the harness's leaks in, nothing outlives it."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress

from harness.errors import StackError
from harness.stack.guard import Guard
from harness.stack.output import last_lines
from harness.stack.runtimes import Launch, Running

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_SHIM = f"import ctypes,os,sys;ctypes.CDLL(None).prctl({_PR_SET_PDEATHSIG},9);os.execvp(sys.argv[1],sys.argv[1:])"


class ProcessRuntime:
    """Runs components as processes, each leader of its own session and process group.

    A component dies with the harness: the kernel kills it when the thread that started it ends (so an event loop that
    starts components must live in a thread that lives as long as the stack), and the guard kills what that misses. When
    a component ends, what it left in its process group is killed with it, as systemd's `KillMode=control-group` does.

    Args:
        guard: the run's guard; every process is registered with it and carries its mark.
    """

    name = "process"

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._started: set[_Process] = set()

    async def start(self, launch: Launch) -> Running:
        """Starts a component; returns as soon as its process exists.

        Raises:
            StackError: the program is not there or cannot be run.
        """
        program = launch.argv[0]
        if not os.access(program, os.X_OK):
            raise StackError(f"{launch.name} cannot be started: {program} is not a program that we may run")
        try:
            launch.log.parent.mkdir(parents=True, exist_ok=True)
            with launch.log.open("ab") as log:
                process = await asyncio.create_subprocess_exec(
                    *_wrapped(launch),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env={**_without_loader(launch.environment), **self._guard.environment},
                    cwd=launch.directory,
                    start_new_session=True,
                )
        except OSError as error:
            raise StackError(f"{launch.name} cannot be started", seen=str(error)) from error
        running = _Process(launch, process, self._guard)
        self._started.add(running)
        running.ended.add_done_callback(lambda _: self._started.discard(running))
        # Registered last, and ended again where that fails: nobody may run whom the guard does not know.
        try:
            self._guard.register(process.pid)
        except StackError:
            await running.kill()
            raise
        return running

    async def close(self) -> None:
        """Ends everything that was started here and still runs, all at once."""
        await asyncio.gather(*(process.stop() for process in list(self._started)))


class _Process:
    """One process that was started."""

    def __init__(self, launch: Launch, process: asyncio.subprocess.Process, guard: Guard) -> None:
        self._launch = launch
        self._process = process
        self._guard = guard
        self.ended = asyncio.create_task(self._attend(), name=f"process {process.pid} of {launch.name}")

    @property
    def launch(self) -> Launch:
        return self._launch

    @property
    def alive(self) -> bool:
        return self._process.returncode is None

    @property
    def pid(self) -> int:
        return self._process.pid

    async def wait(self) -> int:
        return await asyncio.shield(self.ended)

    async def kill(self) -> None:
        self._send(signal.SIGKILL)
        await self.wait()

    async def stop(self, grace_seconds: float = 0.3) -> None:
        self._send(signal.SIGTERM)
        # A component that was stopped (SIGSTOP) hears of nothing but SIGKILL until it is continued.
        self._send(signal.SIGCONT)
        try:
            async with asyncio.timeout(grace_seconds):
                await self.wait()
        except TimeoutError:
            await self.kill()

    async def signal(self, number: int) -> None:
        self._send(number)

    def tail(self, lines: int = 20) -> Sequence[str]:
        return last_lines(self._launch.log, lines)

    def _send(self, number: int) -> None:
        if self.alive:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)

    async def _attend(self) -> int:
        """Waits for the end; ends what the component left in its group."""
        code = await self._process.wait()
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._guard.forget(self._process.pid)
        return code


def _wrapped(launch: Launch) -> tuple[str, ...]:
    """The command line behind what makes the kernel kill it when its parent thread ends; the pid stays the same.

    Variables of the loader must reach the component alone: the wrappers are the host's and want the host's libraries.
    """
    setpriv = shutil.which("setpriv")
    wrapper = (setpriv, "--pdeathsig", "KILL", "--") if setpriv else (sys.executable, "-I", "-S", "-c", _SHIM)
    loader = [f"{name}={value}" for name, value in launch.environment.items() if _of_loader(name)]
    return (*wrapper, *(("/usr/bin/env", *loader) if loader else ()), *launch.argv)


def _without_loader(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if not _of_loader(name)}


def _of_loader(name: str) -> bool:
    return name.startswith("LD_")
