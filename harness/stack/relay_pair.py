"""The two connections that a relay joins: what one side reads is written to the other, at once or held back."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections import deque
from collections.abc import Callable
from functools import partial

from harness.model.stack import Address

HELD_BYTES = 1024 * 1024
"""As much of a component's answers is held back for one connection; beyond it the component has to wait."""
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
"""SO_LINGER with a linger of zero: closing sends RST instead of FIN (socket(7))."""


class Pair:
    """One accepted connection and the one to the component that it was given.

    Args:
        loop: the loop that both live in.
        client: the accepted connection, ours from now on.
        upstream: the component.
        muted: carries nothing from the start, and does not even reach for the component.
        delay_seconds: how long the component's answers are held back.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        client: socket.socket,
        upstream: Address,
        *,
        muted: bool = False,
        delay_seconds: float = 0.0,
    ) -> None:
        self._loop = loop
        self._client = client
        self._sides = (_Side(self), _Side(self))
        self.muted = muted
        self.ended: asyncio.Future[None] = loop.create_future()
        self.delay(delay_seconds)
        self._joining = loop.create_task(self._join(upstream))
        self._joining.add_done_callback(self._joined)

    def cut(self) -> asyncio.Future[None]:
        """Resets both connections; the future is done when both are gone."""
        self._joining.cancel()
        self.reset()
        return self.ended

    def mute(self) -> None:
        """Carries nothing any more, for good: what still comes is thrown away, and neither side hears of the other.

        A side that ends by itself is let go, so that those who give up and try anew use no descriptors up.
        """
        self.muted = True
        for side in self._sides:
            side.forget()
            side.regulate()

    def delay(self, seconds: float) -> None:
        """Holds the component's answers back from now on; zero gives on at once, what is held first."""
        self._sides[1].hold_back(self._loop, seconds)

    def reset(self) -> None:
        """Resets what there is of both connections."""
        for side in self._sides:
            side.reset()

    def other(self, side: _Side) -> _Side:
        """The far side of a side."""
        return self._sides[1] if side is self._sides[0] else self._sides[0]

    def side_lost(self) -> None:
        """One of the two is gone."""
        if self._joining.done() and all(side.gone for side in self._sides) and not self.ended.done():
            self.ended.set_result(None)

    async def _join(self, upstream: Address) -> None:
        """Reaches the component first, so that nothing has to be kept until there is somebody to give it to."""
        self._client.setblocking(False)
        with contextlib.suppress(OSError):
            # Suppressed: where the component takes no connection the client, whom we accepted, is told by a reset.
            if not self.muted:
                await self._loop.create_connection(lambda: self._sides[1], upstream.host, upstream.port)
            await self._loop.connect_accepted_socket(lambda: self._sides[0], self._client)

    def _joined(self, joining: asyncio.Task[None]) -> None:
        """Joined, failed or cancelled, perhaps before the first step: whoever is alone now is reset."""
        if not joining.cancelled() and (unexpected := joining.exception()) is not None:
            self._loop.call_exception_handler(
                {"message": "a relay could not join two connections", "exception": unexpected, "task": joining}
            )
        client, component = self._sides
        if client.gone or (component.gone and not self.muted) or joining.cancelled():
            self.reset()
            if client.gone and self._client.fileno() != -1:
                reset_on_close(self._client)
                self._client.close()
        self.side_lost()


class _Side(asyncio.Protocol):
    """One of the two connections of a pair."""

    def __init__(self, pair: Pair) -> None:
        self._pair = pair
        self._transport: asyncio.Transport | None = None
        self._held: _DelayLine | None = None
        self._read_all = False
        self._stuffed = False
        self._lost = False
        self._owed: list[bytes] = []
        self._owed_eof = False

    @property
    def gone(self) -> bool:
        """Whether there is no connection: not yet made, or lost."""
        return self._transport is None

    @property
    def stuffed(self) -> bool:
        """Whether so much waits to be sent here that nothing more should be added."""
        return self._stuffed

    @property
    def has_read_all(self) -> bool:
        """Whether this side has ended its half, and that was given on."""
        return self._read_all

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._pair.other(self).regulate()  # first: what is owed may be so much that it is paused again
        if self._pair.muted:
            return
        transport.writelines(self._owed)
        self._owed.clear()
        if self._owed_eof:
            transport.write_eof()

    def data_received(self, data: bytes) -> None:
        if self._pair.muted:
            return
        if self._held is None:
            self._give(data)
        else:
            self._held.put(partial(self._give, data), len(data))
            self.regulate()

    def eof_received(self) -> bool:
        if self._pair.muted:
            return False  # let go: the transport closes itself
        if self._held is not None:
            self._held.put(self._end)
        else:
            self._end()
        return True  # the other direction stays open: a half-close is passed on, nothing more

    def pause_writing(self) -> None:
        self._stuffed = True
        self._pair.other(self).regulate()

    def resume_writing(self) -> None:
        self._stuffed = False
        self._pair.other(self).regulate()

    def connection_lost(self, error: Exception | None) -> None:
        self._transport, self._lost = None, True
        other = self._pair.other(self)
        other.forget()  # what it holds is for nobody now
        if error is not None and not self._pair.muted:
            if self._held is not None:
                self._held.put(other.reset)  # a reset does not overtake what was said before it
            else:
                other.reset()
        self._pair.side_lost()

    def write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)
        elif not self._lost:
            self._owed.append(data)

    def write_eof(self) -> None:
        if self._transport is not None:
            self._transport.write_eof()
        else:
            self._owed_eof = True

    def regulate(self) -> None:
        """Reads on only while what is read can be given on, be held back, or be thrown away."""
        if self._transport is None:
            return
        other = self._pair.other(self)
        full = self._held is not None and self._held.size >= HELD_BYTES
        if not self._pair.muted and (other.gone or other.stuffed or full):
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def hold_back(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        """Gives on what is read only after this long; zero: at once, what is held first."""
        if seconds > 0:
            if self._held is None:
                self._held = _DelayLine(loop, self.regulate)
            self._held.seconds = seconds
        elif self._held is not None:
            held, self._held = self._held, None
            held.hand_out()

    def forget(self) -> None:
        """Throws away what is held back."""
        if self._held is not None:
            self._held.drop()
            if self._pair.muted:
                self._held = None

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def reset(self) -> None:
        if self._transport is not None:
            reset_on_close(self._transport.get_extra_info("socket"))
            self._transport.abort()

    def _give(self, data: bytes) -> None:
        other = self._pair.other(self)
        if other.gone:
            # A server that speaks first, before its client is attached. Pausing in `connection_made` would not do:
            # until Python 3.12 the loop begins to read after it all the same.
            self.regulate()
        other.write(data)

    def _end(self) -> None:
        self._read_all = True
        other = self._pair.other(self)
        if other.has_read_all:
            self.close()
            other.close()
        else:
            other.write_eof()


class _DelayLine:
    """What waits for its instant, in the order in which it came; `handed` is called when some of it was handed on."""

    def __init__(self, loop: asyncio.AbstractEventLoop, handed: Callable[[], None]) -> None:
        self._loop = loop
        self._handed = handed
        self._waiting: deque[tuple[float, Callable[[], None], int]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self.seconds = 0.0
        self.size = 0

    def put(self, act: Callable[[], None], size: int = 0) -> None:
        """Has something done after the delay, and after all that was put in before."""
        due = self._loop.time() + self.seconds
        self._waiting.append((due, act, size))
        self.size += size
        if self._timer is None:
            self._timer = self._loop.call_at(due, self._hand_on)

    def hand_out(self) -> None:
        """Does all of it now."""
        waiting = [act for _, act, _ in self._waiting]
        self.drop()
        for act in waiting:
            act()
        self._handed()

    def drop(self) -> None:
        """Does none of it any more."""
        self._waiting.clear()
        self.size = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _hand_on(self) -> None:
        self._timer = None
        # From the front alone: a delay that was shortened lets nobody overtake.
        while self._waiting and self._waiting[0][0] <= self._loop.time():
            _, act, size = self._waiting.popleft()
            self.size -= size
            act()
        if self._waiting and self._timer is None:
            self._timer = self._loop.call_at(self._waiting[0][0], self._hand_on)
        self._handed()


def reset_on_close(connection: socket.socket) -> None:
    """Has a connection end with RST when it is closed."""
    if connection.fileno() != -1:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
