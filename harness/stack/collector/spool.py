"""Events on disk: from before they are acknowledged until a while after ClickHouse has them.

One SQLite database in WAL mode with `synchronous=FULL`: a commit returns once the disk has it. Events keep the order in
which they were kept (`position`), and the unique index over their identities is what makes posting twice harmless: it
reaches back over the newest `REMEMBERED` events that were sent already. What is older and posted again is sent again,
and ClickHouse keeps one row of it.
"""

from __future__ import annotations

import sqlite3
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harness.stack.collector.schemas import Event

FILE: Final = "events.sqlite3"
REMEMBERED: Final = 100_000
"""How many events stay after they were sent, so that they are known when they are posted again."""

_TABLES = """
CREATE TABLE IF NOT EXISTS events
    (position INTEGER PRIMARY KEY, identity TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, record BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS progress
    (one INTEGER PRIMARY KEY CHECK (one = 1), store TEXT NOT NULL, sent INTEGER NOT NULL, sending INTEGER NOT NULL);
"""
_LAST_OF_NEXT = """
SELECT max(position) FROM (SELECT position FROM events WHERE position > ? ORDER BY position LIMIT ?)
"""
_INSERT = "INSERT INTO events (identity, kind, record) VALUES (?, ?, ?)"


class SpoolError(Exception):
    """The events could not be kept, or not be read; its message says why."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A row of the spool: an event that waits to be sent."""

    position: int
    kind: str
    record: bytes


@dataclass(frozen=True, slots=True)
class Stretch:
    """What is sent together: every event after `after`, up to and with `until`."""

    after: int
    until: int


class Spool:
    """The events of one collector. Its methods may be called from any thread.

    Args:
        folder: where the database is; made when missing.

    Raises:
        SpoolError: it cannot be opened, or is no database of ours.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._writing = threading.Lock()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._writer = self._connect()
            self._reader = self._connect()
        except OSError as error:
            raise SpoolError(f"{folder} cannot be made: {error.strerror}") from error
        with _told(self._path):
            self._writer.executescript(_TABLES)
            self._writer.execute("INSERT OR IGNORE INTO progress VALUES (1, ?, 0, 0)", (uuid.uuid4().hex,))
            row = self._writer.execute("SELECT store, sent, sending FROM progress").fetchone()
            self.store: Final[str] = row[0]
            self._sent, self._sending = int(row[1]), int(row[2])
            counted = self._writer.execute(
                "SELECT count(*), coalesce(sum(length(record)), 0) FROM events WHERE position > ?", (self._sent,)
            ).fetchone()
            self._waiting, self._waiting_bytes = int(counted[0]), int(counted[1])

    @property
    def waiting(self) -> int:
        """How many events ClickHouse does not have yet."""
        return self._waiting

    @property
    def waiting_bytes(self) -> int:
        """How many bytes they have."""
        return self._waiting_bytes

    def keep(self, batches: Sequence[Sequence[Event]]) -> list[list[bool]]:
        """Keeps batches in one commit; for every event whether it is new. Returns once the disk has them.

        Raises:
            SpoolError: none of them was kept.
        """
        with self._writing, _told(self._path):
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                new = [self._insert(batch) for batch in batches]
                self._writer.execute("COMMIT")
            except BaseException:
                self._roll_back()
                raise
            for batch, flags in zip(batches, new, strict=True):
                self._waiting += sum(flags)
                self._waiting_bytes += sum(
                    len(event.record) for event, is_new in zip(batch, flags, strict=True) if is_new
                )
        return new

    def next_stretch(self, events: int) -> Stretch | None:
        """What is to be sent next: the stretch that was begun and not finished, or else at most so many events.

        A stretch is written down before it is sent, so that after a crash the very same one is sent again: ClickHouse
        knows it by its name.

        Raises:
            SpoolError: it cannot be read or written down.
        """
        with self._writing, _told(self._path):
            if self._sending <= self._sent:
                last = self._writer.execute(_LAST_OF_NEXT, (self._sent, events)).fetchone()[0]
                if last is None:
                    return None
                self._writer.execute("UPDATE progress SET sending = ?", (last,))
                self._sending = int(last)
            return Stretch(self._sent, self._sending)

    def read(self, stretch: Stretch) -> list[Kept]:
        """The events of a stretch, in their order.

        Raises:
            SpoolError: they cannot be read.
        """
        with _told(self._path):
            rows = self._reader.execute(
                "SELECT position, kind, record FROM events WHERE position > ? AND position <= ? ORDER BY position",
                (stretch.after, stretch.until),
            ).fetchall()
        return [Kept(int(position), kind, record) for position, kind, record in rows]

    def sent(self, stretch: Stretch, kept: Sequence[Kept]) -> None:
        """ClickHouse has the stretch, whose events were `kept`: it is not sent again.

        Raises:
            SpoolError: that cannot be written down.
        """
        with self._writing, _told(self._path):
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                self._writer.execute("UPDATE progress SET sent = ?", (stretch.until,))
                self._writer.execute("DELETE FROM events WHERE position <= ?", (stretch.until - REMEMBERED,))
                self._writer.execute("COMMIT")
            except BaseException:
                self._roll_back()
                raise
            self._sent = stretch.until
            self._waiting -= len(kept)
            self._waiting_bytes -= sum(len(one.record) for one in kept)

    def close(self) -> None:
        """Closes the database."""
        with self._writing:
            self._reader.close()
            self._writer.close()

    def _connect(self) -> sqlite3.Connection:
        with _told(self._path):
            connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, timeout=10)
            with closing(connection.cursor()) as cursor:
                cursor.execute("PRAGMA journal_mode=WAL")
                cursor.execute("PRAGMA synchronous=FULL")
            return connection

    def _roll_back(self) -> None:
        # Where the disk was full SQLite has done so itself.
        if self._writer.in_transaction:
            self._writer.execute("ROLLBACK")

    def _insert(self, batch: Sequence[Event]) -> list[bool]:
        """Inserts a batch within the open transaction: whole, or one by one where one of them is known already."""
        rows = [(event.identity, event.kind, event.record) for event in batch]
        self._writer.execute("SAVEPOINT batch")
        try:
            self._writer.executemany(_INSERT, rows)
        except sqlite3.IntegrityError:
            self._writer.execute("ROLLBACK TO batch")
            new = [self._writer.execute(f"{_INSERT} ON CONFLICT DO NOTHING", row).rowcount == 1 for row in rows]
        else:
            new = [True] * len(rows)
        self._writer.execute("RELEASE batch")
        return new


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise SpoolError(f"{path}: {error}") from error
