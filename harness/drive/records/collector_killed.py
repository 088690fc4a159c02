"""The event collector is killed: what it has acknowledged is on its disk."""

from __future__ import annotations

from datetime import timedelta

from harness.drive.look import answers
from harness.drive.monitoring import silenced
from harness.drive.records import EVENTS, LaneControl, Look, Promise, RecordFault, Way
from harness.drive.records.waiting import none_waits

_HEALTH = "/health"


class CollectorKilled(RecordFault):
    """`kill -9` of the event collector; it stays down until the fault is healed."""

    id = "collector-killed"
    summary = "The event collector is killed (SIGKILL), and started again later."
    component = "event-collector"
    what = "the event collector"
    done = "killed"
    effect = "a fresh connection to it is refused"
    health = f"GET {_HEALTH} answers 200"
    needs = frozenset({"clickhouse", "event-collector"})
    concerns = EVENTS
    promise = Promise(duplicates=True)
    hold = timedelta(seconds=5)

    async def disturb(self, control: LaneControl) -> None:
        """Kills it."""
        await control.hold_down(self.component)

    async def mend(self, control: LaneControl) -> None:
        """Starts it."""
        await control.let_up(self.component)

    async def seen(self, control: LaneControl) -> Look:
        """It is gone."""
        return await silenced(self.address(control), _HEALTH)

    async def well(self, control: LaneControl) -> Look:
        """It answers."""
        return await answers(self.address(control), _HEALTH)

    async def flows(self, way: Way, since: float) -> Look:  # noqa: ARG002 - what waits says enough
        """It works, and no event waits any more."""
        return await none_waits(way)
