"""The parts of an audit's work, each done by one process at a time: sort announcements, sort records, join a bucket."""

from __future__ import annotations

import marshal
from collections import defaultdict
from pathlib import Path
from typing import Any, TypeAlias

from harness.observe.records.booking import Booked, of_one_writer
from harness.observe.records.checks import Checker, Seen
from harness.observe.records.partition import Buckets, Packed, chunks, number_of, parts
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
            first = text[: text.find(b"\n")]
            if not text.startswith(epoch) and _is_announcement(first):
                epoch = _begin(first, told)
            if text.startswith(epoch):
                alike = of_one_writer(epoch, text)
                if alike is not None:
                    count, some_parts = alike
                    told.lines += count
                    for number, part in some_parts:
                        self._buckets.announcements(number, part.written())
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
                    epoch = _begin(line, told)
                elif line.count(b"\t") != 5:
                    told.broken.append(f"{path.name}: {line[:60].decode(errors='replace')!r}")
                    continue
                by_number[number_of(name.decode(errors="replace"))].append(line)
            for number, some in by_number.items():
                self._buckets.announcements(number, marshal.dumps(b"\n".join([*some, b""])))
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
        from harness.observe.records.blocks import joined  # noqa: PLC0415 - what it needs is slow to load

        folder = self._settings.folder
        announced = parts(folder, bucket, "announced")
        found = parts(folder, bucket, "found")
        return joined(
            (Booked.read(one) if type(one) is tuple else one for one in announced),
            (Packed.read(one) if type(one) is tuple else one for one in found),
            self._settings,
            wanted,
        )


def _begin(line: bytes, told: Announcements) -> bytes:
    """The epoch of an announcement, with the slash behind it, which is told with its source."""
    name, _, source, *_ = line.split(b"\t")
    epoch = name[: name.rfind(b"/") + 1]
    told.epochs.setdefault(epoch[:-1].decode(errors="replace"), source.decode(errors="replace"))
    return epoch


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
