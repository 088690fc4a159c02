"""What node_exporter reads of a lane's machine: a folder in the place of /proc, whose few figures are the lane's own.

Every lane runs on the same machine, so that machine's figures would be every lane's at once. `--path.procfs` of
node_exporter (its `--help`) lets each lane have its own: links to the real /proc, beside which `stat`, `meminfo`,
`net/dev` and the list of mounts are written by us, in the formats of proc(5).
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

CPUS = 2
"""How many processors the machine shows."""
MEMORY_KIB = 8 * 1024 * 1024
"""How much memory it shows, in KiB."""
_TICKS_PER_SECOND = 100  # USER_HZ, the unit of /proc/stat (proc(5))
_SYSTEM_SHARE = 0.3
"""How much of the busy time is the kernel's."""
_SENT_SHARE = 0.5
"""How much it sends for what it receives."""
_BYTES_A_PACKET = 800
_NET_DEV_HEAD = (
    "Inter-|   Receive                                                |  Transmit\n"
    " face |bytes    packets errs drop fifo frame compressed multicast"
    "|bytes    packets errs drop fifo colls carrier compressed\n"
)
_REAL = Path("/proc")
_OWN = frozenset({"stat", "meminfo", "net", "1"})


@dataclass(frozen=True, slots=True)
class Figures:
    """What the machine shows of itself; the defaults are health.

    Args:
        busy_ratio: the share of time, 0 to 1, that each processor is not idle.
        memory_used_ratio: the share of memory, 0 to 1, that is not available.
        received_bytes_per_second: what its network card receives.
    """

    busy_ratio: float = 0.20
    memory_used_ratio: float = 0.40
    received_bytes_per_second: float = 50_000.0


@dataclass(frozen=True, slots=True)
class Counters:
    """What only ever grows: seconds of each processor, bytes of the network card."""

    busy_seconds: float = 0.0
    idle_seconds: float = 0.0
    received_bytes: float = 0.0

    def after(self, seconds: float, figures: Figures) -> Counters:
        """The counters after a time, in seconds, in which the machine showed these figures."""
        return Counters(
            self.busy_seconds + seconds * figures.busy_ratio,
            self.idle_seconds + seconds * (1 - figures.busy_ratio),
            self.received_bytes + seconds * figures.received_bytes_per_second,
        )


def lay(folder: Path, mounted: str | None) -> None:
    """Makes the folder: links to /proc, the small files of a healthy machine that has just started, its mounts.

    Args:
        folder: what `--path.procfs` will name.
        mounted: the type that the file system at `/` is listed with, as in /proc/1/mounts; None lists none.

    Raises:
        OSError: it cannot be written.
    """
    for place in (folder, folder / "net", folder / "1"):
        place.mkdir(parents=True, exist_ok=True)
    for entry in _REAL.iterdir():
        if entry.name not in _OWN and not entry.name.isdigit():
            _link(folder / entry.name, entry)
    # `self` is whoever reads it, and node_exporter looks into it where `1` lacks something; net is its own net.
    for entry in (_REAL / "net").iterdir():
        if entry.name != "dev":
            _link(folder / "net" / entry.name, entry)
    # Both lists of mounts: node_exporter reads `mounts` up to 1.6 and `mountinfo` from 1.7 on.
    mounts = "" if mounted is None else f"/dev/vda1 / {mounted} rw,relatime 0 0\n"
    infos = "" if mounted is None else f"25 1 254:1 / / rw,relatime shared:1 - {mounted} /dev/vda1 rw\n"
    put(folder / "1/mounts", mounts)
    put(folder / "1/mountinfo", infos)
    put(folder / "meminfo", meminfo(Figures()))
    advance(folder, Counters())


def advance(folder: Path, counters: Counters) -> None:
    """Writes the files that only ever grow.

    Raises:
        OSError: they cannot be written.
    """
    put(folder / "stat", stat(counters))
    put(folder / "net/dev", net_dev(counters))


def put(path: Path, text: str) -> None:
    """Writes a file in one instant: a reader has the old one or the new one, never a part of either.

    Raises:
        OSError: it cannot be written.
    """
    new = path.with_name(f"{path.name}.new")
    new.write_text(text)
    new.replace(path)


def stat(counters: Counters) -> str:
    """/proc/stat: the times of every processor in hundredths of a second, and what else the file holds."""
    user = int(counters.busy_seconds * (1 - _SYSTEM_SHARE) * _TICKS_PER_SECOND)
    system = int(counters.busy_seconds * _SYSTEM_SHARE * _TICKS_PER_SECOND)
    idle = int(counters.idle_seconds * _TICKS_PER_SECOND)
    # user nice system idle iowait irq softirq steal guest guest_nice
    times = [user, 0, system, idle, 0, 0, 0, 0, 0, 0]
    lines = ["cpu  " + " ".join(str(CPUS * time) for time in times)]
    lines += [f"cpu{number} " + " ".join(map(str, times)) for number in range(CPUS)]
    lines += ["intr 0", "ctxt 0", _boot_time(), "processes 1", "procs_running 1", "procs_blocked 0"]
    return "\n".join([*lines, "softirq 0 0 0 0 0 0 0 0 0 0 0", ""])


def meminfo(figures: Figures) -> str:
    """/proc/meminfo, in KiB: what is not available is used, half of what is available is free."""
    available = round(MEMORY_KIB * (1 - figures.memory_used_ratio))
    cached = available // 2
    amounts = {
        "MemTotal": MEMORY_KIB,
        "MemFree": available - cached,
        "MemAvailable": available,
        "Buffers": 0,
        "Cached": cached,
        "Active": MEMORY_KIB - available,
        "Inactive": cached,
        "Shmem": 0,
        "SwapTotal": 0,
        "SwapFree": 0,
    }
    return "".join(f"{name + ':':<16}{amount:>8} kB\n" for name, amount in amounts.items())


def net_dev(counters: Counters) -> str:
    """/proc/net/dev: a loopback on which nothing goes on, and one network card."""
    received, sent = int(counters.received_bytes), int(counters.received_bytes * _SENT_SHARE)
    columns = (("lo", 0, 0), ("eth0", received, sent))
    return _NET_DEV_HEAD + "".join(
        f"{name:>6}: {into} {into // _BYTES_A_PACKET} 0 0 0 0 0 0 {out} {out // _BYTES_A_PACKET} 0 0 0 0 0 0\n"
        for name, into, out in columns
    )


@cache
def _boot_time() -> str:
    """The line of the real /proc/stat: whatever a lane shows, it started when the machine below it did."""
    return next(line for line in (_REAL / "stat").read_text().splitlines() if line.startswith("btime "))


def _link(path: Path, to: Path) -> None:
    with suppress(FileExistsError):
        path.symlink_to(to)
