"""A line is written in two halves, with a pause between them."""

from __future__ import annotations

from harness.drive.records import Look, Way
from harness.drive.records.parts import Mishap, befall, since_noted


class HalfLine(Mishap):
    """A writer whose buffer is flushed in the middle of a record."""

    id = "half-line"
    summary = "Half a record is written, and the rest of it 1 s later."
    done = "written half a line"
    effect = "the log has grown by whole lines since"

    async def befall(self, way: Way) -> None:
        """Half a line, a second, the rest."""
        await befall(way, "half", seconds=1)

    def trace(self, way: Way) -> Look:
        """The line is whole now; that it was not for a second is what the emitter answers for."""
        text = since_noted(way)
        return Look(
            text.count(b"\n") > 0, f"the log has grown by {text.count(b'{')} records, the emitter says in halves"
        )
