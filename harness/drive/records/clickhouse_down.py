"""The store of events is down: whoever wants to send to it is refused."""

from __future__ import annotations

from harness.drive.records import Look, Way
from harness.drive.records.parts import EventStoreDown
from harness.drive.records.waiting import none_waits


class ClickhouseDown(EventStoreDown):
    """Every connection to ClickHouse is cut and new ones are refused: events wait on the collector's disk."""

    id = "clickhouse-down"
    summary = "ClickHouse refuses every connection, as one that does not run."
    component = "clickhouse"
    what = "ClickHouse"
    effect = "a fresh connection to ClickHouse is refused"
    health = f"GET {EventStoreDown.ping} answers {EventStoreDown.pong}"
    needs = frozenset({"clickhouse", "event-collector"})

    async def flows(self, way: Way, since: float) -> Look:  # noqa: ARG002 - what waits says enough
        """No event waits any more."""
        return await none_waits(way)
