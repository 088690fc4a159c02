"""The relay in the path, with real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import hashlib
import random
import socket
import socketserver
import time
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from relay_doubles import component, descriptors, dial, echo, relayed, until

from harness.errors import AddressTaken, StackError
from harness.model.stack import Address
from harness.stack.relay import Relay


@settings(max_examples=25, deadline=None)
@given(chunks=st.lists(st.binary(min_size=1, max_size=4096), max_size=12))
def test_bytes_pass_both_ways_intact(chunks: list[bytes]) -> None:
    """Whatever is sent, in whatever pieces, comes out the same on the far side and back."""
    heard: list[bytes] = []

    async def scene() -> bytes:
        async def listen_then_echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            said = await reader.read()
            heard.append(said)
            writer.write(said[::-1])
            await writer.drain()

        async with relayed(listen_then_echo) as relay:
            reader, writer = await dial(relay)
            for chunk in chunks:
                writer.write(chunk)
            writer.write_eof()
            answer = await reader.read()
            writer.close()
            return answer

    answer = asyncio.run(scene())
    assert heard == [b"".join(chunks)]
    assert answer == b"".join(chunks)[::-1]


async def test_a_large_transfer_arrives_whole_in_both_directions_at_once() -> None:
    """16 MiB there and back, checked by digest, while both directions are busy."""
    payload = random.Random(3).randbytes(16 * 1024 * 1024)

    async with relayed(echo) as relay:
        reader, writer = await dial(relay)

        async def send() -> None:
            writer.write(payload)
            await writer.drain()
            writer.write_eof()

        sending = asyncio.create_task(send())
        digest = hashlib.sha256()
        while data := await reader.read(1 << 20):
            digest.update(data)
        await sending
        writer.close()
    assert digest.digest() == hashlib.sha256(payload).digest()


async def test_a_slow_reader_slows_its_writer() -> None:
    """Back-pressure: where nobody reads, the relay does not take in what it cannot give on."""
    release = asyncio.Event()

    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        transport = writer.transport
        assert isinstance(transport, asyncio.Transport)
        transport.pause_reading()
        await release.wait()

    async with relayed(deaf) as relay:
        client = socket.create_connection((relay.address.host, relay.address.port))
        client.setblocking(False)
        sent, chunk = 0, b"x" * 65536
        quiet_since = time.monotonic()
        while time.monotonic() - quiet_since < 0.3:
            try:
                sent += client.send(chunk)
                quiet_since = time.monotonic()
            except BlockingIOError:
                pass
            await asyncio.sleep(0.001)
            assert sent < 64 * 1024 * 1024, "the relay swallows without end"
        assert sent > 0
        client.close()
        release.set()


async def test_a_half_close_is_passed_on_and_the_other_direction_stays_open() -> None:
    """A client that has said all still hears the answer, and the server sees its end of file first."""

    async def answer_at_the_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        said = await reader.read()
        for word in (b"heard ", said, b", and more"):
            writer.write(word)
            await writer.drain()
            await asyncio.sleep(0.005)

    async with relayed(answer_at_the_end) as relay:
        reader, writer = await dial(relay)
        writer.write(b"all")
        writer.write_eof()
        assert await reader.read() == b"heard all, and more"
        writer.close()
        await until(lambda: relay.connected == 0)


class _Greeter(socketserver.StreamRequestHandler):
    """Speaks at once, ends its half, then listens."""

    def handle(self) -> None:
        self.wfile.write(b"\x0agreeting")
        self.connection.shutdown(socket.SHUT_WR)
        self.rfile.read()


async def test_a_server_that_speaks_first_is_heard() -> None:
    """A greeting, as a database sends, is there although the client said nothing; two hundred times out of as many.

    The server runs on a thread of its own, so that its greeting may be there before the client's side is.
    """
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Greeter) as server:
        serving = asyncio.create_task(asyncio.to_thread(server.serve_forever, 0.01))
        relay = await Relay.open(Address("127.0.0.1", server.server_address[1]))
        try:
            for _ in range(200):
                reader, writer = await dial(relay)
                async with asyncio.timeout(2):
                    assert await reader.read() == b"\x0agreeting"
                writer.close()
        finally:
            await relay.close()
            server.shutdown()
            await serving


async def test_a_server_that_only_ends_its_half_is_heard_to_end() -> None:
    """An end of file that comes before the client's side is attached is passed on too."""

    class Silent(_Greeter):
        def handle(self) -> None:
            self.connection.shutdown(socket.SHUT_WR)
            self.rfile.read()

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Silent) as server:
        serving = asyncio.create_task(asyncio.to_thread(server.serve_forever, 0.01))
        relay = await Relay.open(Address("127.0.0.1", server.server_address[1]))
        try:
            for _ in range(200):
                reader, writer = await dial(relay)
                async with asyncio.timeout(2):
                    assert await reader.read() == b""
                writer.close()
        finally:
            await relay.close()
            server.shutdown()
            await serving


async def test_refusing_resets_what_is_open_and_refuses_what_is_new() -> None:
    """Both ends of an open connection see a reset, and a new one is refused by the kernel, not accepted and cut."""
    seen_upstream: list[type[BaseException]] = []

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"here")
        try:
            await reader.read()
        except ConnectionResetError as reset:
            seen_upstream.append(type(reset))

    async with relayed(hold) as relay:
        reader, writer = await dial(relay)
        assert await reader.readexactly(4) == b"here"
        await relay.refuse()
        assert relay.refusing
        assert relay.connected == 0
        with pytest.raises(ConnectionResetError):
            await reader.read()
        with pytest.raises(ConnectionRefusedError):
            await dial(relay)
        await until(lambda: seen_upstream == [ConnectionResetError])
        writer.close()


async def test_a_relay_that_does_not_refuse_lets_a_connection_live() -> None:
    """The twin of the test above: without `refuse` the same connection is neither reset nor refused."""
    async with relayed(echo) as relay:
        reader, writer = await dial(relay)
        writer.write(b"ping")
        assert await reader.readexactly(4) == b"ping"
        second_reader, second_writer = await dial(relay)
        second_writer.write(b"pong")
        assert await second_reader.readexactly(4) == b"pong"
        assert (relay.accepted, relay.connected, relay.refusing) == (2, 2, False)
        writer.close()
        second_writer.close()


async def test_refuse_and_restore_may_be_repeated_on_the_same_port() -> None:
    """Twenty times over, each of the two called twice, the port stays and nothing is left open."""
    async with relayed(echo) as relay:
        address = relay.address
        held = descriptors()
        for _ in range(20):
            await relay.refuse()
            await relay.refuse()
            with pytest.raises(ConnectionRefusedError):
                await dial(relay)
            await relay.restore()
            await relay.restore()
            assert relay.address == address
            reader, writer = await dial(relay)
            writer.write(b"again")
            assert await reader.readexactly(5) == b"again"
            writer.close()
            await writer.wait_closed()
        await until(lambda: relay.connected == 0)
        await until(lambda: descriptors() == held)


async def test_a_port_that_somebody_took_is_told_and_can_be_restored_later() -> None:
    """While the relay refuses, another process listens on its port: `restore` says so, and works once it is gone."""
    async with relayed(echo) as relay:
        await relay.refuse()
        with socket.socket() as intruder:
            intruder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            intruder.bind((relay.address.host, relay.address.port))
            intruder.listen()
            with pytest.raises(AddressTaken, match=str(relay.address.port)):
                await relay.restore()
            assert relay.refusing
        await relay.restore()
        _, writer = await dial(relay)
        writer.close()


async def test_the_port_is_kept_while_the_relay_refuses() -> None:
    """Who asks for that port without wanting to share it does not get it: outgoing connections cannot take it."""
    async with relayed(echo) as relay:
        await relay.refuse()
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind((relay.address.host, relay.address.port))


async def test_a_taken_port_is_told_at_the_start() -> None:
    """Opening on a port where somebody listens raises AddressTaken and leaves no socket behind."""
    async with component(echo) as taken:
        held = descriptors()
        with pytest.raises(AddressTaken, match=f"cannot listen at {taken}"):
            await Relay.open(taken, listen=taken)
        assert descriptors() == held


async def test_a_component_that_is_down_means_a_reset_for_the_client() -> None:
    """Upstream refuses: the client's connection is reset, and works again when the component is back."""
    async with component(echo) as upstream:
        pass
    relay = await Relay.open(upstream)
    try:
        reader, writer = await dial(relay)
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()
        await until(lambda: relay.connected == 0)
    finally:
        await relay.close()


async def test_a_component_that_resets_means_a_reset_for_the_client() -> None:
    """A connection that the component aborts half-way is not ended politely by the relay."""

    async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        writer.transport.abort()

    async with relayed(reset) as relay:
        reader, writer = await dial(relay)
        writer.write(b"x")
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()


async def test_connections_that_are_just_being_made_are_cut_too() -> None:
    """A refusal at any moment of a connection's making leaves none alive; a hundred of them at shifting moments."""
    async with relayed(echo) as relay:
        for turns in range(20):
            dialling = [asyncio.create_task(dial(relay)) for _ in range(5)]
            for _ in range(turns):
                await asyncio.sleep(0)
            await relay.refuse()
            assert relay.connected == 0
            for outcome in await asyncio.gather(*dialling, return_exceptions=True):
                if isinstance(outcome, BaseException):
                    assert isinstance(outcome, ConnectionError)
                    continue
                reader, writer = outcome
                with contextlib.suppress(ConnectionError):
                    assert await asyncio.wait_for(reader.read(), 2) == b""
                writer.close()
            await relay.restore()


async def test_nothing_is_left_of_a_closed_relay() -> None:
    """After `close`, in the middle of traffic, there is no task, no socket and no warning about either."""
    gc.collect()  # what other tests left is theirs
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        async with component(echo) as upstream:
            tasks, held = asyncio.all_tasks(), descriptors()
            relay = await Relay.open(upstream)
            clients = [await dial(relay) for _ in range(10)]
            for _, writer in clients:
                writer.write(b"y" * 100_000)
            await relay.close()
            await relay.close()
            for _, writer in clients:
                writer.close()
                with contextlib.suppress(ConnectionError):
                    await writer.wait_closed()
            del clients, writer
            await until(lambda: asyncio.all_tasks() == tasks)
            await until(lambda: descriptors() == held)
            with pytest.raises(StackError, match="was closed"):
                await relay.restore()


async def test_the_added_latency_is_small() -> None:
    """The median round trip of two small writes exceeds the direct one by less than 10 ms: nothing waits for an ACK.

    With Nagle's algorithm the second write would wait for the delayed acknowledgement of the first, 40 ms.
    """

    async def answer_pairs(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while not reader.at_eof():
            with contextlib.suppress(asyncio.IncompleteReadError):
                writer.write(await reader.readexactly(2))

    async def median(address: Address) -> float:
        reader, writer = await asyncio.open_connection(address.host, address.port)
        took = []
        for _ in range(101):
            begun = time.perf_counter()
            writer.write(b"x")
            await asyncio.sleep(0.0005)
            writer.write(b"y")
            await reader.readexactly(2)
            took.append(time.perf_counter() - begun)
        writer.close()
        return sorted(took)[50]

    async with component(answer_pairs) as direct:
        relay = await Relay.open(direct)
        try:
            assert await median(relay.address) - await median(direct) < 0.010
        finally:
            await relay.close()
