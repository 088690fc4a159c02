"""The SQLite database of the spool: one connection that writes, a lock around it, and errors that are sentences."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final


class SpoolError(Exception):
    """The events could not be kept, or not be read; its message says why."""


class Database:
    """A database whose commits are on the disk when they return.

    Args:
        path: its file; the folder is made when missing.

    Raises:
        SpoolError: it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.writing: Final = threading.Lock()
        """Held by whoever writes, and while what was written is counted."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SpoolError(f"{path.parent} cannot be made: {error.strerror}") from error
        self.writer: Final = self.connect()

    def connect(self) -> sqlite3.Connection:
        """One more connection; whoever reads has one of their own.

        Raises:
            SpoolError: it is no database.
        """
        with self.told():
            connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, timeout=10)
            with closing(connection.cursor()) as cursor:
                cursor.execute("PRAGMA journal_mode=WAL")
                cursor.execute("PRAGMA synchronous=FULL")
            return connection

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """What is written within is kept whole, or not at all; the lock is the caller's.

        Raises:
            SpoolError: nothing of it was kept.
        """
        with self.told():
            self.writer.execute("BEGIN IMMEDIATE")
            try:
                yield self.writer
                self.writer.execute("COMMIT")
            except BaseException:
                # Where the disk was full SQLite has done so itself.
                if self.writer.in_transaction:
                    self.writer.execute("ROLLBACK")
                raise

    @contextmanager
    def told(self) -> Iterator[None]:
        """Whatever SQLite raises within becomes a sentence that names the file.

        Raises:
            SpoolError: SQLite raised.
        """
        try:
            yield
        except sqlite3.Error as error:
            raise SpoolError(f"{self._path}: {error}") from error

    def close(self) -> None:
        """Closes the connection that writes."""
        with self.writing:
            self.writer.close()
