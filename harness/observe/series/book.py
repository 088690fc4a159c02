"""Who was announced and who was found: identities counted in a few bits each, so that millions of them can be. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from harness.model.records import identity

_KNOWN, _DUE, _BACK, _FOUND, _AGAIN = 1, 2, 4, 8, 16
_LARGEST: Final = 50_000_000
"""A sequence beyond that is no writer's of ours: its identity is kept whole."""


@dataclass(slots=True)
class Counts:
    """What became of identities; `known` is how many lives of writers they are of."""

    known: int = 0
    expected: int = 0
    found: int = 0
    missing: int = 0
    twice: int = 0
    foreign: int = 0


@dataclass(slots=True)
class Book:
    """Marks by epoch and sequence; an epoch's are one byte for every sequence up to its highest."""

    _epochs: dict[str, bytearray] = field(default_factory=dict)
    _odd: dict[str, int] = field(default_factory=dict)

    def announce(self, name: str, *, due: bool) -> None:
        """It was announced; `due` within the window, so that it must be found."""
        self._mark(name, _KNOWN | (_DUE if due else 0))

    def take_back(self, name: str) -> None:
        """It was withdrawn: it need not be found."""
        self._mark(name, _KNOWN | _BACK)

    def find(self, name: str) -> bool:
        """It was found; whether it was found for the first time and somebody had announced it."""
        before = self._marks(name)
        self._mark(name, _AGAIN if before & _FOUND else _FOUND)
        return before & (_KNOWN | _FOUND) == _KNOWN

    def known(self, name: str) -> bool:
        """Whether it was announced."""
        return bool(self._marks(name) & _KNOWN)

    def due(self, name: str) -> bool:
        """Whether it must be found."""
        return self._marks(name) & (_DUE | _BACK) == _DUE

    def counts(self) -> Counts:
        """All of it, counted."""
        told = Counts(known=sum(any(mark & _DUE for mark in marks) for marks in self._epochs.values()))
        for marks in (*self._epochs.values(), bytes(self._odd.values())):
            for mark in range(1, 32):
                # One pass in C for every combination of marks: there are 31 of them, and perhaps a million identities.
                count = marks.count(mark)
                due, there = mark & _DUE, mark & _FOUND
                told.expected += count if due and (there or not mark & _BACK) else 0
                told.found += count if due and there else 0
                told.missing += count if due and not there and not mark & _BACK else 0
                told.twice += count if due and mark & _AGAIN else 0
                told.foreign += count if there and not mark & _KNOWN else 0
        return told

    def missing(self, most: int) -> Iterator[str]:
        """Identities that should have been found and were not, so many at most."""
        return self._those(lambda mark: bool(mark & _DUE) and not mark & (_FOUND | _BACK), most)

    def twice(self, most: int) -> Iterator[str]:
        """Identities that were found more than once."""
        return self._those(lambda mark: bool(mark & _DUE) and bool(mark & _AGAIN), most)

    def foreign(self, most: int) -> Iterator[str]:
        """Identities that were found and that nobody had announced."""
        return self._those(lambda mark: bool(mark & _FOUND) and not mark & _KNOWN, most)

    def _those(self, wanted: Callable[[int], bool], most: int) -> Iterator[str]:
        for epoch, marks in self._epochs.items():
            for sequence, mark in enumerate(marks):
                if mark and wanted(mark):
                    if most <= 0:
                        return
                    most -= 1
                    yield f"{epoch}/{sequence}"
        for name, mark in list(self._odd.items())[: max(0, most)]:
            if wanted(mark):
                yield name

    def _marks(self, name: str) -> int:
        epoch, sequence = _parts(name)
        if sequence < 0:
            return self._odd.get(name, 0)
        marks = self._epochs.get(epoch, b"")
        return marks[sequence] if sequence < len(marks) else 0

    def _mark(self, name: str, marks: int) -> None:
        epoch, sequence = _parts(name)
        if sequence < 0:
            self._odd[name] = self._odd.get(name, 0) | marks
            return
        held = self._epochs.setdefault(epoch, bytearray())
        if sequence >= len(held):
            held.extend(bytes(sequence + 1 - len(held)))
        held[sequence] |= marks


def _parts(name: str) -> tuple[str, int]:
    """Epoch and sequence; -1 for what is not written as ours are."""
    epoch, _, sequence = name.rpartition("/")
    run, _, life = epoch.partition("/")
    if sequence.isascii() and sequence.isdigit() and len(sequence) <= 8:
        number = int(sequence)
        if number <= _LARGEST and identity(run, life, number) == name:
            return epoch, number
    return epoch, -1
