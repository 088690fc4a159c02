"""Old samples for a Prometheus, as blocks that its own promtool makes; whole windows of the past are kept in the cache.

A window spans 162 h, the longest block that Prometheus compacts to under a retention of 90 days (10 % of it, rounded
down to 2 h x 3^n: `tsdb.ExponentialBlockRanges` and `--storage.tsdb.max-block-duration`). Its samples follow from its
number alone, so a window that was made once is right for ever, and what must be in it is known without reading it.
"""

from __future__ import annotations

import asyncio
import json
import random
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.drive.keeping.ground import Ground, unwritable
from harness.errors import StackError
from harness.stack.site import Site

WINDOW_SECONDS = 162 * 3600
"""How long a window is; windows are counted from the epoch."""

METRIC = "tocsin_kept"
"""The metric that windows are made of; its one label is `series`."""

_CACHED_WINDOWS = 64
"""How many windows of a shape stay in the cache: those of about 14 months."""

Sample = tuple[int | float, str]
"""Instant in Unix seconds, value in Prometheus's own spelling."""


@dataclass(frozen=True, slots=True)
class Shape:
    """How many series a window has, and how many seconds lie between their samples."""

    series: int
    step_seconds: int

    @property
    def samples(self) -> int:
        """Samples in one window, over all series."""
        return self.series * (WINDOW_SECONDS // self.step_seconds)

    @property
    def name(self) -> str:
        """What its windows are called by in the cache."""
        return f"{self.series}x{self.step_seconds}s"


def values(shape: Shape, window: int, series: int) -> list[Sample]:
    """The samples of one series in one window, oldest first."""
    count = WINDOW_SECONDS // shape.step_seconds
    first = window * WINDOW_SECONDS
    drawn = memoryview(random.Random(f"{window}/{series}").randbytes(4 * count)).cast("I")
    return [(first + index * shape.step_seconds, str(drawn[index])) for index in range(count)]


def open_metrics(metric: str, series: Iterable[tuple[str, Sequence[Sample]]]) -> Iterator[str]:
    """Series in OpenMetrics, as promtool reads them; each has its labels in braces."""
    yield f"# TYPE {metric} gauge\n"
    for labels, samples in series:
        yield from (f"{metric}{labels} {value} {at}\n" for at, value in samples)
    yield "# EOF\n"


async def make_blocks(ground: Ground, site: Site, text: Iterable[str], into: Path) -> int:
    """Makes blocks from OpenMetrics text; returns how many samples promtool put into them.

    Raises:
        StackError: promtool did not make them.
    """
    source = site.data / f"{into.name}.openmetrics"

    def write() -> None:
        with source.open("w", encoding="ascii") as file:
            file.writelines(text)

    try:
        await asyncio.to_thread(write)
        into.mkdir(parents=True, exist_ok=True)
        before = blocks(into)
        await ground.run_tool(
            site, "promtool", "tsdb", "create-blocks-from", "openmetrics", f"--max-block-duration={WINDOW_SECONDS}s",
            "--quiet", str(source), str(into), artifact="prometheus",
        )  # fmt: skip
        source.unlink()
        return sum(map(samples_of, blocks(into) - before))
    except OSError as error:
        raise unwritable(into, error) from error


async def put_window(ground: Ground, site: Site, shape: Shape, window: int, into: Path) -> int:
    """Puts a window of the past into a database's folder, from the cache where it was made before; its samples.

    Raises:
        StackError: it could not be made.
    """
    cached = _folder(ground, shape) / str(window)
    try:
        if not _whole(cached, shape):
            shutil.rmtree(cached, ignore_errors=True)
            fresh = site.data / f"window-{window}"
            await make_blocks(ground, site, _text(shape, window), fresh)
            cached.parent.mkdir(parents=True, exist_ok=True)
            try:
                fresh.rename(cached)
            except OSError:
                # Somebody else made it meanwhile, or the cache cannot be written: ours is as good.
                if not _whole(cached, shape):
                    cached = fresh
            _thin_out(cached.parent, keep=window)
        await asyncio.to_thread(shutil.copytree, cached, into, dirs_exist_ok=True)
    except OSError as error:
        raise unwritable(into, error) from error
    return shape.samples


def forget_window(ground: Ground, shape: Shape, window: int) -> None:
    """Takes a window out of the cache, so that it is made again."""
    shutil.rmtree(_folder(ground, shape) / str(window), ignore_errors=True)


def blocks(folder: Path) -> set[Path]:
    """The folders of the blocks in a database's folder."""
    return {path.parent for path in folder.glob("*/meta.json")}


def samples_of(block: Path) -> int:
    """How many samples a block has, as who made it wrote down.

    Raises:
        StackError: it is no block.
    """
    try:
        return int(json.loads((block / "meta.json").read_bytes())["stats"]["numSamples"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StackError(f"{block} is no block of Prometheus", seen=str(error)) from error


def _text(shape: Shape, window: int) -> Iterator[str]:
    named = ((f'{{series="{number}"}}', values(shape, window, number)) for number in range(shape.series))
    return open_metrics(METRIC, named)


def _folder(ground: Ground, shape: Shape) -> Path:
    version = ground.artifact("prometheus").version.replace("/", "_")
    return ground.cache / "back-filled" / f"prometheus-{version}-{shape.name}"


def _whole(cached: Path, shape: Shape) -> bool:
    try:
        return cached.is_dir() and sum(map(samples_of, blocks(cached))) == shape.samples
    except StackError:
        return False


def _thin_out(folder: Path, *, keep: int) -> None:
    """Removes windows that nobody will ask for again: those that are too old."""
    for path in folder.iterdir():
        if path.name.isdigit() and int(path.name) < keep - _CACHED_WINDOWS:
            shutil.rmtree(path, ignore_errors=True)
