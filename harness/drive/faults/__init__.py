"""Faults: one file each. A fault is applied, proves by its own observation that it took effect, and is undone.

`FAULTS` in `harness/drive/faults/registry.py` is the one tuple of all that there are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from harness.model.plan import Reach
from harness.model.sinks import Channels
from harness.model.stack import Address, Lane


class Host(Protocol):
    """The machine that a lane believes to stand on: its figures are made at node_exporter's input, its disk is real."""

    @property
    def figures(self) -> Mapping[str, float]:
        """What the machine shows now: `busy_ratio`, `memory_used_ratio`, `received_bytes_per_second`."""

    def show(self, **figures: float) -> None:
        """Shows other figures from now on; those that are not named stay.

        Raises:
            FaultError: there is no figure of that name.
        """

    def rest(self, *figures: str) -> None:
        """Shows these figures as in health again."""

    async def fill_disk(self, used_ratio: float) -> None:
        """Fills the lane's own small file system with real bytes until this share of it is used.

        Raises:
            FaultError: the lane has no file system of its own (user namespaces are closed), or it cannot be filled.
        """

    async def empty_disk(self) -> None:
        """Removes what `fill_disk` wrote; nothing where there is nothing."""


class LaneControl(Protocol):
    """What a fault may do to a lane's components; the stack gives it.

    For the lane `SHARED` (model/stack.py) the components are those that all lanes share.
    """

    @property
    def host(self) -> Host:
        """The lane's machine.

        Raises:
            FaultError: no component of the lane shows one.
        """

    @property
    def channels(self) -> Channels:
        """The far ends of the channels.

        Raises:
            FaultError: the lane is not the shared one.
        """

    @property
    def lane(self) -> Lane:
        """The lane with its addresses."""

    @property
    def secrets(self) -> Mapping[str, str]:
        """Credentials of the lane's components by name, e.g. `mysql_user`, `mysql_password`, `mysql_database`."""

    @property
    def prometheus(self) -> Address:
        """Where the Prometheus answers that watches the lane: whether it discovers a target is its own to say.

        Raises:
            FaultError: there is none.
        """

    async def hold_down(self, component: str) -> None:
        """Ends a component as `kill -9` does and keeps its supervisor from starting it again."""

    async def let_up(self, component: str) -> None:
        """Starts a component that was held down, and gives it back to its supervisor; nothing if it was not."""

    async def crash(self, component: str) -> None:
        """Ends a component as `kill -9` does and leaves it to its own restart policy."""

    async def freeze(self, component: str) -> None:
        """Stops a component where it is (SIGSTOP): it holds its connections and answers nobody."""

    async def thaw(self, component: str) -> None:
        """Lets a frozen component go on; nothing if it was not frozen."""

    async def refuse(self, component: str) -> None:
        """Cuts every connection to a component in its path and refuses new ones."""

    async def reset(self, component: str) -> None:
        """Cuts every connection in the path of a component; new ones are taken and then reset."""

    async def half_open(self, component: str) -> None:
        """Keeps every connection in the path of a component open and carries nothing any more, new ones included."""

    async def delay(self, component: str, delay: timedelta) -> None:
        """Holds back whatever a component answers by this long in its path."""

    async def restore(self, component: str) -> None:
        """Lets connections to a component through again, at once; nothing if they were."""

    async def withdraw(self, component: str) -> None:
        """Takes a component's target out of what Prometheus discovers."""

    async def announce(self, component: str) -> None:
        """Puts a component's target back; nothing if it is there."""

    async def spoil_configuration(self, component: str) -> None:
        """Breaks a shared component's own configuration file and asks it to reload."""

    async def mend_configuration(self, component: str) -> None:
        """Puts the configuration back and asks for a reload that succeeds; nothing if it was not spoilt."""


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

    @property
    def touches(self) -> frozenset[str]:
        """What it lays hands on, in words of its own (`application`, `host-memory`).

        Two faults that share one of them are never in place in one lane at the same time.
        """

    @property
    def reach(self) -> Reach:
        """How far its effect goes beyond its lane."""

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


APPLICATION = frozenset({"application"})
"""What every fault touches that users of the application would feel."""

RECORDS = frozenset({"records"})
"""What every fault touches that stands in the way of records.

That way is one track for the whole run: such a fault and an episode (`harness/drive/episodes.py`) are never in place at
the same time, and a run without such a way cannot try it."""

__all__ = ["APPLICATION", "RECORDS", "Address", "Channels", "Fault", "Host", "LaneControl", "Proof", "Reach"]
