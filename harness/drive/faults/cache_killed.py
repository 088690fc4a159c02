"""The cache is gone: its process is killed and stays down."""

from __future__ import annotations

from harness.drive.component_fault import ComponentFault
from harness.drive.faults import LaneControl
from harness.drive.look import Look
from harness.drive.newcomer import PING, meet, ponged


class CacheKilled(ComponentFault):
    """`kill -9` of the lane's Redis, and its supervisor kept from starting it again."""

    id = "cache-killed"
    summary = "The cache's process is killed (kill -9) and not started again until the fault is healed."
    component = "redis"
    what = "the cache"
    done = "killed"
    effect = "a fresh connection is refused, or cut without an answer"
    health = "PING is answered through the relay"

    async def disturb(self, control: LaneControl) -> None:
        """Kills it and holds it down."""
        await control.hold_down(self.component)

    async def mend(self, control: LaneControl) -> None:
        """Starts it again."""
        await control.let_up(self.component)

    async def seen(self, control: LaneControl) -> Look:
        """Nobody is there; silence is no proof."""
        meeting = await meet(self.address(control), PING)
        return meeting.look(meeting.dead)

    async def well(self, control: LaneControl) -> Look:
        """The cache answers."""
        return await ponged(self.address(control))
