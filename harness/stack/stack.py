"""The stack: everything that the policies name, running in a sandbox, kept as its units say."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import PurePosixPath
from types import TracebackType
from typing import Self

from harness.errors import NotReady, StackError
from harness.model.events import Payload
from harness.model.sinks import Channels
from harness.model.stack import SHARED, Address, Lane
from harness.stack.announced import AnnouncedTargets
from harness.stack.components.registry import component_of
from harness.stack.handle import Key, LaneHandle
from harness.stack.host import LaneHost, hosts_of
from harness.stack.layout import Layout
from harness.stack.probe import Answer, ask
from harness.stack.relay import Relay
from harness.stack.runtimes import Runtime
from harness.stack.scrape import Expected, Target, read_alertmanagers, read_configuration, read_targets
from harness.stack.start import STOP_GRACE_SECONDS, Start
from harness.stack.supervisor import Supervisor

READY_SECONDS = 30.0
_RELOAD_SECONDS = 10.0
_SCRAPE_SECONDS = 15.0
_SCRAPE_POLL_SECONDS = 0.05

Again = Callable[[], Mapping[str, str]]
"""Makes the rewired copy anew, for the lanes that stand (`Stack.lanes`)."""


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
        self._given_up: dict[str, StackError] = {}
        self._down = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.down()

    @property
    def lanes(self) -> tuple[Lane, ...]:
        """The lanes that were not given up."""
        return tuple(lane for lane in self.layout.lanes if lane.name not in self._given_up)

    @property
    def given_up(self) -> Mapping[str, StackError]:
        """Why a lane did not come up, by its name."""
        return self._given_up

    async def up(
        self, files: Mapping[str, str], *, again: Again | None = None, deadline_seconds: float = READY_SECONDS
    ) -> None:
        """Writes the rewired copy, starts everything at once, the subjects after it; returns when all of it is ready.

        Each component is given `ComponentReady` when it stands; its differences from production are written as
        `Rewired` (of a lane's components once: the others differ in port and folder alone).

        A lane of which something does not come up is given up where `again` is there: `LaneRetired` says why, nothing
        of it runs on, and Prometheus, which has looked at nothing until then, begins with the copy that `again` makes.

        Args:
            files: the rewired copy by path.
            again: makes the copy anew where a lane was given up; without it such a lane ends the start.
            deadline_seconds: how long each component may take to be ready.

        Raises:
            StackError: something could not be started (`ComponentDied`, `NotReady`, `AddressTaken` say what) that all
                lanes share, or in every lane; what stands already is taken down by `down`.
        """
        self._put(files)
        start = Start(self.layout, self._runtime.name, self._supervisors, self._relays, self._hosts, self._write)
        await start.bring_up(deadline_seconds, self._given_up if again is not None else None)
        if again is not None and self._given_up:
            self._put(again())
        await start.let_look(anew=bool(self._given_up))

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
            StackError: there is no such lane, or it was given up.
        """
        if name in self._given_up:
            raise StackError(f"Lane {name} was given up: {self._given_up[name].what}")
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
