"""The store of time series is down: whoever wants to write into it is refused."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import quote

from harness.drive.look import Silence, answers, ask
from harness.drive.monitoring import silenced
from harness.drive.records import EVENTS, LaneControl, Look, Promise, RecordFault, Way

_PING, _PONG = "/ping", 204
_NEWEST = "SELECT value FROM up WHERE time > {}ms LIMIT 1"


class InfluxdbDown(RecordFault):
    """Every connection to InfluxDB is cut and new ones are refused: samples wait with Prometheus, events on disk."""

    id = "influxdb-down"
    summary = "InfluxDB refuses every connection, as one that does not run."
    component = "influxdb"
    what = "InfluxDB"
    done = "cut"
    effect = "a fresh connection to InfluxDB is refused"
    health = f"GET {_PING} answers {_PONG}"
    needs = frozenset({"influxdb", "clickhouse", "event-collector"})
    concerns = EVENTS
    promise = Promise(duplicates=True)
    hold = timedelta(seconds=20)

    async def disturb(self, control: LaneControl) -> None:
        """Refuses."""
        await control.refuse(self.component)

    async def mend(self, control: LaneControl) -> None:
        """Lets connections through again."""
        await control.restore(self.component)

    async def seen(self, control: LaneControl) -> Look:
        """A connection of our own is refused."""
        return await silenced(self.address(control), _PING)

    async def well(self, control: LaneControl) -> Look:
        """It answers."""
        return await answers(self.address(control), _PING, _PONG)

    async def flows(self, way: Way, since: float) -> Look:
        """Prometheus writes again: a sample is there that is younger than that instant."""
        query = quote(_NEWEST.format(round(since * 1000)))
        answer = await ask(way.lane.addresses["influxdb"], f"/query?db=metrics&q={query}")
        if isinstance(answer, Silence):
            return Look(False, answer.why)
        there = answer.status == 200 and '"values"' in answer.body
        return Look(there, f"InfluxDB has {'a' if there else 'no'} sample of `up` from then on")
