"""The processes that do an audit's tasks, and the order in which their answers come back."""

from __future__ import annotations

import marshal
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from types import TracebackType
from typing import Any, Protocol, Self, TypeAlias

from harness.errors import Defect, HarnessError
from harness.observe.records.checks import Seen
from harness.observe.records.settings import Settings
from harness.observe.records.tally import Tally
from harness.observe.records.tasks import Announcements, Tasks

Stretch: TypeAlias = "tuple[Path, int, int]"
"""A file, and the offsets between which lines begin."""


class Labour(Protocol):
    """Who does an audit's tasks. Answers come in the order of what they answer to."""

    def announcements(self, stretches: Sequence[Stretch]) -> Iterator[Announcements]:
        """Sorts announcements."""

    def records(self, stretches: Sequence[Stretch], epochs: dict[str, str]) -> Iterator[Seen]:
        """Reads, checks and sorts records."""

    def joined(self, wanted: Sequence[frozenset[str]]) -> Iterator[dict[str, Tally]]:
        """Joins the buckets, in whose order `wanted` names what the control has drawn."""


class Alone:
    """Does every task in this process: quicker for a few records than to start others."""

    def __init__(self, settings: Settings) -> None:
        self._tasks = Tasks(settings, "0")

    def __enter__(self) -> Self:
        """Nothing is started."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Nothing is open."""

    def announcements(self, stretches: Sequence[Stretch]) -> Iterator[Announcements]:
        """Sorts announcements."""
        return (self._tasks.announcements(*one) for one in stretches)

    def records(self, stretches: Sequence[Stretch], epochs: dict[str, str]) -> Iterator[Seen]:
        """Reads, checks and sorts records."""
        return (self._tasks.records(*one, epochs) for one in stretches)

    def joined(self, wanted: Sequence[frozenset[str]]) -> Iterator[dict[str, Tally]]:
        """Joins the buckets."""
        return (self._tasks.joined(bucket, names) for bucket, names in enumerate(wanted))


class Workers:
    """Several processes; start it from the main thread, use it from any one.

    Args:
        settings: what records are held to.
        count: how many processes.
    """

    def __init__(self, settings: Settings, count: int) -> None:
        root = Path(__file__).parents[3]
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, [str(root), *sys.path])),
            "OPENBLAS_NUM_THREADS": "1",  # numpy starts threads for what is not needed here, and that takes a while
        }
        self._processes = [
            subprocess.Popen(
                [sys.executable, "-m", "harness.observe.records.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=environment,
            )
            for _ in range(count)
        ]
        for process in self._processes:
            _tell(process, settings.as_json())

    def __enter__(self) -> Self:
        """They run already."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Ends them: at once where something went wrong."""
        for process in self._processes:
            if error is not None:
                process.kill()
            if process.stdin is not None:
                with suppress(BrokenPipeError):
                    process.stdin.close()
        for process in self._processes:
            process.wait()
            if process.stdout is not None:
                process.stdout.close()

    def announcements(self, stretches: Sequence[Stretch]) -> Iterator[Announcements]:
        """Sorts announcements."""
        for lines, epochs, broken in self._answers(
            [("announcements", str(path), start, end) for path, start, end in stretches]
        ):
            told = Announcements()
            told.lines, told.epochs, told.broken = lines, epochs, broken
            yield told

    def records(self, stretches: Sequence[Stretch], epochs: dict[str, str]) -> Iterator[Seen]:
        """Reads, checks and sorts records."""
        for process in self._processes:
            _tell(process, ("epochs", epochs))
        for plain in self._answers([("records", str(path), start, end) for path, start, end in stretches]):
            yield _seen(plain)

    def joined(self, wanted: Sequence[frozenset[str]]) -> Iterator[dict[str, Tally]]:
        """Joins the buckets."""
        for plain in self._answers([("joined", bucket, names) for bucket, names in enumerate(wanted)]):
            yield {source: Tally.from_plain(one) for source, one in plain.items()}

    def _answers(self, tasks: Sequence[tuple[Any, ...]]) -> Iterator[Any]:
        """What each task amounts to; a process gets its next task when it has answered.

        Raises:
            HarnessError: a file could not be read or written.
            Defect: a process died.
        """
        waiting: SimpleQueue[int] = SimpleQueue()
        for number in range(len(tasks)):
            waiting.put(number)
        answered: SimpleQueue[tuple[int, Any]] = SimpleQueue()
        threads = [
            Thread(target=_serve, args=(process, tasks, waiting, answered), daemon=True) for process in self._processes
        ]
        for thread in threads:
            thread.start()
        early: dict[int, Any] = {}
        for number in range(len(tasks)):
            while number not in early:
                which, answer = answered.get()
                if isinstance(answer, BaseException):
                    raise Defect.of(RuntimeError("a process of the audit died")) from answer
                if isinstance(answer, str):
                    raise HarnessError(
                        "the audit cannot read or write a file", seen=answer, hint="make room, or name other files"
                    )
                early[which] = answer
            yield early.pop(number)
        for thread in threads:
            thread.join()


def _serve(
    process: subprocess.Popen[bytes],
    tasks: Sequence[tuple[Any, ...]],
    waiting: SimpleQueue[int],
    answered: SimpleQueue[tuple[int, Any]],
) -> None:
    """Gives one process its tasks, one after the other."""
    number = -1
    try:
        while not waiting.empty():
            number = waiting.get_nowait()
            _tell(process, tasks[number])
            assert process.stdout is not None
            answered.put((number, marshal.load(process.stdout)))  # noqa: S302 - from a process of ours
    except Exception as error:  # noqa: BLE001 - told to who waits for the answer
        answered.put((number, error))


def _tell(process: subprocess.Popen[bytes], what: Any) -> None:
    assert process.stdin is not None
    marshal.dump(what, process.stdin)
    process.stdin.flush()


def _seen(plain: dict[str, Any]) -> Seen:
    seen = Seen(plain["lines"], plain["unreadable"], plain["nameless"], plain["foreign"])
    seen.undated.update(plain["undated"])
    seen.violations.update(plain["violations"])
    for source, fields in plain["offending"].items():
        seen.offending.setdefault(source, Counter()).update(fields)
    seen.inversions.update(plain["inversions"])
    seen.first, seen.last, seen.drawn = plain["first"], plain["last"], plain["drawn"]
    return seen
