"""Servers behind a relay, and clients before it, with real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from harness.model.stack import Address
from harness.stack.relay import Relay

Speak = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def component(speak: Speak) -> AsyncIterator[Address]:
    """A server that treats each connection as `speak` says."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await speak(reader, writer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    try:
        yield Address(host, port)
    finally:
        server.close()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Sends back what comes until the client has said all."""
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


@contextlib.asynccontextmanager
async def relayed(speak: Speak) -> AsyncIterator[Relay]:
    """A relay before such a server."""
    async with component(speak) as upstream:
        relay = await Relay.open(upstream)
        try:
            yield relay
        finally:
            await relay.close()


async def until(true: Callable[[], bool]) -> None:
    """Waits until something is so, at most 5 s."""
    give_up = time.monotonic() + 5
    while not true():
        assert time.monotonic() < give_up
        await asyncio.sleep(0.002)


async def dial(relay: Relay) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection through the relay."""
    return await asyncio.open_connection(relay.address.host, relay.address.port)


def descriptors() -> int:
    """How many sockets this process holds."""
    found = 0
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found += str(entry.readlink()).startswith("socket:")
    return found
