"""The parts of an audit's work, each done by one process at a time: sort announcements, sort records, join a bucket."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path
from typing import Any, TypeAlias
from zlib import crc32

from harness.observe.records.checks import Checker, Seen
from harness.observe.records.joining import join
from harness.observe.records.partition import (
    BLOCK,
    MOST_DIGITS,
    Buckets,
    announced_lines,
    chunks,
    found_copies,
    number_of,
)
from harness.observe.records.reading import Reader
from harness.observe.records.settings import Settings
from harness.observe.records.tally import Tally

Epochs: TypeAlias = "dict[str, str]"
"""The source of every epoch."""


class Announcements:
    """What a stretch of a manifest amounts to: its epochs, and the lines that are no announcement."""

    def __init__(self) -> None:
        self.lines = 0
        self.epochs: Epochs = {}
        self.broken: list[str] = []


class Tasks:
    """One process's share of an audit.

    Args:
        settings: what records are held to.
        name: what tells this process's files from those of others.
    """

    def __init__(self, settings: Settings, name: str) -> None:
        self._settings = settings
        self._buckets = Buckets(settings.folder, settings.buckets, name)
        self._reader: tuple[Epochs, Reader] | None = None

    def announcements(self, path: Path, start: int, end: int) -> Announcements:
        """Sorts the announcements of a stretch of a manifest.

        Raises:
            OSError: it cannot be read, or the audit's folder not written.
        """
        told = Announcements()
        epoch = b"\n"
        for chunk in chunks(path, start, end):
            text = chunk[: chunk.rfind(b"\n") + 1]  # a writer that was killed leaves half a line: it announces nothing
            if text.startswith(epoch):
                alike = _of_one_writer(epoch, text)
                if alike is not None:
                    count, parts = alike
                    told.lines += count
                    for number, part in parts:
                        self._buckets.announcements(number, part)
                    continue
            lines = text.split(b"\n")
            lines.pop()
            told.lines += len(lines)
            by_number: defaultdict[int, list[bytes]] = defaultdict(list)
            for line in lines:
                name = line[: line.find(b"\t")]
                if name[: name.rfind(b"/") + 1] != epoch:
                    if not _is_announcement(line):
                        told.broken.append(f"{path.name}: {line[:60].decode(errors='replace')!r}")
                        continue
                    epoch = name[: name.rfind(b"/") + 1]
                    source = line.split(b"\t")[2].decode(errors="replace")
                    told.epochs.setdefault(epoch[:-1].decode(errors="replace"), source)
                elif line.count(b"\t") != 5:
                    told.broken.append(f"{path.name}: {line[:60].decode(errors='replace')!r}")
                    continue
                by_number[number_of(name.decode(errors="replace"))].append(line)
            for number, some in by_number.items():
                self._buckets.announcements(number, b"\n".join([*some, b""]))
        return told

    def records(self, path: Path, start: int, end: int, epochs: Epochs) -> Seen:
        """Reads, checks and sorts the records of a stretch of a file.

        Raises:
            OSError: it cannot be read, or the audit's folder not written.
        """
        settings = self._settings
        if self._reader is None or self._reader[0] is not epochs:
            held: Any = {"refresh_seconds": settings.refresh_seconds, "seed": settings.seed, "draw": settings.draw}
            checker = Checker(settings.schemas, epochs, **held)
            self._reader = epochs, Reader(checker, settings.schemas, **held)
        reader, total = self._reader[1], Seen()
        for chunk in chunks(path, start, end):
            seen, found = reader.read(chunk)
            total.add(seen, epochs, settings.draw)
            self._buckets.copies(found)
        self._buckets.flush()
        return total

    def joined(self, bucket: int, wanted: frozenset[str]) -> dict[str, Tally]:
        """Joins one bucket; every other task must be done.

        Raises:
            OSError: it cannot be read.
        """
        folder = self._settings.folder
        return join(announced_lines(folder, bucket), found_copies(folder, bucket), self._settings, wanted)


def _of_one_writer(epoch: bytes, text: bytes) -> tuple[int, list[tuple[int, bytes]]] | None:
    """How many lines a text has, and the text by the number of their identities.

    None where not all are announcements of one epoch, or not in the order of their sequences and without a gap.
    """
    if not epoch.isascii():
        return None
    line = rb"^%b([0-9]{1,%d}+)%b\t[^\n]*+\n" % (re.escape(epoch), MOST_DIGITS, rb"\t[^\t]*+" * 4)
    sequences = list(map(int, re.findall(line, text, re.MULTILINE)))
    first, count = sequences[0] if sequences else 0, len(sequences)
    # Each has at least one line break and five tabs: where there are no more of them, none has swallowed another line.
    if not count or count != text.count(b"\n") or count * 5 != text.count(b"\t"):
        return None
    if sequences != list(range(first, first + count)):
        return None
    base, parts, start = crc32(epoch[:-1]), [], 0
    for block in range(first // BLOCK, sequences[-1] // BLOCK):
        end = text.find(b"\n%b%d\t" % (epoch, (block + 1) * BLOCK), start) + 1
        if not end:  # it is written in another way, with noughts before it
            return None
        parts.append((base + block, text[start:end]))
        start = end
    return count, [*parts, (base + sequences[-1] // BLOCK, text[start:])]


def _is_announcement(line: bytes) -> bool:
    parts = line.split(b"\t")
    return len(parts) == 6 and b"/" in parts[0] and _is_instant(parts[1])


def _is_instant(text: bytes) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def seen_as_plain(seen: Seen) -> dict[str, Any]:
    """What records amount to, in what `marshal` can write."""
    return {
        "lines": seen.lines,
        "unreadable": seen.unreadable,
        "nameless": seen.nameless,
        "foreign": seen.foreign,
        "undated": dict(seen.undated),
        "violations": dict(seen.violations),
        "offending": {source: dict(fields) for source, fields in seen.offending.items()},
        "inversions": dict(seen.inversions),
        "first": seen.first,
        "last": seen.last,
        "drawn": seen.drawn,
    }
