"""A starved harness notices it, an ordinary busy one is left alone."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from harness.model.events import Payload, Progress, Starved
from harness.observe import starvation
from harness.observe.starvation import Breach, CpuTimes, Reading, StarvationWatch, Windows, breaches, late_tick

BEFORE = Reading(1000.0, 50.0, CpuTimes(100, 10_000), None, 7.0)


def after(**change: object) -> Reading:
    """The machine a second after `BEFORE`, idle but for what is changed."""
    values: dict[str, object] = {"wall": 1001.0, "monotonic": 51.0, "cpu": CpuTimes(100, 10_200), "runnable": 1.0}
    values["io_stalled"] = 7.02
    return Reading(**{**values, **change})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("reading", "what", "value"),
    [
        (after(cpu=CpuTimes(200, 10_200)), "steal", 0.5),
        (after(cpu=CpuTimes(300, 10_200)), "steal", 1.0),
        (after(runnable=32.0), "run-queue", 16.0),
        (after(io_stalled=7.9375), "io-pressure", 0.9375),
        (after(io_stalled=8.0), "io-pressure", 1.0),
        (after(wall=1001.0625), "clock-step", 0.0625),
        (after(wall=1000.5), "clock-step", 0.5),
        (after(wall=400.0), "clock-step", 601.0),
    ],
)
def test_a_limit_is_passed_where_it_says(reading: Reading, what: str, value: float) -> None:
    """At the limit it counts; the breach spans the interval, also where the clock was set back."""
    (breach,) = breaches(BEFORE, reading, cores=2)
    assert breach.what == what
    assert breach.value == pytest.approx(value)
    assert (breach.from_at, breach.to_at) == (min(1000.0, reading.wall), max(1000.0, reading.wall))


@pytest.mark.parametrize(
    "reading",
    [
        after(),
        after(cpu=CpuTimes(199, 10_200)),  # half a core stolen, almost
        after(runnable=10.0),  # two cores at 90 % with eight busy neighbours
        after(runnable=31.9),
        after(io_stalled=7.23),  # the busiest second of a smoke run
        after(io_stalled=7.89),
        after(io_stalled=None),
        after(io_stalled=6.0),  # a counter that goes backwards
        after(wall=1001.0005),  # NTP slewing at its fastest
        after(wall=1001.04),
        after(cpu=CpuTimes(90, 10_200)),  # a kernel whose steal goes backwards
        after(cpu=BEFORE.cpu),
        after(cpu=None, runnable=None),
    ],
)
def test_an_ordinary_machine_trips_nothing(reading: Reading) -> None:
    """The twin: below the limits, and where the kernel does not tell, nothing is starved."""
    assert breaches(BEFORE, reading, cores=2) == ()


def test_a_late_tick_is_a_window_that_ends_with_it() -> None:
    """The loop was away from when the tick was due until it came."""
    assert late_tick(100.0, 1.25) == Breach("loop-lag", 98.75, 100.0, 1.25, 1.0)
    assert late_tick(100.0, 1.0) is not None
    assert late_tick(100.0, 0.999) is None


def breach(from_at: float, to_at: float, value: float = 1.0, what: str = "steal") -> Breach:
    """A breach of some kind."""
    return Breach(what, from_at, to_at, value, 0.5)


def test_breaches_that_follow_each_other_are_one_window() -> None:
    """One window with the worst value; another kind has its own; what comes later begins a new one."""
    windows = Windows()
    assert windows.add([breach(0, 1, 0.6), breach(0, 1, 20, "run-queue"), breach(1, 2, 0.9), breach(2.4, 3, 0.7)]) == ()
    assert windows.add([breach(3.6, 4)]) == (Starved("steal", 0, 3, 0.9, 0.5),)
    assert windows.close() == (Starved("run-queue", 0, 1, 20, 0.5), Starved("steal", 3.6, 4, 1.0, 0.5))
    assert windows.close() == ()


def test_a_window_is_given_once_when_it_is_over() -> None:
    """Not while the next breach may still join it, also where the clock was set back in between."""
    windows = Windows()
    windows.add([breach(0, 1)])
    assert windows.ended(1.4) == ()
    assert windows.ended(1.6) == (Starved("steal", 0, 1, 1.0, 0.5),)
    assert windows.ended(9.0) == ()
    windows.add([breach(100, 101)])
    assert windows.ended(40.0) == (Starved("steal", 100, 101, 1.0, 0.5),)


def test_a_long_window_is_given_in_pieces() -> None:
    """A run that is killed while it starves leaves what was seen of it."""
    windows = Windows()
    given = [window for second in range(25) for window in windows.add([breach(second, second + 1)])]
    assert [(window.from_at, window.to_at) for window in given] == [(0, 10), (10, 20)]


def of(events: list[Payload], what: str) -> list[Starved]:
    """The windows of one kind."""
    return [event for event in events if isinstance(event, Starved) and event.what == what]


async def free(seconds: float, until: asyncio.Event | None = None) -> None:
    """Leaves the loop free for a while, as a run that waits does."""
    with suppress(TimeoutError):
        await asyncio.wait_for((until or asyncio.Event()).wait(), seconds)


async def test_a_blocked_loop_is_seen() -> None:
    """Something holds the event loop for 0.7 s: a window of that length, where it was, before the watch is left."""
    events: list[Payload] = []
    written = asyncio.Event()

    def write(event: Payload) -> None:
        events.append(event)
        if isinstance(event, Starved) and event.what == "loop-lag":
            written.set()

    async with StarvationWatch(write):
        await free(0.1)
        start = time.time()
        threading.Event().wait(1.3)
        end = time.time()
        await free(5, written)
        assert written.is_set()
    (window,) = of(events, "loop-lag")
    assert 1.2 <= window.value <= end - start + 0.1
    assert window.from_at == pytest.approx(start, abs=0.1)
    assert window.to_at == pytest.approx(end, abs=0.1)


async def test_a_loop_that_is_blocked_until_the_end_is_seen() -> None:
    """Leaving the watch does not forget what held the loop just before."""
    events: list[Payload] = []
    async with StarvationWatch(events.append):
        await free(0.1)
        threading.Event().wait(1.3)
    assert len(of(events, "loop-lag")) == 1


async def test_an_ordinary_pause_is_not_seen() -> None:
    """The twin: a hold of 0.2 s is no starvation, and a free loop is none."""
    events: list[Payload] = []
    async with StarvationWatch(events.append):
        await free(0.1)
        threading.Event().wait(0.2)
        await free(0.1)
    assert of(events, "loop-lag") == []


def proc(folder: Path, *, steal: int, total: int, runnable: int, stalled: float = 0.0) -> None:
    """A kernel's own account, made up; `stalled` is in seconds."""
    (folder / "pressure").mkdir(exist_ok=True)
    (folder / "pressure" / "io").write_text(
        f"some avg10=0.00 avg60=0.00 avg300=0.00 total={stalled * 1e6:.0f}\n"
        "full avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"
    )
    (folder / "stat").write_text(f"cpu  0 0 0 {total - steal} 0 0 0 {steal} 0 0\ncpu0 0 0 0 0 0 0 0 0 0 0\n")
    (folder / "loadavg").write_text(f"0.41 0.74 0.43 {runnable}/95 11340\n")


async def test_the_kernels_account_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Steal and run queue come from /proc and become windows of the run."""
    monkeypatch.setattr(starvation, "INTERVAL_SECONDS", 0.1)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    events: list[Payload] = []
    proc(tmp_path, steal=0, total=1000, runnable=40)
    async with StarvationWatch(events.append, proc=tmp_path):
        proc(tmp_path, steal=90, total=1100, runnable=40, stalled=1000)
        await free(0.3)
    assert [round(window.value, 2) for window in of(events, "steal")] == [0.9]
    (disk,) = of(events, "io-pressure")
    assert disk.value > disk.limit == starvation.IO_PRESSURE_RATIO
    assert [window.value for window in of(events, "run-queue")] == [20.0]


async def test_a_kernel_that_does_not_tell_is_noted(tmp_path: Path) -> None:
    """What cannot be noticed on this machine is said in the ledger, not left out."""
    events: list[Payload] = []
    async with StarvationWatch(events.append, proc=tmp_path):
        await free(0.1)
    assert [event.text for event in events if isinstance(event, Progress)] == [
        f"starvation by steal, run-queue, io-pressure cannot be noticed here: {tmp_path} does not tell"
    ]


@pytest.mark.parametrize(
    "text", [None, "", "full avg10=0.00 total=1\n", "some avg10=0.00\n", "some total=x\n", "some x\n"]
)
async def test_a_kernel_without_pressure_is_noted_once(text: str | None, tmp_path: Path) -> None:
    """No file, or one of another form: one sentence names it, the other limits are watched as ever."""
    events: list[Payload] = []
    proc(tmp_path, steal=0, total=1000, runnable=1)
    pressure = tmp_path / "pressure" / "io"
    pressure.unlink() if text is None else pressure.write_text(text)
    async with StarvationWatch(events.append, proc=tmp_path):
        await free(0.1)
    told = [event.text for event in events if isinstance(event, Progress)]
    assert told == [f"starvation by io-pressure cannot be noticed here: {tmp_path} does not tell"]
    assert of(events, "io-pressure") == []


async def test_this_kernel_tells() -> None:
    """On Linux both are there and make sense."""
    times = starvation.read_cpu_times(Path("/proc"))
    runnable = starvation.read_runnable(Path("/proc"))
    assert times is not None
    assert 0 <= times.steal < times.total
    assert runnable is not None
    assert runnable >= 1


async def test_a_watch_that_cannot_write_says_so() -> None:
    """A full disk ends the watch with its own error, not with silence."""

    def write(event: Payload) -> None:
        raise OSError("no room")

    async def starve() -> None:
        async with StarvationWatch(write):
            await free(0.1)
            threading.Event().wait(1.2)
            await free(0.7)

    with pytest.raises(OSError, match="no room"):
        await starve()
