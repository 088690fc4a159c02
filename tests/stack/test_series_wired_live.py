"""What a run does about time series: all of them compared when it is over, after an outage of InfluxDB amid it."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from pathlib import Path

import pytest
from log_stack import loaded
from record_way import EVENTS, Flow, flowing
from test_event_episodes_live import acknowledged, visited

from harness.bookkeeping import Bookkeeping, Provided
from harness.drive.episodes import play_episodes
from harness.drive.records.influxdb_down import InfluxdbDown
from harness.model.audit import RecordsAudited
from harness.model.episodes import EpisodeEnded, EpisodePlan, EpisodePlanned
from harness.model.events import Payload
from harness.model.series import SeriesCompared
from harness.model.stack import Artifact
from harness.model.verdicts import Verdict
from harness.observe.series.influx import Influx
from harness.verdict.record import record
from harness.verdict.series import verdict_of

pytestmark = pytest.mark.stack

KINDS = ("prometheus", "influxdb", "clickhouse", "event-collector")
HOLD = timedelta(seconds=5)
SETTLING_SECONDS = 6.0
"""Prometheus scrapes five seconds after its start at the earliest."""

Done = Callable[[Flow], Awaitable[None]]
"""What is done to the stores when all is over, before anything is compared."""


async def untouched(_: Flow) -> None:
    """Nothing."""


async def robbed(flow: Flow) -> None:
    """All that InfluxDB has of a class, and one series of another, is deleted."""
    async with Influx(flow.stack.layout.site("influxdb").address) as influx:
        await influx.rows("DROP SERIES FROM user_activity", "user_activity")
        await influx.rows("DROP SERIES FROM up WHERE job = 'prometheus'", "metrics")


async def run(folder: Path, artifacts: Mapping[str, Artifact], done: Done) -> list[Payload]:
    """An application is visited while InfluxDB is down for a while; then the run's own audit, told event by event."""
    async with flowing(folder, artifacts, kinds=KINDS) as flow:
        policies = loaded(folder / "policies")
        policies = dataclasses.replace(
            policies, components=tuple(one for one in policies.components if one.kind in KINDS)
        )
        told: list[Payload] = []
        books = Bookkeeping(flow.run, folder, policies, Provided(policies, artifacts, {}), told.append, 1)
        fault = InfluxdbDown()
        plan = EpisodePlan(
            "episode-1", fault.id, fault.summary, fault.signal, EVENTS, timedelta(0), HOLD, fault.promise
        )
        flow.world.write(EpisodePlanned(plan))
        async with visited(flow):
            await asyncio.sleep(SETTLING_SECONDS)
            await play_episodes([plan], flow.way, flow.world, stop=asyncio.Event(), faults={fault.id: fault})
            await acknowledged(flow)
        assert [one.why for _, one in flow.told if isinstance(one, EpisodeEnded)] == [""]
        await done(flow)
        began = time.monotonic()
        await books.audit(flow.stack)
        print(f"{time.monotonic() - began:.1f} s", *told, sep="\n")  # noqa: T201 - the figures, for who runs it with -s
    return told


def verdicts(told: list[Payload]) -> dict[str, Verdict]:
    """What each class comes to."""
    empty = record(())
    return {one.of_class: verdict_of(one, empty) for one in told if isinstance(one, SeriesCompared)}


async def test_an_outage_of_influxdb_costs_none_of_the_three_classes_a_sample(
    tmp_path: Path, artifacts: Mapping[str, Artifact]
) -> None:
    """Down for five seconds: every sample and every event is there afterwards, and ClickHouse missed nothing."""
    told = await run(tmp_path, artifacts, untouched)
    assert verdicts(told) == dict.fromkeys(("metrics", "performance", "user_activity"), Verdict.PASS)
    by_class = {one.of_class: one for one in told if isinstance(one, SeriesCompared)}
    assert all(one.control.exact and one.expected > 50 for one in by_class.values())
    assert [one.fates.lost for one in told if isinstance(one, RecordsAudited)] == [0] * len(EVENTS)


async def test_what_is_gone_from_influxdb_is_red(tmp_path: Path, artifacts: Mapping[str, Artifact]) -> None:
    """The twin: a class and a series are deleted behind everybody's back, and only these are red."""
    told = await run(tmp_path, artifacts, robbed)
    assert verdicts(told) == {
        "metrics": Verdict.FAIL,
        "performance": Verdict.PASS,
        "user_activity": Verdict.FAIL,
    }
    by_class = {one.of_class: one for one in told if isinstance(one, SeriesCompared)}
    events = by_class["user_activity"]  # what its collector still had on its disk came after the deletion
    assert events.missing + events.found == events.expected
    assert events.missing > 50
    assert all('job="prometheus"' in name for name in by_class["metrics"].examples["missing"])
