"""The database is gone: its process is killed and stays down, as in a crash loop."""

from __future__ import annotations

from harness.drive.component_fault import ComponentFault
from harness.drive.faults import LaneControl
from harness.drive.look import Look
from harness.drive.newcomer import GREETING, greeted, meet


class DatabaseKilled(ComponentFault):
    """`kill -9` of the lane's database, and its supervisor kept from starting it again."""

    id = "database-killed"
    summary = "The database's process is killed (kill -9) and not started again until the fault is healed."
    component = "mysql"
    what = "the database"
    done = "killed"
    effect = "a fresh connection is refused, or cut without a greeting"
    health = GREETING

    async def disturb(self, control: LaneControl) -> None:
        """Kills it and holds it down."""
        await control.hold_down(self.component)

    async def mend(self, control: LaneControl) -> None:
        """Starts it again."""
        await control.let_up(self.component)

    async def seen(self, control: LaneControl) -> Look:
        """Nobody is there; silence is no proof."""
        meeting = await meet(self.address(control))
        return meeting.look(meeting.dead)

    async def well(self, control: LaneControl) -> Look:
        """The database greets."""
        return await greeted(self.address(control))
