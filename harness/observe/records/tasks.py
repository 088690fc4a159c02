"""The parts of an audit's work, each done by one process at a time: sort announcements, sort records, join a bucket."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeAlias
from zlib import crc32

from harness.observe.records.checks import Checker, Seen
from harness.observe.records.joining import join
from harness.observe.records.partition import (
    Buckets,
    announced_lines,
    chunks,
    found_rows,
)
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
        self._checker: tuple[Epochs, Checker] | None = None

    def close(self) -> None:
        """Closes the files."""
        self._buckets.__exit__(None, None, None)

    def announcements(self, path: Path, start: int, end: int) -> Announcements:
        """Sorts the announcements of a stretch of a manifest.

        Raises:
            OSError: it cannot be read, or the audit's folder not written.
        """
        told = Announcements()
        count, seed = self._settings.buckets, self._settings.seed & 0xFFFFFFFF
        epoch = b"\n"
        for chunk in chunks(path, start, end):
            lines = chunk.split(b"\n")
            lines.pop()  # nothing, or what a writer that was killed has left: half a line announces nothing
            sorted_lines: list[list[bytes]] = [[] for _ in range(count)]
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
                sorted_lines[crc32(name, seed) % count].append(line)
            told.lines += len(lines)
            self._buckets.announcements(sorted_lines)
        self._buckets.flush()
        return told

    def records(self, path: Path, start: int, end: int, epochs: Epochs) -> Seen:
        """Reads, checks and sorts the records of a stretch of a file.

        Raises:
            OSError: it cannot be read, or the audit's folder not written.
        """
        settings = self._settings
        if self._checker is None or self._checker[0] is not epochs:
            self._checker = (
                epochs,
                Checker(
                    settings.schemas,
                    epochs,
                    refresh_seconds=settings.refresh_seconds,
                    seed=settings.seed,
                    draw=settings.draw,
                ),
            )
        checker, total = self._checker[1], Seen()
        for chunk in chunks(path, start, end):
            seen, found = checker.read(chunk.split(b"\n"))
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
        return join(announced_lines(folder, bucket), found_rows(folder, bucket), self._settings, wanted)


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
