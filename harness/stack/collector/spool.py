"""Events on disk: from before they are acknowledged until a while after every destination has them.

One SQLite database in WAL mode with `synchronous=FULL`: a commit returns once the disk has it. Events keep the order in
which they were kept (`position`), and the unique index over their identities is what makes posting twice harmless: it
reaches back over the newest `REMEMBERED` events that every destination has. What is older and posted again is sent
again, and a destination keeps one of it.

Each destination has a place of its own in that order (`outlets`), so that one which is down holds up no other; an event
is forgotten once it lies behind all of them.
"""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from harness.stack.collector.database import Database
from harness.stack.collector.outlets import Outlet
from harness.stack.collector.schemas import Event

FILE: Final = "events.sqlite3"
REMEMBERED: Final = 100_000
"""How many events stay after they were sent, so that they are known when they are posted again."""

CLICKHOUSE: Final = "clickhouse"
INFLUXDB: Final = "influxdb"

Kinds = frozenset[str] | None
"""What a destination takes; None: every kind."""

# `progress` holds the name of the store. Its columns `sent` and `sending` were ClickHouse's place before there were
# other destinations: what they say is where it begins in a database of that time.
_TABLES = """
CREATE TABLE IF NOT EXISTS events
    (position INTEGER PRIMARY KEY, identity TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, record BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS progress
    (one INTEGER PRIMARY KEY CHECK (one = 1), store TEXT NOT NULL, sent INTEGER NOT NULL, sending INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS outlets (name TEXT PRIMARY KEY, sent INTEGER NOT NULL, sending INTEGER NOT NULL);
"""
_FIRST_BEGINS = "INSERT OR IGNORE INTO outlets SELECT ?, sent, sending FROM progress"
_BEGINS_BESIDE = "INSERT OR IGNORE INTO outlets SELECT ?, sent, sent FROM outlets WHERE name = ?"
_INSERT = "INSERT INTO events (identity, kind, record) VALUES (?, ?, ?)"


class Spool:
    """The events of one collector. Its methods, and those of its outlets, may be called from any thread.

    Args:
        folder: where the database is; made when missing.
        destinations: who takes which kinds. The first has always been there; another that is new begins with what
            waits for the first. One that was named before and is not any more holds nothing back, and goes on where it
            stood when it is named again, with what is still there.

    Raises:
        SpoolError: it cannot be opened, or is no database of ours.
    """

    def __init__(self, folder: Path, destinations: Mapping[str, Kinds] | None = None) -> None:
        self._database = database = Database(folder / FILE)
        named = {CLICKHOUSE: None} if destinations is None else destinations
        with database.told():
            database.writer.executescript(_TABLES)
            database.writer.execute("INSERT OR IGNORE INTO progress VALUES (1, ?, 0, 0)", (uuid.uuid4().hex,))
        with database.writing, database.transaction() as writer:
            first, *others = named
            writer.execute(_FIRST_BEGINS, (first,))
            writer.executemany(_BEGINS_BESIDE, [(other, first) for other in others])
            self.store: Final[str] = writer.execute("SELECT store FROM progress").fetchone()[0]
        self.outlets: Final = {name: Outlet(database, name, kinds, self._forget) for name, kinds in named.items()}

    @property
    def held_bytes(self) -> int:
        """The bytes of all events that some destination has not passed yet, those of other kinds among them."""
        return max(outlet.behind_bytes for outlet in self.outlets.values())

    @property
    def slowest(self) -> str:
        """The name of the destination that is the furthest behind."""
        return max(self.outlets.values(), key=lambda outlet: outlet.behind_bytes).name

    def keep(self, batches: Sequence[Sequence[Event]]) -> list[list[bool]]:
        """Keeps batches in one commit; for every event whether it is new. Returns once the disk has them.

        Raises:
            SpoolError: none of them was kept.
        """
        with self._database.writing:
            with self._database.transaction() as writer:
                new = [_inserted(writer, batch) for batch in batches]
            sizes: dict[str, list[int]] = {}
            for batch, flags in zip(batches, new, strict=True):
                for event, is_new in zip(batch, flags, strict=True):
                    if is_new:
                        sizes.setdefault(event.kind, []).append(len(event.record))
            for outlet in self.outlets.values():
                for kind, lengths in sizes.items():
                    outlet.come(kind, len(lengths), sum(lengths))
        return new

    def close(self) -> None:
        """Closes the database."""
        for outlet in self.outlets.values():
            outlet.close()
        self._database.close()

    def _forget(self, writer: sqlite3.Connection, name: str, until: int) -> None:
        """Within the commit in which a destination goes on: what lies far enough behind all of them is removed."""
        others = (outlet.passed for outlet in self.outlets.values() if outlet.name != name)
        writer.execute("DELETE FROM events WHERE position <= ?", (min((until, *others)) - REMEMBERED,))


def _inserted(writer: sqlite3.Connection, batch: Sequence[Event]) -> list[bool]:
    """Inserts a batch within the open transaction: whole, or one by one where one of them is known already."""
    rows = [(event.identity, event.kind, event.record) for event in batch]
    writer.execute("SAVEPOINT batch")
    try:
        writer.executemany(_INSERT, rows)
    except sqlite3.IntegrityError:
        writer.execute("ROLLBACK TO batch")
        new = [writer.execute(f"{_INSERT} ON CONFLICT DO NOTHING", row).rowcount == 1 for row in rows]
    else:
        new = [True] * len(rows)
    writer.execute("RELEASE batch")
    return new
