"""What a newcomer meets who connects to a component: an answer, a refusal, a reset, or silence.

Faults of paths and processes share this and never each other.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from enum import StrEnum

from harness.drive.look import LOOK_SECONDS, Look
from harness.model.stack import Address

_FIRST_BYTES = 5
"""Enough to know who speaks: `HTTP/`, `+PONG`, a MySQL packet's header and its first byte."""
_PROTOCOL = 10
ASK = b"GET / HTTP/1.0\r\n\r\n"
"""What every HTTP server answers somehow."""
PING = b"PING\r\n"
"""What Redis answers with `+PONG` (redis.io, RESP, inline commands)."""


class Met(StrEnum):
    """What became of a connection."""

    ANSWER = "was answered"
    REFUSED = "was refused"
    RESET = "was reset"
    ENDED = "was taken and ended without a word"
    SILENCE = "was taken and heard nothing"
    UNMADE = "was not made"


@dataclass(frozen=True, slots=True)
class Meeting:
    """One connection: what became of it, and that as a clause for a sentence.

    Args:
        met: what became of it.
        said: the first bytes that it heard.
        began: the instant at which it was begun, in Unix seconds.
        saw: the clause.
    """

    met: Met
    said: bytes
    began: float
    saw: str

    @property
    def dead(self) -> bool:
        """Whether nobody was there: refused or cut, by whoever listens in the path of a component that is gone."""
        return self.met in {Met.REFUSED, Met.RESET, Met.ENDED}

    def look(self, there: bool) -> Look:
        """It as a look; a silence was one from its beginning."""
        return Look(there, self.saw, self.began if self.met is Met.SILENCE else None)


async def meet(address: Address, say: bytes = b"", *, within_seconds: float = LOOK_SECONDS) -> Meeting:
    """One fresh connection: says something, or nothing where the far side speaks first, and reads the first bytes."""
    began, said, writer, taken = time.time(), b"", None, False
    try:
        async with asyncio.timeout(within_seconds):
            reader, writer = await asyncio.open_connection(address.host, address.port)
            taken = True
            writer.write(say)
            said = await reader.readexactly(_FIRST_BYTES)
        met = Met.ANSWER
    except asyncio.IncompleteReadError:
        met = Met.ENDED
    except TimeoutError:
        met = Met.SILENCE if taken else Met.UNMADE
    except ConnectionRefusedError:
        met = Met.REFUSED
    except OSError as error:
        met = Met.RESET if isinstance(error, ConnectionResetError | BrokenPipeError) else Met.UNMADE
    finally:
        if writer is not None:
            writer.close()
    lasted = f" within {within_seconds:g} s" if met in {Met.SILENCE, Met.UNMADE} else ""
    return Meeting(met, said, began, f"a fresh connection to {address} {met.value}{lasted}")


async def greeted(address: Address) -> Look:
    """Whether a MySQL server greets: three bytes of length, a number, the protocol's version.

    Source: MySQL client/server protocol, Protocol::HandshakeV10; an error packet begins with 255 instead.
    """
    meeting = await meet(address)
    if meeting.met is not Met.ANSWER:
        return meeting.look(False)
    if meeting.said[4] != _PROTOCOL:
        return Look(False, f"{address} began with {meeting.said[4]} where a MySQL server says {_PROTOCOL}")
    return Look(True, f"a MySQL server at {address} greeted with protocol {_PROTOCOL}")


GREETING = f"a MySQL handshake of protocol {_PROTOCOL} through the relay"
"""What `greeted` looks for."""


async def ponged(address: Address) -> Look:
    """Whether a Redis server answers a PING."""
    meeting = await meet(address, PING)
    if meeting.met is not Met.ANSWER:
        return meeting.look(False)
    if meeting.said != b"+PONG":
        return Look(False, f"{address} answered PING with {meeting.said.decode(errors='replace')!r}")
    return Look(True, f"a Redis server at {address} answered PING")
