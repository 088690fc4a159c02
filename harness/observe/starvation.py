"""Starvation: windows in which the harness or its machine was too slow to be believed.

A starved harness may not judge: what overlaps such a window is `inconclusive`, counted and shown. The limits are set
where a window could turn a verdict on a deadline of 30 s, or the order of two hops, and well above what an ordinary
busy machine does: a full gate keeps both cores of a small machine at 90 %, and that alone must not trip anything.

Sampling and deciding are apart: `breaches` and `Windows` are pure, `StarvationWatch` feeds them.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from harness.model.events import Payload, Progress, Starved

TICK_SECONDS: Final = 0.05
"""How often the event loop is asked for a sign of life."""

INTERVAL_SECONDS: Final = 1.0
"""Over how long steal, run queue and clocks are judged; a shorter peak delays nothing that is timed in seconds."""

LOOP_LAG_SECONDS: Final = 1.0
"""Arrivals at sinks and proxies are stamped by the loop, so its lag is added to every delivery time, and the lag of a
proof is taken from it. One second is 3 % of the 30 s and more than a garbage collection, a fork or an fsync on a busy
disk takes."""

STEAL_RATIO: Final = 0.5
"""Share of the CPU time that the hypervisor gave to others. At a half everything takes twice its time, and a hop of
a few seconds may cost a deadline; a neighbour's ordinary noise is a few per cent."""

RUN_QUEUE_PER_CORE: Final = 16.0
"""Mean number of runnable tasks a core. With 16 and the kernel's slices of about 3 ms a task waits some 50 ms for each
turn, and a chain of ten hand-overs (scrape, rule, post, group, send) gains half a second. Three busy loops beside
the whole stack, which are about 4 a core, moved no alert."""

IO_PRESSURE_RATIO: Final = 0.9
"""Share of the time in which at least one task waited for a disk (`some` of the kernel's PSI), over an interval.

Measured second by second on two cores, both of them busy: 0.02 on average and 0.06 at most without a run (60 s),
0.03 and 0.23 during a smoke run of six lanes, its start included (55 s), 0.17 at most while two writers synced 64 MiB
again and again, and 0.97 where four wrote 16 MiB past the page cache at a time; a sync of 4 KiB, which every commit of
a database is, took 0.31 s then (0.08 s at most during the run). `full` was 0.00 in all of them: it counts only while
nobody has anything else to do, and on a busy machine somebody has."""

CLOCK_STEP_SECONDS: Final = 0.05
"""How far the wall clock moved against the monotonic one within an interval. Samples of Prometheus carry the wall clock
and are put beside our own instants: a step moves hops past each other. Slewing by NTP is at most 0.5 ms a second."""

LONGEST_WINDOW_SECONDS: Final = 10.0
"""A window is written after this long even while it goes on, so that a run that is killed leaves it behind."""

JOINED_SECONDS: Final = 0.5
"""Windows of one kind that are no further apart are one: nothing can be judged in between."""

_STEADY_READ_SECONDS: Final = 0.005
"""Both clocks must be read within this, or the process lost the CPU in between and the difference says nothing."""

LOOP_LAG, STEAL, RUN_QUEUE, IO_PRESSURE, CLOCK_STEP = "loop-lag", "steal", "run-queue", "io-pressure", "clock-step"


@dataclass(frozen=True, slots=True)
class CpuTimes:
    """Clock ticks since boot, over all cores: those stolen by the hypervisor, and all."""

    steal: int
    total: int


@dataclass(frozen=True, slots=True)
class Reading:
    """The machine at one instant. What the kernel does not tell is None and is not judged.

    Args:
        wall: Unix seconds.
        monotonic: seconds of this boot.
        cpu: CPU times until now.
        runnable: mean number of runnable tasks since the reading before.
        io_stalled: seconds since boot in which at least one task waited for a disk.
    """

    wall: float
    monotonic: float
    cpu: CpuTimes | None
    runnable: float | None
    io_stalled: float | None = None


@dataclass(frozen=True, slots=True)
class Breach:
    """A limit that was passed between two instants (Unix seconds)."""

    what: str
    from_at: float
    to_at: float
    value: float
    limit: float


def late_tick(wall: float, lag_seconds: float) -> Breach | None:
    """The breach that a tick tells of which came at `wall` and should have come `lag_seconds` before."""
    if lag_seconds < LOOP_LAG_SECONDS:
        return None
    return Breach(LOOP_LAG, wall - lag_seconds, wall, lag_seconds, LOOP_LAG_SECONDS)


def breaches(before: Reading, after: Reading, cores: int) -> tuple[Breach, ...]:
    """The limits that were passed between two readings of the machine."""
    start, end = sorted((before.wall, after.wall))
    found: list[Breach] = []
    if before.cpu is not None and after.cpu is not None and after.cpu.total > before.cpu.total:
        steal = (after.cpu.steal - before.cpu.steal) / (after.cpu.total - before.cpu.total)
        found.append(Breach(STEAL, start, end, steal, STEAL_RATIO))
    if after.runnable is not None:
        found.append(Breach(RUN_QUEUE, start, end, after.runnable / cores, RUN_QUEUE_PER_CORE))
    elapsed = after.monotonic - before.monotonic
    if before.io_stalled is not None and after.io_stalled is not None and elapsed > 0:
        stalled = (after.io_stalled - before.io_stalled) / elapsed
        found.append(Breach(IO_PRESSURE, start, end, stalled, IO_PRESSURE_RATIO))
    step = abs((after.wall - before.wall) - elapsed)
    found.append(Breach(CLOCK_STEP, start, end, step, CLOCK_STEP_SECONDS))
    return tuple(breach for breach in found if breach.value >= breach.limit)


class Windows:
    """Joins breaches of one kind that follow each other into one window, with the worst value of it."""

    def __init__(self) -> None:
        self._open: dict[str, Starved] = {}

    def add(self, found: Iterable[Breach]) -> tuple[Starved, ...]:
        """Takes breaches in, in the order in which they happened; gives the windows that they ended."""
        done: list[Starved] = []
        for breach in found:
            window = self._open.pop(breach.what, None)
            if window is not None and breach.from_at - window.to_at > JOINED_SECONDS:
                done.append(window)
                window = None
            joined = Starved(
                what=breach.what,
                from_at=breach.from_at if window is None else min(window.from_at, breach.from_at),
                to_at=breach.to_at if window is None else max(window.to_at, breach.to_at),
                value=breach.value if window is None else max(window.value, breach.value),
                limit=breach.limit,
            )
            if joined.to_at - joined.from_at >= LONGEST_WINDOW_SECONDS:
                done.append(joined)
            else:
                self._open[joined.what] = joined
        return tuple(done)

    def ended(self, wall: float) -> tuple[Starved, ...]:
        """The windows that are over at that instant, also where the clock was set back; they are given once."""
        done = tuple(window for window in self._open.values() if abs(wall - window.to_at) > JOINED_SECONDS)
        for window in done:
            del self._open[window.what]
        return done

    def close(self) -> tuple[Starved, ...]:
        """The windows that are still open; they are given once."""
        left = tuple(self._open.values())
        self._open.clear()
        return left


class StarvationWatch:
    """Watches the event loop that it is entered in and the machine under it, until it is left.

    Args:
        write: takes each `Starved` window when it is over, and a note on what this machine does not tell.
        proc: where the kernel tells of CPU times and tasks (proc(5)).
    """

    def __init__(self, write: Callable[[Payload], object], *, proc: Path = Path("/proc")) -> None:
        self._write = write
        self._proc = proc
        self._cores = os.cpu_count() or 1
        self._windows = Windows()
        self._queue: list[int] = []
        self._due = 0.0
        self._last: Reading | None = None
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        untold = [
            what
            for what, source in (
                (STEAL, read_cpu_times(self._proc)),
                (RUN_QUEUE, read_runnable(self._proc)),
                (IO_PRESSURE, read_io_stalled(self._proc)),
            )
            if source is None
        ]
        if untold:
            self._write(
                Progress(f"starvation by {', '.join(untold)} cannot be noticed here: {self._proc} does not tell")
            )
        self._due = time.monotonic() + TICK_SECONDS
        self._read()
        self._task = asyncio.create_task(self._run(), name="starvation watch")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._task is not None
        try:
            self._tick()  # whatever held the loop until now would else be forgotten
            self._give(self._windows.close())
        finally:
            self._task.cancel()
            await asyncio.wait([self._task])
        if not self._task.cancelled():
            self._task.result()  # it ends by itself only when it fails

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            self._tick()

    def _tick(self) -> None:
        now = time.monotonic()
        wall = time.time()
        late = late_tick(wall, now - self._due)
        if late is not None:
            self._give(self._windows.add((late,)))
        runnable = read_runnable(self._proc)
        if runnable is not None:
            self._queue.append(runnable)
        if self._last is None or now - self._last.monotonic >= INTERVAL_SECONDS:
            self._read()
        self._give(self._windows.ended(wall))
        self._due = time.monotonic() + TICK_SECONDS

    def _read(self) -> None:
        clocks = read_clocks()
        if clocks is None:
            return  # the next tick tries again, over a longer interval
        wall, monotonic = clocks
        runnable = sum(self._queue) / len(self._queue) if self._queue else None
        self._queue.clear()
        reading = Reading(wall, monotonic, read_cpu_times(self._proc), runnable, read_io_stalled(self._proc))
        if self._last is not None:
            self._give(self._windows.add(breaches(self._last, reading, self._cores)))
        self._last = reading

    def _give(self, windows: Iterable[Starved]) -> None:
        for window in windows:
            self._write(window)


def read_clocks() -> tuple[float, float] | None:
    """The wall and the monotonic clock at one and the same instant, or None where the CPU was lost in between."""
    for _ in range(5):
        before = time.monotonic()
        wall = time.time()
        after = time.monotonic()
        if after - before <= _STEADY_READ_SECONDS:
            return wall, (before + after) / 2
    return None


def read_cpu_times(proc: Path) -> CpuTimes | None:
    """The first line of `stat`, or None where the kernel does not tell. Guests' time is in user time already."""
    try:
        with (proc / "stat").open() as file:
            name, *ticks = file.readline().split()
        user, nice, system, idle, iowait, irq, softirq, steal = map(int, ticks[:8])
    except (OSError, ValueError):
        return None
    if name != "cpu":
        return None
    return CpuTimes(steal, user + nice + system + idle + iowait + irq + softirq + steal)


def read_runnable(proc: Path) -> int | None:
    """The number of runnable tasks by the fourth field of `loadavg`, or None where the kernel does not tell."""
    try:
        return int((proc / "loadavg").read_text().split()[3].split("/")[0])
    except (OSError, ValueError, IndexError):
        return None


def read_io_stalled(proc: Path) -> float | None:
    """Seconds since boot in which some task waited for a disk, by `pressure/io`; None where the kernel does not tell.

    Source: the kernel's "PSI - Pressure Stall Information" (Documentation/accounting/psi.rst): `total` is in
    microseconds. A kernel without PSI, or started with `psi=0`, has no such file, or one that cannot be read.
    """
    try:
        for line in (proc / "pressure" / "io").read_text().splitlines():
            kind, *fields = line.split()
            if kind == "some":
                return int(dict(field.split("=") for field in fields)["total"]) / 1e6
    except (OSError, ValueError, KeyError):
        return None
    return None
