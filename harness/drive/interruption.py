"""A run has to end before its end: Ctrl-C, `kill`, a terminal that hangs up, a disk that takes no more lines."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Self

from harness.errors import HarnessError, Interrupted

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_Handler = Callable[[int, FrameType | None], object] | int | None


class Interruption:
    """One reason to stop, however many come; `with` listens for signals.

    The first one cancels what `stops` surrounds. Those that follow are answered with a sentence and nothing else: a
    second cancellation would break off what undoes faults and ends processes. Outside of `stops` a signal is only
    noted, so that no line of a ledger and no report is broken off. A signal that whoever started us has ignored
    (`nohup`) stays ignored.

    Args:
        say: takes sentences for a person.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._before: dict[signal.Signals, _Handler] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[object] | None = None
        self._by: signal.Signals | None = None
        self._failure: HarnessError | None = None
        self._answered = False

    def __enter__(self) -> Self:
        # Python hands signals to its main thread alone; elsewhere they belong to whoever runs us.
        if threading.current_thread() is threading.main_thread():
            heeded = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
            self._before = {number: signal.signal(number, self._hear) for number in heeded}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    @contextmanager
    def stops(self, task: asyncio.Task[object]) -> Iterator[None]:
        """While this lasts the first reason cancels the task, once; one that came before is answered at once.

        Raises:
            HarnessError: there was a reason before it began.
        """
        self._loop = asyncio.get_running_loop()
        self.check()
        if self._by is not None:
            self._answered = True
            raise self.told()
        self._task = task
        try:
            yield
        finally:
            self._task = None

    def give_up(self, failure: HarnessError) -> None:
        """Ends the run for a reason of our own; the first one is kept."""
        self._failure = self._failure or failure
        self._cancel()

    def check(self) -> None:
        """Raises the reason of our own, if there is one."""
        if self._failure is not None:
            raise self._failure

    def told(self, besides: BaseException | None = None) -> HarnessError:
        """Why the run ended, as its error.

        Args:
            besides: what came out of it in the end: the cancellation, or what else went wrong.
        """
        while besides is not None and not isinstance(besides, HarnessError):
            besides = besides.__context__
        if self._failure is not None:
            return self._failure
        if besides is not None and (not self._answered or isinstance(besides, Interrupted)):
            return besides
        return Interrupted(
            f"the run was stopped ({self._by.name if self._by is not None else 'cancelled'})",
            seen=None if besides is None else f"besides: {besides}",
            hint="what was seen until then is in the ledger; nothing was left running",
        )

    def _hear(self, number: int, _: FrameType | None) -> None:
        first = self._by is None
        if first:
            self._by = signal.Signals(number)
        # A signal arrives between any two instructions, in the middle of a print too: only the loop may act on it.
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._answer, signal.Signals(number), first)

    def _answer(self, number: signal.Signals, first: bool) -> None:
        if first and self._task is not None and not self._answered:
            self._say(f"{number.name}: stopping; faults are undone and components are ended first")
            self._cancel()
        else:
            self._say(f"{number.name}: the run is already ending, and cleaning up after itself")

    def _cancel(self) -> None:
        if self._task is not None and not self._answered:
            self._answered = True
            self._task.cancel()
