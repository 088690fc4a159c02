"""What scenes need that is no part of a lane, as a running stack has it: a second Alertmanager, and quiet."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

from harness.drive.disturbance import disturbs_scenes
from harness.model.events import Payload, Rewired
from harness.model.policy import Policies
from harness.model.stack import Address
from harness.observe.hops import wait_quiet
from harness.policy.rewire.rewiring import Rewiring
from harness.policy.rewire.shortened import shortened
from harness.stack.runtimes import Runtime
from harness.stack.stack import Stack
from harness.stack.understudy import understudy

_NAME = "alertmanager-repeating"


class StackProps:
    """The props of a stack (`Props` of the scenes).

    Args:
        policies: what is under test.
        stack: what stands.
        runtime: how its components are run.
        copy: the copy that they run by.
        write: writes one event to the ledger.
    """

    def __init__(
        self, policies: Policies, stack: Stack, runtime: Runtime, copy: Rewiring, write: Callable[[Payload], object]
    ) -> None:
        self._policies = policies
        self._stack = stack
        self._runtime = runtime
        self._copy = copy
        self._write = write

    @asynccontextmanager
    async def repeating(self, every: timedelta) -> AsyncIterator[Address]:
        """A second Alertmanager from the copy, shortened; each difference is written as one from production.

        Raises:
            StackError: it could not be started.
        """
        file = self._policies.alertmanager_file
        text, differences = shortened(self._copy.files[file], file, every)
        for difference in differences:
            self._write(Rewired(difference))
        async with understudy(self._stack.layout, self._runtime, "alertmanager", _NAME, text) as address:
            yield address

    async def quiet(self, lane: str, seconds: float) -> tuple[str, ...]:
        """Waits until no alert of a lane that would disturb a scene is pending or firing; those that still are."""
        return await wait_quiet(self._stack.address("prometheus"), lane, seconds, disturbs_scenes(self._policies))
