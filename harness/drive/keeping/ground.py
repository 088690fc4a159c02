"""The ground that stores are kept on: a folder of the run's sandbox, a runtime, and ports; all gone with the run."""

from __future__ import annotations

import asyncio
import itertools
import shutil
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from harness.errors import DiskFull, StackError
from harness.model.policy import ComponentPolicy, Policies
from harness.model.stack import Address, Artifact
from harness.stack.components.registry import component_of
from harness.stack.ports import Ports
from harness.stack.readiness import told, until_ready
from harness.stack.runtimes import Launch, Runtime
from harness.stack.site import Site

_READY_SECONDS = 180.0
_STOP_SECONDS = 5.0
_TOOL_SECONDS = 900.0


@dataclass(frozen=True, slots=True)
class Ground:
    """Where stores are filled, backed up and restored.

    Args:
        run: the run's id.
        policies: what production runs.
        artifacts: what the provisioner brought, by its name there.
        cache: the user's cache.
        folder: a folder of the run's sandbox that is this stage's own.
        logs: the run's folder of logs.
        runtime: how components are run; its guard ends them when we die.
        ports: where ports come from.
        lasting: what stands until everything was asked of one store, and is ended with it.
    """

    run: str
    policies: Policies
    artifacts: Mapping[str, Artifact]
    cache: Path
    folder: Path
    logs: Path
    runtime: Runtime
    ports: Ports
    lasting: AsyncExitStack = field(default_factory=AsyncExitStack)
    _stand: dict[str, Site] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def documents(self, folder: str) -> dict[str, str]:
        """The policies' native files of a folder, by their names in it.

        Raises:
            StackError: the policies have none.
        """
        found = {
            name.removeprefix(f"{folder}/"): text
            for name, text in self.policies.documents.items()
            if name.startswith(f"{folder}/")
        }
        if not found:
            raise StackError(f"The policies have no files in {folder}/", hint="the store is run by them")
        return found

    def artifact(self, name: str) -> Artifact:
        """What the provisioner brought under a name.

        Raises:
            StackError: it brought nothing of the kind.
        """
        try:
            return self.artifacts[name]
        except KeyError:
            raise StackError(
                f"{name} was not provisioned", hint="`tocsin stack fetch` brings every component into the cache"
            ) from None

    def site(
        self,
        component: ComponentPolicy,
        role: str,
        *,
        configuration: Mapping[str, str] | None = None,
        folder: str | None = None,
    ) -> Site:
        """A place for an instance of a store that is not the run's own.

        Args:
            component: the store as production runs it.
            role: what this instance is for; part of its name.
            configuration: files to write into its folder; the first one is its configuration file.
            folder: the name of a folder to write them into; then that folder is its configuration.

        Raises:
            StackError: there is no port, or nothing can be written.
        """
        name = f"{component.name}-{role}-{next(self._numbers)}"
        kind = component_of(component.kind)
        data = self.folder / name
        files = dict(configuration or {})
        try:
            data.mkdir(mode=0o700, parents=True)
            written = data / (folder or "")
            written.mkdir(exist_ok=True)
            for file, text in files.items():
                (written / file).write_text(text, encoding="utf-8")
        except OSError as error:
            raise unwritable(data, error) from error
        return Site(
            run=self.run,
            component=replace(component, name=name),
            lane=None,
            address=self.ports.take(),
            data=data,
            log=self.logs / f"{name}.log",
            cache=self.cache,
            project=self.policies.root.absolute().parent,
            artifact=self.artifact(kind.artifact) if kind.artifact else None,
            configuration=(written if folder else data / next(iter(files))) if files else None,
            secrets=kind.credentials(),
        )

    @asynccontextmanager
    async def standing(
        self, site: Site, *, change: Callable[[Launch], Launch] = lambda launch: launch, stop_seconds: float = 0.0
    ) -> AsyncIterator[Address]:
        """An instance of a store, from when it works; leaving ends it.

        Args:
            site: where it stands.
            change: what becomes of its launch, e.g. a flag that a backup needs.
            stop_seconds: how long it may take to end in order; by force at once where 0.

        Raises:
            ComponentDied: it ended before it was ready.
            NotReady: it was not ready in time.
            StackError: it could not be started.
        """
        component = component_of(site.component.kind)
        await component.prepare(site)
        running = await self.runtime.start(change(component.launch(site)))
        try:
            await until_ready(component, site, running, _READY_SECONDS)
            yield site.address
        finally:
            await running.stop(min(stop_seconds, _STOP_SECONDS))

    async def last(
        self,
        component: ComponentPolicy,
        role: str,
        *,
        documents: Mapping[str, str],
        folder: str | None = None,
    ) -> Site:
        """An instance that stands until everything was asked of the store: for one that is long in starting.

        Args:
            component: the store as production runs it.
            role: which of its instances; the same one is given to whoever asks again.
            documents: files of its configuration.
            folder: the name of the folder that they are written into.

        Raises:
            StackError: it does not stand.
        """
        key = f"{component.name}/{role}"
        if key not in self._stand:
            site = self.site(component, role, configuration=documents, folder=folder)
            await self.lasting.enter_async_context(self.standing(site))
            self._stand[key] = site
        return self._stand[key]

    async def run_tool(
        self, site: Site, program: str, *arguments: str, artifact: str | None = None, within: float = _TOOL_SECONDS
    ) -> None:
        """Runs a store's own tool to its end, in the store's folder, its output in the store's log.

        Args:
            site: whose tool it is.
            program: the name of the program in the artifact.
            arguments: what it is called with.
            artifact: the artifact that holds it; the store's own where None.
            within: the seconds that it may take.

        Raises:
            StackError: it is not there, failed, or did not end in time; with its last words.
        """
        source = self.artifact(artifact) if artifact else site.artifact
        if source is None or program not in source.programs:
            raise StackError(
                f"The program {program} was not provisioned",
                hint="`tocsin stack fetch` brings every component into the cache",
            )
        launch = Launch(
            name=f"{program} of {site.name}",
            lane=None,
            argv=(source.programs[program], *arguments),
            environment={"HOME": str(site.data), "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", **source.environment},
            directory=site.data,
            log=site.log,
            address=site.address,
            version=source.version,
        )
        running = await self.runtime.start(launch)
        try:
            async with asyncio.timeout(within):
                code = await running.wait()
        except TimeoutError:
            raise StackError(
                f"{program} did not end", waited_seconds=within, output=told(site, running), seen=f"log: {site.log}"
            ) from None
        finally:
            await running.stop(0)
        if code != 0:
            raise StackError(f"{program} ended with code {code}", expected="code 0", output=told(site, running))


def unwritable(path: Path, error: OSError) -> StackError | DiskFull:
    """What an operating system's refusal to write below the sandbox means."""
    kind = DiskFull if error.errno in {28, 122} else StackError
    return kind(f"Nothing can be written at {path}", seen=error.strerror or str(error))


async def copied(folder: Path, to: Path) -> None:
    """Copies a backup to where another instance may read it, as one that leaves the machine would be.

    Raises:
        DiskFull, StackError: it cannot be read or written.
    """
    try:
        await asyncio.to_thread(shutil.copytree, folder, to)
    except OSError as error:
        raise unwritable(to, error) from error


def size_of(folder: Path) -> int:
    """The bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
