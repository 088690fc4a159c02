"""The server does not respond: its process is gone and stays gone, as in a crash loop."""

from __future__ import annotations

from collections.abc import Mapping

from harness.drive.faults import APPLICATION, LaneControl, Proof, Reach
from harness.drive.look import Look, Silence, address_facts, answers, ask, told_as_fault, watch
from harness.errors import EffectNotProven, FaultError
from harness.model.stack import Address

_COMPONENT = "community-platform"
_HEALTH = "/health"
_WELL_SECONDS = 2.0


class ServerKilled:
    """`kill -9` of the lane's subject, and its supervisor kept from starting it again."""

    id = "server-killed"
    summary = "The application's process is killed (kill -9) and not started again until the fault is healed."
    signal = "real"
    touches = APPLICATION
    reach = Reach.LANE

    def facts(self, control: LaneControl) -> Mapping[str, str]:
        """Where the subject listens; a killed process leaves nothing else behind."""
        return address_facts(_address(control))

    async def apply(self, control: LaneControl) -> None:
        """Kills the subject, after a look that it was alive: what was dead before proves nothing.

        Raises:
            FaultError: it did not answer before, or could not be killed.
        """
        await watch(
            lambda: answers(_address(control), _HEALTH),
            _WELL_SECONDS,
            otherwise=FaultError,
            what="The server was not well before it was to be killed",
            expected=f"GET {_HEALTH} answers 200",
        )
        with told_as_fault("The server could not be killed"):
            await control.hold_down(_COMPONENT)

    async def prove(self, control: LaneControl, deadline_seconds: float) -> Proof:
        """A fresh connection is refused (or cut, where something in the path accepts it).

        Raises:
            EffectNotProven: somebody still answers.
        """
        return await watch(
            lambda: _dead(_address(control)),
            deadline_seconds,
            otherwise=EffectNotProven,
            what="The server was killed and still responds",
            expected=f"a fresh connection for GET {_HEALTH} is refused",
        )

    async def undo(self, control: LaneControl, deadline_seconds: float) -> Proof:
        """Starts the subject again and waits until it is healthy.

        Raises:
            FaultError: it could not be started, or is not healthy in time.
        """
        with told_as_fault("The server could not be started again"):
            await control.let_up(_COMPONENT)
        return await watch(
            lambda: answers(_address(control), _HEALTH),
            deadline_seconds,
            otherwise=FaultError,
            what="The server was started again and is not healthy",
            expected=f"GET {_HEALTH} answers 200",
        )

    async def undo_from(self, facts: Mapping[str, str]) -> bool:  # noqa: ARG002 - nothing of them is needed
        """Nothing outlives a crash: what held the process down was the supervisor, which died with the harness."""
        return False


def _address(control: LaneControl) -> Address:
    return control.lane.addresses[_COMPONENT]


async def _dead(address: Address) -> Look:
    answer = await ask(address, _HEALTH)
    if isinstance(answer, Silence):
        return Look(answer.dead, answer.why)
    return Look(False, f"GET {_HEALTH} at {address} answered {answer.status}")
