"""Single scrapes are lost: the cache's exporter is down for less than a scrape interval, again and again."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from harness.drive.component_fault import ComponentFault
from harness.drive.faults import LaneControl
from harness.drive.look import Look, watch
from harness.drive.newcomer import ASK, Met, meet
from harness.errors import FaultError
from harness.model.stack import Address

DOWN_SECONDS = 1.6
"""Less than the scrape interval of 2 s by more than a start takes (0.1 s), so that no two scrapes fall into one gap.
A scrape falls into it with a chance of 0.8."""
UP_SECONDS = 2.1
"""More than the scrape interval, counted from its first answer, so that a scrape succeeds between two gaps."""
_START_SECONDS = 10.0
_REFUSALS = 2


class ScrapesLost(ComponentFault):
    """The lane's cache exporter is killed and held down, let up, killed again, …, by a task, until the fault is healed.

    The task lives from `apply` to `undo` and is known by the exporter's address.
    """

    id = "scrapes-lost"
    summary = (
        "The cache's exporter is down for less than a scrape interval, again and again, until the fault is healed."
    )
    component = "redis-exporter"
    what = "the cache's exporter"
    done = "taken down again and again"
    effect = "it is refused, answers, and is refused a second time"
    health = "it answers HTTP"
    looks_apart_seconds = 0.1

    def __init__(self) -> None:
        self._flapping: dict[Address, _Flapping] = {}

    async def disturb(self, control: LaneControl) -> None:
        """Begins to take it down and let it up.

        Raises:
            FaultError: that goes on already.
        """
        if self.address(control) in self._flapping:
            raise FaultError(
                "The cache's exporter is being taken down again and again already",
                expected="an earlier injection to have been undone",
                seen=f"lane {control.lane.name}",
            )
        self._flapping[self.address(control)] = _Flapping(self.component, control)

    async def mend(self, control: LaneControl) -> None:
        """Ends that, and lets it up."""
        flapping = self._flapping.pop(self.address(control), None)
        try:
            if flapping is not None:
                await flapping.end()
        finally:
            await control.let_up(self.component)

    async def seen(self, control: LaneControl) -> Look:
        """The second refusal, with an answer between the two."""
        flapping = self._flapping.get(self.address(control))
        if flapping is None:
            return Look(False, "nobody takes it down")
        return await flapping.look()

    async def well(self, control: LaneControl) -> Look:
        """It answers; its first page is asked for, since a scrape would cost it more."""
        return await _answers(self.address(control))


class _Flapping:
    """Takes one component down and lets it up, by turns, and counts what a newcomer sees of that."""

    def __init__(self, component: str, control: LaneControl) -> None:
        self._component = component
        self._control = control
        self._address = control.lane.addresses[component]
        self._over = asyncio.Event()
        self._refusals = 0
        self._answered = True
        self._task = asyncio.create_task(self._go_on(), name=f"{component} of {control.lane.name} down and up")

    async def look(self) -> Look:
        """Whether it was refused for a second time."""
        meeting = await meet(self._address, ASK)
        if meeting.dead and self._answered:
            self._refusals += 1
        if meeting.dead or meeting.met is Met.ANSWER:
            self._answered = not meeting.dead
        times = {0: "not once", 1: "once"}.get(self._refusals, f"{self._refusals} times")
        return Look(self._refusals >= _REFUSALS, f"{meeting.saw}; it was down {times} since it was first looked at")

    async def end(self) -> None:
        """Returns when nobody takes it down any more.

        A turn is never broken off: half a turn would leave the component neither held nor kept.

        Raises:
            StackError: it could not be let up meanwhile.
            FaultError: it did not answer after it was let up.
        """
        self._over.set()
        await self._task

    async def _go_on(self) -> None:
        while not self._over.is_set():
            await self._control.hold_down(self._component)
            await self._wait(DOWN_SECONDS)
            await self._control.let_up(self._component)
            if not self._over.is_set():
                await watch(
                    lambda: _answers(self._address),
                    _START_SECONDS,
                    otherwise=FaultError,
                    what=f"{self._component} was let up and does not answer",
                    expected="it answers HTTP",
                )
                await self._wait(UP_SECONDS)

    async def _wait(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._over.wait()


async def _answers(address: Address) -> Look:
    meeting = await meet(address, ASK)
    return meeting.look(meeting.met is Met.ANSWER)
