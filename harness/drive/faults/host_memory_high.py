"""The machine's memory is getting short, and there is still some."""

from __future__ import annotations

from harness.drive.faults import LaneControl
from harness.drive.machine import Gauge, MachineFault
from harness.model.stack import Address

_USED = 0.87
_CONDITION = 0.80
"""The plan's warning condition: memory use at or above 80 %."""
_CRITICAL = 0.95
"""From here on it is the plan's other condition, and another fault."""


class HostMemoryHigh(MachineFault):
    """The lane's exporter is shown a memory of which 87 % is used."""

    id = "host-memory-high"
    summary = "87 % of the machine's memory is used."
    signal = "simulated"
    touches = frozenset({"host-memory"})
    condition = f"at least {_CONDITION:.0%} and less than {_CRITICAL:.0%} of the memory used"

    def measure(self, exporter: Address) -> Gauge:
        """The share that is not available."""
        return Gauge(exporter, "memory", lambda reading: reading.memory_used_ratio)

    def met(self, figure: float) -> bool:
        """80 % or more, and less than 95 %."""
        return _CONDITION <= figure < _CRITICAL

    async def change(self, control: LaneControl) -> None:
        """From now on that much of it is shown used."""
        control.host.show(memory_used_ratio=_USED)

    async def change_back(self, control: LaneControl) -> None:
        """It is shown used as in health."""
        control.host.rest("memory_used_ratio")
