"""The store of logs is down: whoever wants to send to it is refused."""

from __future__ import annotations

from datetime import timedelta

from harness.drive.monitoring import silenced
from harness.drive.records import LaneControl, Look
from harness.drive.records.parts import HEALTH, StoreFault


class StoreDown(StoreFault):
    """Every connection to the store is cut and new ones are refused, as by a store that does not run."""

    id = "store-down"
    summary = "The store of logs refuses every connection, as one that does not run."
    done = "cut"
    effect = "a fresh connection to the store is refused"
    gate_hold = timedelta(seconds=8)

    async def disturb(self, control: LaneControl) -> None:
        """Refuses."""
        await control.refuse(self.component)

    async def mend(self, control: LaneControl) -> None:
        """Lets connections through again."""
        await control.restore(self.component)

    async def seen(self, control: LaneControl) -> Look:
        """A connection of our own is refused."""
        return await silenced(self.address(control), HEALTH)
