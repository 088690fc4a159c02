"""The path to the database is dead without a word: connections stay open, new ones are taken, nothing is carried."""

from __future__ import annotations

import asyncio

from harness.drive.component_fault import ComponentFault
from harness.drive.faults import LaneControl
from harness.drive.look import Look
from harness.drive.newcomer import GREETING, Met, greeted, meet


class DatabaseHalfOpen(ComponentFault):
    """The relay in the database's path keeps every connection open and carries nothing; the database itself runs on."""

    id = "database-half-open"
    summary = "Connections to the database stay open, new ones are taken, and nothing is carried until it is healed."
    component = "mysql"
    what = "the path to the database"
    done = "left half open"
    effect = "a fresh connection is taken and hears nothing, while the database itself greets"
    health = GREETING

    async def disturb(self, control: LaneControl) -> None:
        """Carries nothing any more."""
        await control.half_open(self.component)

    async def mend(self, control: LaneControl) -> None:
        """Lets connections through again."""
        await control.restore(self.component)

    async def seen(self, control: LaneControl) -> Look:
        """Silence in the path, from its beginning, and a greeting behind it: so it is not we who are slow."""
        meeting, behind = await asyncio.gather(
            meet(self.address(control)), greeted(control.lane.behind[self.component])
        )
        silence = meeting.look(meeting.met is Met.SILENCE and behind.there)
        return Look(silence.there, f"{silence.saw}; {behind.saw}", silence.since)

    async def well(self, control: LaneControl) -> Look:
        """The database greets."""
        return await greeted(self.address(control))
