"""Alertmanager is gone and stays gone: nobody hears of anything, except from the dead man's listener."""

from __future__ import annotations

import asyncio
from typing import Final

from harness.drive.component_fault import ComponentFault
from harness.drive.faults import LaneControl, Reach
from harness.drive.look import Look, answers
from harness.drive.monitoring import MONITORING, WELL_SECONDS, silenced

_READY = "/-/ready"
WRITTEN_SECONDS: Final = 3.0
"""Until Alertmanager has written down what it told last, by the shipped unit (every 2 s)."""


class AlertmanagerDown(ComponentFault):
    """`kill -9` of Alertmanager, and its supervisor kept from starting it again."""

    id = "alertmanager-down"
    summary = "Alertmanager is killed (kill -9) and not started again until the fault is healed."
    touches = MONITORING
    reach = Reach.ALONE
    component = "alertmanager"
    what = "Alertmanager"
    done = "killed"
    effect = f"a fresh connection for GET {_READY} is refused"
    health = f"GET {_READY} answers 200"
    well_seconds = WELL_SECONDS

    async def disturb(self, control: LaneControl) -> None:
        """Kills it and keeps it down, once what it told last is on its disk.

        One that is killed within those seconds believes, when it is back, that what was over is still told of, and says
        nothing when it begins again: a fault of its own, and not this one.
        """
        await asyncio.sleep(WRITTEN_SECONDS)  # nothing tells when that file is written
        await control.hold_down(self.component)

    async def mend(self, control: LaneControl) -> None:
        """Lets its supervisor start it again."""
        await control.let_up(self.component)

    async def seen(self, control: LaneControl) -> Look:
        """Whether a fresh connection is refused."""
        return await silenced(self.address(control), _READY)

    async def well(self, control: LaneControl) -> Look:
        """Whether it is ready."""
        return await answers(self.address(control), _READY)
