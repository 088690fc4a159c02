"""Many batches, one fsync: whoever comes while the disk is busy shares the next commit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Self

from harness.stack.collector.schemas import Event

Keep = Callable[[Sequence[Sequence[Event]]], list[list[bool]]]

MOST_EVENTS: Final = 20_000
"""In one commit; more wait for the next, so that nobody waits long."""


class GroupCommit:
    """Keeps batches of events, in a thread of its own, as many at once as have come.

    Args:
        keep: keeps batches in one commit, and returns once they are on disk (`Spool.keep`).
    """

    def __init__(self, keep: Keep) -> None:
        self._keep = keep
        self._waiting: list[tuple[Sequence[Event], asyncio.Future[list[bool]]]] = []
        self._come = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, "commit")
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Begins to commit."""
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Ends; whoever still waits is told so by `CancelledError`."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for _batch, future in self._waiting:
            future.cancel()
        self._thread.shutdown()

    async def kept(self, batch: Sequence[Event]) -> list[bool]:
        """Returns once the batch is on disk; for every event whether it is new.

        Raises:
            SpoolError: it was not kept.
        """
        future: asyncio.Future[list[bool]] = asyncio.get_running_loop().create_future()
        self._waiting.append((batch, future))
        self._come.set()
        return await future

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._come.wait()
            taken, events = [], 0
            while self._waiting and events < MOST_EVENTS:
                taken.append(self._waiting.pop(0))
                events += len(taken[-1][0])
            if not self._waiting:
                self._come.clear()
            try:
                kept = await loop.run_in_executor(self._thread, self._keep, [batch for batch, _ in taken])
            except asyncio.CancelledError:
                for _, future in taken:
                    future.cancel()
                raise
            except Exception as error:  # noqa: BLE001  # whoever waits is told, whatever it is; the next may fare better
                for _, future in taken:
                    if not future.done():
                        future.set_exception(error)
            else:
                for (_, future), new in zip(taken, kept, strict=True):
                    if not future.done():
                        future.set_result(new)
