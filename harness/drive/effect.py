"""One fault in the world: noted before it is applied, proven, and undone to its end whoever cancels us meanwhile."""

from __future__ import annotations

import asyncio

from harness.drive.faults import Fault, LaneControl, Proof
from harness.drive.finish import finished
from harness.drive.surroundings import Surroundings
from harness.errors import FaultError, HarnessError

_GRACE_SECONDS = 0.5
"""How far we wait past the deadline that a fault was given: its own error says more than ours."""


class Effect:
    """A fault in one lane, under the name by which the undo journal knows it.

    Args:
        fault: what is done.
        control: where it is done.
        name: its name in the undo journal: the injection's, or another one that belongs to it.
        world: what it needs.
    """

    def __init__(self, fault: Fault, control: LaneControl, name: str, world: Surroundings) -> None:
        self.fault = fault
        self._control = control
        self._name = name
        self._world = world

    def note(self) -> None:
        """Notes what undoing it needs; to be called before it is applied.

        Raises:
            FaultError: the fault cannot be tried here.
            LedgerError: the journal cannot be written.
        """
        self._world.journal.record(self.fault.id, self._name, self.fault.facts(self._control))

    async def bring_about(self) -> Proof:
        """Applies it and has it prove its effect; applying is brought to its end even if we are cancelled meanwhile.

        Raises:
            HarnessError: it could not be applied, or its effect was not seen.
            asyncio.CancelledError: cancelled; what was applied must be undone.
        """
        limits = self._world.limits
        applying, cancelled = await finished(
            self.fault.apply(self._control), limits.apply_seconds, limits.stopped_seconds
        )
        if cancelled and (applying.cancelled() or isinstance(applying.exception(), HarnessError)):
            raise asyncio.CancelledError
        if applying.cancelled():
            raise FaultError(
                f"The fault {self.fault.id} could not be applied in time", waited_seconds=limits.apply_seconds
            )
        applying.result()
        if cancelled:
            raise asyncio.CancelledError
        return await self.fault.prove(self._control, limits.prove_seconds)

    async def take_back(self, seconds: float) -> tuple[Proof | BaseException, bool]:
        """Undoes it, to the end even if we are cancelled meanwhile.

        Returns the proof, or why it could not be undone; and whether we were cancelled.
        """
        undoing, cancelled = await finished(
            self.fault.undo(self._control, seconds), seconds + _GRACE_SECONDS, self._world.limits.stopped_seconds
        )
        failed = undoing.exception() if not undoing.cancelled() else FaultError("It was not undone in time")
        if failed is not None:
            return failed, cancelled
        self._world.journal.done(self._name)
        return undoing.result(), cancelled
