"""What Filebeat reads: `application.log` and `error.log`, one JSON object a line, with the plan's field names.

Passwords and session tokens are in no record: a request's body is never logged, a session is named by a digest of its
token, and the secret parameters of a statement come here already replaced by `***`.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from harness.stack.subject.domain import StorageError

SERVICE: Final = "community-platform"
_TEXT_LIMIT = 256
_STACK_LIMIT = 4000

Json = str | int | float | None | list[str] | dict[str, "Json"]


@dataclass(frozen=True, slots=True)
class Record:
    """One request as the application log tells it; its duration is written in milliseconds, as the plan has it."""

    component: str
    action: str
    status: int
    duration_seconds: float
    ip: str | None
    user_agent: str | None
    user_id: int | None
    session_id: str | None
    request_id: str

    @property
    def level(self) -> str:
        """ERROR for what we did wrong, WARN for what the client did, else INFO."""
        if self.status >= 500:
            return "ERROR"
        return "WARN" if self.status >= 400 else "INFO"


class Journal:
    """The two log files. A line is one `write` to a file opened for appending: never torn, never interleaved.

    A line that cannot be written (a full disk) is counted and told once on standard error; no request fails for it.

    Args:
        directory: where the files go; made when missing.
        lost: called for every line that could not be written.
    """

    def __init__(self, directory: Path, lost: Callable[[], None]) -> None:
        self._directory = directory
        self._lost = lost
        self._files: dict[str, int] = {}
        self._complained = False

    def __enter__(self) -> Self:
        """Opens the files.

        Raises:
            OSError: they cannot be opened.
        """
        self._directory.mkdir(parents=True, exist_ok=True)
        for name in ("application.log", "error.log"):
            self._files[name] = os.open(self._directory / name, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Closes the files."""
        while self._files:
            os.close(self._files.popitem()[1])

    def request(self, record: Record) -> None:
        """Writes what became of a request to `application.log`."""
        self._write(
            "application.log",
            {
                **_head(record.level, record.component),
                "userId": None if record.user_id is None else str(record.user_id),
                "action": record.action,
                "duration": _milliseconds(record.duration_seconds),
                "status": record.status,
                "ip": record.ip,
                "userAgent": _cut(record.user_agent),
                "metadata": {"sessionId": record.session_id, "requestId": record.request_id},
            },
        )

    def error(self, component: str, error: BaseException, seconds: float) -> None:
        """Writes an error to `error.log`; what a `StorageError` knows of its statement goes into `context`."""
        storage = error if isinstance(error, StorageError) else None
        self._write(
            "error.log",
            {
                **_head("ERROR", component),
                "error": {
                    "name": type(error).__name__,
                    "message": str(error),
                    "stack": "".join(traceback.format_exception(error))[-_STACK_LIMIT:],
                    "code": storage.code if storage else "INTERNAL",
                },
                "context": {
                    "query": storage.query if storage else None,
                    "parameters": [_cut(value) or "" for value in storage.parameters] if storage else [],
                    "duration": _milliseconds(storage.seconds if storage else seconds),
                },
            },
        )

    def _write(self, name: str, record: dict[str, Json]) -> None:
        line = json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode(errors="backslashreplace") + b"\n"
        try:
            os.write(self._files[name], line)
        except OSError as error:
            self._lost()
            if not self._complained:
                self._complained = True
                print(f"{name}: a line could not be written: {error}", file=sys.stderr)  # noqa: T201  # the last resort


def _head(level: str, component: str) -> dict[str, Json]:
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"timestamp": now, "level": level, "service": SERVICE, "component": component}


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 3)


def _cut(text: str | None) -> str | None:
    return text if text is None or len(text) <= _TEXT_LIMIT else text[:_TEXT_LIMIT] + "…"
