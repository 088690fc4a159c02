"""The machine has too much to do: its processors are busy nearly all the time."""

from __future__ import annotations

from harness.drive.faults import LaneControl
from harness.drive.machine import Busy, MachineFault
from harness.model.stack import Address

_BUSY = 0.95
_CONDITION = 0.80
"""The plan's condition: CPU use at or above 80 %."""


class HostCpuBusy(MachineFault):
    """The lane's exporter is shown processors that are 95 % busy."""

    id = "host-cpu-busy"
    summary = "The machine's processors are busy for 95 % of the time."
    signal = "simulated"
    touches = frozenset({"host-cpu"})
    condition = f"at least {_CONDITION:.0%} of the processors' time busy"

    def measure(self, exporter: Address) -> Busy:
        """The busy share between two reads."""
        return Busy(exporter)

    def met(self, figure: float) -> bool:
        """80 % or more."""
        return figure >= _CONDITION

    async def change(self, control: LaneControl) -> None:
        """From now on the processors are shown busy."""
        control.host.show(busy_ratio=_BUSY)

    async def change_back(self, control: LaneControl) -> None:
        """They are shown as in health."""
        control.host.rest("busy_ratio")
