"""The event collector in runs with and without its destinations: what it counts, and whom it sends to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.errors import StackError
from harness.model.policy import ComponentPolicy
from harness.model.source import Span
from harness.model.stack import Address
from harness.policy.parse.units import parse
from harness.stack.components.event_collector import EventCollector
from harness.stack.site import Site


def site(folder: Path, **more: object) -> Site:
    """Where a collector stands, with a policy of its own and no ClickHouse."""
    span = Span("stack.yaml", 1, 1, 1, 1)
    policy = ComponentPolicy("event-collector", "event-collector", ("event-collector:8088",), None, False, span)
    rest = {"configuration": folder / "events", **more}
    here = Address("127.0.0.1", 8088)
    return Site("run", policy, None, here, folder, folder / "log", folder, folder, **rest)  # type: ignore[arg-type]


def test_without_clickhouse_it_sends_where_nobody_is(tmp_path: Path) -> None:
    """Its events wait on its disk; it is no reason not to start."""
    launch = EventCollector().launch(site(tmp_path, nowhere=Address("127.0.0.1", 9)))
    assert "--clickhouse.url=http://127.0.0.1:9/" in " ".join(launch.argv).replace(" http", "=http")


def test_with_clickhouse_it_sends_there(tmp_path: Path) -> None:
    """The twin: a store that is there is never passed by."""
    peers = {"clickhouse": Address("127.0.0.1", 8123)}
    launch = EventCollector().launch(site(tmp_path, nowhere=Address("127.0.0.1", 9), peers=peers))
    assert "http://127.0.0.1:8123/" in " ".join(launch.argv)
    assert "http://127.0.0.1:9/" not in " ".join(launch.argv)


def test_a_stack_that_forgot_it_is_told(tmp_path: Path) -> None:
    """Where not even nowhere is known, a sentence."""
    with pytest.raises(StackError, match="clickhouse"):
        EventCollector().launch(site(tmp_path))


UNIT = (
    "[Service]\nExecStart=/usr/bin/python -m harness.stack.collector --clickhouse.url=http://clickhouse:8123/"
    " --influxdb.url=http://influxdb:8086/\n"
)


def argv(folder: Path, unit: str | None, **peers: Address) -> str:
    """The command line in the sandbox of a collector with a unit, which can reach these."""
    stands = site(folder, nowhere=Address("127.0.0.1", 9), peers=peers)
    policy = stands.component if unit is None else replace(stands.component, unit=parse(unit, "units/c.service").value)
    return " ".join(EventCollector().launch(replace(stands, component=policy)).argv)


def test_points_go_to_the_sandboxs_influxdb(tmp_path: Path) -> None:
    """Never to production's."""
    told = argv(tmp_path, UNIT, influxdb=Address("127.0.0.1", 8086))
    assert "--influxdb.url=http://127.0.0.1:8086/" in told
    assert "http://influxdb" not in told


def test_without_influxdb_in_the_run_no_points_wait(tmp_path: Path) -> None:
    """The flag goes: what nobody will ever take would fill the disk's share."""
    assert "--influxdb" not in argv(tmp_path, UNIT)


def test_a_unit_that_writes_no_points_writes_none_here(tmp_path: Path) -> None:
    """What production does not do is not tried."""
    unit = UNIT.replace(" --influxdb.url=http://influxdb:8086/", "")
    assert "--influxdb" not in argv(tmp_path, unit, influxdb=Address("127.0.0.1", 8086))
    assert "--influxdb" not in argv(tmp_path, None, influxdb=Address("127.0.0.1", 8086))
