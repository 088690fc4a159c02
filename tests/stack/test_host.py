"""A lane's machine: figures of its own that go on by themselves, and a small disk that really fills."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families
from stack_doubles import component, server, until
from test_stack import Standing, standing

from harness.drive.faults import Fault
from harness.drive.faults.disk_filled import DiskFilled
from harness.drive.faults.host_cpu_busy import HostCpuBusy
from harness.drive.faults.host_memory_full import HostMemoryFull
from harness.drive.faults.host_memory_high import HostMemoryHigh
from harness.drive.faults.network_flood import NetworkFlood
from harness.errors import EffectNotProven, FaultError, StackError
from harness.model.events import ComponentRestarted
from harness.model.stack import Address, Artifact
from harness.stack import guardian, host, own_disk, procfs
from harness.stack.components.node_exporter import NodeExporter
from harness.stack.host import TICK_SECONDS, LaneHost
from harness.stack.probe import Answer, ask
from harness.stack.procfs import CPUS, MEMORY_KIB, Counters, Figures
from harness.stack.site import Site

EXPORTER = "node-exporter"
UNIT = (
    "/usr/bin/prometheus-node-exporter --collector.disable-defaults --collector.cpu --collector.meminfo"
    " --collector.filesystem --collector.netdev --collector.loadavg --collector.stat --collector.uname"
)
MACHINE = component(EXPORTER, EXPORTER, UNIT, port=9100)
NOBODY = 65534


@pytest.fixture
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a lane's machine with a disk, read by psutil in the place of /proc."""
    folder = tmp_path / "proc"
    procfs.lay(folder, "ext4")
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(folder))
    return folder


def cards() -> dict[str, Any]:
    """The network cards; psutil would hide a counter that falls."""
    found: dict[str, Any] = psutil.net_io_counters(pernic=True, nowrap=False)
    return found


def received() -> int:
    """The bytes that the network card received."""
    count: int = cards()["eth0"].bytes_recv
    return count


class TestFiles:
    """What stands in the place of /proc, as a reader that is not ours reads it."""

    def test_the_small_files_are_what_a_kernel_writes(self, proc: Path) -> None:
        """Times of each processor, memory and traffic have the values that were shown, in the kernel's units."""
        figures = Figures(busy_ratio=0.75, memory_used_ratio=0.875, received_bytes_per_second=1000)
        procfs.advance(proc, Counters().after(100, figures))
        procfs.put(proc / "meminfo", procfs.meminfo(figures))
        times = psutil.cpu_times(percpu=True)
        assert [(one.user, one.system, one.idle) for one in times] == [(52.5, 22.5, 25.0)] * CPUS
        assert psutil.cpu_times().idle == CPUS * 25
        assert (psutil.virtual_memory().total, psutil.virtual_memory().available) == (
            MEMORY_KIB * 1024,
            MEMORY_KIB * 128,
        )
        assert (cards()["eth0"].packets_recv, cards()["lo"].bytes_recv, received()) == (125, 0, 100_000)

    def test_the_rest_is_the_real_machine_s(self, proc: Path) -> None:
        """Load, boot and everything that we do not make lead to /proc; a process's own entries do not come along."""
        assert (proc / "loadavg").readlink() == Path("/proc/loadavg")
        assert (proc / "net/snmp").readlink() == Path("/proc/net/snmp")
        assert psutil.boot_time() == int((Path("/proc/stat").read_text().split("btime ")[1]).split()[0])
        assert not (proc / str(os.getpid())).exists()
        for own in ("stat", "meminfo", "net", "net/dev", "1"):
            assert not (proc / own).is_symlink(), f"{own} is the lane's own"

    def test_the_list_of_mounts_has_one_entry_or_none(self, proc: Path, tmp_path: Path) -> None:
        """A lane that has no file system of its own shows none: the real machine's would be every lane's."""
        assert (proc / "1/mounts").read_text() == "/dev/vda1 / ext4 rw,relatime 0 0\n"
        assert len((proc / "1/mountinfo").read_text().splitlines()) == 1
        procfs.lay(tmp_path / "without", None)
        assert (tmp_path / "without/1/mounts").read_text() == (tmp_path / "without/1/mountinfo").read_text() == ""

    def test_a_reader_never_has_a_part_of_a_file(self, proc: Path) -> None:
        """While a file is written a thousand times, each read is one whole text."""
        whole = {letter * 5000 for letter in "ab"}
        path, over = proc / "stat", threading.Event()
        procfs.put(path, "a" * 5000)

        def write() -> None:
            for number in range(1000):
                procfs.put(path, "ab"[number % 2] * 5000)
            over.set()

        writing = threading.Thread(target=write)
        writing.start()
        seen = set()
        while not over.is_set():
            seen.add(path.read_text())
        writing.join()
        assert seen <= whole


class TestFigures:
    """The figures of a lane's machine without an exporter."""

    @pytest.fixture
    def now(self, monkeypatch: pytest.MonkeyPatch) -> list[float]:
        """The monotonic clock as the machine sees it; its only element is the time."""
        now = [100.0]
        monkeypatch.setattr(host, "time", SimpleNamespace(monotonic=lambda: now[0]))
        return now

    @pytest.fixture
    def machine(self, now: list[float], proc: Path) -> LaneHost:  # noqa: ARG002 - its clock stands before it is made
        """A machine whose exporter does not run."""
        return LaneHost(proc.parent, lambda: None)

    def test_time_counts_as_what_was_shown_while_it_passed(self, machine: LaneHost, now: list[float]) -> None:
        """Ten seconds of health and then ten busy ones: a change begins at its instant, not at the next tick."""
        now[0] += 10
        machine.show(busy_ratio=0.95)
        assert psutil.cpu_times(percpu=True)[0].idle == 8.0
        now[0] += 10
        machine.rest("busy_ratio")
        assert psutil.cpu_times(percpu=True)[0].idle == pytest.approx(8.5)
        now[0] += 10
        machine.show()
        assert psutil.cpu_times(percpu=True)[0].idle == pytest.approx(16.5)
        assert received() == 1_500_000

    def test_figures_that_are_not_named_stay(self, machine: LaneHost) -> None:
        """Two faults of one machine do not undo each other; resting names what rests."""
        health = dict(machine.figures)
        machine.show(memory_used_ratio=0.98)
        machine.show(busy_ratio=0.95)
        assert machine.figures == {**health, "memory_used_ratio": 0.98, "busy_ratio": 0.95}
        assert psutil.virtual_memory().percent == pytest.approx(98, abs=0.1)
        machine.rest("busy_ratio")
        assert machine.figures == {**health, "memory_used_ratio": 0.98}
        machine.rest("memory_used_ratio", "busy_ratio")
        assert machine.figures == health
        assert psutil.virtual_memory().percent == pytest.approx(40, abs=0.1)

    @pytest.mark.parametrize(
        ("figures", "told"),
        [
            ({"disk_used_ratio": 0.5}, "no figure disk_used_ratio"),
            ({"busy_ratio": 1.5}, "cannot show busy_ratio = 1.5"),
            ({"received_bytes_per_second": -1.0}, "cannot show received_bytes_per_second = -1"),
        ],
    )
    def test_what_no_machine_can_show_is_a_sentence(
        self, machine: LaneHost, figures: Mapping[str, float], told: str
    ) -> None:
        """An unknown figure, a share above 1, a counter that would fall: FaultError, and nothing is changed."""
        before = machine.figures
        with pytest.raises(FaultError, match=told):
            machine.show(**figures)
        assert machine.figures == before
        with pytest.raises(FaultError, match="no figure uptime"):
            machine.rest("uptime")

    def test_a_folder_that_is_gone_is_a_sentence(self, machine: LaneHost, proc: Path) -> None:
        """What cannot be shown is told to the fault, not passed over."""
        shutil.rmtree(proc)
        with pytest.raises(FaultError, match="cannot be written") as caught:
            machine.show(busy_ratio=0.9)
        assert "No such file" in (caught.value.seen or "")

    async def test_without_an_exporter_there_is_no_disk(self, machine: LaneHost) -> None:
        """Nothing is written anywhere, the sentence says why, and emptying nothing is no error."""
        with pytest.raises(FaultError, match="no file system of its own") as caught:
            await machine.fill_disk(0.95)
        assert caught.value.seen == "the exporter does not run"
        await machine.empty_disk()


async def test_figures_go_on_by_themselves_until_the_end(proc: Path) -> None:
    """They advance without anybody's doing, and stand still when the machine is closed; closing twice is no error."""
    machine = LaneHost(proc.parent, lambda: None)
    machine.start()
    try:
        await until(lambda: received() > 0)
        first = received()
        assert first < 50_000 * 4 * TICK_SECONDS
        assert psutil.cpu_times().idle > 0
        await until(lambda: received() > first)
    finally:
        await machine.close()
    last = (proc / "stat").stat().st_ino
    with pytest.raises(TimeoutError):
        await until(lambda: (proc / "stat").stat().st_ino != last, 3 * TICK_SECONDS)
    await machine.close()


async def test_a_tick_that_fails_is_not_the_last_one(proc: Path) -> None:
    """A sandbox that cannot be written for a moment stops nothing for good."""
    machine = LaneHost(proc.parent, lambda: None)
    machine.start()
    away = proc.with_name("away")
    try:
        proc.rename(away)
        await asyncio.sleep(1.5 * TICK_SECONDS)  # one tick has failed: nothing tells of it from outside
        away.rename(proc)
        await until(lambda: psutil.cpu_times().idle > 0)
    finally:
        await machine.close()


KINDS = [0, NOBODY] if os.geteuid() == 0 else [NOBODY]
"""Root makes a mount namespace as it is; root may also do as an ordinary user does, who needs a user namespace."""


@pytest.fixture(params=KINDS, ids=["root's way" if user == 0 else "an ordinary user's way" for user in KINDS])
async def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each way to a namespace that can be gone here."""
    user: int = request.param
    monkeypatch.setattr(os, "geteuid", lambda: user)
    await _open(user, tmp_path)


@pytest.fixture
async def namespaces(tmp_path: Path) -> None:
    """The way that is gone here outside of tests."""
    await _open(os.geteuid(), tmp_path)


async def _open(user: int, folder: Path) -> None:
    # Asked without our own code: what is broken in that must not look like a machine that is closed.
    kind = "--mount" if user == 0 else "--user --map-root-user --mount"
    asked = await asyncio.create_subprocess_shell(f"unshare {kind} mount -t tmpfs none '{folder}' 2>/dev/null")
    if await asked.wait() != 0:
        pytest.skip("namespaces are closed on this machine: a lane has no disk here, and disk-filled is unverified")
    assert await own_disk.possible(folder)


@pytest.mark.usefixtures("way")
class TestDisk:
    """The small file system of a process."""

    @pytest.fixture
    async def sleeper(self, tmp_path: Path) -> AsyncIterator[asyncio.subprocess.Process]:
        """A process that has a file system of its own at `disk`."""
        disk = tmp_path / "disk"
        disk.mkdir()
        process = await asyncio.create_subprocess_exec(*own_disk.inside(disk, ("/bin/sleep", "60")))
        try:
            await until(lambda: runs(process.pid, "sleep"))
            yield process
        finally:
            process.kill()
            await process.wait()

    async def test_it_fills_to_the_share_that_was_asked_for(
        self, sleeper: asyncio.subprocess.Process, tmp_path: Path
    ) -> None:
        """Up and down, twice the same, within a page; nobody else sees any of it; empty is empty."""
        disk = tmp_path / "disk"
        for share in (0.95, 0.95, 0.5, 0.0, 0.9):
            own_disk.fill(sleeper.pid, disk, share)
            assert used(sleeper.pid, disk) == pytest.approx(share, abs=2 * 4096 / own_disk.SIZE_BYTES)
        assert list(disk.iterdir()) == []
        own_disk.empty(sleeper.pid, disk)
        own_disk.empty(sleeper.pid, disk)
        assert used(sleeper.pid, disk) == 0

    async def test_more_than_there_is_cannot_be_filled(
        self, sleeper: asyncio.subprocess.Process, tmp_path: Path
    ) -> None:
        """The kernel's own word, as a fault's failure."""
        with pytest.raises(FaultError, match="could not be filled") as caught:
            own_disk.fill(sleeper.pid, tmp_path / "disk", 1.5)
        assert "No space left" in (caught.value.seen or "")

    async def test_a_process_outside_of_a_namespace_is_not_written_to(self, tmp_path: Path) -> None:
        """One that sees what everybody sees, one that is gone: a sentence, and the sandbox's own folder stays empty."""
        process = await asyncio.create_subprocess_exec("/bin/sleep", "60")
        try:
            with pytest.raises(FaultError, match="no file system of its own") as caught:
                own_disk.fill(process.pid, tmp_path, 0.5)
            assert "closed" in (caught.value.seen or "")
            own_disk.empty(process.pid, tmp_path)
        finally:
            process.kill()
            await process.wait()
        with pytest.raises(FaultError, match="no file system of its own"):
            own_disk.fill(process.pid, tmp_path, 0.5)
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv is what sets the signal here")
    async def test_it_dies_with_the_harness(self, tmp_path: Path) -> None:
        """The kernel's parent-death signal goes through all the steps: a parent's `kill -9` ends the program."""
        argv = ("setpriv", "--pdeathsig", "KILL", "--", *own_disk.inside(tmp_path, ("/bin/sleep", "60")))
        code = f"import subprocess, time; print(subprocess.Popen({argv!r}).pid, flush=True); time.sleep(60)"
        parent = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE)
        assert parent.stdout is not None
        pid = int(await parent.stdout.readline())
        try:
            await until(lambda: runs(pid, "sleep"))
            parent.kill()
            await parent.wait()
            await until(lambda: not runs(pid, "sleep"))
        finally:
            if runs(pid, "sleep"):
                os.kill(pid, signal.SIGKILL)


def runs(pid: int, name: str) -> bool:
    """Whether a process runs this program; a zombie does not."""
    try:
        process = psutil.Process(pid)
        return process.name() == name and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def used(pid: int, disk: Path) -> float:
    """The used share of a process's file system."""
    state = os.statvfs(f"/proc/{pid}/root{disk}")
    return 1 - state.f_bavail / state.f_blocks


async def shown(made: Standing, lane: str) -> dict[str, float]:
    """What a lane's exporter shows, by name and labels."""
    answer = await ask(made.layout.site(EXPORTER, lane).address, "/metrics")
    assert isinstance(answer, Answer)
    return {
        f"{sample.name} {' '.join(sample.labels.get(key, '') for key in ('device', 'cpu', 'mode')).strip()}".strip(): (
            sample.value
        )
        for family in text_string_to_metric_families(answer.body)
        for sample in family.samples
    }


@asynccontextmanager
async def machines(
    folder: Path, artifacts: Mapping[str, Artifact], lanes: tuple[str, ...] = ("a", "b")
) -> AsyncIterator[Standing]:
    """Lanes of an exporter each, up."""
    async with standing(folder, MACHINE, lanes=lanes, artifacts=artifacts) as made:
        await made.stack.up({})
        yield made


@pytest.mark.stack
class TestRealExporter:
    """Debian's node_exporter over all of this."""

    async def test_each_lane_shows_its_own_figures(self, tmp_path: Path, artifacts: Mapping[str, Artifact]) -> None:
        """Every collector works; a lane's figures change in that lane alone and at the exporter's next scrape."""
        async with machines(tmp_path, artifacts) as made:
            machine = made.stack.lane("a").host
            before = await shown(made, "a")
            assert [name for name in before if name.startswith("node_scrape_collector_success")]
            assert not [name for name, up in before.items() if name == "node_scrape_collector_success" and up != 1]
            machine.show(memory_used_ratio=0.98, busy_ratio=1, received_bytes_per_second=4e6)
            own, other = await shown(made, "a"), await shown(made, "b")
            total = MEMORY_KIB * 1024
            assert own["node_memory_MemAvailable_bytes"] == pytest.approx(0.02 * total, rel=0.01)
            assert other["node_memory_MemAvailable_bytes"] == pytest.approx(0.60 * total, rel=0.01)
            deadline = time.monotonic() + 10
            while (later := await shown(made, "a"))["node_network_receive_bytes_total eth0"] < 2e6:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.05)
            idle = "node_cpu_seconds_total 0 idle"
            assert later[idle] == pytest.approx(own[idle], abs=0.02), "no idle time while it was busy"
            assert later["node_cpu_seconds_total 0 user"] > own["node_cpu_seconds_total 0 user"] + 0.3
            assert (await shown(made, "b"))["node_network_receive_bytes_total eth0"] < 1e6
        assert not guardian.carriers(made.guard.run)

    async def test_figures_survive_the_exporter(self, tmp_path: Path, artifacts: Mapping[str, Artifact]) -> None:
        """Killed and started again it shows what it would have shown: no counter fell, what was shown is shown."""
        async with machines(tmp_path, artifacts, ("a",)) as made:
            control = made.stack.lane("a")
            control.host.show(busy_ratio=0.95)
            await until(lambda: counted(made) > 0.4)
            before = await shown(made, "a")
            await control.hold_down(EXPORTER)
            await control.let_up(EXPORTER)
            await until(lambda: made.told(ComponentRestarted), 10)
            after = await shown(made, "a")
            assert after["node_cpu_seconds_total 0 user"] >= before["node_cpu_seconds_total 0 user"] > 0
            assert control.host.figures["busy_ratio"] == 0.95

    @pytest.mark.usefixtures("way")
    async def test_the_disk_fills_in_one_lane(self, tmp_path: Path, artifacts: Mapping[str, Artifact]) -> None:
        """`avail` falls in that lane alone, is full again in the exporter's next life, and is free when emptied."""
        avail, size = "node_filesystem_avail_bytes /dev/vda1", "node_filesystem_size_bytes /dev/vda1"
        async with machines(tmp_path, artifacts) as made:
            control = made.stack.lane("a")
            assert (await shown(made, "a"))[avail] == own_disk.SIZE_BYTES == (await shown(made, "a"))[size]
            await control.host.fill_disk(0.95)
            assert (await shown(made, "a"))[avail] == pytest.approx(0.05 * own_disk.SIZE_BYTES, abs=4096)
            assert (await shown(made, "b"))[avail] == own_disk.SIZE_BYTES
            await control.hold_down(EXPORTER)
            await control.let_up(EXPORTER)
            await until(lambda: made.told(ComponentRestarted), 10)
            deadline = time.monotonic() + 10
            while (await shown(made, "a"))[avail] > 0.06 * own_disk.SIZE_BYTES:
                assert time.monotonic() < deadline, "a new life of the exporter was not filled"
                await asyncio.sleep(0.05)
            await control.host.empty_disk()
            assert (await shown(made, "a"))[avail] == own_disk.SIZE_BYTES
            await control.hold_down(EXPORTER)
            await control.let_up(EXPORTER)
            await until(lambda: len(made.told(ComponentRestarted)) == 2, 10)
            deadline = time.monotonic() + 3 * TICK_SECONDS
            while time.monotonic() < deadline:
                assert (await shown(made, "a"))[avail] == own_disk.SIZE_BYTES, "what was emptied is filled again"
                await asyncio.sleep(0.1)
        assert not guardian.carriers(made.guard.run)
        assert not made.guard.sandbox.exists()

    async def test_closed_namespaces_cost_the_disk_alone(
        self, tmp_path: Path, artifacts: Mapping[str, Artifact], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The exporter runs and shows no file system, not the real machine's; filling is a sentence."""
        monkeypatch.setattr(own_disk, "shutil", SimpleNamespace(which=lambda _: "/bin/false"))
        async with machines(tmp_path, artifacts, ("a",)) as made:
            found = await shown(made, "a")
            assert found["node_memory_MemTotal_bytes"] == MEMORY_KIB * 1024
            assert not [name for name in found if name.startswith("node_filesystem_size")]
            with pytest.raises(FaultError, match="no file system of its own") as caught:
                await made.stack.lane("a").host.fill_disk(0.95)
            assert "closed" in (caught.value.seen or "")
            await made.stack.lane("a").host.empty_disk()


@pytest.mark.stack
@pytest.mark.usefixtures("namespaces")
@pytest.mark.parametrize(
    "fault",
    [HostCpuBusy(), HostMemoryHigh(), HostMemoryFull(), NetworkFlood(), DiskFilled()],
    ids=lambda fault: str(fault.id),
)
async def test_a_fault_on_a_real_lane(tmp_path: Path, artifacts: Mapping[str, Artifact], fault: Fault) -> None:
    """Proven and undone within 3 s each; the machine of the lane beside it shows nothing of it."""
    async with machines(tmp_path, artifacts) as made:
        await fault.apply(made.stack.lane("a"))
        applied = time.time()
        assert applied <= (await fault.prove(made.stack.lane("a"), 3)).at <= time.time()
        with pytest.raises(EffectNotProven):
            await fault.prove(made.stack.lane("b"), 0.9)
        await fault.undo(made.stack.lane("a"), 3)


def counted(made: Standing) -> float:
    """Seconds that a processor of lane a was busy, as its folder says."""
    text = (made.layout.site(EXPORTER, "a").data / "proc/stat").read_text()
    return int(text.splitlines()[1].split()[1]) / 100


class TestLaunch:
    """How the exporter is started, and what is told of it."""

    @staticmethod
    def site(tmp_path: Path, lane: str | None = "a", unit: str = UNIT) -> Site:
        """Where the exporter stands; it was not prepared, so it has no disk."""
        return Site(
            run="run-1",
            component=component(EXPORTER, EXPORTER, unit, per_lane=lane is not None),
            lane=lane,
            address=Address("127.0.0.1", 9),
            data=tmp_path,
            log=tmp_path / "log",
            cache=tmp_path,
            project=tmp_path,
            artifact=Artifact(EXPORTER, "1.9.0", "apt", "/", {"node_exporter": "/bin/node_exporter"}, {}),
        )

    def test_every_figure_that_is_ours_is_told(self, tmp_path: Path) -> None:
        """CPU, memory, network and the list of mounts, each a difference from production with its reason."""
        (tmp_path / "disk").mkdir()
        launch = NodeExporter().launch(self.site(tmp_path))
        told = {one.path: one for one in launch.differences}
        for path in ("/proc/stat", "/proc/meminfo", "/proc/net/dev", "/proc/1/mounts"):
            assert told[path].why.startswith("simulated")
            assert told[path].before == "the machine's own"
        assert "a real tmpfs of 16 MiB" in told["/proc/1/mounts"].after
        assert launch.argv.index("/bin/node_exporter") > launch.argv.index(f"{tmp_path}/disk") > 0
        assert {f"--path.procfs={tmp_path}/proc", f"--path.rootfs={tmp_path}/disk"} < {*launch.argv}

    def test_without_a_disk_it_is_started_as_it_is(self, tmp_path: Path) -> None:
        """No namespace, no other root; that no file system is shown is told."""
        launch = NodeExporter().launch(self.site(tmp_path))
        assert launch.argv[0] == "/bin/node_exporter"
        assert not [word for word in launch.argv if "rootfs" in word]
        assert next(one.after for one in launch.differences if one.path == "/proc/1/mounts").startswith("none")

    async def test_the_real_machine_is_left_alone(self, tmp_path: Path) -> None:
        """An exporter that all lanes share shows the machine itself: nothing is made for it, nothing simulated."""
        site = self.site(tmp_path, lane=None)
        await NodeExporter().prepare(site)
        assert list(tmp_path.iterdir()) == []
        launch = NodeExporter().launch(site)
        assert not [word for word in launch.argv if "path." in word]
        assert not [one for one in launch.differences if "simulated" in one.why]

    @pytest.mark.parametrize("words", ["--collector.netdev.netlink", "--no-collector.netdev.netlink", ""])
    def test_netlink_is_off_whatever_the_unit_says(self, tmp_path: Path, words: str) -> None:
        """Netlink asks the kernel and would show the real machine's traffic; the flag may stand there once only."""
        argv = NodeExporter().launch(self.site(tmp_path, unit=f"{UNIT} {words}")).argv
        assert [word for word in argv if "netdev.netlink" in word] == ["--no-collector.netdev.netlink"]

    async def test_a_folder_that_cannot_be_made_is_a_sentence(self, tmp_path: Path) -> None:
        """The lane's name and the reason."""
        (tmp_path / "proc").write_text("in the way")
        with pytest.raises(StackError, match="machine of lane a cannot be made") as caught:
            await NodeExporter().prepare(self.site(tmp_path))
        assert caught.value.seen


async def test_a_lane_without_an_exporter_has_no_machine(tmp_path: Path) -> None:
    """A fault that wants one is told so: no component of the lane shows one."""
    async with standing(tmp_path, server("app"), replace(MACHINE, per_lane=False)) as made:
        with pytest.raises(FaultError, match="no machine of its own") as caught:
            _ = made.stack.lane("a").host
        assert "per_lane: true" in (caught.value.expected or "")
