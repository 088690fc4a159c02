"""The start of a stack in which one lane does not come up: it is given up by name, and everything else stands."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from stack_doubles import policies, server, until

from harness.errors import ComponentDied, NotReady, StackError
from harness.model.events import ComponentExited, ComponentReady, ComponentRestarted, LaneRetired, Payload, Rewired
from harness.model.policy import ComponentPolicy
from harness.stack import guardian, held_back, start
from harness.stack.components.prometheus import database_of
from harness.stack.guard import Guard
from harness.stack.layout import lay_out
from harness.stack.ports import who_listens
from harness.stack.probe import Answer, ask
from harness.stack.runtimes.process import ProcessRuntime
from harness.stack.stack import Stack

LANES = ("a", "b")
ONLY_IN_A = """
import os, sys, time
if os.environ["ENVIRONMENT"] == "a":
    print("no such " + "table", flush=True)
    WHAT
"""


@asynccontextmanager
async def laid_out(
    folder: Path, *components: ComponentPolicy, lanes: tuple[str, ...] = LANES
) -> AsyncIterator[tuple[Stack, list[Payload]]]:
    """A stack that is not up yet, with what it writes; down at the end."""
    async with Guard.open(f"test-{time.monotonic_ns()}", folder) as guard:
        layout = lay_out(
            policies(*components, root=folder / "policies"),
            {},
            lanes,
            run=guard.run,
            sandbox=guard.sandbox,
            logs=folder / "logs",
            cache=folder,
        )
        events: list[Payload] = []
        async with Stack(layout, ProcessRuntime(guard), events.append) as stack:
            yield stack, events
        assert not guardian.carriers(guard.run)


def failing(name: str, what: str, *, per_lane: bool = True) -> ComponentPolicy:
    """A server that does `what` in lane `a` instead of serving."""
    made = server(name, per_lane=per_lane)
    interpreter, flag, program, *words = made.command
    broken = ONLY_IN_A.replace("WHAT", what) + program
    return ComponentPolicy(
        made.name, made.kind, made.addresses, made.unit, made.per_lane, made.span, (interpreter, flag, broken, *words)
    )


def retired(events: list[Payload]) -> list[LaneRetired]:
    """The lanes that were given up."""
    return [event for event in events if isinstance(event, LaneRetired)]


class Copies:
    """Makes the copy again, and remembers for which lanes."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.made: list[tuple[str, ...]] = []

    def __call__(self) -> Mapping[str, str]:
        """One more copy."""
        self.made.append(tuple(lane.name for lane in self.stack.lanes))
        return {"lanes.txt": " ".join(self.made[-1])}


async def test_a_lane_that_dies_is_given_up_and_the_other_stands(tmp_path: Path) -> None:
    """Who died is named with its last lines; nothing of its lane runs on; the copy is made for the lane that stands."""
    components = (failing("broken", "sys.exit(3)"), server("well"), server("common", per_lane=False))
    async with laid_out(tmp_path, *components) as (stack, events):
        again = Copies(stack)
        await stack.up({"lanes.txt": "a b"}, again=again)
        (gone,) = retired(events)
        assert (gone.lane, gone.track, gone.came_up) == ("a", "", False)
        assert gone.why.startswith("broken of lane a ended with code 3 before it was ready")
        assert "  | no such table" in gone.why
        assert [lane.name for lane in stack.lanes] == ["b"]
        assert list(stack.given_up) == ["a"]
        assert again.made == [("b",)]
        assert (stack.layout.configuration / "lanes.txt").read_text() == "b"
        for site in stack.layout.sites:
            if site.lane == "a":
                assert who_listens(site.address) is None
            else:
                assert await ask(site.address, "/health") == Answer(200, "")
        assert {(one.report.name, one.lane) for one in events if isinstance(one, ComponentReady)} >= {
            ("broken", "b"),
            ("well", "b"),
            ("common", None),
        }
        assert all(one.expected for one in events if isinstance(one, ComponentExited))
        with pytest.raises(StackError, match="Lane a was given up: broken of lane a ended with code 3"):
            stack.lane("a")
        assert stack.lane("b").lane.name == "b"


async def test_all_lanes_that_stand_need_no_second_copy(tmp_path: Path) -> None:
    """The twin: nothing is given up, and nothing is made again."""
    async with laid_out(tmp_path, server("well")) as (stack, events):
        again = Copies(stack)
        await stack.up({}, again=again)
        assert (again.made, retired(events), dict(stack.given_up)) == ([], [], {})
        assert [lane.name for lane in stack.lanes] == ["a", "b"]


async def test_a_lane_that_is_never_ready_is_given_up(tmp_path: Path) -> None:
    """At the deadline, with how long was waited; what stood of the lane is ended."""
    async with laid_out(tmp_path, failing("slow", "time.sleep(600)"), server("well")) as (stack, events):
        await stack.up({}, again=Copies(stack), deadline_seconds=3)
        (gone,) = retired(events)
        assert gone.why.startswith("slow of lane a did not become ready")
        assert isinstance(stack.given_up["a"], NotReady)
        assert who_listens(stack.layout.site("well", "a").address) is None


async def test_a_port_that_a_stranger_took_costs_its_lane(tmp_path: Path) -> None:
    """The lane is given up with who listens there."""
    async with laid_out(tmp_path, server("app")) as (stack, events):
        address = stack.layout.site("app", "a").address
        with socket.create_server((address.host, address.port)):
            await stack.up({}, again=Copies(stack))
            (gone,) = retired(events)
        assert "app of lane a cannot listen" in gone.why
        assert "listens there" in gone.why


async def test_no_lane_that_stands_ends_the_start(tmp_path: Path) -> None:
    """Every lane was given up: there is nothing to go on with, and the first reason is the error."""
    async with laid_out(tmp_path, server("broken", "dies")) as (stack, events):
        again = Copies(stack)
        with pytest.raises(ComponentDied, match=r"broken of lane [ab] ended with code 1"):
            await stack.up({}, again=again)
        assert {one.lane for one in retired(events)} == {"a", "b"}
        assert again.made == []


async def test_what_all_lanes_share_is_never_given_up(tmp_path: Path) -> None:
    """A shared component that does not come up ends the start, though lanes may be spared."""
    async with laid_out(tmp_path, server("app"), server("common", "dies", per_lane=False)) as (stack, events):
        with pytest.raises(ComponentDied, match="common ended with code 1"):
            await stack.up({}, again=Copies(stack))
        assert retired(events) == []


async def test_differences_are_told_of_a_lane_that_stands(tmp_path: Path) -> None:
    """They are told once, although the first lane, of which they are told else, was given up."""
    async with laid_out(tmp_path, failing("broken", "sys.exit(3)")) as (stack, events):
        await stack.up({}, again=Copies(stack))
        assert len([one for one in events if isinstance(one, Rewired)]) == 1


class TestWhoWatches:
    """What watches the lanes looks at nothing until it is known which of them stand. Small servers stand in for it."""

    @pytest.fixture(autouse=True)
    def _stand_in(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A shared subject takes the part of Prometheus, and waits for nobody."""
        monkeypatch.setattr(start, "PROMETHEUS", "subject")
        monkeypatch.setattr(start, "SUBJECT", "nobody")

    @staticmethod
    def states(stack: Stack) -> str:
        """The state of its process as the kernel names it: `T` where it is stopped."""
        running = stack._supervisors["watcher", None].running
        assert running is not None
        return Path(f"/proc/{running.pid}/stat").read_text().rpartition(")")[2].split()[0]

    async def up(self, stack: Stack, release: Path) -> tuple[asyncio.Task[None], str]:
        """Starts a stack of which lane `a` waits for a file; the task, and the watcher's state meanwhile."""
        task = asyncio.create_task(stack.up({}, again=Copies(stack)))
        watcher = stack._supervisors["watcher", None]
        await until(lambda: watcher.alive and self.states(stack) == "T", within_seconds=30)
        state = self.states(stack)
        release.touch()
        return task, state

    async def test_it_is_stopped_until_the_slowest_lane_stands(self, tmp_path: Path) -> None:
        """It goes on where it was: the same process, and nothing was lost."""
        release = tmp_path / "release"
        slow = failing("slow", f"\n    while not os.path.exists({str(release)!r}): time.sleep(0.02)")
        async with laid_out(tmp_path, slow, server("watcher", per_lane=False)) as (stack, events):
            task, state = await self.up(stack, release)
            assert state == "T"
            await task
            assert await ask(stack.layout.site("watcher").address, "/health") == Answer(200, "")
            assert [one for one in events if isinstance(one, ComponentRestarted | ComponentExited)] == []

    async def test_it_begins_anew_where_it_may_have_looked(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Stopped too late it may have seen lanes that were not there yet: all that it has seen is removed."""
        monkeypatch.setattr(held_back, "BLIND_SECONDS", 0.0)
        release = tmp_path / "release"
        slow = failing("slow", f"\n    while not os.path.exists({str(release)!r}): time.sleep(0.02)")
        async with laid_out(tmp_path, slow, server("watcher", per_lane=False)) as (stack, events):
            seen = database_of(stack.layout.site("watcher").data)
            task, _ = await self.up(stack, release)
            seen.mkdir()
            await task
            assert not seen.exists()
            assert await ask(stack.layout.site("watcher").address, "/health") == Answer(200, "")
            assert [one.expected for one in events if isinstance(one, ComponentExited)] == [True]

    async def test_it_begins_anew_where_a_lane_was_given_up(self, tmp_path: Path) -> None:
        """Its configuration named the lane: it is started with the one that does not."""
        release = tmp_path / "release"
        what = f"\n    while not os.path.exists({str(release)!r}): time.sleep(0.02)\n    sys.exit(3)"
        async with laid_out(tmp_path, failing("broken", what), server("watcher", per_lane=False)) as (stack, events):
            task, _ = await self.up(stack, release)
            await task
            assert [one.lane for one in retired(events)] == ["a"]
            gone = [one for one in events if isinstance(one, ComponentExited) and one.name == "watcher"]
            assert [one.expected for one in gone] == [True]
            assert await ask(stack.layout.site("watcher").address, "/health") == Answer(200, "")
