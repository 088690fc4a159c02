"""What a run does before its records are counted: who writes by itself stands still, or nothing can be found whole."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import orjson
import pytest
from aiohttp import web
from fake_store import FakeStore, serving
from record_sets import DOCUMENT, RUN, announced, record, stored, write_manifest

from harness import bookkeeping
from harness.bookkeeping import Bookkeeping, Provided
from harness.drive.faults.registry import FAULTS
from harness.model.audit import Fates, RecordsAudited
from harness.model.events import Payload
from harness.model.policy import Policies
from harness.model.records import MANIFESTS, RecordSchema, line_of
from harness.model.stack import SHARED, Address
from harness.observe.channels.registry import CHANNELS
from harness.policy.parse.policies import load
from harness.stack.components.registry import COMPONENTS
from harness.stack.stack import Stack

SHIPPED = Path(__file__).parents[2] / "policies"
LOGS = {"filebeat", "elasticsearch", "emitter"}
SYSTEM = RecordSchema("system", "logs/system.schema.json", dict(DOCUMENT))
WRITTEN = 10


def shipped(kinds: set[str]) -> Policies:
    """The shipped policies with components of these kinds alone, and one schema."""
    loaded = load(
        SHIPPED,
        faults={fault.id for fault in FAULTS},
        channels={channel.name: channel.receiver_key for channel in CHANNELS},
        components={one.kind for one in COMPONENTS},
    ).policies
    return replace(loaded, components=tuple(one for one in loaded.components if one.kind in kinds), records=(SYSTEM,))


def books(folder: Path, policies: Policies, told: list[Payload]) -> Bookkeeping:
    """The records of a run of these policies, all of whose components are there."""
    return Bookkeeping(RUN, folder, policies, Provided(policies, {}, {}), told.append, 1)


def stack(address: Address, freeze: Callable[[str], Awaitable[object]]) -> Stack:
    """A stack whose one store listens there, and in whose shared lane something can be frozen."""

    def lane(name: str) -> SimpleNamespace:
        assert name == SHARED
        return SimpleNamespace(freeze=freeze)

    layout = SimpleNamespace(site=lambda _name: SimpleNamespace(address=address))
    return cast("Stack", SimpleNamespace(layout=layout, lane=lane))


async def nothing(*_: object, **__: object) -> tuple[()]:
    """Nothing is tried beside."""
    return ()


@pytest.mark.parametrize(
    ("kinds", "order"),
    [
        (
            LOGS | {"event-collector", "clickhouse"},
            ["freeze", "audit_store", "try_searches", "try_archive", "try_tail", "audit_events"],
        ),
        (LOGS, ["freeze", "audit_store", "try_searches", "try_archive", "try_tail"]),
        (LOGS - {"emitter"}, ["audit_store", "try_searches", "try_archive", "try_tail"]),
    ],
    ids=["logs and events", "logs", "nobody writes by itself"],
)
async def test_who_writes_by_itself_stands_still_before_anything_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kinds: set[str], order: list[str]
) -> None:
    """The emitter is frozen, by its name in the policies, and then stores are asked; where none writes none is."""
    happened = []

    async def freeze(component: str) -> None:
        assert component == "system"
        happened.append("freeze")

    def noting(name: str) -> Callable[..., Awaitable[tuple[()]]]:
        async def note(*_: object, **__: object) -> tuple[()]:
            happened.append(name)
            return ()

        return note

    for name in ("audit_store", "audit_events", "try_searches", "try_archive", "try_tail"):
        monkeypatch.setattr(bookkeeping, name, noting(name))
    policies = shipped(kinds)
    policies = replace(policies, records=(SYSTEM, replace(SYSTEM, source="user", file="events/user.schema.json")))
    await books(tmp_path, policies, []).audit(stack(Address("127.0.0.1", 9), freeze))
    assert happened == order


@dataclass
class Behind(FakeStore):
    """A store that shows the last record at the third look; a writer that is not frozen writes on at every look."""

    manifest: Path = field(default_factory=Path)
    last: dict[str, Any] = field(default_factory=dict)
    frozen: bool = False
    looks: int = 0

    async def _answer(self, request: web.Request) -> web.Response:
        if request.path.endswith(("/_count", "*/_search")):
            self.looks += 1
            if not self.frozen:
                self.records = [*self.records, self.written()]
            if self.looks == 3:
                self.records = [*self.records, self.last]
        return await super()._answer(request)

    def written(self) -> dict[str, Any]:
        """One more record, announced and shipped at once."""
        one = record(WRITTEN + self.looks, at=time.time())
        with self.manifest.open("ab") as file:
            file.write(line_of(announced(one, time.time(), source="system")))
        made: dict[str, Any] = orjson.loads(stored(one, time.time()))
        return made

    async def freeze(self, _component: str) -> None:
        """Nobody writes any more."""
        self.frozen = True


async def counted(folder: Path, monkeypatch: pytest.MonkeyPatch, *, frozen: bool) -> Fates:
    """What a run counts of ten records, of which the last is on its way; a freeze may be without effect."""
    for name in ("try_searches", "try_archive", "try_tail"):
        monkeypatch.setattr(bookkeeping, name, nothing)
    told: list[Payload] = []
    run = books(folder, shipped(LOGS), told)
    records = [record(number, at=time.time()) for number in range(1, WRITTEN + 1)]
    manifest = write_manifest(
        folder / MANIFESTS,
        [announced(one, time.time(), source="system") for one in records],
        "system.shared.1",
    )
    *there, last = [orjson.loads(stored(one, time.time())) for one in records]
    store = Behind(there, manifest=manifest, last=last)
    async with serving(store) as address:
        await run.audit(stack(address, store.freeze if frozen else nothing))
    [audit] = [one for one in told if isinstance(one, RecordsAudited)]
    return audit.fates


async def test_what_is_on_its_way_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody writes any more: as many as were announced means that every one is there."""
    assert await counted(tmp_path, monkeypatch, frozen=True) == Fates(written=WRITTEN, in_time=WRITTEN)


async def test_who_writes_on_hides_what_is_on_its_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The twin: later records fill the count, nobody waits for the one that is missing, and it is not found."""
    fates = await counted(tmp_path, monkeypatch, frozen=False)
    assert (fates.unverified, fates.written - fates.collected) == (1, 1)
