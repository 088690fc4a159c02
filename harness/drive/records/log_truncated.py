"""A log is emptied, and no copy is kept."""

from __future__ import annotations

from harness.drive.records import Look, Promise, Way
from harness.drive.records.parts import LOG, LOOK_SECONDS, Mishap, befall, unread, why_unread
from harness.stack.emitter.app import DEFAULT_PER_SECOND


class LogTruncated(Mishap):
    """Somebody empties the log (`> system.log`) to make room."""

    id = "log-truncated"
    summary = "The system log is emptied, and no copy is kept."
    done = "emptied"
    effect = "the log is shorter than before"
    promise = Promise(lost=unread(DEFAULT_PER_SECOND, LOOK_SECONDS), why=why_unread(DEFAULT_PER_SECOND, LOOK_SECONDS))

    async def befall(self, way: Way) -> None:
        """Empties it."""
        await befall(way, "truncate")

    def trace(self, way: Way) -> Look:
        """A shorter log."""
        size = (way.logs / LOG).stat().st_size
        return Look(size < way.noted.get("size", 0), f"{LOG} had {way.noted.get('size', 0):g} bytes and has {size}")
