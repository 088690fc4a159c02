"""A record is written over many lines."""

from __future__ import annotations

from typing import Final

from harness.drive.records import Look, Way
from harness.drive.records.parts import Mishap, befall, since_noted

_FRAMES: Final = 30


class StackTrace(Mishap):
    """A record with a stack trace over many lines, of which only the first begins with a brace in the first column."""

    id = "stack-trace"
    summary = f"A record with a stack trace of {_FRAMES} frames is written over many lines."
    done = "written over many lines"
    effect = "lines that begin with a blank were written into the log since"

    async def befall(self, way: Way) -> None:
        """One such record."""
        await befall(way, "stack-trace", frames=_FRAMES)

    def trace(self, way: Way) -> Look:
        """Lines that begin no record."""
        lines = sum(line.startswith(b" ") for line in since_noted(way).split(b"\n"))
        return Look(lines > 0, f"{lines} lines that begin no record were written since")
