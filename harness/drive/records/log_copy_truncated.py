"""A log is rotated by copying and emptying it."""

from __future__ import annotations

from harness.drive.records import Look, Way
from harness.drive.records.parts import LOG, Mishap, asides, befall


class LogCopyTruncated(Mishap):
    """`logrotate` with `copytruncate`.

    What the shipper has not read stands in the copy, whose name its paths match. Only what is written between the copy
    and the emptying is in no file: the emitter's rate times no time at all, for it writes nothing meanwhile.
    """

    id = "log-copy-truncated"
    summary = "The system log is copied and emptied, as logrotate does with `copytruncate`."
    done = "copied and emptied"
    effect = "one more file stands beside a log that is shorter than before"

    async def befall(self, way: Way) -> None:
        """Copies and empties."""
        await befall(way, "copytruncate")

    def trace(self, way: Way) -> Look:
        """One more file, and a shorter log."""
        more, size = len(asides(way)) - int(way.noted.get("files", 0)), (way.logs / LOG).stat().st_size
        shorter = size < way.noted.get("size", 0)
        return Look(more > 0 and shorter, f"{more} more files were put aside, and {LOG} has {size} bytes")
