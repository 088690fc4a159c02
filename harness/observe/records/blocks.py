"""One bucket, whose records are counted together where they are plainly in time, else looked at one by one.

Announcements and copies of one writer are held against each other as arrays: nearly all records were found once, whole
and in time. Whatever else became of a record, `join` decides, which is handed its announcement and its copies.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from operator import itemgetter
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from harness.observe.records.booking import Booked
from harness.observe.records.fates import CopyRow, Fate, plainly_in_time
from harness.observe.records.joining import join
from harness.observe.records.partition import MOST_DIGITS, Packed
from harness.observe.records.settings import Settings
from harness.observe.records.tally import Tally

Numbers: TypeAlias = NDArray[np.int64]
Instants: TypeAlias = NDArray[np.float64]
Bools: TypeAlias = NDArray[np.bool_]


def joined(
    announced: Iterable[bytes | Booked],
    found: Iterable[Sequence[CopyRow] | Packed],
    settings: Settings,
    wanted: Collection[str] = (),
) -> dict[str, Tally]:
    """Every announced record of a bucket with its fate, counted by source, as `join` counts.

    Args:
        announced: manifest lines, some at a time, each ended by a line break, or what was made of them.
        found: copies, some at a time.
        settings: what records are held to.
        wanted: identities that the control has drawn.
    """
    lines: list[tuple[int, bytes]] = []
    rows: list[Sequence[CopyRow]] = []
    booked: defaultdict[str, list[tuple[int, Booked]]] = defaultdict(list)
    packed: defaultdict[str, list[Packed]] = defaultdict(list)
    for at, told in enumerate(announced):
        if isinstance(told, Booked):
            booked[told.epoch].append((at, told))
        else:
            lines.append((at, told))
    for some in found:
        if isinstance(some, Packed):
            packed[some.epoch].append(some)
        else:
            rows.append(some)
    # What is told of an identity in another way as well is looked at with that.
    odd = {line.partition(b"\t")[0].decode(errors="replace") for _, text in lines for line in text.split(b"\n")}
    odd.update(row[0] for some in rows for row in some)
    apart: defaultdict[str, list[int]] = defaultdict(list)
    for name in odd:
        epoch, _, sequence = name.rpartition("/")
        if epoch in booked and sequence.isascii() and sequence.isdigit() and len(sequence) <= MOST_DIGITS:
            apart[epoch].append(int(sequence))
    tallies: dict[str, Tally] = {}
    for epoch, parts in booked.items():
        copies = _Copies(packed.pop(epoch, []))
        places, some_parts = zip(*parts, strict=True)
        more, strange = _plain(some_parts, copies, apart[epoch], settings, wanted, tallies)
        lines += zip(places, more, strict=True)
        rows.append(strange)
    rows += [one.rows() for parts in packed.values() for one in parts]
    lines = sorted((one for one in lines if one[1]), key=itemgetter(0))  # of two announcements the first one counts
    if lines or any(rows):
        for source, tally in join([text for _, text in lines], rows, settings, wanted).items():
            tallies.setdefault(source, Tally()).add(tally)
    return tallies


class _Copies:
    """The copies of one epoch in the order of their sequences. Where nobody knows an instant it is no number."""

    def __init__(self, parts: Sequence[Packed]) -> None:
        self.parts = parts
        sequences = _joined([np.frombuffer(one.sequences, np.int64) for one in parts], np.int64)
        self.order = np.argsort(sequences, kind="stable")
        self.sequences: Numbers = sequences[self.order]
        self.digests = np.frombuffer(bytes.fromhex("".join(one.digests for one in parts)), np.uint64)[self.order]
        self.searchable: Instants = self._instants([one.searchable for one in parts])
        self.stamped: Instants = self._instants([one.stamped for one in parts])

    def _instants(self, columns: Sequence[Any]) -> Instants:
        lengths = [len(one.sequences) for one in self.parts]
        known = [
            np.frombuffer(column, np.float64) if len(column) else np.full(length, np.nan)
            for column, length in zip(columns, lengths, strict=True)
        ]
        return _joined(known, np.float64)[self.order]

    def rows(self, which: Bools) -> list[CopyRow]:
        """Some of them one by one."""
        places = set(self.order[which].tolist())
        if not places:
            return []
        found, start = [], 0
        for one in self.parts:
            mine = [at - start for at in range(start, start + len(one.sequences)) if at in places]
            found += one.some(mine).rows() if mine else []
            start += len(one.sequences)
        return found


def _joined(columns: Sequence[NDArray[Any]], kind: Any) -> NDArray[Any]:
    return np.concatenate(columns) if columns else np.empty(0, kind)


def _plain(
    parts: Sequence[Booked],
    copies: _Copies,
    apart: Sequence[int],
    settings: Settings,
    wanted: Collection[str],
    tallies: dict[str, Tally],
) -> tuple[list[bytes], list[CopyRow]]:
    """Counts records of one epoch that are plainly in time; what is told, part by part, and found of the others."""
    sequences: Numbers = np.concatenate([np.frombuffer(one.sequences, np.int64) for one in parts])
    ats: Instants = np.concatenate([np.frombuffer(one.ats, np.float64) for one in parts])
    digests = np.frombuffer(bytes.fromhex(b"".join(one.digests for one in parts).decode()), np.uint64)
    first = np.searchsorted(copies.sequences, sequences, "left")
    once = np.searchsorted(copies.sequences, sequences, "right") - first == 1
    plain = once & (ats >= settings.since) & (ats < settings.until) & _alone(sequences)
    if apart:
        plain &= ~np.isin(sequences, np.array(apart, np.int64))
    place = np.where(once, first, 0)
    if len(copies.sequences):
        plain &= plainly_in_time(
            ats,
            digests,
            copies.searchable[place],
            copies.digests[place],
            allowance=settings.allowance_seconds,
        )
    which, place = np.flatnonzero(plain), place[plain]
    _count(parts, which, (ats[which], copies.searchable[place], copies.stamped[place]), settings, tallies)
    _draw(parts, plain, wanted, tallies)
    left = np.ones(len(copies.sequences), np.bool_)
    left[place] = False
    lines, start = [], 0
    for one in parts:
        others = np.flatnonzero(~plain[start : start + len(one.sequences)]).tolist()
        lines.append(b"".join([one.line(at) for at in others]))
        start += len(one.sequences)
    return lines, copies.rows(left)


def _alone(sequences: Numbers) -> Bools:
    """Which of some sequences are there once."""
    if np.all(sequences[1:] > sequences[:-1]):
        return np.ones(len(sequences), np.bool_)
    _, place, counts = np.unique(sequences, return_inverse=True, return_counts=True)
    return np.asarray(counts[place] == 1)


def _count(
    parts: Sequence[Booked],
    which: NDArray[np.intp],
    held: tuple[Instants, Instants, Instants],
    settings: Settings,
    tallies: dict[str, Tally],
) -> None:
    """Counts records that are plainly in time: by source, lane and level."""
    known: dict[tuple[str, str, str], int] = {}
    codes = []
    for one in parts:
        table = np.array([known.setdefault(kind, len(known)) for kind in one.kinds], np.intp)
        codes.append(table[np.frombuffer(one.codes, np.uint8)])
    mine = np.concatenate(codes)[which]
    counts = np.bincount(mine, minlength=len(known)).tolist()
    fate = Fate.IN_TIME.value
    sources = list(dict.fromkeys(source for source, _, _ in known))
    for source in sources:
        tally = tallies.setdefault(source, Tally())
        of_source = np.array([kind[0] == source for kind in known])[mine]
        ats, searchable, stamped = held if len(sources) == 1 else (column[of_source] for column in held)
        tally.plain_copies(ats, searchable, stamped)
        for kind, code in known.items():
            if kind[0] == source and counts[code]:
                tally.fates[fate, kind[1], kind[2]] += counts[code]
                if settings.windows:
                    at = held[0][mine == code].tolist()
                    tally.windows(settings.windows, at, [kind[1]] * len(at), fate)


def _draw(parts: Sequence[Booked], plain: Bools, wanted: Collection[str], tallies: dict[str, Tally]) -> None:
    """Keeps what was announced of those records that the control has drawn."""
    drawn: dict[str, list[int]] = {}
    for name in wanted:
        epoch, _, sequence = name.rpartition("/")
        if sequence.isdecimal() and len(sequence) <= MOST_DIGITS:
            drawn.setdefault(epoch, []).append(int(sequence))
    start = 0
    for one in parts:
        for number in drawn.get(one.epoch, ()):
            for at in np.flatnonzero(np.frombuffer(one.sequences, np.int64) == number).tolist():
                if plain[start + at] and (name := f"{one.epoch}/{number}") in wanted:
                    source, _, level = one.kinds[one.codes[at]]
                    digest = one.digests[16 * at : 16 * at + 16].decode()
                    tallies[source].drawn.append((name, one.ats[at], digest, level, Fate.IN_TIME.value, 1))
        start += len(one.sequences)
