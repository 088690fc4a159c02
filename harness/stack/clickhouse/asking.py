"""A question to any ClickHouse, ours or a real one, over its HTTP interface: bounded, no client to keep."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlencode

from harness.model.stack import Address
from harness.stack.probe import Answer, exchange

LIBRARY: Final = "tocsin"
"""What our interface calls itself, so that nobody takes the library behind it for a server."""

_STATEMENT_SECONDS = 60.0


async def ask(
    address: Address, statement: str, *, database: str = "default", within_seconds: float = _STATEMENT_SECONDS
) -> Answer | str:
    """Runs a statement; a sentence instead of an answer where none came. Its body ends as ClickHouse ends it."""
    body = statement.encode()
    path = "/?" + urlencode({"database": database, "wait_end_of_query": "1", "async_insert": "0"})
    head = f"POST {path} HTTP/1.0\r\nHost: {address}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    raw = await exchange(address, head.encode() + body, within_seconds=within_seconds)
    if isinstance(raw, str):
        return raw
    top, found, rest = raw.partition(b"\r\n\r\n")
    words = top.split(None, 2)
    if not found or len(words) < 2 or not words[0].startswith(b"HTTP/") or not words[1].isdigit():
        return f"{address} does not speak HTTP"
    return Answer(int(words[1]), rest.decode(errors="replace"))
