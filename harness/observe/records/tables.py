"""Tables of a ClickHouse that hold records, read in pages: every page at once to disk, nothing ever written to it.

A table of records has the columns `record` (the JSON as it came), `sequence` (the identity) and `ingested` (when the
row was inserted). Tables are read together, ordered by `ingested` and `sequence` (9 before 10: rows of one insert have
no order of their own); a page ends with all rows that are equal in both, so that no copy is left out or read twice.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson

from harness.errors import StackError, UsageError
from harness.model.audit import ALLOWANCE_SECONDS
from harness.stack.clickhouse.client import Connection

PAGE: Final = 20_000
"""Rows a page: some ten megabytes, which a library that holds an answer whole can hold."""

TABLES: Final = "_events$"
"""Which tables of a database hold records: a regular expression for their names."""

COMMIT_SECONDS: Final = 1.0
"""How long after `ingested`, which is taken while an insert goes on, its rows may be hidden: an upper bound."""

POLL_SECONDS: Final = 0.5

_MARGIN_SECONDS = 1.0
_COLUMNS: Final = ("record", "sequence", "ingested")
_FROM: Final = "FROM merge({database:String}, {tables:String})"
_OURS: Final = "startsWith(sequence, {prefix:String}) AND sequence != ''"

# A record's own text, with two fields before its first: their names are no field's of a schema.
_LINES: Final = f"""
SELECT concat({{stamp:String}}, '\\t{{"event.ingested":"', toString(ingested, 'UTC'), 'Z","event.identity":',
    toJSONString(sequence), ',', substring(replaceAll(trimLeft(record), '\\n', ' '), 2))
{_FROM}
WHERE {_OURS} AND ingested <= {{opened:DateTime64(3, 'UTC')}}
    AND (ingested, length(sequence), sequence)
        > ({{after:DateTime64(3, 'UTC')}}, length({{name:String}}), {{name:String}})
ORDER BY ingested, length(sequence), sequence
LIMIT {{page:UInt32}} WITH TIES
FORMAT TSVRaw
"""


@dataclass(frozen=True, slots=True)
class Rows:
    """Which rows are ours: in the tables of which database, and of which run ("" for whatever bears an identity)."""

    database: str
    run: str = ""
    tables: str = TABLES

    @property
    def parameters(self) -> dict[str, str]:
        """As statements name them."""
        return {"database": self.database, "tables": self.tables, "prefix": f"{self.run}/" if self.run else ""}


@dataclass(slots=True)
class Told:
    """What was read: how many rows, the instant up to which they were read, how long it took."""

    rows: int
    opened_at: float
    seconds: float


async def check_tables(connection: Connection, asked: Rows) -> tuple[str, ...]:
    """The tables that hold records, each of which has what it needs.

    Raises:
        UsageError: there is no such database, no such table, or one that lacks a column.
        StackError: ClickHouse does not answer, or refuses.
    """
    columns = "SELECT table, groupArray(name) FROM system.columns WHERE database = {database:String}"
    found = await connection.rows(
        f"{columns} AND match(table, {{tables:String}}) GROUP BY table ORDER BY table",
        {"database": asked.database, "tables": asked.tables},
        what=f"The tables of {asked.database} cannot be read",
    )
    where = f"the database {asked.database!r} of the ClickHouse at {connection.address}"
    if not found:
        raise UsageError(
            f"{where} has no table of records",
            expected=f"tables whose names match {asked.tables}, with the columns {', '.join(_COLUMNS)}",
            hint="name the database that the collector writes to",
        )
    for table, names in found:
        lacking = [name for name in _COLUMNS if name not in names]
        if lacking:
            raise UsageError(
                f"the table {table} in {where} cannot be audited",
                expected=f"the columns {', '.join(_COLUMNS)}",
                seen=f"no {', no '.join(lacking)}",
                hint="policies/clickhouse/01-events.sql says what they hold",
            )
    return tuple(table for table, _ in found)


async def read_rows(connection: Connection, asked: Rows, spool: Path) -> Told:
    """Reads all rows into a file, in the order in which they were inserted.

    Raises:
        UsageError: there is no such database or table.
        StackError: ClickHouse does not answer, refuses, or gave other rows than it said it had.
    """
    began = time.perf_counter()
    opened_at = time.time()
    what = f"The ClickHouse at {connection.address} does not give its records"
    [[opened]] = await connection.rows("SELECT toString(now64(3), 'UTC')", what=what)
    bounds = {**asked.parameters, "opened": opened}
    [[most, fewest]] = await connection.rows(
        f"SELECT count(), uniqExact(sequence) {_FROM} WHERE {_OURS} AND ingested <= {{opened:DateTime64(3, 'UTC')}}",
        bounds,
        what=what,
    )
    page = _Page({**bounds, "stamp": f"{opened_at:.3f}"})
    with spool.open("wb") as file:
        while await page.read(connection, file, what):
            pass
    # A merge may have put copies together in the meantime; no record goes by that.
    if not int(fewest) <= page.rows <= int(most):
        raise StackError(
            f"The ClickHouse at {connection.address} gave {page.rows} of {most} records",
            hint="rows went while they were read: by a TTL, or by somebody else",
        )
    return Told(page.rows, opened_at, time.perf_counter() - began)


@dataclass(slots=True)
class _Page:
    """Where reading has come to."""

    parameters: Mapping[str, str]
    rows: int = 0
    _after: tuple[str, str] = field(default=("1970-01-01 00:00:00.000", ""))

    async def read(self, connection: Connection, file: Any, what: str) -> bool:
        """The next page into a file; whether there may be more."""
        at = {"page": str(PAGE), "after": self._after[0], "name": self._after[1], **self.parameters}
        count, last = 0, b""
        async for piece in connection.stream(_LINES, at, what=what):
            file.write(piece)
            count += piece.count(b"\n")
            last = _last_line(last, piece)
        self.rows += count
        if count < PAGE:
            return False
        record = orjson.loads(last.partition(b"\t")[2])
        self._after = record["event.ingested"].removesuffix("Z"), record["event.identity"]
        return True


def _last_line(before: bytes, piece: bytes) -> bytes:
    """The last line, whole or begun, of what ends with a piece; its line break stays with it."""
    start = piece.rfind(b"\n", 0, len(piece) - 1) + 1
    return piece[start:] if start or before.endswith(b"\n") else before + piece


async def await_rows(
    connection: Connection,
    asked: Rows,
    expected: int,
    last_at: float,
    *,
    allowance_seconds: float = ALLOWANCE_SECONDS,
) -> int:
    """Waits until so many records are there, or the allowance of the last one is over.

    What bears an instant that is still to come, by the clock of who answers, is not there yet: it would not be read.

    Args:
        connection: to ClickHouse.
        asked: which rows.
        expected: how many records were announced.
        last_at: when the last of them was announced, Unix seconds.
        allowance_seconds: how long a record may take.

    Returns:
        How many are there; copies count once.

    Raises:
        StackError: ClickHouse gave no answer until then.
    """
    deadline = last_at + allowance_seconds + _MARGIN_SECONDS
    what = f"The ClickHouse at {connection.address} does not count its records"
    while True:
        try:
            [[counted]] = await connection.rows(
                f"SELECT uniqExact(sequence) {_FROM} WHERE {_OURS} AND ingested <= now64(3)",
                asked.parameters,
                what=what,
            )
        except StackError:
            if time.time() >= deadline:
                raise
            counted = 0
        if int(counted) >= expected or time.time() >= deadline:
            return int(counted)
        await asyncio.sleep(min(POLL_SECONDS, max(0.0, deadline - time.time())))
