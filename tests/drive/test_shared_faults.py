"""Faults of what all lanes share: each proves itself and is undone, on doubles of the parts of the monitoring."""

from __future__ import annotations

import asyncio
import re
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path

import pytest
from aiohttp import web
from lane_doubles import UntouchedLane

from harness.drive import monitoring
from harness.drive.faults import Fault, Proof, Reach
from harness.drive.faults.alertmanager_crashed import AlertmanagerCrashed
from harness.drive.faults.alertmanager_down import WRITTEN_SECONDS, AlertmanagerDown
from harness.drive.faults.heartbeat_refused import HeartbeatRefused
from harness.drive.faults.listener_crashed import ListenerCrashed
from harness.drive.faults.prometheus_crashed import PrometheusCrashed
from harness.drive.faults.prometheus_frozen import PrometheusFrozen
from harness.drive.faults.registry import FAULTS
from harness.drive.faults.reload_broken import ReloadBroken
from harness.drive.monitoring import MONITORING
from harness.errors import EffectNotProven, FaultError, StackError
from harness.model.stack import SHARED, Address, Lane
from harness.model.time import parse_duration
from harness.stack.relay import Relay

ROOT = Path(__file__).parents[2]
CASES: Mapping[str, Fault] = {
    "heartbeat-refused": HeartbeatRefused(),
    "alertmanager-down": AlertmanagerDown(),
    "prometheus-frozen": PrometheusFrozen(),
    "reload-broken": ReloadBroken(),
    "prometheus-crashed": PrometheusCrashed(),
    "alertmanager-crashed": AlertmanagerCrashed(),
    "listener-crashed": ListenerCrashed(),
}
every_fault = pytest.mark.parametrize("fault", CASES.values(), ids=CASES)


class Part:
    """A part of the monitoring: it is ready, tells of itself, and can be killed, stopped and started again."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.address = Address("127.0.0.1", 0)
        self.started = time.time() - 3600
        self.loaded = 1
        self.managers: object = [{"url": "http://a"}]
        self.targets: object = [{"health": "up"}, {"health": "down"}]
        self.going_on = asyncio.Event()
        self.going_on.set()
        self._runner: web.AppRunner | None = None

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._runner is not None

    async def start(self) -> None:
        """Listens, on the same port as before."""
        app = web.Application(middlewares=[self._frozen])
        for path in ("/-/ready", "/-/healthy", "/health"):
            app.router.add_get(path, self._well)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/api/v1/{what}", self._api)
        self._runner = web.AppRunner(app, shutdown_timeout=0.01)
        await self._runner.setup()
        await web.TCPSite(self._runner, self.address.host, self.address.port, reuse_address=True).start()
        self.address = Address(*self._runner.addresses[0])

    async def end(self) -> None:
        """Ends as a killed process does: the port is closed."""
        if self._runner is not None:
            runner, self._runner = self._runner, None
            await runner.cleanup()

    @web.middleware
    async def _frozen(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        await self.going_on.wait()
        return await handler(request)

    async def _well(self, _: web.Request) -> web.Response:
        return web.Response(text="OK")

    async def _metrics(self, _: web.Request) -> web.Response:
        started, loaded = self.started, self.loaded
        return web.Response(
            text=f"process_start_time_seconds {started}\nalertmanager_config_last_reload_successful {loaded}\n"
        )

    async def _api(self, _: web.Request) -> web.Response:
        return web.json_response({"data": {"activeAlertmanagers": self.managers, "activeTargets": self.targets}})


class SharedLane(UntouchedLane):
    """The three parts, with a relay before the listener; `broken` raises, `deaf` does nothing and says nothing."""

    def __init__(self, parts: Mapping[str, Part], relay: Relay) -> None:
        addresses = {name: part.address for name, part in parts.items()}
        listener = addresses["dead-mans-listener"]
        super().__init__(
            Lane(SHARED, {**addresses, "dead-mans-listener": relay.address}, {"dead-mans-listener": listener})
        )
        self.parts = parts
        self.relay = relay
        self.broken = False
        self.deaf = False
        self.restart_seconds = 0.2
        self._restarts: set[asyncio.Task[None]] = set()

    async def _do(self, doing: Callable[[], Awaitable[None]]) -> None:
        if self.broken:
            raise StackError("The supervisor does not answer", output=("last line",))
        if not self.deaf:
            await doing()

    async def hold_down(self, component: str) -> None:
        """Ends it."""
        await self._do(self.parts[component].end)

    async def let_up(self, component: str) -> None:
        """Starts it again, if it was ended."""
        part = self.parts[component]
        await self._do(self._same if part.alive else part.start)

    async def crash(self, component: str) -> None:
        """Ends it, and starts another process a moment later, as its unit would."""
        await self._do(lambda: self._crash(self.parts[component]))

    async def freeze(self, component: str) -> None:
        """It takes connections and answers nobody."""
        await self._do(lambda: self._set(self.parts[component].going_on.clear))

    async def thaw(self, component: str) -> None:
        """It goes on."""
        await self._do(lambda: self._set(self.parts[component].going_on.set))

    async def refuse(self, component: str) -> None:
        """Refuses in the path of the listener."""
        assert component == "dead-mans-listener"
        await self._do(self.relay.refuse)

    async def restore(self, component: str) -> None:
        """Lets through again."""
        assert component == "dead-mans-listener"
        await self._do(self.relay.restore)

    async def spoil_configuration(self, component: str) -> None:
        """Its last reload failed."""
        await self._do(lambda: self._set(lambda: setattr(self.parts[component], "loaded", 0)))

    async def mend_configuration(self, component: str) -> None:
        """Its last reload succeeded."""
        await self._do(lambda: self._set(lambda: setattr(self.parts[component], "loaded", 1)))

    async def close(self) -> None:
        """Ends whatever still comes."""
        for restart in self._restarts:
            restart.cancel()
        await asyncio.gather(*self._restarts, return_exceptions=True)
        for part in self.parts.values():
            part.going_on.set()
            await part.end()
        await self.relay.close()

    async def _crash(self, part: Part) -> None:
        await part.end()

        async def again() -> None:
            await asyncio.sleep(self.restart_seconds)
            part.started = time.time()
            await part.start()

        self._restarts.add(asyncio.create_task(again()))

    async def _set(self, change: Callable[[], object]) -> None:
        change()

    async def _same(self) -> None:
        return


@pytest.fixture
async def control(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SharedLane]:
    """A monitoring that is well; looks give up after 0.3 s."""
    monkeypatch.setattr("harness.drive.look.ask.__defaults__", (0.3,))
    monkeypatch.setattr(monitoring, "_CLOCK_SECONDS", 0.05)
    parts = {name: Part(name) for name in ("prometheus", "alertmanager", "dead-mans-listener")}
    for part in parts.values():
        await part.start()
    lane = SharedLane(parts, await Relay.open(parts["dead-mans-listener"].address))
    try:
        yield lane
    finally:
        await lane.close()


def test_all_of_them_are_tried_here() -> None:
    """Each has a file, a page, and the reach and touch that its summary implies."""
    registered = {fault.id: fault for fault in FAULTS}
    for name, fault in CASES.items():
        assert type(registered[name]) is type(fault)
        assert type(fault).__module__ == f"harness.drive.faults.{name.replace('-', '_')}"
        page = (ROOT / f"docs/faults/{name}.md").read_text()
        assert page.startswith(f"# {name}\n")
        assert fault.summary in page
        assert re.findall(r"^## (.+)$", page, re.MULTILINE) == [
            "What it does",
            "How it proves itself",
            "How it is undone",
            "What it does not show",
        ]
        assert fault.signal == "real"
        disturbs_nobody = name in {"heartbeat-refused", "listener-crashed"}
        assert (fault.reach, fault.touches) == (
            (Reach.SHARED, frozenset({"heartbeat"})) if disturbs_nobody else (Reach.ALONE, MONITORING)
        )


@every_fault
async def test_a_fault_proves_itself_and_is_undone(control: SharedLane, fault: Fault) -> None:
    """Applied, proven with an instant after it was applied, undone with proof, twice, and ready to be used again."""
    for _ in range(2):
        begun = time.time()
        await fault.apply(control)
        proof = await fault.prove(control, 3)
        assert begun < proof.at <= time.time()
        assert proof.saw
        healed = await fault.undo(control, 3)
        assert healed.at > proof.at
        await fault.undo(control, 3)
        assert not control.relay.refusing
        for part in control.parts.values():
            assert (part.alive, part.going_on.is_set(), part.loaded) == (True, True, 1)


@every_fault
async def test_a_fault_that_was_not_applied_cannot_prove_itself(control: SharedLane, fault: Fault) -> None:
    """The twin: with a monitoring that is well there is nothing to be seen, and that is EffectNotProven, in time."""
    begun = time.monotonic()
    with pytest.raises(EffectNotProven) as told:
        await fault.prove(control, 0.3)
    assert time.monotonic() - begun < 2
    assert told.value.seen
    assert told.value.expected


@every_fault
async def test_a_monitoring_that_is_not_well_is_not_touched(
    control: SharedLane, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is broken before would be a proof of nothing: FaultError before anything is done."""
    monkeypatch.setattr(f"{type(fault).__module__}.WELL_SECONDS", 0.1, raising=False)
    monkeypatch.setattr(monitoring, "WELL_SECONDS", 0.1)
    for part in control.parts.values():
        await part.end()
    control.broken = True
    with pytest.raises(FaultError, match="before"):
        await fault.apply(control)


@every_fault
async def test_a_fault_may_be_undone_that_was_never_applied(control: SharedLane, fault: Fault) -> None:
    """After an `apply` that failed half-way nobody knows what was done: undoing what was not is no error."""
    assert isinstance(await fault.undo(control, 1), Proof)


@every_fault
async def test_what_the_journal_gets_is_strings_and_nothing_outlives_a_crash(control: SharedLane, fault: Fault) -> None:
    """Facts are strings to strings; with the sandbox gone nothing is left to undo."""
    facts = fault.facts(control)
    assert all(isinstance(text, str) for pair in facts.items() for text in pair)
    await control.close()
    assert await fault.undo_from(facts) is False


@every_fault
async def test_what_the_stack_cannot_do_is_told_as_the_fault_s_own_failure(control: SharedLane, fault: Fault) -> None:
    """A FaultError with what the stack said."""
    control.broken = True
    with pytest.raises(FaultError, match="could not be") as told:
        await fault.apply(control)
    assert told.value.seen == "The supervisor does not answer"
    assert told.value.output == ("last line",)


@pytest.mark.parametrize("fault", [CASES[name] for name in CASES if not name.endswith("crashed")], ids=lambda f: f.id)
async def test_an_undo_that_does_nothing_is_noticed(control: SharedLane, fault: Fault) -> None:
    """The stack says that it did it and the world did not change: undoing is proven, not believed."""
    await fault.apply(control)
    control.deaf = True
    with pytest.raises(FaultError) as told:
        await fault.undo(control, 0.2)
    assert not isinstance(told.value, EffectNotProven)


@pytest.mark.parametrize("fault", [CASES[name] for name in CASES if name.endswith("crashed")], ids=lambda f: f.id)
class TestCrashes:
    """What is left to a unit."""

    async def test_a_unit_that_does_not_recover_is_told(self, control: SharedLane, fault: Fault) -> None:
        """Who stays down is not undone."""
        control.restart_seconds = 60
        await fault.apply(control)
        await fault.prove(control, 1)
        with pytest.raises(FaultError, match="its own unit did not bring it back"):
            await fault.undo(control, 0.3)

    async def test_a_unit_that_was_quicker_than_the_look_is_seen(self, control: SharedLane, fault: Fault) -> None:
        """No connection was refused any more: that another process answers proves the crash."""
        control.restart_seconds = 0
        await fault.apply(control)
        await asyncio.gather(*control._restarts)
        proof = await fault.prove(control, 1)
        assert re.search(r"the process at .* started \d", proof.saw)

    async def test_a_process_that_has_only_just_started_is_not_killed(
        self, control: SharedLane, fault: Fault, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It could be taken for another one: it is waited for until it is old enough."""
        monkeypatch.setattr(monitoring, "_CLOCK_SECONDS", 60)
        monkeypatch.setattr(monitoring, "WELL_SECONDS", 0.1)
        for part in control.parts.values():
            part.started = time.time()
        with pytest.raises(FaultError, match="did not work before") as told:
            await fault.apply(control)
        assert "started" in (told.value.seen or "")
        assert all(part.alive for part in control.parts.values())


async def test_a_prometheus_that_does_not_answer_while_nobody_does_is_not_frozen(control: SharedLane) -> None:
    """Where Alertmanager is silent too it may be our own slowness; a Prometheus that is gone is not frozen either."""
    for part in control.parts.values():
        part.going_on.clear()
    with pytest.raises(EffectNotProven, match="still answers") as told:
        await PrometheusFrozen().prove(control, 0.2)
    assert "either" in (told.value.seen or "")
    control.parts["alertmanager"].going_on.set()
    control.parts["prometheus"].going_on.set()
    await control.parts["prometheus"].end()
    with pytest.raises(EffectNotProven):
        await PrometheusFrozen().prove(control, 0.2)


async def test_a_freeze_counts_from_when_it_was_asked(control: SharedLane) -> None:
    """The look takes its whole time-out; t0 is its beginning, so that no second is given to the monitoring."""
    await control.freeze("prometheus")
    begun = time.time()
    proof = await PrometheusFrozen().prove(control, 2)
    assert begun <= proof.at < begun + 0.2
    assert time.time() - proof.at >= 0.3


@pytest.mark.parametrize(
    ("managers", "targets", "saw"),
    [
        ([], [{"health": "up"}], "0 Alertmanagers"),
        ([{}], [], "0 targets"),
        ([{}], [{"health": "up"}, {"health": "unknown"}], "1 not looked at yet"),
    ],
)
async def test_a_prometheus_that_is_only_ready_does_not_work(
    control: SharedLane, managers: object, targets: object, saw: str
) -> None:
    """Until it has found whom to watch and whom to tell it watches nothing and tells nobody."""
    part = control.parts["prometheus"]
    part.managers, part.targets = managers, targets
    look = await monitoring.prometheus_works(part.address)
    assert not look.there
    assert saw in look.saw


async def test_what_cannot_be_read_is_a_clause() -> None:
    """Figures of nobody, of a page that is no exposition, and of one that lacks them."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        address = Address(*nobody.getsockname())
        assert "refused" in str(await monitoring.figure(address, "x"))
    part = Part("prometheus")
    await part.start()
    try:
        assert await monitoring.figure(part.address, "x") == f"{part.address} exposes no x"
        assert (await monitoring.shows(part.address, "alertmanager_config_last_reload_successful", 1)).there
    finally:
        await part.end()


async def test_alertmanager_is_killed_when_it_has_written_down_what_it_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not before the interval at which the shipped unit has it write, and half as long again, is over."""
    done: list[object] = []

    async def rest(seconds: float) -> None:
        done.append(seconds)

    class Holding(UntouchedLane):
        async def hold_down(self, component: str) -> None:
            done.append(component)

    monkeypatch.setattr(asyncio, "sleep", rest)
    await AlertmanagerDown().disturb(Holding(Lane(SHARED, {}, {})))
    assert done == [WRITTEN_SECONDS, "alertmanager"]
    unit = (ROOT / "policies" / "units" / "alertmanager.service").read_text(encoding="utf-8")
    (interval,) = re.findall(r"--data\.maintenance-interval=(\S+)", unit)
    assert parse_duration(interval).total_seconds() * 1.5 <= WRITTEN_SECONDS
