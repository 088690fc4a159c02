"""The machine's disk is nearly full."""

from __future__ import annotations

from harness.drive.faults import LaneControl
from harness.drive.machine import Gauge, MachineFault
from harness.model.stack import Address

_USED = 0.95
_CONDITION = 0.90
"""The plan's condition: disk use at or above 90 %."""


class DiskFilled(MachineFault):
    """The lane's own small file system is filled with real bytes until 95 % of it is used.

    Where the lane has none the exporter shows none, and applying fails with the sentence of `fill_disk`.
    """

    id = "disk-filled"
    summary = "A file grows until 95 % of the machine's file system is used."
    signal = "real"
    touches = frozenset({"host-disk"})
    condition = f"at least {_CONDITION:.0%} of the file system used"

    def measure(self, exporter: Address) -> Gauge:
        """The share of the file system at `/` that is not available."""
        # A lane that has none shows none: nothing of that is used, and `fill_disk` says why it cannot be filled.
        return Gauge(exporter, "file system", lambda reading: reading.disk_used_ratio or 0.0)

    def met(self, figure: float) -> bool:
        """90 % or more."""
        return figure >= _CONDITION

    async def change(self, control: LaneControl) -> None:
        """Writes."""
        await control.host.fill_disk(_USED)

    async def change_back(self, control: LaneControl) -> None:
        """Removes what was written."""
        await control.host.empty_disk()
