"""A night's records are written as fast as their store takes them, and never far ahead of it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from harness.drive.filling import BACKLOG, BURST, fill, lines_in
from harness.errors import StackError


class Store:
    """A store that takes so many records at every look at it."""

    def __init__(self, per_look: int, held: int = 17) -> None:
        self.held = held
        self.on_their_way = 0
        self.most = 0
        self.bursts: list[int] = []
        self._per_look = per_look

    async def burst(self, count: int) -> None:
        """Takes notice of what was written."""
        self.bursts.append(count)
        self.on_their_way += count
        self.most = max(self.most, self.on_their_way)

    async def stored(self) -> int:
        """Takes in what it can."""
        taken = min(self._per_look, self.on_their_way)
        self.on_their_way -= taken
        self.held += taken
        return self.held


def written(store: Store, wanted: int, seconds: float = 20) -> int:
    """How many were written."""
    return asyncio.run(fill(store.burst, store.stored, wanted, within_seconds=seconds, looks_apart_seconds=0))


@pytest.mark.parametrize("per_look", [100, BURST, 10 * BURST])
def test_exactly_as_many_as_are_wanted_and_never_too_many_on_their_way(per_look: int) -> None:
    """A slow store is waited for, a quick one is not; what stood in it before is not counted."""
    store = Store(per_look)
    assert written(store, 12 * BURST + 7) == 12 * BURST + 7 == sum(store.bursts)
    assert store.bursts[-1] == 7
    assert store.most <= BACKLOG


def test_a_store_that_takes_nothing_ends_it() -> None:
    """Its door is not heaped up: no more than the backlog is written, and the time that was given is kept."""
    store = Store(0)
    assert written(store, 100 * BURST, seconds=0.2) == BACKLOG == store.most


def test_a_store_that_does_not_answer_is_told() -> None:
    """Its error is the caller's."""

    async def silent() -> int:
        raise StackError("no answer")

    with pytest.raises(StackError, match="no answer"):
        asyncio.run(fill(Store(1).burst, silent, 10, within_seconds=1))


def test_lines_of_manifests(tmp_path: Path) -> None:
    """Those of every manifest, and of nothing else; half a line announces nothing."""
    (tmp_path / "a.tsv").write_bytes(b"one\ntwo\nhal")
    (tmp_path / "b.tsv").write_bytes(b"x" * (1 << 20) + b"\n")
    (tmp_path / "c.txt").write_bytes(b"no\n")
    assert lines_in(tmp_path) == 3
