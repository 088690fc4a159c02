"""Prometheus while lanes come up: it looks at nothing before they stand, so that nobody is alarmed by a start.

It finds its targets 5 s after its own start (`discovery/manager.go`, `updatert`). A lane that is slower than that, or
that never comes up, would be down to it, and said to be so. It is therefore stopped where it is (SIGSTOP) until it is
known which lanes stand. The kernel's clock goes on meanwhile: let go, it looks at once where its 5 s are over, so what
waits for the lanes costs nothing.
"""

from __future__ import annotations

import asyncio
import shutil
import time

from harness.errors import StackError
from harness.stack.components.prometheus import database_of
from harness.stack.components.registry import component_of
from harness.stack.readiness import until_ready
from harness.stack.supervisor import Supervisor

BLIND_SECONDS = 4.5
"""How long after its start it is certain to have looked at nothing; half a second of its 5 s is left to the machine."""


class HeldBack:
    """One Prometheus that may be held back.

    Args:
        supervisor: keeps it.
    """

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._started_at = time.monotonic()
        self._held = False
        self._blind = True

    def started(self) -> None:
        """It begins to start now: from here on its seconds count."""
        self._started_at = time.monotonic()

    async def hold(self) -> None:
        """Stops it where it is; nothing is lost.

        Raises:
            StackError: it does not run any more.
        """
        await self._supervisor.freeze()
        self._held = True
        self._blind = time.monotonic() - self._started_at < BLIND_SECONDS

    async def let_go(self) -> None:
        """Lets it go on; nothing if it was not held. One that may have looked already begins anew.

        Raises:
            StackError: it could not be started again.
        """
        if self._held and not self._blind:
            await self.begin_anew()
        elif self._held:
            await self._supervisor.thaw()
        self._held = False

    async def begin_anew(self, deadline_seconds: float = 30.0) -> None:
        """Starts it once more, with what its configuration says now and without anything that it has seen.

        Raises:
            StackError: it could not be started again, or its database cannot be removed.
        """
        site = self._supervisor.site
        await self._supervisor.hold_down()
        await self._supervisor.thaw()  # that life is over: nothing is left to be let go
        self._held = False
        try:
            await asyncio.to_thread(shutil.rmtree, database_of(site.data), ignore_errors=False)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise StackError(f"The database of {site.title} cannot be removed", seen=str(error)) from error
        await self._supervisor.let_up()
        running = self._supervisor.running
        assert running is not None
        await until_ready(component_of(site.component.kind), site, running, deadline_seconds)
