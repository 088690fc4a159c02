"""The way of records as faults lay hands on it: components by their kind, and the folders of their logs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

from harness.drive.faults import Channels, Host, LaneControl
from harness.errors import FaultError
from harness.model.stack import Address, Lane


class Way:
    """The shared lane's `LaneControl`, in which components are called by their kind.

    Args:
        control: of the shared lane.
        names: a component's name by its kind, of those that all lanes share.
        logs: the folder in which the emitter writes, None where there is none.
        pattern: the indices that hold the logs' records.
    """

    def __init__(self, control: LaneControl, names: Mapping[str, str], logs: Path | None, pattern: str) -> None:
        self._control = control
        self._names = names
        self._logs = logs
        self.pattern = pattern
        self.noted: dict[str, float] = {}
        """What a fault noted before it did anything, to tell afterwards what it did. One episode has one way."""

    @property
    def logs(self) -> Path:
        """The folder in which the emitter writes.

        Raises:
            FaultError: there is no emitter.
        """
        if self._logs is None:
            raise FaultError("Nobody writes a log that could suffer mishaps", expected="a component of kind emitter")
        return self._logs

    @property
    def lane(self) -> Lane:
        """The shared lane, with its addresses by kind."""
        lane = self._control.lane
        return Lane(
            lane.name,
            {kind: lane.addresses[name] for kind, name in self._names.items() if name in lane.addresses},
            {kind: lane.behind[name] for kind, name in self._names.items() if name in lane.behind},
        )

    @property
    def behind(self) -> Address:
        """Where the store of logs itself listens, whatever is done to the path to it."""
        lane = self.lane
        return lane.behind.get("elasticsearch", lane.addresses["elasticsearch"])

    @property
    def host(self) -> Host:
        """The shared lane's machine.

        Raises:
            FaultError: it has none.
        """
        return self._control.host

    @property
    def channels(self) -> Channels:
        """The far ends of the channels."""
        return self._control.channels

    @property
    def secrets(self) -> Mapping[str, str]:
        """Credentials by name."""
        return self._control.secrets

    @property
    def prometheus(self) -> Address:
        """Where Prometheus answers."""
        return self._control.prometheus

    async def hold_down(self, component: str) -> None:
        """Ends a component as `kill -9` does and keeps it down."""
        await self._control.hold_down(self._name(component))

    async def let_up(self, component: str) -> None:
        """Starts a component that was held down; nothing if it was not."""
        await self._control.let_up(self._name(component))

    async def crash(self, component: str) -> None:
        """Ends a component as `kill -9` does and leaves it to its own restart policy."""
        await self._control.crash(self._name(component))

    async def freeze(self, component: str) -> None:
        """Stops a component where it is (SIGSTOP)."""
        await self._control.freeze(self._name(component))

    async def thaw(self, component: str) -> None:
        """Lets a frozen component go on; nothing if it was not frozen."""
        await self._control.thaw(self._name(component))

    async def refuse(self, component: str) -> None:
        """Cuts every connection to a component and refuses new ones."""
        await self._control.refuse(self._name(component))

    async def reset(self, component: str) -> None:
        """Cuts every connection to a component; new ones are taken and then reset."""
        await self._control.reset(self._name(component))

    async def half_open(self, component: str) -> None:
        """Keeps every connection to a component open and carries nothing any more."""
        await self._control.half_open(self._name(component))

    async def delay(self, component: str, delay: timedelta) -> None:
        """Holds back whatever a component answers."""
        await self._control.delay(self._name(component), delay)

    async def restore(self, component: str) -> None:
        """Lets connections to a component through again."""
        await self._control.restore(self._name(component))

    async def withdraw(self, component: str) -> None:
        """Takes a component's target out of what Prometheus discovers."""
        await self._control.withdraw(self._name(component))

    async def announce(self, component: str) -> None:
        """Puts a component's target back."""
        await self._control.announce(self._name(component))

    async def spoil_configuration(self, component: str) -> None:
        """Breaks a component's own configuration."""
        await self._control.spoil_configuration(self._name(component))

    async def mend_configuration(self, component: str) -> None:
        """Puts the configuration back."""
        await self._control.mend_configuration(self._name(component))

    def _name(self, kind: str) -> str:
        name = self._names.get(kind)
        if name is None:
            raise FaultError(
                f"Records take no way through a component of kind {kind}",
                expected=f"one that all lanes share, among {', '.join(sorted(self._names)) or 'none'}",
            )
        return name


def way_of(control: LaneControl) -> Way:
    """The control as a way of records.

    Raises:
        FaultError: it is of a lane.
    """
    if isinstance(control, Way):
        return control
    raise FaultError("A fault of the records' way was tried in a lane", seen=control.lane.name)
