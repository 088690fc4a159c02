"""Nothing outlives the harness: the guard of a run, its sandbox folder, and the sweep of dead runs.

A run's sandbox is `CACHE/sandboxes/RUN`, beside it `RUN.lock`, flock-held by the harness while it lives. A second
process (`guardian.py`) holds the far end of a pipe: when the harness is gone, by kill -9 too, it kills what the run
started and removes the folder. Where both died at once (a machine that went down) the next run sweeps.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from harness.errors import CacheError, DiskFull, StackError
from harness.stack import guardian

RUN_VARIABLE = "TOCSIN_RUN"
"""The environment variable that marks every process of a run."""
_CLOSE_SECONDS = 2.0


class Guard:
    """Holds a run's sandbox and the process that clears up after it. Made by `Guard.open`.

    Args:
        run: the run's id.
        sandbox: the run's folder, empty at first.
    """

    def __init__(self, run: str, sandbox: Path, process: subprocess.Popen[bytes], lock: IO[bytes]) -> None:
        self.run = run
        self.sandbox = sandbox
        self._process = process
        self._lock = lock

    @classmethod
    def open(cls, run: str, cache: Path) -> Guard:
        """Starts the guardian, makes the sandbox. What dead runs left is `abandoned`'s to remove.

        The guardian stands before the sandbox does, so there is no instant at which a death would leave one behind.

        Raises:
            CacheError: the cache cannot be written, or a living run has the same id.
        """
        sandboxes = cache / "sandboxes"
        sandbox = sandboxes / run
        path = _lock_of(sandbox)
        try:
            sandboxes.mkdir(parents=True, exist_ok=True)
            lock = _hold(path)
        except OSError as error:
            raise _unwritable(sandboxes, error) from error
        if lock is None:
            raise CacheError(
                f"The sandbox {sandbox} belongs to a run that is alive",
                hint="two runs must not share an id; wait for the other one or give this one another id",
            )
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", guardian.__file__, run, str(sandbox), str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={"LANG": "C.UTF-8"},
            cwd="/",
            start_new_session=True,
        )
        guard = cls(run, sandbox, process, lock)
        try:
            sandbox.mkdir(mode=0o700)
        except OSError as error:
            guard._dismiss()
            raise _unwritable(sandbox, error) from error
        return guard

    @property
    def environment(self) -> Mapping[str, str]:
        """What every process of the run must carry, so that it is found when the harness is gone."""
        return {RUN_VARIABLE: self.run}

    @property
    def pid(self) -> int:
        """The guardian's own process."""
        return self._process.pid

    def register(self, pid: int) -> None:
        """A process was started that must not outlive the harness; nothing where it ended already.

        Raises:
            StackError: the guardian is gone, so nothing started from now on would be safe.
        """
        start = guardian.start_time(pid)
        if start is not None:
            self._tell(f"+ {pid} {start}")

    def forget(self, pid: int) -> None:
        """That process is gone."""
        with suppress(StackError):
            self._tell(f"- {pid}")

    async def close(self) -> None:
        """Ends what the run may still have running, removes the sandbox, ends the guardian; may be called twice."""
        if self._lock.closed:
            return
        await asyncio.to_thread(self._dismiss)

    async def __aenter__(self) -> Guard:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _dismiss(self) -> None:
        assert self._process.stdin is not None
        with suppress(StackError):
            self._tell("end")
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(_CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self.sandbox.exists():
            guardian.clear(self.run, {}, str(self.sandbox), str(_lock_of(self.sandbox)), 0.0)
        self._lock.close()

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line.encode() + b"\n")
            self._process.stdin.flush()
        except (BrokenPipeError, ValueError) as error:
            raise StackError(
                "The guard of this run is gone; what is started now would outlive a crash of the harness",
                seen=f"process {self._process.pid} ended with code {self._process.poll()}",
                hint="something on this machine killed it; start the run again",
            ) from error


@dataclass(slots=True)
class Abandoned:
    """What a dead run left: its sandbox, whose lock is ours for the moment.

    `spared` is for whoever still needs what is in the folder: then it is left for a later sweep.
    """

    run: str
    sandbox: Path
    spared: bool = False


@contextmanager
def abandoned(cache: Path) -> Iterator[tuple[Abandoned, ...]]:
    """What dead runs left in the cache, to be looked into first; ended and removed when the context ends in order.

    Meanwhile no other run can take it: its lock is held. Sandboxes of other users are theirs.

    Raises:
        CacheError: the cache cannot be read or written.
    """
    sandboxes = cache / "sandboxes"
    with ExitStack() as locks:
        try:
            left = _dead(sandboxes, locks)
        except OSError as error:
            raise _unwritable(sandboxes, error) from error
        yield left
        for one in left:
            if one.spared:
                for pid in guardian.carriers(one.run):
                    guardian.kill(pid)
            else:
                guardian.clear(one.run, {}, str(one.sandbox), str(_lock_of(one.sandbox)), 0.0)


def _dead(sandboxes: Path, locks: ExitStack) -> tuple[Abandoned, ...]:
    if not sandboxes.is_dir():
        return ()
    # The lock is made before its folder and removed after it: a folder without a lock is nobody's.
    runs = sorted({entry.name.removesuffix(".lock") for entry in sandboxes.iterdir()})
    left = []
    for run in runs:
        with suppress(PermissionError):
            held = _hold(_lock_of(sandboxes / run))
            if held is not None:
                locks.enter_context(held)
                left.append(Abandoned(run, sandboxes / run))
    return tuple(left)


def _lock_of(sandbox: Path) -> Path:
    return sandbox.with_name(sandbox.name + ".lock")


def _hold(path: Path) -> IO[bytes] | None:
    """The lock file, held; None where a living run holds it."""
    while True:
        file = path.open("ab")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return None
        # A sweep may have removed the file between opening and locking: then what we hold is nobody's.
        with suppress(FileNotFoundError):
            if os.fstat(file.fileno()).st_ino == path.stat().st_ino:
                return file
        file.close()


def _unwritable(path: Path, error: OSError) -> CacheError:
    kind = DiskFull if error.errno in {28, 122} else CacheError
    return kind(
        f"The sandbox cannot be made at {path}",
        seen=error.strerror or str(error),
        hint="TOCSIN_CACHE names another folder for the cache",
    )
