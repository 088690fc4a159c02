"""Slow queries from a real cause: a migration made a table anew and forgot its indexes, and the table is large."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Final

import aiomysql
from pymysql.err import OperationalError

from harness.drive.component_fault import ComponentFault
from harness.drive.database import DATABASE, DATABASE_ERRORS, connected, database_facts, outlived
from harness.drive.faults import LaneControl, Proof
from harness.drive.look import Look, watch
from harness.drive.tally import SUBJECT, Tally
from harness.errors import EffectNotProven, FaultError

ROWS: Final = (250_000, 1_500_000)
"""How many rows the new table has at least and at most beside the community's own: the fewest take an eighth of a
second of a core to read, the most fit into a server's memory as it comes."""
SCAN_SECONDS: Final = 0.28
"""How long reading all of them is to take at least: more of a quick machine, fewer of a busy one, whose own users would
else get errors and no late answers."""
FILL_SECONDS: Final = 6.0
"""How long the new table is filled at most."""
SLOW_SECONDS: Final = 0.05
"""The alert's limit for the mean of all queries, and what the server is told to count a statement of ours as slow."""
LEAST_QUERIES: Final = 10
"""A mean of fewer queries than these says nothing: one in five meets the missing index."""

_TABLE = "comments"
_NEW = "comments_migrated"
_BEFORE = "comments_before_migration"
_INDEX = "comments_post"
_ROWS_AT_ONCE = 50_000
_ROOM = 10_000
"""Numbers left free for comments that are written meanwhile."""
_ALL_ROWS = frozenset({"ALL", "index"})
"""How EXPLAIN calls reading a whole table, in its own order or in that of its primary key."""
_APPLY_SECONDS = 9.5
_MEND_SECONDS = 13.0
_LOOK_SECONDS = 6.0
_READ_PAUSE_SECONDS = 0.1

_QUERY = (
    "SELECT c.id, c.post_id, u.name, c.body, c.created_at FROM comments c JOIN users u ON u.id = c.user_id"
    " WHERE c.post_id = %s ORDER BY c.id LIMIT 50"
)
"""As the application asks for the comments of a post."""
_NEWEST_POST = "SELECT MAX(id) FROM posts"
_TABLES = (
    "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name IN (%s, %s, %s)"
)
_MAKE = (
    "SET SESSION foreign_key_checks = 0",
    "CREATE TABLE comments_migrated LIKE comments",
    # LIKE takes indexes along and foreign keys not. A foreign key asks for an index while it is made, no longer after.
    "ALTER TABLE comments_migrated ADD CONSTRAINT comments_migrated_post FOREIGN KEY (post_id) REFERENCES posts (id)",
    "ALTER TABLE comments_migrated ADD CONSTRAINT comments_migrated_author FOREIGN KEY (user_id) REFERENCES users (id)",
    "ALTER TABLE comments_migrated DROP INDEX comments_post, DROP INDEX comments_user",
)
# Of post 0, which there is not: nobody can ask for one of them.
_FILL = (
    "INSERT INTO comments_migrated (id, post_id, user_id, body, created_at)"
    " SELECT %s + seq, 0, 0, '', '2000-01-01' FROM seq_1_to_50000"
)
_READ_ALL = "SELECT id FROM comments_migrated WHERE post_id = 1"
_LAST = "SELECT COALESCE(MAX(id), 0) FROM comments"
_SWAP = "RENAME TABLE comments TO comments_before_migration, comments_migrated TO comments"
_COPY = "INSERT INTO comments SELECT * FROM comments_before_migration"
_GO_ON_FROM = "ALTER TABLE comments_before_migration AUTO_INCREMENT = %s"
_SWAP_BACK = "RENAME TABLE comments TO comments_migrated, comments_before_migration TO comments"
# May run twice; what was there before is there already.
_COPY_BACK = (
    "INSERT INTO comments SELECT * FROM comments_migrated AS written WHERE written.post_id > 0"
    " ON DUPLICATE KEY UPDATE comments.id = comments.id"
)
# What runs for longer than the application waits for an answer: nobody hears it, and a swap would wait for it.
_ABANDONED = (
    "SELECT id FROM information_schema.processlist"
    " WHERE info LIKE 'SELECT c.id%' AND time_ms > 3200 AND id <> CONNECTION_ID()"
)
_DROP = "DROP TABLE comments_migrated"


class PostsIndexMissing(ComponentFault):
    """The comments get a new table, as online migrations do; nobody told that one of the index by post.

    Whoever asks for the comments of a post has the server read all comments that there are. Made aside and swapped in
    at once, and swapped out again: no row of the community's is changed, and what was written meanwhile is kept.
    """

    id = "posts-index-missing"
    summary = "A migration forgot the index by which the comments of a post are found: each such query reads them all."
    component = DATABASE
    what = "the table of comments"
    done = "made anew without its indexes"
    effect = (
        f"EXPLAIN shows that every row is read, the server counts a statement of our own as slow"
        f" ({SLOW_SECONDS:g} s), and at least {LEAST_QUERIES} queries of the application took {SLOW_SECONDS:g} s"
        " or longer on average"
    )
    health = f"the comments of a post are found by the index {_INDEX} within {SLOW_SECONDS:g} s"

    def facts(self, control: LaneControl) -> Mapping[str, str]:
        """The database's own address and credentials: the database may outlive the harness.

        Raises:
            FaultError: the lane does not say how its database is spoken to.
        """
        return database_facts(control)

    async def disturb(self, control: LaneControl) -> None:
        """Makes the new table, fills it, and swaps it in.

        Raises:
            FaultError: a table of one of its names is there, or the database did not do it.
        """
        async with _migrating(self.facts(control), _APPLY_SECONDS, "made anew") as cursor:
            there = await _tables(cursor)
            if there != {_TABLE}:
                raise FaultError(
                    "The table of comments cannot be made anew",
                    expected=f"{_TABLE} alone to be there",
                    seen=", ".join(sorted(there)) or "none of its names is there",
                    hint=f"{_NEW} and {_BEFORE} are what an earlier migration left behind",
                )
            for statement in _MAKE:
                await cursor.execute(statement)
            await cursor.execute(_LAST)
            ((last,),) = await cursor.fetchall()
            await _fill(cursor, last + _ROOM)
            await cursor.execute(_SWAP)
            await cursor.execute(_COPY)

    async def mend(self, control: LaneControl) -> None:
        """Swaps the table back and drops the new one, after what was written into it meanwhile was copied.

        Raises:
            FaultError: the database did not do it, or somebody else changed the schema meanwhile.
        """
        await _mended(self.facts(control), _MEND_SECONDS)

    async def prove(self, control: LaneControl, deadline_seconds: float) -> Proof:
        """Looks for the cause in the server's plan and count of slow statements, and for the condition in the mean.

        The load makes the traffic; the statement of our own is none of the application's and not in its mean.

        Raises:
            EffectNotProven: one of them was not seen.
        """
        tally = Tally(control.lane.addresses[SUBJECT])

        own = Look(False, "")

        async def look() -> Look:
            nonlocal own
            counted = await tally.read()
            if isinstance(counted, str):
                return Look(False, counted)
            mean = counted.query_seconds / counted.queries if counted.queries else 0.0
            if not own.there:  # once is enough: each of our own makes the application's wait
                own = await self.seen(control)
            return Look(
                own.there and counted.queries >= LEAST_QUERIES and mean >= SLOW_SECONDS,
                f"{own.saw}; {counted.queries:.0f} queries of the application took {mean:.3f} s on average",
            )

        return await watch(
            look,
            deadline_seconds,
            otherwise=EffectNotProven,
            what=f"The table of comments was {self.done} and nothing is seen of it",
            expected=self.effect,
            pause_seconds=_READ_PAUSE_SECONDS,
        )

    async def seen(self, control: LaneControl) -> Look:
        """The cause: how the server reads comments, and whether it counts a statement of our own as slow."""
        asked = await _asked(self.facts(control))
        if isinstance(asked, str):
            return Look(False, asked)
        return Look(asked.reads_all and asked.counted > 0 and asked.seconds >= SLOW_SECONDS, asked.told())

    async def well(self, control: LaneControl) -> Look:
        """The server finds comments by the index, and quickly."""
        asked = await _asked(self.facts(control))
        if isinstance(asked, str):
            return Look(False, asked)
        return Look(asked.index == _INDEX and asked.seconds < SLOW_SECONDS, asked.told())

    async def undo_from(self, facts: Mapping[str, str]) -> bool:
        """Swaps back in a database that outlived the harness; False where that is gone, or was done.

        Raises:
            FaultError: the database is there and it could not be done.
        """
        if not await outlived(facts, "swap the table of comments back"):
            return False
        return await _mended(facts, _MEND_SECONDS)


class _Asked:
    """What came of asking for the comments of a post: the server's plan, its count of slow statements, the time."""

    def __init__(self, access: str, index: str, counted: int, seconds: float) -> None:
        self.reads_all = access in _ALL_ROWS
        self.index = index
        self.counted = counted
        self.seconds = seconds
        self._access = access

    def told(self) -> str:
        """As a clause."""
        return (
            f"EXPLAIN of the comments of a post says {self._access} by {self.index or 'no index'}, and asking for them"
            f" took {self.seconds:.3f} s, counted as slow {self.counted} times"
        )


async def _asked(facts: Mapping[str, str]) -> _Asked | str:
    """Asks as the application does; a clause that says why where that fails."""
    try:
        async with asyncio.timeout(_LOOK_SECONDS), connected(facts) as cursor:
            await cursor.execute(_NEWEST_POST)
            newest = await cursor.fetchone()
            await cursor.execute(f"EXPLAIN {_QUERY}", newest)
            names = [column[0] for column in cursor.description]
            plan = [dict(zip(names, row, strict=True)) for row in await cursor.fetchall()]
            step = next((one for one in plan if one["table"] == "c"), {})
            await cursor.execute("SET SESSION long_query_time = %s", (SLOW_SECONDS,))
            before = await _slow(cursor)
            begun = time.monotonic()
            await cursor.execute(_QUERY, newest)
            await cursor.fetchall()
            seconds = time.monotonic() - begun
            counted = await _slow(cursor) - before
    except DATABASE_ERRORS as error:
        return f"asking for comments failed: {type(error).__name__}{f': {error}' if str(error) else ''}"
    return _Asked(str(step.get("type", "")), str(step.get("key") or ""), counted, seconds)


async def _fill(cursor: aiomysql.Cursor, last: int) -> None:
    """Fills the new table, from the number after `last` on, until reading it takes long enough."""
    least, most = ROWS
    begun = time.monotonic()
    # In pieces: a server goes on with a statement whose client is gone.
    for rows in range(0, most, _ROWS_AT_ONCE):
        if time.monotonic() - begun >= FILL_SECONDS or (rows >= least and await _scan(cursor) >= SCAN_SECONDS):
            break
        await cursor.execute(_FILL, (last + rows,))


async def _scan(cursor: aiomysql.Cursor) -> float:
    """How many seconds reading the whole new table takes."""
    begun = time.monotonic()
    await cursor.execute(_READ_ALL)
    await cursor.fetchall()
    return time.monotonic() - begun


async def _slow(cursor: aiomysql.Cursor) -> int:
    """How many statements of this connection the server has counted as slow."""
    await cursor.execute("SHOW SESSION STATUS LIKE 'Slow_queries'")
    ((_, value),) = await cursor.fetchall()
    return int(value)


async def _tables(cursor: aiomysql.Cursor) -> set[str]:
    """Which of the three tables there are."""
    await cursor.execute(_TABLES, (_TABLE, _NEW, _BEFORE))
    return {str(name) for (name,) in await cursor.fetchall()}


async def _mended(facts: Mapping[str, str], seconds: float) -> bool:
    """Takes the migration back from wherever it stands; whether there was anything to take back.

    Raises:
        FaultError: the database did not do it, or the tables are not as any step of the migration leaves them.
    """
    async with _migrating(facts, seconds, "swapped back") as cursor:
        there = await _tables(cursor)
        if there == {_TABLE}:
            return False
        if there == {_TABLE, _BEFORE}:
            # New comments get numbers above those that were written meanwhile and are copied next.
            await cursor.execute(_LAST)
            ((last,),) = await cursor.fetchall()
            await cursor.execute(_ABANDONED)
            for (abandoned,) in await cursor.fetchall():
                with suppress(OperationalError):  # it has just ended by itself
                    await cursor.execute("KILL QUERY %s", (abandoned,))
            await cursor.execute(_GO_ON_FROM, (last + _ROOM,))
            await cursor.execute(_SWAP_BACK)
            there = {_TABLE, _NEW}
        if there != {_TABLE, _NEW}:
            raise FaultError(
                "The table of comments cannot be swapped back",
                expected=f"{_TABLE}, and {_NEW} or {_BEFORE}",
                seen=", ".join(sorted(there)) or "none of its names is there",
                hint="another program changed the schema meanwhile; this lane's database is not what it was",
            )
        await cursor.execute(_COPY_BACK)
        await cursor.execute(_DROP)
        return True


@asynccontextmanager
async def _migrating(facts: Mapping[str, str], seconds: float, done: str) -> AsyncIterator[aiomysql.Cursor]:
    """A connection on which nothing waits for a lock beyond the deadline, on the server's side.

    Raises:
        FaultError: the database did not do what was asked of it, or not in time.
    """
    try:
        async with asyncio.timeout(seconds), connected(facts) as cursor:
            await cursor.execute("SET SESSION lock_wait_timeout = %s", (max(1, int(seconds) - 1),))
            yield cursor
    except DATABASE_ERRORS as error:
        raise FaultError(
            f"The table of comments could not be {done}",
            seen=f"{type(error).__name__}: {error}",
            waited_seconds=seconds if isinstance(error, TimeoutError) else None,
        ) from error
