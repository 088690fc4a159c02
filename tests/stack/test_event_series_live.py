"""The classes of events, with a real InfluxDB and ClickHouse's engine: every announced identity is looked for."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from event_sets import RUN, Kept, a_set, an_engine, fill
from influx_stand import Influxd, an_influxdb

from harness.model.records import WITHDRAWN
from harness.model.series import EVENT_CLASSES, SeriesCompared
from harness.model.stack import Address, Artifact
from harness.observe.series import of_events
from harness.observe.series.of_events import Events, compare_events
from harness.stack.collector.points import SERIES, point

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def engine(
    cache: Path, artifacts: Mapping[str, Artifact], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Address]:
    """The engine, real and running."""
    from harness.stack.provision.fetch import bring

    chdb = bring(("chdb",), cache, lambda text: print(text, file=sys.stderr))["chdb"]  # noqa: T201
    with an_engine(chdb, tmp_path_factory.mktemp("clickhouse")) as at:
        yield at


Line = Callable[[dict[str, Any]], list[str]]
"""The points that are written for an event."""


def as_it_is(one: dict[str, Any]) -> list[str]:
    """The point that the collector writes."""
    return [point(SERIES[one["kind"]], json.dumps(one).encode()).decode().rstrip("\n")]


def spread(kept: Kept) -> Kept:
    """The same events, each at an instant of its own: no two stand in each other's place."""
    for rows in kept.rows.values():
        for number, row in enumerate(rows):
            one = json.loads(row["record"])
            one["timestamp"] = one["timestamp"].replace(".000Z", f".{number:03d}Z")
            row["record"] = json.dumps(one)
    return kept


async def compared(
    influxd: Influxd,
    engine: Address | None,
    tmp_path: Path,
    kept: Kept,
    of_class: str = "performance",
    *,
    database: str,
    line: Line = as_it_is,
) -> SeriesCompared:
    """What is announced is in ClickHouse, its points in InfluxDB; the comparison of both."""
    kept.write(tmp_path / "manifests")
    if engine is not None:
        await fill(engine, database, kept)
    source = EVENT_CLASSES[of_class]
    lines = [text for row in kept.rows[source] for text in line(json.loads(row["record"]))]
    await influxd.takes(of_class, *lines)
    return await compare_events(
        Events(of_class, influxd.address, engine, database, "collector", tmp_path / "manifests", RUN, 0.0, 1e18, 7)
    )


def counts(one: SeriesCompared) -> dict[str, int]:
    """What is not as it should be."""
    assert one.error == ""
    names = ("missing", "differing", "foreign", "twice", "overwritten")
    return {name: getattr(one, name) for name in names if getattr(one, name)}


@pytest.mark.parametrize("of_class", ["performance", "user_activity"])
async def test_every_announced_event_is_found(
    tmp_path: Path, artifacts: Mapping[str, Artifact], engine: Address, of_class: str
) -> None:
    """All of them, once, with their own instants, tags and figures; the control counts what it spoilt."""
    async with an_influxdb(artifacts, tmp_path / "influxdb", of_class) as influxd:
        found = await compared(influxd, engine, tmp_path, spread(a_set(40)), of_class, database=f"whole_{of_class}")
    assert counts(found) == {}
    assert (found.expected, found.found, found.series) == (40, 40, 1)
    assert (found.control.exact, found.control.withheld, found.control.added) == (True, 2, 1)
    assert found.waited_seconds < of_events.SETTLED_SECONDS


async def test_what_is_lost_changed_doubled_and_nobodys_is_found(
    tmp_path: Path, artifacts: Mapping[str, Artifact], engine: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The twins, each counted by what it is; another run's event is nobody's business."""
    monkeypatch.setattr(of_events, "SETTLED_SECONDS", 1.0)
    kept = spread(a_set(40))
    kept.announced.append(replace(kept.announced[-1], identity=f"{RUN}/withdrawn/1"))
    kept.announced.append(replace(kept.announced[-1], level=WITHDRAWN))

    def spoilt(one: dict[str, Any]) -> list[str]:
        [text] = as_it_is(one)
        match one["metadata"]["sequence"].rpartition("/")[2]:
            case "1":
                return []
            case "2":
                return as_it_is({**one, "duration": one["duration"] + 1})
            case "3":
                return [text, *as_it_is({**one, "endpoint": "/elsewhere"})]
            case "4":
                nobody, other = dict(one["metadata"], sequence=f"{RUN}/x/9"), dict(one["metadata"], sequence="y/x/9")
                return [
                    text,
                    *as_it_is({**one, "endpoint": "/a", "metadata": nobody}),
                    *as_it_is({**one, "endpoint": "/b", "metadata": other}),
                ]
            case _:
                return [text]

    async with an_influxdb(artifacts, tmp_path / "influxdb", "performance") as influxd:
        found = await compared(influxd, engine, tmp_path, kept, database="spoilt", line=spoilt)
    # The one that is there twice stands somewhere else the second time, so that it differs as well.
    assert {**counts(found), "differing": 0} == {"missing": 1, "differing": 0, "foreign": 1, "twice": 1}
    assert 1 <= found.differing <= 2
    assert found.control.exact
    assert found.examples["foreign"] == (f"{RUN}/x/9",)


async def test_an_event_in_anothers_place_is_told_apart_from_a_lost_one(
    tmp_path: Path, artifacts: Mapping[str, Artifact], engine: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two of one instant, endpoint and environment are one point; a third that was never written is missing."""
    monkeypatch.setattr(of_events, "SETTLED_SECONDS", 1.0)
    kept = spread(a_set(40))
    rows = [json.loads(row["record"]) for row in kept.rows["performance"]]
    rows[1]["timestamp"] = rows[0]["timestamp"]
    kept.rows["performance"][1]["record"] = json.dumps(rows[1])
    lost = rows[9]["metadata"]["sequence"]
    async with an_influxdb(artifacts, tmp_path / "influxdb", "performance") as influxd:
        found = await compared(
            influxd, engine, tmp_path, kept, database="overwritten",
            line=lambda one: [] if one["metadata"]["sequence"] == lost else as_it_is(one),
        )  # fmt: skip
    assert counts(found) == {"missing": 1, "overwritten": 1}
    assert found.found + found.missing + found.overwritten == found.expected == 40


async def test_without_clickhouse_nobody_can_say_what_is_right(
    tmp_path: Path, artifacts: Mapping[str, Artifact]
) -> None:
    """Identities are counted all the same; the control is not exact, and that is why it is no pass."""
    async with an_influxdb(artifacts, tmp_path / "influxdb", "performance") as influxd:
        found = await compared(influxd, None, tmp_path, spread(a_set(40)), database="none")
        assert (found.found, found.control.exact) == (40, False)
        assert found.doubts == ("no ClickHouse says what instants, tags and figures events have",)
        await influxd.program.kill()
        gone = await compare_events(
            Events("performance", influxd.address, None, "x", "c", tmp_path / "manifests", RUN, 0.0, 1e18, 7)
        )
    assert gone.error.startswith(f"The InfluxDB at {influxd.address} cannot be asked")


async def test_a_window_says_which_events_are_due(tmp_path: Path, artifacts: Mapping[str, Artifact]) -> None:
    """What was announced outside of it is neither missed nor foreign."""
    kept = spread(a_set(40))
    kept.write(tmp_path / "manifests")
    middle = sorted(one.at for one in kept.announced if one.source == "performance")[20] - 0.0005
    async with an_influxdb(artifacts, tmp_path / "influxdb", "performance") as influxd:
        await influxd.takes(
            "performance", *(text for row in kept.rows["performance"] for text in as_it_is(json.loads(row["record"])))
        )
        asked = Events("performance", influxd.address, None, "x", "c", tmp_path / "manifests", RUN, middle, 1e18, 7)
        found = await compare_events(asked)
    assert (found.expected, found.found, found.foreign) == (20, 20, 0)
