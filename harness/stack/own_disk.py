"""A lane's own small file system: real, and seen by the lane's exporter alone.

It is a tmpfs in a mount namespace of the exporter's, which an ordinary user may make inside a user namespace
(user_namespaces(7), mount_namespaces(7)). It lives as long as the exporter does, and from outside it is reached through
/proc/PID/root (proc(5)). Where such namespaces are closed (Ubuntu 24.04, many containers) there is none.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from harness.errors import FaultError

SIZE_BYTES = 16 * 1024 * 1024
"""How large it is: small enough for every lane of a run to be filled at once."""
_MOUNT = f'mount -t tmpfs -o size={SIZE_BYTES},mode=0700 tocsin "$0" && exec "$@"'
_FILLING = "filling"
_TRY_SECONDS = 5.0
_CLOSED = "user namespaces are closed here, or `unshare` and `mount` are not installed"


def inside(folder: Path, argv: tuple[str, ...]) -> tuple[str, ...]:
    """The command line that runs a program where a new file system is mounted at this folder.

    Every step replaces the one before it (exec), so the program has the pid, the process group and the parent-death
    signal that were meant for it.
    """
    unshare = shutil.which("unshare") or "unshare"
    # Root makes a mount namespace as it is; everybody else needs to be root of a user namespace for that.
    kind = ("--mount",) if os.geteuid() == 0 else ("--user", "--map-root-user", "--mount")
    return (unshare, *kind, "--propagation", "private", "/bin/sh", "-c", _MOUNT, str(folder), *argv)


async def possible(folder: Path) -> bool:
    """Whether a file system can be mounted at this folder in a namespace of its own, found out by doing it."""
    try:
        process = await asyncio.create_subprocess_exec(
            *inside(folder, ("/bin/true",)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except OSError:
        return False
    try:
        async with asyncio.timeout(_TRY_SECONDS):
            return await process.wait() == 0
    except TimeoutError:
        return False
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def fill(pid: int | None, folder: Path, used_ratio: float) -> None:
    """Writes zeros into the file system of that process until this share of it, 0 to 1, is used; may take 20 ms.

    Raises:
        FaultError: the process has no file system of its own at the folder, or it cannot be filled.
    """
    with _opened(pid, folder) as root:
        if root is None:
            raise FaultError(
                "The lane has no file system of its own that could be filled",
                expected=f"a small file system at {folder} in a namespace of the lane's exporter",
                seen="the exporter does not run" if pid is None else _CLOSED,
                hint="open user namespaces on this machine, or run as root; without them what a full disk raises"
                " is unverified",
            )
        try:
            _write(root, used_ratio)
        except OSError as error:
            raise FaultError("The lane's file system could not be filled", seen=str(error)) from error


def empty(pid: int | None, folder: Path) -> None:
    """Removes what `fill` wrote; nothing where there is nothing.

    Raises:
        FaultError: it cannot be removed.
    """
    with _opened(pid, folder) as root:
        if root is None:
            return
        try:
            with suppress(FileNotFoundError):
                os.unlink(_FILLING, dir_fd=root)
        except OSError as error:
            raise FaultError("The lane's file system could not be emptied", seen=str(error)) from error


def _write(root: int, used_ratio: float) -> None:
    file = os.open(_FILLING, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600, dir_fd=root)
    try:
        # What df calls used, here and in the rule `1 - avail / size`.
        state = os.fstatvfs(root)
        used = (state.f_blocks - state.f_bavail) * state.f_frsize
        missing = round(used_ratio * state.f_blocks * state.f_frsize) - used
        if missing <= 0:
            os.ftruncate(file, max(0, os.fstat(file).st_size + missing))
        block = bytes(state.f_frsize)
        while missing > 0:
            missing -= os.write(file, block[:missing])
    finally:
        os.close(file)


@contextmanager
def _opened(pid: int | None, folder: Path) -> Iterator[int | None]:
    """The root of the file system as the process sees it; None where what it sees there is what everybody sees."""
    try:
        root = None if pid is None else os.open(f"/proc/{pid}/root{folder}", os.O_PATH | os.O_DIRECTORY)
    except OSError:
        root = None  # the process is gone, or there is no such folder
    try:
        # Before its file system is mounted a process that is just starting sees the sandbox's own folder.
        yield root if root is not None and os.fstat(root).st_dev != folder.stat().st_dev else None
    finally:
        if root is not None:
            os.close(root)
