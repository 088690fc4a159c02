"""A lane's machine as its own exporter shows it: what faults of the machine share, and measure their effect by.

Read from the exporter itself and never through Prometheus. What only ever grows is measured between two reads.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from prometheus_client.parser import text_string_to_metric_families

from harness.drive.faults import LaneControl, Proof, Reach
from harness.drive.look import Look, Silence, address_facts, ask, watch
from harness.errors import EffectNotProven, FaultError
from harness.model.stack import Address

_EXPORTER = "node-exporter"
_METRICS = "/metrics"
_WELL_SECONDS = 3.0
_READ_PAUSE_SECONDS = 0.05
_LEAST_CPU_SECONDS = 0.5
"""Times of processors come in hundredths of a second: a share of less than this would be a rough one."""
_LEAST_SPAN_SECONDS = 0.8
"""The exporter's own input goes on in steps of half a second: a rate over less would be a step's, not the traffic's."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What the exporter showed: when, on both clocks in seconds, and the figures; None where it showed none."""

    at: float
    read: float
    cpu_seconds: float
    idle_seconds: float
    received_bytes: float
    memory_used_ratio: float | None
    disk_used_ratio: float | None


@dataclass(frozen=True, slots=True)
class Measured:
    """A figure in its own unit, the instant (Unix seconds) from which on it was so, and a clause that says it."""

    figure: float
    since: float
    saw: str


class Measure(Protocol):
    """One figure, measured again and again."""

    async def take(self) -> Measured | str:
        """The figure now; a clause where it could not be had, or not yet."""


class MachineFault(ABC):
    """A fault of the lane's machine: each one says what it changes, how that is measured, and when it is there."""

    id: str
    summary: str
    signal: str
    touches: frozenset[str]
    reach = Reach.LANE
    condition: str
    """What is there when it took effect, as a clause: `at least 80 % of the memory used`."""

    @abstractmethod
    def measure(self, exporter: Address) -> Measure:
        """A fresh measure of its figure."""

    @abstractmethod
    def met(self, figure: float) -> bool:
        """Whether a figure is what `condition` says."""

    @abstractmethod
    async def change(self, control: LaneControl) -> None:
        """Does it to the machine."""

    @abstractmethod
    async def change_back(self, control: LaneControl) -> None:
        """Takes it back; nothing where it was not done."""

    def facts(self, control: LaneControl) -> Mapping[str, str]:
        """Where the exporter listens; a machine that is shown dies with the harness, and its disk with the exporter.

        Raises:
            FaultError: the lane has no exporter.
        """
        return address_facts(_exporter(control))

    async def apply(self, control: LaneControl) -> None:
        """Does it, after a look that the machine was well: what was so before proves nothing.

        Raises:
            FaultError: the exporter did not answer before, the condition was there already, or it cannot be done.
        """
        await watch(
            self._looking(control, met=False),
            _WELL_SECONDS,
            otherwise=FaultError,
            what=f"The machine was not well before {self.id} was to be applied",
            expected=f"not {self.condition}",
            pause_seconds=_READ_PAUSE_SECONDS,
        )
        await self.change(control)

    async def prove(self, control: LaneControl, deadline_seconds: float) -> Proof:
        """Measures the figure at the exporter until the condition is there.

        Where that takes two reads the instant of the first one counts: from then on it was so.

        Raises:
            EffectNotProven: it was not there until the deadline.
        """
        since: list[float] = []
        proof = await watch(
            self._looking(control, met=True, since=since),
            deadline_seconds,
            otherwise=EffectNotProven,
            what=f"{self.id} was applied and the lane's exporter does not show it",
            expected=self.condition,
            pause_seconds=_READ_PAUSE_SECONDS,
        )
        return replace(proof, at=since[-1])

    async def undo(self, control: LaneControl, deadline_seconds: float) -> Proof:
        """Takes it back and waits until the exporter shows a machine that is well.

        Raises:
            FaultError: it could not be taken back, or the condition is still there.
        """
        await self.change_back(control)
        return await watch(
            self._looking(control, met=False),
            deadline_seconds,
            otherwise=FaultError,
            what=f"{self.id} was undone and the lane's exporter still shows it",
            expected=f"not {self.condition}",
            pause_seconds=_READ_PAUSE_SECONDS,
        )

    async def undo_from(self, facts: Mapping[str, str]) -> bool:  # noqa: ARG002 - nothing of them is needed
        """Nothing outlives a crash: the harness shows the figures, and the disk lives no longer than its exporter."""
        return False

    def _looking(self, control: LaneControl, *, met: bool, since: list[float] | None = None) -> _Looking:
        return _Looking(self, self.measure(_exporter(control)), met, since if since is not None else [])


@dataclass(frozen=True, slots=True)
class _Looking:
    """A look at a fault's figure; whether the condition is `met` is what is looked for."""

    fault: MachineFault
    measure: Measure
    met: bool
    since: list[float]

    async def __call__(self) -> Look:
        measured = await self.measure.take()
        if isinstance(measured, str):
            return Look(False, measured)
        self.since.append(measured.since)
        return Look(self.fault.met(measured.figure) is self.met, measured.saw)


class Gauge:
    """What can be read at once: a share from 0 to 1.

    Args:
        exporter: who is asked.
        name: what it is the share of, e.g. `memory`.
        figure: the share in a reading.
    """

    def __init__(self, exporter: Address, name: str, figure: Callable[[Reading], float | None]) -> None:
        self._exporter = exporter
        self._name = name
        self._figure = figure

    async def take(self) -> Measured | str:
        """The share now."""
        now = await read(self._exporter)
        if isinstance(now, str):
            return now
        figure = self._figure(now)
        if figure is None:
            return f"{self._exporter} shows no {self._name}"
        return Measured(figure, now.at, f"{figure:.1%} of the {self._name} is used")


class Busy:
    """The share of time, 0 to 1, that the processors were not idle between two reads."""

    def __init__(self, exporter: Address) -> None:
        self._exporter = exporter
        self._before: Reading | None = None

    async def take(self) -> Measured | str:
        """The share since the read before the last half second of processor time."""
        now = await read(self._exporter)
        if isinstance(now, str):
            return now
        before = self._before
        if before is None or now.cpu_seconds < before.cpu_seconds:
            before = self._before = now
        passed = now.cpu_seconds - before.cpu_seconds
        if passed < _LEAST_CPU_SECONDS:
            return f"{passed:.2f} s of processor time passed so far"
        self._before = now
        busy = 1 - (now.idle_seconds - before.idle_seconds) / passed
        return Measured(busy, before.at, f"the processors were busy for {busy:.1%} of {passed:.1f} s")


class Received:
    """Bytes a second that all network cards but the loopback received between two reads."""

    def __init__(self, exporter: Address) -> None:
        self._exporter = exporter
        self._before: Reading | None = None

    async def take(self) -> Measured | str:
        """The rate since the read at least 0.8 s ago."""
        now = await read(self._exporter)
        if isinstance(now, str):
            return now
        before = self._before
        if before is None or now.received_bytes < before.received_bytes:
            before = self._before = now
        passed = now.read - before.read
        if passed < _LEAST_SPAN_SECONDS:
            return f"{passed:.1f} s of traffic were seen so far"
        self._before = now
        rate = (now.received_bytes - before.received_bytes) / passed
        return Measured(rate, before.at, f"{rate / 1000:.0f} kB/s were received for {passed:.1f} s")


async def read(exporter: Address) -> Reading | str:
    """One read of a node_exporter; a clause where it showed nothing that can be read."""
    at, monotonic = time.time(), time.monotonic()
    answer = await ask(exporter, _METRICS)
    if isinstance(answer, Silence):
        return answer.why
    if answer.status != 200:
        return f"GET {_METRICS} at {exporter} answered {answer.status}"
    cpu = idle = received = 0.0
    one: dict[str, float] = {}
    try:
        for family in text_string_to_metric_families(answer.body):
            for sample in family.samples:
                if sample.name == "node_cpu_seconds_total":
                    cpu += sample.value
                    idle += sample.value if sample.labels.get("mode") == "idle" else 0.0
                elif sample.name == "node_network_receive_bytes_total":
                    received += sample.value if sample.labels.get("device") != "lo" else 0.0
                elif sample.labels.get("mountpoint", "/") == "/":
                    one[sample.name] = sample.value
    except ValueError:
        return f"{_METRICS} at {exporter} is no exposition that can be read"
    return Reading(
        at,
        monotonic,
        cpu,
        idle,
        received,
        _used(one.get("node_memory_MemAvailable_bytes"), one.get("node_memory_MemTotal_bytes")),
        _used(one.get("node_filesystem_avail_bytes"), one.get("node_filesystem_size_bytes")),
    )


def _used(available: float | None, total: float | None) -> float | None:
    return 1 - available / total if available is not None and total else None


def _exporter(control: LaneControl) -> Address:
    try:
        return control.lane.addresses[_EXPORTER]
    except KeyError:
        raise FaultError(
            f"Lane {control.lane.name} has no exporter of a machine",
            expected=f"a component {_EXPORTER} with per_lane: true",
            seen=", ".join(control.lane.addresses),
        ) from None
