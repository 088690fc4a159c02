"""The inbox: every message of every channel, who waits for which, and what the negative controls do to them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from harness.errors import HarnessError
from harness.model.events import Payload
from harness.model.notifications import MessageArrived, MessageInterfered, Notification, RawMessage, SinkRefused, Status
from harness.model.plan import Control
from harness.model.time import Instant, rfc3339
from harness.observe.attribution import says, speaks_of
from harness.observe.channels import Channel


@dataclass(frozen=True, slots=True)
class Interference:
    """What a negative control does to the messages of one alert in one lane, after the sink took them.

    `lost` drops every one of them. `late` holds those that say firing until `until_wall` (Unix seconds), when they
    arrive. `channels` are those it works on, None for all.

    Raises:
        HarnessError: a late control without the instant until which it holds.
    """

    lane: str
    alert: str
    control: Control
    until_wall: float | None = None
    channels: frozenset[str] | None = None

    def __post_init__(self) -> None:
        if self.control is Control.LATE and self.until_wall is None:
            raise HarnessError(
                f"the late control of {self.alert} in {self.lane} has no instant until which it holds messages",
                hint="give until_wall in Unix seconds",
            )

    def touches(self, notification: Notification) -> bool:
        """Whether this message is one of those to be lost or held."""
        if self.channels is not None and notification.channel not in self.channels:
            return False
        if self.control is Control.LATE and not says(notification.status, Status.FIRING):
            return False
        return speaks_of(notification, self.alert, self.lane)


@dataclass(frozen=True, slots=True, eq=False)
class _Held:
    raw: RawMessage
    until_wall: float


class Inbox:
    """Takes every message of every sink, writes it down, and wakes those who wait for it.

    Everything happens on the event loop's own thread. `deliver` and `refuse` are what a channel's `open` is given.

    Args:
        write: writes one event to the ledger.
        channels: those whose messages will come.
    """

    def __init__(self, write: Callable[[Payload], object], channels: Iterable[Channel]) -> None:
        self._write = write
        self._channels = {channel.name: channel for channel in channels}
        self._notifications: list[Notification] = []
        self._caught: list[Notification] = []
        self._interferences: list[Interference] = []
        self._held: dict[_Held, asyncio.TimerHandle] = {}
        self._changed = asyncio.Event()

    @property
    def notifications(self) -> tuple[Notification, ...]:
        """All messages so far, in the order in which they arrived."""
        return tuple(self._notifications)

    def deliver(self, raw: RawMessage) -> None:
        """Takes one message: reads it as a person would, then writes it down, drops it or holds it."""
        notification = self._channels[raw.channel].read(raw)
        for interference in self._interferences:
            if not interference.touches(notification):
                continue
            until = interference.until_wall if interference.control is Control.LATE else None
            if until is not None and until <= raw.arrived.wall:
                continue  # it is late by itself: nothing to hold
            self._write(MessageInterfered(raw.channel, interference.control.value, interference.lane, until))
            if until is not None:
                self._hold(_Held(raw, until))
            self._caught.append(notification)
            self._wake()
            return
        self._arrive(raw, notification)

    def refuse(self, channel: str, why: str) -> None:
        """Writes down that somebody spoke to a sink and no message could be taken."""
        self._write(SinkRefused(channel, why))

    def interfere(self, interference: Interference) -> None:
        """Begins a negative control: messages that come from now on are touched by it."""
        self._interferences.append(interference)

    def clear(self, interference: Interference) -> None:
        """Ends a negative control; what it holds is still delivered at its instant.

        Ending one that was never begun, or twice, changes nothing.
        """
        if interference in self._interferences:
            self._interferences.remove(interference)

    async def heard(
        self,
        alert: str,
        lane: str,
        channels: Iterable[str],
        status: Status,
        since_wall: float,
        deadline_monotonic: float,
    ) -> frozenset[str]:
        """Waits until each of the channels has a message of this alert, lane and status that arrived in time.

        Args:
            alert: its name.
            lane: the lane that must be named beside it.
            channels: those that must hear.
            status: firing or resolved; a mixed message counts for both.
            since_wall: messages that arrived before this instant (Unix seconds) do not count.
            deadline_monotonic: nothing that arrived after this instant of the monotonic clock counts.

        Returns:
            The channels that heard: all of them as soon as they did, else those that did by the deadline.
        """
        return await self._first(self._notifications, alert, lane, channels, status, since_wall, deadline_monotonic)

    async def caught(
        self,
        alert: str,
        lane: str,
        channels: Iterable[str],
        status: Status,
        since_wall: float,
        deadline_monotonic: float,
    ) -> frozenset[str]:
        """As `heard`, for messages that a control dropped or holds: who waits for them knows that they were sent."""
        return await self._first(self._caught, alert, lane, channels, status, since_wall, deadline_monotonic)

    async def _first(
        self,
        messages: list[Notification],
        alert: str,
        lane: str,
        channels: Iterable[str],
        status: Status,
        since_wall: float,
        deadline_monotonic: float,
    ) -> frozenset[str]:
        wanted = frozenset(channels)
        found: set[str] = set()
        looked_at = 0

        def look() -> None:
            nonlocal looked_at
            found.update(
                message.channel
                for message in messages[looked_at:]
                if message.channel in wanted
                and message.arrived.wall >= since_wall
                and message.arrived.monotonic <= deadline_monotonic
                and says(message.status, status)
                and speaks_of(message, alert, lane)
            )
            looked_at = len(messages)

        look()
        try:
            async with asyncio.timeout_at(deadline_monotonic):
                while found != wanted:
                    await self._changed.wait()
                    look()
        except TimeoutError:
            look()  # what arrived in the very last turn of the loop
        return frozenset(found)

    def close(self) -> None:
        """Ends all controls; a message that is still held never arrived, and the ledger says so."""
        self._interferences.clear()
        for held, timer in self._held.items():
            timer.cancel()
            self.refuse(
                held.raw.channel,
                f"message {held.raw.id} was held back by the late control until {rfc3339(held.until_wall)} "
                "and the run ended before that: it was never delivered",
            )
        self._held.clear()

    def _hold(self, held: _Held) -> None:
        wait_seconds = max(0.0, held.until_wall - Instant.now().wall)
        self._held[held] = asyncio.get_running_loop().call_later(wait_seconds, self._release, held)

    def _release(self, held: _Held) -> None:
        now = Instant.now()
        if now.wall < held.until_wall:  # the two clocks do not agree to the microsecond
            self._hold(held)
            return
        del self._held[held]
        late = replace(held.raw, arrived=now)
        self._arrive(late, self._channels[late.channel].read(late))

    def _arrive(self, raw: RawMessage, notification: Notification) -> None:
        self._write(MessageArrived(raw, notification))
        self._notifications.append(notification)
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
