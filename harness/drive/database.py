"""What faults inside a lane's database share: its account, a connection, and a name that a bad migration changed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiomysql
from pymysql.err import MySQLError

from harness.drive.faults import LaneControl
from harness.drive.look import address_facts
from harness.errors import FaultError

DATABASE = "mysql"
_SECRETS = ("mysql_user", "mysql_password", "mysql_database")


def database_facts(control: LaneControl) -> dict[str, str]:
    """The database's own address and the application's account: the database may outlive the harness.

    Raises:
        FaultError: the lane does not say how its database is spoken to.
    """
    lacking = [name for name in _SECRETS if name not in control.secrets]
    if lacking:
        raise FaultError(
            f"Lane {control.lane.name} does not say how its database is spoken to",
            expected=f"the secrets {', '.join(_SECRETS)}",
            seen=f"{', '.join(lacking)} not given",
        )
    lane = control.lane
    return {
        **address_facts(lane.behind.get(DATABASE) or lane.addresses[DATABASE]),
        **{name: control.secrets[name] for name in _SECRETS},
    }


async def connect(facts: Mapping[str, str]) -> aiomysql.Connection:
    """A connection as the application's account, committing by itself.

    Raises:
        MySQLError, OSError, asyncio.IncompleteReadError: there is none to be had; `DATABASE_ERRORS`.
    """
    return await aiomysql.connect(
        host=facts["host"],
        port=int(facts["port"]),
        user=facts["mysql_user"],
        password=facts["mysql_password"],
        db=facts["mysql_database"],
        autocommit=True,
    )


DATABASE_ERRORS = (MySQLError, OSError, asyncio.IncompleteReadError)
"""What a statement may end with where the database is not well; a time-out is an OSError."""


@asynccontextmanager
async def connected(facts: Mapping[str, str]) -> AsyncIterator[aiomysql.Cursor]:
    """A cursor on a connection that is closed at the end; raises what `connect` does."""
    connection = await connect(facts)
    try:
        async with connection.cursor() as cursor:
            yield cursor
    finally:
        connection.close()


@dataclass(frozen=True, slots=True)
class Rename:
    """How a thing in the database gets another name.

    Args:
        thing: what it is (`table`).
        names: a statement with two places: which of two names there are.
        statement: the statement that renames `{away}` to `{to}`.
    """

    thing: str
    names: str
    statement: str

    async def carry_out(self, facts: Mapping[str, str], away: str, to: str, seconds: float) -> bool:
        """Renames; False where it already bears the other name.

        A rename waits for whoever is using the table; it gives up a second before the deadline, on the server's side,
        so that it is not carried out after we have looked away.

        Raises:
            FaultError: neither name is there, both are, or the database did not do it.
        """
        try:
            async with asyncio.timeout(seconds), connected(facts) as cursor:
                await cursor.execute(self.names, (away, to))
                there = {name for (name,) in await cursor.fetchall()}
                if there == {to}:
                    return False
                if there != {away}:
                    raise FaultError(
                        f"The {self.thing} {away} cannot be renamed to {to}",
                        expected="one of the two to be there",
                        seen="both are" if there else "neither is",
                        hint="another program changed the schema meanwhile; this lane's database is not what it was",
                    )
                await cursor.execute("SET SESSION lock_wait_timeout = %s", (max(1, int(seconds) - 1),))
                await cursor.execute(self.statement.format(away=away, to=to))
                return True
        except DATABASE_ERRORS as error:
            raise FaultError(
                f"The {self.thing} {away} could not be renamed to {to}",
                seen=f"{type(error).__name__}: {error}",
                waited_seconds=seconds if isinstance(error, TimeoutError) else None,
            ) from error


async def outlived(facts: Mapping[str, str], what: str) -> bool:
    """Whether a database is still there after a crash of the harness; False where it died with its sandbox.

    Args:
        facts: where it was.
        what: what it is needed for, for the sentence: `rename the table of posts back`.

    Raises:
        FaultError: nobody can say.
    """
    try:
        _, writer = await asyncio.open_connection(facts["host"], int(facts["port"]))
    except ConnectionRefusedError:
        return False
    except OSError as error:
        raise FaultError(f"The database cannot be reached to {what}", seen=str(error)) from error
    writer.close()
    return True
