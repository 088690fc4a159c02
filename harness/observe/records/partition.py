"""Records and announcements sorted into buckets on disk by their identity, so that one bucket at a time fits in memory.

Both sides sort by the same number of an identity: whatever was announced and whatever was found of it meet in one
bucket. Every process writes files of its own, and no order is kept within a bucket.
"""

from __future__ import annotations

import marshal
from array import array
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final
from zlib import crc32

from harness.observe.records.fates import CopyRow

BUCKET_BYTES: Final = 1_000_000
"""How many bytes of manifests should come to a bucket: some 10,000 records, few enough for a processor's cache."""

MOST_BUCKETS: Final = 100_000
"""More are never made; so many are enough for a billion records."""

BLOCK: Final = 4096
"""So many records of one writer, one after the other, go to one bucket: they are announced and found together."""

MOST_DIGITS: Final = 15
"""A sequence with more is no sequence."""

CHUNK_BYTES: Final = 1 << 18
"""How much of a file is read at once: what is made of it should fit in a processor's cache."""

_WAITING_BYTES: Final = 4 << 20
_ROW_BYTES: Final = 500


def bucket_count(manifest_bytes: int) -> int:
    """How many buckets so many bytes of manifests need."""
    return max(1, min(MOST_BUCKETS, -(-manifest_bytes // BUCKET_BYTES)))


def number_of(identity: str) -> int:
    """By which number an identity is sorted: that of its bucket, once divided by how many there are."""
    epoch, _, sequence = identity.rpartition("/")
    if sequence.isascii() and sequence.isdigit() and len(sequence) <= MOST_DIGITS:
        return crc32(epoch.encode("utf-8", "surrogatepass")) + int(sequence) // BLOCK
    return crc32(identity.encode("utf-8", "surrogatepass"))


@dataclass(frozen=True, slots=True)
class Packed:
    """Copies of one epoch (ASCII) whose schemas allow them, in columns: their sequences, and what else a `Copy` has.

    Their digests, of 16 digits, stand one behind the other; `searchable` and `stamped` are empty where no copy tells.
    """

    epoch: str
    sequences: array[int]
    searchable: array[float]
    digests: str
    stamped: array[float]

    def some(self, which: Sequence[int]) -> Packed:
        """Those which are asked for."""
        searchable, stamped = (
            array("d", [column[at] for at in which] if column else ()) for column in (self.searchable, self.stamped)
        )
        digests = "".join([self.digests[16 * at : 16 * at + 16] for at in which])
        return Packed(self.epoch, array("q", [self.sequences[at] for at in which]), searchable, digests, stamped)

    def written(self) -> bytes:
        """For `read`: few large values are written and read many times as fast as many small ones."""
        columns = self.sequences.tobytes(), self.searchable.tobytes(), self.digests, self.stamped.tobytes()
        return marshal.dumps((self.epoch, *columns))

    @classmethod
    def read(cls, written: tuple[str, bytes, bytes, str, bytes]) -> Packed:
        """What was written."""
        epoch, sequences, searchable, digests, stamped = written
        return cls(epoch, array("q", sequences), array("d", searchable), digests, array("d", stamped))

    def rows(self) -> list[CopyRow]:
        """One by one."""
        nobody = [None] * len(self.sequences)
        searchable, stamped = (column.tolist() or nobody for column in (self.searchable, self.stamped))
        columns = zip(self.sequences, searchable, stamped, strict=True)
        return [
            (f"{self.epoch}/{sequence}", at, self.digests[16 * number : 16 * number + 16], True, stamp)
            for number, (sequence, at, stamp) in enumerate(columns)
        ]


class Sorted:
    """Found copies by the number of their identities: `packed` those that are alike, `rows` the others."""

    def __init__(self) -> None:
        self.packed: list[tuple[int, Packed]] = []
        self.rows: defaultdict[int, list[CopyRow]] = defaultdict(list)

    def add(self, copies: Packed) -> None:
        """Adds copies that are alike."""
        sequences = copies.sequences
        base, first, last = crc32(copies.epoch.encode()), min(sequences) // BLOCK, max(sequences) // BLOCK
        if first == last:
            self.packed.append((base + first, copies))
            return
        by_block: defaultdict[int, list[int]] = defaultdict(list)
        for at, sequence in enumerate(sequences):
            by_block[sequence // BLOCK].append(at)
        for block, which in by_block.items():
            self.packed.append((base + block, copies.some(which)))

    def parts(self) -> list[Packed | list[CopyRow]]:
        """All of them."""
        return [*(copies for _, copies in self.packed), *self.rows.values()]

    def copies(self) -> list[CopyRow]:
        """All of them, one by one."""
        return [row for part in self.parts() for row in (part.rows() if isinstance(part, Packed) else part)]


class Buckets:
    """The files that one process sorts into; none stays open, for there may be more than a process may open.

    Args:
        folder: the audit's folder.
        count: how many buckets there are.
        name: what tells the files of this process from those of others.
    """

    def __init__(self, folder: Path, count: int, name: str) -> None:
        self._folder, self._count, self._name = folder, count, name
        self._rows: defaultdict[int, list[CopyRow]] = defaultdict(list)
        self._packed: defaultdict[int, list[bytes]] = defaultdict(list)
        self._waiting = 0

    def announcements(self, number: int, written: bytes) -> None:
        """Adds announcements of identities of one number, as `marshal` writes them."""
        with self._file("announced", number % self._count) as file:
            file.write(written)

    def copies(self, found: Sorted) -> None:
        """Adds found copies."""
        for number, copies in found.packed:
            written = copies.written()
            self._packed[number % self._count].append(written)
            self._waiting += len(written)
        for number, rows in found.rows.items():
            self._rows[number % self._count] += rows
            self._waiting += _ROW_BYTES * len(rows)
        if self._waiting >= _WAITING_BYTES:
            self.flush()

    def flush(self) -> None:
        """Everything is in the files, for others to read."""
        for number, copies in self._packed.items():
            with self._file("found", number) as file:
                file.writelines(copies)
        for number, rows in self._rows.items():
            with self._file("found", number) as file:
                marshal.dump(rows, file)
        self._packed.clear()
        self._rows.clear()
        self._waiting = 0

    def _file(self, side: str, number: int) -> BinaryIO:
        folder = self._folder / str(number)
        try:
            return (folder / f"{side}.{self._name}").open("ab")
        except FileNotFoundError:
            folder.mkdir(exist_ok=True)
            return (folder / f"{side}.{self._name}").open("ab")


def parts(folder: Path, bucket: int, side: str) -> Iterator[Any]:
    """What was sorted into a bucket, whoever wrote it; `side` is `announced` or `found`."""
    for path in sorted((folder / str(bucket)).glob(f"{side}.*")):
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
