"""The part of a run that follows records: who announces them, what became of them, whether their stores keep them.

With `run.py` and `rehearsal.py` it sees every room. Where the policies ship and keep no records it does nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Final

from harness.drive.episodes import play_episodes
from harness.drive.faults.registry import FAULTS
from harness.drive.filling import fill_up
from harness.drive.finish import settled
from harness.drive.keeping import Sizes
from harness.drive.keeping.stage import artifacts_to_keep, keep
from harness.drive.records import Way
from harness.drive.surroundings import Surroundings
from harness.model.audit import AuditEvent, FaultWindow, RecordsNotAudited
from harness.model.episodes import EpisodeBegan, EpisodeEnded, EpisodePlan
from harness.model.events import Event, FaultApplying, Healed, Payload, Progress
from harness.model.plan import Reach
from harness.model.policy import LOG_KINDS, RECORD_KINDS, Policies
from harness.model.records import MANIFESTS, RecordSchema
from harness.model.searching import SearchEvent
from harness.model.series import SeriesCompared
from harness.model.stack import SHARED, Address, Artifact
from harness.observe.records.archiving import try_archive
from harness.observe.records.of_clickhouse import audit_events
from harness.observe.records.of_store import audit_store
from harness.observe.records.searching import try_searches
from harness.observe.records.tailing import try_tail
from harness.observe.series.compare import STORE as SERIES_STORE
from harness.observe.series.compare import Ends, compare_series
from harness.stack.components.registry import component_of
from harness.stack.guard import Guard
from harness.stack.layout import artifacts_needed
from harness.stack.provision.fetch import fetch_what_can
from harness.stack.runtimes import Runtime
from harness.stack.stack import Stack

_LOGS: Final = "logs/"
_EVENTS: Final = "events/"
_EVENT_KINDS: Final = ("event-collector", "clickhouse")
_DATABASE_FLAG: Final = "--clickhouse.database"
_WRITERS: Final[Mapping[str, str]] = {"nginx-access": "nginx", "system": "emitter"}
"""The kinds of component that write a source's records; those of the others are the subject's."""

AT_NIGHT: Final = 1_000_000
"""How many records of logs and events a nightly run accounts for."""

_FILL_SECONDS: Final = 900.0
_WIDE: Final = frozenset(fault.id for fault in FAULTS if fault.reach is not Reach.LANE)


@dataclass(frozen=True, slots=True)
class Provided:
    """What can be started: `policies` are those whose components can all be had.

    `artifacts` are by the provisioner's name; `why_not` says of every one that cannot be had why not.
    """

    policies: Policies
    artifacts: Mapping[str, Artifact]
    why_not: Mapping[str, str]


async def provide(policies: Policies, cache: Path, say: Callable[[str], None]) -> Provided:
    """Brings what these policies need; what only serves records may be lacking, and the run goes on without it.

    Raises:
        HarnessError: something that alerts depend on could not be brought.
    """
    needed = artifacts_needed(policies.without(RECORD_KINDS))
    follows = any(one.kind in RECORD_KINDS for one in policies.components)
    wished = (*artifacts_needed(policies), *artifacts_to_keep(policies)) if follows else ()
    artifacts, why_not = await fetch_what_can(needed, [name for name in wished if name not in needed], cache, say)
    lacking = {one.kind for one in policies.components if component_of(one.kind).artifact in why_not}
    if lacking & {"elasticsearch", "filebeat"}:
        lacking |= LOG_KINDS  # the one is of no use without the other
    return Provided(policies.without(lacking), artifacts, why_not)


class Bookkeeping:
    """The records of one run.

    Args:
        run: the run's id.
        folder: the run's folder.
        policies: what the run was asked to rehearse.
        provided: what of it can be started.
        write: takes the events.
        seed: what the negative control draws by.
    """

    def __init__(
        self,
        run: str,
        folder: Path,
        policies: Policies,
        provided: Provided,
        write: Callable[[Payload], None],
        seed: int,
    ) -> None:
        self._run = run
        self._folder = folder
        self._asked = policies
        self._provided = provided
        self._write = write
        self._seed = seed
        self._since = time.time()
        self._windows: dict[str, FaultWindow] = {}

    @property
    def manifests(self) -> Path | None:
        """Where records are announced; None where nobody asks for them."""
        return self._folder / MANIFESTS if self._shipped else None

    @property
    def _shipped(self) -> bool:
        return {"filebeat", "clickhouse"} & {one.kind for one in self._provided.policies.components} != set()

    def note(self, event: Event) -> None:
        """Takes every event of the run: when which fault was in place."""
        match event.payload:
            case FaultApplying(injection=name, fault=fault, lane=lane):
                reached = "" if fault in _WIDE else lane
                self._windows[name] = FaultWindow(fault, reached, event.wall, float("inf"))
            case Healed(injection=name) as healed if name in self._windows:
                known = self._windows[name]
                self._windows[name] = FaultWindow(known.fault, known.lane, known.from_at, healed.healed_at)
            case EpisodeBegan(episode=name, fault=fault):
                self._windows[name] = FaultWindow(fault, "", event.wall, float("inf"))
            case EpisodeEnded(episode=name) if name in self._windows:
                self._windows[name] = replace(self._windows[name], until_at=event.wall)
            case _:
                pass

    @asynccontextmanager
    async def playing(
        self, stack: Stack, episodes: Sequence[EpisodePlan], world: Surroundings, stop: asyncio.Event
    ) -> AsyncIterator[asyncio.Task[None]]:
        """Plays episodes while the block goes on; whatever is in place is undone before it is left.

        Yields the task, which ends with the last of them.
        """
        task = asyncio.create_task(play_episodes(episodes, lambda: self._way(stack), world, stop=stop), name="episodes")
        try:
            yield task
        finally:
            task.cancel()
            await settled({task})

    def _way(self, stack: Stack) -> Way:
        policies = self._provided.policies
        shared = {one.kind: one.name for one in reversed(policies.components) if not one.per_lane}
        emitter = shared.get("emitter")
        pattern = policies.logs.search.pattern if policies.logs and policies.logs.search else ""
        folder = stack.layout.site(emitter).data / "logs" if emitter else None
        return Way(stack.lane(SHARED), shared, folder, pattern)

    def doors(self, stack: Stack) -> tuple[Mapping[str, Address], tuple[Path, str] | None]:
        """Where the load knocks in every lane: at nginx, where one stands; there its requests are announced, too.

        Nowhere where there is no application; with the folder of manifests and the run's id where it announces.
        """
        components = self._provided.policies.components
        front = next((one for one in components if one.kind == "nginx" and one.per_lane), None)
        door = front or next((one for one in components if one.kind == "subject"), None)
        if door is None:
            return {}, None
        announcing = (self.manifests, self._run) if front is not None and self.manifests is not None else None
        return {lane.name: lane.addresses[door.name] for lane in stack.lanes}, announcing

    async def reckon(self, stack: Stack, runtime: Runtime, guard: Guard, cache: Path, sizes: Sizes) -> None:
        """Holds every record against its store, and beside it asks stores of their own whether they keep and restore.

        Raises:
            HarnessError: what kept it from its end.
        """
        if sizes is Sizes.FULL:
            await self._fill(stack)
        keeping = asyncio.create_task(self._keep(runtime, guard, cache, sizes), name="keeping")
        try:
            await self.audit(stack)
            await keeping
        finally:
            keeping.cancel()
            await settled({keeping})

    async def _fill(self, stack: Stack) -> None:
        """Has as many records written as a night must account for, where somebody ships them and somebody writes."""
        kinds = {one.kind for one in self._provided.policies.components}
        if self.manifests is not None and {"emitter", "filebeat", "elasticsearch"} <= kinds:
            told = partial(_progress, self._write)
            await fill_up(self._way(stack), self.manifests, AT_NIGHT, within_seconds=_FILL_SECONDS, say=told)

    async def audit(self, stack: Stack) -> None:
        """Holds every record that was announced until now against its store; what cannot be is told with its reason."""
        asked, ended_at = {one.kind for one in self._asked.components}, time.time()
        for writer in self._provided.policies.components:
            if writer.kind == "emitter":
                await stack.lane(SHARED).freeze(writer.name)  # who still writes can never be found whole
        if "filebeat" in asked:
            until = time.time()
            for told in await self._logs(stack):
                self._write(told)
            async for tried in self._searches(stack, until):
                self._write(tried)
        if "clickhouse" in asked:
            for told in await self._events(stack):
                self._write(told)
        async for compared in self._series(stack, ended_at):
            self._write(compared)

    async def _logs(self, stack: Stack) -> tuple[AuditEvent, ...]:
        policies = self._provided.policies
        if policies.logs is None or policies.logs.search is None:
            return (RecordsNotAudited("the policies ship no logs into a store that can be searched"),)
        kinds = {one.kind for one in policies.components}
        if "elasticsearch" not in kinds:
            return (RecordsNotAudited("; ".join(self._provided.why_not.values()) or "no store of logs is declared"),)
        store = next(one.name for one in policies.components if one.kind == "elasticsearch")
        assert self.manifests is not None
        return await audit_store(
            stack.layout.site(store).address,
            _sources(policies, kinds),
            self.manifests,
            index_pattern=policies.logs.search.pattern,
            since=self._since,
            until=time.time(),
            run=self._run,
            windows=tuple(self._windows.values()),
            seed=self._seed,
        )

    async def _searches(self, stack: Stack, until: float) -> AsyncIterator[SearchEvent]:
        """The operator's searches, the archive and the live tail, where there is a store to search."""
        policies, manifests = self._provided.policies, self.manifests
        store = next((one.name for one in policies.components if one.kind == "elasticsearch"), None)
        if store is None or manifests is None:
            return
        address, windows = stack.layout.site(store).address, tuple(self._windows.values())
        for search in await try_searches(
            address, policies, manifests, run=self._run, since=self._since, until=until, windows=windows
        ):
            yield search
        for archive in await try_archive(address, policies, self._folder, run=self._run):
            yield archive
        for tail in await try_tail(address, policies, manifests, run=self._run):
            yield tail

    async def _events(self, stack: Stack) -> tuple[AuditEvent, ...]:
        policies = self._provided.policies
        kinds = {one.kind for one in policies.components}
        missing = [kind for kind in _EVENT_KINDS if kind not in kinds]
        if missing:
            why = self._provided.why_not.get("chdb") if "clickhouse" in missing else None
            return (RecordsNotAudited(f"events: {why or f'no {missing[0]} is declared'}"),)
        schemas = tuple(schema for schema in policies.records if schema.file.startswith(_EVENTS))
        if not schemas or self.manifests is None:
            return (RecordsNotAudited("events: the policies say of no event what it looks like"),)
        store = next(one.name for one in policies.components if one.kind == "clickhouse")
        return await audit_events(
            stack.layout.site(store).address,
            schemas,
            self.manifests,
            database=_database(policies),
            since=self._since,
            until=time.time(),
            run=self._run,
            windows=tuple(self._windows.values()),
            seed=self._seed,
        )

    def _series(self, stack: Stack, until: float) -> AsyncIterator[SeriesCompared]:
        """The classes of time series, where an InfluxDB is asked for."""
        shared = {one.kind: one.name for one in self._provided.policies.components if not one.per_lane}
        return compare_series(
            self._asked,
            Ends(
                {kind: stack.layout.site(name).address for kind, name in shared.items()},
                self._provided.why_not.get(SERIES_STORE, ""),
                _database(self._asked),
                self.manifests,
                self._run,
                self._since,
                until,
                self._seed,
            ),
        )

    async def _keep(self, runtime: Runtime, guard: Guard, cache: Path, sizes: Sizes) -> None:
        if not any(one.kind in RECORD_KINDS for one in self._asked.components):
            return
        await keep(
            self._asked,
            self._provided.artifacts,
            self._folder,
            runtime,
            guard,
            self._write,
            cache=cache,
            sizes=sizes,
        )


def _progress(write: Callable[[Payload], None], text: str) -> None:
    write(Progress(text))


def _sources(policies: Policies, kinds: set[str]) -> tuple[RecordSchema, ...]:
    """The schemas of the logs whose writers are there."""
    return tuple(
        schema
        for schema in policies.records
        if schema.file.startswith(_LOGS) and _WRITERS.get(schema.source, "subject") in kinds
    )


def _database(policies: Policies) -> str:
    """Where the collector of these policies keeps events, as its unit says."""
    unit = next((one.unit for one in policies.components if one.kind == _EVENT_KINDS[0]), None)
    argv = () if unit is None else unit.argv
    for flag, following in pairwise((*argv, "")):
        name, _, value = flag.partition("=")
        if name == _DATABASE_FLAG:
            return value or following
    return "community_platform"
