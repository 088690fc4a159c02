"""Waiting that a cancellation does not break off: what was begun on the world is brought to its end first."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

_T = TypeVar("_T")


async def finished(
    doing: Coroutine[Any, Any, _T], seconds: float, stopped_seconds: float
) -> tuple[asyncio.Task[_T], bool]:
    """Runs something to its end although we may be cancelled meanwhile; the task, and whether we were.

    It may take `seconds`, and `stopped_seconds` from the first cancellation; then it is cancelled itself.
    """
    loop = asyncio.get_running_loop()
    task = asyncio.create_task(doing)
    deadline = loop.time() + seconds
    cancelled = False
    while not task.done() and loop.time() < deadline:
        try:
            await asyncio.wait({task}, timeout=deadline - loop.time())
        except asyncio.CancelledError:
            if not cancelled:
                deadline = min(deadline, loop.time() + stopped_seconds)
            cancelled = True
    if not task.done():
        task.cancel()
        cancelled |= await settled({task})
    return task, cancelled


async def settled(tasks: set[asyncio.Task[Any]]) -> bool:
    """Waits until all have ended, whoever cancels us meanwhile; whether somebody did."""
    cancelled = False
    while not all(task.done() for task in tasks):
        try:
            await asyncio.wait(tasks)
        except asyncio.CancelledError:
            cancelled = True
    return cancelled
