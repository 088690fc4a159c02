"""The store of logs hangs: connections to it stay open and carry nothing."""

from __future__ import annotations

from harness.drive.records import LaneControl, Look
from harness.drive.records.asking import silence
from harness.drive.records.parts import StoreFault


class StoreHanging(StoreFault):
    """The path to the store is left half open: what is sent is taken, and nobody answers."""

    id = "store-hanging"
    summary = "The store of logs takes every connection and answers nobody."
    what = "the path to the store of logs"
    done = "left half open"
    effect = "a fresh connection is taken and hears nothing, while the store itself answers"

    async def disturb(self, control: LaneControl) -> None:
        """Carries nothing any more."""
        await control.half_open(self.component)

    async def mend(self, control: LaneControl) -> None:
        """Lets connections through again."""
        await control.restore(self.component)

    async def seen(self, control: LaneControl) -> Look:
        """Silence in the path, and an answer behind it."""
        return await silence(self.address(control), control.lane.behind[self.component])
