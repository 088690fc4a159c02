"""InfluxDB kept: every database of the policy probed at its edge; backed up and restored, compared point by point."""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from aiohttp import ClientSession

from harness.drive.keeping import Sizes
from harness.drive.keeping.asking import answer, answered, asking
from harness.drive.keeping.comparing import Comparison, blame
from harness.drive.keeping.ground import Ground, size_of
from harness.errors import StackError
from harness.model.keeping import AgedData, RestoreDrilled, RetentionProbed
from harness.model.policy import ComponentPolicy
from harness.model.stack import Address
from harness.model.time import parse_duration
from harness.stack.components.influxdb import BACKUP_VARIABLE, CONFIGURATION
from harness.stack.runtimes import Launch
from harness.stack.site import Site

_FOLDER = "influxdb"
_DAY = 86_400
_NANOSECONDS = 1_000_000_000
_CHECK_VARIABLE = "INFLUXDB_RETENTION_CHECK_INTERVAL"
_CHECK_ENDED = "Retention policy deletion check (end)"
_CHECKS = 2
"""After so many whole looks for old shard groups whatever must leave has left: the first may have begun before."""
_CHECK_WAIT_SECONDS = 60.0
_AGES = (1.0, 60.0, 89.0, 89.9, 91.2)
"""Days; on both sides of the edge, and none between 90 days and one shard group more, where either is right."""
_AGED = "tocsin_aged"
_COUNT_AGED = "SELECT count(v) FROM tocsin_aged WHERE time >= {}s AND time <= {}s"
_AGED_POINTS = 10
_KEPT = "tocsin_kept"
_COUNT_KEPT = "SELECT count(v) FROM tocsin_kept"
_READ_KEPT = "SELECT v, origin FROM tocsin_kept WHERE time >= {} AND time <= {}"
_DRILL_DAYS = 5
_BATCH = 10_000
_ANSWER_SECONDS = 60.0

Point = tuple[int, int | float | str, str]
"""Instant in nanoseconds, value, value of the tag `origin`."""


@dataclass(frozen=True, slots=True)
class Database:
    """A database of the policy, with the retention policy that points go to when none is named.

    `duration` and `group` are in InfluxDB's own spelling (`2160h0m0s`).
    """

    name: str
    policy: str
    duration: str
    group: str


class InfluxKeeper:
    """Retention as the policy's statements set it; `influxd backup -portable` and its restore."""

    kind = "influxdb"
    ages = True
    artifacts = ("influxdb",)

    def sizes(self, sizes: Sizes) -> tuple[int, ...]:
        """Points over all databases; at night a hundred times as many."""
        return sizes.of(3_000, 12_000, 36_000, full=100)

    async def retention(self, ground: Ground, component: ComponentPolicy) -> RetentionProbed:
        """Fills each database while it keeps everything, gives it its own retention back, and counts what answers."""
        site = ground.site(component, "aged", configuration=ground.documents(_FOLDER), folder=_FOLDER)
        now = int(time.time())
        aged: list[AgedData] = []
        async with (
            ground.standing(site, change=_looking_often) as address,
            asking(address) as session,
        ):
            databases = await declared(session)
            for database in databases:
                await _statement(session, _altered(database, "0s", database.group))
                for days in _AGES:
                    await _write(session, database.name, _aged_lines(now, days))
            for database in databases:
                await _statement(session, _altered(database, database.duration, database.group))
            await _looked_through(site.log)
            for database in databases:
                for days in _AGES:
                    oldest, newest = _span(now, days)
                    rows = await _rows(session, _COUNT_AGED.format(oldest, newest), database.name)
                    found = int(rows[0][1]) if rows else 0
                    ages = ((now - newest) / _DAY, (now - oldest) / _DAY)
                    aged.append(AgedData(*ages, _AGED_POINTS, found, database.name))
        longest = max(_days(database.group) for database in databases)
        return RetentionProbed(
            store=component.name,
            of_kind=self.kind,
            keeps=", ".join(f"{one.name} {_days(one.duration):g} d" for one in databases),
            unit="shard group",
            unit_days=longest,
            told=f"shard groups of {longest:g} d leave as a whole, looked for every {_check_interval(ground)}",
            aged=tuple(sorted(aged, key=lambda one: one.oldest_days)),
        )

    async def restore(self, ground: Ground, component: ComponentPolicy, records: int) -> RestoreDrilled:
        """A portable backup, restored into an InfluxDB that has no database; every point asked for."""
        policy = ground.documents(_FOLDER)
        origin = ground.site(component, "filled", configuration=policy, folder=_FOLDER)
        door, second_door = ground.ports.take(), ground.ports.take()
        backup = origin.data / "backup"
        end = int(time.time()) // _DAY * _DAY
        async with ground.standing(origin, change=_with_door(door)) as address, asking(address) as session:
            contents = _contents(await declared(session), records, end)
            for content in contents:
                await _fill(session, content)
            began = time.monotonic()
            await ground.run_tool(origin, "influxd", "backup", "-portable", "-host", str(door), str(backup))
            backup_seconds = time.monotonic() - began
            size = await asyncio.to_thread(size_of, backup)
            settings = {CONFIGURATION: policy[CONFIGURATION]}
            empty = ground.site(component, "restored", configuration=settings, folder=_FOLDER)
            began = time.monotonic()
            async with ground.standing(empty, change=_with_door(second_door)) as restored, asking(restored) as other:
                await self.put_back(ground, empty, second_door, backup)
                await _until_it_answers(other, contents)
                restore_seconds = time.monotonic() - began
                found = await _compare(other, contents)
            await blame(component, found, lambda: _compare(session, contents))
        return found.drilled(component, size=size, backup_seconds=backup_seconds, restore_seconds=restore_seconds)

    async def put_back(self, ground: Ground, site: Site, door: Address, backup: Path) -> None:
        """The restore itself, into an instance that stands and has no database."""
        await ground.run_tool(site, "influxd", "restore", "-portable", "-host", str(door), str(backup))


@dataclass(frozen=True, slots=True)
class Content:
    """What a database is filled with: so many points, evenly spread over the five whole days before an instant."""

    database: str
    number: int
    points: int
    end: int

    def between(self, first: int, last: int) -> list[Point]:
        """The points of these numbers, oldest first; no two of them at one instant."""
        step = _DRILL_DAYS * _DAY * _NANOSECONDS // self.points
        start = (self.end - _DRILL_DAYS * _DAY) * _NANOSECONDS
        drawn = random.Random(f"{self.database}/{first}")
        return [
            (start + number * step, self._value(drawn), f"s{number % 50}")
            for number in range(first, min(last, self.points))
        ]

    def pieces(self) -> Iterator[list[Point]]:
        """All points, in pieces that always begin at the same numbers."""
        return (self.between(first, first + _BATCH) for first in range(0, self.points, _BATCH))

    def _value(self, drawn: random.Random) -> int | float | str:
        """A float, an integer or a text, by the database: each type has its own way through a backup."""
        match self.number % 3:
            case 0:
                return drawn.random()
            case 2:
                return f'{drawn.getrandbits(48):x} "ab\\c" ü, ='
            case _:
                return drawn.getrandbits(52)


async def declared(session: ClientSession) -> tuple[Database, ...]:
    """The databases that there are, with their default retention policies.

    Raises:
        StackError: there is none, or InfluxDB says something else.
    """
    databases = []
    for (name,) in await _rows(session, "SHOW DATABASES"):
        if name == "_internal":
            continue
        for policy, duration, group, _, default in await _rows(session, f'SHOW RETENTION POLICIES ON "{name}"'):
            if default:
                databases.append(Database(str(name), str(policy), str(duration), str(group)))
    if not databases:
        raise StackError("The policy makes no database in InfluxDB", hint="its *.iql files create them")
    return tuple(databases)


def _contents(databases: Sequence[Database], records: int, end: int) -> tuple[Content, ...]:
    each = max(1, records // len(databases))
    return tuple(Content(one.name, number, each, end) for number, one in enumerate(databases))


def _altered(database: Database, duration: str, group: str) -> str:
    return f'ALTER RETENTION POLICY "{database.policy}" ON "{database.name}" DURATION {duration} SHARD DURATION {group}'


def _span(now: int, days: float) -> tuple[int, int]:
    newest = int(now - days * _DAY)
    return newest - 60 * (_AGED_POINTS - 1), newest


def _aged_lines(now: int, days: float) -> bytes:
    oldest, _ = _span(now, days)
    return "\n".join(
        f"{_AGED} v={back}i {(oldest + 60 * back) * _NANOSECONDS}" for back in range(_AGED_POINTS)
    ).encode()


def _looking_often(launch: Launch) -> Launch:
    return replace(launch, environment={**launch.environment, _CHECK_VARIABLE: "1s"})


def _with_door(door: Address) -> Callable[[Launch], Launch]:
    return lambda launch: replace(launch, environment={**launch.environment, BACKUP_VARIABLE: str(door)})


async def _looked_through(log: Path) -> None:
    """Waits until InfluxDB has looked through all shard groups from now on, as its own log tells.

    Raises:
        StackError: it did not.
    """
    before = _checks(log)
    try:
        async with asyncio.timeout(_CHECK_WAIT_SECONDS):
            while _checks(log) < before + _CHECKS:  # noqa: ASYNC110 - what is watched knows nothing of us
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise StackError(
            "InfluxDB did not look for old shard groups",
            expected=f"`{_CHECK_ENDED}` in its log",
            waited_seconds=_CHECK_WAIT_SECONDS,
            hint="[retention] enabled = true in influxdb.conf lets data age out at all",
        ) from None


def _checks(log: Path) -> int:
    return log.read_bytes().count(_CHECK_ENDED.encode())


async def _statement(session: ClientSession, query: str, database: str = "") -> list[object]:
    found = await answered(session, "/query", form={"q": query, "db": database, "epoch": "ns"})
    try:
        result = found["results"][0]
        if "error" in result:
            raise StackError(f"InfluxDB refused {query}", seen=str(result["error"]))
        return list(result.get("series", []))
    except (KeyError, IndexError, TypeError) as error:
        raise StackError("InfluxDB answered a query with something else", seen=str(found)[:200]) from error


async def _rows(session: ClientSession, query: str, database: str = "") -> list[list[int | float | str]]:
    """The rows of the one series that a query answers with; none where it has no series."""
    series = await _statement(session, query, database)
    return list(series[0]["values"]) if series else []  # type: ignore[index]


async def _write(session: ClientSession, database: str, lines: bytes) -> None:
    await answer(session, "/write", query={"db": database}, body=lines)


async def _fill(session: ClientSession, content: Content) -> None:
    for piece in content.pieces():
        lines = "\n".join(f"{_KEPT},origin={origin} v={_field(value)} {at}" for at, value, origin in piece)
        await _write(session, content.database, lines.encode())


def _field(value: int | float | str) -> str:
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    return f"{value}i" if isinstance(value, int) else repr(value)


async def _until_it_answers(session: ClientSession, contents: Sequence[Content]) -> None:
    """Every database answers a query: just after a restore InfluxDB still says that a shard is disabled.

    Raises:
        StackError: one did not until the deadline; the last refusal.
    """
    deadline = time.monotonic() + _ANSWER_SECONDS
    for content in contents:
        while True:
            try:
                await _rows(session, _COUNT_KEPT, content.database)
                break
            except StackError:
                if time.monotonic() > deadline:
                    raise
            await asyncio.sleep(0.02)


async def _compare(session: ClientSession, contents: Sequence[Content]) -> Comparison:
    """Every point of every database, asked for and held against what was generated."""
    found = Comparison()
    for content in contents:
        for piece in content.pieces():
            first, last = piece[0][0], piece[-1][0]
            query = _READ_KEPT.format(first, last)
            found.take([list(point) for point in piece], await _rows(session, query, content.database))
        rows = await _rows(session, _COUNT_KEPT, content.database)
        found.foreign += max(0, (int(rows[0][1]) if rows else 0) - content.points)
    return found


def _days(duration: str) -> float:
    """InfluxDB's `2160h0m0s` in days; infinite where it keeps everything."""
    whole = re.sub(r"(?<=[a-z])0[a-z]+", "", duration)
    length = parse_duration(whole)
    return length / timedelta(days=1) if length else float("inf")


def _check_interval(ground: Ground) -> str:
    found = re.search(r'^\s*check-interval\s*=\s*"([^"]+)"', ground.documents(_FOLDER)[CONFIGURATION], re.MULTILINE)
    return found[1] if found else "30m"
