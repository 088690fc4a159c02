"""A lane in which nothing may be done: a double for faults says what it is used for and inherits the rest."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from harness.drive.faults import Channels, Host
from harness.model.stack import Address, Lane


class UntouchedLane:
    """Every operation of `LaneControl`; each of them fails, for no fault that uses this double should ask for it."""

    def __init__(self, lane: Lane, secrets: Mapping[str, str] | None = None) -> None:
        self._lane = lane
        self.secrets: Mapping[str, str] = secrets or {}

    @property
    def lane(self) -> Lane:
        """The lane with its addresses."""
        return self._lane

    @property
    def host(self) -> Host:
        """Not asked for."""
        raise AssertionError("host")

    @property
    def channels(self) -> Channels:
        """Not asked for."""
        raise AssertionError("channels")

    @property
    def prometheus(self) -> Address:
        """Not asked for."""
        raise AssertionError("prometheus")

    async def hold_down(self, component: str) -> None:
        """Not asked for."""
        raise AssertionError(f"hold_down {component}")

    async def let_up(self, component: str) -> None:
        """Not asked for."""
        raise AssertionError(f"let_up {component}")

    async def crash(self, component: str) -> None:
        """Not asked for."""
        raise AssertionError(f"crash {component}")

    async def freeze(self, component: str) -> None:
        """Not asked for."""
        raise AssertionError(f"freeze {component}")

    async def thaw(self, component: str) -> None:
        """Not asked for."""
        raise AssertionError(f"thaw {component}")

    async def refuse(self, component: str) -> None:
        """Not asked for."""
        raise AssertionError(f"refuse {component}")

    async def reset(self, component: str) -> None:
        """Not asked for."""
        raise AssertionError(f"reset {component}")

    async def half_open(self, component: str) -> None:
        """Not asked for."""
        raise AssertionError(f"half_open {component}")

    async def delay(self, component: str, delay: timedelta) -> None:
        """Not asked for."""
        raise AssertionError(f"delay {component} by {delay}")

    async def restore(self, component: str) -> None:
        """Not asked for."""
        raise AssertionError(f"restore {component}")

    async def withdraw(self, component: str) -> None:
        """Not asked for."""
        raise AssertionError(f"withdraw {component}")

    async def announce(self, component: str) -> None:
        """Not asked for."""
        raise AssertionError(f"announce {component}")

    async def spoil_configuration(self, component: str) -> None:
        """Not asked for."""
        raise AssertionError(f"spoil_configuration {component}")

    async def mend_configuration(self, component: str) -> None:
        """Not asked for."""
        raise AssertionError(f"mend_configuration {component}")
