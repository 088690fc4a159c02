"""The shipper is killed in the middle of a burst, with records read and not yet acknowledged."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from harness.drive.records import LaneControl, Look, way_of
from harness.drive.records.asking import befall
from harness.drive.records.parts import ShipperFault

BURST = 2000
_INTO_THE_BURST_SECONDS = 0.15


class ShipperKilled(ShipperFault):
    """`kill -9` of the shipper while a burst is written; it stays down until the fault is healed."""

    id = "shipper-killed"
    summary = f"The shipper is killed (SIGKILL) in the middle of a burst of {BURST} records, and started again later."
    done = "killed"
    effect = "a fresh connection to it is refused"
    gate_hold = timedelta(seconds=2)

    async def disturb(self, control: LaneControl) -> None:
        """Kills it amid the burst."""
        burst = asyncio.create_task(befall(way_of(control), "burst", count=BURST), name="burst")
        try:
            await asyncio.sleep(_INTO_THE_BURST_SECONDS)
            await control.hold_down(self.component)
        finally:
            await burst

    async def mend(self, control: LaneControl) -> None:
        """Starts it."""
        await control.let_up(self.component)

    async def seen(self, control: LaneControl) -> Look:
        """It is gone."""
        return await self.gone(control)
