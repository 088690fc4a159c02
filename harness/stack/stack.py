"""The stack: everything that the policies name, running in a sandbox, kept as its units say."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import PurePosixPath
from types import TracebackType
from typing import Self

from harness.errors import NotReady, StackError
from harness.model.events import ComponentReady, Payload, Rewired
from harness.model.sinks import Channels
from harness.model.stack import SHARED, Address, ComponentReport
from harness.stack.announced import AnnouncedTargets
from harness.stack.components.registry import component_of
from harness.stack.handle import Key, LaneHandle
from harness.stack.host import NODE_EXPORTER, LaneHost, hosts_of
from harness.stack.layout import Layout
from harness.stack.probe import Answer, ask
from harness.stack.relay import Relay
from harness.stack.runtimes import Launch, Runtime
from harness.stack.scrape import Expected, Target, read_alertmanagers, read_configuration, read_targets
from harness.stack.supervisor import Supervisor

READY_SECONDS = 30.0
STOP_GRACE_SECONDS = 0.2
_RELOAD_SECONDS = 10.0
_SCRAPE_SECONDS = 15.0
_SCRAPE_POLL_SECONDS = 0.05

SUBJECT = "subject"
"""The kind of the application under watch, which is started when everything else stands."""


class Stack:
    """A stack in its sandbox; `async with` takes it down whatever happens.

    Args:
        layout: where everything stands; the stack closes it.
        runtime: how components are run; the stack closes it.
        write: takes the events of the stack's life.
        channels: the far ends of the channels, which faults of the shared lane may make misbehave.
    """

    def __init__(
        self,
        layout: Layout,
        runtime: Runtime,
        write: Callable[[Payload], object],
        *,
        channels: Channels | None = None,
    ) -> None:
        self.layout = layout
        self._runtime = runtime
        self._write = write
        self._channels = channels
        self._supervisors: dict[Key, Supervisor] = {
            (site.name, site.lane): Supervisor(site, component_of(site.component.kind), runtime, write)
            for site in layout.sites
        }
        self._relays: dict[Key, Relay] = {}
        self._hosts: dict[str, LaneHost] = hosts_of(self._supervisors.values())
        self._down = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.down()

    async def up(self, files: Mapping[str, str], *, deadline_seconds: float = READY_SECONDS) -> None:
        """Writes the rewired copy, starts everything at once, the subjects after it; returns when all of it is ready.

        Each component is given `ComponentReady` when it stands; its differences from production are written as
        `Rewired` (of a lane's components once, for the first lane: the others differ in port and folder alone).

        Raises:
            StackError: something could not be started (`ComponentDied`, `NotReady`, `AddressTaken` say what); what
                stands already is taken down by `down`.
        """
        self._put(files)
        for lane in (*self.layout.lanes, self.layout.shared):
            place = None if lane is self.layout.shared else lane.name
            for name, behind in lane.behind.items():
                self._relays[name, place] = await Relay.open(behind, listen=lane.addresses[name])
        ready = {key: asyncio.Event() for key in self._supervisors}
        tasks = [
            asyncio.create_task(self._bring_up(supervisor, ready, deadline_seconds), name=f"start of {key}")
            for key, supervisor in self._supervisors.items()
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            failed = [task.exception() for task in tasks if task.done() and not task.cancelled()]
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for error in failed:
            if error is not None:
                raise error

    async def down(self) -> None:
        """Ends everything at once and gives the ports back, to the end even where a part fails; may be called twice.

        Raises:
            LedgerError: the end of a component could not be written.
        """
        if self._down:
            return
        self._down = True
        async with AsyncExitStack() as rest:
            rest.callback(self.layout.close)
            rest.push_async_callback(self._runtime.close)
            for relay in self._relays.values():
                rest.push_async_callback(relay.close)
            for host in self._hosts.values():
                rest.push_async_callback(host.close)
            ends = [supervisor.stop(STOP_GRACE_SECONDS) for supervisor in self._supervisors.values()]
            for failed in await asyncio.gather(*ends, return_exceptions=True):
                if failed is not None:
                    raise failed

    def lane(self, name: str) -> LaneHandle:
        """What a fault may do to a lane, or to what all lanes share (SHARED).

        Raises:
            StackError: there is no such lane.
        """
        return LaneHandle(
            self.layout.lane(name),
            self.layout.secrets["" if name == SHARED else name],
            self._supervisors,
            self._relays,
            self._hosts.get(name),
            targets=AnnouncedTargets(self.layout.configuration, name),
            prometheus=next(
                (site.address for site in self.layout.sites if site.component.kind == "prometheus" and not site.lane),
                None,
            ),
            channels=self._channels,
        )

    def component_tail(self, name: str, lane: str | None = None, lines: int = 20) -> tuple[str, ...]:
        """The last lines of a component, without credentials.

        Raises:
            StackError: there is no such component.
        """
        self.layout.site(name, lane)
        return self._supervisors[name, lane].tail(lines)

    def address(self, kind: str) -> Address:
        """Where the shared component of a kind listens (`prometheus`).

        Raises:
            StackError: the policies have none.
        """
        for site in self.layout.sites:
            if site.component.kind == kind and site.lane is None:
                return site.address
        raise StackError(f"The policies declare no {kind}", hint=f"add a component of kind {kind} that all lanes share")

    async def reload_prometheus(self, files: Mapping[str, str]) -> None:
        """Writes files of the rewired copy again and has Prometheus load them; returns when it works by them.

        Until it has looked for its targets again (every 5 s), Prometheus goes on scraping at the old intervals and,
        in version 2, has no Alertmanager: what fires meanwhile is told to nobody. A target whose interval
        changed is then a new one, and the old one leaves a stale marker behind, which the second sample of the new one
        is sure to follow: until then an alert may resolve and fire anew for no reason.

        Raises:
            StackError: Prometheus did not take them.
            NotReady: Prometheus did not find its targets, or its Alertmanager, in time.
        """
        self._put(files)
        answer = await ask(self.address("prometheus"), "/-/reload", method="POST", within_seconds=_RELOAD_SECONDS)
        if not isinstance(answer, Answer) or answer.status != 200:
            raise StackError(
                "Prometheus did not load the rewired configuration",
                expected="POST /-/reload answers 200",
                seen=answer if isinstance(answer, str) else f"{answer.status}: {answer.body.strip()}",
            )
        first = {(target.pool, target.url): target.scraped_at for target in await self._targets(lambda one: one.up)}
        await self._targets(lambda one: one.up and one.scraped_at != first.get((one.pool, one.url)))

    async def wait_first_scrape(self, deadline_seconds: float = _SCRAPE_SECONDS) -> tuple[Target, ...]:
        """Waits until Prometheus has a first sample of every target and an Alertmanager to send to.

        Targets that production addresses where no component of ours is (the layout's `nowhere`) can never be up: they
        are not waited for. Those that are down when the rest is up, or at the deadline, are returned for whoever
        judges.

        Raises:
            NotReady: Prometheus did not find its targets, or its Alertmanager, in time.
        """
        return tuple(target for target in await self._targets(lambda one: one.up, deadline_seconds) if not target.up)

    async def _targets(
        self, good: Callable[[Target], bool], deadline_seconds: float = _SCRAPE_SECONDS
    ) -> tuple[Target, ...]:
        """All targets as soon as those that lead somewhere are good, or at the deadline.

        Raises:
            NotReady: Prometheus did not find what its configuration names in time.
        """
        began = time.monotonic()
        expected: Expected | None = None
        while True:
            targets: tuple[Target, ...] = ()
            try:
                expected = expected or read_configuration(await self._prometheus("status/config"))
                targets = read_targets(await self._prometheus("targets?state=active"))
                found = read_alertmanagers(await self._prometheus("alertmanagers"))
                missing = _missing(expected, targets, found)
            except NotReady as error:
                missing = error.what
            awaited = [target for target in targets if not target.is_at(self.layout.nowhere)]
            waited = time.monotonic() - began
            if missing is None and (all(map(good, awaited)) or waited >= deadline_seconds):
                return targets
            if waited >= deadline_seconds:
                raise NotReady(
                    "Prometheus did not make its first scrape in time",
                    expected="a first sample of every target, and an Alertmanager to send to",
                    seen=missing,
                    waited_seconds=waited,
                    hint="targets and Alertmanagers are found about 5 s after the start of Prometheus, not before",
                )
            await asyncio.sleep(_SCRAPE_POLL_SECONDS)

    async def _prometheus(self, path: str) -> object:
        """What Prometheus's API answers.

        Raises:
            NotReady: nothing that can be read, at this moment.
        """
        answer = await ask(self.address("prometheus"), f"/api/v1/{path}")
        if isinstance(answer, str):
            raise NotReady(answer)
        if answer.status != 200:
            raise NotReady(f"/api/v1/{path} answers {answer.status}")
        try:
            body: object = json.loads(answer.body)
        except ValueError:
            raise NotReady(f"/api/v1/{path} answers with no JSON") from None
        return body

    async def _bring_up(
        self, supervisor: Supervisor, ready: Mapping[Key, asyncio.Event], deadline_seconds: float
    ) -> None:
        site = supervisor.site
        if site.component.kind == SUBJECT:
            # An application's start takes more processor than the infrastructure's: side by side, everything is late.
            for (name, lane), event in ready.items():
                if self._supervisors[name, lane].site.component.kind != SUBJECT:
                    await event.wait()
        began = time.monotonic()
        if site.component.command:
            # A foreign server may not set SO_REUSEADDR and could then not bind beside us.
            self.layout.ports.release(site.address)
        launch = await supervisor.start()
        if site.lane in self._hosts and site.component.kind == NODE_EXPORTER:
            self._hosts[site.lane].start()
        for other, event in ready.items():
            peer = self._supervisors[other].site
            if peer.component.kind in component_of(site.component.kind).needs and peer.lane in {site.lane, None}:
                await event.wait()
        await supervisor.settle(deadline_seconds)
        self._report(supervisor, launch, time.monotonic() - began)
        ready[site.name, site.lane].set()

    def _report(self, supervisor: Supervisor, launch: Launch, seconds: float) -> None:
        site = supervisor.site
        own = "own" if site.component.command else "pypi"
        report = ComponentReport(
            name=site.name,
            version=launch.version,
            runtime=self._runtime.name,
            source=site.artifact.source if site.artifact else own,
            ready_seconds=seconds,
            of_kind=site.component.kind,
        )
        self._write(ComponentReady(report, site.lane, site.log.name))
        if site.lane is None or site.lane == self.layout.lanes[0].name:
            for difference in launch.differences:
                why = difference.why if site.lane is None else f"{difference.why}; likewise in every lane"
                self._write(Rewired(replace(difference, why=why)))

    def _put(self, files: Mapping[str, str]) -> None:
        """Writes files of the rewired copy into the sandbox; they hold the sandbox's credentials."""
        folder = self.layout.configuration
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for name, text in files.items():
                if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
                    raise StackError(f"A file of the rewired copy would be written outside of the sandbox: {name}")
                path = folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                if path.is_file() and path.read_text() == text:
                    continue  # Prometheus may just be reading it: while it is written it would name no target
                path.touch(mode=0o600)
                path.write_text(text)
        except OSError as error:
            raise StackError(f"The rewired copy cannot be written into {folder}", seen=str(error)) from error


def _missing(expected: Expected, targets: tuple[Target, ...], alertmanagers: int) -> str | None:
    """What Prometheus has yet to find of what its configuration names."""
    found = {target.pool for target in targets}
    if empty := [job for job in expected.jobs if job not in found]:
        return f"no target yet of {', '.join(empty)}"
    if old := [target for target in targets if target.interval != expected.intervals.get(target.pool, target.interval)]:
        return f"{old[0].pool} at {old[0].url} is scraped every {old[0].interval}, as before the configuration changed"
    return "no Alertmanager yet" if expected.alerting and not alertmanagers else None
