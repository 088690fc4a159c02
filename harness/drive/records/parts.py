"""What faults of the records' way share by their kind: those of logs, store and shipper, and the emitter's mishaps."""

from __future__ import annotations

import asyncio
import math
from abc import abstractmethod
from datetime import timedelta
from pathlib import Path
from typing import ClassVar, Final

from harness.drive.faults import LaneControl
from harness.drive.look import Look, answers
from harness.drive.monitoring import silenced
from harness.drive.records import EVENTS, SYSTEM, Promise, RecordFault, Way, way_of
from harness.drive.records.asking import HEALTH, befall, emitter_works, logs_flow, store_works, written
from harness.errors import FaultError
from harness.stack.emitter.app import TICK_SECONDS

LOOK_SECONDS: Final = 0.25
"""The longest time between two looks of the shipper at the system log, by `scan_frequency` and `max_backoff` of the
shipped filebeat.yml."""

LATE_SECONDS: Final = 1.0
"""By how much a look may be late on a busy machine: beyond that the harness calls itself starved."""

STATS = "/stats"
"""What Filebeat answers while its inputs are up."""


class LogFault(RecordFault):
    """A fault by which records of logs are concerned: they flow when the store takes in new ones."""

    async def flows(self, way: Way, since: float) -> Look:
        """Whether the store takes in records of logs."""
        return await logs_flow(way, since)


class StoreFault(LogFault):
    """A fault of the store of logs."""

    component = "elasticsearch"
    what = "the store of logs"
    health = f"GET {HEALTH} answers 200"
    hold: ClassVar[timedelta] = timedelta(seconds=20)

    async def well(self, control: LaneControl) -> Look:
        """The store answers, through its path."""
        return await store_works(self.address(control))


class EventStoreDown(RecordFault):
    """A store that the collector of events sends to refuses everybody: what is for it waits where it comes from."""

    done = "cut"
    concerns = EVENTS
    promise: ClassVar[Promise] = Promise(duplicates=True)
    hold: ClassVar[timedelta] = timedelta(seconds=20)
    ping: ClassVar[str] = "/ping"
    pong: ClassVar[int] = 200

    async def disturb(self, control: LaneControl) -> None:
        """Refuses."""
        await control.refuse(self.component)

    async def mend(self, control: LaneControl) -> None:
        """Lets connections through again."""
        await control.restore(self.component)

    async def seen(self, control: LaneControl) -> Look:
        """A connection of our own is refused."""
        return await silenced(self.address(control), self.ping)

    async def well(self, control: LaneControl) -> Look:
        """It answers."""
        return await answers(self.address(control), self.ping, self.pong)


class ShipperFault(LogFault):
    """A fault of the shipper."""

    component = "filebeat"
    what = "the shipper"
    health = f"GET {STATS} answers 200"

    async def well(self, control: LaneControl) -> Look:
        """The shipper tells of itself."""
        return await answers(self.address(control), STATS)

    async def gone(self, control: LaneControl) -> Look:
        """A fresh connection to the shipper is refused."""
        return await silenced(self.address(control), STATS)


class Mishap(LogFault):
    """A mishap of the emitter's log, over when it was applied; its effect is looked for in the log itself."""

    component = "emitter"
    concerns = SYSTEM
    what = "the system log"
    health = "the emitter says how many records it has written"
    hold: ClassVar[timedelta] = timedelta(seconds=1)
    gate_hold: ClassVar[timedelta | None] = timedelta(seconds=1)

    @abstractmethod
    async def befall(self, way: Way) -> None:
        """Has it happen.

        Raises:
            FaultError: it did not.
        """

    @abstractmethod
    def trace(self, way: Way) -> Look:
        """What of it is to be seen in the folder of the log; called in a thread.

        Raises:
            OSError: the folder cannot be read.
        """

    async def disturb(self, control: LaneControl) -> None:
        """Notes how the log stands, and has it happen."""
        way = way_of(control)
        count = await written(way)
        if isinstance(count, str):
            raise FaultError(f"Nothing is known of {self.what}", seen=count)
        log = way.logs / LOG
        way.noted |= {"written": count, "size": log.stat().st_size, "files": len(asides(way))}
        await self.befall(way)

    async def mend(self, control: LaneControl) -> None:
        """Nothing: it is over."""

    async def seen(self, control: LaneControl) -> Look:
        """The trace in the log."""
        way = way_of(control)
        try:
            return await asyncio.to_thread(self.trace, way)
        except OSError as error:
            return Look(False, f"the log cannot be read: {error.strerror}")

    async def well(self, control: LaneControl) -> Look:
        """The emitter writes."""
        return await emitter_works(way_of(control))


def unread(per_second: float, looks_apart_seconds: float) -> int:
    """The most records of a log that its shipper may not have read when nobody expects it.

    Args:
        per_second: records that are written a second.
        looks_apart_seconds: the longest time between two looks of the shipper.
    """
    return math.floor(per_second * (looks_apart_seconds + LATE_SECONDS + TICK_SECONDS)) + 1


def why_unread(per_second: float, looks_apart_seconds: float) -> str:
    """The arithmetic of `unread`, in words."""
    span = looks_apart_seconds + LATE_SECONDS + TICK_SECONDS
    return (
        "what the shipper has not read since its last look is in no file: "
        f"{looks_apart_seconds:g} s between two looks, {LATE_SECONDS:g} s by which a busy machine may be late "
        f"and {TICK_SECONDS:g} s between two writes, "
        f"times {per_second:g} records a second, are {span * per_second:g}, and one that is written at that instant"
    )


LOG = "system.log"
"""What the emitter writes."""


def asides(way: Way) -> list[Path]:
    """The files that rotations have put aside, oldest first."""
    return sorted(way.logs.glob("system-*.log"))


def since_noted(way: Way) -> bytes:
    """What was written into the log since its size was noted."""
    with (way.logs / LOG).open("rb") as log:
        log.seek(int(way.noted.get("size", 0)))
        return log.read()


__all__ = [
    "HEALTH",
    "LATE_SECONDS",
    "LOG",
    "LOOK_SECONDS",
    "STATS",
    "EventStoreDown",
    "LogFault",
    "Mishap",
    "ShipperFault",
    "StoreFault",
    "asides",
    "befall",
    "since_noted",
    "unread",
    "why_unread",
]
