"""Faults: one file each. A fault is applied, proves by its own observation that it took effect, and is undone.

`FAULTS` in `harness/drive/faults/registry.py` is the one tuple of all that there are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from harness.model.stack import Address, Lane


class LaneControl(Protocol):
    """What a fault may do to a lane's components; the stack gives it."""

    @property
    def lane(self) -> Lane:
        """The lane with its addresses."""

    @property
    def secrets(self) -> Mapping[str, str]:
        """Credentials of the lane's components by name, e.g. `mysql_user`, `mysql_password`, `mysql_database`."""

    async def hold_down(self, component: str) -> None:
        """Ends a component as `kill -9` does and keeps its supervisor from starting it again."""

    async def let_up(self, component: str) -> None:
        """Starts a component that was held down, and gives it back to its supervisor; nothing if it was not."""

    async def refuse(self, component: str) -> None:
        """Cuts every connection to a component in its path and refuses new ones."""

    async def restore(self, component: str) -> None:
        """Lets connections to a component through again; nothing if they were."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What a fault saw of its own effect: when (Unix seconds), and a sentence."""

    at: float
    saw: str


class Fault(Protocol):
    """One fault. Instances are stateless: what `undo` needs is in the journal before `apply` touches anything."""

    @property
    def id(self) -> str:
        """Its name in drills.yaml, e.g. `server-killed`."""

    @property
    def summary(self) -> str:
        """One sentence: what it does to the world."""

    @property
    def signal(self) -> str:
        """`real`, or `simulated` where a signal is made at a component's input."""

    def facts(self, control: LaneControl) -> Mapping[str, str]:
        """All that undoing after a crash needs, as strings; written to the undo journal before `apply`."""

    async def apply(self, control: LaneControl) -> None:
        """Does it.

        Raises:
            FaultError: it could not be done.
        """

    async def prove(self, control: LaneControl, deadline_seconds: float) -> Proof:
        """Waits for the first observation of the effect, made by the fault itself and never through the alert.

        Raises:
            EffectNotProven: nothing of the effect was seen until the deadline.
        """

    async def undo(self, control: LaneControl, deadline_seconds: float) -> Proof:
        """Takes it back and proves that; may be called twice, and after an `apply` that failed half-way.

        Raises:
            FaultError: it could not be undone; the lane is not usable any more.
        """

    async def undo_from(self, facts: Mapping[str, str]) -> bool:
        """Takes it back after a crash from the journal's facts alone; False where nothing is left to undo."""


__all__ = ["Address", "Fault", "LaneControl", "Proof"]
