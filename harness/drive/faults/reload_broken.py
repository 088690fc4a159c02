"""Alertmanager's configuration is broken by a slip of the hand: it goes on by the old one, and a restart would fail."""

from __future__ import annotations

from harness.drive.component_fault import ComponentFault
from harness.drive.faults import LaneControl, Reach
from harness.drive.look import Look
from harness.drive.monitoring import MONITORING, WELL_SECONDS, shows

_LOADED = "alertmanager_config_last_reload_successful"


class ReloadBroken(ComponentFault):
    """The file in the sandbox, which goes with the harness, gets a line that is no YAML and is to be loaded."""

    id = "reload-broken"
    summary = "Alertmanager's configuration file is broken and its reload fails, until the fault is healed."
    touches = MONITORING
    reach = Reach.ALONE
    component = "alertmanager"
    what = "Alertmanager's configuration"
    done = "broken"
    effect = f"{_LOADED} 0"
    health = f"{_LOADED} 1"
    well_seconds = WELL_SECONDS

    async def disturb(self, control: LaneControl) -> None:
        """Breaks the file and asks for a reload."""
        await control.spoil_configuration(self.component)

    async def mend(self, control: LaneControl) -> None:
        """Puts the file back and asks for a reload."""
        await control.mend_configuration(self.component)

    async def seen(self, control: LaneControl) -> Look:
        """Whether Alertmanager says of itself that its last reload failed."""
        return await shows(self.address(control), _LOADED, 0)

    async def well(self, control: LaneControl) -> Look:
        """Whether it says that its last reload succeeded."""
        return await shows(self.address(control), _LOADED, 1)
