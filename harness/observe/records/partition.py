"""Records and announcements sorted into buckets on disk by their identity, so that one bucket at a time fits in memory.

Both sides sort by the same number of an identity: whatever was announced and whatever was found of it meet in one
bucket. Every process writes files of its own, and no order is kept within a bucket.
"""

from __future__ import annotations

import marshal
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self
from zlib import crc32

from harness.observe.records.fates import CopyRow

BUCKET_BYTES: Final = 1_000_000
"""How many bytes of manifests should come to a bucket: some 10,000 records, few enough for a processor's cache."""

MOST_BUCKETS: Final = 400
"""More are never made: each takes two open files in every process."""

CHUNK_BYTES: Final = 1 << 20
"""How much of a file is read at once."""

_ROWS = 32_768


def bucket_count(manifest_bytes: int) -> int:
    """How many buckets so many bytes of manifests need."""
    return max(1, min(MOST_BUCKETS, -(-manifest_bytes // BUCKET_BYTES)))


def identity_number(identity: bytes, seed: int) -> int:
    """By which number an identity is sorted, and drawn for the control."""
    return crc32(identity, seed & 0xFFFFFFFF)


class Buckets:
    """The files that one process sorts into.

    Args:
        folder: the audit's folder.
        count: how many buckets there are.
        name: what tells the files of this process from those of others.
    """

    def __init__(self, folder: Path, count: int, name: str) -> None:
        self._folder, self._count, self._name = folder, count, name
        self._open: dict[tuple[str, int], BinaryIO] = {}
        self._rows: list[list[CopyRow]] = [[] for _ in range(count)]
        self._waiting = 0

    def __enter__(self) -> Self:
        """Files are opened when something is to be written to them."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Closes all files."""
        for file in self._open.values():
            file.close()

    def announcements(self, lines: list[list[bytes]]) -> None:
        """Adds manifest lines without their line breaks, by bucket."""
        for number, some in enumerate(lines):
            if some:
                file = self._file("announced", number)
                file.write(b"\n".join(some))
                file.write(b"\n")

    def copies(self, found: list[tuple[int, CopyRow]]) -> None:
        """Adds found copies with the numbers of their identities."""
        rows, count = self._rows, self._count
        for number, row in found:
            rows[number % count].append(row)
        self._waiting += len(found)
        if self._waiting >= _ROWS:
            self.flush()

    def flush(self) -> None:
        """Everything is in the files, for others to read."""
        for number, rows in enumerate(self._rows):
            if rows:
                marshal.dump(rows, self._file("found", number))
                rows.clear()
        self._waiting = 0
        for file in self._open.values():
            file.flush()

    def _file(self, side: str, number: int) -> BinaryIO:
        key = (side, number)
        if key not in self._open:
            path = self._folder / f"{side}.{number}.{self._name}"
            self._open[key] = path.open("ab")  # closed by __exit__
        return self._open[key]


def announced_lines(folder: Path, bucket: int) -> Iterator[bytes]:
    """The manifest lines of a bucket, whoever wrote them."""
    for path in sorted(folder.glob(f"announced.{bucket}.*")):
        yield path.read_bytes()


def found_rows(folder: Path, bucket: int) -> Iterator[list[CopyRow]]:
    """The found copies of a bucket, whoever wrote them."""
    for path in sorted(folder.glob(f"found.{bucket}.*")):
        with path.open("rb") as file:
            while True:
                try:
                    yield marshal.load(file)  # noqa: S302 - written by a process of this very audit
                except EOFError:
                    break


def chunks(path: Path, start: int, end: int) -> Iterator[bytes]:
    """The whole lines of a file that begin between two offsets, some of them at a time.

    The last line of a file may lack its line break; the chunk lacks it then too.
    """
    with path.open("rb") as file:
        at = start
        if start:
            file.seek(start - 1)
            at += len(file.readline()) - 1
        while at < end:
            chunk = file.read(min(CHUNK_BYTES, end - at))
            if not chunk:
                return
            if not chunk.endswith(b"\n"):
                chunk += file.readline()
            at += len(chunk)
            yield chunk
