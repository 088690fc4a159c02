"""A log is rotated by copying and emptying it."""

from __future__ import annotations

from harness.drive.records import Look, Promise, Way
from harness.drive.records.parts import LOG, Mishap, asides, befall


class LogCopyTruncated(Mishap):
    """`logrotate` with `copytruncate`."""

    id = "log-copy-truncated"
    summary = "The system log is copied and emptied, as logrotate does with `copytruncate`."
    done = "copied and emptied"
    effect = "one more file stands beside a log that is shorter than before"
    promise = Promise(
        lost=10,
        why="what is written between the shipper's last look (at most 250 ms ago) and the emptying is in no file",
    )

    async def befall(self, way: Way) -> None:
        """Copies and empties."""
        await befall(way, "copytruncate")

    def trace(self, way: Way) -> Look:
        """One more file, and a shorter log."""
        more, size = len(asides(way)) - int(way.noted.get("files", 0)), (way.logs / LOG).stat().st_size
        shorter = size < way.noted.get("size", 0)
        return Look(more > 0 and shorter, f"{more} more files were put aside, and {LOG} has {size} bytes")
