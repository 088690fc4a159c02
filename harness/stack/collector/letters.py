"""The dead letters: every event that was rejected, with the reason, one JSON object a line."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import orjson

from harness.stack.collector.schemas import Rejected

FILE: Final = "dead-letters.ndjson"


class LettersFull(Exception):
    """There is no room for more of them; its message is a sentence."""


class DeadLetters:
    """The file of dead letters; what is written, from whatever thread, is on disk before `write` returns.

    Args:
        folder: where it is.
        limit_bytes: how large it may become.

    Raises:
        OSError: it cannot be opened.
    """

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path: Final = folder / FILE
        self._limit_bytes = limit_bytes
        self._file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._bytes = os.fstat(self._file).st_size
        self._writing = threading.Lock()

    def write(self, rejected: Sequence[Rejected]) -> None:
        """Keeps what was rejected.

        Raises:
            LettersFull: there is no room for all of it; nothing was written.
            OSError: it could not be written.
        """
        at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        text = b"".join(
            orjson.dumps(
                {
                    "at": at,
                    "cause": one.cause,
                    "reason": one.reason,
                    "kind": one.kind,
                    "identity": one.identity,
                    "event": one.text,
                },
                option=orjson.OPT_APPEND_NEWLINE,
            )
            for one in rejected
        )
        with self._writing:
            if self._bytes + len(text) > self._limit_bytes:
                raise LettersFull(
                    f"{self.path} has no room for more: look at it, move it away, start the collector again"
                )
            while text:
                written = os.write(self._file, text)
                self._bytes += written
                text = text[written:]
            os.fsync(self._file)

    def close(self) -> None:
        """Closes the file."""
        os.close(self._file)
