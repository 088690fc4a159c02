"""logs-not-shipped: it proves itself and is undone, on doubles of the shipper and of the store of logs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from lane_doubles import UntouchedLane

from harness.drive.faults import RECORDS, Fault, Reach
from harness.drive.faults.logs_not_shipped import LogsNotShipped
from harness.drive.faults.registry import FAULTS
from harness.errors import EffectNotProven, FaultError, StackError
from harness.model.stack import SHARED, Address, Lane

FAULT = LogsNotShipped()
CASES = {"logs-not-shipped": FAULT}


class Part:
    """Something on one port that answers every GET of its own, or takes connections and is silent."""

    def __init__(self) -> None:
        self.going_on = asyncio.Event()
        self.going_on.set()
        self.taken_in = 100
        self.ships = True
        self.address = Address("127.0.0.1", 0)
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listens."""
        app = web.Application()
        app.router.add_get("/{tail:.*}", self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=0.01)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.address = Address(*self._runner.addresses[0])

    async def end(self) -> None:
        """Its port is closed."""
        if self._runner is not None:
            runner, self._runner = self._runner, None
            self.going_on.set()
            await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        await self.going_on.wait()
        if request.path != "/_stats/indexing":
            return web.json_response({})
        self.taken_in += 7 if self.ships else 0
        return web.json_response({"_all": {"total": {"indexing": {"index_total": self.taken_in}}}})


class Shared(UntouchedLane):
    """The shared lane: shipper and store, and an exporter that nobody asks; `deaf` does nothing and says nothing."""

    def __init__(self, shipper: Part, store: Part) -> None:
        super().__init__(Lane(SHARED, {}, {}))
        self.shipper, self.store = shipper, store
        self.broken = self.deaf = False
        self.lacking = ""

    @property
    def lane(self) -> Lane:
        """With the addresses that its parts have now."""
        known = {
            "filebeat": self.shipper.address,
            "elasticsearch": self.store.address,
            "elasticsearch-exporter": Address("127.0.0.1", 1),
        }
        return Lane(SHARED, {name: at for name, at in known.items() if name != self.lacking}, {})

    async def freeze(self, component: str) -> None:
        """It is silent."""
        self._do(component, going_on=False)

    async def thaw(self, component: str) -> None:
        """It goes on."""
        self._do(component, going_on=True)

    def _do(self, component: str, *, going_on: bool) -> None:
        assert component == "filebeat"
        if self.broken:
            raise StackError("The supervisor does not answer")
        if not self.deaf:
            event = self.shipper.going_on
            (event.set if going_on else event.clear)()


@pytest.fixture
async def control(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Shared]:
    """Both are well; looks give up after 0.3 s."""
    monkeypatch.setattr("harness.drive.look.ask.__defaults__", (0.3,))
    monkeypatch.setattr(LogsNotShipped, "well_seconds", 0.2)
    lane = Shared(Part(), Part())
    for part in (lane.shipper, lane.store):
        await part.start()
    try:
        yield lane
    finally:
        for part in (lane.shipper, lane.store):
            await part.end()


def test_what_it_is() -> None:
    """Of all lanes, with the way of records to itself; nothing else lays hands on that way."""
    assert [fault.id for fault in FAULTS if RECORDS & fault.touches] == list(CASES)
    registered: Fault = next(fault for fault in FAULTS if fault.id == FAULT.id)
    assert (registered.reach, registered.touches, registered.signal) == (Reach.SHARED, RECORDS, "real")


async def test_it_proves_itself_and_is_undone(control: Shared) -> None:
    """Twice: t0 is when the silence began, and it is undone when the store takes in more."""
    for _ in range(2):
        begun = time.time()
        await FAULT.apply(control)
        proof = await FAULT.prove(control, 3)
        assert begun < proof.at <= time.time() - 0.3
        assert "no answer" in proof.saw
        before = control.store.taken_in
        healed = await FAULT.undo(control, 3)
        assert healed.at > proof.at
        assert control.store.taken_in > before
        assert "the store took in" in healed.saw
        await FAULT.undo(control, 3)
        assert control.shipper.going_on.is_set()


@pytest.mark.parametrize("how", ["not applied", "the store is silent as well", "the shipper is dead"])
async def test_what_is_no_proof(control: Shared, how: str) -> None:
    """The twins: a shipper that answers, one that is dead, and silence everywhere, which may be our own slowness."""
    if how != "not applied":
        control.shipper.going_on.clear()
    if how == "the store is silent as well":
        control.store.going_on.clear()
    if how == "the shipper is dead":
        await control.shipper.end()
    with pytest.raises(EffectNotProven) as told:
        await FAULT.prove(control, 0.3)
    assert told.value.seen


async def test_what_was_not_well_before_is_not_touched(control: Shared) -> None:
    """A store that does not answer would make the silence prove nothing."""
    await control.store.end()
    control.broken = True
    with pytest.raises(FaultError, match="before"):
        await FAULT.apply(control)


@pytest.mark.parametrize("lacking", ["filebeat", "elasticsearch", "elasticsearch-exporter"])
async def test_without_the_way_nothing_is_tried(control: Shared, lacking: str) -> None:
    """A sentence that names what is lacking: nothing was tried, so nothing was shown."""
    assert set(FAULT.facts(control)) == {"host", "port"}
    control.lacking = lacking
    with pytest.raises(FaultError, match=f"there is no {lacking}\n"):
        FAULT.facts(control)


async def test_an_undo_that_does_nothing_is_noticed(control: Shared) -> None:
    """A shipper that stays silent is not undone, nor is one that answers and ships nothing."""
    await FAULT.apply(control)
    control.deaf = True
    with pytest.raises(FaultError, match="all is not well"):
        await FAULT.undo(control, 0.3)
    control.deaf, control.store.ships = False, False
    with pytest.raises(FaultError, match="nothing that is written comes in"):
        await FAULT.undo(control, 0.5)
    control.store.ships = True
    await FAULT.undo(control, 1)


async def test_what_the_stack_cannot_do_is_told(control: Shared) -> None:
    """A FaultError with what the stack said; after a crash nothing is left to undo."""
    facts = FAULT.facts(control)
    control.broken = True
    with pytest.raises(FaultError, match="could not be stopped"):
        await FAULT.apply(control)
    assert await FAULT.undo_from(facts) is False
