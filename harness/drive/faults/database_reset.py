"""The path to the database rejects: every connection is reset, and new ones are reset as soon as they are made."""

from __future__ import annotations

from harness.drive.component_fault import ComponentFault
from harness.drive.faults import LaneControl
from harness.drive.look import Look
from harness.drive.newcomer import GREETING, Met, greeted, meet


class DatabaseReset(ComponentFault):
    """The relay in the database's path takes connections and resets them; the database itself runs on."""

    id = "database-reset"
    summary = "Every connection to the database is reset in its path, new ones as soon as they are made, until healed."
    component = "mysql"
    what = "the path to the database"
    done = "reset"
    effect = "a fresh connection is reset, and not refused"
    health = GREETING

    async def disturb(self, control: LaneControl) -> None:
        """Resets in the path."""
        await control.reset(self.component)

    async def mend(self, control: LaneControl) -> None:
        """Lets connections through again."""
        await control.restore(self.component)

    async def seen(self, control: LaneControl) -> Look:
        """A connection of our own is reset."""
        meeting = await meet(self.address(control))
        return meeting.look(meeting.met is Met.RESET)

    async def well(self, control: LaneControl) -> Look:
        """The database greets."""
        return await greeted(self.address(control))
