"""ClickHouse kept: back-dated events under the policy's own TTL; BACKUP, and RESTORE into an empty instance."""

from __future__ import annotations

import asyncio
import itertools
import random
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import orjson
from aiohttp import ClientSession

from harness.drive.keeping import Sizes
from harness.drive.keeping.asking import answer, asking
from harness.drive.keeping.comparing import Comparison
from harness.drive.keeping.ground import Ground, copied, size_of
from harness.errors import StackError
from harness.model.keeping import AgedData, RestoreDrilled, RetentionProbed
from harness.model.policy import ComponentPolicy
from harness.stack.site import Site

_DAY: Final = 86_400.0
_SQL = re.compile(r"clickhouse/([^/]+\.sql)")
_TTL = re.compile(r"\bTTL (.+?)(?= SETTINGS | AS |$)", re.DOTALL)
_AGES: Final = (0.1, 30.0, 89.0, 89.9, 90.5, 91.05, 120.0)
"""Ages in days that the retention is probed at: 91.05 is 90 and one partition of a day, whatever the hour is."""

_ROWS_OF_AN_AGE: Final = 20
_PIECE: Final = 10_000
_DRILL_DAYS: Final = 14
_BACKUP: Final = "drill"
_ENGINE: Final = "ClickHouse's own engine as a library (chdb); what a server would do in the background is forced"


@dataclass(frozen=True, slots=True)
class _Table:
    """A table that takes events: a row is made of its `record` alone."""

    database: str
    name: str

    @property
    def parameters(self) -> dict[str, str]:
        """Its names, as the parameters `{database:Identifier}` and `{table:Identifier}` of a statement."""
        return {"database": self.database, "table": self.name}


class ClickHouseKeeper:
    """Retention by the TTL of the policy's own tables; backup and restore by ClickHouse's own statements."""

    kind = "clickhouse"
    ages = True
    artifacts = ("chdb",)

    def sizes(self, sizes: Sizes) -> tuple[int, ...]:
        """Rows, over all tables; at night twenty times as many."""
        return sizes.of(10_000, 40_000, 120_000, full=20)

    async def retention(self, ground: Ground, component: ComponentPolicy) -> RetentionProbed:
        """Inserts events of every age into every table, has ClickHouse merge, and counts what answers."""
        site = _place(ground, component, "aged")
        now = time.time()
        async with ground.standing(site) as address, asking(address) as session:
            tables = await _tables(session)
            keeps = await _ttl(session, tables)
            for table, (index, days) in itertools.product(tables, enumerate(_AGES)):
                await _insert(session, table, _aged(index, now - days * _DAY))
            for table in tables:
                await _ask(session, "OPTIMIZE TABLE {database:Identifier}.{table:Identifier} FINAL", table.parameters)
            found = [[await _count(session, table, index) for table in tables] for index, _ in enumerate(_AGES)]
        written = _ROWS_OF_AN_AGE * len(tables)
        return RetentionProbed(
            store=component.name,
            of_kind=self.kind,
            keeps=keeps,
            unit="partition",
            unit_days=1.0,
            told=f"{_ENGINE}; a server merges by TTL every few hours (merge_with_ttl_timeout)",
            aged=tuple(AgedData(days, days, written, sum(counts)) for days, counts in zip(_AGES, found, strict=True)),
        )

    async def restore(self, ground: Ground, component: ComponentPolicy, records: int) -> RestoreDrilled:
        """BACKUP DATABASE, moved into the folder of an empty instance, RESTORE DATABASE there, every row asked for."""
        day = (time.time() // _DAY - _DRILL_DAYS) * _DAY
        origin = _place(ground, component, "filled")
        async with ground.standing(origin) as address, asking(address) as session:
            tables = await _tables(session)
            for table, first in _pieces(tables, records):
                await _insert(session, table, _rows(table, day, first, _size(records, tables, first)))
            began = time.monotonic()
            for database in _databases(tables):
                await _ask(session, f"BACKUP DATABASE `{database}` TO File('{_BACKUP}-{database}')")
            backup_seconds = time.monotonic() - began
        backups = origin.data / "backups"
        size = await asyncio.to_thread(size_of, backups)
        second = replace(ground.site(component, "restored"), configuration=None)
        began = time.monotonic()
        await self.put_back(backups, second)
        async with ground.standing(second) as address, asking(address) as session:
            for database in _databases(tables):
                await _ask(session, f"RESTORE DATABASE `{database}` FROM File('{_BACKUP}-{database}')")
            await _total(session, tables[0])
            restore_seconds = time.monotonic() - began
            found = await _compare(session, tables, records, day)
        return found.drilled(component, size=size, backup_seconds=backup_seconds, restore_seconds=restore_seconds)

    async def put_back(self, backups: Path, site: Site) -> None:
        """Brings the backup to where an instance that was never started may read it."""
        await copied(backups, site.data / "backups")


def _place(ground: Ground, component: ComponentPolicy, role: str) -> Site:
    """A place for an instance with the policy's own tables.

    Raises:
        StackError: the policies have no SQL.
    """
    files = {found[1]: text for name, text in ground.policies.documents.items() if (found := _SQL.fullmatch(name))}
    if not files:
        raise StackError(f"{component.name} has no table", expected="clickhouse/*.sql in the policies folder")
    site = ground.site(component, role, configuration=files)
    return replace(site, configuration=site.data)


def _pieces(tables: Sequence[_Table], records: int) -> Iterator[tuple[_Table, int]]:
    """Where a drill's rows go: a table, and the number of the first row of a piece."""
    return itertools.product(tables, range(0, _share(records, tables), _PIECE))


def _share(records: int, tables: Sequence[_Table]) -> int:
    """How many of a drill's rows a table takes; at least one."""
    return max(1, records // len(tables))


def _size(records: int, tables: Sequence[_Table], first: int) -> int:
    return min(_PIECE, _share(records, tables) - first)


def _databases(tables: Sequence[_Table]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(table.database for table in tables))


def _record(sequence: str, at: float, drawn: random.Random) -> bytes:
    """An event as any of the tables may hold it."""
    instant = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return orjson.dumps(
        {
            "timestamp": instant,
            "action": drawn.choice(("view", "request", "login_failed")),
            "environment": "drill",
            "userId": str(drawn.randrange(1000)),
            "ip": f"192.0.2.{drawn.randrange(256)}",
            "method": "GET",
            "endpoint": drawn.choice(("/api/posts", "/api/posts/{id}")),
            "status": drawn.choice((200, 404, 500)),
            "duration": drawn.randrange(1_000_000) / 1000,
            "object": {"type": "post", "id": drawn.randrange(10**9)},
            "metadata": {"sequence": sequence},
        }
    )


def _aged(index: int, at: float) -> list[bytes]:
    drawn = random.Random(index)
    return [_record(f"aged/{index}/{number}", at, drawn) for number in range(_ROWS_OF_AN_AGE)]


def _rows(table: _Table, day: float, first: int, count: int) -> list[bytes]:
    """The rows of a piece, computed anew whenever they are wanted; all of one day (Unix seconds)."""
    drawn = random.Random(f"{table.name}/{first}")
    return [_record(f"{first:012d}/{number:06d}", day + number, drawn) for number in range(count)]


def _named(rows: Sequence[bytes]) -> list[tuple[str, str]]:
    return [(orjson.loads(row)["metadata"]["sequence"], row.decode()) for row in rows]


async def _tables(session: ClientSession) -> list[_Table]:
    """The tables of the policy that take events.

    Raises:
        StackError: there is none.
    """
    found = await _ask(
        session,
        "SELECT database, table FROM system.columns WHERE name = 'record' AND database NOT IN "
        "('system', 'INFORMATION_SCHEMA', 'information_schema') ORDER BY database, table",
    )
    tables = [_Table(*line.split("\t")) for line in found.splitlines()]
    if not tables:
        raise StackError("ClickHouse has no table of events", expected="tables with a column `record`")
    return tables


async def _ttl(session: ClientSession, tables: Sequence[_Table]) -> str:
    """What the tables say of how long they keep rows, each sentence once."""
    said: dict[str, None] = {}
    for table in tables:
        statement = await _ask(
            session,
            "SELECT create_table_query FROM system.tables WHERE database = {database:String} AND name = {table:String} "
            "FORMAT TSVRaw",
            table.parameters,
        )
        ttl = _TTL.search(statement)
        said[f"TTL {ttl[1].strip()}" if ttl else f"no TTL in {table.name}"] = None
    return "; ".join(said)


async def _insert(session: ClientSession, table: _Table, rows: Sequence[bytes]) -> None:
    into = f"`{table.database}`.`{table.name}`"
    query = {"query": f"INSERT INTO {into} (record) FORMAT JSONAsString", "async_insert": "0"}
    await answer(session, "/", query=query, body=b"\n".join(rows))


async def _count(session: ClientSession, table: _Table, index: int) -> int:
    found = await _ask(
        session,
        "SELECT count() FROM {database:Identifier}.{table:Identifier} WHERE startsWith(sequence, {begin:String})",
        {**table.parameters, "begin": f"aged/{index}/"},
    )
    return int(found)


async def _total(session: ClientSession, table: _Table) -> int:
    return int(await _ask(session, "SELECT count() FROM {database:Identifier}.{table:Identifier}", table.parameters))


async def _compare(session: ClientSession, tables: Sequence[_Table], records: int, day: float) -> Comparison:
    """Every row of every table, asked for and held against what was generated."""
    found = Comparison()
    answered = dict.fromkeys(tables, 0)
    for table, first in _pieces(tables, records):
        rows = await _read(session, table, first)
        answered[table] += len(rows)
        found.take(_named(_rows(table, day, first, _size(records, tables, first))), rows)
    for table, rows_seen in answered.items():
        found.foreign += await _total(session, table) - rows_seen
    return found


async def _read(session: ClientSession, table: _Table, first: int) -> list[tuple[str, str]]:
    """The rows of a piece as they answer, in their order."""
    found = await _ask(
        session,
        "SELECT sequence, record FROM {database:Identifier}.{table:Identifier} "
        "WHERE startsWith(sequence, {begin:String}) ORDER BY sequence FORMAT JSONCompactEachRow",
        {**table.parameters, "begin": f"{first:012d}/"},
    )
    return [(sequence, record) for sequence, record in map(orjson.loads, found.splitlines())]


async def _ask(session: ClientSession, statement: str, parameters: Mapping[str, str] | None = None) -> str:
    query = {"wait_end_of_query": "1", **{f"param_{name}": value for name, value in (parameters or {}).items()}}
    found = await answer(session, "/", query=query, body=statement.encode())
    return found.decode()
