"""The store of events is down: whoever wants to send to it is refused."""

from __future__ import annotations

from datetime import timedelta

from harness.drive.look import answers
from harness.drive.monitoring import silenced
from harness.drive.records import EVENTS, LaneControl, Look, Promise, RecordFault, Way
from harness.drive.records.waiting import none_waits

_PING = "/ping"


class ClickhouseDown(RecordFault):
    """Every connection to ClickHouse is cut and new ones are refused: events wait on the collector's disk."""

    id = "clickhouse-down"
    summary = "ClickHouse refuses every connection, as one that does not run."
    component = "clickhouse"
    what = "ClickHouse"
    done = "cut"
    effect = "a fresh connection to ClickHouse is refused"
    health = f"GET {_PING} answers 200"
    needs = frozenset({"clickhouse", "event-collector"})
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
        return await answers(self.address(control), _PING)

    async def flows(self, way: Way, since: float) -> Look:  # noqa: ARG002 - what waits says enough
        """No event waits any more."""
        return await none_waits(way)
