"""The ways in which a relay's path can fail, with real sockets: reset, half open, slow, and back."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import random
import socket
import time
import tracemalloc
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest
from relay_doubles import component, descriptors, dial, echo, relayed, until

from harness.errors import StackError
from harness.stack.relay import Relay
from harness.stack.relay_pair import HELD_BYTES

QUIET_SECONDS = 0.15
"""How long nothing is heard where nothing is carried; an echo through a relay takes about 1 ms."""


async def says_nothing(reader: asyncio.StreamReader) -> bool:
    """Whether a connection is open and silent for a while."""
    try:
        async with asyncio.timeout(QUIET_SECONDS):
            await reader.read(1)
    except TimeoutError:
        return True
    return False


async def echoes(relay: Relay, within_seconds: float = 2) -> bool:
    """Whether a fresh connection carries a word there and back."""
    reader, writer = await dial(relay)
    try:
        async with asyncio.timeout(within_seconds):
            writer.write(b"word")
            return await reader.readexactly(4) == b"word"
    finally:
        writer.close()


async def test_reset_cuts_what_is_open_and_resets_what_is_new() -> None:
    """Both sides of an open connection see a reset; a new one is taken, never refused, and reset at once."""
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
        await relay.reset()
        assert (relay.connected, relay.refusing) == (0, False)
        with pytest.raises(ConnectionResetError):
            await reader.read()
        await until(lambda: seen_upstream == [ConnectionResetError])
        for _ in range(20):
            # Told by the kernel while it connects or when it reads, whichever is first; never `refused`.
            with pytest.raises(ConnectionResetError):
                await echoes(relay)
        assert relay.accepted == 21
        writer.close()
        await relay.restore()
        reader, writer = await dial(relay)
        assert await reader.readexactly(4) == b"here"
        writer.close()


async def test_half_open_keeps_connections_and_carries_nothing() -> None:
    """Old and new connections stay open and silent; the component hears no word of either and of no new one."""
    heard: list[bytes] = []

    async def hear_and_echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(b"connected")
        while data := await reader.read(100):
            heard.append(data)
            writer.write(data)

    async with relayed(hear_and_echo) as relay:
        old_reader, old_writer = await dial(relay)
        old_writer.write(b"before")
        assert await old_reader.readexactly(6) == b"before"
        await relay.half_open()
        new_reader, new_writer = await dial(relay)
        for writer in (old_writer, new_writer):
            writer.write(b"lost")
        assert all(await asyncio.gather(says_nothing(old_reader), says_nothing(new_reader)))
        assert heard == [b"connected", b"before"]
        assert (relay.connected, relay.refusing) == (2, False)
        old_writer.close()
        new_writer.close()


async def test_a_component_that_speaks_is_not_heard_while_half_open() -> None:
    """The other direction is as silent, and the end of the component's side is not passed on."""
    speak = asyncio.Event()

    async def wait_then_speak(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        await speak.wait()
        writer.write(b"unheard")
        await writer.drain()

    async with relayed(wait_then_speak) as relay:
        reader, writer = await dial(relay)
        assert await reader.readexactly(5) == b"hello"
        await relay.half_open()
        speak.set()
        assert await says_nothing(reader)
        assert relay.connected == 1
        writer.close()


async def test_half_open_is_reset_at_the_end_and_nothing_is_carried_late() -> None:
    """After `restore` nobody gets what was said meanwhile: whoever held out is reset, and a new connection works."""
    heard: list[bytes] = []

    async def hear_and_echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(100):
            heard.append(data)
            writer.write(data)

    async with relayed(hear_and_echo) as relay:
        old_reader, old_writer = await dial(relay)
        old_writer.write(b"before")
        assert await old_reader.readexactly(6) == b"before"
        await relay.half_open()
        new_reader, new_writer = await dial(relay)
        for writer in (old_writer, new_writer):
            writer.write(b"lost")
        await until(lambda: relay.connected == 2)
        await relay.restore()
        for reader, writer in ((old_reader, old_writer), (new_reader, new_writer)):
            with pytest.raises(ConnectionResetError):
                await reader.read()
            writer.close()
        assert await echoes(relay)
        assert heard == [b"before", b"word"]


async def test_who_gives_up_on_a_half_open_path_is_let_go() -> None:
    """Clients that try and give up, again and again, use no descriptors up."""
    async with relayed(echo) as relay:
        await relay.half_open()
        held = descriptors()
        for _ in range(50):
            _, writer = await dial(relay)
            writer.write(b"anybody?")
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
        await until(lambda: relay.connected == 0)
        await until(lambda: descriptors() == held)
        assert relay.accepted == 50


@pytest.mark.parametrize("harshly", [False, True], ids=["ended", "reset"])
async def test_a_component_keeps_its_connection_when_its_client_gave_up_on_a_half_open_path(harshly: bool) -> None:
    """As behind a dead path: the component is not told until the path is there again, and then by a reset."""
    ends: list[type[BaseException] | None] = []

    async def note_the_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        try:
            await reader.read()
        except ConnectionResetError as reset:
            ends.append(type(reset))
        else:
            ends.append(None)

    async with relayed(note_the_end) as relay:
        reader, writer = await dial(relay)
        assert await reader.readexactly(5) == b"hello"
        await relay.half_open()
        if harshly:
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            writer.transport.abort()
        writer.close()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(QUIET_SECONDS):
                await until(lambda: bool(ends))
        await relay.restore()
        await until(lambda: ends == [ConnectionResetError])


async def test_a_reader_that_was_paused_does_not_keep_a_half_open_client() -> None:
    """A connection that back-pressure had stopped is let go too when its client gives up."""
    release = asyncio.Event()

    async def deaf(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        transport = writer.transport
        assert isinstance(transport, asyncio.Transport)
        transport.pause_reading()
        await release.wait()

    async with relayed(deaf) as relay:
        client = socket.create_connection((relay.address.host, relay.address.port))
        client.setblocking(False)
        quiet_since = time.monotonic()
        while time.monotonic() - quiet_since < QUIET_SECONDS:
            with contextlib.suppress(BlockingIOError):
                client.send(b"x" * 65536)
                quiet_since = time.monotonic()
            await asyncio.sleep(0.001)
        held = descriptors()
        await relay.half_open()
        client.close()
        await until(lambda: descriptors() == held - 2)
        release.set()


async def test_delay_holds_back_answers_and_nothing_else() -> None:
    """A round trip takes the delay once, in an old connection and in a new one; the component hears without it."""
    heard_at: list[float] = []

    async def note_and_echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(100):
            heard_at.append(time.monotonic())
            writer.write(data)

    async with relayed(note_and_echo) as relay:
        old = await dial(relay)
        await relay.delay(timedelta(milliseconds=200))
        for reader, writer in (old, await dial(relay)):
            begun = time.monotonic()
            writer.write(b"word")
            assert await reader.readexactly(4) == b"word"
            assert 0.2 <= time.monotonic() - begun < 0.38
            assert heard_at[-1] - begun < 0.15
            writer.close()


async def test_delayed_answers_keep_their_order_and_their_distance() -> None:
    """Many small answers arrive as one stream in order, and their delays do not add up."""

    async def count(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for number in range(200):
            writer.write(b"%05d" % number)
            await asyncio.sleep(0.0005)

    async with relayed(count) as relay:
        await relay.delay(timedelta(milliseconds=100))
        begun = time.monotonic()
        reader, writer = await dial(relay)
        assert await reader.read() == b"".join(b"%05d" % number for number in range(200))
        assert 0.1 <= time.monotonic() - begun < 2
        writer.close()
        await until(lambda: relay.connected == 0)


async def test_a_large_delayed_answer_is_whole_and_does_not_fill_the_memory() -> None:
    """24 MiB at a delay: checked by digest, while the harness holds a few times `HELD_BYTES` at most."""
    block = random.Random(5).randbytes(1024 * 1024)
    blocks = 24

    async def pour(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _number in range(blocks):
            writer.write(block)
            await writer.drain()

    async with relayed(pour) as relay:
        await relay.delay(timedelta(milliseconds=20))
        tracemalloc.start()
        try:
            reader, writer = await dial(relay)
            digest, total = hashlib.sha256(), 0
            while data := await reader.read(1 << 16):
                digest.update(data)
                total += len(data)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        writer.close()
    assert total == blocks * len(block)
    assert digest.digest() == hashlib.sha256(block * blocks).digest()
    assert peak < 6 * HELD_BYTES


async def test_a_reset_does_not_overtake_a_delayed_answer() -> None:
    """What the component said before it reset its connection is heard, and then the reset."""

    async def speak_and_reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"last words")
        await reader.readexactly(1)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        writer.transport.abort()

    async with relayed(speak_and_reset) as relay:
        await relay.delay(timedelta(milliseconds=100))
        reader, writer = await dial(relay)
        writer.write(b"x")
        assert await reader.readexactly(10) == b"last words"
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()
        await until(lambda: relay.connected == 0)


async def test_restore_hands_out_what_is_held_back_and_takes_the_delay_away() -> None:
    """Answers under way arrive at once and before later ones, their connection lives on, and new answers are quick."""
    async with relayed(echo) as relay:
        await relay.delay(timedelta(seconds=30))
        reader, writer = await dial(relay)
        writer.write(b"held ")
        assert await says_nothing(reader)
        await relay.restore()
        begun = time.monotonic()
        writer.write(b"free")
        async with asyncio.timeout(5):
            assert await reader.readexactly(9) == b"held free"
        assert time.monotonic() - begun < 1
        writer.close()


async def test_a_delay_that_is_shortened_lets_nothing_overtake() -> None:
    """What is said under the new delay comes after what is still held under the old one."""
    async with relayed(echo) as relay:
        await relay.delay(timedelta(milliseconds=300))
        reader, writer = await dial(relay)
        writer.write(b"first ")
        assert await says_nothing(reader)
        await relay.delay(timedelta(milliseconds=1))
        writer.write(b"second")
        async with asyncio.timeout(5):
            assert await reader.readexactly(12) == b"first second"
        writer.close()


async def test_a_relay_that_delays_can_be_closed_with_answers_under_way() -> None:
    """Nothing held back fires after `close`: no timer, no task, no socket."""
    async with component(echo) as upstream:
        tasks, held = asyncio.all_tasks(), descriptors()
        relay = await Relay.open(upstream)
        await relay.delay(timedelta(seconds=30))
        reader, writer = await dial(relay)
        writer.write(b"held")
        assert await says_nothing(reader)
        await relay.close()
        assert relay.connected == 0
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()
        await until(lambda: asyncio.all_tasks() == tasks)
        await until(lambda: descriptors() == held)
        loop = asyncio.get_running_loop()
        timers = [handle for handle in loop._scheduled if not handle.cancelled()]  # type: ignore[attr-defined]
        assert timers == []


Enter = Callable[[Relay], Awaitable[None]]
MODES: dict[str, Enter] = {
    "refuse": Relay.refuse,
    "reset": Relay.reset,
    "half-open": Relay.half_open,
    "delay": lambda relay: relay.delay(timedelta(milliseconds=30)),
}


@pytest.mark.parametrize(("first", "second"), [*itertools.product(MODES, MODES)])
async def test_every_mode_can_follow_every_other_and_be_restored(first: str, second: str) -> None:
    """One mode, then another, then restored: the path works, on its old port and at once, and nothing is left open."""
    async with relayed(echo) as relay:
        address, held = relay.address, descriptors()
        clients = [await dial(relay)]
        for mode in (first, second):
            await MODES[mode](relay)
            assert relay.refusing == (mode == "refuse")
            with contextlib.suppress(ConnectionError):
                clients.append(await dial(relay))
        await relay.restore()
        assert relay.address == address
        begun = time.monotonic()
        assert await echoes(relay)
        assert time.monotonic() - begun < 1
        for _, writer in clients:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
        await until(lambda: relay.connected == 0)
        await until(lambda: descriptors() == held)


@pytest.mark.parametrize("mode", ["half-open", "reset"])
async def test_connections_that_are_just_being_made_are_caught(mode: str) -> None:
    """A mode that begins at any moment of a connection's making lets no word through; a hundred at shifting moments."""
    async with relayed(echo) as relay:
        for turns in range(20):
            dialling = [asyncio.create_task(dial(relay)) for _ in range(5)]
            for _ in range(turns):
                await asyncio.sleep(0)
            await MODES[mode](relay)
            for outcome in await asyncio.gather(*dialling, return_exceptions=True):
                if isinstance(outcome, BaseException):
                    assert isinstance(outcome, ConnectionResetError)
                    continue
                reader, writer = outcome
                with contextlib.suppress(ConnectionError, TimeoutError):
                    writer.write(b"word")
                    async with asyncio.timeout(0.005):
                        assert await reader.read(4) == b"", "it was carried"
                writer.close()
            await relay.restore()
        assert await echoes(relay)


@pytest.mark.parametrize("mode", ["reset", "half-open", "delay"])
async def test_a_closed_relay_takes_up_no_mode(mode: str) -> None:
    """A port that was given back is not listened on again."""
    async with component(echo) as upstream:
        relay = await Relay.open(upstream)
        await relay.close()
        with pytest.raises(StackError, match="was closed"):
            await MODES[mode](relay)
