"""A small real way of records, from their writer into their store, with everything that is announced in manifests."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from log_stack import folder_with_search, loaded

from harness.drive.journal import Journal
from harness.drive.records import Way
from harness.drive.surroundings import Surroundings
from harness.errors import FaultError
from harness.model.audit import AuditEvent, FaultWindow
from harness.model.episodes import EpisodeBegan, EpisodeEnded
from harness.model.events import Event, Payload
from harness.model.records import RecordSchema
from harness.model.stack import SHARED, Artifact
from harness.observe.records.of_store import audit_store
from harness.policy.rewire.rewiring import rewire
from harness.stack.guard import Guard
from harness.stack.layout import lay_out
from harness.stack.runtimes.process import ProcessRuntime
from harness.stack.stack import Stack

EVENTS = ("user", "business", "security", "performance")


@dataclasses.dataclass
class Flow:
    """A way of records that stands, and what was told of it: `told` are the events with their instants."""

    stack: Stack
    folder: Path
    told: list[tuple[float, Payload]]
    world: Surroundings
    policies_kinds: Mapping[str, str]
    began: float
    run: str
    schemas: tuple[RecordSchema, ...]

    def way(self) -> Way:
        """The control of an episode."""
        emitter = self.policies_kinds.get("emitter")
        folder = self.stack.layout.site(emitter).data / "logs" if emitter else None
        return Way(self.stack.lane(SHARED), self.policies_kinds, folder, "community-platform-*")

    def windows(self) -> tuple[FaultWindow, ...]:
        """The episodes, each from its beginning until records flowed again."""
        windows: dict[str, FaultWindow] = {}
        for at, payload in self.told:
            match payload:
                case EpisodeBegan(episode=name, fault=fault):
                    windows[name] = FaultWindow(fault, "", at, float("inf"))
                case EpisodeEnded(episode=name) if name in windows:
                    windows[name] = dataclasses.replace(windows[name], until_at=at)
                case _:
                    pass
        return tuple(windows.values())

    async def audited(self) -> tuple[AuditEvent, ...]:
        """What became of the records of logs, by episode."""
        return await audit_store(
            self.stack.layout.site("elasticsearch").address,
            self.schemas,
            self.folder / "manifests",
            index_pattern="community-platform-*",
            since=self.began,
            until=time.time(),
            run=self.run,
            windows=self.windows(),
        )

    def ledger(self, *more: Payload) -> list[Event]:
        """What was told as a ledger has it, and more."""
        told = [*self.told, *((time.time(), payload) for payload in more)]
        return [Event(number, at, at, payload.kind, payload) for number, (at, payload) in enumerate(told, start=1)]


async def _shut(stack: Stack) -> None:
    """Shuts the path to the store as soon as there is one.

    The emitter writes while the store is still being set up: an index that the shipper makes before the template is
    there has no mark of the run and no `event.ingested`, and that is not what is tried here.
    """
    while True:
        try:
            await stack.lane(SHARED).refuse("elasticsearch")
        except FaultError:
            await asyncio.sleep(0.01)
        else:
            return


async def _nobody(*_: object) -> None:
    """Nobody asks for hops here."""


@asynccontextmanager
async def flowing(
    folder: Path,
    artifacts: Mapping[str, Artifact],
    edit: Callable[[Path], None] = lambda _: None,
    kinds: Collection[str] = ("elasticsearch", "filebeat", "emitter"),
) -> AsyncIterator[Flow]:
    """The emitter, Filebeat and the store, or other kinds of component, up; `edit` changes the policies before."""
    root = folder_with_search(folder)
    edit(root)
    policies = loaded(root)
    parts = tuple(one for one in policies.components if one.kind in kinds)
    policies = dataclasses.replace(policies, components=parts)
    told: list[tuple[float, Payload]] = []
    async with Guard.open(f"test-{time.monotonic_ns()}", folder) as guard:
        manifests = folder / "manifests"
        manifests.mkdir()
        layout = lay_out(
            policies,
            artifacts,
            (),
            run=guard.run,
            sandbox=guard.sandbox,
            logs=folder / "logs",
            cache=folder,
            manifests=manifests,
        )
        began = time.time()
        async with Stack(layout, ProcessRuntime(guard), lambda event: told.append((time.time(), event))) as stack:
            shut = asyncio.create_task(_shut(stack)) if "elasticsearch" in kinds else None
            await stack.up(rewire(policies, layout.sandbox(())).files, deadline_seconds=120)
            if shut is not None:
                await shut
                await stack.lane(SHARED).restore("elasticsearch")
            with Journal.open(folder / "undo.jsonl") as journal:
                world = Surroundings(
                    faults={},
                    lane_control=stack.lane,
                    ears=None,  # type: ignore[arg-type] # nobody listens to alerts here
                    write=lambda event: told.append((time.time(), event)),
                    journal=journal,
                    read_hops=_nobody,
                    quiet=None,  # type: ignore[arg-type]
                )
                names = {one.kind: one.name for one in parts}
                sources = ("system",) if "emitter" in kinds else EVENTS
                schemas = tuple(one for one in policies.records if one.source in sources)
                yield Flow(stack, folder, told, world, names, began, guard.run, schemas)
