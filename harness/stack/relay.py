"""A TCP relay in the path of a component, so that the path can fail in the ways in which paths fail.

A relay passes bytes both ways untouched: half-closes are passed on, a slow reader slows its writer, nothing waits for
Nagle's algorithm (asyncio turns it off for every TCP connection).

- `refuse`, a dead program on a living host: resets (RST) every connection and stops listening, so that a new one is
  refused by the kernel (ECONNREFUSED) and not by us. The port stays bound, so that no outgoing connection of the
  machine takes it as its own; `AddressTaken` says so where somebody listens there all the same.
- `reset`, a firewall that rejects: resets every connection; a new one is accepted and reset at once.
- `half_open`, a far end that is gone without a word: every connection stays open and carries nothing, and so does a new
  one, which the component never hears of. What is sent meanwhile is lost; only who ends its own side is let go.
- `delay`, a slow far end: what the component says is held back, in order; at most `HELD_BYTES` a connection are, and
  beyond that the component waits, so that a connection carries no more than that in each delay.
- `restore` passes bytes again. What was half open is reset then, as by a far end that came back and knows nothing of
  it: no statement that its client has long given up is carried out late.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Iterable
from datetime import timedelta
from enum import Enum

from harness.errors import AddressTaken, StackError
from harness.model.stack import Address
from harness.stack.relay_pair import Pair, reset_on_close

_BACKLOG = 128
_ACCEPT_AGAIN_SECONDS = 0.05
"""How long accepting rests when the process is out of descriptors; the backlog keeps who waits."""


class _Mode(Enum):
    """What a relay does with connections."""

    CARRY = "carry what they say"
    REFUSE = "refuse them"
    RESET = "take and reset them"
    MUTE = "keep them open and carry nothing"


class Relay:
    """One relay between whoever connects to `address` and the component at `upstream`. Made by `Relay.open`."""

    def __init__(self, upstream: Address, bound: socket.socket) -> None:
        self._loop = asyncio.get_running_loop()
        self._upstream = upstream
        self._socket = bound
        host, port = bound.getsockname()
        self._address = Address(host, port)
        self._listening = False
        self._closed = False
        self._mode = _Mode.CARRY
        self._delay_seconds = 0.0
        self._pairs: set[Pair] = set()
        self._accepted = 0

    @classmethod
    async def open(cls, upstream: Address, *, listen: Address | None = None) -> Relay:
        """A relay that listens, on a free port of loopback unless `listen` says where.

        Raises:
            AddressTaken: somebody else holds that port.
            StackError: it cannot listen for another reason.
        """
        relay = cls(upstream, _bind(listen or Address("127.0.0.1", 0)))
        try:
            relay._listen()
        except StackError:
            relay._socket.close()
            raise
        return relay

    @property
    def address(self) -> Address:
        """Where the relay listens."""
        return self._address

    @property
    def upstream(self) -> Address:
        """The component behind it."""
        return self._upstream

    @property
    def refusing(self) -> bool:
        """Whether new connections are refused at this moment."""
        return not self._listening

    @property
    def accepted(self) -> int:
        """How many connections were accepted so far."""
        return self._accepted

    @property
    def connected(self) -> int:
        """How many connections are open now."""
        return len(self._pairs)

    async def refuse(self) -> None:
        """Resets every connection, on both sides, and refuses new ones; returns when the last one is gone."""
        self._mode = _Mode.REFUSE
        if self._listening:
            self._stop_listening()
            try:
                self._socket = _bind(self._address)
            except StackError:
                # Somebody was quicker than two system calls. The refusal stands; `restore` reports who is in the way.
                self._socket = _unbound()
        await self._cut(self._pairs)

    async def reset(self) -> None:
        """Resets every connection, and each new one as soon as it is made; returns when the last one is gone.

        Raises:
            AddressTaken: it refused before, and somebody took the port meanwhile.
            StackError: the relay was closed, or cannot listen for another reason.
        """
        self._enter(_Mode.RESET)
        await self._cut(self._pairs)

    async def half_open(self) -> None:
        """Keeps every connection open and carries nothing any more, new ones included.

        Raises:
            AddressTaken: it refused before, and somebody took the port meanwhile.
            StackError: the relay was closed, or cannot listen for another reason.
        """
        self._enter(_Mode.MUTE)
        for pair in self._pairs:
            pair.mute()

    async def delay(self, delay: timedelta) -> None:
        """Passes bytes through and holds back by this long what the component says, in old connections and in new ones.

        Raises:
            AddressTaken: it refused before, and somebody took the port meanwhile.
            StackError: the relay was closed, or cannot listen for another reason.
        """
        self._enter(_Mode.CARRY)
        self._delay_seconds = delay.total_seconds()
        await self._cut(pair for pair in self._pairs if pair.muted)
        for pair in self._pairs:
            pair.delay(self._delay_seconds)

    async def restore(self) -> None:
        """Passes bytes through at once, on the same port; nothing if it does.

        Raises:
            AddressTaken: somebody took the port meanwhile; may be tried again.
            StackError: the relay was closed, or cannot listen for another reason.
        """
        await self.delay(timedelta(0))

    async def close(self) -> None:
        """Ends every connection and gives the port back; may be called twice."""
        self._closed = True
        if self._listening:
            self._stop_listening()
        self._socket.close()
        await self._cut(self._pairs)

    def _enter(self, mode: _Mode) -> None:
        """Takes up a mode in which the relay listens; it listens again on the same port where it did not."""
        if self._closed:
            raise StackError(f"The relay at {self._address} was closed and cannot be restored")
        if not self._listening:
            if self._socket.getsockname()[1] != self._address.port:
                self._socket.close()
                self._socket = _unbound()
                self._socket = _bind(self._address)
            self._listen()
        self._mode = mode

    def _listen(self) -> None:
        try:
            self._socket.listen(_BACKLOG)
        except OSError as error:
            raise _cannot_listen(self._address, error) from error
        self._listening = True
        self._loop.add_reader(self._socket, self._accept)

    def _stop_listening(self) -> None:
        self._listening = False
        self._loop.remove_reader(self._socket)
        self._socket.close()

    async def _cut(self, pairs: Iterable[Pair]) -> None:
        ends = [pair.cut() for pair in pairs]
        if ends:
            await asyncio.wait(ends)

    def _accept(self) -> None:
        """Takes one connection from the backlog; the loop calls again while there are more."""
        try:
            client, _ = self._socket.accept()
        except (BlockingIOError, ConnectionAbortedError, InterruptedError):
            return
        except OSError:
            # Out of descriptors: the socket stays readable, so accepting has to rest or the loop would spin.
            listening = self._socket
            self._loop.remove_reader(listening)
            self._loop.call_later(_ACCEPT_AGAIN_SECONDS, self._accept_again, listening)
            return
        self._accepted += 1
        if self._mode is _Mode.RESET:
            reset_on_close(client)
            client.close()
            return
        pair = Pair(
            self._loop,
            client,
            self._upstream,
            muted=self._mode is _Mode.MUTE,
            delay_seconds=self._delay_seconds,
        )
        self._pairs.add(pair)
        pair.ended.add_done_callback(lambda _: self._pairs.discard(pair))

    def _accept_again(self, listening: socket.socket) -> None:
        if self._listening and self._socket is listening:
            self._loop.add_reader(listening, self._accept)


def _unbound() -> socket.socket:
    fresh = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    fresh.setblocking(False)
    fresh.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return fresh


def _bind(address: Address) -> socket.socket:
    """A socket that holds the port and does not listen yet: connections to it are refused."""
    bound = _unbound()
    try:
        bound.bind((address.host, address.port))
    except OSError as error:
        bound.close()
        raise _cannot_listen(address, error) from error
    return bound


def _cannot_listen(address: Address, error: OSError) -> StackError:
    if error.errno == errno.EADDRINUSE:
        return AddressTaken(
            f"The relay cannot listen at {address}",
            expected="the port to be free, or held by the relay alone",
            seen="somebody else listens there",
            hint=f"`ss -ltnp 'sport = :{address.port}'` names the process",
        )
    return StackError(f"The relay cannot listen at {address}", seen=str(error))
