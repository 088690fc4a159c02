"""A TCP relay in the path of a component, so that its connections can be cut and refused as a dead host's are.

A relay passes bytes both ways untouched: half-closes are passed on, a slow reader slows its writer, nothing waits for
Nagle's algorithm (asyncio turns it off for every TCP connection). `refuse` resets (RST) every connection and stops
listening, so that a new connection is refused by the kernel (ECONNREFUSED) and not by us; `restore` listens again on
the same port. The port stays bound in between, so that no outgoing connection of the machine takes it as its own;
`AddressTaken` says so where somebody listens there all the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import struct

from harness.errors import AddressTaken, StackError
from harness.model.stack import Address

_BACKLOG = 128
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
"""SO_LINGER with a linger of zero: closing sends RST instead of FIN (socket(7))."""
_ACCEPT_AGAIN_SECONDS = 0.05
"""How long accepting rests when the process is out of descriptors; the backlog keeps who waits."""


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
        self._pairs: set[_Pair] = set()
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
        if self._listening:
            self._stop_listening()
            try:
                self._socket = _bind(self._address)
            except StackError:
                # Somebody was quicker than two system calls. The refusal stands; `restore` reports who is in the way.
                self._socket = _unbound()
        await self._cut()

    async def restore(self) -> None:
        """Listens again on the same port; nothing if it does.

        Raises:
            AddressTaken: somebody took the port meanwhile; may be tried again.
            StackError: the relay was closed, or cannot listen for another reason.
        """
        if self._closed:
            raise StackError(f"The relay at {self._address} was closed and cannot be restored")
        if self._listening:
            return
        if self._socket.getsockname()[1] != self._address.port:
            self._socket.close()
            self._socket = _unbound()
            self._socket = _bind(self._address)
        self._listen()

    async def close(self) -> None:
        """Ends every connection and gives the port back; may be called twice."""
        self._closed = True
        if self._listening:
            self._stop_listening()
        self._socket.close()
        await self._cut()

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

    async def _cut(self) -> None:
        ends = [pair.cut() for pair in self._pairs]
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
        pair = _Pair(self._loop, client, self._upstream)
        self._pairs.add(pair)
        pair.ended.add_done_callback(lambda _: self._pairs.discard(pair))

    def _accept_again(self, listening: socket.socket) -> None:
        if self._listening and self._socket is listening:
            self._loop.add_reader(listening, self._accept)


class _Pair:
    """One accepted connection and the one to the component that it was given."""

    def __init__(self, loop: asyncio.AbstractEventLoop, client: socket.socket, upstream: Address) -> None:
        self._client = client
        self._sides = (_Side(self), _Side(self))
        self.ended: asyncio.Future[None] = loop.create_future()
        self._joining = loop.create_task(self._join(loop, upstream))
        self._joining.add_done_callback(self._joined)

    def cut(self) -> asyncio.Future[None]:
        """Resets both connections; the future is done when both are gone."""
        self._joining.cancel()
        self.reset()
        return self.ended

    def reset(self) -> None:
        for side in self._sides:
            side.reset()

    def other(self, side: _Side) -> _Side:
        return self._sides[1] if side is self._sides[0] else self._sides[0]

    def side_lost(self) -> None:
        if self._joining.done() and all(side.gone for side in self._sides) and not self.ended.done():
            self.ended.set_result(None)

    async def _join(self, loop: asyncio.AbstractEventLoop, upstream: Address) -> None:
        """Reaches the component first, so that nothing has to be kept until there is somebody to give it to."""
        self._client.setblocking(False)
        with contextlib.suppress(OSError):
            # Suppressed: where the component takes no connection the client, whom we accepted, is told by a reset.
            await loop.create_connection(lambda: self._sides[1], upstream.host, upstream.port)
            await loop.connect_accepted_socket(lambda: self._sides[0], self._client)

    def _joined(self, joining: asyncio.Task[None]) -> None:
        """Joined, failed or cancelled, perhaps before the first step: whoever is alone now is reset."""
        if not joining.cancelled() and (unexpected := joining.exception()) is not None:
            asyncio.get_running_loop().call_exception_handler(
                {"message": "a relay could not join two connections", "exception": unexpected, "task": joining}
            )
        if any(side.gone for side in self._sides) or joining.cancelled():
            self.reset()
            if self._sides[0].gone and self._client.fileno() != -1:
                _reset_on_close(self._client)
                self._client.close()
        self.side_lost()


class _Side(asyncio.Protocol):
    """One of the two connections of a pair: what it reads is written to the other."""

    def __init__(self, pair: _Pair) -> None:
        self._pair = pair
        self._transport: asyncio.Transport | None = None
        self._read_all = False
        self._lost = False
        self._owed: list[bytes] = []
        self._owed_eof = False

    @property
    def gone(self) -> bool:
        """Whether there is no connection: not yet made, or lost."""
        return self._transport is None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._pair.other(self).resume_reading()  # first: what is owed may be so much that it is paused again
        transport.writelines(self._owed)
        self._owed.clear()
        if self._owed_eof:
            transport.write_eof()

    def data_received(self, data: bytes) -> None:
        other = self._pair.other(self)
        if other.gone:
            # A server that speaks first, before its client is attached. Pausing in `connection_made` would not do:
            # until Python 3.12 the loop begins to read after it all the same.
            self.pause_reading()
        other.write(data)

    def eof_received(self) -> bool:
        self._read_all = True
        other = self._pair.other(self)
        if other.has_read_all:
            self.close()
            other.close()
        else:
            other.write_eof()
        return True  # the other direction stays open: a half-close is passed on, nothing more

    def pause_writing(self) -> None:
        self._pair.other(self).pause_reading()

    def resume_writing(self) -> None:
        self._pair.other(self).resume_reading()

    def connection_lost(self, error: Exception | None) -> None:
        self._transport, self._lost = None, True
        if error is not None:
            self._pair.other(self).reset()
        self._pair.side_lost()

    @property
    def has_read_all(self) -> bool:
        return self._read_all

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

    def pause_reading(self) -> None:
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if self._transport is not None:
            self._transport.resume_reading()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def reset(self) -> None:
        if self._transport is not None:
            _reset_on_close(self._transport.get_extra_info("socket"))
            self._transport.abort()


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


def _reset_on_close(connection: socket.socket) -> None:
    if connection.fileno() != -1:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
