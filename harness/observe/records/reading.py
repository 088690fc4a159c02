"""Lines of found records, a chunk at a time: by their form where they have one, else each in full."""

from __future__ import annotations

import hashlib
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import compress, repeat
from operator import add, not_
from typing import Final
from zlib import crc32

from harness.model.records import RecordSchema
from harness.observe.records.checks import Checker, Place, Seen, instant
from harness.observe.records.fates import CopyRow
from harness.observe.records.forms import Form, Row, form_of
from harness.observe.records.partition import Packed, Sorted, number_of

MOST_FORMS: Final = 12
"""More are not kept: each costs a look at every line that those before it do not match."""

MOST_TRIED: Final = 100
"""After so many lines of a source that were looked at for a form nothing is expected of others."""

_REMEMBERED: Final = 4096
_BREAK: Final = ord("\n")
_BLANK: Final = ord(" ")


class Reader:
    """Reads chunks of lines as a `Checker` reads lines, and with the same answers.

    Args:
        checker: reads in full what has no form.
        schemas: what records must look like.
        refresh_seconds: what is added to `event.ingested`.
        seed: what records are drawn by.
        draw: how many of each source are drawn.
    """

    def __init__(
        self,
        checker: Checker,
        schemas: Sequence[RecordSchema],
        *,
        refresh_seconds: float = 0.0,
        seed: int = 0,
        draw: int = 0,
    ) -> None:
        self._checker = checker
        self._schemas = {one.source: one for one in schemas}
        self._refresh, self._seed, self._draw = refresh_seconds, seed & 0xFFFFFFFF, draw
        self._forms: list[Form] = []
        self._tried: Counter[str] = Counter()
        self._drawn: dict[str, list[int]] = {}
        self._seconds, self._fractions = _Seconds(), _Fractions()

    def read(self, chunk: bytes) -> tuple[Seen, Sorted]:
        """What the lines of a chunk amount to, and a copy for each that bears an identity of ours."""
        text = _Text(chunk)
        seen, runs, places, found = Seen(), list[_Run](), list[Place](), Sorted()
        left: Sequence[int] = range(text.count)
        for form in self._forms:
            if left:
                left = self._matched(form, text, left, seen, runs, found)
        rest = iter(left)
        while (at := next(rest, None)) is not None:
            form_found = self._in_full(at, text.lines[at], seen, places)
            if form_found is not None:
                rest = iter(self._matched(form_found, text, list(rest), seen, runs, found))
        copies: list[CopyRow] = []
        self._checker.finish(seen, copies)
        for row in copies:
            found.rows[number_of(row[0])].append(row)
        if len(runs) == 1 and not places and isinstance(runs[0].epochs, str):
            seen.follow_one(runs[0].epochs, runs[0].sequences, self._checker.sources)
        else:
            for run in runs:
                epochs = [run.epochs] * len(run.which) if isinstance(run.epochs, str) else run.epochs
                places += zip(run.which, epochs, run.sequences, strict=True)
            places.sort()  # by line: what has a form was taken before what has none
            seen.follow(((epoch, sequence) for _, epoch, sequence in places), self._checker.sources)
        return seen, found

    def _in_full(self, at: int, line: bytes, seen: Seen, places: list[Place]) -> Form | None:
        """Takes a line that has no form; the form that others like it have, where that is new."""
        source = self._checker.take(at, line, seen, places)
        schema = self._schemas.get(source or "")
        if schema is None or len(self._forms) >= MOST_FORMS or self._tried[schema.source] >= MOST_TRIED:
            return None
        self._tried[schema.source] += 1
        if not self._checker.allows(schema.source, line):
            return None
        form = form_of(line, schema, self._checker.paths)
        if form is not None:
            self._forms.append(form)
        return form

    def _matched(
        self, form: Form, text: _Text, which: Sequence[int], seen: Seen, runs: list[_Run], found: Sorted
    ) -> Sequence[int]:
        """Takes those of some lines that have a form; which have not."""
        if not which:
            return which
        some = text.some(which)
        rows = form.clean.findall(some) if text.clean else []
        if len(rows) != len(which):  # a text that lost its end has swallowed the next line: only quotes end texts here
            rows = form.strict.findall(some)
        columns = list(zip(*rows, strict=True))
        left: Sequence[int] = ()
        bad = self._bad(form, columns)
        if bad:
            left = [at for at, wrong in zip(which, bad, strict=True) if wrong]
            good = list(map(not_, bad))
            which = list(compress(which, good))
            columns = [tuple(compress(column, good)) for column in columns]
        if which:
            try:
                self._add(form, _Matched(text, which, columns), seen, runs, found)
            except ValueError:  # a time that is none
                return sorted([*left, *which])
        return left

    def _bad(self, form: Form, columns: Sequence[Row]) -> Sequence[bool]:
        """Which rows are to be read in full all the same; empty for none."""
        epochs = columns[form.epoch]
        wrong = {one for one in set(epochs) if self._checker.sources.get(one.decode()) != form.source}
        bad = [one in wrong for one in epochs] if wrong else []
        for column, allowed in form.values:
            values = columns[column]
            wrong = {one for one in set(values) if not allowed(one)}
            if wrong:
                bad = [one in wrong or (bool(bad) and bad[at]) for at, one in enumerate(values)]
        return bad

    def _add(self, form: Form, matched: _Matched, seen: Seen, runs: list[_Run], found: Sorted) -> None:
        """Adds what matched.

        Raises:
            ValueError: a time in it is none; nothing was added.
        """
        columns = matched.columns
        epochs, texts = columns[form.epoch], columns[form.epoch + 1]
        sequences = list(map(int, texts))
        searchable = self._searchable(form, columns)
        stamped = self._times(columns, form.stamped)
        digests = _digests(form.texts(columns))
        seen.lines += len(epochs)
        if not searchable:
            seen.undated[form.source] += len(epochs)
        known = {one: one.decode() for one in set(epochs)}
        if self._draw:
            # As of the whole identity, of which the epoch is the beginning.
            begun = {one: crc32(b"/", crc32(one, self._seed)) for one in known}
            each = repeat(begun[epochs[0]]) if len(known) == 1 else map(begun.__getitem__, epochs)
            numbers = list(map(crc32, texts, each))
            self._draw_from(form.source, numbers, matched, seen)
        times = array("d", searchable), array("d", stamped)
        copies = Packed(known[epochs[0]], array("q", sequences), times[0], "".join(digests), times[1])
        if len(known) == 1:
            runs.append(_Run(matched.which, copies.epoch, sequences))
            found.add(copies)
            return
        runs.append(_Run(matched.which, [known[one] for one in epochs], sequences))
        for epoch, name in known.items():
            mine = [at for at, one in enumerate(epochs) if one == epoch]
            found.add(replace(copies.some(mine), epoch=name))

    def _draw_from(self, source: str, numbers: Sequence[int], matched: _Matched, seen: Seen) -> None:
        """Draws lines for the control; none above those that were drawn before, which would not be kept."""
        kept = self._drawn.setdefault(source, [])
        limit = kept[-1] if len(kept) >= self._draw else 1 << 32
        if min(numbers) < limit:
            lower = [at for at, number in enumerate(numbers) if number < limit]
            line = matched.text.lines
            chosen = [numbers[at] for at in lower]
            seen.draw(source, chosen, self._draw, lambda at: line[matched.which[lower[at]]])
            self._drawn[source] = sorted([*kept, *chosen])[: self._draw]

    def _searchable(self, form: Form, columns: Sequence[Row]) -> list[float]:
        """Since when searches can find records; empty where nobody can say."""
        taken = self._times(columns, form.ingested)
        if self._refresh:
            taken = [at + self._refresh for at in taken]
        if form.seen_at is None:
            return taken
        found = list(map(float, columns[form.seen_at]))
        return [one if one < two else two for one, two in zip(taken, found, strict=True)] if taken else found

    def _times(self, columns: Sequence[Row], of: tuple[int, ...]) -> list[float]:
        """The times in two columns, in Unix seconds; none of no columns."""
        if not of:
            return []
        seconds, fractions = columns[of[0]], columns[of[1]]
        return list(map(add, map(self._seconds.__getitem__, seconds), map(self._fractions.__getitem__, fractions)))


class _Text:
    """A chunk: its lines, taken apart when one is asked for."""

    def __init__(self, chunk: bytes) -> None:
        import numpy as np  # noqa: PLC0415 - slow to load

        self._chunk = chunk if chunk.endswith(b"\n") else chunk + b"\n"
        characters = np.frombuffer(self._chunk, np.uint8)
        self.count = int(np.count_nonzero(characters == _BREAK))
        controls = int(np.count_nonzero(characters < _BLANK)) - self.count
        # Without these a quote ends a text wherever it stands.
        self.clean = not controls and chunk.isascii() and b"\\" not in chunk

    @cached_property
    def lines(self) -> Sequence[bytes]:
        """Without their line breaks."""
        return self._chunk[:-1].split(b"\n")

    def some(self, which: Sequence[int]) -> bytes:
        """Those which are asked for, each with its line break."""
        return self._chunk if len(which) == self.count else b"".join([self.lines[at] + b"\n" for at in which])


@dataclass(frozen=True, slots=True)
class _Matched:
    """Lines that a form has matched: of which chunk, which of it, and their columns."""

    text: _Text
    which: Sequence[int]
    columns: Sequence[Row]


@dataclass(frozen=True, slots=True)
class _Run:
    """Which lines have been matched, of which epoch or epochs, with which sequences."""

    which: Sequence[int]
    epochs: str | Sequence[str]
    sequences: Sequence[int]


def _digests(texts: Iterable[bytes]) -> list[str]:
    """The digest of each text: a new hash is made quicker as a copy of an empty one than with its size named."""
    copy, digests = hashlib.blake2b(digest_size=8).copy, []
    for text in texts:
        one = copy()
        one.update(text)
        digests.append(one.hexdigest())
    return digests


class _Seconds(dict[bytes, float]):
    """Whole seconds of times, each read once."""

    def __missing__(self, text: bytes) -> float:
        if len(self) >= _REMEMBERED:
            self.clear()
        self[text] = at = instant(text.decode("ascii"))
        return at


class _Fractions(dict[bytes, float]):
    """Fractions of seconds with the point before and the Z after them, each read once."""

    def __missing__(self, text: bytes) -> float:
        if len(self) >= _REMEMBERED:
            self.clear()
        self[text] = at = float(text[:-1])
        return at
