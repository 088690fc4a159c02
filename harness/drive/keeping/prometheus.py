"""Prometheus kept: 97 days of back-filled blocks under production's own flags; snapshots, restored elsewhere."""

from __future__ import annotations

import asyncio
import itertools
import math
import shutil
import time
from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from aiohttp import ClientSession

from harness.drive.keeping import Sizes
from harness.drive.keeping.asking import answered, asking
from harness.drive.keeping.back_fill import (
    METRIC,
    WINDOW_SECONDS,
    Sample,
    Shape,
    forget_window,
    make_blocks,
    open_metrics,
    put_window,
    values,
)
from harness.drive.keeping.comparing import Comparison
from harness.drive.keeping.ground import Ground, copied, size_of, unwritable
from harness.errors import StackError
from harness.model.keeping import AgedData, RestoreDrilled, RetentionProbed
from harness.model.policy import ComponentPolicy
from harness.model.stack import Difference
from harness.model.time import parse_duration
from harness.stack.runtimes import Launch
from harness.stack.site import Site

_DAY = 86_400.0
_CONFIGURATION = {"prometheus.yml": "global: {}\n"}
_TIME_FLAG = "--storage.tsdb.retention.time"
_SIZE_FLAG = "--storage.tsdb.retention.size"
_DEFAULT_RETENTION = "15d"
_EDGE_METRIC = "tocsin_edge"
_EDGE_SAMPLES = 10
_EDGE_STEP_SECONDS = 60
_OLDEST_DAYS = 97.0
_AGES: tuple[tuple[str, float], ...] = (("within", 89.9), ("beyond", 90.06))
"""The two sides of the edge, by the age in days of the newest sample: blocks of ten minutes, so the edge is sharp."""
_PROBE = Shape(series=10, step_seconds=600)
_DRILL_STEP_SECONDS = 600
_DRILL_SERIES = 10
_MOST_WINDOWS = 12


class PrometheusKeeper:
    """Retention by production's flags at the edge of 90 days; backup by snapshot, restore by copying it back."""

    kind = "prometheus"
    ages = True
    artifacts = ("prometheus",)

    def sizes(self, sizes: Sizes) -> tuple[int, ...]:
        """One, four and twelve windows; at night a hundred times as many series."""
        window = Shape(_DRILL_SERIES, _DRILL_STEP_SECONDS).samples
        return sizes.of(window, 4 * window, _MOST_WINDOWS * window, full=100)

    async def retention(self, ground: Ground, component: ComponentPolicy) -> RetentionProbed:
        """Back-fills 97 days and two small blocks at the edge, starts Prometheus, and counts what answers."""
        site = ground.site(component, "aged", configuration=_CONFIGURATION)
        now = time.time()
        newest, oldest = int(now // WINDOW_SECONDS), int((now - _OLDEST_DAYS * _DAY) // WINDOW_SECONDS)
        database = site.data / "tsdb"
        for window in range(oldest, newest):
            await put_window(ground, site, _PROBE, window, database)
        edges = {side: _edge(now - days * _DAY) for side, days in _AGES}
        # The newest block says what the age of all others is measured from, so one must end now.
        for side, samples in {**edges, "now": _edge(now)}.items():
            text = open_metrics(_EDGE_METRIC, [(f'{{side="{side}"}}', samples)])
            made = await make_blocks(ground, site, text, site.data / side)
            if made != len(samples):
                raise StackError(f"promtool made {made} samples of {len(samples)}", seen=f"side {side} of the edge")
            await asyncio.to_thread(shutil.copytree, site.data / side, database, dirs_exist_ok=True)
        async with ground.standing(site) as address, asking(address) as session:
            aged = [
                await _window_answers(session, window, now)
                for window in range(oldest, newest)
            ]  # fmt: skip
            for side, samples in edges.items():
                count = await _count(session, f'{_EDGE_METRIC}{{side="{side}"}}', samples[0][0], samples[-1][0])
                aged.append(_aged(now, samples[0][0], samples[-1][0], len(samples), count))
        keeps, days = declared(component)
        return RetentionProbed(
            store=component.name,
            of_kind=self.kind,
            keeps=keeps,
            unit="block",
            unit_days=_EDGE_SAMPLES * _EDGE_STEP_SECONDS / _DAY,
            told=_told(component, days),
            aged=tuple(sorted(aged, key=lambda one: one.oldest_days)),
        )

    async def restore(self, ground: Ground, component: ComponentPolicy, records: int) -> RestoreDrilled:
        """Snapshot by the admin API, copied into the folder of an empty Prometheus, every sample asked for."""
        shape, windows = _spread(records)
        last = int(time.time() // WINDOW_SECONDS)
        filled = range(last - windows, last)
        origin = ground.site(component, "filled", configuration=_CONFIGURATION)
        for window in filled:
            await put_window(ground, origin, shape, window, origin.data / "tsdb")
        backup = origin.data / "backup"
        async with ground.standing(origin, change=_with_snapshots) as address, asking(address) as session:
            began = time.monotonic()
            taken = await answered(session, "/api/v1/admin/tsdb/snapshot")
            await _move(origin.data / "tsdb" / "snapshots" / str(taken["data"]["name"]), backup)
            backup_seconds = time.monotonic() - began
            size = await asyncio.to_thread(size_of, backup)
            second = ground.site(component, "restored", configuration=_CONFIGURATION)
            began = time.monotonic()
            await self.put_back(backup, second)
            async with ground.standing(second) as restored, asking(restored) as other:
                await _first_answer(other, filled)
                restore_seconds = time.monotonic() - began
                found = await _compare(other, shape, filled)
            if not found.equal and not (await _compare(session, shape, filled)).equal:
                for window in filled:
                    forget_window(ground, shape, window)
                raise StackError(
                    f"{component.name} was not filled with what it should have been",
                    hint="the cached blocks were damaged; they are made again by the next run",
                )
        return found.drilled(component, size=size, backup_seconds=backup_seconds, restore_seconds=restore_seconds)

    async def put_back(self, backup: Path, site: Site) -> None:
        """The restore itself: the snapshot becomes the database of an instance that was never started."""
        await copied(backup, site.data / "tsdb")


def declared(component: ComponentPolicy) -> tuple[str, float]:
    """What a unit says of Prometheus's retention, and how many days that are; Prometheus's default where nothing."""
    stated = _flag(component, _TIME_FLAG)
    text = stated or _DEFAULT_RETENTION
    try:
        days = parse_duration(text) / timedelta(days=1)
    except ValueError:
        return f"{_TIME_FLAG}={text}, which is no duration", math.nan
    return f"{_TIME_FLAG}={text}" if stated else f"no {_TIME_FLAG}, so {text}", days


def _told(component: ComponentPolicy, days: float) -> str:
    """What production would keep, in words: as long as the flag says, and at most one of its longest blocks more."""
    longest = max((2.0 * 3**power for power in range(12) if 2.0 * 3**power <= min(days * 2.4, 744)), default=2.0) / 24
    text = f"production drops whole blocks of up to {longest:g} d, so it keeps {days:g} to {days + longest:g} d"
    size = _flag(component, _SIZE_FLAG)
    return f"{text}; {_SIZE_FLAG}={size} may end it earlier, which no small drill can show" if size else text


def _flag(component: ComponentPolicy, flag: str) -> str | None:
    words = component.unit.argv if component.unit else ()
    for word, following in itertools.zip_longest(words, words[1:], fillvalue=""):
        if word == flag:
            return following
        if word.startswith(f"{flag}="):
            return word.partition("=")[2]
    return None


def _edge(newest: float) -> list[Sample]:
    """Ten samples, a minute apart, that end at an instant; at whole seconds."""
    last = int(newest)
    return [(last - _EDGE_STEP_SECONDS * back, str(back)) for back in reversed(range(_EDGE_SAMPLES))]


def _spread(records: int) -> tuple[Shape, int]:
    """The shape and the number of windows that make at least so many samples."""
    narrow = Shape(_DRILL_SERIES, _DRILL_STEP_SECONDS)
    times = math.ceil(records / (narrow.samples * _MOST_WINDOWS))
    shape = Shape(_DRILL_SERIES * times, _DRILL_STEP_SECONDS)
    return shape, min(_MOST_WINDOWS, math.ceil(records / shape.samples))


def _with_snapshots(launch: Launch) -> Launch:
    flag = "--web.enable-admin-api"
    if flag in launch.argv:
        return launch
    why = "a snapshot is taken by the admin API; whoever backs production up needs it there too"
    difference = Difference("the unit of Prometheus", f"ExecStart {flag}", "", "on", why)
    return replace(launch, argv=(*launch.argv, flag), differences=(*launch.differences, difference))


async def _move(snapshot: Path, backup: Path) -> None:
    """Copies a snapshot to another folder, as a backup that leaves the machine would, and removes it."""
    await copied(snapshot, backup)
    try:
        await asyncio.to_thread(shutil.rmtree, snapshot)
    except OSError as error:
        raise unwritable(snapshot, error) from error


async def _query(session: ClientSession, query: str, at: float) -> list[Any]:
    found = await answered(session, "/api/v1/query", form={"query": query, "time": f"{at:.3f}"})
    try:
        return list(found["data"]["result"])
    except (KeyError, TypeError) as error:
        raise StackError("Prometheus answered a query with something else", seen=str(found)[:200]) from error


async def _count(session: ClientSession, selector: str, oldest: float, newest: float) -> int:
    """How many samples of a selector answer between two instants, both included."""
    seconds = math.ceil(newest - oldest) + 1
    found = await _query(session, f"sum(count_over_time({selector}[{seconds}s]))", newest + 0.5)
    return int(float(found[0]["value"][1])) if found else 0


async def _window_answers(session: ClientSession, window: int, now: float) -> AgedData:
    first = window * WINDOW_SECONDS
    last = first + WINDOW_SECONDS - _PROBE.step_seconds
    return _aged(now, first, last, _PROBE.samples, await _count(session, METRIC, first, last))


def _aged(now: float, oldest: float, newest: float, written: int, found: int) -> AgedData:
    return AgedData((now - newest) / _DAY, (now - oldest) / _DAY, written, found)


async def _first_answer(session: ClientSession, windows: Iterable[int]) -> None:
    """The oldest and the newest window answer something; else the comparison will say what is missing."""
    numbers = tuple(windows)
    for window in {numbers[0], numbers[-1]}:
        await _query(session, f"count({METRIC})", window * WINDOW_SECONDS + _DRILL_STEP_SECONDS)


async def _compare(session: ClientSession, shape: Shape, windows: Iterable[int]) -> Comparison:
    """Every sample of every window, asked for and held against what was generated."""
    found = Comparison()
    every = "|".join(map(str, range(shape.series)))
    for window in windows:
        end = (window + 1) * WINDOW_SECONDS - 1
        for first in range(0, shape.series, _DRILL_SERIES):
            names = [str(number) for number in range(first, first + _DRILL_SERIES)]
            result = await _query(session, f'{METRIC}{{series=~"{"|".join(names)}"}}[{WINDOW_SECONDS}s]', end)
            answers = {one["metric"]["series"]: one["values"] for one in result}
            for name in names:
                written = [list(sample) for sample in values(shape, window, int(name))]
                found.take(written, answers.get(name, []))
        found.foreign += await _count(session, f'{METRIC}{{series!~"{every}"}}', window * WINDOW_SECONDS, end)
    return found
