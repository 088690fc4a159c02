"""Plays scenes one after another, and never leaves anything of them behind.

    the lane is quiet -> the scene -> whatever is left of it is undone -> who heard hears that it is over -> quiet

What cannot be played is told and judged as unverified; only a journal that takes no more lines ends the run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from harness.drive.effect import Effect
from harness.drive.faults import Fault, LaneControl, Proof
from harness.drive.finish import settled
from harness.drive.look import watch
from harness.drive.notifying import kept_back
from harness.drive.scenes import Props, Scene
from harness.drive.surroundings import Surroundings
from harness.errors import EffectNotProven, FaultError, HarnessError, LedgerError
from harness.model.events import LaneRetired
from harness.model.notifications import Status
from harness.model.policy import Alert
from harness.model.scenes import Expectation, SceneDid, SceneEnded, ScenePlan, SceneStarted
from harness.model.stack import Address

OVER_SECONDS = 35.0
"""How long the message that an alert is over may take, as for a drill."""

SEEN_SECONDS = 4.0
"""How long after all was undone Prometheus has seen it: a scrape (2 s), an evaluation (1 s), and one to spare. A
restart that is part of undoing raises an alert of its own, and that one is the scene's."""

_LOOKS_APART_SECONDS = 0.25
_STOPPED = "the run was stopped"
_HARD_STOP = "the run reached its hard stop"


@dataclass(frozen=True, slots=True)
class Company:
    """Everything that scenes need beside what injections need.

    Args:
        scenes: every scene by its id.
        alerts: the alerting rules by name.
        alertmanager: where the run's Alertmanager listens.
        props: what is no part of a lane.
    """

    scenes: Mapping[str, Scene]
    alerts: Mapping[str, Alert]
    alertmanager: Address
    props: Props


async def play(
    plans: Sequence[ScenePlan],
    company: Company,
    world: Surroundings,
    *,
    stop: asyncio.Event,
    hard_stop_monotonic: float,
) -> None:
    """Plays every scene of the plan in its order; each gets a last word, `SceneEnded`.

    Args:
        plans: what was planned.
        company: what scenes need.
        world: what their faults need.
        stop: set by who wants the run to end.
        hard_stop_monotonic: the instant at which the run has to end.

    Raises:
        HarnessError: the journal cannot be written; everything was undone.
        asyncio.CancelledError: cancelled; everything was undone, or the lane is retired and the journal knows.
    """
    stopping = asyncio.create_task(stop.wait(), name="stop of the run")
    why_not = {plan.lane: why for plan in plans if (why := world.why_not_in(plan.lane))}
    stopped = ""
    try:
        for plan in plans:
            left = hard_stop_monotonic - world.clock().monotonic
            if stop.is_set() or left <= 0:
                stopped = stopped or (_STOPPED if stop.is_set() else _HARD_STOP)
            if stopped or plan.lane in why_not:
                world.write(SceneEnded(plan.id, stopped or why_not[plan.lane]))
                continue
            performance = _Performance(plan, company, world)
            playing = asyncio.create_task(performance.carry_out(), name=f"scene {plan.id}")
            try:
                await asyncio.wait({playing, stopping}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
                if not playing.done():
                    stopped = _STOPPED if stopping.done() else _HARD_STOP
            except asyncio.CancelledError:
                stopped = "the run was cancelled"
                raise
            finally:
                performance.stopped = stopped
                playing.cancel()
                await settled({playing})
                if not performance.ended:  # it was cancelled before it began
                    world.write(SceneEnded(plan.id, stopped))
                if performance.beyond_repair:
                    why_not[plan.lane] = f"{plan.lane} was retired: {performance.beyond_repair}"
                    world.write(LaneRetired(plan.lane, performance.beyond_repair))
            if not playing.cancelled():
                playing.result()
    finally:
        stopping.cancel()
        await settled({stopping})


class _Performance:
    """One scene while it is played (`Theatre` of the scenes)."""

    def __init__(self, plan: ScenePlan, company: Company, world: Surroundings) -> None:
        self.plan = plan
        self.props = company.props
        self.alertmanager = company.alertmanager
        self.beyond_repair = ""
        """Why the lane cannot be used any more; empty where it can."""
        self.stopped = ""
        """Why the run is being ended, which leaves less time for undoing; empty where it is not."""
        self.ended = False
        """Whether it has had its last word."""
        self._company = company
        self._world = world
        self._control: LaneControl | None = None
        self._in_place: dict[str, Effect] = {}
        self._told: list[tuple[str, tuple[str, ...], float]] = []

    async def carry_out(self) -> None:
        """Plays it; its last word is written whatever happens.

        Raises:
            LedgerError: the journal cannot be written; everything was undone.
            asyncio.CancelledError: cancelled; everything was undone, or `beyond_repair` says why it is not.
        """
        why = "it was cancelled"
        try:
            why = await self._ready() or await self._played()
        finally:
            why = self.stopped or why
            told = (why, self.beyond_repair)
            self.ended = True
            self._world.write(SceneEnded(self.plan.id, "; ".join(sentence for sentence in told if sentence)))

    async def _ready(self) -> str:
        """Why it cannot begin; empty where it can."""
        try:
            self._control = self._world.lane_control(self.plan.lane)
        except HarnessError as error:
            return str(error)
        left = await self.props.quiet(self.plan.lane, self._world.limits.quiet_seconds)
        return f"{self.plan.lane} is not quiet: {', '.join(left)}" if left else ""

    async def _played(self) -> str:
        """Plays it and undoes what is left of it; what kept it from its end, empty where nothing did."""
        self._world.write(SceneStarted(self.plan.id, self.plan.lane))
        why = ""
        try:
            await self._company.scenes[self.plan.id].play(self)
        except LedgerError:
            raise
        except HarnessError as error:
            why = str(error)
        finally:
            await self._undo()
        undone = self._world.clock().monotonic
        for alert, channels, since in self._told:
            await self._listen(alert, channels, Status.RESOLVED, since, OVER_SECONDS)
        await self.keep(undone + SEEN_SECONDS - self._world.clock().monotonic)
        await self.props.quiet(self.plan.lane, self._world.limits.quiet_seconds)
        return why

    async def _undo(self) -> None:
        """Takes everything back that is in place, the last thing first, whoever cancels us meanwhile."""
        interrupted = False
        for mark, effect in reversed(tuple(self._in_place.items())):
            outcome, cancelled = await effect.take_back(self._undo_seconds())
            interrupted |= cancelled
            if isinstance(outcome, Proof):
                del self._in_place[mark]
                self.did(f"{mark}-undone", outcome.at, outcome.saw)
            else:
                self.beyond_repair = f"{effect.fault.id} could not be undone: {outcome}"
        if interrupted:
            raise asyncio.CancelledError

    def _undo_seconds(self) -> float:
        limits = self._world.limits
        return limits.stopped_seconds if self.stopped else limits.undo_seconds

    # --- what a scene may do ------------------------------------------------------------------------------------------

    @property
    def control(self) -> LaneControl:
        """What may be done to the lane."""
        assert self._control is not None
        return self._control

    def fault(self, name: str) -> Fault:
        """The fault of that id.

        Raises:
            FaultError: there is none.
        """
        try:
            return self._world.faults[name]
        except KeyError:
            raise FaultError(
                f"The scene {self.plan.id} asks for the fault {name}, and there is none of that name",
                expected=f"one of {', '.join(sorted(self._world.faults))}",
            ) from None

    def alert(self, name: str) -> Alert:
        """The alerting rule of that name."""
        return self._company.alerts[name]

    def now(self) -> float:
        """This moment, in Unix seconds."""
        return self._world.clock().wall

    def did(self, mark: str, at: float, saw: str) -> None:
        """Writes that something was done or seen at an instant (Unix seconds)."""
        self._world.write(SceneDid(self.plan.id, mark, at, saw))

    async def bring_about(self, fault: Fault, mark: str) -> Proof:
        """Applies a fault and has it prove its effect; from before that on it is taken back at the end.

        Raises:
            FaultError: it could not be applied, or its effect was not seen.
            LedgerError: the journal cannot be written; nothing was applied.
        """
        effect = Effect(fault, self.control, f"{self.plan.id}/{mark}", self._world)
        effect.note()
        self._in_place[mark] = effect
        proof = await effect.bring_about()
        self.did(mark, proof.at, proof.saw)
        return proof

    async def take_back(self, fault: Fault, mark: str) -> Proof:
        """Undoes a fault.

        Raises:
            FaultError: it could not be undone, or is not in place.
        """
        place, effect = next(
            ((place, one) for place, one in self._in_place.items() if one.fault is fault), (None, None)
        )
        if place is None or effect is None:
            raise FaultError(f"The scene {self.plan.id} takes {fault.id} back, and it is not in place")
        outcome, cancelled = await effect.take_back(self._undo_seconds())
        if isinstance(outcome, Proof):
            del self._in_place[place]
            self.did(mark, outcome.at, outcome.saw)
        if cancelled:
            raise asyncio.CancelledError
        if not isinstance(outcome, Proof):
            raise outcome
        return outcome

    async def hear(
        self, expected: Expectation, since: float, *, within: timedelta | None = None, ends: bool = True
    ) -> None:
        """Waits until every channel has heard."""
        seconds = (expected.within if within is None else within).total_seconds() - (self.now() - since)
        for alert in expected.alerts:
            heard = await self._listen(alert, expected.channels, Status.FIRING, since, seconds)
            if heard and ends:
                self._told.append((alert, tuple(sorted(heard)), since))

    async def _listen(
        self, alert: str, channels: tuple[str, ...], status: Status, since: float, seconds: float
    ) -> frozenset[str]:
        return await self._world.ears.heard(
            alert,
            self.plan.lane,
            channels,
            status,
            since_wall=since,
            deadline_monotonic=self._world.clock().monotonic + max(0.0, seconds),
        )

    async def held_back(self, alerts: tuple[str, ...], by: Mapping[str, str], mark: str, seconds: float) -> None:
        """Waits until Alertmanager keeps one of these alerts back.

        Raises:
            EffectNotProven: it keeps none back.
            FaultError: it does not answer.
        """
        proof = await watch(
            lambda: kept_back(self.alertmanager, self.plan.lane, alerts, by),
            seconds,
            otherwise=EffectNotProven,
            what=f"No alert was {' or '.join(by.values())} that the scene is about",
            expected=f"one of {', '.join(alerts)} at Alertmanager, {' or '.join(by.values())}",
            pause_seconds=_LOOKS_APART_SECONDS,
        )
        self.did(mark, proof.at, proof.saw)

    async def keep(self, seconds: float) -> None:
        """Leaves everything as it is for so long."""
        await asyncio.sleep(max(0.0, seconds))
