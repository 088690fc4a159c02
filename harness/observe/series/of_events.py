"""The classes of events: every announced identity, held against the points that InfluxDB has; some values compared.

InfluxDB does not say since when a point is there, so that nothing is late here. A point is told apart by its instant
and its tags alone: of two events that share both, one stands in the other's place. Whether that is why an event is not
there is asked, event by event: ClickHouse says what its instant and its tags are, InfluxDB who stands there.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any, Final, TypeVar

from harness.errors import HarnessError
from harness.model.audit import ALLOWANCE_SECONDS
from harness.model.records import announced_from
from harness.model.series import EVENT_CLASSES, SeriesCompared, SeriesControl
from harness.model.stack import Address
from harness.observe.series.book import Book
from harness.observe.series.comparing import ADDED, CHANGED, WITHHELD, judged
from harness.observe.series.influx import Influx, quoted, tagged
from harness.stack.clickhouse.client import Connection

DRAWN: Final = 200
"""Events of which instant, tags and figures are compared with what ClickHouse has of them."""

SETTLED_SECONDS: Final = 6.0
"""After so long without a new point nothing more is awaited: whoever tries again does so within two seconds."""

EXPLAINED: Final = 5000
"""Missing events of which at most is asked who stands in their place."""

_POLL_SECONDS: Final = 0.5
_AT_ONCE: Final = 50
_NANOSECONDS_PER_MICROSECOND: Final = 1_000
_EXAMPLES: Final = 5
_TAG: Final = {"performance": "endpoint", "user_activity": "action"}

T = TypeVar("T")

Point = tuple[int, str, str, float | None]
"""Instant in nanoseconds, environment, endpoint or action, duration where the class has one."""


@dataclass(frozen=True, slots=True)
class Events:
    """What is compared.

    Args:
        of_class: the class: `performance` or `user_activity`.
        influxdb: where InfluxDB listens.
        clickhouse: where ClickHouse listens, which has the same events; None where there is none.
        database: ClickHouse's database.
        writer: the name of the collector.
        manifests: the folder in which events were announced.
        run: the run's id.
        since: only events announced from then on must be there, Unix seconds.
        until: only those announced before then.
        seed: what is drawn by.
    """

    of_class: str
    influxdb: Address
    clickhouse: Address | None
    database: str
    writer: str
    manifests: Path
    run: str
    since: float
    until: float
    seed: int

    @property
    def source(self) -> str:
        """The source of its events, as manifests and tables are called."""
        return EVENT_CLASSES[self.of_class]


async def compare_events(asked: Events) -> SeriesCompared:
    """Compares; whatever keeps it from that is the event's `error`."""
    began = time.monotonic()
    nothing = SeriesCompared(asked.of_class, writer=asked.writer, from_at=asked.since, to_at=asked.until)
    try:
        async with Influx(asked.influxdb) as influx:
            store = await influx.version()
            announced = await asyncio.to_thread(_announced, asked)
            waited = await _settled(influx, asked, announced)
            told = await _compared(influx, asked, announced)
    except (HarnessError, OSError) as error:
        return replace(nothing, error=str(error).replace("\n  ", "; "))
    return replace(told, store=store, waited_seconds=waited, seconds=time.monotonic() - began - waited)


@dataclass(slots=True)
class _Announced:
    """What the manifests say: twice the same book, one of them for the control; the drawn identities."""

    book: Book = field(default_factory=Book)
    copy: Book = field(default_factory=Book)
    drawn: list[str] = field(default_factory=list)
    due: int = 0
    last_at: float = 0.0


def _announced(asked: Events) -> _Announced:
    """Reads the manifests; the drawn ones are a sample of all, each equally likely."""
    told, random = _Announced(), Random(f"{asked.seed}/{asked.of_class}")
    for path in sorted(asked.manifests.glob(f"{asked.source}.*.tsv")):
        with path.open("rb") as lines:
            for one in filter(None, map(announced_from, lines)):
                if one.is_withdrawal:
                    told.book.take_back(one.identity)
                    told.copy.take_back(one.identity)
                    continue
                due = asked.since <= one.at < asked.until
                told.book.announce(one.identity, due=due)
                told.copy.announce(one.identity, due=due)
                if not due:
                    continue
                told.due += 1
                told.last_at = max(told.last_at, one.at)
                if len(told.drawn) < DRAWN:
                    told.drawn.append(one.identity)
                elif (place := random.randrange(told.due)) < DRAWN:
                    told.drawn[place] = one.identity
    told.drawn = [name for name in told.drawn if told.book.due(name)]
    return told


async def _settled(influx: Influx, asked: Events, announced: _Announced) -> float:
    """Waits until as many points are there as events were announced, or no more come; how long that took."""
    began, deadline = time.monotonic(), announced.last_at + ALLOWANCE_SECONDS
    statement = f'SELECT count(sequence) FROM "{asked.of_class}"'  # noqa: S608 - one of two names
    most, grew_at = -1, began
    while True:
        rows = await influx.rows(statement, asked.of_class)
        count = int(rows[0][1]) if rows else 0
        if count > most:
            most, grew_at = count, time.monotonic()
        quiet = time.monotonic() - grew_at
        if count >= announced.due or quiet >= SETTLED_SECONDS or time.time() >= deadline:
            return time.monotonic() - began
        await asyncio.sleep(_POLL_SECONDS)


async def _compared(influx: Influx, asked: Events, announced: _Announced) -> SeriesCompared:
    if asked.clickhouse is None:
        return await _held(influx, None, asked, announced)
    async with Connection(asked.clickhouse) as connection:
        return await _held(influx, connection, asked, announced)


async def _held(influx: Influx, connection: Connection | None, asked: Events, announced: _Announced) -> SeriesCompared:
    truth = {} if connection is None else await _truth(connection, asked, announced.drawn)
    plain, spoilt = _Reader(announced.book, truth), _Spoiler(_Reader(announced.copy, truth))
    tag = _TAG[asked.of_class]
    figure = ', "duration"' if asked.of_class == "performance" else ""
    statement = f'SELECT sequence, environment, "{tag}"{figure} FROM "{asked.of_class}"'  # noqa: S608 - names of ours
    async for piece in influx.pieces(statement, asked.of_class):
        for row in piece.rows:
            name = str(row[1])
            if name.startswith(f"{asked.run}/"):
                point = (int(row[0]), str(row[2]), str(row[3]), float(row[4]) if figure else None)
                plain.take(name, point)
                spoilt.take(name, point)
    counts, differing = plain.book.counts(), plain.differing()
    overwritten = 0 if connection is None else await _overwritten(influx, connection, asked, plain.book)
    doubt = "no ClickHouse says what instants, tags and figures events have"
    return SeriesCompared(
        of_class=asked.of_class,
        writer=asked.writer,
        from_at=asked.since,
        to_at=asked.until,
        known=counts.known,
        series=counts.known,
        expected=counts.expected,
        found=counts.found - len(differing),
        missing=counts.missing - overwritten,
        differing=len(differing),
        foreign=counts.foreign,
        twice=counts.twice,
        overwritten=overwritten,
        examples={
            what: names
            for what, names in (
                ("missing or overwritten", tuple(plain.book.missing(_EXAMPLES))),
                ("differing", tuple(differing[:_EXAMPLES])),
                ("foreign", tuple(plain.book.foreign(_EXAMPLES))),
                ("twice", tuple(plain.book.twice(_EXAMPLES))),
            )
            if names
        },
        control=spoilt.judged(plain),
        doubts=(doubt,) if connection is None else (),
    )


@dataclass(slots=True)
class _Reader:
    """Takes the points of an answer: every identity, and those whole of which is known what they are in truth."""

    book: Book
    truth: Mapping[str, Point]
    seen: dict[str, Point] = field(default_factory=dict)

    def take(self, name: str, point: Point) -> None:
        """A point."""
        self.book.find(name)
        if name in self.truth:
            self.seen[name] = point

    def differing(self) -> list[str]:
        """Those that are there otherwise than they were written."""
        return [name for name, point in self.seen.items() if point != self.truth[name]]


@dataclass(slots=True)
class _Spoiler:
    """The negative control: the same answer, from which something is withheld, in which something is changed and added.

    It is read by the same reader and counted by the same book.
    """

    reader: _Reader
    _withheld: set[str] = field(default_factory=set)
    _changed: set[str] = field(default_factory=set)
    _added: int = 0

    def take(self, name: str, point: Point) -> None:
        """A point, as it comes or spoilt; only one that is as it was written, and is there once, is spoilt."""
        truth = self.reader.truth.get(name)
        if name in self._withheld or name in self._changed:
            # It comes a second time: what was done to the first is undone, and another one takes its part.
            if name in self._withheld and truth is not None:
                self.reader.take(name, truth)
            self._withheld.discard(name)
            self._changed.discard(name)
        elif truth == point and name not in self.reader.seen:
            if len(self._withheld) < WITHHELD:
                self._withheld.add(name)
                return
            if len(self._changed) < CHANGED:
                self._changed.add(name)
        self.reader.take(name, (point[0] + 1, *point[1:]) if name in self._changed else point)
        if self._added < ADDED:
            self._added += 1
            # A life that no writer has; by the run's own name it is foreign, and not somebody else's.
            self.reader.take(f"{name.partition('/')[0]}/nobody/{self._added}", point)

    def judged(self, plain: _Reader) -> SeriesControl:
        """What was counted of what was spoilt."""
        before, after = plain.book.counts(), self.reader.book.counts()
        wrong = len(self.reader.differing()) - len(plain.differing())
        counted = (after.missing - before.missing, wrong, after.foreign - before.foreign)
        return judged(counted, (len(self._withheld), len(self._changed), self._added))


async def _truth(connection: Connection, asked: Events, names: Sequence[str]) -> dict[str, Point]:
    """What ClickHouse has of these events."""
    tag = _TAG[asked.of_class]
    figure = "duration" if asked.of_class == "performance" else "NULL"
    told: dict[str, Point] = {}
    for some in _batches(names):
        listed = ", ".join(quoted(name) for name in some)
        statement = (
            f"SELECT sequence, toUnixTimestamp64Micro(timestamp), environment, {tag}, {figure} "  # noqa: S608 - escaped
            f"FROM {asked.database}.{asked.source}_events WHERE sequence IN ({listed})"
        )
        rows: list[list[Any]] = await connection.rows(statement, what="ClickHouse does not tell of events")
        for name, at, environment, value, length in rows:
            told[name] = (
                int(at) * _NANOSECONDS_PER_MICROSECOND,
                environment,
                value,
                None if length is None else float(length),
            )
    return told


async def _overwritten(influx: Influx, connection: Connection, asked: Events, book: Book) -> int:
    """How many of the missing events are not there because another one of the run stands in their place."""
    truth = await _truth(connection, asked, list(book.missing(EXPLAINED)))
    count = 0
    for some in _batches(list(truth.items())):
        statements = "; ".join(
            f'SELECT sequence FROM "{asked.of_class}" WHERE time = {at} AND '  # noqa: S608 - escaped by `tagged`
            + tagged({"environment": environment, _TAG[asked.of_class]: value})
            for _, (at, environment, value, _) in some
        )
        async for piece in influx.pieces(statements, asked.of_class):
            name = some[piece.statement][0]
            count += any(str(row[1]) != name and book.known(str(row[1])) for row in piece.rows)
    return count


def _batches(all_of_them: Sequence[T]) -> Iterator[Sequence[T]]:
    return (all_of_them[first : first + _AT_ONCE] for first in range(0, len(all_of_them), _AT_ONCE))
