"""The shipper hangs: it holds its files and connections, and does nothing any more."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from harness.drive.look import Silence, ask
from harness.drive.records import LaneControl, Look, way_of
from harness.drive.records.asking import emitter_works
from harness.drive.records.parts import STATS, ShipperFault


class ShipperFrozen(ShipperFault):
    """SIGSTOP of the shipper: no restart policy notices, for nothing has ended."""

    id = "shipper-frozen"
    summary = "The shipper is stopped where it is (SIGSTOP) and ships nothing until the fault is healed."
    done = "frozen"
    effect = "it takes a connection and does not answer, while the emitter does"
    hold = timedelta(seconds=10)

    async def disturb(self, control: LaneControl) -> None:
        """Freezes it."""
        await control.freeze(self.component)

    async def mend(self, control: LaneControl) -> None:
        """Lets it go on."""
        await control.thaw(self.component)

    async def seen(self, control: LaneControl) -> Look:
        """It does not answer, and the emitter does."""
        answer, other = await asyncio.gather(ask(self.address(control), STATS), emitter_works(way_of(control)))
        if not isinstance(answer, Silence):
            return Look(False, f"GET {STATS} was answered {answer.status}")
        return Look(other.there and not answer.dead, f"{answer.why}; {other.saw}")
