"""Child processes of the provisioner: they die with us, and what they say becomes one of our errors."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from harness.errors import DiskFull, Offline, ProvisionError

# The child leads a process group of its own, with a guard in it that reads a pipe whose other end only we hold. When
# that end is closed - by us, or by the kernel because we were killed - the guard kills the whole group. A parent-death
# signal would reach the direct child alone, and leave behind the compilers and downloaders that it started itself.
# The guard gives up the standard streams, or nobody would ever see the end of the child's output.
_GUARD = 'exec 3<&0 </dev/null; { read -r _ <&3; kill -KILL 0; } >/dev/null 2>&1 & exec 3<&-; exec "$@"'

_DISK_FULL = re.compile(r"No space left on device|Disk quota exceeded|don't have enough free space", re.IGNORECASE)
_UNREACHABLE = re.compile(
    r"Temporary failure resolving|Could not resolve|Could not connect|Cannot initiate the connection"
    r"|Connection failed|Connection timed out|Connection refused|Network is unreachable|Unable to connect"
    r"|no such host|dial tcp|proxyconnect|i/o timeout|TLS handshake timeout|server misbehaving|connection reset"
    r"|Name or service not known|Failed to establish a new connection|Max retries exceeded|Read timed out"
    r"|Unknown host|UnknownHostException|Connect to \S+ .*failed|No route to host"
    r"|50[234] +(Bad Gateway|Service Unavailable|Gateway Time-?out)",
    re.IGNORECASE,
)
_TAIL_LINES = 12


def failure_of(what: str, output: str, cache: Path, otherwise: type[ProvisionError] = ProvisionError) -> ProvisionError:
    """The error that a failed command's output speaks of.

    Args:
        what: what could not be done, one sentence without a full stop.
        output: everything that the command wrote.
        cache: where the work was done, for the sentence about a full disk.
        otherwise: the error where neither the disk nor the network is to blame.
    """
    tail = [line for line in output.splitlines() if line.strip()][-_TAIL_LINES:]
    if _DISK_FULL.search(output):
        return DiskFull(
            f"{what}: no room is left on the file system of {cache}",
            output=tail,
            hint="make room there, or let TOCSIN_CACHE name a folder on a larger file system, and start again",
        )
    if _UNREACHABLE.search(output):
        return Offline(
            f"{what}: the registry cannot be reached",
            output=tail,
            hint="connect this machine, or set the proxy or mirror that it needs in the client's own settings; "
            "what was already brought stays in the cache",
        )
    return otherwise(what, output=tail)


async def run(
    argv: Sequence[str],
    *,
    what: str,
    directory: Path,
    environment: Mapping[str, str],
    otherwise: type[ProvisionError] = ProvisionError,
    deadline_seconds: float = 1200,
    watch: Callable[[str], None] | None = None,
) -> str:
    """Runs a command to its end and returns its standard output.

    The command and everything that it started are gone when this returns, however it returns, and die with us when we
    are killed.

    Args:
        argv: the program and its arguments.
        what: what could not be done if it fails, for the message.
        directory: its working folder.
        environment: its whole environment.
        otherwise: the error where neither the disk nor the network is to blame.
        deadline_seconds: after this long it is killed.
        watch: takes each line of its standard error as it is written.

    Raises:
        DiskFull: its output speaks of a full disk.
        Offline: its output speaks of a network that cannot be reached, or the deadline passed.
        ProvisionError: it failed for another reason (`otherwise`), or the program is not there.
    """
    reader, writer = os.pipe()
    try:
        try:
            process = await asyncio.create_subprocess_exec(
                "/bin/sh",
                "-c",
                _GUARD,
                "guard",
                *argv,
                stdin=reader,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                cwd=directory,
                env=dict(environment),
                process_group=0,
            )
        finally:
            os.close(reader)
        try:
            async with asyncio.timeout(deadline_seconds):
                output, complaints = await asyncio.gather(_lines(process.stdout), _lines(process.stderr, watch))
                await process.wait()
        except TimeoutError:
            raise Offline(
                what,
                expected=f"the end of `{argv[0]}`",
                seen="that it was still at work",
                waited_seconds=deadline_seconds,
            ) from None
        finally:
            # The group outlives its leader as long as the guard reads; whoever is left in it is ended here.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    finally:
        os.close(writer)
    if process.returncode:
        raise failure_of(what, output + complaints, directory, otherwise)
    return output


async def _lines(stream: asyncio.StreamReader | None, watch: Callable[[str], None] | None = None) -> str:
    """Reads a stream to its end, however long its lines are."""
    lines: list[str] = []
    rest = b""
    while stream is not None and (piece := await stream.read(65536)):
        *whole, rest = (rest + piece).split(b"\n")
        for line in whole:
            lines.append(line.decode(errors="replace"))
            if watch is not None:
                watch(lines[-1])
    return "\n".join([*lines, rest.decode(errors="replace")]) + "\n"


async def prove_start(
    program: Path, environment: Mapping[str, str], directory: Path, question: Sequence[str] = ("--version",)
) -> None:
    """Starts a program that only tells its version and ends.

    Raises:
        ProvisionError: it does not start here, a library or a newer libc is missing.
    """
    await run(
        [str(program), *question],
        what=f"{program.name} was brought and does not start here",
        directory=directory,
        environment={"PATH": os.environ.get("PATH", os.defpath), **environment},
        deadline_seconds=30,
    )
