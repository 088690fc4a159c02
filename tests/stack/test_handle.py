"""What a fault may do to a lane, with real processes: crashed, frozen, and nothing frozen survives anything."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from stack_doubles import policies, server, until

from harness.errors import FaultError
from harness.model.events import ComponentExited, ComponentRestarted, Payload
from harness.model.policy import RestartPolicy, RestartWhen
from harness.stack import guardian
from harness.stack.guard import Guard
from harness.stack.layout import lay_out
from harness.stack.probe import Answer, ask
from harness.stack.runtimes.process import ProcessRuntime
from harness.stack.stack import Stack

QUICK = RestartPolicy(RestartWhen.ALWAYS, timedelta(milliseconds=300), burst=0, interval=timedelta(0))


@asynccontextmanager
async def standing(folder: Path) -> AsyncIterator[tuple[Stack, list[Payload]]]:
    """Two lanes of one small server."""
    events: list[Payload] = []
    made = policies(server("app", restart=QUICK))
    async with Guard.open(f"handle-{os.getpid()}-{folder.name}", folder / "cache") as guard:
        layout = lay_out(
            made, {}, ["a", "b"], run=guard.run, sandbox=guard.sandbox, logs=folder / "logs", cache=folder / "cache"
        )
        async with Stack(layout, ProcessRuntime(guard), events.append) as stack:
            await stack.up({})
            yield stack, events


def state(pid: int) -> str:
    """A process's state as the kernel tells it (proc(5)): `T` is stopped; empty where it has ended."""
    try:
        found = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""
    return "" if found.encode() in guardian.ENDED_STATES else found


def process(stack: Stack, lane: str = "a") -> int:
    """The pid of a lane's server now."""
    running = stack._supervisors["app", lane].running
    assert running is not None
    assert running.pid is not None
    return running.pid


async def healthy(stack: Stack, lane: str = "a") -> bool:
    """Whether a lane's server answers."""
    answer = await ask(stack.lane(lane).lane.addresses["app"], "/health", within_seconds=0.3)
    return isinstance(answer, Answer) and answer.status == 200


async def answers_again(stack: Stack) -> None:
    """Waits until the server of lane a answers."""
    give_up = time.monotonic() + 5
    while not await healthy(stack):
        assert time.monotonic() < give_up


async def test_crashed_it_is_another_process_soon(tmp_path: Path) -> None:
    """Its own restart policy brings it back as another process, after its pause; the other lane is not touched."""
    async with standing(tmp_path) as (stack, events):
        first, other = process(stack), process(stack, "b")
        begun = time.monotonic()
        await stack.lane("a").crash("app")
        assert not await healthy(stack)
        await answers_again(stack)
        assert time.monotonic() - begun >= QUICK.pause.total_seconds()
        assert process(stack) != first
        assert process(stack, "b") == other
        exits = [event for event in events if isinstance(event, ComponentExited)]
        assert [(event.lane, event.code, event.expected) for event in exits] == [("a", -9, True)]
        await until(lambda: any(isinstance(event, ComponentRestarted) and not event.held for event in events))


async def test_frozen_it_takes_connections_and_answers_nobody(tmp_path: Path) -> None:
    """The same process goes on after thawing; frozen and thawed again and again."""
    async with standing(tmp_path) as (stack, events):
        control, first = stack.lane("a"), process(stack)
        for _ in range(3):
            await control.freeze("app")
            await until(lambda: state(first) == "T")
            answer = await ask(control.lane.addresses["app"], "/health", within_seconds=0.2)
            assert isinstance(answer, str)
            assert "did not answer" in answer, "taken by the kernel, not refused"
            assert await healthy(stack, "b")
            await control.thaw("app")
            await control.thaw("app")
            await answers_again(stack)
        assert process(stack) == first
        assert not [event for event in events if isinstance(event, ComponentExited)]


async def test_frozen_it_can_be_held_down_and_let_up(tmp_path: Path) -> None:
    """Holding down kills the frozen process; what is let up is another one, and not frozen."""
    async with standing(tmp_path) as (stack, _):
        control, first = stack.lane("a"), process(stack)
        await control.freeze("app")
        await control.hold_down("app")
        assert state(first) == ""
        await control.let_up("app")
        await answers_again(stack)
        await control.thaw("app")
        assert state(process(stack)) in {"S", "R"}


async def test_a_frozen_component_does_not_outlive_its_stack(tmp_path: Path) -> None:
    """Taken down in order while frozen: gone when that returns."""
    async with standing(tmp_path) as (stack, _):
        first = process(stack)
        await stack.lane("a").freeze("app")
        await until(lambda: state(first) == "T")
    assert state(first) == ""


HARNESS = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, {doubles!r})
from test_handle import process, standing

async def main():
    async with standing(Path(sys.argv[1])) as (stack, _):
        await stack.lane("a").freeze("app")
        print(stack.layout.sites[0].run, process(stack), flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


def test_a_frozen_component_does_not_outlive_its_harness(tmp_path: Path) -> None:
    """Kill -9 of the harness ends what it froze within 2 s."""
    script = textwrap.dedent(HARNESS).format(doubles=str(Path(__file__).parent))
    harness = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert harness.stdout is not None
    run, pid = harness.stdout.readline().split()
    give_up = time.monotonic() + 5
    while state(int(pid)) != "T":
        assert time.monotonic() < give_up
        time.sleep(0.01)
    harness.kill()
    harness.wait()
    give_up = time.monotonic() + 2
    while state(int(pid)) or guardian.carriers(run):
        assert time.monotonic() < give_up, "the frozen process was left behind"
        time.sleep(0.02)
    harness.stdout.close()


@pytest.mark.parametrize("doing", ["crash", "freeze", "thaw", "reset", "half_open"])
async def test_a_component_that_is_not_there_is_told(tmp_path: Path, doing: str) -> None:
    """FaultError with what there is; a server without a relay in its path cannot be cut off."""
    async with standing(tmp_path) as (stack, _):
        with pytest.raises(FaultError, match="Nothing can be done to nobody in lane a"):
            await getattr(stack.lane("a"), doing)("nobody")
        with pytest.raises(FaultError, match="Nothing can be done to app"):
            await stack.lane("a").delay("app", timedelta(milliseconds=1))
