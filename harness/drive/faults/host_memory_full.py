"""The machine's memory is all but used up: the kernel is about to kill somebody."""

from __future__ import annotations

from harness.drive.faults import LaneControl
from harness.drive.machine import Gauge, MachineFault
from harness.model.stack import Address

_USED = 0.98
_CONDITION = 0.95
"""The plan's critical condition: memory use at or above 95 %."""


class HostMemoryFull(MachineFault):
    """The lane's exporter is shown a memory of which 98 % is used."""

    id = "host-memory-full"
    summary = "98 % of the machine's memory is used."
    signal = "simulated"
    touches = frozenset({"host-memory"})
    condition = f"at least {_CONDITION:.0%} of the memory used"

    def measure(self, exporter: Address) -> Gauge:
        """The share that is not available."""
        return Gauge(exporter, "memory", lambda reading: reading.memory_used_ratio)

    def met(self, figure: float) -> bool:
        """95 % or more."""
        return figure >= _CONDITION

    async def change(self, control: LaneControl) -> None:
        """From now on that much of it is shown used."""
        control.host.show(memory_used_ratio=_USED)

    async def change_back(self, control: LaneControl) -> None:
        """It is shown used as in health."""
        control.host.rest("memory_used_ratio")
