"""The store of time series is down: whoever wants to write into it is refused."""

from __future__ import annotations

from urllib.parse import quote

from harness.drive.look import Silence, ask
from harness.drive.records import Look, Way
from harness.drive.records.parts import EventStoreDown

_NEWEST = "SELECT value FROM up WHERE time > {}ms LIMIT 1"


class InfluxdbDown(EventStoreDown):
    """Every connection to InfluxDB is cut and new ones are refused: samples wait with Prometheus, events on disk."""

    id = "influxdb-down"
    summary = "InfluxDB refuses every connection, as one that does not run."
    component = "influxdb"
    what = "InfluxDB"
    effect = "a fresh connection to InfluxDB is refused"
    health = f"GET {EventStoreDown.ping} answers 204"
    needs = frozenset({"influxdb", "clickhouse", "event-collector"})
    pong = 204

    async def flows(self, way: Way, since: float) -> Look:
        """Prometheus writes again: a sample is there that is younger than that instant."""
        query = quote(_NEWEST.format(round(since * 1000)))
        answer = await ask(way.lane.addresses["influxdb"], f"/query?db=metrics&q={query}")
        if isinstance(answer, Silence):
            return Look(False, answer.why)
        there = answer.status == 200 and '"values"' in answer.body
        return Look(there, f"InfluxDB has {'a' if there else 'no'} sample of `up` from then on")
