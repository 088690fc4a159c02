"""Restart policies, interpreted; held down and let up."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import pytest
from stack_doubles import component, until

from harness.errors import ComponentDied, NotReady, StackError
from harness.model.events import ComponentExited, ComponentRestarted, Payload, Progress
from harness.model.policy import RestartPolicy, RestartWhen
from harness.model.stack import Address
from harness.stack.runtimes import Launch
from harness.stack.site import Site
from harness.stack.supervisor import StartLimit, Supervisor, restarts_after

P = TypeVar("P")


class Life:
    """One life of a component that ends when the test says so."""

    def __init__(self, launch: Launch) -> None:
        self.launch = launch
        self.pid = None
        self.heard: list[int] = []
        self._end: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    @property
    def alive(self) -> bool:
        """Until the test ends it."""
        return not self._end.done()

    def end(self, code: int) -> None:
        """Ends it."""
        if self.alive:
            self._end.set_result(code)

    async def wait(self) -> int:
        """Its end."""
        return await asyncio.shield(self._end)

    async def kill(self) -> None:
        """As signal 9 does."""
        self.end(-signal.SIGKILL)

    async def stop(self, grace_seconds: float = 0.3) -> None:  # noqa: ARG002 - it ends at once
        """As signal 15 does."""
        self.end(-signal.SIGTERM)

    async def signal(self, number: int) -> None:
        """Remembers it."""
        self.heard.append(number)

    def tail(self, lines: int = 20) -> Sequence[str]:
        """One line with a secret in it."""
        return ["said the password s3cret"][-lines:]


class Lives:
    """A runtime that remembers every life; `broken` makes a start fail, `slow` makes it take a moment."""

    name = "doubles"

    def __init__(self) -> None:
        self.started: list[Life] = []
        self.at: list[float] = []
        self.broken = False
        self.slow = False
        self.beginning = False

    async def start(self, launch: Launch) -> Life:
        """One more life."""
        self.beginning = self.slow
        if self.slow:
            await asyncio.sleep(0.05)
        if self.broken:
            raise StackError("no more processes")
        self.at.append(time.monotonic())
        self.started.append(Life(launch))
        return self.started[-1]

    async def close(self) -> None:
        """Nothing is left."""


class Kind:
    """A component that is ready when the test says so."""

    kind = "double"
    artifact = None
    needs: tuple[str, ...] = ()
    relayed = False

    def __init__(self) -> None:
        self.missing: str | None = None

    def credentials(self) -> dict[str, str]:
        """None."""
        return {}

    async def prepare(self, site: Site) -> None:
        """Nothing."""

    def launch(self, site: Site) -> Launch:
        """A program that is never run."""
        assert site.component.unit is not None
        return Launch("double", "a", site.component.unit.argv, {}, site.data, site.log, site.address)

    async def ready(self, site: Site) -> str | None:  # noqa: ARG002 - the test says
        """What the test says."""
        return self.missing


class Stage:
    """A supervisor over doubles."""

    def __init__(self, folder: Path, policy: RestartPolicy) -> None:
        self.events: list[Payload] = []
        self.runtime = Lives()
        self.kind = Kind()
        site = Site(
            run="run-1",
            component=component("double", "double", "/bin/double", restart=policy),
            lane="a",
            address=Address("127.0.0.1", 9),
            data=folder / "data",
            log=folder / "log",
            cache=folder,
            project=folder,
            secrets={"mysql_password": "s3cret"},
        )
        self.supervisor = Supervisor(site, self.kind, self.runtime, self.events.append)

    async def up(self) -> None:
        """Starts it and waits until it is ready."""
        await self.supervisor.start()
        await self.supervisor.settle(5)

    def crash(self, code: int = 1) -> None:
        """Ends the present life."""
        self.runtime.started[-1].end(code)

    async def until(self, kind: type[P], count: int = 1) -> list[P]:
        """Waits for this many events of a kind."""
        await until(lambda: len(self.told(kind)) >= count)
        return self.told(kind)

    def told(self, kind: type[P]) -> list[P]:
        """The events of a kind so far."""
        return [event for event in list[object](self.events) if isinstance(event, kind)]


Make = Callable[[RestartPolicy], Stage]
ALWAYS = RestartPolicy(RestartWhen.ALWAYS, timedelta(milliseconds=10), burst=3, interval=timedelta(seconds=30))


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Make]:
    """Makes a supervisor under a policy; stops it at the end."""
    stages: list[Stage] = []

    def make(policy: RestartPolicy) -> Stage:
        stages.append(Stage(tmp_path, policy))
        return stages[-1]

    yield make
    for one in stages:
        await one.supervisor.stop(0.1)


@pytest.mark.parametrize(
    ("when", "clean_exit", "clean_signal", "unclean_exit", "unclean_signal"),
    [
        ("no", False, False, False, False),
        ("always", True, True, True, True),
        ("on-success", True, True, False, False),
        ("on-failure", False, False, True, True),
        ("on-abnormal", False, False, False, True),
        ("on-abort", False, False, False, True),
    ],
)
def test_restart_follows_systemds_table(
    when: str, clean_exit: bool, clean_signal: bool, unclean_exit: bool, unclean_signal: bool
) -> None:
    """Each cell of the table in systemd.service(5) that a process can reach."""
    seen = [restarts_after(RestartWhen(when), code) for code in (0, -signal.SIGTERM, 1, -signal.SIGKILL)]
    assert seen == [clean_exit, clean_signal, unclean_exit, unclean_signal]


def test_the_start_limit_counts_starts_in_its_interval() -> None:
    """So many starts in the interval and no more; an old start counts no longer."""
    limit = StartLimit(2, timedelta(seconds=10))
    assert [limit.allows(now) for now in (0, 1, 2, 9.9)] == [True, True, False, False]
    assert [limit.allows(now) for now in (10, 10.5, 11)] == [True, False, True]


@pytest.mark.parametrize("limit", [StartLimit(0, timedelta(seconds=10)), StartLimit(1, timedelta(0))])
def test_a_start_limit_can_be_switched_off(limit: StartLimit) -> None:
    """Zero in either setting means that there is no limit."""
    assert all(limit.allows(1.0) for _ in range(20))


async def test_a_crash_is_restarted_after_the_pause(stage: Make) -> None:
    """After RestartSec the component runs again; the ledger has its exit and the outage until it was ready."""
    policy = RestartPolicy(RestartWhen.ON_FAILURE, timedelta(milliseconds=60))
    made = stage(policy)
    await made.up()
    crashed = time.monotonic()
    made.crash()
    [restarted] = await made.until(ComponentRestarted)
    assert made.runtime.at[1] - crashed >= 0.06
    assert 0.06 <= restarted.outage_seconds < 2
    [exited] = await made.until(ComponentExited)
    assert (exited.name, exited.lane, exited.code, exited.expected) == ("double", "a", 1, False)


async def test_credentials_are_not_told(stage: Make) -> None:
    """The last lines of a component reach the ledger without the lane's passwords."""
    made = stage(ALWAYS)
    await made.up()
    made.crash()
    [exited] = await made.until(ComponentExited)
    assert exited.output == ("said the password ***",)


async def test_the_outage_ends_when_it_works_again(stage: Make) -> None:
    """A restarted component that is not ready yet is still out; the outage spans failed lives."""
    made = stage(RestartPolicy(RestartWhen.ALWAYS, timedelta(milliseconds=60)))
    await made.up()
    made.kind.missing = "not yet"
    made.crash()
    await made.until(ComponentExited)
    noted = time.monotonic()
    await until(lambda: len(made.runtime.started) == 2)
    made.crash()
    await made.until(ComponentExited, 2)
    assert not made.told(ComponentRestarted)
    made.kind.missing = None
    ready = time.monotonic()
    [restarted] = await made.until(ComponentRestarted)
    assert restarted.outage_seconds >= ready - noted


async def test_a_unit_without_restart_stays_down(stage: Make) -> None:
    """Restart=no is honoured, and said."""
    made = stage(RestartPolicy(RestartWhen.NO, timedelta(0)))
    await made.up()
    made.crash()
    [note] = await made.until(Progress)
    assert "Restart=no" in note.text
    assert len(made.runtime.started) == 1


async def test_a_crash_loop_ends_at_the_start_limit(stage: Make) -> None:
    """After StartLimitBurst starts within the interval, the first one included, the component stays down."""
    made = stage(ALWAYS)
    await made.up()
    for count in (1, 2):
        made.crash()
        await made.until(ComponentRestarted, count)
    made.crash()
    [note] = await made.until(Progress)
    assert "3 starts within 30 s" in note.text
    assert len(made.runtime.started) == 3


async def test_held_down_it_stays_down_until_let_up(stage: Make) -> None:
    """A held component is killed, told as expected, not restarted; let up it runs and is kept again."""
    made = stage(ALWAYS)
    await made.up()
    await made.supervisor.hold_down()
    assert not made.supervisor.alive
    [exited] = await made.until(ComponentExited)
    assert (exited.code, exited.expected) == (-signal.SIGKILL, True)
    await asyncio.sleep(0.05)
    assert len(made.runtime.started) == 1, "its pause of 10 ms is long over"
    await made.supervisor.hold_down()
    await made.supervisor.let_up()
    assert len(made.runtime.started) == 2
    await made.until(ComponentRestarted)
    made.crash()
    await made.until(ComponentRestarted, 2)


async def test_a_changed_unit_is_what_it_is_started_by(stage: Make) -> None:
    """It ends, told as expected, and its lives are of the new command line until it is changed back."""
    made = stage(ALWAYS)
    await made.up()
    first = made.runtime.started[0].launch.argv
    await made.supervisor.change_unit((*first, "--other"))
    [exited] = await made.until(ComponentExited)
    assert exited.expected
    await made.until(ComponentRestarted)
    made.crash()
    await made.until(ComponentRestarted, 2)
    await made.supervisor.change_unit(first)
    await made.until(ComponentRestarted, 3)
    assert [life.launch.argv for life in made.runtime.started] == [
        first,
        (*first, "--other"),
        (*first, "--other"),
        first,
    ]


async def test_holding_down_during_the_pause_wins(stage: Make) -> None:
    """A component that waits for its restart when it is held down is not started."""
    made = stage(RestartPolicy(RestartWhen.ALWAYS, timedelta(milliseconds=80)))
    await made.up()
    made.crash()
    await made.until(ComponentExited)
    await made.supervisor.hold_down()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.09):
            await made.until(ComponentRestarted)
    assert len(made.runtime.started) == 1
    await made.supervisor.let_up()
    assert len(made.runtime.started) == 2


async def test_letting_up_what_was_not_held_does_nothing(stage: Make) -> None:
    """Undoing a fault twice is harmless."""
    made = stage(ALWAYS)
    await made.up()
    await made.supervisor.let_up()
    await made.supervisor.hold_down()
    await made.supervisor.let_up()
    await made.supervisor.let_up()
    assert len(made.runtime.started) == 2


async def test_faults_do_not_use_up_the_start_limit(stage: Make) -> None:
    """However often a fault kills it, the component's own crashes have the whole burst."""
    made = stage(ALWAYS)
    await made.up()
    for count in range(1, 9):
        await made.supervisor.hold_down()
        await made.supervisor.let_up()
        await made.until(ComponentRestarted, count)
    assert made.supervisor.alive


async def test_a_fault_undone_at_once_is_still_a_fault(stage: Make) -> None:
    """The exit that a fault caused is told as expected although the component was let up in the same breath."""
    made = stage(ALWAYS)
    await made.up()
    await made.supervisor.hold_down()
    await made.supervisor.let_up()
    assert [event.expected for event in await made.until(ComponentExited)] == [True]


async def test_a_life_that_is_just_beginning_is_held_down_too(stage: Make) -> None:
    """Held down at the very moment of a restart, the component is gone when holding down returns."""
    made = stage(RestartPolicy(RestartWhen.ALWAYS, timedelta(0)))
    await made.up()
    made.runtime.slow = True
    made.crash()
    await until(lambda: made.runtime.beginning)
    await made.supervisor.hold_down()
    assert len(made.runtime.started) == 2
    assert not any(life.alive for life in made.runtime.started)


async def test_what_cannot_be_let_up_is_an_error(stage: Make) -> None:
    """A component that cannot be started again is reported to who asked, not left waiting."""
    made = stage(ALWAYS)
    await made.up()
    await made.supervisor.hold_down()
    made.runtime.broken = True
    with pytest.raises(StackError, match="double of lane a could not be started again"):
        async with asyncio.timeout(5):
            await made.supervisor.let_up()


async def test_a_crash_of_a_fault_s_is_expected_and_left_to_the_unit(stage: Make) -> None:
    """Killed and told as expected; after its own RestartSec it runs again, which nobody let it do; then it is kept."""
    made = stage(RestartPolicy(RestartWhen.ALWAYS, timedelta(milliseconds=60)))
    await made.up()
    crashed = time.monotonic()
    await made.supervisor.crash()
    assert not made.supervisor.alive
    [exited] = made.told(ComponentExited)
    assert (exited.code, exited.expected) == (-signal.SIGKILL, True)
    [restarted] = await made.until(ComponentRestarted)
    assert not restarted.held
    assert made.runtime.at[1] - crashed >= 0.06
    made.crash()
    assert [event.expected for event in await made.until(ComponentExited, 2)] == [True, False]


async def test_a_crash_counts_as_the_unit_counts(stage: Make) -> None:
    """A unit that gives up after three starts gives up on a component that a fault crashed too."""
    made = stage(ALWAYS)
    await made.up()
    for count in (1, 2):
        await made.supervisor.crash()
        await made.until(ComponentRestarted, count)
    await made.supervisor.crash()
    [note] = await made.until(Progress)
    assert "3 starts within 30 s" in note.text


async def test_only_the_life_that_was_crashed_is_excused(stage: Make) -> None:
    """One that ended by itself in the same breath was not our doing, and the run must hear of it."""
    made = stage(ALWAYS)
    await made.up()
    life, kill = made.runtime.started[0], made.runtime.started[0].kill

    async def too_late() -> None:
        life.end(1)
        await kill()

    life.kill = too_late  # type: ignore[method-assign]
    await made.supervisor.crash()
    assert [(event.code, event.expected) for event in made.told(ComponentExited)] == [(1, False)]


async def test_a_life_that_is_just_beginning_is_crashed_too(stage: Make) -> None:
    """Crashed at the very moment of a restart, that life ends, and one more is begun."""
    made = stage(RestartPolicy(RestartWhen.ALWAYS, timedelta(0)))
    await made.up()
    made.runtime.slow = True
    made.crash()
    await until(lambda: made.runtime.beginning)
    await made.supervisor.crash()
    assert [event.expected for event in made.told(ComponentExited)] == [False, True]
    await until(lambda: len(made.runtime.started) == 3)


@pytest.mark.parametrize("doing", [Supervisor.crash, Supervisor.freeze], ids=["crashed", "frozen"])
async def test_what_does_not_run_cannot_be_crashed_or_frozen(
    stage: Make, doing: Callable[[Supervisor], Awaitable[None]]
) -> None:
    """Held down already: a sentence, and it stays held down."""
    made = stage(ALWAYS)
    await made.up()
    await made.supervisor.hold_down()
    with pytest.raises(StackError, match=r"double of lane a cannot be (crashed|frozen): it does not run") as told:
        await doing(made.supervisor)
    assert told.value.seen == "it is to be held down"
    assert len(made.runtime.started) == 1


async def test_frozen_and_thawed(stage: Make) -> None:
    """SIGSTOP, then SIGCONT once: thawing what is not frozen does nothing."""
    made = stage(ALWAYS)
    await made.up()
    await made.supervisor.thaw()
    await made.supervisor.freeze()
    assert made.runtime.started[0].heard == [signal.SIGSTOP]
    await made.supervisor.thaw()
    await made.supervisor.thaw()
    assert made.runtime.started[0].heard == [signal.SIGSTOP, signal.SIGCONT]
    assert made.supervisor.alive


async def test_a_later_life_is_not_frozen(stage: Make) -> None:
    """A frozen component that is crashed is started again, and thawing does not reach into the new life."""
    made = stage(ALWAYS)
    await made.up()
    await made.supervisor.freeze()
    await made.supervisor.crash()
    await made.until(ComponentRestarted)
    await made.supervisor.thaw()
    assert made.runtime.started[1].heard == []


async def test_stopping_is_expected_and_final(stage: Make) -> None:
    """A stopped component is told as expected and not restarted, whatever its policy; stopping twice is harmless."""
    made = stage(ALWAYS)
    await made.up()
    await made.supervisor.stop(0.1)
    await made.supervisor.stop(0.1)
    await made.supervisor.hold_down()
    assert [(event.code, event.expected) for event in await made.until(ComponentExited)] == [(-signal.SIGTERM, True)]
    assert len(made.runtime.started) == 1


async def test_dying_at_the_first_start_is_an_error(stage: Make) -> None:
    """A component that cannot start once is not restarted in the hope of better luck: its last lines say why."""
    made = stage(ALWAYS)
    made.kind.missing = "not yet"
    await made.supervisor.start()
    made.crash(2)
    with pytest.raises(ComponentDied, match="ended with code 2") as caught:
        await made.supervisor.settle(5)
    assert caught.value.output == ("said the password ***",)


async def test_never_becoming_ready_is_an_error(stage: Make) -> None:
    """At the deadline the error says what was still missing and how long was waited."""
    made = stage(ALWAYS)
    made.kind.missing = "mysql_up is 0"
    await made.supervisor.start()
    with pytest.raises(NotReady) as caught:
        await made.supervisor.settle(0.05)
    assert caught.value.seen == "mysql_up is 0"
    assert caught.value.waited_seconds is not None
    assert 0.05 <= caught.value.waited_seconds < 2
