"""`system.log`: records announced before they are written, and the mishaps that befall a log file.

A file is rotated as logrotate does it, with `dateext` and `extension .log`: `system-<instant>.log` beside it, so that a
pattern `*.log` finds it even where nobody looked while it was renamed.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import orjson

from harness.stack.manifest import Manifest

SOURCE: Final = "system"
SERVICE: Final = "community-platform"
COMPONENTS: Final = ("kernel", "cron", "sshd", "systemd")
MEGABYTE: Final = 1_000_000

_NOT_UTF_8: Final = b"\xff"
_SEEN: Final = "\N{REPLACEMENT CHARACTER}"
"""What every reader makes of a byte that begins no character."""

_LEVELS: Final = ("INFO", "INFO", "INFO", "WARN", "INFO", "INFO", "ERROR", "INFO", "DEBUG", "INFO")

Record = dict[str, str | dict[str, str]]


@dataclass(frozen=True, slots=True)
class Announcing:
    """Where records are announced: the run's folder of manifests, its id, and in whose lane the writer is."""

    folder: Path
    run: str
    lane: str


class SystemLog:
    """The log and its manifest. One writer at a time; what a mishap announces it has done when it returns.

    Args:
        folder: where the log goes; made when missing.
        announcing: where records are announced; None: they have no identity.
        clock: Unix seconds, for the records' own time.
    """

    def __init__(
        self, folder: Path, announcing: Announcing | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self.path = folder / f"{SOURCE}.log"
        self.written = 0
        self.clock_offset_seconds = 0.0
        self._announcing = announcing
        self._clock = clock
        self._manifest: Manifest | None = None
        self._file = -1
        self._torn = False
        self._number = 0
        self._leaving = ExitStack()

    def __enter__(self) -> Self:
        """Opens log and manifest.

        Raises:
            OSError: they cannot be opened.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._open()
        if (to := self._announcing) is not None:
            self._manifest = self._leaving.enter_context(Manifest(to.folder, run=to.run, source=SOURCE, lane=to.lane))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Closes them."""
        os.close(self._file)
        self._leaving.close()

    def write(self, count: int = 1) -> None:
        """Ordinary records, all in one `write`.

        Raises:
            OSError: they cannot be announced (then none is written) or written.
        """
        self._put([_line(record) for record in self._announced([self._record() for _ in range(count)])])

    def rotate_by_rename(self) -> Path:
        """The file gets another name, and a new one takes its place: `logrotate` with `create`.

        Raises:
            OSError: it cannot be renamed.
        """
        aside = self._aside()
        self.path.rename(aside)
        os.close(self._file)
        self._open()
        return aside

    def rotate_by_copy(self, between: int = 0) -> Path:
        """The file is copied, and emptied: `logrotate` with `copytruncate`.

        Args:
            between: records that are written after the copy and before the file is emptied: these stand in no file
                any more, unless the shipper was quicker.

        Raises:
            OSError: it cannot be copied, written or emptied.
        """
        aside = self._aside()
        aside.write_bytes(self.path.read_bytes())
        self.write(between)
        os.ftruncate(self._file, 0)
        return aside

    def truncate(self, then: int = 0) -> None:
        """The file is emptied, without a copy; then as many records follow at once, past the old end if many.

        Raises:
            OSError: it cannot be emptied or written.
        """
        os.ftruncate(self._file, 0)
        self.write(then)

    def half(self) -> Callable[[], None]:
        """Half a line; the function that is returned writes the rest, and nothing else may be written before.

        Raises:
            OSError: it cannot be announced or written.
        """
        [record] = self._announced([self._record()])
        line = _line(record)
        os.write(self._file, line[: len(line) // 2])

        def finish() -> None:
            os.write(self._file, line[len(line) // 2 :])
            self.written += 1

        return finish

    def torn(self) -> None:
        """Half a line, and never the rest of it: withdrawn, for no shipper can find what its writer did not write.

        Raises:
            OSError: it cannot be announced or written.
        """
        [record] = self._announced([self._record()])
        line = _line(record)
        os.write(self._file, line[: len(line) // 2])
        self._torn = True
        if self._manifest is not None:
            self._manifest.withdraw(_identity(record))

    def not_utf_8(self) -> None:
        """A record with bytes in its text that begin no character; announced as every reader will see them.

        Raises:
            OSError: it cannot be announced or written.
        """
        [record] = self._announced([self._record(text=f"caf{_SEEN} {_SEEN}{_SEEN} closed", level="WARN")])
        self._put([_line(record).replace(_SEEN.encode(), _NOT_UTF_8)])

    def long(self, characters: int = MEGABYTE) -> None:
        """A record with a text of that length, in one line.

        Raises:
            OSError: it cannot be announced or written.
        """
        [record] = self._announced([self._record(text="x" * characters)])
        self._put([_line(record)])

    def stack_trace(self, frames: int = 30) -> None:
        """A record with a stack trace, written over many lines: each but the first is indented, or closes it.

        Raises:
            OSError: it cannot be announced or written.
        """
        trace = "".join(f'  File "/srv/app/part_{number}.py", line {number}\n' for number in range(1, frames + 1))
        text = f"Traceback (most recent call last):\n{trace}ValueError: no such part"
        [record] = self._announced([self._record(text=text, level="ERROR")])
        whole = orjson.dumps(record, option=orjson.OPT_INDENT_2).replace(b"\n}", b"\n  }")
        self._put([whole + b"\n"])

    def _record(self, text: str | None = None, level: str | None = None) -> Record:
        self._number += 1
        now = datetime.fromtimestamp(self._clock() + self.clock_offset_seconds, UTC)
        return {
            "timestamp": now.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": level or _LEVELS[self._number % len(_LEVELS)],
            "service": SERVICE,
            "component": COMPONENTS[self._number % len(COMPONENTS)],
            "text": f"event {self._number} of this writer" if text is None else text,
        }

    def _announced(self, records: list[Record]) -> list[Record]:
        """The records with their identities, once these are announced."""
        if self._manifest is None or not records:
            return records
        named: list[Record] = []
        told = []
        for record in records:
            name = self._manifest.next_identity()
            whole: Record = {**record, "metadata": {"sequence": name}}
            told.append(self._manifest.announced(name, whole, whole, level=str(whole["level"])))
            named.append(whole)
        self._manifest.announce(told)
        return named

    def _put(self, lines: Iterable[bytes]) -> None:
        made = list(lines)
        # Whoever goes on after a line that was cut begins a new one.
        data = (b"\n" if self._torn and made else b"") + b"".join(made)
        while data:
            self._torn = False
            data = data[os.write(self._file, data) :]
        self.written += len(made)

    def _open(self) -> None:
        self._file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def _aside(self) -> Path:
        instant = datetime.now(UTC).strftime("%Y%m%d-%H%M%S-%f")
        return self.path.with_name(f"{SOURCE}-{instant}.log")


def _line(record: Record) -> bytes:
    return orjson.dumps(record) + b"\n"


def _identity(record: Record) -> str:
    metadata = record["metadata"]
    return metadata["sequence"] if isinstance(metadata, dict) else ""
