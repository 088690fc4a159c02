"""The undo journal: what is to be taken back if we die now.

An append-only file of JSON lines, each on the disk before the fault touches anything. It holds credentials of the
sandbox's databases, so it lives in the sandbox folder, readable by its owner alone, and never in a run's report folder.
A line is whole when its newline is there: a process that was killed while writing never came to apply the fault.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from harness.drive.faults import Fault
from harness.errors import HarnessError, LedgerError
from harness.model.time import Instant

SCHEMA = "tocsin/undo/1"

UNDO = "undo.jsonl"
"""The journal's name in a sandbox."""


@dataclass(frozen=True, slots=True)
class Outstanding:
    """A fault that may be in place: recorded before it was applied, and not known to be undone.

    `facts` are left out of `repr`: they hold credentials.
    """

    fault: str
    injection: str
    facts: Mapping[str, str]

    def __repr__(self) -> str:
        return f"Outstanding(fault={self.fault!r}, injection={self.injection!r})"


@dataclass(frozen=True, slots=True)
class Replayed:
    """What became of an outstanding fault at the next start.

    `undone` says whether there was something to take back and it was taken back; `error` is not empty where it could
    not be, and the fault then stays outstanding.
    """

    fault: str
    injection: str
    undone: bool
    error: str = ""


class Journal:
    """The journal of one sandbox, open for writing. One process writes it, on one thread."""

    def __init__(self, path: Path, descriptor: int, outstanding: dict[str, Outstanding]) -> None:
        self.path = path
        self._descriptor = descriptor
        self._outstanding = outstanding

    @classmethod
    def open(cls, path: Path) -> Self:
        """Opens or begins a journal; a last line that was never finished is cut off.

        Raises:
            LedgerError: it cannot be written, or holds what no journal holds.
        """
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise _cannot_write(path, error) from error
        try:
            os.fchmod(descriptor, 0o600)
            whole, outstanding = _read(path)
            os.ftruncate(descriptor, whole)
            _sync_folder(path.parent)
        except OSError as error:
            os.close(descriptor)
            raise _cannot_write(path, error) from error
        except LedgerError:
            os.close(descriptor)
            raise
        return cls(path, descriptor, outstanding)

    def record(self, fault: str, injection: str, facts: Mapping[str, str]) -> None:
        """Notes on the disk what undoing this fault needs; to be called before it is applied.

        Raises:
            LedgerError: it cannot be written: the fault must not be applied.
        """
        self._append({"entry": "applying", "fault": fault, "injection": injection, "facts": dict(facts)})
        self._outstanding[injection] = Outstanding(fault, injection, dict(facts))

    def done(self, injection: str) -> None:
        """Notes that the fault of this injection was undone, and that this was proven.

        Raises:
            LedgerError: it cannot be written.
        """
        self._append({"entry": "undone", "injection": injection})
        self._outstanding.pop(injection, None)

    def outstanding(self) -> tuple[Outstanding, ...]:
        """Every fault that may be in place, in the order in which they were recorded."""
        return tuple(self._outstanding.values())

    def close(self) -> None:
        """Closes the file; may be called twice."""
        if self._descriptor != -1:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _append(self, entry: Mapping[str, object]) -> None:
        line = json.dumps({"schema": SCHEMA, "at": Instant.now().rfc3339, **entry}, ensure_ascii=False) + "\n"
        before = None
        try:
            before = os.fstat(self._descriptor).st_size
            _write_all(self._descriptor, line.encode())
            os.fdatasync(self._descriptor)
        except OSError as error:
            if before is not None:
                os.ftruncate(self._descriptor, before)  # half a line must not be continued by the next one
            raise _cannot_write(self.path, error) from error


async def replay(path: Path, faults: Mapping[str, Fault]) -> list[Replayed]:
    """Undoes what a run that died left in place, newest first; may be repeated.

    What was undone is noted; what could not be is told and tried again at the next replay.

    Args:
        path: the journal; nothing is done where there is none.
        faults: every fault by its id.

    Raises:
        LedgerError: the journal cannot be read or written.
    """
    if not path.exists():
        return []
    results = []
    with Journal.open(path) as journal:
        for left in reversed(journal.outstanding()):
            fault = faults.get(left.fault)
            if fault is None:
                results.append(Replayed(left.fault, left.injection, False, f"there is no fault {left.fault}"))
                continue
            try:
                undone = await fault.undo_from(left.facts)
            except HarnessError as error:
                results.append(Replayed(left.fault, left.injection, False, str(error)))
                continue
            except (KeyError, ValueError) as error:  # another version of the fault wrote other facts
                why = f"its facts are not what {left.fault} writes: {error!r}"
                results.append(Replayed(left.fault, left.injection, False, why))
                continue
            journal.done(left.injection)
            results.append(Replayed(left.fault, left.injection, undone))
    return results


@dataclass(frozen=True, slots=True)
class TakenBack:
    """What became of a dead run's journal: a sentence for every fault, and whether nothing is outstanding any more."""

    told: tuple[str, ...]
    whole: bool


async def take_back(run: str, path: Path, faults: Mapping[str, Fault]) -> TakenBack:
    """Replays the journal of a run that died, told in sentences; what cannot be taken back is told, not raised."""
    try:
        results = await replay(path, faults)
    except LedgerError as error:
        return TakenBack((f"{run} died, and what it left in place is not known; its sandbox is kept: {error}",), False)
    return TakenBack(tuple(_told(run, result) for result in results), not any(result.error for result in results))


def _told(run: str, result: Replayed) -> str:
    what = f"{run} died with {result.fault} of {result.injection} in place"
    if result.error:
        return (
            f"{what}, and it could not be taken back; its sandbox is kept for the next run to try again: {result.error}"
        )
    return f"{what}: it was taken back" if result.undone else f"{what}: nothing of it was left to take back"


def _read(path: Path) -> tuple[int, dict[str, Outstanding]]:
    """How many bytes of whole lines there are, and what they leave outstanding."""
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    outstanding: dict[str, Outstanding] = {}
    for number, line in enumerate(content[:whole].splitlines(), start=1):
        entry = _entry(path, number, line)
        match entry:
            case {
                "entry": "applying",
                "fault": str(fault),
                "injection": str(injection),
                "facts": dict(facts),
            } if all(isinstance(value, str) for value in facts.values()):
                outstanding[injection] = Outstanding(fault, injection, facts)
            case {"entry": "undone", "injection": str(injection)}:
                outstanding.pop(injection, None)
            case _:
                raise _not_a_journal(path, number, "an entry of another kind")
    return whole, outstanding


def _entry(path: Path, number: int, line: bytes) -> Mapping[str, object]:
    try:
        entry = json.loads(line)
    except ValueError as error:
        raise _not_a_journal(path, number, "a line that is no JSON") from error
    if not isinstance(entry, dict) or entry.get("schema") != SCHEMA:
        raise _not_a_journal(path, number, "a line of another schema")
    return entry


def _write_all(descriptor: int, data: bytes) -> None:
    written = 0
    while written < len(data):
        written += os.write(descriptor, data[written:])


def _sync_folder(folder: Path) -> None:
    """A file that was just made is on the disk when its folder is."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _cannot_write(path: Path, error: OSError) -> LedgerError:
    return LedgerError(
        f"The undo journal {path} cannot be written",
        seen=error.strerror or str(error),
        hint="without it no fault is applied; make room, or let the sandbox be somewhere else",
    )


def _not_a_journal(path: Path, number: int, seen: str) -> LedgerError:
    return LedgerError(
        f"{path}:{number}: this is not an undo journal that can be trusted",
        expected=f"a line of {SCHEMA}",
        seen=seen,
        hint="look at what it says before you remove it: a fault may still be in place",
    )
