"""The database's exporter is gone: the database is well, and nobody can know."""

from __future__ import annotations

from harness.drive.component_fault import ComponentFault
from harness.drive.faults import LaneControl
from harness.drive.look import Look
from harness.drive.newcomer import ASK, Met, meet


class ExporterKilled(ComponentFault):
    """`kill -9` of the lane's database exporter, and its supervisor kept from starting it again."""

    id = "exporter-killed"
    summary = "The database's exporter is killed (kill -9) and not started again until the fault is healed."
    component = "mysql-exporter"
    what = "the database's exporter"
    done = "killed"
    effect = "a fresh connection is refused, or cut without an answer"
    health = "it answers HTTP"

    async def disturb(self, control: LaneControl) -> None:
        """Kills it and holds it down."""
        await control.hold_down(self.component)

    async def mend(self, control: LaneControl) -> None:
        """Starts it again."""
        await control.let_up(self.component)

    async def seen(self, control: LaneControl) -> Look:
        """Nobody is there; silence is no proof."""
        meeting = await meet(self.address(control), ASK)
        return meeting.look(meeting.dead)

    async def well(self, control: LaneControl) -> Look:
        """It answers; its first page is asked for, since a scrape would cost it 20 ms of processor each time."""
        meeting = await meet(self.address(control), ASK)
        return meeting.look(meeting.met is Met.ANSWER)
