"""The store of logs refuses whole requests: its circuit breaker lets nothing in."""

from __future__ import annotations

from typing import Final

from harness.drive.look import Look
from harness.drive.records import LaneControl, way_of
from harness.drive.records.asking import in_store, store_works, told
from harness.drive.records.parts import StoreFault
from harness.errors import StackError

_SETTING: Final = "network.breaker.inflight_requests.limit"
_PROBE: Final = b'{"index": {"_index": "%s"}}\n{"nobody": "' + b"x" * 4096 + b'"}\n'
_TINY: Final = "2kb"


class StoreRefusingRequests(StoreFault):
    """Its breaker of requests in flight is set so low that any bulk trips it: 429 `circuit_breaking_exception`."""

    id = "store-refusing-requests"
    summary = "The store of logs answers every bulk request with 429, because its circuit breaker trips."
    done = "made to refuse requests"
    effect = "a bulk request of our own is answered 429 as a whole"

    async def disturb(self, control: LaneControl) -> None:
        """Sets the limit."""
        await told(way_of(control), "/_cluster/settings", {"transient": {_SETTING: _TINY}})

    async def mend(self, control: LaneControl) -> None:
        """Takes the limit back; a request as small as this one passes the breaker."""
        await told(way_of(control), "/_cluster/settings", {"transient": {_SETTING: None}})

    async def seen(self, control: LaneControl) -> Look:
        """A bulk that would be refused in any case (it names no index that there may be) is refused by the breaker."""
        status = await self._bulk(control)
        return Look(status == 429, f"a bulk request of 4 KB was answered {status}")

    async def well(self, control: LaneControl) -> Look:
        """The store answers, and its breaker lets a bulk through to where its contents are looked at."""
        works = await store_works(self.address(control))
        if not works.there:
            return works
        status = await self._bulk(control)
        return Look(status == 200, f"a bulk request of 4 KB was answered {status}")

    async def _bulk(self, control: LaneControl) -> int | str:
        # An upper-case name is none of an index: the item is refused, whatever the store's state, and nothing is kept.
        try:
            reply = await in_store(way_of(control), "POST", "/_bulk", lines=_PROBE % b"Nowhere")
        except StackError as error:
            return error.what
        return reply.status
