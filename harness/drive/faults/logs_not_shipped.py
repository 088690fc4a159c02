"""Nothing that is written reaches the store of logs: the shipper hangs, and the store is well."""

from __future__ import annotations

import asyncio
import json
import time

from harness.drive.component_fault import ComponentFault
from harness.drive.faults import RECORDS, LaneControl, Proof, Reach
from harness.drive.look import Look, Silence, answers, ask, watch
from harness.errors import FaultError
from harness.model.stack import Address

_STATS = "/stats"
_STORE, _HEALTH = "elasticsearch", "/_cluster/health"
_WITNESS = "elasticsearch-exporter"
_INTAKE = "/_stats/indexing"
_PAUSE_SECONDS = 0.1


class LogsNotShipped(ComponentFault):
    """SIGSTOP of the shipper that all lanes share: no restart policy notices, for nothing has ended."""

    id = "logs-not-shipped"
    summary = "The shipper of all lanes is stopped where it is (SIGSTOP) and ships nothing until the fault is healed."
    touches = RECORDS
    reach = Reach.SHARED
    component = "filebeat"
    what = "the shipper"
    done = "stopped"
    effect = "it takes a connection and does not answer, while the store of logs does"
    health = f"GET {_STATS} at the shipper and GET {_HEALTH} at the store answer 200"

    def address(self, control: LaneControl) -> Address:
        """Where the shipper tells of itself.

        Raises:
            FaultError: no shipper or no store is there, or nobody tells what the store takes in.
        """
        addresses = control.lane.addresses
        missing = sorted({self.component, _STORE, _WITNESS} - set(addresses))
        if missing:
            raise FaultError(
                f"Logs take no way here: there is no {' and no '.join(missing)}",
                expected="components of these names that all lanes share",
            )
        return addresses[self.component]

    async def disturb(self, control: LaneControl) -> None:
        """Stops it where it is."""
        await control.freeze(self.component)

    async def mend(self, control: LaneControl) -> None:
        """Lets it go on."""
        await control.thaw(self.component)

    async def seen(self, control: LaneControl) -> Look:
        """It takes a connection and is silent, and the store answers: we are not just slow."""
        since = time.time()
        silent, store = await asyncio.gather(
            ask(self.address(control), _STATS), answers(control.lane.addresses[_STORE], _HEALTH)
        )
        if not isinstance(silent, Silence):
            return Look(False, f"GET {_STATS} was answered {silent.status}")
        return Look(store.there and not silent.dead, f"{silent.why}; {store.saw}", since)

    async def well(self, control: LaneControl) -> Look:
        """Both answer."""
        shipper, store = await asyncio.gather(
            answers(self.address(control), _STATS), answers(control.lane.addresses[_STORE], _HEALTH)
        )
        return Look(shipper.there and store.there, f"{shipper.saw}; {store.saw}")

    async def undo(self, control: LaneControl, deadline_seconds: float) -> Proof:
        """Lets it go on, and waits until the store takes in records again.

        Raises:
            FaultError: it could not be let go on, or nothing comes in.
        """
        begun = time.monotonic()
        store = control.lane.addresses[_STORE]
        before = await _taken_in(store)
        await super().undo(control, deadline_seconds)
        return await watch(
            lambda: _more(store, before),
            deadline_seconds - (time.monotonic() - begun),
            otherwise=FaultError,
            what="The shipper goes on and nothing that is written comes in",
            expected="the store has taken in more than before",
            pause_seconds=_PAUSE_SECONDS,
        )


async def _taken_in(store: Address) -> int | str:
    """How many documents the store has taken in since it began; a clause where it does not tell."""
    answer = await ask(store, _INTAKE)
    if isinstance(answer, Silence):
        return answer.why
    try:
        return int(json.loads(answer.body)["_all"]["total"]["indexing"]["index_total"])
    except (ValueError, KeyError, TypeError):
        return f"GET {_INTAKE} at {store} answered {answer.status} and nothing that can be read"


async def _more(store: Address, before: int | str) -> Look:
    """Whether the store has taken in more; where nobody knows what it had before, whether it tells at all."""
    now = await _taken_in(store)
    if isinstance(now, str):
        return Look(False, now)
    known = 0 if isinstance(before, str) else before
    return Look(now > known, f"the store took in {now - known} records since")
