"""The start of a stack: everything at once, the subjects after it; a lane that does not come up may be given up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import replace

from harness.errors import StackError
from harness.model.events import ComponentReady, LaneRetired, Payload, Rewired
from harness.model.stack import ComponentReport, Lane
from harness.stack.components.registry import component_of
from harness.stack.handle import Key
from harness.stack.held_back import HeldBack
from harness.stack.host import NODE_EXPORTER, LaneHost
from harness.stack.layout import Layout
from harness.stack.relay import Relay
from harness.stack.runtimes import Launch
from harness.stack.supervisor import Supervisor

STOP_GRACE_SECONDS = 0.2

SUBJECT = "subject"
"""The kind of the application under watch, which is started when everything else stands."""

AFTER_THE_STORE = frozenset({"emitter", "elasticsearch-exporter"})
"""Kinds that begin once the store of logs stands: who writes logs by itself does so from its first instant on, and its
exporter waits for 10 s where it does not find it at once."""

STORE = "elasticsearch"
"""The kind of the store of logs: what is shipped before it knows its template makes an index of another kind."""

PROMETHEUS = "prometheus"
"""The kind of what watches the lanes, and looks at nothing before it is known which of them stand."""


class Start:
    """One start of a stack.

    Args:
        layout: where everything stands.
        runtime: the name of how components are run.
        supervisors: keep the components.
        relays: takes the relays that are opened.
        hosts: the lanes' machines.
        write: takes the events of the start.
    """

    def __init__(
        self,
        layout: Layout,
        runtime: str,
        supervisors: Mapping[Key, Supervisor],
        relays: dict[Key, Relay],
        hosts: Mapping[str, LaneHost],
        write: Callable[[Payload], object],
    ) -> None:
        self._layout = layout
        self._runtime = runtime
        self._supervisors = supervisors
        self._relays = relays
        self._hosts = hosts
        self._write = write
        self._ready = {key: asyncio.Event() for key in supervisors}
        self._launches: dict[Key, Launch] = {}
        self._watching = {
            key: HeldBack(one)
            for key, one in supervisors.items()
            if one.site.component.kind == PROMETHEUS and one.site.lane is None
        }

    async def bring_up(self, deadline_seconds: float, given_up: dict[str, StackError] | None) -> None:
        """Starts everything; returns when all of it is ready, or given up. What watches lanes looks at nothing yet.

        Args:
            deadline_seconds: how long each component may take.
            given_up: takes the lanes that did not come up, with the reason; None where such a lane ends the start.

        Raises:
            StackError: something did not come up that all lanes share, or in every lane.
        """
        await self._open_relays(self._layout.shared)
        lanes = self._layout.lanes
        await _together(
            [
                self._bring_place_up(None, deadline_seconds),
                *(self._bring_lane_up(lane, deadline_seconds, given_up) for lane in lanes),
            ]
        )
        standing = [lane.name for lane in lanes if lane.name not in (given_up or {})]
        if given_up and not standing:
            raise next(iter(given_up.values()))
        self._tell_differences(*standing[:1])

    async def let_look(self, *, anew: bool) -> None:
        """Lets what watches the lanes look at them; begun anew it has the configuration that is there now.

        Raises:
            StackError: it could not be started again.
        """
        await _together(one.begin_anew() if anew else one.let_go() for one in self._watching.values())

    async def _bring_lane_up(self, lane: Lane, deadline_seconds: float, given_up: dict[str, StackError] | None) -> None:
        """Brings a lane up, or gives it up where that does not end the start."""
        try:
            await self._open_relays(lane)
            await self._bring_place_up(lane.name, deadline_seconds)
        except StackError as error:
            if given_up is None:
                raise
            given_up[lane.name] = error
            self._write(LaneRetired(lane.name, str(error), came_up=False))
            await self._take_lane_down(lane.name)
            for (_, place), event in self._ready.items():
                if place == lane.name:
                    event.set()  # nobody waits for it any more

    async def _open_relays(self, lane: Lane) -> None:
        """Opens what stands in the paths of a lane.

        Raises:
            AddressTaken: somebody else listens there.
        """
        place = None if lane is self._layout.shared else lane.name
        for name, behind in lane.behind.items():
            self._relays[name, place] = await Relay.open(behind, listen=lane.addresses[name])

    async def _bring_place_up(self, place: str | None, deadline_seconds: float) -> None:
        """Brings up what stands in one lane, or what all lanes share."""
        await _together(
            self._bring_up(supervisor, deadline_seconds)
            for (_, lane), supervisor in self._supervisors.items()
            if lane == place
        )

    async def _take_lane_down(self, name: str) -> None:
        """Ends everything of one lane and gives back what it listened at."""
        ends = [one.stop(STOP_GRACE_SECONDS) for (_, lane), one in self._supervisors.items() if lane == name]
        ends += [relay.close() for (_, lane), relay in self._relays.items() if lane == name]
        if name in self._hosts:
            ends.append(self._hosts[name].close())
        for failed in await asyncio.gather(*ends, return_exceptions=True):
            if failed is not None:
                raise failed

    async def _bring_up(self, supervisor: Supervisor, deadline_seconds: float) -> None:
        site = supervisor.site
        key = site.name, site.lane
        if site.component.kind == SUBJECT:
            # An application's start takes more processor than the infrastructure's: side by side, everything is late.
            for other, event in self._ready.items():
                before = component_of(self._supervisors[other].site.component.kind)
                if before.kind != SUBJECT and SUBJECT not in before.needs:
                    await event.wait()
        if site.component.kind in AFTER_THE_STORE:
            for other, event in self._ready.items():
                if self._supervisors[other].site.component.kind == STORE:
                    await event.wait()
        began = time.monotonic()
        if site.component.command:
            # A foreign server may not set SO_REUSEADDR and could then not bind beside us.
            self._layout.ports.release(site.address)
        if key in self._watching:
            self._watching[key].started()
        launch = self._launches[key] = await supervisor.start()
        if site.lane is not None and site.lane in self._hosts and site.component.kind == NODE_EXPORTER:
            self._hosts[site.lane].start()
        for other, event in self._ready.items():
            peer = self._supervisors[other].site
            if peer.component.kind in component_of(site.component.kind).needs and peer.lane in {site.lane, None}:
                await event.wait()
        await supervisor.settle(deadline_seconds)
        self._report(supervisor, launch, time.monotonic() - began)
        self._ready[key].set()
        if key in self._watching and not all(event.is_set() for (_, lane), event in self._ready.items() if lane):
            await self._watching[key].hold()

    def _report(self, supervisor: Supervisor, launch: Launch, seconds: float) -> None:
        site = supervisor.site
        own = "own" if site.component.command else "pypi"
        report = ComponentReport(
            name=site.name,
            version=launch.version,
            runtime=self._runtime,
            source=site.artifact.source if site.artifact else own,
            ready_seconds=seconds,
            of_kind=site.component.kind,
        )
        self._write(ComponentReady(report, site.lane, site.log.name))

    def _tell_differences(self, first: str | None = None) -> None:
        """Writes how components differ from production: those that all lanes share, and those of the first lane."""
        for (_, lane), launch in self._launches.items():
            if lane is None or lane == first:
                for difference in launch.differences:
                    why = difference.why if lane is None else f"{difference.why}; likewise in every lane"
                    self._write(Rewired(replace(difference, why=why)))


async def _together(doing: Iterable[Coroutine[object, object, None]]) -> None:
    """Does all of this side by side; the first that fails ends the others, and is raised when they have ended."""
    tasks = [asyncio.create_task(one) for one in doing]
    if not tasks:
        return
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
