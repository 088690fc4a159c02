"""What a fault may do to one lane's components: its components' supervisors and the relays in their paths."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from harness.errors import FaultError
from harness.model.sinks import Channels
from harness.model.stack import SHARED, Address, Lane
from harness.stack import configuration
from harness.stack.announced import AnnouncedTargets
from harness.stack.host import LaneHost
from harness.stack.relay import Relay
from harness.stack.supervisor import Supervisor

Key = tuple[str, str | None]
"""A component's name and its lane; None where all lanes share it."""


class LaneHandle:
    """What a fault may do to one lane's components (`LaneControl` of the faults)."""

    def __init__(
        self,
        lane: Lane,
        secrets: Mapping[str, str],
        supervisors: Mapping[Key, Supervisor],
        relays: Mapping[Key, Relay],
        host: LaneHost | None = None,
        targets: AnnouncedTargets | None = None,
        prometheus: Address | None = None,
        channels: Channels | None = None,
    ) -> None:
        self._lane = lane
        self._secrets = secrets
        self._supervisors = supervisors
        self._relays = relays
        self._host = host
        self._targets = targets
        self._prometheus = prometheus
        self._channels = channels
        self._place = None if lane.name == SHARED else lane.name

    @property
    def lane(self) -> Lane:
        """The lane with its addresses."""
        return self._lane

    @property
    def secrets(self) -> Mapping[str, str]:
        """Credentials of the lane's components by name."""
        return self._secrets

    @property
    def host(self) -> LaneHost:
        """The lane's machine.

        Raises:
            FaultError: no component of the lane shows one.
        """
        if self._host is None:
            raise FaultError(
                f"Lane {self._lane.name} has no machine of its own",
                expected="a component of kind node-exporter with per_lane: true",
                hint="an exporter that all lanes share shows the real machine, and nothing is done to that",
            )
        return self._host

    @property
    def channels(self) -> Channels:
        """The far ends of the channels.

        Raises:
            FaultError: the lane is not the shared one, or no sink is open.
        """
        if self._place is not None or self._channels is None:
            raise FaultError(
                f"Lane {self._lane.name} has no channels of its own",
                expected=f"the lane {SHARED}, while sinks are open",
                hint="what is done to a channel is done to all lanes: such a fault does not have the reach of a lane",
            )
        return self._channels

    @property
    def prometheus(self) -> Address:
        """Where the Prometheus answers that watches the lane.

        Raises:
            FaultError: the policies have none.
        """
        if self._prometheus is None:
            raise FaultError(
                f"No Prometheus watches {self._lane.name}",
                expected="a component of kind prometheus that all lanes share",
            )
        return self._prometheus

    async def hold_down(self, component: str) -> None:
        """Ends a component as `kill -9` does and keeps its supervisor from starting it again."""
        await self._supervisor(component).hold_down()

    async def let_up(self, component: str) -> None:
        """Starts a component that was held down, and gives it back to its supervisor; nothing if it was not."""
        await self._supervisor(component).let_up()

    async def change_unit(self, component: str, argv: tuple[str, ...]) -> None:
        """Starts a component anew by a unit of another command line.

        Raises:
            StackError: it has no unit, or cannot be started by this one.
        """
        await self._supervisor(component).change_unit(argv)

    async def crash(self, component: str) -> None:
        """Ends a component as `kill -9` does and leaves it to its own restart policy."""
        await self._supervisor(component).crash()

    async def freeze(self, component: str) -> None:
        """Stops a component where it is (SIGSTOP): it holds its connections and answers nobody."""
        await self._supervisor(component).freeze()

    async def thaw(self, component: str) -> None:
        """Lets a frozen component go on; nothing if it was not frozen."""
        await self._supervisor(component).thaw()

    async def refuse(self, component: str) -> None:
        """Cuts every connection to a component in its path and refuses new ones."""
        await self._relay(component).refuse()

    async def reset(self, component: str) -> None:
        """Cuts every connection in the path of a component; new ones are taken and then reset."""
        await self._relay(component).reset()

    async def half_open(self, component: str) -> None:
        """Keeps every connection in the path of a component open and carries nothing any more, new ones included."""
        await self._relay(component).half_open()

    async def delay(self, component: str, delay: timedelta) -> None:
        """Holds back whatever a component answers by this long in its path."""
        await self._relay(component).delay(delay)

    async def restore(self, component: str) -> None:
        """Lets connections to a component through again, at once; nothing if they were."""
        await self._relay(component).restore()

    async def withdraw(self, component: str) -> None:
        """Takes a component's target out of what Prometheus discovers; that takes effect within some seconds."""
        self._announced(component).withdraw(component, self._lane.addresses[component])

    async def announce(self, component: str) -> None:
        """Puts a component's target back; nothing if it is there."""
        self._announced(component).announce(component, self._lane.addresses[component])

    async def spoil_configuration(self, component: str) -> None:
        """Breaks a shared component's own configuration file and asks it to reload, which must fail."""
        await configuration.spoil(self._shared(component).site)

    async def mend_configuration(self, component: str) -> None:
        """Puts the configuration back and asks for a reload that succeeds; nothing if it was not spoilt."""
        await configuration.mend(self._shared(component).site)

    def _shared(self, component: str) -> Supervisor:
        if self._place is not None:
            raise FaultError(
                f"Lane {self._lane.name} has no configuration of its own that could be spoilt",
                expected=f"the lane {SHARED}",
            )
        return self._supervisor(component)

    def _announced(self, component: str) -> AnnouncedTargets:
        if self._targets is None or component not in self._lane.addresses:
            raise self._unknown(component, tuple(self._lane.addresses))
        return self._targets

    def _supervisor(self, component: str) -> Supervisor:
        try:
            return self._supervisors[component, self._place]
        except KeyError:
            raise self._unknown(component, tuple(self._lane.addresses)) from None

    def _relay(self, component: str) -> Relay:
        try:
            return self._relays[component, self._place]
        except KeyError:
            raise self._unknown(component, tuple(self._lane.behind)) from None

    def _unknown(self, component: str, known: tuple[str, ...]) -> FaultError:
        return FaultError(
            f"Nothing can be done to {component} in lane {self._lane.name}",
            expected=f"one of {', '.join(known)}",
            seen=component,
        )
