"""One look at a component over the wire: short, bounded, without a client that would have to be kept."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from harness.model.stack import Address

_LOOK_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What an HTTP server answered."""

    status: int
    body: str


async def ask(
    address: Address, path: str, *, method: str = "GET", within_seconds: float = _LOOK_SECONDS
) -> Answer | str:
    """One HTTP request without a body; a sentence instead of an answer where none came."""
    request = f"{method} {path} HTTP/1.0\r\nHost: {address}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    raw = await exchange(address, request.encode(), within_seconds=within_seconds)
    if isinstance(raw, str):
        return raw
    head, found, body = raw.partition(b"\r\n\r\n")
    words = head.split(None, 2)
    if not found or len(words) < 2 or not words[0].startswith(b"HTTP/") or not words[1].isdigit():
        return f"{address} does not speak HTTP"
    return Answer(int(words[1]), body.decode(errors="replace"))


async def exchange(
    address: Address, request: bytes, *, until: bytes = b"", within_seconds: float = _LOOK_SECONDS
) -> bytes | str:
    """Connects, sends, reads to the end (or to `until`); a sentence where that failed."""
    try:
        async with asyncio.timeout(within_seconds):
            reader, writer = await asyncio.open_connection(address.host, address.port)
            try:
                writer.write(request)
                return await (reader.readuntil(until) if until else reader.read(-1))
            finally:
                writer.close()
    except TimeoutError:
        return f"{address} did not answer within {within_seconds:g} s"
    except ConnectionRefusedError:
        return f"nobody listens at {address}"
    except asyncio.IncompleteReadError:
        return f"{address} closed the connection"
    except (OSError, asyncio.LimitOverrunError) as error:
        return f"{address}: {error}"


async def expect_ok(address: Address, path: str) -> str | None:
    """None where a GET is answered with 200, else what came instead."""
    answer = await ask(address, path)
    if isinstance(answer, str):
        return answer
    return (
        None if answer.status == 200 else f"http://{address}{path} answers {answer.status}: {answer.body[:200].strip()}"
    )


async def expect_sample(address: Address, path: str, sample: str) -> str | None:
    """None where an exposition holds this line (`mysql_up 1`), else what it says instead."""
    answer = await ask(address, path)
    if isinstance(answer, str):
        return answer
    name = sample.split(maxsplit=1)[0]
    lines = [line for line in answer.body.splitlines() if line.split(" ")[0] == name]
    if sample in lines:
        return None
    return f"http://{address}/metrics says `{lines[0]}`" if lines else f"http://{address}/metrics has no {name}"
