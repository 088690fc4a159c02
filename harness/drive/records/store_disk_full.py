"""The disk of the store of logs is full: the store itself blocks writing at its flood stage."""

from __future__ import annotations

from typing import Final

from harness.drive.faults import Proof
from harness.drive.look import Look, told_as_fault
from harness.drive.records import LaneControl, way_of
from harness.drive.records.asking import in_store, store_works, told
from harness.drive.records.parts import StoreFault
from harness.errors import StackError

_AT: Final = "cluster.routing.allocation.disk"
_ALL: Final = (
    f"{_AT}.threshold_enabled",
    f"{_AT}.watermark.low",
    f"{_AT}.watermark.high",
    f"{_AT}.watermark.flood_stage",
    "cluster.info.update.interval",
)
_FULL: Final = ("true", "1000000gb", "1000000gb", "1000000gb", "10s")
"""More free disk is asked for than there is anywhere: to the store its disk is at the flood stage."""
_BLOCK: Final = "read_only_allow_delete"


class StoreDiskFull(StoreFault):
    """Watermarks that no disk can keep: the store's own disk monitor sets the block, and takes it away again."""

    id = "store-disk-full"
    summary = "The store of logs finds its disk at the flood stage and blocks every index for writing."
    done = "made to find its disk full"
    effect = "the indices of the logs carry the block that the store's disk monitor sets"

    async def disturb(self, control: LaneControl) -> None:
        """Raises the watermarks."""
        settings = dict(zip(_ALL, _FULL, strict=True))
        await told(way_of(control), "/_cluster/settings", {"transient": settings})

    async def mend(self, control: LaneControl) -> None:
        """Gives the disk room: watermarks that any disk keeps, until the store has taken its block away by itself."""
        settings = dict(zip(_ALL, ("true", "1mb", "1mb", "1mb", "10s"), strict=True))
        await told(way_of(control), "/_cluster/settings", {"transient": settings})

    async def undo(self, control: LaneControl, deadline_seconds: float) -> Proof:
        """Gives the disk room, waits until the block is gone, and takes all settings back.

        Raises:
            FaultError: the block is not gone in time, or the settings could not be taken back.
        """
        proof = await super().undo(control, deadline_seconds)
        with told_as_fault("The watermarks of the store of logs could not be taken back"):
            await told(way_of(control), "/_cluster/settings", {"transient": dict.fromkeys(_ALL)})
        return proof

    async def seen(self, control: LaneControl) -> Look:
        """The block is there."""
        blocked = await self._blocked(control)
        if isinstance(blocked, str):
            return Look(False, blocked)
        return Look(blocked > 0, f"{blocked} indices of the logs are blocked for writing")

    async def well(self, control: LaneControl) -> Look:
        """The store answers, and no index is blocked."""
        works = await store_works(self.address(control))
        blocked = await self._blocked(control) if works.there else works.saw
        if isinstance(blocked, str):
            return Look(False, blocked)
        return Look(not blocked, f"{blocked} indices of the logs are blocked for writing")

    async def _blocked(self, control: LaneControl) -> int | str:
        way = way_of(control)
        path = f"/{way.pattern}/_settings/index.blocks.{_BLOCK}"
        try:
            reply = await in_store(way, "GET", path)
        except StackError as error:
            return error.what
        if reply.status != 200 or not isinstance(reply.body, dict):
            return f"GET {path} was answered {reply.reason}"
        found = (one["settings"].get("index", {}).get("blocks", {}) for one in reply.body.values())
        return [one.get(_BLOCK) for one in found].count("true")
