"""A log is rotated by renaming it."""

from __future__ import annotations

from harness.drive.records import Look, Way
from harness.drive.records.parts import LOG, Mishap, asides, befall


class LogRotated(Mishap):
    """`logrotate` with `create`: the file gets another name, a new one takes its place."""

    id = "log-rotated"
    summary = "The system log is renamed and a new one begun, as logrotate does with `create`."
    done = "rotated"
    effect = "one more file stands beside a log that is shorter than before"

    async def befall(self, way: Way) -> None:
        """Renames it after a burst, of which the shipper has not read all."""
        await befall(way, "burst", count=500)
        await befall(way, "rename")

    def trace(self, way: Way) -> Look:
        """One more file, and a shorter log."""
        more, size = len(asides(way)) - int(way.noted.get("files", 0)), (way.logs / LOG).stat().st_size
        shorter = size < way.noted.get("size", 0)
        return Look(more > 0 and shorter, f"{more} more files were put aside, and {LOG} has {size} bytes")
