"""The event collector in a run that follows no records: nobody keeps its events, and it counts them all the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import StackError
from harness.model.policy import ComponentPolicy
from harness.model.source import Span
from harness.model.stack import Address
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
