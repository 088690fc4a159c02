"""Components in containers, through testcontainers: proof that the seam fits, by one test.

`tests/stack/test_container_runtime.py` runs Prometheus in a container under the same supervisor that runs it as a
process. The command line does not offer this runtime: what it lacks for a whole stack is said at `ContainerRuntime`.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import StackError
from harness.stack.output import last_lines
from harness.stack.runtimes import Launch, Running

if TYPE_CHECKING:
    from testcontainers.core.container import DockerContainer
    from testcontainers.core.network import Network

RUN_LABEL = "tocsin.run"
"""The label that marks every container and network of a run."""
_CLEANER = Path(__file__).with_name("container_cleaner.py")
_CLEANER_SECONDS = 35.0  # longer than its own patience
_LOOPBACK_ONLY = {"com.docker.network.bridge.host_binding_ipv4": "127.0.0.1"}
_NO_SIGNAL, _LAST_SIGNAL = 128, 128 + 64
_ENDED_ALREADY = {404, 409}  # HTTP: no such container; it is not running


class ContainerRuntime:
    """Runs components as containers of the engine that testcontainers finds. Made by `ContainerRuntime.open`.

    The image's entrypoint stands for the program, the launch's arguments follow it. The launch's folder is mounted at
    its own path, so paths mean the same inside and outside, and the component runs as our user, so what it writes is
    ours. Its address is published on loopback alone; inside, where loopback would be the container's own, it listens on
    every interface instead. For the same reason it cannot reach peers that listen on the host's loopback: a whole stack
    in containers needs its peers' addresses as they are seen from inside. As the first process of its container it
    hears no signal that it does not handle (pid_namespaces(7)): without a handler for SIGTERM the grace ends it.
    """

    name = "container"

    def __init__(
        self,
        run: str,
        image: Callable[[Launch], str],
        readable: Sequence[Path],
        network: Network,
        cleaner: subprocess.Popen[bytes],
    ) -> None:
        self._run = run
        self._image = image
        self._readable = readable
        self._network = network
        self._cleaner = cleaner
        self._starting: set[asyncio.Task[_Container]] = set()
        self._started: set[_Container] = set()

    @classmethod
    def open(cls, run: str, image: Callable[[Launch], str], readable: Sequence[Path] = ()) -> ContainerRuntime:
        """Starts the cleaner, then makes the run's network.

        Args:
            run: the run's id; everything in the engine carries it, and is removed when this process ends.
            image: the reference of the image that runs a launch, by its name and version.
            readable: folders and files that components may read, at the same path (the rewired configuration).

        Raises:
            StackError: testcontainers is not installed, or no engine answers.
        """
        with _sentences("No container engine answers", hint="start one, or use the process runtime, which needs none"):
            from testcontainers.core.config import testcontainers_config  # noqa: PLC0415 - an optional extra
            from testcontainers.core.docker_client import DockerClient  # noqa: PLC0415
            from testcontainers.core.network import Network  # noqa: PLC0415

            # Our cleaner does what testcontainers' own would, without an image that has to be pulled for it.
            testcontainers_config.ryuk_disabled = True
            DockerClient().client.close()  # connects, so that there is no cleaner where there is no engine
            cleaner = _start_cleaner(run)
            try:
                network = Network(docker_network_kw={"labels": {RUN_LABEL: run}, "options": _LOOPBACK_ONLY}).create()
            except BaseException:
                _dismiss(cleaner, run)
                raise
        return cls(run, image, readable, network, cleaner)

    async def start(self, launch: Launch) -> Running:
        """Starts a component; returns as soon as its container runs.

        Raises:
            StackError: there is no such image, its port is taken, or the engine does not start it.
        """
        # A thread cannot be cancelled: a start whose caller gave up goes on, and closing ends what came of it.
        starting = asyncio.create_task(self._start(launch), name=f"start of the container of {launch.name}")
        self._starting.add(starting)
        starting.add_done_callback(self._starting.discard)
        return await asyncio.shield(starting)

    async def close(self) -> None:
        """Ends everything that was started here, removes the network, ends the cleaner; may be called twice.

        Raises:
            StackError: the engine did not let go of something.
        """
        await asyncio.gather(*self._starting, return_exceptions=True)
        try:
            await asyncio.gather(*(container.stop() for container in list(self._started)))
        finally:
            await asyncio.to_thread(_dismiss, self._cleaner, self._run)

    async def _start(self, launch: Launch) -> _Container:
        running = _Container(launch, await asyncio.to_thread(self._create, launch))
        self._started.add(running)
        running.ended.add_done_callback(lambda _: self._started.discard(running))
        return running

    def _create(self, launch: Launch) -> DockerContainer:
        if self._cleaner.poll() is not None:
            raise StackError(
                "The cleaner of this run is gone; a container that is started now would outlive a crash of the harness",
                seen=f"process {self._cleaner.pid} ended with code {self._cleaner.returncode}",
                hint="something on this machine killed it; start the run again",
            )
        image = self._image(launch)
        everywhere = f"0.0.0.0:{launch.address.port}"
        with _sentences(f"{launch.name} cannot be started from the image {image}"):
            from testcontainers.core.container import DockerContainer  # noqa: PLC0415 - an optional extra

            launch.log.parent.mkdir(parents=True, exist_ok=True)
            container = DockerContainer(
                image,
                env=dict(launch.environment),
                network=self._network,
                volumes=[(str(path), str(path), "ro") for path in self._readable],
                labels={RUN_LABEL: self._run, "tocsin.component": launch.name, "tocsin.lane": launch.lane or ""},
                user=f"{os.getuid()}:{os.getgid()}",
                working_dir=str(launch.directory),
                use_config_proxy=False,
            )
            container.with_command([argument.replace(str(launch.address), everywhere) for argument in launch.argv[1:]])
            container.with_volume_mapping(launch.directory, str(launch.directory), "rw")
            container.with_bind_ports(launch.address.port, launch.address.port)
            try:
                return container.start()
            except Exception:
                container.stop()  # removes what was made and did not start
                raise


class _Container:
    """One container that was started; a thread of its own writes its output down, waits for its end and removes it."""

    pid = None  # its process may be another machine's: Docker Desktop and a remote engine run it elsewhere

    def __init__(self, launch: Launch, container: DockerContainer) -> None:
        self._launch = launch
        self._container = container
        code: Future[int] = Future()
        # A daemon, and not of a pool: a harness that ends must not wait for its containers, the cleaner ends them.
        threading.Thread(target=self._attend, args=(code,), name=f"container of {launch.name}", daemon=True).start()
        self.ended = asyncio.wrap_future(code)

    @property
    def launch(self) -> Launch:
        return self._launch

    @property
    def alive(self) -> bool:
        return not self.ended.done()

    async def wait(self) -> int:
        """Its exit code; a signal that ended it is told as 128 + signal, and so is an exit with such a code.

        Raises:
            StackError: the engine was lost.
        """
        code = await asyncio.shield(self.ended)
        return _NO_SIGNAL - code if _NO_SIGNAL < code <= _LAST_SIGNAL else code

    async def kill(self) -> None:
        await self.signal(signal.SIGKILL)
        await self.wait()

    async def stop(self, grace_seconds: float = 0.3) -> None:
        await self.signal(signal.SIGTERM)
        # A component that was stopped (SIGSTOP) hears of nothing but SIGKILL until it is continued.
        await self.signal(signal.SIGCONT)
        try:
            async with asyncio.timeout(grace_seconds):
                await self.wait()
        except TimeoutError:
            await self.kill()

    async def signal(self, number: int) -> None:
        if self.alive:
            await asyncio.to_thread(self._send, number)

    def tail(self, lines: int = 20) -> Sequence[str]:
        return last_lines(self._launch.log, lines)

    def _send(self, number: int) -> None:
        with _sentences(f"{self._launch.name} could not be sent signal {number}"):
            from docker.errors import APIError  # type: ignore[import-untyped]  # noqa: PLC0415 - an optional extra

            try:
                self._container.get_wrapped_container().kill(signal=number)
            except APIError as error:
                if error.status_code not in _ENDED_ALREADY:
                    raise

    def _attend(self, told: Future[int]) -> None:
        try:
            with _sentences(f"The container of {self._launch.name} was lost"):
                with self._launch.log.open("ab", buffering=0) as log:
                    for part in self._container.get_wrapped_container().logs(stream=True, follow=True):
                        log.write(part)
                code = self._container.wait()
                self._container.stop()  # removes it, and its port with it: the next life wants the same one
        except Exception as error:  # noqa: BLE001 - handed on to whoever waits
            told.set_exception(error)
        else:
            told.set_result(code)


@contextmanager
def _sentences(what: str, hint: str | None = None) -> Iterator[None]:
    """Nothing of the engine's client leaves this module: what it raises becomes a sentence."""
    try:
        yield
    except ImportError as error:
        raise StackError(
            "The container runtime needs testcontainers, which is not installed",
            seen=str(error),
            hint="pip install 'tocsin[containers]'",
        ) from error
    except _of_the_engine() as error:
        raise StackError(what, seen=getattr(error, "explanation", None) or str(error), hint=hint) from error


def _of_the_engine() -> tuple[type[Exception], ...]:
    """What testcontainers and the client below it raise; they share no base."""
    from docker.errors import DockerException  # noqa: PLC0415 - an optional extra
    from urllib3.exceptions import HTTPError  # noqa: PLC0415 - wanted on a bad day only

    return (DockerException, HTTPError, OSError, RuntimeError, ValueError)


def _start_cleaner(run: str) -> subprocess.Popen[bytes]:
    """Its environment is ours, so that it finds the same engine."""
    return subprocess.Popen(
        [sys.executable, "-P", str(_CLEANER), f"{RUN_LABEL}={run}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        start_new_session=True,
    )


def _dismiss(cleaner: subprocess.Popen[bytes], run: str) -> None:
    """Has the cleaner remove what is left, and waits for it; nothing where that was done."""
    assert cleaner.stdin is not None
    if cleaner.stdin.closed:
        return
    with suppress(subprocess.TimeoutExpired):
        cleaner.communicate(b"end", timeout=_CLEANER_SECONDS)
    if cleaner.returncode != 0:
        raise StackError(
            f"The container engine may still hold something of the run {run}",
            seen=f"its cleaner has not done its work: code {cleaner.returncode}",
            hint=f"docker ps --all --filter label={RUN_LABEL}={run} and docker network ls with the same filter show it",
        )
