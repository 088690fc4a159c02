"""More records than a run writes by itself: as many as a night has to account for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from harness.drive.records.asking import befall, in_store
from harness.drive.records.way import Way
from harness.errors import HarnessError, StackError

BURST: Final = 2_500
"""How many records are written at once."""

BACKLOG: Final = 10_000
"""How many may be on their way at most, so that what is measured is the way and not a heap before its door."""

_LOOKS_APART_SECONDS: Final = 0.2
_BLOCK: Final = 1 << 20


async def fill(
    burst: Callable[[int], Awaitable[None]],
    stored: Callable[[], Awaitable[int]],
    wanted: int,
    *,
    within_seconds: float,
    looks_apart_seconds: float = _LOOKS_APART_SECONDS,
) -> int:
    """Has records written, as fast as their store takes them and no faster; how many were.

    Args:
        burst: writes so many.
        stored: how many the store has.
        wanted: how many shall be written.
        within_seconds: after which it is given up.
        looks_apart_seconds: between two looks at the store, while too many are on their way.

    Raises:
        HarnessError: nobody wrote, or the store did not answer.
    """
    until = time.monotonic() + within_seconds
    before, written = await stored(), 0
    while written < wanted and time.monotonic() < until:
        count = min(BURST, wanted - written)
        if written + count - (await stored() - before) > BACKLOG:
            await asyncio.sleep(looks_apart_seconds)
            continue
        await burst(count)
        written += count
    return written


async def fill_up(way: Way, manifests: Path, wanted: int, *, within_seconds: float, say: Callable[[str], None]) -> None:
    """Has the emitter write until the run has announced so many records; what came of it is said in a sentence.

    Args:
        way: of the run's records.
        manifests: the run's folder of manifests.
        wanted: how many lines they shall have.
        within_seconds: after which it is given up; what was written until then stays.
        say: takes the sentence.
    """
    began = time.monotonic()

    async def burst(count: int) -> None:
        await befall(way, "burst", count=count)

    async def stored() -> int:
        reply = await in_store(way, "GET", f"/{way.pattern}/_count")
        try:
            return int(reply.body["count"])
        except (KeyError, TypeError, ValueError) as error:
            raise StackError("The store of logs does not tell how much it has", seen=reply.reason) from error

    try:
        missing = max(0, wanted - await asyncio.to_thread(lines_in, manifests))
        written = await fill(burst, stored, missing, within_seconds=within_seconds)
    except (HarnessError, OSError) as error:
        say(f"the run has fewer than {wanted:,} records: {str(error).splitlines()[0]}")
        return
    seconds = time.monotonic() - began
    say(f"{written:,} of {missing:,} records more were written in {seconds:.0f} s, as fast as the store took them")


def lines_in(folder: Path) -> int:
    """How many lines the manifests of a folder have.

    Raises:
        OSError: one cannot be read.
    """
    count = 0
    for path in folder.glob("*.tsv"):
        with path.open("rb") as manifest:
            while block := manifest.read(_BLOCK):
                count += block.count(b"\n")
    return count
