"""A fault's own eyes: one look at a component, and looking again until something is seen.

Faults share this and never each other. A look is made over a connection of its own, so that no kept-alive connection
hides what a newcomer would meet.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import aiohttp

from harness.drive.faults import Proof
from harness.errors import FaultError, StackError
from harness.model.stack import Address

LOOK_SECONDS = 1.0
"""How long one look may take."""
_PAUSE_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Look:
    """One look: whether what was looked for was `there`, and what was seen, as a clause for a sentence.

    `since` is the instant (Unix seconds) from which it was so, where that was before the look ended: a silence of one
    second began a second ago.
    """

    there: bool
    saw: str
    since: float | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer."""

    status: int
    body: str


@dataclass(frozen=True, slots=True)
class Silence:
    """No HTTP answer. `dead` where the connection was refused or cut; a mere time-out proves nothing."""

    why: str
    dead: bool


async def ask(
    address: Address, path: str, timeout_seconds: float = LOOK_SECONDS, *, secure: bool = False
) -> Answer | Silence:
    """One GET over a fresh connection; `secure` by HTTPS, whoever signed the certificate."""
    try:
        async with (
            aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(force_close=True, ssl=False),
                timeout=aiohttp.ClientTimeout(total=timeout_seconds),
                headers={"Accept": "text/plain, */*;q=0.5"},
            ) as session,
            session.get(f"{'https' if secure else 'http'}://{address}{path}", allow_redirects=False) as response,
        ):
            return Answer(response.status, await response.text(errors="replace"))
    except TimeoutError:
        return Silence(f"no answer from {address} within {timeout_seconds:g} s", dead=False)
    except aiohttp.ClientConnectorError as error:
        refused = isinstance(error.os_error, ConnectionRefusedError)
        return Silence(
            f"{address} refused the connection" if refused else f"{address}: {error.os_error}",
            dead=refused or isinstance(error.os_error, ConnectionResetError),
        )
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError):
        return Silence(f"{address} cut the connection without an answer", dead=True)
    except aiohttp.ClientError as error:
        return Silence(f"{address} answered nothing that is HTTP: {error}", dead=False)


async def answers(address: Address, path: str, status: int = 200, *, secure: bool = False) -> Look:
    """Whether a GET is answered with this status."""
    answer = await ask(address, path, secure=secure)
    if isinstance(answer, Silence):
        return Look(False, answer.why)
    return Look(answer.status == status, f"GET {path} at {address} answered {answer.status}")


async def watch(
    look: Callable[[], Awaitable[Look]],
    deadline_seconds: float,
    *,
    otherwise: type[FaultError],
    what: str,
    expected: str,
    pause_seconds: float = _PAUSE_SECONDS,
) -> Proof:
    """Looks until what is looked for is there; the proof carries the instant at which that look ended (or its `since`).

    Raises:
        FaultError: it was not there until the deadline; of the kind that `otherwise` names, with `what`, `expected`
            and what the last look saw.
    """
    begun = time.monotonic()
    while True:
        last = await look()
        if last.there:
            return Proof(time.time() if last.since is None else last.since, last.saw)
        waited = time.monotonic() - begun
        if waited >= deadline_seconds:
            raise otherwise(what, expected=expected, seen=last.saw, waited_seconds=waited)
        await asyncio.sleep(pause_seconds)


@contextmanager
def told_as_fault(what: str) -> Iterator[None]:
    """What the stack could not do for a fault is told as the fault's own failure.

    Raises:
        FaultError: in place of a StackError.
    """
    try:
        yield
    except StackError as error:
        raise FaultError(
            what, expected=error.expected, seen=error.what, output=error.output, hint=error.hint
        ) from error


def address_facts(address: Address) -> dict[str, str]:
    """An address as the undo journal keeps it."""
    return {"host": address.host, "port": str(address.port)}
