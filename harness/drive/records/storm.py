"""A storm of records: ten times as many as on a busy day."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from harness.drive.records import Look, Way
from harness.drive.records.parts import Mishap, befall, since_noted

PER_SECOND: Final = 2500
"""Ten times what a gate writes: about 250 records/s over all its sources."""
_SECONDS: Final = 5
_SLICES: Final = 4


class Storm(Mishap):
    """The system log gets 2,500 records a second for 5 s."""

    id = "storm"
    summary = f"The system log gets {PER_SECOND} records a second for {_SECONDS} s, ten times what all logs get else."
    done = "given a storm"
    effect = f"{PER_SECOND * _SECONDS} lines were written into the log since"
    gate_hold = None

    async def befall(self, way: Way) -> None:
        """Bursts, four a second; where writing is slower than that it goes on without a pause."""
        began = time.monotonic()
        for number in range(_SECONDS * _SLICES):
            await befall(way, "burst", count=PER_SECOND // _SLICES)
            await asyncio.sleep(max(0.0, began + (number + 1) / _SLICES - time.monotonic()))

    def trace(self, way: Way) -> Look:
        """So many lines."""
        lines = since_noted(way).count(b"\n")
        return Look(lines >= PER_SECOND * _SECONDS, f"{lines} lines were written since")
