"""Alertmanager is gone and stays gone: nobody hears of anything, except from the dead man's listener."""

from __future__ import annotations

from collections.abc import Mapping

from harness.drive.faults import LaneControl, Proof, Reach
from harness.drive.look import address_facts, answers, told_as_fault, watch
from harness.drive.monitoring import MONITORING, WELL_SECONDS, silenced
from harness.errors import EffectNotProven, FaultError
from harness.model.stack import Address

_COMPONENT = "alertmanager"
_READY = "/-/ready"


class AlertmanagerDown:
    """`kill -9` of Alertmanager, and its supervisor kept from starting it again."""

    id = "alertmanager-down"
    summary = "Alertmanager is killed (kill -9) and not started again until the fault is healed."
    signal = "real"
    touches = MONITORING
    reach = Reach.ALONE

    def facts(self, control: LaneControl) -> Mapping[str, str]:
        """Where Alertmanager listens; a killed process leaves nothing else behind."""
        return address_facts(_address(control))

    async def apply(self, control: LaneControl) -> None:
        """Kills it, after a look that it was ready: what was dead before proves nothing.

        Raises:
            FaultError: it was not ready before, or could not be killed.
        """
        await watch(
            lambda: answers(_address(control), _READY),
            WELL_SECONDS,
            otherwise=FaultError,
            what="Alertmanager was not ready before it was to be killed",
            expected=f"GET {_READY} answers 200",
        )
        with told_as_fault("Alertmanager could not be killed"):
            await control.hold_down(_COMPONENT)

    async def prove(self, control: LaneControl, deadline_seconds: float) -> Proof:
        """A fresh connection is refused.

        Raises:
            EffectNotProven: somebody still answers.
        """
        return await watch(
            lambda: silenced(_address(control), _READY),
            deadline_seconds,
            otherwise=EffectNotProven,
            what="Alertmanager was killed and still responds",
            expected=f"a fresh connection for GET {_READY} is refused",
        )

    async def undo(self, control: LaneControl, deadline_seconds: float) -> Proof:
        """Starts it again and waits until it is ready.

        Raises:
            FaultError: it could not be started, or is not ready in time.
        """
        with told_as_fault("Alertmanager could not be started again"):
            await control.let_up(_COMPONENT)
        return await watch(
            lambda: answers(_address(control), _READY),
            deadline_seconds,
            otherwise=FaultError,
            what="Alertmanager was started again and is not ready",
            expected=f"GET {_READY} answers 200",
        )

    async def undo_from(self, facts: Mapping[str, str]) -> bool:  # noqa: ARG002 - nothing of them is needed
        """Nothing outlives a crash: what held the process down was the supervisor, which died with the harness."""
        return False


def _address(control: LaneControl) -> Address:
    return control.lane.addresses[_COMPONENT]
