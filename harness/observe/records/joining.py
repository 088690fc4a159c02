"""Announcements held against the copies that were found of them, one record after the other."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from harness.model.records import WITHDRAWN
from harness.observe.records.fates import CopyRow, Fate, fate_of
from harness.observe.records.settings import Settings
from harness.observe.records.tally import Tally


def join(
    announced: Iterable[bytes], found: Iterable[Sequence[CopyRow]], settings: Settings, wanted: Collection[str] = ()
) -> dict[str, Tally]:
    """Every announced record with its fate, counted by source.

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
    looked_at, allowance = settings.looked_at, settings.allowance_seconds
    for name, (_, stamp, source, lane, level, digest) in book.items():
        at = _instant(stamp, settings.since)
        row = copies.pop(name, None)
        mine = () if row is None else (row, *more.pop(name, ()))
        if not settings.since <= at < settings.until:
            continue
        tally = tallies.setdefault(source, Tally())
        if row is None and name in withdrawn:
            tally.withdrawn += 1
            continue
        fate, delay = fate_of(at, digest, mine, looked_at=looked_at, allowance=allowance)
        tally.fates[fate.value, lane, level] += 1
        if row is not None:
            tally.copies(at, digest, mine, delay)
        if fate is not Fate.IN_TIME:
            tally.example(fate, name)
        tally.windows(settings.windows, (at,), (lane,), fate.value)
        if name in wanted:
            tally.drawn.append((name, at, digest, level, fate.value, len(mine)))
    for source, count in repeated.items():
        tallies.setdefault(source, Tally()).repeated = count
    for name in copies:
        tallies.setdefault("", Tally()).fates["", "", name.rpartition("/")[0]] += 1 + len(more.get(name, ()))
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


def _instant(stamp: str, unknown: float) -> float:
    """The instant of an announcement; of one whose writer wrote nonsense nobody knows when it was made."""
    try:
        return float(stamp)
    except ValueError:
        return unknown


def _copies(found: Iterable[Sequence[CopyRow]]) -> tuple[dict[str, CopyRow], dict[str, list[CopyRow]]]:
    """The first copy that was found of each identity, and the further ones of those that have them."""
    copies: dict[str, CopyRow] = {}
    more: dict[str, list[CopyRow]] = {}
    for some in found:
        for row in some:
            if copies.setdefault(row[0], row) is not row:
                more.setdefault(row[0], []).append(row)
    return copies, more
