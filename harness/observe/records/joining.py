"""One bucket: its announcements held against the copies that were found of them.

Nearly all records are plainly in time; they are counted together. Each of the others is looked at by itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import compress
from math import isfinite
from operator import itemgetter, not_

from harness.model.records import WITHDRAWN
from harness.observe.records.fates import CopyRow, Fate, fate_of, plainly_in_time
from harness.observe.records.settings import Settings
from harness.observe.records.tally import Tally

_FIELDS = 6


@dataclass(frozen=True, slots=True)
class _Book:
    """What was announced, each identity once, in columns."""

    names: Sequence[str]
    ats: Sequence[float]
    sources: Sequence[str]
    lanes: Sequence[str]
    levels: Sequence[str]
    digests: Sequence[str]

    def some(self, which: Iterable[object]) -> _Book:
        """Those which are true."""
        columns = (self.names, self.ats, self.sources, self.lanes, self.levels, self.digests)
        chosen = list(map(bool, which))
        return _Book(*(list(compress(column, chosen)) for column in columns))  # type: ignore[arg-type]


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
    book, withdrawn, repeated = _book(announced, settings.since)
    copies, more = _copies(found)
    rows = list(map(copies.get, book.names))
    tallies: dict[str, Tally] = {}
    strays = len(copies) - (len(rows) - rows.count(None))
    if strays:
        _count_strays(copies, more, set(book.names), tallies.setdefault("", Tally()))
    if book.ats and not (
        settings.since <= min(book.ats) and max(book.ats) < settings.until and isfinite(sum(book.ats))
    ):
        inside = [settings.since <= at < settings.until for at in book.ats]
        book, rows = book.some(inside), list(compress(rows, inside))
    plain = plainly_in_time(book.ats, book.digests, rows, allowance=settings.allowance_seconds)
    if more:
        plain = [one and name not in more for one, name in zip(plain, book.names, strict=True)]
    if all(plain):
        _count_plain(book, rows, settings, wanted, tallies)
    else:
        _count_plain(book.some(plain), list(compress(rows, plain)), settings, wanted, tallies)
        others = list(map(not_, plain))
        _count_others(book.some(others), list(compress(rows, others)), more, withdrawn, settings, wanted, tallies)
    for source, count in repeated.items():
        tallies.setdefault(source, Tally()).repeated = count
    return tallies


def _count_plain(
    book: _Book,
    rows: Sequence[CopyRow | None],
    settings: Settings,
    wanted: Collection[str],
    tallies: dict[str, Tally],
) -> None:
    """Counts records of which one copy was found, whole and in time."""
    names = list(dict.fromkeys(book.sources))
    if len(names) > 1:
        for source in names:
            mine = [one == source for one in book.sources]
            _count_plain(book.some(mine), list(compress(rows, mine)), settings, wanted, tallies)
        return
    for source in names:
        tally = tallies.setdefault(source, Tally())
        fate = Fate.IN_TIME.value
        for (lane, level), count in Counter(zip(book.lanes, book.levels, strict=True)).items():
            tally.fates[fate, lane, level] += count
        tally.plain_copies(book.ats, [row for row in rows if row is not None])
        tally.windows(settings.windows, book.ats, book.lanes, fate)
        if wanted:
            for name, at, digest, level in zip(book.names, book.ats, book.digests, book.levels, strict=True):
                if name in wanted:
                    tally.drawn.append((name, at, digest, level, fate, 1))


def _count_others(
    book: _Book,
    rows: Sequence[CopyRow | None],
    more: dict[str, list[CopyRow]],
    withdrawn: Collection[str],
    settings: Settings,
    wanted: Collection[str],
    tallies: dict[str, Tally],
) -> None:
    """Counts records one by one."""
    looked_at, allowance = settings.looked_at, settings.allowance_seconds
    entries = zip(book.names, book.ats, book.sources, book.lanes, book.levels, book.digests, rows, strict=True)
    for name, at, source, lane, level, digest, row in entries:
        tally = tallies.setdefault(source, Tally())
        if row is None and name in withdrawn:
            tally.withdrawn += 1
            continue
        mine = () if row is None else (row, *more.get(name, ()))
        fate, delay = fate_of(at, digest, mine, looked_at=looked_at, allowance=allowance)
        tally.fates[fate.value, lane, level] += 1
        if row is not None:
            tally.copies(at, digest, mine, delay)
        if fate is not Fate.IN_TIME:
            tally.example(fate, name)
        tally.windows(settings.windows, (at,), (lane,), fate.value)
        if name in wanted:
            tally.drawn.append((name, at, digest, level, fate.value, len(mine)))


def _count_strays(
    copies: dict[str, CopyRow], more: dict[str, list[CopyRow]], announced: Collection[str], stray: Tally
) -> None:
    for name in copies:
        if name not in announced:
            stray.fates["", "", name.rpartition("/")[0]] += 1 + len(more.get(name, ()))


def _book(announced: Iterable[bytes], unknown: float) -> tuple[_Book, set[str], dict[str, int]]:
    """What was announced, what was taken back, and how many identities were announced twice, by source."""
    text = b"".join(announced).decode(errors="replace")
    fields = text.replace("\n", "\t").split("\t")
    fields.pop()
    columns = [fields[number::_FIELDS] for number in range(_FIELDS)]
    withdrawn: set[str] = set()
    repeated: dict[str, int] = {}
    if WITHDRAWN in columns[4] or len(set(columns[0])) < len(columns[0]):
        book: dict[str, tuple[str, ...]] = {}
        for entry in zip(*columns, strict=True):
            if entry[4] == WITHDRAWN:
                withdrawn.add(entry[0])
            elif entry[0] in book:
                repeated[entry[2]] = repeated.get(entry[2], 0) + 1
            else:
                book[entry[0]] = entry
        columns = [list(column) for column in zip(*book.values(), strict=True)] or [[] for _ in range(_FIELDS)]
    names, stamps, sources, lanes, levels, digests = columns
    return _Book(names, _instants(stamps, unknown), sources, lanes, levels, digests), withdrawn, repeated


def _instants(stamps: Sequence[str], unknown: float) -> list[float]:
    """The instants of announcements; of one whose writer wrote nonsense nobody knows when it was made."""
    try:
        return list(map(float, stamps))
    except ValueError:
        return [_instant(stamp, unknown) for stamp in stamps]


def _instant(stamp: str, unknown: float) -> float:
    try:
        return float(stamp)
    except ValueError:
        return unknown


def _copies(found: Iterable[Iterable[CopyRow]]) -> tuple[dict[str, CopyRow], dict[str, list[CopyRow]]]:
    """The first copy that was found of each identity, and the further ones of those that have them."""
    rows = [row for some in found for row in some]
    copies = dict(zip(map(itemgetter(0), rows), rows, strict=True))
    more: dict[str, list[CopyRow]] = {}
    if len(copies) < len(rows):
        copies.clear()
        for row in rows:
            if copies.setdefault(row[0], row) is not row:
                more.setdefault(row[0], []).append(row)
    return copies, more
