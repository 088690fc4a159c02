"""One bucket: its announcements held against the copies that were found of them.

Nearly all records are plainly in time; they are counted together. Each of the others is looked at by itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import compress, repeat
from math import inf, isfinite
from typing import Any

from harness.model.records import WITHDRAWN
from harness.observe.records.fates import CopyRow, Fate, fate_of, plainly_in_time
from harness.observe.records.partition import Columns
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
        chosen = list(which)
        return _Book(*(list(compress(column, chosen)) for column in columns))  # type: ignore[arg-type]

    def of(self, at: int) -> tuple[str, float, str, str, str, str]:
        """One of them."""
        return self.names[at], self.ats[at], self.sources[at], self.lanes[at], self.levels[at], self.digests[at]


@dataclass(frozen=True, slots=True)
class _Copies:
    """What was found, by column, and for each announced record where its copy stands: the first of several.

    Behind everything stands what is not there: its digest is None, and no allowance is long enough for it.
    """

    columns: tuple[list[Any], list[Any], list[Any], list[Any], list[Any]]
    places: list[int]
    more: dict[str, list[CopyRow]]
    missing: int

    def column(self, number: int) -> list[Any]:
        """A column of a `Copy`, in the order of what was announced."""
        return list(map(self.columns[number].__getitem__, self.places))

    def some(self, which: Iterable[object]) -> _Copies:
        """Those of the announced records which are true."""
        return replace(self, places=list(compress(self.places, which)))

    def of(self, at: int) -> tuple[CopyRow, ...]:
        """All copies of one announced record."""
        place = self.places[at]
        if place == self.missing:
            return ()
        name, searchable, digest, valid, stamped = (column[place] for column in self.columns)
        return ((name, searchable, digest, valid, stamped), *self.more.get(name, ()))


def join(
    announced: Iterable[bytes], found: Iterable[Columns], settings: Settings, wanted: Collection[str] = ()
) -> dict[str, Tally]:
    """Every announced record of a bucket with its fate, counted by source.

    Copies of this run that nobody announced are counted under the source "", with epochs in the place of levels.

    Args:
        announced: manifest lines, some at a time, each ended by a line break.
        found: copies by column, some at a time.
        settings: what records are held to.
        wanted: identities that the control has drawn: what was announced of them comes back too.
    """
    book, withdrawn, repeated = _book(announced, settings.since)
    copies, names = _found(book.names, found)
    tallies: dict[str, Tally] = {}
    if len(names) > len(copies.places) - copies.places.count(copies.missing):
        _count_strays(names, copies.more, set(book.names), tallies.setdefault("", Tally()))
    if book.ats and not (
        settings.since <= min(book.ats) and max(book.ats) < settings.until and isfinite(sum(book.ats))
    ):
        inside = [settings.since <= at < settings.until for at in book.ats]
        book, copies = book.some(inside), copies.some(inside)
    allowance = settings.allowance_seconds
    plain = plainly_in_time(book.ats, book.digests, copies.column(1), copies.column(2), allowance=allowance)
    if copies.more:
        plain = [one and name not in copies.more for one, name in zip(plain, book.names, strict=True)]
    if all(plain):
        _count_plain(book, copies, settings, wanted, tallies)
    else:
        _count_plain(book.some(plain), copies.some(plain), settings, wanted, tallies)
        others = [at for at, one in enumerate(plain) if not one]
        _count_others(book, copies, others, withdrawn, settings, wanted, tallies)
    for source, count in repeated.items():
        tallies.setdefault(source, Tally()).repeated = count
    return tallies


def _count_plain(
    book: _Book,
    copies: _Copies,
    settings: Settings,
    wanted: Collection[str],
    tallies: dict[str, Tally],
) -> None:
    """Counts records of which one copy was found, whole and in time."""
    sources = list(dict.fromkeys(book.sources))
    if len(sources) > 1:
        for source in sources:
            mine = [one == source for one in book.sources]
            _count_plain(book.some(mine), copies.some(mine), settings, wanted, tallies)
        return
    for source in sources:
        tally = tallies.setdefault(source, Tally())
        fate = Fate.IN_TIME.value
        for (lane, level), count in _by_lane_and_level(book):
            tally.fates[fate, lane, level] += count
        tally.plain_copies(book.ats, copies.column(1), copies.column(4))
        tally.windows(settings.windows, book.ats, book.lanes, fate)
        if wanted:
            chosen = book.some(map(wanted.__contains__, book.names))
            for name, at, digest, level in zip(chosen.names, chosen.ats, chosen.digests, chosen.levels, strict=True):
                tally.drawn.append((name, at, digest, level, fate, 1))


def _count_others(
    book: _Book,
    copies: _Copies,
    which: Iterable[int],
    withdrawn: Collection[str],
    settings: Settings,
    wanted: Collection[str],
    tallies: dict[str, Tally],
) -> None:
    """Counts records one by one."""
    looked_at, allowance = settings.looked_at, settings.allowance_seconds
    for number in which:
        name, at, source, lane, level, digest = book.of(number)
        tally = tallies.setdefault(source, Tally())
        mine = copies.of(number)
        if not mine and name in withdrawn:
            tally.withdrawn += 1
            continue
        fate, delay = fate_of(at, digest, mine, looked_at=looked_at, allowance=allowance)
        tally.fates[fate.value, lane, level] += 1
        if mine:
            tally.copies(at, digest, mine, delay)
        if fate is not Fate.IN_TIME:
            tally.example(fate, name)
        tally.windows(settings.windows, (at,), (lane,), fate.value)
        if name in wanted:
            tally.drawn.append((name, at, digest, level, fate.value, len(mine)))


def _by_lane_and_level(book: _Book) -> Iterable[tuple[tuple[str, str], int]]:
    """How many records there are by lane and level; nearly always they are of one lane."""
    if len(set(book.lanes)) == 1:
        return [((book.lanes[0], level), count) for level, count in Counter(book.levels).items()]
    return Counter(zip(book.lanes, book.levels, strict=True)).items()


def _count_strays(
    found: Iterable[str], more: dict[str, list[CopyRow]], announced: Collection[str], stray: Tally
) -> None:
    for name in found:
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


def _found(announced: Sequence[str], found: Iterable[Columns]) -> tuple[_Copies, Collection[str]]:
    """What was found of announced records, and all identities that were found."""
    columns: tuple[list[Any], list[Any], list[Any], list[Any], list[Any]] = ([], [], [], [], [])
    for some in found:
        for column, part in zip(columns, some, strict=True):
            column.extend(part)
    names, missing = columns[0], len(columns[0])
    where = dict(zip(names, range(missing), strict=True))
    more: dict[str, list[CopyRow]] = {}
    if len(where) < missing:
        where.clear()
        for at, name in enumerate(names):
            if where.setdefault(name, at) != at:
                _, searchable, digest, valid, stamped = (column[at] for column in columns)
                more.setdefault(name, []).append((name, searchable, digest, valid, stamped))
    for column, nothing in zip(columns, ("", inf, None, False, None), strict=True):
        column.append(nothing)
    return _Copies(columns, list(map(where.get, announced, repeat(missing))), more, missing), where
