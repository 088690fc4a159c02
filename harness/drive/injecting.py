"""One injection, from its fault to its last word."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager
from datetime import timedelta

from harness.drive.effect import Effect
from harness.drive.faults import RECORDS, LaneControl, Proof
from harness.drive.finish import settled
from harness.drive.surroundings import Surroundings
from harness.errors import HarnessError
from harness.model.events import (
    FaultApplying,
    Healed,
    HopsRead,
    Injected,
    InjectionClosed,
    InjectionUnverified,
    PathDisturbed,
    PathRestored,
    Progress,
)
from harness.model.notifications import Status
from harness.model.plan import Control, Injection
from harness.model.stack import SHARED
from harness.model.time import Instant

LATE_BY = timedelta(seconds=1)
"""How far past the deadline the late control lets a message arrive: late by 1 s must be seen as late."""


class Injecting:
    """Carries one injection out.

    Args:
        injection: what to do.
        control: what a fault may do in its lane.
        world: what it needs.
        stopping: whether the run is being ended, which leaves less time for undoing.
    """

    def __init__(
        self, injection: Injection, control: LaneControl, world: Surroundings, stopping: Callable[[], bool]
    ) -> None:
        self._injection = injection
        self._control = control
        self._world = world
        self._stopping = stopping
        self.ended = False
        """Whether the injection has had its last word."""
        self._path_is_well = False
        self.beyond_repair = ""
        """Why its track cannot be used any more; empty where it can."""

    async def carry_out(self) -> None:
        """Carries it out; `ended` and `beyond_repair` tell what became of it.

        Raises:
            HarnessError: the ledger or the journal cannot be written; what was applied is undone.
            asyncio.CancelledError: cancelled; what was applied is undone, or `beyond_repair` says why it is not.
        """
        async with self._way_of_records():
            await self._carry_out()

    @asynccontextmanager
    async def _way_of_records(self) -> AsyncIterator[None]:
        """Where the fault touches the way of records nobody else does meanwhile, and what others did there is over.

        Nothing of the injection has begun while it waits for that, so none of it is late.
        """
        injection, world = self._injection, self._world
        if not RECORDS & world.faults[injection.fault].touches:
            yield
            return
        async with world.records:
            if left := await world.quiet(injection, world.limits.quiet_seconds):
                world.write(Progress(f"{injection.lane} is used although it is not quiet: {', '.join(left)}"))
            yield

    async def _carry_out(self) -> None:
        injection, world = self._injection, self._world
        with ExitStack() as interference:
            async with self._disturbed() as restored:
                proof, healing = await self._in_place(interference, restored)
            if healing is None or proof is None or self.beyond_repair:
                return
            # A lost control's own resolved message must be dropped too before the dropping ends, or it would reach
            # somebody during the next injection.
            listen = world.ears.caught if injection.control is Control.LOST else world.ears.heard
            await self._wait(listen, Status.RESOLVED, healing.wall, world.clock().monotonic)
            if injection.control is Control.LATE:
                since_t0 = world.clock().wall - proof.at
                await self._wait(world.ears.heard, Status.FIRING, proof.at, self._due_monotonic(since_t0))
        try:
            await world.read_hops(injection, proof.at, world.clock().wall)
        except HarnessError as error:
            world.write(HopsRead(injection.id, error=str(error)))
        world.write(InjectionClosed(injection.id))
        self.ended = True

    @asynccontextmanager
    async def _disturbed(self) -> AsyncIterator[Callable[[], None]]:
        """While this lasts the alerting path is disturbed, where the injection asks for it.

        What it gives is called when the fault's own effect is proven: from then on the disturbance lasts as long as the
        plan drew, and is over when this is left at the latest.
        """
        if not self._injection.although:
            yield lambda: None
            return
        name, seconds = f"{self._injection.id}/although", self._injection.although_for.total_seconds()
        effect = Effect(
            self._world.faults[self._injection.although], self._world.lane_control(SHARED), name, self._world
        )
        ending: asyncio.Task[None] | None = None

        async def end() -> None:
            await asyncio.sleep(seconds)
            await self._restore(effect)

        def begin_to_end() -> None:
            nonlocal ending
            ending = asyncio.create_task(end(), name=f"end of {name}")

        try:
            try:
                effect.note()
                proof = await effect.bring_about()
                self._world.write(PathDisturbed(self._injection.id, effect.fault.id, proof.at, proof.saw))
            except HarnessError as error:
                self._unverified(f"the way of its alert could not be disturbed: {error}")
            yield begin_to_end
        finally:
            cancelled = False
            if ending is not None:
                if self._stopping():
                    ending.cancel()
                try:
                    await asyncio.shield(ending)
                except asyncio.CancelledError:
                    cancelled = not self._stopping()
                    ending.cancel()
                    cancelled |= await settled({ending})
            if not self._path_is_well:
                await self._restore(effect)
            if cancelled:
                raise asyncio.CancelledError

    async def _restore(self, effect: Effect) -> None:
        outcome, cancelled = await effect.take_back(self._undo_seconds())
        self._path_is_well = isinstance(outcome, Proof)
        if isinstance(outcome, Proof):
            self._world.write(PathRestored(self._injection.id, effect.fault.id, outcome.at, outcome.saw))
        else:
            self.beyond_repair = f"{effect.fault.id} could not be undone: {outcome}"
            if not isinstance(outcome, HarnessError):
                raise outcome
        if cancelled:
            raise asyncio.CancelledError

    async def _in_place(
        self, interference: ExitStack, proven: Callable[[], None]
    ) -> tuple[Proof | None, Instant | None]:
        """From applying the fault to having undone it.

        Returns the proof of its effect, None where there is none; and when healing began, None where it failed.
        """
        injection, world = self._injection, self._world
        if self.ended:
            return None, None
        effect = Effect(world.faults[injection.fault], self._control, injection.id, world)
        try:
            effect.fault.facts(self._control)
        except HarnessError as error:
            self._unverified(str(error))
            return None, None
        world.write(FaultApplying(injection.id, injection.fault, injection.lane))
        effect.note()
        proof = None
        try:
            applied = world.clock()
            try:
                proof = await effect.bring_about()
            except HarnessError as error:
                self._unverified(str(error))
            else:
                world.write(Injected(injection.id, applied.wall, proof.at, proof.saw))
                proven()
                await self._listen(proof, applied, interference)
        finally:
            healing = await self._undo(effect)
        return proof, healing

    async def _listen(self, proof: Proof, applied: Instant, interference: ExitStack) -> None:
        """While the fault is in place: until all have heard or the hold is over, then as long as the plan drew."""
        injection, world = self._injection, self._world
        listen = world.ears.heard
        if injection.control is not None:
            # Early enough: the alert's own hold and the group's wait still lie between t0 and a first message.
            due_wall = proof.at + injection.rule_hold.total_seconds()
            late_wall = due_wall + (injection.deadline + LATE_BY).total_seconds()
            interference.callback(
                world.ears.interfere(injection, late_wall if injection.control is Control.LATE else None)
            )
            if injection.control is Control.LATE:
                listen = world.ears.caught  # it is on its way, and will be late: no need to leave the fault in place
        now = world.clock()
        await self._wait(listen, Status.FIRING, applied.wall, self._due_monotonic(now.wall - proof.at))
        await asyncio.sleep(injection.heal_after.total_seconds())

    def _due_monotonic(self, since_t0: float) -> float:
        """When the message is due, on the monotonic clock, so many seconds after t0."""
        return self._world.clock().monotonic - since_t0 + self._injection.rule_hold.total_seconds()

    async def _wait(
        self, listen: Callable[..., Awaitable[object]], status: Status, since_wall: float, from_monotonic: float
    ) -> None:
        """Until every channel has heard, at most until the hold is over."""
        injection = self._injection
        await listen(
            injection.alert,
            injection.lane,
            injection.channels,
            status,
            since_wall=since_wall,
            deadline_monotonic=from_monotonic + injection.hold.total_seconds(),
        )

    async def _undo(self, effect: Effect) -> Instant | None:
        """Undoes the fault, to the end even if we are cancelled meanwhile; when that began, None where it failed."""
        healing = self._world.clock()
        outcome, cancelled = await effect.take_back(self._undo_seconds())
        if isinstance(outcome, Proof):
            self._world.write(Healed(self._injection.id, healing.wall, outcome.at, outcome.saw))
        else:
            self.beyond_repair = f"{effect.fault.id} of {self._injection.id} could not be undone: {outcome}"
            if not isinstance(outcome, HarnessError):
                raise outcome
        if cancelled:
            raise asyncio.CancelledError
        return healing if isinstance(outcome, Proof) else None

    def _undo_seconds(self) -> float:
        limits = self._world.limits
        return limits.stopped_seconds if self._stopping() else limits.undo_seconds

    def _unverified(self, why: str) -> None:
        """The last word of an injection that says nothing about the monitoring."""
        if not self.ended:
            self.ended = True
            self._world.write(InjectionUnverified(self._injection.id, why))
