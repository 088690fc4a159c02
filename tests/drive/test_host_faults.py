"""Faults of a lane's machine: each changes its own figure, proves it at the exporter, and takes it back."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping

import pytest
from aiohttp import web
from lane_doubles import UntouchedLane

from harness.drive import machine
from harness.drive.faults import Fault, Host, Proof, Reach
from harness.drive.faults.disk_filled import DiskFilled
from harness.drive.faults.host_cpu_busy import HostCpuBusy
from harness.drive.faults.host_memory_full import HostMemoryFull
from harness.drive.faults.host_memory_high import HostMemoryHigh
from harness.drive.faults.network_flood import NetworkFlood
from harness.drive.faults.registry import FAULTS
from harness.drive.machine import Busy, Received
from harness.errors import EffectNotProven, FaultError
from harness.model.stack import Address, Lane

HEALTH = {"busy_ratio": 0.2, "memory_used_ratio": 0.4, "received_bytes_per_second": 50_000.0}
TOTAL = 1000.0


class _Machine:
    """A machine and its exporter: figures that go on continuously, and what it was asked to show."""

    def __init__(self) -> None:
        self.address = Address("127.0.0.1", 0)
        self.shown: dict[str, float] = dict(HEALTH)
        self.disk: float | None = 0.1
        self.deaf = False
        self.counted = {"idle": 0.0, "busy": 0.0, "received": 0.0}
        self.answer: web.Response | None = None
        self._at = time.monotonic()
        self._runner: web.AppRunner | None = None

    @property
    def figures(self) -> Mapping[str, float]:
        """What it shows."""
        return self.shown

    def show(self, **figures: float) -> None:
        """Shows other figures, unless it is deaf."""
        self.count()
        if not self.deaf:
            self.shown |= figures

    def rest(self, *figures: str) -> None:
        """Shows them as in health, unless it is deaf."""
        self.show(**{name: HEALTH[name] for name in figures})

    async def fill_disk(self, used_ratio: float) -> None:
        """Fills its disk, where it has one."""
        if self.disk is None:
            raise FaultError("The lane has no file system of its own that could be filled")
        self.disk = self.disk if self.deaf else used_ratio

    async def empty_disk(self) -> None:
        """Empties it."""
        self.disk = self.disk if self.deaf or self.disk is None else 0.1

    def count(self) -> None:
        """Counts until now."""
        passed, self._at = time.monotonic() - self._at, time.monotonic()
        self.counted["busy"] += 2 * passed * self.shown["busy_ratio"]
        self.counted["idle"] += 2 * passed * (1 - self.shown["busy_ratio"])
        self.counted["received"] += passed * self.shown["received_bytes_per_second"]

    def restart(self) -> None:
        """Counts from zero, as a machine that was started again."""
        self.counted = dict.fromkeys(self.counted, 0.0)

    async def start(self) -> None:
        """Listens."""
        app = web.Application()
        app.router.add_get("/metrics", self._metrics)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.address = Address(*self._runner.addresses[0])

    async def end(self) -> None:
        """Nobody listens any more."""
        if self._runner is not None:
            runner, self._runner = self._runner, None
            await runner.cleanup()

    async def _metrics(self, _: web.Request) -> web.Response:
        if self.answer is not None:
            return web.Response(status=self.answer.status, text=self.answer.text)
        self.count()
        lines = [
            f'node_cpu_seconds_total{{cpu="0",mode="idle"}} {self.counted["idle"]}',
            f'node_cpu_seconds_total{{cpu="0",mode="user"}} {self.counted["busy"]}',
            f'node_network_receive_bytes_total{{device="eth0"}} {self.counted["received"]}',
            f'node_network_receive_bytes_total{{device="lo"}} {1e9 * time.monotonic()}',
            f"node_memory_MemTotal_bytes {TOTAL}",
            f"node_memory_MemAvailable_bytes {TOTAL * (1 - self.shown['memory_used_ratio'])}",
        ]
        if self.disk is not None:
            lines += [
                f'node_filesystem_size_bytes{{mountpoint="/"}} {TOTAL}',
                f'node_filesystem_avail_bytes{{mountpoint="/"}} {TOTAL * (1 - self.disk)}',
            ]
        lines += ['node_filesystem_size_bytes{mountpoint="/run"} 1', 'node_filesystem_avail_bytes{mountpoint="/run"} 0']
        return web.Response(text="\n".join([*lines, ""]))


class _LaneControl(UntouchedLane):
    """A lane that has a machine and nothing else."""

    def __init__(self, machine: _Machine) -> None:
        super().__init__(Lane("lane-1", {"node-exporter": machine.address}, {}))
        self.machine = machine

    @property
    def host(self) -> Host:
        """Its machine."""
        return self.machine


@pytest.fixture
async def control(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[_LaneControl]:
    """A lane whose machine is well; rates need a tenth of the time, for its figures go on without steps."""
    monkeypatch.setattr(machine, "_LEAST_CPU_SECONDS", 0.05)
    monkeypatch.setattr(machine, "_LEAST_SPAN_SECONDS", 0.08)
    monkeypatch.setattr(machine, "_WELL_SECONDS", 0.5)
    made = _Machine()
    await made.start()
    try:
        yield _LaneControl(made)
    finally:
        await made.end()


CASES: Mapping[str, tuple[Fault, str, str]] = {
    "host-cpu-busy": (HostCpuBusy(), "host-cpu", "simulated"),
    "host-memory-high": (HostMemoryHigh(), "host-memory", "simulated"),
    "host-memory-full": (HostMemoryFull(), "host-memory", "simulated"),
    "network-flood": (NetworkFlood(), "host-network", "simulated"),
    "disk-filled": (DiskFilled(), "host-disk", "real"),
}
every_fault = pytest.mark.parametrize("fault", [case[0] for case in CASES.values()], ids=CASES)


def test_what_they_touch_and_how_far_they_reach() -> None:
    """The two of the memory exclude each other in a lane, all others may go on side by side; one disk is real."""
    registered = {fault.id: fault for fault in FAULTS}
    for name, (fault, touched, signal) in CASES.items():
        assert type(registered[name]) is type(fault)
        assert (fault.touches, fault.reach, fault.signal) == (frozenset({touched}), Reach.LANE, signal)


@every_fault
async def test_it_proves_itself_and_is_undone(control: _LaneControl, fault: Fault) -> None:
    """Applied, proven with an instant after it was applied, undone with proof, twice, and the machine as before."""
    for _ in range(2):
        begun = time.time()
        await fault.apply(control)
        applied = time.time()
        proof = await fault.prove(control, 3)
        assert begun < applied <= proof.at <= time.time()
        assert proof.saw
        healed = await fault.undo(control, 3)
        assert healed.at > proof.at
        await fault.undo(control, 3)
        assert (control.machine.shown, control.machine.disk) == (HEALTH, 0.1)


@every_fault
async def test_not_applied_it_cannot_prove_itself(control: _LaneControl, fault: Fault) -> None:
    """The twin: a machine that is well shows nothing, and what it does show is told."""
    with pytest.raises(EffectNotProven) as told:
        await fault.prove(control, 0.3)
    assert told.value.expected == getattr(fault, "condition", None)
    assert "%" in str(told.value.seen) or "kB/s" in str(told.value.seen)


@every_fault
async def test_a_machine_that_hears_nothing_is_noticed(control: _LaneControl, fault: Fault) -> None:
    """It says that it did it and shows what it showed: neither the effect nor its end is believed."""
    control.machine.deaf = True
    await fault.apply(control)
    with pytest.raises(EffectNotProven):
        await fault.prove(control, 0.3)
    control.machine.deaf = False
    await fault.apply(control)
    control.machine.deaf = True
    with pytest.raises(FaultError, match="was undone and the lane's exporter still shows it") as told:
        await fault.undo(control, 0.3)
    assert not isinstance(told.value, EffectNotProven)


@every_fault
async def test_a_machine_that_is_not_well_is_not_touched(control: _LaneControl, fault: Fault) -> None:
    """What was there before would prove nothing: applied twice, the second time is refused."""
    await fault.apply(control)
    before = dict(control.machine.shown)
    with pytest.raises(FaultError, match="not well before"):
        await fault.apply(control)
    assert control.machine.shown == before


@every_fault
async def test_an_exporter_that_cannot_be_read_proves_nothing(control: _LaneControl, fault: Fault) -> None:
    """An error, something that is no exposition, nobody there: each is told and is neither well nor proof."""
    for answer, said in (
        (web.Response(status=503, text=""), "answered 503"),
        (web.Response(text="<html>"), "no exposition"),
    ):
        control.machine.answer = answer
        with pytest.raises(FaultError, match="not well before") as told:
            await fault.apply(control)
        assert said in str(told.value)
    await control.machine.end()
    with pytest.raises(EffectNotProven) as told:
        await fault.prove(control, 0.1)
    assert "refused" in str(told.value)


@every_fault
async def test_undoing_what_was_never_applied_is_no_error(control: _LaneControl, fault: Fault) -> None:
    """After an `apply` that failed nobody knows what was done; after a crash nothing is left to undo."""
    assert isinstance(await fault.undo(control, 3), Proof)
    facts = fault.facts(control)
    assert facts == {"host": "127.0.0.1", "port": str(control.machine.address.port)}
    assert await fault.undo_from(facts) is False


@every_fault
async def test_a_lane_without_an_exporter_is_a_sentence(fault: Fault) -> None:
    """Before anything is applied, with what the lane has."""
    bare = UntouchedLane(Lane("lane-1", {"mysql": Address("127.0.0.1", 1)}, {}))
    with pytest.raises(FaultError, match="lane-1 has no exporter of a machine") as told:
        fault.facts(bare)
    assert told.value.seen == "mysql"


async def test_without_a_file_system_the_machine_says_why(control: _LaneControl) -> None:
    """Where namespaces are closed nothing is filled: the host's own sentence, and undoing finds nothing to undo."""
    control.machine.disk = None
    with pytest.raises(FaultError, match="no file system of its own"):
        await DiskFilled().apply(control)
    await DiskFilled().undo(control, 1)


async def test_little_memory_is_not_none(control: _LaneControl) -> None:
    """Each of the two conditions of the plan is proven by its own fault alone, to the percent."""
    for used, high, full in ((0.79, False, False), (0.81, True, False), (0.94, True, False), (0.96, False, True)):
        control.machine.show(memory_used_ratio=used)
        for fault, met in ((HostMemoryHigh(), high), (HostMemoryFull(), full)):
            if met:
                assert f"{used:.1%}" in (await fault.prove(control, 1)).saw
            else:
                with pytest.raises(EffectNotProven):
                    await fault.prove(control, 0.05)


@pytest.mark.parametrize(("share", "there"), [(0.75, False), (0.85, True)])
async def test_eighty_percent_is_busy(control: _LaneControl, share: float, there: bool) -> None:
    """The plan's condition, measured between two reads; t0 is the first of them."""
    control.machine.show(busy_ratio=share)
    begun = time.time()
    if there:
        proof = await HostCpuBusy().prove(control, 1)
        assert begun <= proof.at < time.time() - 0.02
    else:
        with pytest.raises(EffectNotProven):
            await HostCpuBusy().prove(control, 0.3)


@pytest.mark.parametrize("measure", [Busy, Received])
async def test_a_machine_that_was_started_again_counts_from_zero(
    control: _LaneControl, measure: type[Busy] | type[Received]
) -> None:
    """Counters that fall are a restart: the read after it is the first one, and nothing is negative."""
    measuring = measure(control.machine.address)
    control.machine.counted = dict.fromkeys(control.machine.counted, 1e6)
    assert isinstance(await measuring.take(), str)
    control.machine.restart()
    assert isinstance(await measuring.take(), str)
    deadline = time.monotonic() + 3
    while isinstance(measured := await measuring.take(), str):
        assert time.monotonic() < deadline
    assert measured.figure == pytest.approx(0.2 if measure is Busy else 50_000, rel=0.2)


async def test_a_read_too_early_measures_nothing(control: _LaneControl, monkeypatch: pytest.MonkeyPatch) -> None:
    """The twin of the shortened times above: with real ones two quick reads are no rate, for input goes on in steps."""
    monkeypatch.undo()
    for measuring in (Busy(control.machine.address), Received(control.machine.address)):
        assert isinstance(await measuring.take(), str)
        assert isinstance(await measuring.take(), str)
