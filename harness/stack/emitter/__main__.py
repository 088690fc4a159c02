"""The process: `python -m harness.stack.emitter`, configured by environment variables.

LISTEN (its control), LOG_DIR, RECORDS_PER_SECOND (5 where it is not set) and, where records are followed, MANIFEST_DIR
with RUN_ID and LANE. SIGTERM and SIGINT end it at once; what it has announced it has written by then.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aiohttp import web

from harness.errors import AddressTaken, HarnessError, UsageError
from harness.stack.emitter.app import DEFAULT_PER_SECOND, Emitter
from harness.stack.emitter.log import Announcing, SystemLog

SHUTDOWN_SECONDS: Final = 0.1
MOST_PER_SECOND: Final = 100_000


@dataclass(frozen=True, slots=True)
class Settings:
    """Where it listens, where it writes, how much, and where that is announced."""

    host: str
    port: int
    folder: Path
    per_second: float
    announcing: Announcing | None

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Settings:
        """Reads the variables.

        Raises:
            UsageError: one is missing or is not what it should be.
        """
        host, _, port = _needed(environ, "LISTEN").rpartition(":")
        if not host or not port.isdecimal() or int(port) >= 65536:
            raise UsageError("LISTEN is not an address", expected="HOST:PORT", seen=environ["LISTEN"])
        text = environ.get("RECORDS_PER_SECOND", f"{DEFAULT_PER_SECOND:g}")
        try:
            per_second = float(text)
        except ValueError:
            per_second = -1
        if not 0 <= per_second <= MOST_PER_SECOND:
            raise UsageError(
                "RECORDS_PER_SECOND is not a rate", expected=f"a number from 0 to {MOST_PER_SECOND}", seen=text
            )
        manifests = environ.get("MANIFEST_DIR", "")
        announcing = None
        if manifests:
            announcing = Announcing(Path(manifests), _needed(environ, "RUN_ID"), _needed(environ, "LANE"))
        return cls(host, int(port), Path(_needed(environ, "LOG_DIR")), per_second, announcing)


def _needed(environ: Mapping[str, str], name: str) -> str:
    value = environ.get(name, "").strip()
    if not value:
        raise UsageError(
            f"The environment variable {name} is not set",
            hint="the emitter needs LISTEN and LOG_DIR, and with MANIFEST_DIR also RUN_ID and LANE",
        )
    return value


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    """Writes until `stop` is set.

    Raises:
        AddressTaken: somebody else listens there.
        UsageError: the log, or its manifest, cannot be opened.
    """
    async with AsyncExitStack() as leaving:
        try:
            log = leaving.enter_context(SystemLog(settings.folder, settings.announcing))
        except OSError as error:
            raise UsageError("The system log, or its manifest, cannot be opened", seen=str(error)) from error
        emitter = Emitter(log, settings.per_second)
        runner = web.AppRunner(emitter.application(), access_log=None, shutdown_timeout=SHUTDOWN_SECONDS)
        leaving.push_async_callback(runner.cleanup)
        await runner.setup()
        try:
            await web.TCPSite(runner, settings.host, settings.port).start()
        except OSError as error:
            where = f"{settings.host}:{settings.port}"
            raise AddressTaken(f"The emitter cannot listen on {where}", seen=error.strerror) from error
        work = asyncio.create_task(emitter.run())
        await stop.wait()
        work.cancel()


async def _run() -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await serve(Settings.from_environment(os.environ), stop)


def main() -> int:
    """Runs the process; the exit code is 0 after a wanted end, else that of the error, told on standard error."""
    try:
        asyncio.run(_run())
    except HarnessError as error:
        print(error, file=sys.stderr)  # noqa: T201  # this is the program's own standard error
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
