"""The application's database kept: a dump, restored into an empty server; tables and rows compared."""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import aiomysql

from harness.drive.database import DATABASE_ERRORS, connected
from harness.drive.keeping import Sizes
from harness.drive.keeping.comparing import Comparison, blame
from harness.drive.keeping.ground import Ground, unwritable
from harness.errors import StackError
from harness.model.keeping import RestoreDrilled, RetentionProbed
from harness.model.policy import ComponentPolicy
from harness.model.stack import Address
from harness.stack.site import Site
from harness.stack.subject.schema import TABLES

_CLIENT = "mariadb-client"
_BATCH = 1_000
_SINCE = datetime(2026, 1, 1)
_ENDING = 'é "quoted" \\ back\nnext 🐧'
_COUNTER = re.compile(r" AUTO_INCREMENT=\d+")

Row = tuple[int | str | datetime, ...]


@dataclass(frozen=True, slots=True)
class _Table:
    """One of the application's tables, and which share of all rows it gets; the first column counts from 1."""

    name: str
    columns: tuple[str, ...]
    share: float

    def rows(self, first: int, last: int, users: int, posts: int) -> list[Row]:
        """Rows of these numbers, both included; they point at users and posts that there are."""
        drawn = random.Random(f"{self.name}/{first}")
        return [
            tuple(self._value(column, number, drawn, users, posts) for column in self.columns)
            for number in range(first, last + 1)
        ]

    def _value(self, column: str, number: int, drawn: random.Random, users: int, posts: int) -> int | str | datetime:
        match column:
            case "id":
                return number
            case "user_id":
                return drawn.randint(1, users)
            case "post_id":
                return drawn.randint(1, posts)
            case "created_at":
                return _SINCE + timedelta(microseconds=number * 1_000_003)
            case "name":
                return f"user-{number}"
            case "title":
                return f"{drawn.getrandbits(64):x} {number}"
            case _:
                return f"{drawn.getrandbits(512):x} {_ENDING}"


_TABLES = (
    _Table("users", ("id", "name", "password_hash", "created_at"), 0.02),
    _Table("posts", ("id", "user_id", "title", "body", "created_at"), 0.28),
    _Table("comments", ("id", "post_id", "user_id", "body", "created_at"), 0.7),
)


class MariaKeeper:
    """`mariadb-dump` of the application's tables, as the application's own account, and `mariadb` to read it back."""

    kind = "mariadb"
    ages = False
    artifacts = ("mariadb", _CLIENT)

    def sizes(self, sizes: Sizes) -> tuple[int, ...]:
        """Rows over all tables; at night a hundred times as many."""
        return sizes.of(500, 2_000, 8_000, full=100)

    async def retention(self, ground: Ground, component: ComponentPolicy) -> RetentionProbed:
        """Nothing ages out of the application's database.

        Raises:
            StackError: always.
        """
        raise StackError(f"Nothing ages out of {component.name}", seen=str(ground.folder))

    async def restore(self, ground: Ground, component: ComponentPolicy, records: int) -> RestoreDrilled:
        """Fills the application's tables, dumps them, reads the dump into a server without any, compares every row."""
        counts = {table.name: max(1, round(records * table.share)) for table in _TABLES}
        origin = ground.site(component, "filled")
        dump = origin.data / "dump.sql"
        async with ground.standing(origin) as address:
            await _fill(origin, address, counts)
            began = time.monotonic()
            await ground.run_tool(
                origin, "mariadb-dump", _account(origin, address), "--single-transaction", "--skip-lock-tables",
                f"--result-file={dump}", origin.secrets["mysql_database"], artifact=_CLIENT,
            )  # fmt: skip
            backup_seconds = time.monotonic() - began
            second = ground.site(component, "restored")
            began = time.monotonic()
            async with ground.standing(second) as restored:
                await self.put_back(ground, second, restored, dump)
                async with _speaking(second, restored) as cursor:
                    await cursor.execute("SELECT MAX(id) FROM comments")
                restore_seconds = time.monotonic() - began
                definitions = await _definitions(origin, address)
                found = await _compare(second, restored, counts, definitions)
            await blame(component, found, lambda: _compare(origin, address, counts, definitions))
        return found.drilled(
            component, size=dump.stat().st_size, backup_seconds=backup_seconds, restore_seconds=restore_seconds
        )

    async def put_back(self, ground: Ground, site: Site, address: Address, dump: Path) -> None:
        """The restore itself, into a server that stands and has no table of the application's."""
        await ground.run_tool(
            site, "mariadb", _account(site, address), "--batch", f"--execute=source {dump}",
            site.secrets["mysql_database"], artifact=_CLIENT,
        )  # fmt: skip


def _account(site: Site, address: Address) -> str:
    """The option with a file that says who speaks to which server: a password in a command line is seen by all.

    Raises:
        StackError: it cannot be written.
    """
    file = site.data / "client.cnf"
    secrets = site.secrets
    try:
        file.touch(mode=0o600)
        file.write_text(
            f"[client]\nprotocol=TCP\nhost={address.host}\nport={address.port}\n"
            f"user={secrets['mysql_user']}\npassword={secrets['mysql_password']}\ndefault-character-set=utf8mb4\n"
        )
    except OSError as error:
        raise unwritable(file, error) from error
    return f"--defaults-file={file}"


@asynccontextmanager
async def _speaking(site: Site, address: Address) -> AsyncIterator[aiomysql.Cursor]:
    """A cursor as the application's account.

    Raises:
        StackError: the server does not do what it is asked for.
    """
    facts = {"host": address.host, "port": str(address.port), **site.secrets}
    try:
        async with connected(facts) as cursor:
            await cursor.execute("SET NAMES utf8mb4")
            yield cursor
    except DATABASE_ERRORS as error:
        raise StackError(f"{site.title} did not do what it was asked for", seen=str(error)) from error


def _pieces(table: _Table, counts: dict[str, int]) -> Iterator[list[Row]]:
    """All rows of a table, in pieces that always begin at the same numbers."""
    total = counts[table.name]
    for first in range(1, total + 1, _BATCH):
        yield table.rows(first, min(first + _BATCH - 1, total), counts["users"], counts["posts"])


async def _fill(site: Site, address: Address, counts: dict[str, int]) -> None:
    async with _speaking(site, address) as cursor:
        for statement in TABLES:
            await cursor.execute(statement)
        for table in _TABLES:
            places = ", ".join(["%s"] * len(table.columns))
            insert = f"INSERT INTO {table.name} ({', '.join(table.columns)}) VALUES ({places})"  # noqa: S608 - ours
            for piece in _pieces(table, counts):
                await cursor.executemany(insert, piece)


async def _definitions(site: Site, address: Address) -> dict[str, str]:
    """How the server itself states each table: its columns, keys and constraints, without its counter."""
    async with _speaking(site, address) as cursor:
        await cursor.execute("SHOW TABLES")
        names = [name for (name,) in await cursor.fetchall()]
        found = {}
        for name in names:
            await cursor.execute(f"SHOW CREATE TABLE `{name}`")
            found[name] = _COUNTER.sub("", (await cursor.fetchone())[1])
        return found


async def _compare(site: Site, address: Address, counts: dict[str, int], definitions: dict[str, str]) -> Comparison:
    """The tables themselves, then every row of each, held against what was generated."""
    found = Comparison()
    found.take(sorted(definitions.items()), sorted((await _definitions(site, address)).items()))
    if found.missing:
        # No row can be asked for where its table is not.
        found.missing += sum(counts.values())
        found.records += sum(counts.values())
        return found
    async with _speaking(site, address) as cursor:
        for table in _TABLES:
            select = f"SELECT {', '.join(table.columns)} FROM {table.name} WHERE id BETWEEN %s AND %s ORDER BY id"  # noqa: S608 - ours
            for piece in _pieces(table, counts):
                await cursor.execute(select, (piece[0][0], piece[-1][0]))
                found.take(piece, await cursor.fetchall())
                await asyncio.sleep(0)
            await cursor.execute(f"SELECT COUNT(*) FROM {table.name} WHERE id > %s OR id < 1", counts[table.name])  # noqa: S608 - ours
            found.foreign += (await cursor.fetchone())[0]
    return found
