"""The conductor: carries a timetable out, one task a track of a lane, and never leaves a fault behind.

    wait for the start -> no alert is left -> phase -> apply -> prove (t0) -> firing heard, or the hold is over
        -> heal after a drawn time -> undo -> resolved heard, or the hold is over -> hops read -> closed

Order and instants come from the timetable. Nothing that was heard changes what is tried: it only ends a wait early,
and the time that is drawn for healing comes on top of that. Whatever ends a track (an effect that is not seen, a stop,
Ctrl-C, the hard stop, a failure of our own), its fault is undone before the track ends, and every injection of the plan
gets a last word: `InjectionClosed`, or `InjectionUnverified` with the reason.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from harness.drive.finish import settled
from harness.drive.injecting import Injecting
from harness.drive.surroundings import Surroundings
from harness.errors import FaultError, HarnessError, LedgerError
from harness.model.events import InjectionUnverified, LaneRetired, Progress
from harness.model.plan import Injection

Row = tuple[str, str]
"""A lane and one of its tracks: what is injected there is injected one after another."""


async def conduct(
    injections: Sequence[Injection],
    world: Surroundings,
    *,
    stop: asyncio.Event,
    started_monotonic: float,
    hard_stop_monotonic: float | None = None,
    in_one_row: bool = False,
) -> None:
    """Carries out injections of one stage; returns when all are over, or `stop` is set and all is undone.

    Args:
        injections: what to try; those of one lane and track in their order, the others side by side.
        world: what that needs.
        stop: set by who wants the run to end.
        started_monotonic: the instant from which the timetable's starts count.
        hard_stop_monotonic: the instant at which the run has to end; counted from the start where None.
        in_one_row: whether they are carried out one at a time, whatever their lanes.

    Raises:
        FaultError: the timetable asks for a fault that there is not; nothing was applied.
        HarnessError: the ledger or the journal cannot be written; every fault was undone.
        asyncio.CancelledError: cancelled; every fault was undone, or its track is retired and the journal knows.
    """
    asked = {one.fault for one in injections} | {one.although for one in injections if one.although}
    unknown = sorted(asked - set(world.faults))
    if unknown:
        raise FaultError(
            f"The plan asks for faults that there are not: {', '.join(unknown)}",
            expected=f"one of {', '.join(sorted(world.faults))}",
        )
    rows: dict[Row, list[Injection]] = {}
    for injection in injections:
        rows.setdefault(("", "") if in_one_row else (injection.lane, injection.track), []).append(injection)
    hard_stop = started_monotonic + world.limits.hard_stop_seconds
    if hard_stop_monotonic is not None:
        hard_stop = hard_stop_monotonic
    await _Conductor(world, started_monotonic, hard_stop).run(rows, stop)


class _Conductor:
    def __init__(self, world: Surroundings, started_monotonic: float, hard_stop: float) -> None:
        self._world = world
        self._started = started_monotonic
        self._hard_stop = hard_stop
        self._open: dict[str, Injection] = {}
        self._stopped = ""

    async def run(self, rows: dict[Row, list[Injection]], stop: asyncio.Event) -> None:
        self._open = {injection.id: injection for injections in rows.values() for injection in injections}
        for injection in tuple(self._open.values()):
            if why := self._world.why_not_in(injection.lane):
                self._leave_open([injection], why)
        tasks = {
            asyncio.create_task(self._row(injections), name=" ".join(row).strip()) for row, injections in rows.items()
        }
        stopping = asyncio.create_task(stop.wait(), name="stop of the run")
        cancelled = False
        try:
            self._stopped = await self._over(tasks, stopping)
        except asyncio.CancelledError:
            self._stopped, cancelled = "the run was cancelled", True
        for task in (*tasks, stopping):
            task.cancel()
        cancelled |= await settled({*tasks, stopping})
        failures = [failed for task in tasks if not task.cancelled() and (failed := task.exception()) is not None]
        try:
            self._leave_open(tuple(self._open.values()), self._stopped)
        except LedgerError as error:
            failures.append(error)
        for other in failures[1:]:
            failures[0].add_note(f"besides: {other!r}")
        if cancelled:
            raise asyncio.CancelledError from next(iter(failures), None)
        if failures:
            raise failures[0]

    async def _over(self, tasks: set[asyncio.Task[None]], stopping: asyncio.Task[bool]) -> str:
        """Waits for the end of all rows; else why the run has to end before."""
        running = set(tasks)
        while running:
            ended, _ = await asyncio.wait(
                {*running, stopping},
                timeout=max(0.0, self._hard_stop - self._world.clock().monotonic),
                return_when=asyncio.FIRST_COMPLETED,
            )
            if stopping in ended:
                return "the run was stopped"
            if not ended:
                return f"the run reached its hard stop after {self._world.limits.hard_stop_seconds:g} s"
            for task in ended & tasks:
                if task.cancelled() or task.exception() is not None:
                    return f"the run failed in {task.get_name()}"
            running -= ended
        return ""

    async def _row(self, injections: Sequence[Injection]) -> None:
        for number, injection in enumerate(injections):
            if injection.id not in self._open:
                continue  # its lane was retired, or never came up
            if number and (left := await self._world.quiet(injection, self._world.limits.quiet_seconds)):
                self._write_unquiet(injection, left)
            await self._until(self._started + injection.start.total_seconds())
            await asyncio.sleep(injection.phase.total_seconds())
            try:
                control = self._world.lane_control(injection.lane)
            except HarnessError as error:
                self._retire(injection, str(error))
                continue
            injecting = Injecting(injection, control, self._world, lambda: bool(self._stopped))
            try:
                await injecting.carry_out()
            finally:
                if injecting.ended:
                    del self._open[injection.id]
                if injecting.beyond_repair:
                    self._retire(injection, injecting.beyond_repair)

    def _write_unquiet(self, injection: Injection, left: tuple[str, ...]) -> None:
        self._world.write(Progress(f"{injection.lane} is used again although it is not quiet: {', '.join(left)}"))

    def _retire(self, injection: Injection, why: str) -> None:
        """Nothing more is tried where this injection was: in its track of its lane."""
        self._world.write(LaneRetired(injection.lane, why, injection.track))
        row = (injection.lane, injection.track)
        left = [one for one in self._open.values() if (one.lane, one.track) == row]
        self._leave_open(left, f"{injection.lane} was retired: {why}")

    def _leave_open(self, injections: Sequence[Injection], why: str) -> None:
        for injection in injections:
            del self._open[injection.id]
            self._world.write(InjectionUnverified(injection.id, why))

    async def _until(self, monotonic: float) -> None:
        await asyncio.sleep(max(0.0, monotonic - self._world.clock().monotonic))
