"""Announcements of one writer, taken apart together: what a manifest nearly always holds."""

from __future__ import annotations

import marshal
import re
from array import array
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias
from zlib import crc32

from harness.model.records import WITHDRAWN
from harness.observe.records.partition import BLOCK

Kind: TypeAlias = "tuple[str, str, str]"
"""The source, the lane and the level of a record."""

# What follows none of the columns can stand in it, but for line breaks, which are counted afterwards.
_REST: Final = rb"(0|[1-9][0-9]{0,14}+)\t([^\t]*+)\t([^\t]*+\t[^\t]*+\t[^\t]*+)\t([^\n]*+)\n"
_MOST_KINDS: Final = 256
_DIGITS: Final = 16


@dataclass(frozen=True, slots=True)
class Booked:
    """Announcements of one epoch (ASCII) with digests of 16 digits, by column; no record is taken back by them.

    `kinds` are the different ones of sources, lanes and levels, `codes` says which of them each record has.
    """

    epoch: str
    sequences: array[int]
    ats: array[float]
    digests: bytes
    kinds: Sequence[Kind]
    codes: bytes

    def written(self) -> bytes:
        """For `read`."""
        kinds = ["\t".join(kind) for kind in self.kinds]
        columns = (self.sequences.tobytes(), self.ats.tobytes(), self.digests, kinds, self.codes)
        return marshal.dumps((self.epoch, *columns))

    @classmethod
    def read(cls, written: tuple[str, bytes, bytes, bytes, list[str], bytes]) -> Booked:
        """What was written."""
        epoch, sequences, ats, digests, kinds, codes = written
        apart = []
        for kind in kinds:
            source, lane, level = kind.split("\t")
            apart.append((source, lane, level))
        return cls(epoch, array("q", sequences), array("d", ats), digests, apart, codes)

    def some(self, which: slice) -> Booked:
        """A stretch of them."""
        digests = self.digests[16 * which.start : 16 * which.stop]
        return Booked(self.epoch, self.sequences[which], self.ats[which], digests, self.kinds, self.codes[which])

    def of(self, which: Sequence[int]) -> Booked:
        """Those which are asked for."""
        return Booked(
            self.epoch,
            array("q", [self.sequences[at] for at in which]),
            array("d", [self.ats[at] for at in which]),
            b"".join([self.digests[16 * at : 16 * at + 16] for at in which]),
            self.kinds,
            bytes([self.codes[at] for at in which]),
        )

    def line(self, at: int) -> bytes:
        """The manifest line of one of them, its instant perhaps written in another way."""
        source, lane, level = self.kinds[self.codes[at]]
        digest = self.digests[16 * at : 16 * at + 16].decode()
        name = f"{self.epoch}/{self.sequences[at]}"
        return f"{name}\t{self.ats[at]!r}\t{source}\t{lane}\t{level}\t{digest}\n".encode()


def of_one_writer(epoch: bytes, text: bytes) -> tuple[int, list[tuple[int, Booked]]] | None:
    """How many lines a text has, and its announcements by the number of their identities.

    None where not all lines are announcements of one epoch, or one is that `Booked` has no room for.

    Args:
        epoch: that of the first line, with the slash behind it.
        text: lines, each with its line break.
    """
    if not epoch.isascii():
        return None
    rows = re.findall(b"^" + re.escape(epoch) + _REST, text, re.MULTILINE)
    # Each begins a line and has at least one line break: with no more of them, none has swallowed another line.
    if not rows or len(rows) != text.count(b"\n"):
        return None
    texts, stamps, kinds, digests = zip(*rows, strict=True)
    codes = {kind: code for code, kind in enumerate(dict.fromkeys(kinds))}
    apart = []
    for kind in codes:
        source, lane, level = kind.decode(errors="replace").split("\t")
        apart.append((source, lane, level))
    if len(codes) > _MOST_KINDS or any(level == WITHDRAWN for _, _, level in apart):
        return None
    digits = b"".join(digests)
    try:
        ats = list(map(float, stamps))
        if set(map(len, digests)) != {_DIGITS} or bytes.fromhex(digits.decode()).hex() != digits.decode():
            return None
    except ValueError:
        return None
    sequences = list(map(int, texts))
    whole = Booked(
        epoch[:-1].decode(),
        array("q", sequences),
        array("d", ats),
        digits,
        apart,
        bytes(map(codes.__getitem__, kinds)),
    )
    base = crc32(epoch[:-1])
    return len(rows), [(base + block, part) for block, part in _by_block(whole, sequences)]


def _by_block(booked: Booked, sequences: list[int]) -> Iterator[tuple[int, Booked]]:
    first, last = min(sequences) // BLOCK, max(sequences) // BLOCK
    if first == last:
        yield first, booked
    elif sequences == list(range(sequences[0], sequences[0] + len(sequences))):  # as a writer counts
        for block in range(first, last + 1):
            start, end = max(0, block * BLOCK - sequences[0]), (block + 1) * BLOCK - sequences[0]
            yield block, booked.some(slice(start, end))
    else:
        found: defaultdict[int, list[int]] = defaultdict(list)
        for at, sequence in enumerate(sequences):
            found[sequence // BLOCK].append(at)
        for block, which in found.items():
            yield block, booked.of(which)
