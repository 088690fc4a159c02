"""The runtime seam fits containers: Prometheus in one, under the same supervisor that keeps it as a process.

Where no container engine answers these tests are skipped with the reason; they never count as passed.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from socket import create_server
from typing import TYPE_CHECKING, TypeVar

import psutil
import pytest
import test_runtimes
from stack_doubles import component

from harness.errors import StackError
from harness.model.events import ComponentExited, ComponentRestarted, Payload
from harness.model.stack import Address, Artifact
from harness.stack.components.prometheus import Prometheus
from harness.stack.ports import Ports
from harness.stack.probe import Answer, ask
from harness.stack.readiness import until_ready
from harness.stack.runtimes import Launch, Running, Runtime
from harness.stack.runtimes import container as container_module
from harness.stack.runtimes.container import RUN_LABEL, ContainerRuntime
from harness.stack.site import Site
from harness.stack.supervisor import Supervisor

if TYPE_CHECKING:
    from testcontainers.core.docker_client import DockerClient

P = TypeVar("P")
CLEANED_WITHIN_SECONDS = 3.0
"""After the harness died; 0.5 s on a quiet machine."""
CLEANER = Path(container_module.__file__).with_name("container_cleaner.py")
CONFIGURATION = """
global: {scrape_interval: 1s}
scrape_configs: [{job_name: self, static_configs: [{targets: [ADDRESS]}]}]
"""


@pytest.fixture(scope="session")
def engine() -> Iterator[DockerClient]:
    """The container engine of this machine; without one the test is reported as not run, with the reason."""
    try:
        from testcontainers.core.docker_client import DockerClient

        client = DockerClient()
        client.client.ping()
    except ImportError as error:
        pytest.skip(f"not run: testcontainers is not installed ({error})")
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the reason
        pytest.skip(f"not run: no container engine answers ({error})")
    yield client
    client.client.close()


@contextmanager
def imported(engine: DockerClient, folder: Path, tag: str, programs: Sequence[str]) -> Iterator[str]:
    """An image of programs of this machine and the libraries that they are linked with; the first is its entrypoint."""
    from testcontainers.core.image import DockerImage

    for program in programs:
        linked = subprocess.run(["ldd", program], capture_output=True, text=True, check=False).stdout.split()
        for source in (program, *(word for word in linked if word.startswith("/"))):
            place = folder / "root" / (Path("bin", Path(source).name) if source == program else source[1:])
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, place)
    entrypoint = f"/bin/{Path(programs[0]).name}"
    (folder / "Dockerfile").write_text(f'FROM scratch\nCOPY root /\nENTRYPOINT ["{entrypoint}"]\n')
    unique = f"tocsin-tests-{uuid.uuid4().hex[:8]}/{tag}"
    with DockerImage(path=folder, tag=unique, forcerm=True, labels={"tocsin.tests": unique}):
        yield unique
    assert engine.client.images.list(all=True, filters={"label": f"tocsin.tests={unique}"}) == []


@pytest.fixture(scope="module")
def image(
    engine: DockerClient, artifacts: Mapping[str, Artifact], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """An image made here of the Prometheus that the provisioner brought."""
    prometheus = artifacts["prometheus"]
    tag = f"prometheus:{prometheus.version}"
    with imported(engine, tmp_path_factory.mktemp("image"), tag, [prometheus.programs["prometheus"]]) as made:
        yield made


@pytest.fixture(scope="module")
def shell_image(engine: DockerClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An image made here of a shell, for the scripts of the suite that every runtime passes."""
    with imported(engine, tmp_path_factory.mktemp("image"), "shell:1", ["/bin/sh", "/bin/sleep"]) as made:
        yield made


@pytest.fixture
def run(engine: DockerClient) -> Iterator[str]:
    """The id of a run of which nothing is left when the test ends."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    yield name
    left = held(engine, name)
    if left:
        clean(name)
    assert left == []


@pytest.fixture
def site(run: str, artifacts: Mapping[str, Artifact], tmp_path: Path) -> Iterator[Site]:
    """Where Prometheus stands, its port held as a layout holds it."""
    ports = Ports()
    address = ports.take()
    configuration = tmp_path / "policies" / "prometheus.yml"
    configuration.parent.mkdir()
    configuration.write_text(CONFIGURATION.replace("ADDRESS", str(address)))
    configuration.chmod(0o600)
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    yield Site(
        run=run,
        component=component("prometheus", "prometheus", "/usr/bin/prometheus --log.level=info", per_lane=False),
        lane=None,
        address=address,
        data=data,
        log=tmp_path / "logs" / "prometheus.log",
        cache=tmp_path,
        project=tmp_path,
        artifact=artifacts["prometheus"],
        configuration=configuration,
    )
    ports.close()


@pytest.fixture
def launch(site: Site) -> Launch:
    """What the component makes of its site, as it does for a process."""
    return Prometheus().launch(site)


@pytest.fixture
async def runtime(run: str, image: str, site: Site) -> AsyncIterator[Runtime]:
    """Containers of this run."""
    async with opened(run, image, site) as runtime:
        yield runtime


@asynccontextmanager
async def opened(run: str, image: str, site: Site) -> AsyncIterator[Runtime]:
    """The runtime, as its caller opens and closes it."""
    assert site.configuration is not None
    runtime = ContainerRuntime.open(run, lambda _: image, [site.configuration.parent])
    try:
        yield runtime
    finally:
        await runtime.close()
        await runtime.close()


def clean(run: str) -> None:
    """What the cleaner does when its harness is gone."""
    words = [sys.executable, "-P", str(CLEANER), f"{RUN_LABEL}={run}"]
    subprocess.run(words, stdin=subprocess.DEVNULL, check=True, timeout=60)


def held(engine: DockerClient, run: str) -> list[str]:
    """What the engine holds of a run, running or not."""
    mine = {"filters": {"label": f"{RUN_LABEL}={run}"}}
    found = [
        *engine.client.containers.list(all=True, ignore_removed=True, **mine),
        *engine.client.networks.list(**mine),
    ]
    return [str(thing.name) for thing in found]


async def becomes(condition: Callable[[], bool], within_seconds: float) -> bool:
    """Whether something becomes true in time."""
    deadline = time.monotonic() + within_seconds
    while not condition():
        if time.monotonic() >= deadline:
            return False
        await asyncio.sleep(0.02)
    return True


def listeners(port: int) -> set[str]:
    """The addresses of this machine at which somebody listens on a port."""
    found = [one for one in psutil.net_connections("tcp") if one.status == psutil.CONN_LISTEN]
    return {one.laddr.ip for one in found if one.laddr and one.laddr.port == port}


@pytest.mark.container
class TestEveryRuntimeInContainers(test_runtimes.TestEveryRuntime):
    """The suite that every runtime passes. Two of its promises are weaker here, and are told as they are."""

    @pytest.fixture
    async def runtime(self, run: str, shell_image: str) -> AsyncIterator[Runtime]:
        """Containers of a shell."""
        images = {"/bin/sh": shell_image}
        runtime = ContainerRuntime.open(run, lambda launch: images.get(launch.argv[0], f"none for {launch.argv[0]}"))
        assert runtime.name == "container"
        yield runtime
        await runtime.close()

    @pytest.fixture
    def launch(self, tmp_path: Path) -> Iterator[Callable[..., Launch]]:
        """Makes the launch of a shell script; each has a port of its own, which is published."""
        folder = tmp_path / "data"
        folder.mkdir()
        ports = Ports()

        def make(script: str, *, argv: tuple[str, ...] = ()) -> Launch:
            return Launch(
                name="shell",
                lane="a",
                argv=argv or ("/bin/sh", "-c", script),
                environment={"PATH": "/bin"},
                directory=folder,
                log=tmp_path / "logs" / "shell.a.log",
                address=ports.take(),
            )

        yield make
        ports.close()

    async def test_a_frozen_component_can_be_stopped(self, runtime: Runtime, launch: Callable[..., Launch]) -> None:
        """One that SIGSTOP froze is woken to hear that it should end, which takes a handler for SIGTERM here."""
        running = await runtime.start(launch("trap 'exit 7' TERM; " + test_runtimes.WAITS))
        await test_runtimes.said(running, "started")
        await running.signal(signal.SIGSTOP)
        assert running.alive
        await running.stop(5)
        assert await running.wait() == 7

    async def test_output_is_appended_and_its_end_can_be_read(
        self, runtime: Runtime, launch: Callable[..., Launch]
    ) -> None:
        """Both outputs of every life are in its log; which of the two came first within a life is not known here."""
        for number in (1, 2):
            running = await runtime.start(launch(f"echo out {number}; echo err {number} >&2"))
            await running.wait()
        first, second = running.tail()[:2], running.tail(2)
        assert (sorted(first), sorted(second)) == (["err 1", "out 1"], ["err 2", "out 2"])
        assert len(running.tail()) == 4


@pytest.mark.container
@pytest.mark.stack
class TestPrometheusInAContainer:
    """A real component with its files, its address and its faults."""

    async def test_its_supervisor_sees_no_difference(self, runtime: Runtime, site: Site) -> None:
        """Started, ready on loopback alone, held down, let up, stopped: the code that keeps processes, unchanged."""
        events: list[Payload] = []

        def told(kind: type[P]) -> list[P]:
            return [event for event in events if isinstance(event, kind)]

        supervisor = Supervisor(site, Prometheus(), runtime, events.append)
        await supervisor.start()
        await supervisor.settle(30)
        assert listeners(site.address.port) == {"127.0.0.1"}
        assert (site.data / "tsdb").stat().st_uid == os.getuid()
        assert any("Server is ready" in line for line in supervisor.tail())

        await supervisor.hold_down()
        assert isinstance(await ask(site.address, "/-/ready"), str)
        assert listeners(site.address.port) == set()

        await supervisor.let_up()
        assert await becomes(lambda: bool(told(ComponentRestarted)), 30)
        assert await ask(site.address, "/-/ready") == Answer(200, "Prometheus Server is Ready.\n")

        await supervisor.stop(30)
        assert [(event.code, event.expected) for event in told(ComponentExited)] == [(-signal.SIGKILL, True), (0, True)]
        assert "See you next time!" in supervisor.tail()[-1]

    async def test_it_can_be_frozen(
        self, engine: DockerClient, run: str, runtime: Runtime, site: Site, launch: Launch
    ) -> None:
        """A fault that freezes it takes its answers and leaves its life; woken and stopped, it is gone altogether."""
        running = await runtime.start(launch)
        await until_ready(Prometheus(), site, running, 30)
        await running.signal(signal.SIGSTOP)
        assert isinstance(await ask(launch.address, "/-/ready", within_seconds=0.2), str)
        assert running.alive
        await running.stop(30)
        assert await running.wait() == 0
        assert len(held(engine, run)) == 1  # the network

    async def test_closing_awaits_a_start_whose_caller_gave_up(
        self, engine: DockerClient, run: str, image: str, launch: Launch
    ) -> None:
        """What the engine was asked for cannot be recalled: closing waits for it and ends what came of it."""
        asked, go_on = threading.Event(), threading.Event()

        def chosen(_: Launch) -> str:
            asked.set()
            go_on.wait(30)
            return image

        runtime = ContainerRuntime.open(run, chosen)
        given_up = asyncio.create_task(runtime.start(launch))
        assert await becomes(asked.is_set, 5)
        given_up.cancel()
        with pytest.raises(asyncio.CancelledError):
            await given_up
        closing = asyncio.create_task(runtime.close())
        await asyncio.wait({closing}, timeout=0.7)
        assert not closing.done()
        go_on.set()
        await closing
        assert launch.log.exists()  # it was started all the same
        assert held(engine, run) == []

    async def test_what_cannot_be_started_is_a_sentence(
        self, engine: DockerClient, run: str, image: str, site: Site, launch: Launch
    ) -> None:
        """An image that cannot be and a port that is taken are told by name, and nothing is left of the attempt."""
        async with opened(run, "no such image", site) as runtime:
            with pytest.raises(StackError, match="prometheus cannot be started from the image no such image"):
                await runtime.start(launch)
        with create_server(("127.0.0.1", 0)) as taken:
            busy = replace(launch, address=Address(*taken.getsockname()))
            async with opened(run, image, site) as runtime:
                with pytest.raises(StackError, match=str(busy.address)):
                    await runtime.start(busy)
                assert len(held(engine, run)) == 1  # the network


HARNESS = """
import asyncio, sys
from pathlib import Path
from harness.model.stack import Address
from harness.stack.runtimes import Launch
from harness.stack.runtimes.container import ContainerRuntime

async def main(run, image, folder, port):
    runtime = ContainerRuntime.open(run, lambda _: image, [folder / "policies"])
    argv = ("prometheus", f"--config.file={folder}/policies/prometheus.yml", f"--storage.tsdb.path={folder}/data/tsdb")
    address = Address("127.0.0.1", int(port))
    await runtime.start(Launch("prometheus", None, argv, {}, folder / "data", folder / "log", address))
    print("started", flush=True)
    await asyncio.Event().wait()

asyncio.run(main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), sys.argv[4]))
"""


def ignores(pid: int, number: int) -> bool:
    """Whether a process ignores a signal (the mask `SigIgn` in proc(5))."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    mask = next(int(line.split()[1], 16) for line in lines if line.startswith("SigIgn"))
    return bool(mask & 1 << (number - 1))


@contextmanager
def a_harness(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A process that has started Prometheus in a container when it says so; leaving the block kills it with -9."""
    words = [sys.executable, "-c", HARNESS, *arguments]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as harness:
        try:
            yield harness
        finally:
            harness.kill()


@pytest.mark.container
@pytest.mark.stack
@pytest.mark.parametrize("cleaner_lives", [True, False])
async def test_nothing_outlives_a_harness_that_was_killed(
    engine: DockerClient, run: str, image: str, site: Site, tmp_path: Path, cleaner_lives: bool
) -> None:
    """After kill -9 the cleaner removes what carries the run's label; the twin without a cleaner keeps it all."""
    with a_harness(run, image, str(tmp_path), str(site.address.port)) as harness:
        assert harness.stdout is not None
        assert await asyncio.to_thread(harness.stdout.readline) == "started\n"
        [cleaner] = psutil.Process(harness.pid).children()
        assert os.getsid(cleaner.pid) == cleaner.pid
        assert await becomes(lambda: ignores(cleaner.pid, signal.SIGTERM), 5)
        cleaner.terminate()
        if not cleaner_lives:
            cleaner.kill()
        assert len(held(engine, run)) == 2
    assert await becomes(lambda: not held(engine, run), CLEANED_WITHIN_SECONDS) is cleaner_lives
    if not cleaner_lives:
        await asyncio.to_thread(clean, run)
        assert held(engine, run) == []


@pytest.mark.container
@pytest.mark.stack
async def test_nothing_is_started_when_the_cleaner_is_gone(
    engine: DockerClient, run: str, image: str, site: Site, launch: Launch
) -> None:
    """A container that nobody would clear away is not started, and closing says that something is left."""
    assert site.configuration is not None
    runtime = ContainerRuntime.open(run, lambda _: image, [site.configuration.parent])
    label = f"{RUN_LABEL}={run}"
    [cleaner] = [one for one in psutil.process_iter(["cmdline"]) if label in (one.info["cmdline"] or ())]
    cleaner.kill()
    assert await becomes(lambda: cleaner.status() == psutil.STATUS_ZOMBIE, 5)
    with pytest.raises(StackError, match="cleaner of this run is gone"):
        await runtime.start(launch)
    with pytest.raises(StackError, match=f"may still hold something of the run {run}"):
        await runtime.close()
    for network in engine.client.networks.list(filters={"label": label}):
        network.remove()


def test_no_engine_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where none answers nothing is started, and nothing of the client's own exceptions comes through."""
    monkeypatch.setenv("DOCKER_HOST", "unix:///no/such/engine.sock")
    with pytest.raises(StackError, match="No container engine answers") as raised:
        ContainerRuntime.open("nowhere", lambda _: "image")
    assert raised.value.seen
    assert raised.value.hint


def test_the_missing_extra_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra is optional: without it the error says how it is had."""
    for name in [name for name in sys.modules if name.split(".")[0] == "testcontainers"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "testcontainers", None)
    with pytest.raises(StackError, match="not installed") as raised:
        ContainerRuntime.open("nowhere", lambda _: "image")
    assert raised.value.hint == "pip install 'tocsin[containers]'"


def as_the_seam_has_it(runtime: ContainerRuntime, running: container_module._Container) -> tuple[Runtime, Running]:
    """Held by the type checker: both are what callers know."""
    return runtime, running
