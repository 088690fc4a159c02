"""What Filebeat reads: `application.log` and `error.log`, one JSON object a line, with the plan's field names.

Passwords and session tokens are in no record: a request's body is never logged, a session is named by a digest of its
token, and the secret parameters of a statement come here already replaced by `***`.

Where the run gives us a folder of manifests, every record carries an identity at `metadata.sequence` and is announced
before it is written (`model/records.py`). What the log's file then does not take was announced and is missing.
"""

from __future__ import annotations

import os
import re
import sys
import traceback
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import orjson

from harness.stack.manifest import Manifest
from harness.stack.subject.domain import StorageError
from harness.stack.subject.settings import Announcing

SERVICE: Final = "community-platform"
APPLICATION: Final = "application"
ERROR: Final = "error"
_HALF_CHARACTER = re.compile("[\ud800-\udfff]")
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

    A line that cannot be written (a full disk) is counted and told once on standard error; no request fails for it. So
    is one that cannot be announced: it is not written.

    Args:
        directory: where the files go; made when missing.
        lost: called for every line that could not be written.
        announcing: where records are announced; None: they have no identity.
        written: called for every record that is written, with its log's name.
    """

    def __init__(
        self,
        directory: Path,
        lost: Callable[[], None],
        announcing: Announcing | None = None,
        written: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._directory = directory
        self._lost = lost
        self._written = written
        self._announcing = announcing
        self._files: dict[str, int] = {}
        self._manifests: dict[str, Manifest] = {}
        self._leaving = ExitStack()
        self._complained = False

    def __enter__(self) -> Self:
        """Opens the files.

        Raises:
            OSError: they cannot be opened.
        """
        with ExitStack() as opened:
            self._directory.mkdir(parents=True, exist_ok=True)
            for source in (APPLICATION, ERROR):
                file = os.open(self._directory / f"{source}.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
                opened.callback(os.close, file)
                self._files[source] = file
                if (to := self._announcing) is not None:
                    manifest = Manifest(to.folder, run=to.run, source=source, lane=to.lane)
                    self._manifests[source] = opened.enter_context(manifest)
            self._leaving = opened.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Closes the files."""
        self._leaving.close()

    def request(self, record: Record) -> None:
        """Writes what became of a request to `application.log`."""
        self._write(
            APPLICATION,
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
            ERROR,
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

    def _write(self, source: str, record: dict[str, Json]) -> None:
        try:
            os.write(self._files[source], self._announced(source, record) + b"\n")
            self._written(source)
        except OSError as error:
            self._lost()
            if not self._complained:
                self._complained = True
                print(f"{source}.log: a line could not be written: {error}", file=sys.stderr)  # noqa: T201  # the last resort

    def _announced(self, source: str, record: dict[str, Json]) -> bytes:
        """The record's line without its end; where there is a manifest it has an identity and is announced.

        Raises:
            OSError: it cannot be announced.
        """
        manifest = self._manifests.get(source)
        if manifest is None:
            return _line(record)[0]
        name = manifest.next_identity()
        metadata = record.get("metadata")
        record["metadata"] = {**(metadata if isinstance(metadata, dict) else {}), "sequence": name}
        line, record = _line(record)
        manifest.announce([manifest.announced(name, record, record, level=str(record["level"]))])
        return line


def _line(record: dict[str, Json]) -> tuple[bytes, dict[str, Json]]:
    """A record as JSON, and as whoever reads it will see it: half a character from a client is replaced."""
    try:
        return orjson.dumps(record), record
    except orjson.JSONEncodeError:
        whole = {name: _whole(value) for name, value in record.items()}
        return orjson.dumps(whole), whole


def _whole(value: Json) -> Json:
    if isinstance(value, str):
        return _HALF_CHARACTER.sub("\N{REPLACEMENT CHARACTER}", value)
    if isinstance(value, list):
        return [str(_whole(one)) for one in value]
    return {name: _whole(one) for name, one in value.items()} if isinstance(value, dict) else value


def _head(level: str, component: str) -> dict[str, Json]:
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"timestamp": now, "level": level, "service": SERVICE, "component": component}


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 3)


def _cut(text: str | None) -> str | None:
    return text if text is None or len(text) <= _TEXT_LIMIT else text[:_TEXT_LIMIT] + "…"
