"""Heartbeats do not reach the dead man's listener: connections are cut in their path, and new ones refused."""

from __future__ import annotations

from collections.abc import Mapping

from harness.drive.faults import LaneControl, Proof, Reach
from harness.drive.look import address_facts, answers, told_as_fault, watch
from harness.drive.monitoring import WELL_SECONDS, silenced
from harness.errors import EffectNotProven, FaultError
from harness.model.stack import Address

_COMPONENT = "dead-mans-listener"
_HEALTH = "/health"


class HeartbeatRefused:
    """The relay before the listener resets every connection and refuses new ones; alerts go their way undisturbed."""

    id = "heartbeat-refused"
    summary = "Alertmanager's heartbeats are refused on their way to the dead man's listener until the fault is healed."
    signal = "real"
    touches = frozenset({"heartbeat"})
    reach = Reach.SHARED

    def facts(self, control: LaneControl) -> Mapping[str, str]:
        """Where the relay listens; it lives in the harness and dies with it."""
        return address_facts(_address(control))

    async def apply(self, control: LaneControl) -> None:
        """Refuses, after a look that the listener could be reached: what was cut before proves nothing.

        Raises:
            FaultError: the listener could not be reached before, or its path cannot be cut.
        """
        await watch(
            lambda: answers(_address(control), _HEALTH),
            WELL_SECONDS,
            otherwise=FaultError,
            what="The listener could not be reached before its path was to be cut",
            expected=f"GET {_HEALTH} answers 200 through the relay",
        )
        with told_as_fault("The path to the listener could not be cut"):
            await control.refuse(_COMPONENT)

    async def prove(self, control: LaneControl, deadline_seconds: float) -> Proof:
        """A connection of our own, by the path that heartbeats take, is refused.

        Raises:
            EffectNotProven: it was not.
        """
        return await watch(
            lambda: silenced(_address(control), _HEALTH),
            deadline_seconds,
            otherwise=EffectNotProven,
            what="The path to the listener was cut and the listener can still be reached",
            expected="a fresh TCP connection is refused",
        )

    async def undo(self, control: LaneControl, deadline_seconds: float) -> Proof:
        """Lets connections through again and waits until the listener answers.

        Raises:
            FaultError: the path could not be restored, or the listener does not answer through it in time.
        """
        with told_as_fault("The path to the listener could not be restored"):
            await control.restore(_COMPONENT)
        return await watch(
            lambda: answers(_address(control), _HEALTH),
            deadline_seconds,
            otherwise=FaultError,
            what="The path to the listener was restored and the listener cannot be reached",
            expected=f"GET {_HEALTH} answers 200 through the relay",
        )

    async def undo_from(self, facts: Mapping[str, str]) -> bool:  # noqa: ARG002 - nothing of them is needed
        """Nothing outlives a crash: the relay that refused was a part of the harness."""
        return False


def _address(control: LaneControl) -> Address:
    return control.lane.addresses[_COMPONENT]
