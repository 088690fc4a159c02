"""Keeps a component as its unit says: systemd's restart settings, interpreted (systemd.service(5), systemd.unit(5))."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from enum import Enum

from harness.errors import StackError
from harness.model.events import ComponentExited, ComponentRestarted, Payload, Progress
from harness.model.policy import RestartPolicy, RestartWhen
from harness.stack.components import Component
from harness.stack.readiness import told, until_ready
from harness.stack.runtimes import Launch, Running, Runtime
from harness.stack.site import Site

CLEAN_SIGNALS = frozenset({signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGPIPE})
"""Ended by these, a service ended cleanly (systemd.service(5), `SuccessExitStatus=`)."""


def restarts_after(when: RestartWhen, code: int) -> bool:
    """Whether a unit's `Restart=` starts it again after this exit code (negative: the signal that ended it).

    Source: the table "Exit causes and the effect of the Restart= settings" in systemd.service(5).
    """
    clean = code == 0 or -code in CLEAN_SIGNALS
    signalled = code < 0 and not clean
    return {
        RestartWhen.NO: False,
        RestartWhen.ALWAYS: True,
        RestartWhen.ON_SUCCESS: clean,
        RestartWhen.ON_FAILURE: not clean,
        RestartWhen.ON_ABNORMAL: signalled,
        RestartWhen.ON_ABORT: signalled,
    }[when]


class StartLimit:
    """`StartLimitBurst=` starts within `StartLimitIntervalSec=`; either at zero switches it off (systemd.unit(5))."""

    def __init__(self, burst: int, interval: timedelta) -> None:
        self._burst = burst
        self._interval = interval.total_seconds()
        self._starts: deque[float] = deque()

    def allows(self, now: float) -> bool:
        """Whether one more start is allowed at this moment; counts it if so."""
        if self._burst <= 0 or self._interval <= 0:
            return True
        while self._starts and now - self._starts[0] >= self._interval:
            self._starts.popleft()
        if len(self._starts) >= self._burst:
            return False
        self._starts.append(now)
        return True


class _Wanted(Enum):
    """What a component should do."""

    RUN = "run"
    HELD = "be held down"
    FAILED = "stay down, its restart policy is exhausted"
    STOP = "stop"


class Supervisor:
    """Keeps one component.

    Args:
        site: where it stands.
        component: its kind.
        runtime: how it is run.
        write: takes the events of its life.
    """

    def __init__(self, site: Site, component: Component, runtime: Runtime, write: Callable[[Payload], object]) -> None:
        self.site = site
        self._component = component
        self._runtime = runtime
        self._write = write
        self._policy = site.component.unit.restart if site.component.unit else RestartPolicy()
        self._limit = StartLimit(self._policy.burst, self._policy.interval)
        self._wanted = _Wanted.RUN
        self._news = asyncio.Condition()
        self._starting = asyncio.Lock()
        self._launch: Launch | None = None
        self._running: Running | None = None
        self._noted: Running | None = None
        self._crashed: Running | None = None
        self._frozen: Running | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._down_since: float | None = None
        self._was_held = False

    @property
    def alive(self) -> bool:
        """Whether its process runs."""
        return self._running is not None and self._running.alive

    @property
    def running(self) -> Running | None:
        """What runs now, or ran last."""
        return self._running

    async def start(self) -> Launch:
        """Prepares and starts it for the first time; returns as soon as it exists.

        Raises:
            StackError: it cannot be prepared or started.
        """
        self.site.data.mkdir(parents=True, exist_ok=True)
        await self._component.prepare(self.site)
        self._launch = self._component.launch(self.site)
        self._limit.allows(time.monotonic())
        self._running = await self._runtime.start(self._launch)
        return self._launch

    async def settle(self, deadline_seconds: float) -> None:
        """Waits until it is ready for the first time, and keeps it from then on.

        Raises:
            ComponentDied: it ended first; a component that cannot start once is not started again.
            NotReady: it was not ready at the deadline.
        """
        assert self._running is not None
        await until_ready(self._component, self.site, self._running, deadline_seconds)
        self._keeping = asyncio.create_task(self._keep(), name=f"supervisor of {self.site.title}")

    async def hold_down(self) -> None:
        """Ends it as `kill -9` does and keeps it down; returns when it is gone and that is written."""
        if self._wanted is _Wanted.STOP:
            return
        self._was_held = True
        await self._want(_Wanted.HELD)
        async with self._starting:  # a life that is just beginning is ended too
            running = self._running
        if running is None:
            return
        await self._kill(running)

    async def let_up(self) -> None:
        """Starts it where it was held down, and keeps it again; returns when its process exists.

        Raises:
            StackError: it cannot be started.
        """
        if self._wanted is not _Wanted.HELD:
            return
        await self._want(_Wanted.RUN)
        async with self._news:
            await self._news.wait_for(lambda: self.alive or self._wanted is not _Wanted.RUN)
        if not self.alive and self._is(_Wanted.FAILED):
            raise StackError(f"{self.site.title} could not be started again", output=self.tail())

    async def change_unit(self, argv: tuple[str, ...]) -> None:
        """Ends it, and starts and keeps it by a unit of another command line.

        Raises:
            StackError: it has no unit, or cannot be started by this one.
        """
        component = self.site.component
        if component.unit is None:
            raise StackError(f"{self.site.title} has no unit that could be changed")
        site = replace(self.site, component=replace(component, unit=replace(component.unit, argv=argv)))
        launch = self._component.launch(site)
        await self.hold_down()
        self._launch = launch
        await self.let_up()

    async def crash(self) -> None:
        """Ends it as `kill -9` does and leaves it to its restart policy; returns when it is gone and that is written.

        Raises:
            StackError: it does not run, so there is nothing to crash.
        """
        running = await self._living("crashed")
        self._crashed = running
        await self._kill(running)

    async def freeze(self) -> None:
        """Stops it where it is (SIGSTOP, which no program can ignore: signal(7)).

        Its connections stay open and nobody answers them. Whatever ends it ends it all the same: SIGKILL, which is
        what holding down, a dead harness and the guard use, needs no cooperation, and stopping continues it first.

        Raises:
            StackError: it does not run, so there is nothing to freeze.
        """
        running = await self._living("frozen")
        self._frozen = running
        await running.signal(signal.SIGSTOP)

    async def thaw(self) -> None:
        """Lets it go on where it is frozen (SIGCONT); nothing if it is not, or if that life is over."""
        running, self._frozen = self._frozen, None
        if running is not None:
            await running.signal(signal.SIGCONT)

    async def stop(self, grace_seconds: float) -> None:
        """Ends it for good; may be called twice, and before it was started."""
        await self._want(_Wanted.STOP)
        async with self._starting:
            running = self._running
        if running is not None:
            await running.stop(grace_seconds)
        if self._keeping is not None:
            await self._keeping

    def tail(self, lines: int = 20) -> tuple[str, ...]:
        """Its last lines, without credentials."""
        return told(self.site, self._running, lines) if self._running is not None else ()

    async def _living(self, done: str) -> Running:
        """The present life, the one that is just beginning included.

        Raises:
            StackError: there is none.
        """
        async with self._starting:
            running = self._running
        if running is None or not running.alive:
            raise StackError(
                f"{self.site.title} cannot be {done}: it does not run",
                expected="a process that runs",
                seen=f"it is to {self._wanted.value}",
                output=self.tail(),
            )
        return running

    async def _kill(self, running: Running) -> None:
        """Kills one life; returns when its end is written."""
        await running.kill()
        if self._keeping is not None:
            async with self._news:
                await self._news.wait_for(lambda: self._noted is running)

    def _is(self, wanted: _Wanted) -> bool:
        return self._wanted is wanted

    async def _want(self, wanted: _Wanted) -> None:
        async with self._news:
            self._wanted = wanted
            self._news.notify_all()

    async def _keep(self) -> None:
        """One round a life: waits for its end, and starts it again where the policy says so."""
        while True:
            running = self._running
            assert running is not None
            code = await running.wait()
            self._down_since = self._down_since or time.monotonic()
            self._write(
                ComponentExited(
                    name=self.site.name,
                    lane=self.site.lane,
                    code=code,
                    expected=self._wanted in {_Wanted.HELD, _Wanted.STOP} or self._was_crashed(running, code),
                    output=self.tail(),
                )
            )
            async with self._news:
                self._noted = running
                self._news.notify_all()
            if not await self._next_life(code):
                return

    def _was_crashed(self, running: Running, code: int) -> bool:
        """Whether a fault ended this life: one that ended by itself just before is not excused."""
        return running is self._crashed and code == -signal.SIGKILL

    async def _next_life(self, code: int) -> bool:
        """Starts it again when it may; False when it is stopped for good."""
        if self._wanted is _Wanted.RUN:
            await self._consider_restart(code)
        while True:
            async with self._news:
                await self._news.wait_for(lambda: self._wanted in {_Wanted.RUN, _Wanted.STOP})
            if self._wanted is _Wanted.STOP:
                return False
            if await self._start_again():
                return True

    async def _consider_restart(self, code: int) -> None:
        """Waits out `RestartSec=` unless something else is wanted meanwhile; decides whether it stays down."""
        if not restarts_after(self._policy.when, code):
            await self._give_up(f"its unit says Restart={self._policy.when}")
            return
        try:
            async with asyncio.timeout(self._policy.pause.total_seconds()), self._news:
                await self._news.wait_for(lambda: self._wanted is not _Wanted.RUN)
        except TimeoutError:
            if not self._limit.allows(time.monotonic()):
                seconds = self._policy.interval.total_seconds()
                await self._give_up(f"{self._policy.burst} starts within {seconds:g} s are its limit")

    async def _give_up(self, why: str) -> None:
        self._write(Progress(f"{self.site.title} stays down: {why}"))
        if self._wanted is _Wanted.RUN:
            await self._want(_Wanted.FAILED)

    async def _start_again(self) -> bool:
        """One more life, watched until it is ready or over; False where there is none."""
        assert self._launch is not None
        async with self._starting:
            if self._wanted is not _Wanted.RUN:
                return False
            try:
                running = await self._runtime.start(self._launch)
            except StackError as error:
                await self._give_up(str(error))
                return False
            async with self._news:
                self._running = running
                self._news.notify_all()
        with suppress(StackError):  # it ended again: the next round tells how
            await until_ready(self._component, self.site, running)
            outage = time.monotonic() - (self._down_since or time.monotonic())
            self._write(ComponentRestarted(self.site.name, self.site.lane, outage, held=self._was_held))
            self._down_since, self._was_held = None, False
        return True
