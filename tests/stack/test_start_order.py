"""Who writes logs by itself is started once the store of logs stands; parts that do nothing play a stack."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from stack_doubles import component, until

from harness.errors import StackError
from harness.model.events import ComponentReady, Payload
from harness.model.stack import SHARED, Address, Lane
from harness.stack import start
from harness.stack.handle import Key
from harness.stack.layout import Layout
from harness.stack.runtimes import Launch
from harness.stack.site import Site
from harness.stack.supervisor import Supervisor

NOWHERE = Address("127.0.0.1", 9)


class Part:
    """The supervisor of a component that is ready when it is told; `happened` takes what is done to it."""

    def __init__(self, kind: str, happened: list[str], why_not: str = "") -> None:
        made = component(f"the-{kind}", kind, per_lane=False)
        self.site = Site("run", made, None, NOWHERE, Path("data"), Path("part.log"), Path("cache"), Path("project"))
        self.stands = asyncio.Event()
        self._happened = happened
        self._why_not = why_not

    async def start(self) -> Launch:
        """It begins."""
        self._happened.append(f"{self.site.component.kind} begins")
        return Launch(self.site.name, None, ("true",), {}, Path("data"), Path("part.log"), NOWHERE)

    async def settle(self, deadline_seconds: float) -> None:  # noqa: ARG002 - the test says when
        """It stands, or does not come up."""
        await self.stands.wait()
        if self._why_not:
            raise StackError(self._why_not)
        self._happened.append(f"{self.site.component.kind} stands")


class Stage:
    """A start of such parts; all but the store stand at once."""

    def __init__(self, *kinds: str, why_not: str = "") -> None:
        self.happened: list[str] = []
        self.told: list[Payload] = []
        self.parts = {kind: Part(kind, self.happened, why_not if kind == "elasticsearch" else "") for kind in kinds}
        for kind, part in self.parts.items():
            if kind != "elasticsearch":
                part.stands.set()

    async def goes_up(self) -> None:
        """The start, to its end."""
        layout = SimpleNamespace(shared=Lane(SHARED, {}, {}), lanes=())
        parts = {(part.site.name, None): part for part in self.parts.values()}
        supervisors = cast("Mapping[Key, Supervisor]", parts)
        one = start.Start(cast("Layout", layout), "process", supervisors, {}, {}, self.told.append)
        await one.bring_up(5, None)

    async def before_the_store_stands(self) -> list[str]:
        """What has happened when everything has had its turn and only the store is missing; then it stands."""
        task = asyncio.create_task(self.goes_up())
        await until(lambda: "influxdb stands" in self.happened)
        await asyncio.sleep(0.05)
        before = list(self.happened)
        self.parts["elasticsearch"].stands.set()
        await task
        return before


async def test_who_writes_by_itself_begins_once_the_store_stands() -> None:
    """Until the store knows its template nothing is written that could be shipped; everything else begins at once."""
    stage = Stage("emitter", "influxdb", "elasticsearch")
    before = await stage.before_the_store_stands()
    assert sorted(before) == ["elasticsearch begins", "influxdb begins", "influxdb stands"]
    assert stage.happened[3:] == ["elasticsearch stands", "emitter begins", "emitter stands"]
    assert {one.report.of_kind for one in stage.told if isinstance(one, ComponentReady)} == set(stage.parts)


async def test_its_exporter_begins_once_the_store_stands() -> None:
    """One that does not find its store at once waits for 10 s, and everybody with it."""
    stage = Stage("elasticsearch-exporter", "influxdb", "elasticsearch")
    before = await stage.before_the_store_stands()
    assert "elasticsearch-exporter begins" not in before
    assert stage.happened[-3:] == [
        "elasticsearch stands",
        "elasticsearch-exporter begins",
        "elasticsearch-exporter stands",
    ]


async def test_who_waits_for_nobody_writes_too_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """The twin: without the rule the emitter writes while the store is still being told, and this test sees it."""
    monkeypatch.setattr(start, "STORE", "nobody")
    assert "emitter begins" in await Stage("emitter", "influxdb", "elasticsearch").before_the_store_stands()


async def test_where_there_is_no_store_nobody_waits_for_one() -> None:
    """Logs that nobody keeps are written at once."""
    stage = Stage("emitter", "influxdb")
    await asyncio.wait_for(stage.goes_up(), 5)
    assert "emitter stands" in stage.happened


async def test_a_store_that_does_not_come_up_lets_nobody_write() -> None:
    """The start ends with its reason, and the emitter was never begun."""
    stage = Stage("emitter", "elasticsearch", why_not="it took no template")
    stage.parts["elasticsearch"].stands.set()
    with pytest.raises(StackError, match="it took no template"):
        await stage.goes_up()
    assert stage.happened == ["elasticsearch begins"]
