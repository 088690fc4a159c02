"""The audit as SQL: ClickHouse holds the manifests against the events itself; nothing but suspects and counts is read.

Manifests are inserted into a database of the audit's own, `tocsin_<run>`, and the statements in `sql/` do the rest on
both sides, on as many machines as ClickHouse has. The answers are those of `of_clickhouse`, with one exception that is
told: a record whose digest is right is not held against its schema once more.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import orjson

from harness.errors import UsageError
from harness.model.audit import ALLOWANCE_SECONDS, AuditControl, AuditEvent, RecordsAudited, RecordsNotAudited
from harness.model.records import RecordSchema, announced_from
from harness.model.stack import Address
from harness.observe.records.checks import Checker, Seen
from harness.observe.records.fates import Fate
from harness.observe.records.of_clickhouse import Look, store_of
from harness.observe.records.partition import chunks
from harness.observe.records.settings import NEVER
from harness.observe.records.spoiling import Drawn, Spoilt, spoilt
from harness.observe.records.store import announced_in
from harness.observe.records.tables import COMMIT_SECONDS, Rows, await_rows, check_tables
from harness.observe.records.tally import EXAMPLES, Tally
from harness.stack.clickhouse.client import Connection
from harness.stack.clickhouse.statements import statements

DRAW: Final = 30
"""How many records of each source the negative control draws."""

_PIECE: Final = 1000
_UNCHECKED: Final = "whole records were not held against their schema (an audit in SQL confirms digests alone)"
_CONTROL: Final = "control_events"
_CONTROL_TABLE: Final = f"""
CREATE TABLE {{database:Identifier}}.{_CONTROL} (record String, sequence String, ingested DateTime64(3, 'UTC'))
ENGINE = MergeTree ORDER BY sequence
"""


async def count_events(
    address: Address, schemas: Sequence[RecordSchema], manifests: Sequence[Path], look: Look
) -> tuple[AuditEvent, ...]:
    """As `audit_in_sql`, over a connection of its own.

    Raises:
        UsageError: as there.
        StackError: as there.
        OSError: as there.
    """
    async with Connection(address, credentials=look.credentials) as connection:
        return await audit_in_sql(connection, schemas, manifests, look)


async def audit_in_sql(
    connection: Connection, schemas: Sequence[RecordSchema], manifests: Sequence[Path], look: Look
) -> tuple[AuditEvent, ...]:
    """What became of every announced event, by source, counted by ClickHouse.

    Raises:
        UsageError: the tables are not what is needed, or another audit of this run is under way.
        StackError: ClickHouse does not answer, is something else, or refuses.
        OSError: a manifest cannot be read.
    """
    product = await connection.product()
    await check_tables(connection, look.rows)
    expected, last_at = await asyncio.to_thread(announced_in, manifests)
    if look.wait:
        await await_rows(connection, look.rows, expected, min(last_at, time.time()))
    run = next((line.partition(b"/")[0].decode() for line in _announced(manifests, [])), None)
    if run is None:
        return (RecordsNotAudited("no manifest announces any record"),)
    async with own(connection, "tocsin_" + re.sub(r"\W", "_", run, flags=re.ASCII)) as database:
        began, opened_at, broken = time.perf_counter(), time.time(), list[str]()
        at = await _parameters(connection, database, look.rows, opened_at)
        side = _Side(connection, schemas, at)
        await side.announce(_announced(manifests, broken))
        await _windows(side, look)
        seen = await side.find(look.since, look.until, opened_at)
        found = time.perf_counter()
        results = _Results(side, seen, broken)
        await results.read()
        async with own(connection, f"{database}_control") as control:
            results.controls = await _control(side, control, look)
        store = store_of(product, found - began)
        return tuple(results.events(store.name, store.stands_in, store.fetch_seconds, time.perf_counter() - found))


@asynccontextmanager
async def own(connection: Connection, database: str) -> AsyncIterator[str]:
    """A database of our own with the audit's tables, dropped at the end; never one that was there before.

    Raises:
        UsageError: it is there already.
        StackError: ClickHouse does not answer, or refuses.
    """
    there = "SELECT count() FROM system.databases WHERE name = {database:String}"
    [[count]] = await connection.rows(there, {"database": database}, what="The databases cannot be read")
    if int(count):
        raise UsageError(
            f"the ClickHouse at {connection.address} has a database {database} already, and it is not ours to use",
            hint="another audit of this run is under way, or one was killed: then drop that database",
        )
    create, *tables = _statements("tables")
    what = f"The tables of the audit cannot be made in {database}"
    await connection.run(create, {"database": database}, what=what)
    try:
        for statement in tables:
            await connection.run(statement, {"database": database}, what=what)
        yield database
    finally:
        drop = connection.run("DROP DATABASE {database:Identifier}", {"database": database}, what=f"{database} stays")
        await asyncio.shield(asyncio.ensure_future(drop))


def _statements(name: str) -> list[str]:
    text = (files("harness.observe.records") / "sql" / f"{name}.sql").read_text(encoding="utf-8")
    return [statement.text for statement in statements(text)]


async def _parameters(connection: Connection, database: str, rows: Rows, opened_at: float) -> dict[str, str]:
    [[opened]] = await connection.rows("SELECT toString(now64(3), 'UTC')", what="The time cannot be asked for")
    return {
        "database": database,
        "events": rows.database,
        "tables": rows.tables,
        "prefix": rows.parameters["prefix"],
        "opened": opened,
        "seen": f"{opened_at:.3f}",
        "refresh": str(COMMIT_SECONDS),
    }


def _announced(manifests: Sequence[Path], broken: list[str]) -> Iterator[bytes]:
    """The lines that announce something; `broken` takes those that do not."""
    for path in manifests:
        for chunk in chunks(path, 0, path.stat().st_size):
            for line in chunk.splitlines(keepends=True):
                if announced_from(line) is not None and b"/" in line.partition(b"\t")[0]:
                    yield line
                elif line.endswith(b"\n"):
                    broken.append(f"{path.name}: {line[:60].decode(errors='replace')!r}")


async def _windows(side: _Side, look: Look) -> None:
    rows = [[one.fault, one.lane, one.from_at, min(one.until_at, NEVER)] for one in look.windows]
    if rows:
        await side.insert("windows", "JSONCompactEachRow", (orjson.dumps(row) + b"\n" for row in rows))


@dataclass(slots=True)
class _Side:
    """One database of the audit: announcements, what was found of them, their fates."""

    connection: Connection
    schemas: Sequence[RecordSchema]
    parameters: dict[str, str]

    async def ask(self, name: str, **more: str) -> list[list[Any]]:
        """The rows of a statement in `sql/`."""
        [statement] = _statements(name)
        return await self.connection.rows(statement, {**self.parameters, **more}, what=f"The audit fails ({name}.sql)")

    async def do(self, name: str, **more: str) -> None:
        """Runs a statement in `sql/`."""
        [statement] = _statements(name)
        await self.connection.run(statement, {**self.parameters, **more}, what=f"The audit fails ({name}.sql)")

    async def insert(self, table: str, form: str, lines: Iterator[bytes] | AsyncIterator[bytes]) -> None:
        """Rows into a table of this database, as they come."""
        pieces = _pieces(lines)
        first = await anext(pieces, None)
        if first is None:
            return  # ClickHouse refuses an INSERT of nothing

        async def data() -> AsyncIterator[bytes]:
            yield first
            async for piece in pieces:
                yield piece

        statement = f"INSERT INTO {{database:Identifier}}.{table} FORMAT {form}"
        await self.connection.run(statement, self.parameters, what=f"{table} cannot be filled", data=data())

    async def announce(self, lines: Iterator[bytes]) -> None:
        """Takes manifests, and the fields of every schema."""
        await self.insert("announced", "TSVRaw", lines)
        rows = (orjson.dumps([one.source, sorted(one.fields)]) + b"\n" for one in self.schemas)
        await self.insert("sources", "JSONCompactEachRow", rows)

    async def find(self, since: float, until: float, looked_at: float) -> Seen:
        """Finds every copy, reads the suspects among them, gives every announced record its fate."""
        await self.do("found")
        epochs = "SELECT DISTINCT substring(identity, 1, length(identity) - length(splitByChar('/', identity)[-1]) - 1)"
        found = await self.connection.rows(
            f"{epochs}, source FROM {{database:Identifier}}.announced",
            self.parameters,
            what="The writers cannot be read",
        )
        seen, sources = Seen(), dict[str, str](found)
        await self.insert("checked", "JSONCompactEachRow", self._checked(Checker(self.schemas, sources), sources, seen))
        allowed = {"allowance": str(ALLOWANCE_SECONDS), "looked": repr(looked_at)}
        await self.do("fates", since=repr(since), until=repr(until), **allowed)
        return seen

    async def _checked(self, checker: Checker, sources: Mapping[str, str], seen: Seen) -> AsyncIterator[bytes]:
        [statement] = _statements("suspects")
        what = "The audit fails (suspects.sql)"
        async for record, name, row in self.connection.each(statement, self.parameters, what=what):
            part, found = checker.read([record.replace("\n", " ").lstrip().encode("utf-8", "surrogatepass")])
            seen.add(part, sources, 0)
            for copy in found:
                yield orjson.dumps([name, str(row), copy[2] or "?", copy[3]]) + b"\n"


async def _pieces(lines: Iterator[bytes] | AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Lines in larger pieces, for a request's body; none where there is no line."""
    some: list[bytes] = []
    async for line in lines if isinstance(lines, AsyncIterator) else _one_by_one(lines):
        some.append(line)
        if len(some) == _PIECE:
            yield b"".join(some)
            some.clear()
    if some:
        yield b"".join(some)


async def _one_by_one(lines: Iterator[bytes]) -> AsyncIterator[bytes]:
    for line in lines:
        yield line


@dataclass(slots=True)
class _Results:
    """What the statements have counted, by source."""

    side: _Side
    seen: Seen
    broken: Sequence[str]
    tallies: dict[str, Tally] = field(default_factory=dict)
    delays: dict[str, list[float]] = field(default_factory=dict)
    faults: dict[str, Tally] = field(default_factory=dict)
    others: dict[str, tuple[int, int]] = field(default_factory=dict)
    names: tuple[str, ...] = ()
    controls: Mapping[str, AuditControl] = field(default_factory=dict)

    async def read(self) -> None:
        """Asks for all of it."""
        for source, fate, lane, level, count, copies, surplus, undigested in await self.side.ask("counts"):
            tally = self.tallies.setdefault(source, Tally())
            if fate == "withdrawn":
                tally.withdrawn += int(count)
                continue
            tally.fates[fate, lane, level] += int(count)
            tally.found += int(copies)
            tally.surplus += int(surplus)
            tally.undigested += int(undigested)
        for source, fate, names, skew in await self.side.ask("examples"):
            if source in self.tallies and fate not in {"withdrawn", Fate.IN_TIME}:
                self.tallies[source].examples[fate] = names[:EXAMPLES]
            if skew is not None:
                self.tallies[source].skew = max(self.tallies[source].skew, skew)
        for source, count in await self.side.ask("repeated"):
            self.tallies.setdefault(source, Tally()).repeated = int(count)
        self.delays = {source: list(map(float, seconds)) for source, *seconds in await self.side.ask("delays")}
        rows = await self.side.ask("faults")
        self.names = tuple(sorted({fault for _, fault, _, _ in rows}))
        for source, fault, fate, count in rows:
            self.tallies[source].in_windows[self.names.index(fault), fate] += int(count)
        self.others = {source: (int(turned), int(stray)) for source, turned, stray in await self.side.ask("others")}

    def events(
        self, store: str, stands_in: Mapping[str, str], fetch_seconds: float, seconds: float
    ) -> Iterator[AuditEvent]:
        """One for each source that announced anything."""
        known = {schema.source for schema in self.side.schemas}
        for source in sorted(self.tallies):
            if source not in known:
                why = f"no schema says what a record of {source!r} looks like, nor what its digest covers"
                yield RecordsNotAudited(why, source)
                continue
            tally, turned = self.tallies[source], self.others.get(source, (0, 0))
            p50, p99, latest, earliest = self.delays.get(source, (None, None, None, None))
            doubts = [f"{tally.repeated} records were announced more than once"] if tally.repeated else []
            if self.broken:
                doubts.append(f"{len(self.broken)} lines of manifests are no announcements, first {self.broken[0]}")
            yield RecordsAudited(
                source=source,
                store=store,
                fates=tally.total(),
                found=tally.found,
                surplus=tally.surplus,
                withdrawn=tally.withdrawn,
                unannounced=turned[1],
                undigested=tally.undigested,
                schema_violations=self.seen.violations[source],
                offending=dict(self.seen.offending.get(source, Counter()).most_common(10)),
                delay_p50_seconds=p50,
                delay_p99_seconds=p99,
                delay_max_seconds=latest,
                delay_min_seconds=earliest,
                clock_skew_seconds=tally.skew if tally.skew >= 0 else None,
                order_inversions=turned[0],
                by_level=tally.by_level(),
                by_lane=tally.by_lane(),
                by_fault=tally.by_window(self.names),
                examples={fate: tuple(names) for fate, names in tally.examples.items()},
                control=self.controls.get(source, AuditControl(0, 0, 0, "only 0 whole records could be drawn for it")),
                stands_in=stands_in,
                seconds=seconds,
                fetch_seconds=fetch_seconds,
                doubts=(*doubts, _UNCHECKED),
            )


async def _control(side: _Side, database: str, look: Look) -> dict[str, AuditControl]:
    """The negative control: some of what was found, spoilt, in a database beside, counted by the same statements."""
    schemas = {schema.source: schema for schema in side.schemas}
    rows = await side.ask("drawn", seed=str(look.seed & 0xFFFFFFFF), draw=str(DRAW))
    drawn = [Drawn(*row) for row in rows if row[2] in schemas]
    made: Spoilt = spoilt(drawn, schemas, look.seed)
    beside = _Side(
        side.connection,
        side.schemas,
        {**side.parameters, "database": database, "events": database, "tables": f"^{_CONTROL}$"},
    )
    await side.connection.run(
        _CONTROL_TABLE,
        beside.parameters,
        what="The audit's negative control cannot be made",
    )
    await beside.announce(iter(made.announced))
    await beside.insert(_CONTROL, "JSONCompactEachRow", (orjson.dumps(row) + b"\n" for row in made.rows))
    await beside.find(0.0, NEVER, NEVER)
    counted: dict[str, Counter[str]] = {}
    for source, fate, _, _, count, *_ in await beside.ask("counts"):
        counted.setdefault(source, Counter())[fate] += int(count)
    return {source: made.judged(source, counted.get(source, Counter())) for source in schemas}
