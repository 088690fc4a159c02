"""The machine that a lane believes to stand on: figures that go on by themselves, and a disk that can be filled.

Its figures are made at node_exporter's input (`procfs.py`), its disk is a real small file system (`own_disk.py`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import FaultError
from harness.stack import own_disk, procfs
from harness.stack.procfs import Counters, Figures

if TYPE_CHECKING:
    from harness.stack.supervisor import Supervisor

NODE_EXPORTER = "node-exporter"
"""The kind of component that shows a machine."""
TICK_SECONDS = 0.5
"""How often the figures go on. A rate over 10 s is exact within a twentieth."""
_RATIO = "_ratio"


class LaneHost:
    """One lane's machine (`Host` of the faults).

    Its exporter may come and go: the figures go on, and a disk that was filled is filled again.

    Args:
        data: the folder of the lane's node_exporter, prepared by `prepare`.
        pid: asks for the exporter's process, None where it does not run; its namespace holds the disk.
    """

    def __init__(self, data: Path, pid: Callable[[], int | None]) -> None:
        self._proc = proc_of(data)
        self._disk = disk_of(data)
        self._pid = pid
        self._shown = Figures()
        self._counters = Counters()
        self._counted_at = time.monotonic()
        self._ticking: asyncio.Task[None] | None = None
        self._filling = asyncio.Lock()
        self._full: float | None = None
        self._filled: int | None = None

    @property
    def figures(self) -> Mapping[str, float]:
        """What the machine shows now: `busy_ratio`, `memory_used_ratio`, `received_bytes_per_second`."""
        return asdict(self._shown)

    def start(self) -> None:
        """Lets the figures go on from here, until `close`."""
        self._counted_at = time.monotonic()
        self._ticking = asyncio.create_task(self._tick(), name=f"figures in {self._proc}")

    async def close(self) -> None:
        """Lets the figures stand still; may be called twice."""
        if self._ticking is not None:
            self._ticking.cancel()
            with suppress(asyncio.CancelledError):
                await self._ticking
            self._ticking = None

    def show(self, **figures: float) -> None:
        """Shows other figures from this instant on; those that are not named stay.

        Raises:
            FaultError: there is no figure of that name, a ratio is not one, or they cannot be written.
        """
        for name, figure in figures.items():
            if name not in self.figures:
                raise FaultError(
                    f"The lane's machine has no figure {name}", expected=f"one of {', '.join(self.figures)}", seen=name
                )
            if figure < 0 or (name.endswith(_RATIO) and figure > 1):
                raise FaultError(
                    f"The lane's machine cannot show {name} = {figure:g}",
                    expected="a share from 0 to 1" if name.endswith(_RATIO) else "no negative figure",
                )
        try:
            self._count()  # what was until now was as shown until now
            self._shown = replace(self._shown, **figures)
            procfs.put(self._proc / "meminfo", procfs.meminfo(self._shown))
        except OSError as error:
            raise FaultError("The figures of the lane's machine cannot be written", seen=str(error)) from error

    def rest(self, *figures: str) -> None:
        """Shows these figures as in health again.

        Raises:
            FaultError: there is no figure of that name, or they cannot be written.
        """
        healthy = asdict(Figures())
        self.show(**{name: healthy.get(name, 0.0) for name in figures})

    async def fill_disk(self, used_ratio: float) -> None:
        """Fills the lane's own small file system with real bytes until this share of it, 0 to 1, is used.

        A new life of the exporter has a new file system: that one is filled too, within a tick, until `empty_disk`.

        Raises:
            FaultError: the lane has no file system of its own here (namespaces are closed), or it cannot be filled.
        """
        async with self._filling:
            await self._fill(used_ratio)
            self._full = used_ratio

    async def empty_disk(self) -> None:
        """Removes what `fill_disk` wrote; nothing where there is nothing.

        Raises:
            FaultError: it cannot be removed.
        """
        async with self._filling:
            self._full = None
            await asyncio.to_thread(own_disk.empty, self._pid(), self._disk)

    async def _fill(self, used_ratio: float) -> None:
        pid = self._pid()
        await asyncio.to_thread(own_disk.fill, pid, self._disk, used_ratio)
        self._filled = pid

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            # Where the sandbox cannot be written for a moment the figures stand still, and faults prove nothing.
            with suppress(OSError):
                self._count()
            async with self._filling:
                if self._full is not None and self._pid() != self._filled:
                    with suppress(FaultError):  # it is just starting: at the next tick
                        await self._fill(self._full)

    def _count(self) -> None:
        now = time.monotonic()
        self._counters = self._counters.after(now - self._counted_at, self._shown)
        self._counted_at = now
        procfs.advance(self._proc, self._counters)


def hosts_of(supervisors: Iterable[Supervisor]) -> dict[str, LaneHost]:
    """The machine of every lane that has an exporter of one, by the lane's name; none of them runs yet."""
    return {
        one.site.lane: LaneHost(one.site.data, partial(_pid, one))
        for one in supervisors
        if one.site.component.kind == NODE_EXPORTER and one.site.lane is not None
    }


async def prepare(data: Path) -> None:
    """Makes the folders of a lane's machine below the folder of its node_exporter, before that is started first.

    Raises:
        OSError: they cannot be written.
    """
    disk = disk_of(data)
    disk.mkdir(exist_ok=True)
    if not await own_disk.possible(disk):
        disk.rmdir()
    procfs.lay(proc_of(data), "ext4" if disk.is_dir() else None)


def proc_of(data: Path) -> Path:
    """The folder that stands in the place of /proc."""
    return data / "proc"


def disk_of(data: Path) -> Path:
    """Where the lane's own file system is mounted; there is no such folder where it has none."""
    return data / "disk"


def _pid(supervisor: Supervisor) -> int | None:
    running = supervisor.running
    return running.pid if running is not None and running.alive else None
