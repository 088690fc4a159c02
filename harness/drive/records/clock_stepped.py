"""The clock of a writer of records is stepped."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import orjson

from harness.drive.records import LaneControl, Look, Way, way_of
from harness.drive.records.parts import Mishap, befall, since_noted

_SECONDS: Final = -3600


class ClockStepped(Mishap):
    """The records' own time goes back by an hour, until the fault is healed: they are found all the same."""

    id = "clock-stepped"
    summary = "The clock of the system log's writer is an hour slow until the fault is healed."
    done = "given a clock that is an hour slow"
    effect = "a record with a time of an hour ago was written into the log since"
    hold = timedelta(seconds=5)
    gate_hold = timedelta(seconds=3)

    async def befall(self, way: Way) -> None:
        """Steps it, and has one record written at once."""
        await befall(way, "burst", count=1)
        await befall(way, "clock", seconds=_SECONDS)
        await befall(way, "burst", count=1)

    async def mend(self, control: LaneControl) -> None:
        """Sets it."""
        await befall(way_of(control), "clock", seconds=0)

    def trace(self, way: Way) -> Look:
        """The last record is older than the first that was written since."""
        times = [orjson.loads(line)["timestamp"] for line in since_noted(way).split(b"\n")[:-1] if line[:1] == b"{"]
        back = bool(times) and times[-1] < times[0]
        return Look(
            back, f"records of {times[0]} and then of {times[-1]} were written" if times else "none was written"
        )
