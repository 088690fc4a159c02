"""A log is rotated while the shipper is down: what it had not read stands in a file of another name."""

from __future__ import annotations

from datetime import timedelta

from harness.drive.records import LaneControl, Look, way_of
from harness.drive.records.asking import befall
from harness.drive.records.parts import ShipperFault, asides


class LogRotatedWhileShipperDown(ShipperFault):
    """The shipper is killed, records are written, the file is renamed, and more are written into the new one."""

    id = "log-rotated-while-shipper-down"
    summary = "While the shipper is down, 300 records are written and their file is renamed."
    done = "killed, and the log rotated meanwhile"
    effect = "the shipper refuses a connection, and one more file stands beside the log"
    hold = timedelta(seconds=2)

    async def disturb(self, control: LaneControl) -> None:
        """Kills, writes, renames, writes."""
        way = way_of(control)
        way.noted["files"] = len(asides(way))
        await control.hold_down(self.component)
        await befall(way, "burst", count=300)
        await befall(way, "rename")
        await befall(way, "burst", count=300)

    async def mend(self, control: LaneControl) -> None:
        """Starts it."""
        await control.let_up(self.component)

    async def seen(self, control: LaneControl) -> Look:
        """It is gone, and so is the file's name."""
        gone = await self.gone(control)
        way = way_of(control)
        more = len(asides(way)) - int(way.noted.get("files", len(asides(way))))
        return Look(gone.there and more > 0, f"{gone.saw}; {more} more files were put aside")
