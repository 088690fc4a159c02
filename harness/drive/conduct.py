"""The conductor: carries a timetable out, one task a lane, and never leaves a fault behind.

    wait for the start -> phase -> apply -> prove (t0) -> firing heard, or the hold is over -> heal after a drawn time
        -> undo -> resolved heard, or the hold is over -> hops read -> closed -> no alert is left in the lane

Order and instants come from the timetable. Nothing that was heard changes what is tried: it only ends a wait early,
and the time that is drawn for healing comes on top of that. Whatever ends a lane (an effect that is not seen, a stop,
Ctrl-C, the hard stop, a failure of our own), its fault is undone before the lane ends, and every injection of the plan
gets a last word: `InjectionClosed`, or `InjectionUnverified` with the reason.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from harness.drive.faults import Fault, LaneControl, Proof
from harness.drive.finish import finished, settled
from harness.drive.journal import Journal
from harness.errors import FaultError, HarnessError, LedgerError
from harness.model.events import (
    FaultApplying,
    Healed,
    HopsRead,
    Injected,
    InjectionClosed,
    InjectionUnverified,
    LaneRetired,
    Payload,
    Progress,
)
from harness.model.notifications import Status
from harness.model.plan import Control, Injection, Timetable
from harness.model.time import Instant

LATE_BY = timedelta(seconds=1)
"""How far past the deadline the late control lets a message arrive: late by 1 s must be seen as late."""
_GRACE_SECONDS = 0.5
"""How far we wait past the deadline that a fault was given: its own error says more than ours."""


class Ears(Protocol):
    """Who listens in the channels, and who makes a negative control happen there."""

    async def heard(
        self,
        alert: str,
        lane: str,
        channels: Sequence[str],
        status: Status,
        *,
        since_wall: float,
        deadline_monotonic: float,
    ) -> frozenset[str]:
        """Waits until each channel has a message of this alert, lane and status that arrived since `since_wall`.

        Returns all of them as soon as they have, else at the deadline those that have.
        """

    async def caught(
        self,
        alert: str,
        lane: str,
        channels: Sequence[str],
        status: Status,
        *,
        since_wall: float,
        deadline_monotonic: float,
    ) -> frozenset[str]:
        """As `heard`, for messages that an interference dropped."""

    def interfere(self, injection: Injection, until_wall: float | None) -> Callable[[], None]:
        """Begins the injection's control; what is returned ends it.

        With LOST the messages of its alert in its lane are dropped, firing and resolved; with LATE those that say
        firing arrive at `until_wall` (Unix seconds).
        """


ReadHops = Callable[[Injection, float, float], Awaitable[None]]
"""Reads and writes the hops of an injection between t0 and an end, both in Unix seconds; called before its lane is
used again."""


Quiet = Callable[[str, float], Awaitable[tuple[str, ...]]]
"""Waits until no alert of a lane is pending or firing, so many seconds at most; those that still are. What the fault
before has raised would else be heard as the work of the next one."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How long things may take, in seconds.

    `stopped_seconds` is what a fault gets to be undone (or, if it is just being applied, to be applied to its end
    first: half-applied cannot be undone) once the run is stopped. `quiet_seconds` is what a lane gets to be free of
    alerts before it is used again. `hard_stop_seconds` counts from the stage's start.
    """

    apply_seconds: float = 10.0
    prove_seconds: float = 10.0
    undo_seconds: float = 15.0
    stopped_seconds: float = 3.0
    quiet_seconds: float = 30.0
    hard_stop_seconds: float = 300.0


async def conduct(
    timetable: Timetable,
    faults: Mapping[str, Fault],
    lane_control: Callable[[str], LaneControl],
    ears: Ears,
    write: Callable[[Payload], object],
    journal: Journal,
    read_hops: ReadHops,
    *,
    quiet: Quiet,
    stop: asyncio.Event,
    started_monotonic: float,
    limits: Limits | None = None,
    clock: Callable[[], Instant] = Instant.now,
) -> None:
    """Carries out every injection of a timetable; returns when all are over, or `stop` is set and all is undone.

    Args:
        timetable: what to try.
        faults: every fault by its id.
        lane_control: what a fault may do in the lane of that name; a HarnessError from it retires the lane.
        ears: who listens.
        write: writes one event to the ledger.
        journal: where undoing is noted before a fault is applied.
        read_hops: called once for each injection that is over; a HarnessError from it is noted, not raised.
        quiet: called before a lane is used again.
        stop: set by who wants the run to end.
        started_monotonic: the instant that the timetable's starts count from.
        limits: how long things may take.
        clock: both clocks; its monotonic one is the event loop's.

    Raises:
        FaultError: the timetable asks for a fault that there is not; nothing was applied.
        HarnessError: the ledger or the journal cannot be written; every fault was undone.
        asyncio.CancelledError: cancelled; every fault was undone, or its lane is retired and the journal knows.
    """
    unknown = sorted({one.fault for one in timetable.injections} - set(faults))
    if unknown:
        raise FaultError(
            f"The plan asks for faults that there are not: {', '.join(unknown)}",
            expected=f"one of {', '.join(sorted(faults))}",
        )
    conductor = _Conductor(
        faults, lane_control, ears, write, journal, read_hops, quiet, limits or Limits(), clock, started_monotonic
    )
    await conductor.run(timetable, stop)


class _Conductor:
    def __init__(
        self,
        faults: Mapping[str, Fault],
        lane_control: Callable[[str], LaneControl],
        ears: Ears,
        write: Callable[[Payload], object],
        journal: Journal,
        read_hops: ReadHops,
        quiet: Quiet,
        limits: Limits,
        clock: Callable[[], Instant],
        started_monotonic: float,
    ) -> None:
        self._faults = faults
        self._lane_control = lane_control
        self._ears = ears
        self._write = write
        self._journal = journal
        self._read_hops = read_hops
        self._quiet = quiet
        self._limits = limits
        self._clock = clock
        self._started = started_monotonic
        self._open: dict[str, Injection] = {}
        self._stopped = ""

    async def run(self, timetable: Timetable, stop: asyncio.Event) -> None:
        self._open = {injection.id: injection for injection in timetable.injections}
        by_lane: dict[str, list[Injection]] = {}
        for injection in timetable.injections:
            by_lane.setdefault(injection.lane, []).append(injection)
        lanes = {asyncio.create_task(self._lane(name, injections), name=name) for name, injections in by_lane.items()}
        stopping = asyncio.create_task(stop.wait(), name="stop of the run")
        cancelled = False
        try:
            self._stopped = await self._over(lanes, stopping)
        except asyncio.CancelledError:
            self._stopped, cancelled = "the run was cancelled", True
        for task in (*lanes, stopping):
            task.cancel()
        cancelled |= await settled({*lanes, stopping})
        failures = [failed for lane in lanes if not lane.cancelled() and (failed := lane.exception()) is not None]
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

    async def _over(self, lanes: set[asyncio.Task[None]], stopping: asyncio.Task[bool]) -> str:
        """Waits for the end of all lanes; else why the run has to end before."""
        hard_stop = self._started + self._limits.hard_stop_seconds
        running = set(lanes)
        while running:
            ended, _ = await asyncio.wait(
                {*running, stopping},
                timeout=max(0.0, hard_stop - self._clock().monotonic),
                return_when=asyncio.FIRST_COMPLETED,
            )
            if stopping in ended:
                return "the run was stopped"
            if not ended:
                return f"the run reached its hard stop after {self._limits.hard_stop_seconds:g} s"
            for lane in ended & lanes:
                if lane.cancelled() or lane.exception() is not None:
                    return f"the run failed in {lane.get_name()}"
            running -= ended
        return ""

    async def _lane(self, lane: str, injections: Sequence[Injection]) -> None:
        try:
            control = self._lane_control(lane)
        except HarnessError as error:
            self._retire(lane, str(error))
            return
        for number, injection in enumerate(injections):
            if number and (left := await self._quiet(lane, self._limits.quiet_seconds)):
                self._write(Progress(f"{lane} is used again although it is not quiet: {', '.join(left)}"))
            await self._until(self._started + injection.start.total_seconds())
            await asyncio.sleep(injection.phase.total_seconds())
            if not await self._injection(injection, control):
                return

    async def _injection(self, injection: Injection, control: LaneControl) -> bool:
        """Carries one injection out; False where its lane cannot be used any more."""
        with ExitStack() as interference:
            proof, healing = await self._in_place(injection, control, interference)
            if healing is None:
                return False
            if proof is None:
                return True
            # A lost control's own resolved message must be dropped too before the dropping ends, or it would reach
            # somebody during the lane's next injection.
            listen = self._ears.caught if injection.control is Control.LOST else self._ears.heard
            await listen(
                injection.alert,
                injection.lane,
                injection.channels,
                Status.RESOLVED,
                since_wall=healing.wall,
                deadline_monotonic=self._clock().monotonic + injection.hold.total_seconds(),
            )
        try:
            await self._read_hops(injection, proof.at, self._clock().wall)
        except HarnessError as error:
            self._write(HopsRead(injection.id, error=str(error)))
        self._write(InjectionClosed(injection.id))
        del self._open[injection.id]
        return True

    async def _in_place(
        self, injection: Injection, control: LaneControl, interference: ExitStack
    ) -> tuple[Proof | None, Instant | None]:
        """From applying a fault to having undone it.

        Returns the proof of its effect, None where there is none; and when healing began, None where it failed.
        """
        fault = self._faults[injection.fault]
        try:
            facts = fault.facts(control)
        except HarnessError as error:
            self._leave_open([injection], str(error))
            return None, self._clock()
        self._write(FaultApplying(injection.id, fault.id, injection.lane))
        self._journal.record(fault.id, injection.id, facts)
        proof = None
        try:
            applied = self._clock()
            proof = await self._applied(injection, fault, control)
            if proof is not None:
                self._write(Injected(injection.id, applied.wall, proof.at, proof.saw))
                await self._listen(injection, proof, applied, interference)
        finally:
            healing = await self._undo(injection, fault, control)
        return proof, healing

    async def _applied(self, injection: Injection, fault: Fault, control: LaneControl) -> Proof | None:
        """Applies a fault and has it prove its effect; None, and the injection left open, where it could not."""
        try:
            await self._apply(fault, control)
            return await fault.prove(control, self._limits.prove_seconds)
        except HarnessError as error:
            self._leave_open([injection], str(error))
            return None

    async def _apply(self, fault: Fault, control: LaneControl) -> None:
        applying, cancelled = await finished(
            fault.apply(control), self._limits.apply_seconds, self._limits.stopped_seconds
        )
        if cancelled and (applying.cancelled() or isinstance(applying.exception(), HarnessError)):
            raise asyncio.CancelledError
        if applying.cancelled():
            raise FaultError(
                f"The fault {fault.id} could not be applied in time", waited_seconds=self._limits.apply_seconds
            )
        applying.result()
        if cancelled:
            raise asyncio.CancelledError

    async def _listen(self, injection: Injection, proof: Proof, applied: Instant, interference: ExitStack) -> None:
        """While the fault is in place: until all have heard or the hold is over, then as long as the plan drew."""
        if injection.control is not None:
            # Early enough: the alert's own hold and the group's wait still lie between t0 and a first message.
            due_wall = proof.at + injection.rule_hold.total_seconds()
            late_wall = due_wall + (injection.deadline + LATE_BY).total_seconds()
            interference.callback(
                self._ears.interfere(injection, late_wall if injection.control is Control.LATE else None)
            )
        now = self._clock()
        since_t0 = now.wall - proof.at
        await self._ears.heard(
            injection.alert,
            injection.lane,
            injection.channels,
            Status.FIRING,
            since_wall=applied.wall,
            deadline_monotonic=now.monotonic - since_t0 + (injection.rule_hold + injection.hold).total_seconds(),
        )
        await asyncio.sleep(injection.heal_after.total_seconds())

    async def _undo(self, injection: Injection, fault: Fault, control: LaneControl) -> Instant | None:
        """Undoes a fault, to the end even if we are cancelled meanwhile; when that began, None where it failed."""
        healing = self._clock()
        seconds = self._limits.stopped_seconds if self._stopped else self._limits.undo_seconds
        undoing, cancelled = await finished(
            fault.undo(control, seconds), seconds + _GRACE_SECONDS, self._limits.stopped_seconds
        )
        failed = undoing.exception() if not undoing.cancelled() else FaultError("It was not undone in time")
        if failed is None:
            proof = undoing.result()
            self._journal.done(injection.id)
            self._write(Healed(injection.id, healing.wall, proof.at, proof.saw))
        else:
            self._retire(injection.lane, f"{injection.fault} of {injection.id} could not be undone: {failed}")
            if not isinstance(failed, HarnessError):
                raise failed
        if cancelled:
            raise asyncio.CancelledError
        return healing if failed is None else None

    def _retire(self, lane: str, why: str) -> None:
        self._write(LaneRetired(lane, why))
        left = [injection for injection in self._open.values() if injection.lane == lane]
        self._leave_open(left, f"{lane} was retired: {why}")

    def _leave_open(self, injections: Sequence[Injection], why: str) -> None:
        for injection in injections:
            del self._open[injection.id]
            self._write(InjectionUnverified(injection.id, why))

    async def _until(self, monotonic: float) -> None:
        await asyncio.sleep(max(0.0, monotonic - self._clock().monotonic))
