"""The process: `python -m harness.stack.collector --store.path=DIR --events.schemas=DIR --clickhouse.url=URL`.

It listens as soon as it can and needs ClickHouse, and InfluxDB where it is named, for nothing but its disk not to
fill. SIGTERM and SIGINT end it at
once: what it has acknowledged is on disk, and is sent on when it is started again.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Final

import prometheus_client
from aiohttp import web

from harness.errors import AddressTaken, HarnessError, UsageError
from harness.stack.collector.commits import GroupCommit
from harness.stack.collector.database import SpoolError
from harness.stack.collector.forwarder import Forwarder
from harness.stack.collector.intake import Intake
from harness.stack.collector.letters import DeadLetters
from harness.stack.collector.metrics import Metrics
from harness.stack.collector.points import SERIES
from harness.stack.collector.schemas import Schemas
from harness.stack.collector.settings import Settings, read
from harness.stack.collector.spool import CLICKHOUSE, INFLUXDB, Spool

SHUTDOWN_SECONDS: Final = 0.1
"""For requests that are under way when we are told to end."""


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    """Takes events in and sends them on until `stop` is set.

    Raises:
        AddressTaken: somebody else listens there.
        UsageError: the schemas are none, or the store cannot be opened.
    """
    schemas = Schemas(settings.schemas)
    metrics = Metrics()
    metrics.expect(schemas.kinds)
    async with AsyncExitStack() as leaving:
        try:
            # What is no time series passes InfluxDB by.
            beside = {} if settings.influxdb is None else {INFLUXDB: frozenset(SERIES)}
            spool = Spool(settings.store, {CLICKHOUSE: None, **beside})
            leaving.callback(spool.close)
            letters = DeadLetters(settings.store, settings.limits.letters)
            leaving.callback(letters.close)
        except (SpoolError, OSError) as error:
            raise UsageError("The events of the collector cannot be kept", seen=str(error)) from error
        forwarders = _forwarders(settings, spool, letters, metrics, schemas)
        commits = await leaving.enter_async_context(GroupCommit(spool.keep))
        intake = Intake(schemas, spool, commits, letters, forwarders, metrics, settings.limits)
        runner = web.AppRunner(intake.application(), access_log=None, shutdown_timeout=SHUTDOWN_SECONDS)
        leaving.push_async_callback(runner.cleanup)
        await runner.setup()
        try:
            await web.TCPSite(runner, settings.host, settings.port).start()
        except OSError as error:
            where = f"{settings.host}:{settings.port}"
            raise AddressTaken(f"The event collector cannot listen on {where}", seen=error.strerror) from error
        async with asyncio.TaskGroup() as working:
            work = [working.create_task(forwarder.run()) for forwarder in forwarders]
            await stop.wait()
            for one in work:
                one.cancel()


def _forwarders(
    settings: Settings, spool: Spool, letters: DeadLetters, metrics: Metrics, schemas: Schemas
) -> list[Forwarder]:
    """One for each destination that the command line names."""
    first = Forwarder(
        spool.outlets[CLICKHOUSE],
        spool.store,
        settings.clickhouse,
        metrics.outflow(settings.clickhouse.title, "store", schemas.kinds),
        letters.write,
        settings.batch_events,
    )
    if settings.influxdb is None:
        return [first]
    second = Forwarder(
        spool.outlets[INFLUXDB],
        spool.store,
        settings.influxdb,
        metrics.outflow(settings.influxdb.title, INFLUXDB, SERIES, f"{INFLUXDB}_"),
        letters.write,
        settings.batch_points,
    )
    return [first, second]


async def _run(settings: Settings) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await serve(settings, stop)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the process; the exit code is 0 after a wanted end, else that of the error, told on standard error."""
    parser = argparse.ArgumentParser(prog="python -m harness.stack.collector", description="The event collector.")
    settings = read(parser, arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    # A counter's creation time would double the number of its series and nobody asks for it.
    prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
    try:
        asyncio.run(_run(settings))
    except HarnessError as error:
        print(error, file=sys.stderr)  # noqa: T201  # this is the program's own standard error
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
