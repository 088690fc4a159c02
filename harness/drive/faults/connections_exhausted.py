"""Nearly all connections that the database allows are in use: somebody opens them and never gives them back."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass

import aiomysql

from harness.drive.database import DATABASE, DATABASE_ERRORS, connect, connected, database_facts
from harness.drive.faults import LaneControl
from harness.drive.lasting import Deed, LastingFault
from harness.drive.look import LOOK_SECONDS, Look
from harness.errors import FaultError

SHARE = 0.85
"""What is proven. The plan's condition, as decided, is 80 %: a pool that gives a few back leaves it true."""
_FILL_SHARE = 0.88
LEAST_FREE = 8
"""Connections that stay free at least: for the exporter, the application's pool, and our own looks."""
_AT_ONCE = 16
"""Connections that are opened side by side: fewer than the server's backlog, more than one round trip at a time."""
_HEALTHY_SHARE = 0.5
_APPLY_SECONDS = 8.0


class ConnectionsExhausted(LastingFault):
    """Idle connections of the application's own account, past the relay, as many as make 88 % of `max_connections`."""

    id = "connections-exhausted"
    summary = "Connections to the database are opened and kept until 88 % of those that it allows are in use."
    component = DATABASE
    what = "the database"
    done = "filled with connections"
    effect = f"at least {SHARE:.0%} of max_connections in use"
    health = f"less than {_HEALTHY_SHARE:.0%} of max_connections in use"
    looks_apart_seconds = 0.1

    def facts(self, control: LaneControl) -> Mapping[str, str]:
        """Where the database is reached; the connections are the harness's and end with it.

        Raises:
            FaultError: the lane does not say how its database is spoken to.
        """
        database_facts(control)
        return super().facts(control)

    def deed(self, control: LaneControl) -> Deed:
        """Connections of one lane's database."""
        return _Held(database_facts(control))

    async def well(self, control: LaneControl) -> Look:
        """The server's own figures."""
        use = await _use(database_facts(control))
        return use if isinstance(use, Look) else Look(use.share < _HEALTHY_SHARE, use.told)


@dataclass(frozen=True, slots=True)
class _Use:
    """How many connections are in use, our look's own not counted, of how many."""

    connected: int
    allowed: int

    @property
    def share(self) -> float:
        return self.connected / self.allowed

    @property
    def told(self) -> str:
        return f"{self.connected} of {self.allowed} connections in use ({self.share:.0%})"


class _Held:
    """Connections that are kept open."""

    def __init__(self, facts: Mapping[str, str]) -> None:
        self._facts = facts
        self._connections: list[aiomysql.Connection] = []

    async def begin(self) -> None:
        use = await _use(self._facts)
        if isinstance(use, Look):
            raise FaultError("The database does not say how many connections are in use", seen=use.saw)
        wanted = min(-int(-use.allowed * _FILL_SHARE // 1), use.allowed - LEAST_FREE) - use.connected
        if use.connected + wanted < SHARE * use.allowed:
            raise FaultError(
                f"The database allows too few connections to fill {SHARE:.0%} of them",
                expected=f"{LEAST_FREE} that stay free for others",
                seen=f"max_connections is {use.allowed}",
            )
        gate = asyncio.Semaphore(_AT_ONCE)
        try:
            async with asyncio.timeout(_APPLY_SECONDS), asyncio.TaskGroup() as opening:
                for _ in range(wanted):
                    opening.create_task(self._open(gate))
        except TimeoutError as error:
            raise FaultError(
                "The connections could not all be opened",
                expected=f"{wanted} more of them",
                seen=f"{len(self._connections)} were",
                waited_seconds=_APPLY_SECONDS,
            ) from error
        except BaseExceptionGroup as group:
            raise FaultError(
                "The connections could not all be opened",
                expected=f"{wanted} more of them",
                seen=f"after {len(self._connections)}: {group.exceptions[0]}",
                hint="ulimit -n says how many descriptors a process may have",
            ) from group

    async def _open(self, gate: asyncio.Semaphore) -> None:
        async with gate:
            self._connections.append(await connect(self._facts))

    async def look(self) -> Look:
        use = await _use(self._facts)
        return use if isinstance(use, Look) else Look(use.share >= SHARE, use.told)

    async def end(self) -> None:
        async with AsyncExitStack() as leaving:
            while self._connections:
                leaving.callback(self._connections.pop().close)


async def _use(facts: Mapping[str, str]) -> _Use | Look:
    """The server's own count; a look that says why where there is none."""
    try:
        async with asyncio.timeout(LOOK_SECONDS), connected(facts) as cursor:
            await cursor.execute("SHOW GLOBAL STATUS LIKE 'Threads_connected'")
            ((_, now),) = await cursor.fetchall()
            await cursor.execute("SELECT @@max_connections")
            ((allowed,),) = await cursor.fetchall()
    except DATABASE_ERRORS as error:
        return Look(False, f"{facts['host']}:{facts['port']}: {type(error).__name__}: {error}")
    return _Use(int(now) - 1, int(allowed))
