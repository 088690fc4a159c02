"""One bucket: its announcements held against the copies that were found of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from harness.model.records import UNKNOWN_DIGEST, WITHDRAWN
from harness.observe.records.fates import CopyRow, Fate, fate_of
from harness.observe.records.settings import Settings
from harness.observe.records.tally import EXAMPLES, Tally

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
    copies = _copies(found)
    tallies: dict[str, Tally] = {}
    counts: dict[tuple[str, str, str, str], int] = {}
    since, until, looked_at, allowance = (
        settings.since,
        settings.until,
        settings.looked_at,
        settings.allowance_seconds,
    )
    for name, (_, stamp, source, lane, level, digest) in book.items():
        at = float(stamp)
        mine = copies.pop(name, ())
        if not since <= at < until:
            continue
        tally = tallies.get(source)
        if tally is None:
            tally = tallies[source] = Tally()
        if not mine and name in withdrawn:
            tally.withdrawn += 1
            continue
        fate, delay = fate_of(at, digest, mine, looked_at=looked_at, allowance=allowance)
        key = (source, fate, lane, level)
        counts[key] = counts.get(key, 0) + 1
        if mine:
            _found(tally, at, digest, mine, delay)
        if fate is not _GOOD:
            _example(tally, fate, name)
        for number, window in enumerate(settings.windows):
            if window.covers(lane, at):
                tally.in_windows[number, fate.value] += 1
        if name in wanted:
            tally.drawn.append((name, at, digest, level, fate.value, len(mine)))
    for (source, fate_name, lane, level), count in counts.items():
        tallies[source].fates[Fate(fate_name).value, lane, level] = count
    for source, count in repeated.items():
        tallies.setdefault(source, Tally()).repeated = count
    if copies:
        stray = tallies.setdefault("", Tally())
        for name, mine in copies.items():
            stray.fates["", "", name.rpartition("/")[0]] += len(mine)
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


def _copies(found: Iterable[Iterable[CopyRow]]) -> dict[str, list[CopyRow]]:
    """What was found by identity."""
    copies: dict[str, list[CopyRow]] = {}
    for some in found:
        for row in some:
            name = row[0]
            if name in copies:
                copies[name].append(row)
            else:
                copies[name] = [row]
    return copies


def _found(tally: Tally, at: float, digest: str, mine: list[CopyRow] | tuple[()], delay: float | None) -> None:
    tally.found += len(mine)
    tally.surplus += len(mine) - 1
    if digest == UNKNOWN_DIGEST:
        tally.undigested += 1
    if delay is not None:
        tally.delayed(delay)
    for row in mine:
        if row[4] is not None:
            tally.skew = max(tally.skew, abs(row[4] - at))


def _example(tally: Tally, fate: Fate, name: str) -> None:
    named = tally.examples.setdefault(fate.value, [])
    if len(named) < EXAMPLES:
        named.append(name)
