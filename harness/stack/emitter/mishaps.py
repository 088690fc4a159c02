"""What can be asked of the emitter: each mishap by its name, with its one number and what that means."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from harness.errors import UsageError
from harness.stack.emitter.log import MEGABYTE, SystemLog

BATCH: Final = 500
"""Records of a burst in one `write`: between two of them others have their turn."""


@dataclass(frozen=True, slots=True)
class Mishap:
    """One thing that can be asked for.

    Args:
        number: what its number is called; "" where it has none.
        default: the number where none is given.
        least: the smallest number that makes sense.
        most: the largest.
        do: does it, with nobody else writing meanwhile.
    """

    number: str
    default: float
    least: float
    most: float
    do: Callable[[SystemLog, float], Awaitable[None]]


async def _burst(log: SystemLog, count: float) -> None:
    for first in range(0, int(count), BATCH):
        log.write(min(BATCH, int(count) - first))
        await asyncio.sleep(0)


async def _rename(log: SystemLog, _: float) -> None:
    log.rotate_by_rename()


async def _copytruncate(log: SystemLog, between: float) -> None:
    log.rotate_by_copy(int(between))


async def _truncate(log: SystemLog, then: float) -> None:
    log.truncate(int(then))


async def _half(log: SystemLog, seconds: float) -> None:
    finish = log.half()
    try:
        await asyncio.sleep(seconds)
    finally:
        finish()


async def _torn(log: SystemLog, _: float) -> None:
    log.torn()


async def _not_utf_8(log: SystemLog, _: float) -> None:
    log.not_utf_8()


async def _long(log: SystemLog, characters: float) -> None:
    log.long(int(characters))


async def _stack_trace(log: SystemLog, frames: float) -> None:
    log.stack_trace(int(frames))


async def _clock(log: SystemLog, seconds: float) -> None:
    log.clock_offset_seconds = seconds


MISHAPS: Final[Mapping[str, Mishap]] = MappingProxyType(
    {
        "burst": Mishap("count", 1000, 1, 1_000_000, _burst),
        "rename": Mishap("", 0, 0, 0, _rename),
        "copytruncate": Mishap("between", 0, 0, 100_000, _copytruncate),
        "truncate": Mishap("then", 0, 0, 100_000, _truncate),
        "half": Mishap("seconds", 1, 0, 60, _half),
        "torn": Mishap("", 0, 0, 0, _torn),
        "not-utf-8": Mishap("", 0, 0, 0, _not_utf_8),
        "long": Mishap("characters", MEGABYTE, 1, 20 * MEGABYTE, _long),
        "stack-trace": Mishap("frames", 30, 1, 10_000, _stack_trace),
        "clock": Mishap("seconds", 0, -86_400 * 7, 86_400 * 7, _clock),
    }
)


def asked(name: str, given: Mapping[str, str]) -> tuple[Mishap, float]:
    """The mishap of a name with the number that was given for it.

    Raises:
        UsageError: there is none of that name, or the number is none of its.
    """
    mishap = MISHAPS.get(name)
    if mishap is None:
        raise UsageError(f"There is no mishap {name!r}", expected=f"one of {', '.join(MISHAPS)}")
    unknown = sorted(set(given) - {mishap.number})
    if unknown:
        raise UsageError(f"{name} knows no {unknown[0]!r}", expected=mishap.number or "no number at all")
    text = given.get(mishap.number, str(mishap.default))
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if not mishap.least <= number <= mishap.most:
        raise UsageError(
            f"{mishap.number} of {name} is no such number",
            expected=f"between {mishap.least:g} and {mishap.most:g}",
            seen=text,
        )
    return mishap, number
