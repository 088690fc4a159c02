"""The machine receives many times what it usually does, as in an attack or after a loop in the network."""

from __future__ import annotations

from harness.drive.faults import LaneControl
from harness.drive.machine import MachineFault, Received
from harness.model.stack import Address

_FLOOD_BYTES_PER_SECOND = 2_500_000.0
"""Fifty times what a lane's machine receives in health (50 kB/s)."""
_CONDITION = 500_000.0
"""Ten times that: far from health, whichever steps the two reads fall on."""


class NetworkFlood(MachineFault):
    """The lane's exporter is shown a network card that receives 2.5 MB/s."""

    id = "network-flood"
    summary = "The machine receives 50 times the traffic that it receives in health."
    signal = "simulated"
    touches = frozenset({"host-network"})
    condition = f"at least {_CONDITION / 1000:.0f} kB/s received"

    def measure(self, exporter: Address) -> Received:
        """The rate between two reads."""
        return Received(exporter)

    def met(self, figure: float) -> bool:
        """500 kB/s or more."""
        return figure >= _CONDITION

    async def change(self, control: LaneControl) -> None:
        """From now on the network card is shown flooded."""
        control.host.show(received_bytes_per_second=_FLOOD_BYTES_PER_SECOND)

    async def change_back(self, control: LaneControl) -> None:
        """It is shown as in health."""
        control.host.rest("received_bytes_per_second")
