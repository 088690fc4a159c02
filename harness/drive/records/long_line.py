"""A record is a line of a megabyte."""

from __future__ import annotations

from typing import Final

from harness.drive.records import Look, Way
from harness.drive.records.parts import Mishap, befall, since_noted

_CHARACTERS: Final = 1_000_000


class LongLine(Mishap):
    """A record of one line of a megabyte: below the shipper's limit of 10 MiB, above many a default."""

    id = "long-line"
    summary = "A record is written whose one line has a million characters."
    done = "written a long line"
    effect = f"a line of more than {_CHARACTERS} bytes was written into the log since"

    async def befall(self, way: Way) -> None:
        """One such record."""
        await befall(way, "long", characters=_CHARACTERS)

    def trace(self, way: Way) -> Look:
        """A line of that length."""
        longest = max(map(len, since_noted(way).split(b"\n")))
        return Look(longest > _CHARACTERS, f"the longest line that was written since has {longest} bytes")
