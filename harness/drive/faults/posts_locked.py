"""Slow responses from a real cause: somebody else's transaction has the posts locked for seconds, again and again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

from harness.drive.database import DATABASE, DATABASE_ERRORS, connected, database_facts
from harness.drive.faults import LaneControl
from harness.drive.lasting import Deed, LastingFault, Turns
from harness.drive.look import LOOK_SECONDS, Look
from harness.drive.tally import LEAST_REQUESTS, SUBJECT, Tally
from harness.model.stack import Address

LOCKED_SECONDS = 2.5
"""How long a lock is held: half a second less than the application's statements wait for one, so that hardly any of
them gives up, and the answers are late and not errors."""
_AGAIN_SECONDS = 0.1
"""Before the lock is tried again after the connection was lost."""
_WAITING = "SELECT COUNT(*) FROM information_schema.processlist WHERE state LIKE 'Waiting for table%'"
"""Who still waits for a lock; an account sees its own connections, and this one is the application's."""
MEAN_SECONDS = 1.0
"""The plan's condition: mean response time at or above 1 s."""
_WAIT_SECONDS = 1.0
_QUICK_SECONDS = 0.5
_PATIENCE_SECONDS = 4.0
"""How long our own statement waits: longer than a lock is held."""


class PostsLocked(LastingFault):
    """`LOCK TABLES posts WRITE, comments WRITE`, as a migration that copies both does, until the fault is healed."""

    id = "posts-locked"
    summary = "Posts and comments are locked for 2.5 s, again and again, so that requests are slow and succeed."
    component = DATABASE
    what = "the table of posts"
    done = "locked"
    effect = (
        f"a mean response time of at least {MEAN_SECONDS:g} s over at least {LEAST_REQUESTS} requests, and a statement"
        f" of our own that waits {_WAIT_SECONDS:g} s or longer"
    )
    health = f"a post can be read from its table within {_QUICK_SECONDS:g} s"
    looks_apart_seconds = 0.1

    def facts(self, control: LaneControl) -> Mapping[str, str]:
        """Where the database is reached; the locks are the harness's and end with its connection.

        Raises:
            FaultError: the lane does not say how its database is spoken to.
        """
        database_facts(control)
        return super().facts(control)

    def deed(self, control: LaneControl) -> Deed:
        """Locks in one lane's database."""
        return _Locking(database_facts(control), control.lane.addresses[SUBJECT])

    async def well(self, control: LaneControl) -> Look:
        """A statement of our own is quick."""
        seconds = await _read(database_facts(control), LOOK_SECONDS)
        if isinstance(seconds, str):
            return Look(False, seconds)
        return Look(seconds < _QUICK_SECONDS, f"reading a post from its table took {seconds:.3f} s")


class _Locking:
    """Locks and lets go, by turns; and what the application and a statement of our own have of that."""

    def __init__(self, facts: Mapping[str, str], subject: Address) -> None:
        self._facts = facts
        self._tally = Tally(subject)
        self._locked = asyncio.Event()
        self._turns: Turns | None = None
        self._longest = 0.0
        self._why = ""
        self._reading: asyncio.Task[float | str] | None = None

    async def begin(self) -> None:
        await self._tally.read()
        self._turns = Turns(self._lock, _AGAIN_SECONDS, DATABASE_ERRORS, "posts locked")

    async def _lock(self) -> None:
        assert self._turns is not None
        async with connected(self._facts) as cursor:
            while not self._turns.ending:
                await cursor.execute("LOCK TABLES posts WRITE, comments WRITE")
                await self._turns.rest(LOCKED_SECONDS)
                await cursor.execute("UNLOCK TABLES")
                # Whoever waited goes first: locked again at once, an INSERT that was just let through waits a second
                # time and gives up. Who comes after them waits for the next lock.
                await cursor.execute(_WAITING)
                while (await cursor.fetchone())[0]:
                    await cursor.execute(_WAITING)

    async def look(self) -> Look:
        # Our own statement waits beside the looks; of those that have ended the slowest counts.
        if self._reading is None:
            self._reading = asyncio.create_task(
                _read(self._facts, _PATIENCE_SECONDS), name="a statement that waits for the posts"
            )
        if self._reading.done():
            seconds = self._reading.result()
            self._longest, self._why = (self._longest, seconds) if isinstance(seconds, str) else (seconds, "")
            self._reading = None
        counted = await self._tally.read()
        if isinstance(counted, str):
            return Look(False, counted)
        mean = counted.seconds / counted.timed if counted.timed else 0.0
        return Look(
            counted.timed >= LEAST_REQUESTS and mean >= MEAN_SECONDS and self._longest >= _WAIT_SECONDS,
            f"{counted.timed:.0f} requests took {mean:.2f} s on average since the posts were locked;"
            f" a statement of our own {self._why or f'waited {self._longest:.2f} s'}",
        )

    async def end(self) -> None:
        if self._turns is not None:
            await self._turns.end()
        if self._reading is not None:
            await asyncio.wait({self._reading})


async def _read(facts: Mapping[str, str], within_seconds: float) -> float | str:
    """How many seconds it takes to read a post from its table; a clause that says why where it cannot be read."""
    try:
        async with asyncio.timeout(within_seconds), connected(facts) as cursor:
            begun = time.monotonic()
            await cursor.execute("SELECT id FROM posts LIMIT 1")
            await cursor.fetchall()
            return time.monotonic() - begun
    except DATABASE_ERRORS as error:
        return f"failed: {type(error).__name__}{f': {error}' if str(error) else ''}"
