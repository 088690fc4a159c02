"""The ledger: everything that happens in a run, one line of JSON each, appended as it happens.

The run can die and what was seen remains: each line goes to the operating system in one write as soon as the event
happens, so that a kill at any instant leaves at most one half line, the last. Every report is a function of what
`read` gives. `docs/ledger.md` is the format, for those who read it with other programs.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from harness.errors import LedgerError
from harness.model.events import Event, Payload, PlanClosed, RunEnded
from harness.model.time import from_rfc3339, rfc3339
from harness.observe.codec import Json, decode, encode
from harness.observe.redaction import Redactor

SCHEMA = "tocsin/ledger/1"
"""The format of the lines. Fields and kinds are added under the same name; whatever else changes gets a new one."""

ENVELOPE = ("schema", "seq", "wall", "monotonic", "kind")
"""What stands in a line beside the event's own fields; no field of an event has one of these names."""

_FSYNC_AFTER = (PlanClosed, RunEnded)
"""Where a ledger must survive the machine too: the plan before any result is seen, and the whole."""

_log = logging.getLogger(__name__)
_json = json.JSONEncoder(ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":"))
_json_ascii = json.JSONEncoder(ensure_ascii=True, allow_nan=False, check_circular=False, separators=(",", ":"))

Listener = Callable[[Event], None]
"""Somebody who hears every event after it was written."""


class Ledger:
    """A ledger that is being written, by one process and from one thread.

    `with Ledger.create(path) as ledger:` closes it; a run that ends otherwise leaves a ledger that can be read.
    """

    def __init__(self, path: Path, descriptor: int, redactor: Redactor) -> None:
        self._path = path
        self._descriptor: int | None = descriptor
        self._redactor = redactor
        self._seq = 0
        self._size = 0
        self._broken = ""
        self._listeners: list[Listener] = []
        self._unheard: deque[Event] = deque()
        self._telling = False

    @classmethod
    def create(cls, path: Path, redactor: Redactor | None = None) -> Self:
        """A new, empty ledger; its folder must exist.

        Raises:
            LedgerError: the file exists already or cannot be created.
        """
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o644)
        except FileExistsError:
            raise LedgerError(
                f"The ledger {path} exists already",
                expected="a new file; a ledger is never written over",
                hint="every run has a folder of its own: give another --out, or move the old run away",
            ) from None
        except OSError as error:
            raise LedgerError(
                f"The ledger {path} cannot be created",
                seen=_reason(error),
                hint="choose a folder that can be written with --out",
            ) from error
        return cls(path, descriptor, redactor or Redactor())

    @property
    def path(self) -> Path:
        """Where it is written."""
        return self._path

    @property
    def redactor(self) -> Redactor:
        """What takes secrets out of it; it can learn of new ones at any time."""
        return self._redactor

    def subscribe(self, listener: Listener) -> None:
        """Has somebody told of every event from now on, in the ledger's order and after its line was written.

        A listener that raises costs no line and no other listener its event: it is logged, and not told again.
        """
        self._listeners.append(listener)

    def write(self, payload: Payload) -> Event:
        """Writes what happened, now, and tells the listeners; returns the event as a reader will see it.

        Raises:
            LedgerError: the ledger is closed, or the line could not be written; what was there before is whole.
            TypeError: a field of the payload holds what its type does not allow.
        """
        if self._descriptor is None:
            raise LedgerError(
                f"The ledger {self._path} is closed",
                expected="nothing to be written after the end of the run",
                seen=f"an event of kind {payload.kind}",
                hint="whoever wrote this outlived its run; this is a mistake in the harness, please report it",
            )
        monotonic = round(time.monotonic(), 6)
        instant = rfc3339(time.time())
        seq = self._seq + 1
        head: dict[str, Json] = {"schema": SCHEMA} if seq == 1 else {}
        head |= {"seq": seq, "wall": instant, "monotonic": monotonic, "kind": payload.kind}
        line = _json.encode({**head, **encode(payload)})
        if self._redactor.suspects(line):
            fields = encode(payload, self._redactor)
            line = _json.encode({**head, **fields})
            payload = decode(payload.kind, fields) or payload
        self._append(_bytes(line))
        if isinstance(payload, _FSYNC_AFTER):
            self._sync()
        self._seq = seq
        event = Event(seq, from_rfc3339(instant), monotonic, payload.kind, payload)
        self._tell(event)
        return event

    def close(self) -> None:
        """Ends the ledger; what is in it is on the disk then. May be called twice.

        Raises:
            LedgerError: the disk did not take it.
        """
        if self._descriptor is None:
            return
        try:
            self._sync()
        finally:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _append(self, line: bytes) -> None:
        """One line in one write, so that no instant exists at which another process sees half of it and lives."""
        assert self._descriptor is not None
        if self._broken:
            raise self._refused(self._broken)
        try:
            written = os.write(self._descriptor, line)
        except OSError as error:
            raise self._refused(_reason(error)) from error
        if written == len(line):
            self._size += written
            return
        # The disk took a part and no more. Taken back, so that what is there stays a ledger and the run may still
        # write its end once there is room.
        try:
            os.ftruncate(self._descriptor, self._size)
        except OSError as error:
            self._broken = f"a half line that could not be taken back ({_reason(error)})"
        raise self._refused(f"only {written} of {len(line)} bytes were taken")

    def _sync(self) -> None:
        assert self._descriptor is not None
        try:
            os.fsync(self._descriptor)
        except OSError as error:
            raise self._refused(_reason(error)) from error

    def _refused(self, reason: str) -> LedgerError:
        return LedgerError(
            f"The ledger {self._path} cannot be written",
            expected=f"room for line {self._seq + 1}",
            seen=reason,
            hint="make room on that disk, or choose another with --out; the lines before are whole",
        )

    def _tell(self, event: Event) -> None:
        """Tells the listeners, one event after the other, also where a listener writes an event itself."""
        self._unheard.append(event)
        if self._telling:
            return
        self._telling = True
        try:
            while self._unheard:
                heard = self._unheard.popleft()
                for listener in tuple(self._listeners):
                    try:
                        listener(heard)
                    except Exception:  # noqa: BLE001 - whatever a listener may raise
                        # A broken terminal or report must not end the run that it only watches.
                        _log.exception(
                            "A listener failed at event %d (%s) and is not told again.", heard.seq, heard.kind
                        )
                        self._listeners.remove(listener)
        finally:
            self._telling = False


class Reading(Iterator[Event]):
    """The events of a ledger, one after the other; made by `read`.

    Once all are read, `truncated` says whether a half line stood at the end: the process was killed while it wrote.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.truncated = False
        self._events = self._read()

    def __next__(self) -> Event:
        return next(self._events)

    def _read(self) -> Iterator[Event]:
        number = 0
        try:
            with self.path.open("rb") as file:
                for number, raw in enumerate(file, start=1):
                    try:
                        line: Json = json.loads(raw)
                    except ValueError as error:
                        if raw.endswith(b"\n"):
                            raise _broken(self.path, number, "a line that is no JSON", str(error)) from error
                        self.truncated = True
                        break
                    yield _event(self.path, number, line)
        except OSError as error:
            raise LedgerError(
                f"The ledger {self.path} cannot be read",
                seen=_reason(error),
                hint="name the folder of a run; runs/latest is the last one",
            ) from error
        if number == 0 or (number == 1 and self.truncated):
            raise LedgerError(
                f"The ledger {self.path} is empty",
                expected=f"a first line with the schema {SCHEMA}",
                seen="half a line" if self.truncated else "nothing",
                hint="the run ended before it could write anything; start it again",
            )


def read(path: Path) -> Reading:
    """The events of a ledger in order, also of one whose run is still going on or was killed.

    What is wrong with the file is raised while it is read, as a `LedgerError`: it cannot be read, it has another
    schema, or something but the very end of it is broken.
    """
    return Reading(path)


def _event(path: Path, number: int, line: Json) -> Event:
    """One line as the event it tells of.

    Raises:
        LedgerError: the line is not what the schema says.
    """
    if not isinstance(line, dict):
        raise _broken(path, number, "a line that is no object", repr(line)[:60])
    if number == 1 and line.get("schema") != SCHEMA:
        raise LedgerError(
            f"{path} is not a ledger that this version can read",
            expected=f"a first line with the schema {SCHEMA}",
            seen=f"the schema {line['schema']}" if "schema" in line else "a first line without a schema",
            hint="read it with the version of tocsin that wrote it (`tocsin` in the event run-started)",
        )
    seq, wall, monotonic, kind = (line.get(name) for name in ("seq", "wall", "monotonic", "kind"))
    if seq != number:
        raise _broken(path, number, f"seq {seq} where {number} must stand", "a line was lost, added or moved")
    if not isinstance(wall, str) or not isinstance(monotonic, float | int) or not isinstance(kind, str):
        raise _broken(path, number, "a line without wall, monotonic or kind", repr(line)[:60])
    fields = {name: value for name, value in line.items() if name not in ENVELOPE}
    try:
        payload = decode(kind, fields)
        return Event(number, from_rfc3339(wall), monotonic, kind, payload, fields if payload is None else {})
    except ValueError as error:
        raise _broken(path, number, f"an event of kind {kind} that cannot be read", str(error)) from error


def _broken(path: Path, number: int, what: str, seen: str) -> LedgerError:
    return LedgerError(
        f"{path}:{number}: {what}",
        expected=f"one event of the schema {SCHEMA} a line",
        seen=seen,
        hint="the file was changed after it was written; take the original, or run again",
    )


def _bytes(line: str) -> bytes:
    try:
        return f"{line}\n".encode()
    except UnicodeEncodeError:
        # Half a surrogate pair, from a message that is no valid UTF-8: only its escape can be written.
        return f"{_json_ascii.encode(json.loads(line))}\n".encode()


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
