"""Faults that last because we go on doing something: holding, locking, deleting, asking, until they are healed.

What goes on dies with the harness; nothing of it has to be undone after a crash.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Protocol

from harness.drive.component_fault import ComponentFault
from harness.drive.faults import LaneControl
from harness.drive.look import Look
from harness.errors import FaultError
from harness.model.stack import Address


class Deed(Protocol):
    """What is done in one lane, from its beginning to its end."""

    async def begin(self) -> None:
        """Begins.

        Raises:
            FaultError: it could not; `end` takes back what was done of it.
        """

    async def look(self) -> Look:
        """One look for its effect since it began."""

    async def end(self) -> None:
        """Returns when nothing of it goes on; may be called although `begin` failed, and twice.

        Raises:
            FaultError: something of it stays.
        """


class LastingFault(ComponentFault):
    """A fault that is a deed in each lane; which lane's is known by the address of its component."""

    def __init__(self) -> None:
        self._deeds: dict[Address, Deed] = {}

    @abstractmethod
    def deed(self, control: LaneControl) -> Deed:
        """What is to be done in a lane; nothing has been yet."""

    async def disturb(self, control: LaneControl) -> None:
        """Begins.

        Raises:
            FaultError: it could not, or goes on already.
        """
        address = self.address(control)
        if address in self._deeds:
            raise FaultError(
                f"{self.id} goes on already",
                expected="an earlier injection to have been undone",
                seen=f"lane {control.lane.name}",
            )
        deed = self._deeds[address] = self.deed(control)
        await deed.begin()

    async def mend(self, control: LaneControl) -> None:
        """Ends it.

        Raises:
            FaultError: something of it stays; may be tried again.
        """
        deed = self._deeds.get(self.address(control))
        if deed is not None:
            await deed.end()
            self._deeds.pop(self.address(control), None)

    async def seen(self, control: LaneControl) -> Look:
        """What the deed sees of its effect."""
        deed = self._deeds.get(self.address(control))
        return await deed.look() if deed is not None else Look(False, "nobody does it")


class Turns:
    """Does something again and again, at a pace, until it is told to end; a turn is never broken off.

    A turn that fails for a reason that may pass is tried again: what it was about would else be over, unnoticed.

    Args:
        turn: what is done.
        seconds: from the end of a turn to the beginning of the next one.
        passing: the errors that may pass.
        name: what the task is called.
    """

    def __init__(
        self, turn: Callable[[], Awaitable[None]], seconds: float, passing: tuple[type[Exception], ...], name: str
    ) -> None:
        self._turn = turn
        self._seconds = seconds
        self._passing = passing
        self._over = asyncio.Event()
        self.taken = 0
        """How many turns succeeded."""
        self.failure = ""
        """Why the last turn failed; empty where it did not."""
        self._task = asyncio.create_task(self._go_on(), name=name)

    async def end(self) -> None:
        """Returns when no turn will be taken any more."""
        self._over.set()
        await self._task

    @property
    def ending(self) -> bool:
        """Whether it was told to end."""
        return self._over.is_set()

    async def rest(self, seconds: float) -> None:
        """Waits within a turn; no longer than until the end."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._over.wait()

    async def _go_on(self) -> None:
        while not self._over.is_set():
            try:
                await self._turn()
            except self._passing as error:
                self.failure = f"{type(error).__name__}{f': {error}' if str(error) else ''}"
            else:
                self.taken += 1
                self.failure = ""
            await self.rest(self._seconds)
