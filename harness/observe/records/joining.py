"""One bucket: its announcements held against the copies that were found of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from harness.model.records import WITHDRAWN
from harness.observe.records.fates import CopyRow, Fate, fate_of
from harness.observe.records.settings import Settings
from harness.observe.records.tally import Tally

_GOOD = Fate.IN_TIME


def join(
    announced: Iterable[bytes], found: Iterable[Iterable[CopyRow]], settings: Settings, wanted: Collection[str] = ()
) -> dict[str, Tally]:
    """Every announced record of a bucket with its fate, counted by source.

    Copies of this run that nobody announced are counted under the source "", with epochs in the place of levels.

    Args:
        announced: manifest lines, some at a time, each ended by a line break.
        found: copies, some at a time.
        settings: what records are held to.
        wanted: identities that the control has drawn: what was announced of them comes back too.
    """
    book, withdrawn, repeated = _book(announced)
    copies, more = _copies(found)
    tallies: dict[str, Tally] = {}
    counts: dict[tuple[str, Fate, str, str], int] = {}
    since, until, windows = settings.since, settings.until, settings.windows
    looked_at, allowance = settings.looked_at, settings.allowance_seconds
    for name, (_, stamp, source, lane, level, digest) in book.items():
        try:
            at = float(stamp)
        except ValueError:
            at = settings.since  # its writer wrote nonsense: it was announced, and nobody knows when
        row = copies.pop(name, None)
        mine = () if row is None else (row,) if name not in more else (row, *more.pop(name))
        if not since <= at < until:
            continue
        tally = tallies.get(source)
        if tally is None:
            tally = tallies[source] = Tally()
        if row is None and name in withdrawn:
            tally.withdrawn += 1
            continue
        fate, delay = fate_of(at, digest, mine, looked_at=looked_at, allowance=allowance)
        key = (source, fate, lane, level)
        counts[key] = counts.get(key, 0) + 1
        if row is not None:
            tally.copies(at, digest, mine, delay)
        if fate is not _GOOD:
            tally.example(fate, name)
        for number, window in enumerate(windows):
            if window.covers(lane, at):
                tally.in_windows[number, fate.value] += 1
        if name in wanted:
            tally.drawn.append((name, at, digest, level, fate.value, len(mine)))
    for (source, fate, lane, level), count in counts.items():
        tallies[source].fates[fate.value, lane, level] = count
    for source, count in repeated.items():
        tallies.setdefault(source, Tally()).repeated = count
    if copies:
        stray = tallies.setdefault("", Tally())
        for name in copies:
            stray.fates["", "", name.rpartition("/")[0]] += 1 + len(more.get(name, ()))
    return tallies


def _book(announced: Iterable[bytes]) -> tuple[dict[str, list[str]], set[str], dict[str, int]]:
    """What was announced by identity, what was taken back, and how many identities were announced twice, by source."""
    book: dict[str, list[str]] = {}
    withdrawn: set[str] = set()
    repeated: dict[str, int] = {}
    for some in announced:
        for line in some.decode(errors="replace").split("\n")[:-1]:
            entry = line.split("\t")
            if entry[4] == WITHDRAWN:
                withdrawn.add(entry[0])
            elif entry[0] in book:
                repeated[entry[2]] = repeated.get(entry[2], 0) + 1
            else:
                book[entry[0]] = entry
    return book, withdrawn, repeated


def _copies(found: Iterable[Iterable[CopyRow]]) -> tuple[dict[str, CopyRow], dict[str, list[CopyRow]]]:
    """The first copy that was found of each identity, and the further ones of those that have them."""
    copies: dict[str, CopyRow] = {}
    more: dict[str, list[CopyRow]] = {}
    for some in found:
        for row in some:
            if copies.setdefault(row[0], row) is not row:
                more.setdefault(row[0], []).append(row)
    return copies, more
