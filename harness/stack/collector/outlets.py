"""Where a destination stands among the events on disk: what it has, what it is being sent, what waits for it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from harness.stack.collector.database import Database

Forget = Callable[[sqlite3.Connection, str, int], None]

_LAST_OF_NEXT = """
SELECT max(position) FROM (SELECT position FROM events WHERE position > ? ORDER BY position LIMIT ?)
"""
_BEHIND = "SELECT kind, count(*), sum(length(record)) FROM events WHERE position > ? GROUP BY kind"


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


class Outlet:
    """One destination's place in the spool; its methods may be called from any thread.

    Args:
        database: holds the events, and the row with this place.
        name: the destination's.
        kinds: what it takes; None: every kind. It passes by the others.
        forget: told, in the same commit, which destination has come how far: removes what nobody needs.

    Raises:
        SpoolError: it cannot be read.
    """

    def __init__(self, database: Database, name: str, kinds: frozenset[str] | None, forget: Forget) -> None:
        self.name: Final = name
        self._database = database
        self._kinds = kinds
        self._forget = forget
        self._reader = database.connect()
        self.waiting = 0
        """How many events the destination is to have and does not have yet."""
        self.waiting_bytes = 0
        """How many bytes they have."""
        self.behind_bytes = 0
        """How many bytes all events have that it has not passed yet, of whatever kind: they stay for its sake."""
        with database.told():
            row = self._reader.execute("SELECT sent, sending FROM outlets WHERE name = ?", (name,)).fetchone()
            self._sent, self._sending = int(row[0]), int(row[1])
            for kind, count, size_bytes in self._reader.execute(_BEHIND, (self._sent,)).fetchall():
                self.come(kind, int(count), int(size_bytes))

    @property
    def passed(self) -> int:
        """The position up to which the destination has everything that it is to have."""
        return self._sent

    def takes(self, kind: str) -> bool:
        """Whether events of this kind go there."""
        return self._kinds is None or kind in self._kinds

    def come(self, kind: str, count: int, size_bytes: int) -> None:
        """So many events of a kind were kept, or with negative numbers passed; the lock is the caller's."""
        self.behind_bytes += size_bytes
        if self.takes(kind):
            self.waiting += count
            self.waiting_bytes += size_bytes

    def next_stretch(self, events: int) -> Stretch | None:
        """What is to be sent next: the stretch that was begun and not finished, or else at most so many events.

        A stretch is written down before it is sent, so that after a crash the very same one is sent again: ClickHouse
        knows it by its name.

        Raises:
            SpoolError: it cannot be read or written down.
        """
        with self._database.writing, self._database.told():
            if self._sending <= self._sent:
                writer = self._database.writer
                last = writer.execute(_LAST_OF_NEXT, (self._sent, events)).fetchone()[0]
                if last is None:
                    return None
                writer.execute("UPDATE outlets SET sending = ? WHERE name = ?", (last, self.name))
                self._sending = int(last)
            return Stretch(self._sent, self._sending)

    def read(self, stretch: Stretch) -> list[Kept]:
        """The events of a stretch, in their order; those too that the destination does not take.

        Raises:
            SpoolError: they cannot be read.
        """
        with self._database.told():
            rows = self._reader.execute(
                "SELECT position, kind, record FROM events WHERE position > ? AND position <= ? ORDER BY position",
                (stretch.after, stretch.until),
            ).fetchall()
        return [Kept(int(position), kind, record) for position, kind, record in rows]

    def sent(self, stretch: Stretch, kept: Sequence[Kept]) -> None:
        """The destination has what it takes of a stretch, whose events were `kept`: none of it is sent again.

        Raises:
            SpoolError: that cannot be written down.
        """
        with self._database.writing:
            with self._database.transaction() as writer:
                writer.execute("UPDATE outlets SET sent = ? WHERE name = ?", (stretch.until, self.name))
                self._forget(writer, self.name, stretch.until)
            self._sent = stretch.until
            for one in kept:
                self.come(one.kind, -1, -len(one.record))

    def close(self) -> None:
        """Closes the connection that reads."""
        self._reader.close()
