"""The process: `python -m harness.stack.clickhouse --path=DIR --http_port=8123 --listen_host=127.0.0.1`.

The flags are called as the server's settings are. SIGTERM and SIGINT end it after the statement that runs.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aiohttp import web

from harness.errors import AddressTaken, HarnessError
from harness.stack.clickhouse.engine import BACKUPS, Engine
from harness.stack.clickhouse.interface import Interface

SHUTDOWN_SECONDS: Final = 1.0
"""For statements that are under way when we are told to end."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Where the data is, where backups go, and where to listen."""

    path: Path
    backups: Path
    host: str
    port: int


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    """Answers until `stop` is set.

    Raises:
        StackError: the folder cannot be opened.
        UsageError: the engine is not installed.
        AddressTaken: somebody else listens there.
    """
    engine = Engine(settings.path, settings.backups)
    interface = Interface(engine.run, engine.timezone)
    async with AsyncExitStack() as leaving:
        leaving.callback(engine.close)
        leaving.callback(interface.executor().shutdown)
        runner = web.AppRunner(interface.application(), access_log=None, shutdown_timeout=SHUTDOWN_SECONDS)
        leaving.push_async_callback(runner.cleanup)
        await runner.setup()
        try:
            await web.TCPSite(runner, settings.host, settings.port).start()
        except OSError as error:
            where = f"{settings.host}:{settings.port}"
            raise AddressTaken(f"ClickHouse cannot listen on {where}", seen=error.strerror) from error
        await stop.wait()


async def _run(settings: Settings) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await serve(settings, stop)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the process; the exit code is 0 after a wanted end, else that of the error, told on standard error."""
    parser = argparse.ArgumentParser(prog="python -m harness.stack.clickhouse", description="ClickHouse's engine.")
    parser.add_argument("--path", type=Path, required=True, metavar="DIR", help="where the data is")
    parser.add_argument("--backups", type=Path, metavar="DIR", help="where backups go; beside the data if not given")
    parser.add_argument("--listen_host", default="127.0.0.1", metavar="HOST")
    parser.add_argument("--http_port", type=int, default=8123, metavar="PORT")
    options = parser.parse_args(arguments)
    path = options.path.absolute()
    backups = options.backups.absolute() if options.backups else path.with_name(BACKUPS)
    try:
        asyncio.run(_run(Settings(path, backups, options.listen_host, options.http_port)))
    except HarnessError as error:
        print(error, file=sys.stderr)  # noqa: T201  # this is the program's own standard error
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
