"""The store of logs takes bulk requests and refuses the documents in them."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import orjson

from harness.drive.look import Look
from harness.drive.records import LaneControl, Way, way_of
from harness.drive.records.asking import in_store, store_works, told
from harness.drive.records.parts import StoreFault
from harness.errors import StackError

_BLOCK: Final = "index.blocks.read_only_allow_delete"
_ID: Final = "tocsin-probe"


class StoreRefusingDocuments(StoreFault):
    """`index.blocks.read_only_allow_delete` on the indices of the logs: 200, with 429 for each document in it."""

    id = "store-refusing-documents"
    summary = "The store of logs answers bulk requests with 200 and refuses each document in them with 429."
    done = "made to refuse documents"
    effect = "a bulk request is answered 200, and its one document 429"
    gate_hold = timedelta(seconds=4)
    hold = timedelta(seconds=10)

    async def disturb(self, control: LaneControl) -> None:
        """Sets the block on every index there is."""
        await told(way_of(control), self._settings(way_of(control)), {_BLOCK: True})

    async def mend(self, control: LaneControl) -> None:
        """Takes the block away."""
        await told(way_of(control), self._settings(way_of(control)), {_BLOCK: None})

    async def seen(self, control: LaneControl) -> Look:
        """Our own document is refused."""
        return await refused(way_of(control))

    async def well(self, control: LaneControl) -> Look:
        """The store answers, and no index has the block."""
        works = await store_works(self.address(control))
        if not works.there:
            return works
        blocked = await refused(way_of(control))
        return Look(not blocked.there and "answered" in blocked.saw, blocked.saw)

    @staticmethod
    def _settings(way: Way) -> str:
        return f"/{way.pattern}/_settings"


async def refused(way: Way) -> Look:
    """Whether a bulk is taken and its item refused with 429; what it asks for is the deletion of what is not there.

    A deletion passes `read_only_allow_delete`, so the item is an update of what is not there: 404 where nothing is
    blocked, and nothing is kept in any case.
    """
    try:
        names = await in_store(way, "GET", f"/{way.pattern}/_settings?filter_path=*.settings.index.creation_date")
        if not isinstance(names.body, dict) or not names.body:
            return Look(False, "the store has no index of logs yet")
        index = max(names.body)
        lines = orjson.dumps({"update": {"_index": index, "_id": _ID}}) + b'\n{"doc": {}}\n'
        reply = await in_store(way, "POST", "/_bulk", lines=lines)
    except StackError as error:
        return Look(False, error.what)
    if reply.status != 200:
        return Look(False, f"the whole request was refused: {reply.reason}")
    status = reply.body["items"][0]["update"]["status"]
    return Look(status == 429, f"a bulk request was answered 200, and its one document {status}")
