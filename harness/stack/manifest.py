"""A writer's manifest: every record announced before it is written, on disk, so that the writer may die at any time."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from harness.model.records import UNKNOWN_DIGEST, WITHDRAWN, Announced, digest_of, identity, line_of


class Manifest:
    """The manifest of one life of one writer: `<folder>/<source>.<lane>.<life>.tsv`, never an existing file.

    A line is one `write` to a file opened for appending: it survives the writer's `kill -9`, not the machine's.

    Args:
        folder: the run's folder of manifests; made when missing.
        run: the run's id.
        source: the stem of its records' schema.
        lane: in whose lane it writes, or `shared`.

    Raises:
        OSError: it cannot be made.
    """

    def __init__(self, folder: Path, *, run: str, source: str, lane: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._run, self._source, self._lane = run, source, lane
        life = 1
        while True:
            self.epoch = f"{source}.{lane}.{life}"
            try:
                self._file = os.open(
                    folder / f"{self.epoch}.tsv", os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o644
                )
                break
            except FileExistsError:
                life += 1
        self._sequence = 0
        self._torn = False

    def __enter__(self) -> Self:
        """It is open already."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Closes the file."""
        os.close(self._file)

    def next_identity(self) -> str:
        """A fresh identity; the record that bears it is announced next."""
        self._sequence += 1
        return identity(self._run, self.epoch, self._sequence)

    def announced(
        self, name: str, record: Mapping[str, Any] | None, fields: Collection[str], *, level: str = ""
    ) -> Announced:
        """What there is to announce of a record that bears the identity `name`, now.

        Args:
            name: from `next_identity`.
            record: the whole record, or None where the writer cannot know it.
            fields: the top-level fields that its schema declares.
            level: its level, where it has one.
        """
        digest = UNKNOWN_DIGEST if record is None else digest_of(record, fields)
        return Announced(name, time.time(), self._source, self._lane, level, digest)

    def announce(self, records: Iterable[Announced]) -> None:
        """Writes the lines, all in one `write`; only then may the records themselves be written.

        Raises:
            OSError: they could not be written: the records must not be written either.
        """
        # A line that a full disk has cut is no announcement, and must not swallow the next one.
        lines = (b"\n" if self._torn else b"") + b"".join(map(line_of, records))
        while lines:
            written = os.write(self._file, lines)
            self._torn = lines[written - 1 : written] != b"\n"
            lines = lines[written:]

    def withdraw(self, name: str) -> None:
        """Takes back the announcement of the identity `name`: its record cannot have been written.

        Raises:
            OSError: it could not be written: the record stays announced, and will be missed.
        """
        self.announce([Announced(name, time.time(), self._source, self._lane, WITHDRAWN, UNKNOWN_DIGEST)])
