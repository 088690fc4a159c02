"""The process: `python -m harness.stack.subject`, configured by environment variables (see `settings`).

It listens as soon as it can and needs neither the database nor Redis for that: the tables are made in the background,
as soon as the database lets us. SIGTERM and SIGINT end it at once, requests under way get a tenth of a second.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import AsyncExitStack, suppress
from typing import Final

import prometheus_client
from aiohttp import web

from harness.errors import AddressTaken, HarnessError, UsageError
from harness.stack.subject.app import Parts, build
from harness.stack.subject.domain import Sessions, StorageError
from harness.stack.subject.events import EventSender, NoEvents
from harness.stack.subject.logs import Journal
from harness.stack.subject.metrics import Metrics
from harness.stack.subject.mysql import STATEMENTS, MySQLStore
from harness.stack.subject.previews import Previews
from harness.stack.subject.sessions import RedisPostCache, RedisSessions, connect
from harness.stack.subject.settings import Settings

RETRY_SECONDS: Final = 0.25
"""Between two attempts to make the tables."""

COUNT_SECONDS: Final = 2.0
"""Between two counts of who is active, and two looks for previews that are too old: one scrape interval."""

SHUTDOWN_SECONDS: Final = 0.1
"""For requests that are under way when we are told to end."""


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    """Serves until `stop` is set.

    Raises:
        AddressTaken: somebody else listens there.
        UsageError: the log files, or their manifests, cannot be opened.
    """
    metrics = Metrics(
        environment=settings.environment, instance=settings.instance, heap_limit_bytes=settings.heap_limit_bytes
    )
    metrics.expect_queries(statement.name for statement in STATEMENTS)
    store = MySQLStore(settings.database, metrics.query)
    redis = connect(settings.redis_url)
    sessions = RedisSessions(redis)
    journal = Journal(settings.log_directory, metrics.log_line_lost, settings.announcing, metrics.log_record_written)
    async with AsyncExitStack() as leaving:
        try:
            leaving.enter_context(journal)
        except OSError as error:
            raise UsageError("The log files, or their manifests, cannot be opened", seen=str(error)) from error
        sender = _sender(settings, metrics, leaving)
        parts = Parts(
            store, sessions, RedisPostCache(redis), metrics, journal, settings.environment, settings.instance,
            events=sender or NoEvents(),
        )  # fmt: skip
        leaving.push_async_callback(redis.aclose)
        leaving.push_async_callback(store.close)
        runner = web.AppRunner(build(parts), access_log=None, shutdown_timeout=SHUTDOWN_SECONDS)
        leaving.push_async_callback(runner.cleanup)
        await runner.setup()
        try:
            await web.TCPSite(runner, settings.host, settings.port).start()
        except OSError as error:
            where = f"{settings.host}:{settings.port}"
            raise AddressTaken(f"The subject cannot listen on {where}", seen=error.strerror) from error
        async with asyncio.TaskGroup() as background:
            tables = background.create_task(_make_tables(store, journal, stop))
            active = background.create_task(_look_after(sessions, metrics, parts.previews, stop))
            sending = background.create_task(sender.run()) if sender else None
            await stop.wait()
            if sending is not None:
                sending.cancel()
            tables.cancel()
            active.cancel()


def _sender(settings: Settings, metrics: Metrics, leaving: AsyncExitStack) -> EventSender | None:
    """Who sends events, where there is a collector."""
    if settings.collector is None:
        return None
    sender = EventSender(
        settings.collector,
        settings.log_directory,
        environment=settings.environment,
        instance=settings.instance,
        lost=metrics.events_lost,
        announcing=settings.announcing,
    )
    try:
        return leaving.enter_context(sender)
    except OSError as error:
        raise UsageError("The manifests of events cannot be opened", seen=str(error)) from error


async def _make_tables(store: MySQLStore, journal: Journal, stop: asyncio.Event) -> None:
    told = ""
    while not stop.is_set():
        try:
            await store.prepare()
        except StorageError as error:
            # The same reason four times a second is no news.
            if error.code != told:
                told = error.code
                journal.error("database", error, error.seconds)
            await _pause(stop, RETRY_SECONDS)
        else:
            return


async def _look_after(sessions: Sessions, metrics: Metrics, previews: Previews, stop: asyncio.Event) -> None:
    while not stop.is_set():
        previews.forget_old()
        try:
            metrics.active(await sessions.active())
        except StorageError:
            metrics.storage_error(unavailable=True)
        await _pause(stop, COUNT_SECONDS)


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stop.wait()


async def _run() -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await serve(Settings.from_environment(os.environ), stop)


def main() -> int:
    """Runs the process; the exit code is 0 after a wanted end, else that of the error, told on standard error."""
    # A counter's creation time would double the number of its series and nobody asks for it.
    prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
    try:
        asyncio.run(_run())
    except HarnessError as error:
        print(error, file=sys.stderr)  # noqa: T201  # this is the program's own standard error
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
