"""Alertmanager's configuration is broken by a slip of the hand: it goes on by the old one, and a restart would fail."""

from __future__ import annotations

from collections.abc import Mapping

from harness.drive.faults import LaneControl, Proof, Reach
from harness.drive.look import address_facts, told_as_fault, watch
from harness.drive.monitoring import MONITORING, WELL_SECONDS, shows
from harness.errors import EffectNotProven, FaultError
from harness.model.stack import Address

_COMPONENT = "alertmanager"
_LOADED = "alertmanager_config_last_reload_successful"


class ReloadBroken:
    """The file in the sandbox gets a line that is no YAML, and Alertmanager is asked to load it."""

    id = "reload-broken"
    summary = "Alertmanager's configuration file is broken and its reload fails, until the fault is healed."
    signal = "real"
    touches = MONITORING
    reach = Reach.ALONE

    def facts(self, control: LaneControl) -> Mapping[str, str]:
        """Where Alertmanager listens; its file is the copy in the sandbox, which goes with the harness."""
        return address_facts(_address(control))

    async def apply(self, control: LaneControl) -> None:
        """Breaks the file, after a look that the last reload succeeded: what was broken before proves nothing.

        Raises:
            FaultError: the last reload had failed already, or this one did not.
        """
        await watch(
            lambda: shows(_address(control), _LOADED, 1),
            WELL_SECONDS,
            otherwise=FaultError,
            what="Alertmanager's configuration was not well before it was to be broken",
            expected=f"{_LOADED} 1",
        )
        with told_as_fault("Alertmanager's configuration could not be broken"):
            await control.spoil_configuration(_COMPONENT)

    async def prove(self, control: LaneControl, deadline_seconds: float) -> Proof:
        """Alertmanager says of itself that its last reload failed.

        Raises:
            EffectNotProven: it does not.
        """
        return await watch(
            lambda: shows(_address(control), _LOADED, 0),
            deadline_seconds,
            otherwise=EffectNotProven,
            what="Alertmanager's configuration was broken and its last reload succeeded",
            expected=f"{_LOADED} 0",
        )

    async def undo(self, control: LaneControl, deadline_seconds: float) -> Proof:
        """Puts the file back and waits until Alertmanager says that it was loaded.

        Raises:
            FaultError: it could not be put back, or is not loaded in time.
        """
        with told_as_fault("Alertmanager's configuration could not be mended"):
            await control.mend_configuration(_COMPONENT)
        return await watch(
            lambda: shows(_address(control), _LOADED, 1),
            deadline_seconds,
            otherwise=FaultError,
            what="Alertmanager's configuration was mended and its last reload failed",
            expected=f"{_LOADED} 1",
        )

    async def undo_from(self, facts: Mapping[str, str]) -> bool:  # noqa: ARG002 - nothing of them is needed
        """Nothing outlives a crash: the broken file is the sandbox's, and goes with it."""
        return False


def _address(control: LaneControl) -> Address:
    return control.lane.addresses[_COMPONENT]
