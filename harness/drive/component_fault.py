"""What faults of one component, or of the path to it, share: look, do it, look for its effect, take it back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

from harness.drive.faults import APPLICATION, LaneControl, Proof, Reach
from harness.drive.look import Look, address_facts, told_as_fault, watch
from harness.errors import EffectNotProven, FaultError
from harness.model.stack import Address

WELL_SECONDS = 2.0
"""How long a component may take to show that it is well before anything is done to it."""


class ComponentFault(ABC):
    """A fault of one component of a lane; a kind of it says what is done, and which looks tell effect and health.

    For the sentences: `what` is done something to (`the path to the database`), namely `done` (`reset`); `effect` and
    `health` are what `seen` and `well` look for.
    """

    id: ClassVar[str]
    summary: ClassVar[str]
    signal = "real"
    touches: ClassVar[frozenset[str]] = APPLICATION
    reach: ClassVar[Reach] = Reach.LANE
    component: ClassVar[str]
    what: ClassVar[str]
    done: ClassVar[str]
    effect: ClassVar[str]
    health: ClassVar[str]
    looks_apart_seconds: ClassVar[float] = 0.02
    well_seconds: ClassVar[float] = WELL_SECONDS

    @abstractmethod
    async def disturb(self, control: LaneControl) -> None:
        """Does it.

        Raises:
            StackError: the stack could not.
            FaultError: there is a reason not to.
        """

    @abstractmethod
    async def mend(self, control: LaneControl) -> None:
        """Takes it back; nothing where there is nothing.

        Raises:
            StackError: the stack could not.
        """

    @abstractmethod
    async def seen(self, control: LaneControl) -> Look:
        """One look for the effect, over connections of its own."""

    @abstractmethod
    async def well(self, control: LaneControl) -> Look:
        """One look for health, over connections of its own."""

    def address(self, control: LaneControl) -> Address:
        """Where everybody reaches the component: the relay, where one stands in its path."""
        return control.lane.addresses[self.component]

    def facts(self, control: LaneControl) -> Mapping[str, str]:
        """Where the component is reached; what is done to it is done by the harness and dies with it."""
        return address_facts(self.address(control))

    async def apply(self, control: LaneControl) -> None:
        """Does it, after a look that all was well: what was broken before proves nothing.

        Raises:
            FaultError: it was not well before, or it could not be done.
        """
        await watch(
            lambda: self.well(control),
            self.well_seconds,
            otherwise=FaultError,
            what=f"All was not well before {self.what} was to be {self.done}",
            expected=self.health,
        )
        with told_as_fault(f"{self._what} could not be {self.done}"):
            await self.disturb(control)

    async def prove(self, control: LaneControl, deadline_seconds: float) -> Proof:
        """Looks until the effect is seen.

        Raises:
            EffectNotProven: it was not.
        """
        return await watch(
            lambda: self.seen(control),
            deadline_seconds,
            otherwise=EffectNotProven,
            what=f"{self._what} was {self.done} and nothing is seen of it",
            expected=self.effect,
            pause_seconds=self.looks_apart_seconds,
        )

    async def undo(self, control: LaneControl, deadline_seconds: float) -> Proof:
        """Takes it back and waits until all is well.

        Raises:
            FaultError: it could not be taken back, or all is not well in time.
        """
        with told_as_fault(f"What was done to {self.what} could not be taken back"):
            await self.mend(control)
        return await watch(
            lambda: self.well(control),
            deadline_seconds,
            otherwise=FaultError,
            what=f"What was done to {self.what} was taken back and all is not well",
            expected=self.health,
        )

    async def undo_from(self, facts: Mapping[str, str]) -> bool:  # noqa: ARG002 - nothing of them is needed
        """Nothing outlives a crash: processes and relays die with the harness, and so does what was done to them."""
        return False

    @property
    def _what(self) -> str:
        return self.what[0].upper() + self.what[1:]
