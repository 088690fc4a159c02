"""Searches as an operator makes them: the saved queries of a team, and what became of trying them.

The events are kinds of the ledger like those in `harness/model/events.py`, whose union names them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Final, TypeAlias

PARAMETER: Final = re.compile(r"\{\{(\w+)\}\}")
"""Where a value goes into a saved query, as search templates of these stores write it."""


@dataclass(frozen=True, slots=True)
class SavedQuery:
    """A file of `elasticsearch/queries/`: the body of `POST <indices>/_search/template`.

    Args:
        name: the stem of its name.
        file: its path relative to the policies folder.
        source: the body of a search, with `{{name}}` where a value goes.
        params: the values of those names, unless whoever asks says otherwise.
    """

    name: str
    file: str
    source: Mapping[str, object]
    params: Mapping[str, str]

    def body(self, values: Mapping[str, str]) -> dict[str, object]:
        """The search itself; of `values` only those count that the query has a place for."""
        told = {name: values.get(name, default) for name, default in self.params.items()}
        return {name: _filled(part, told) for name, part in self.source.items()}


def _filled(node: object, values: Mapping[str, str]) -> object:
    if isinstance(node, str):
        return PARAMETER.sub(lambda found: values.get(found[1], found[0]), node)
    if isinstance(node, Mapping):
        return {name: _filled(part, values) for name, part in node.items()}
    if isinstance(node, list):
        return [_filled(part, values) for part in node]
    return node


@dataclass(frozen=True, slots=True)
class SearchTried:
    """A saved query asked of the store, and its answer held against what had been announced.

    Args:
        query: its name.
        expected: records that it must find, by what was announced before they were written.
        found: records that it found.
        missing: expected ones that it did not find.
        absent: those of the missing that the store does not hold at all, so that no search could find them.
        foreign: found ones that it must not find, or that nobody announced.
        untold: found ones of which nothing was announced that would decide it (the level of an access log's record),
            and which by their own content belong there.
        ordered: whether the newest came first.
        seconds: how long the answer took, all its pages together.
        error: why it could not be tried; empty where it was.
        examples: identities of some of the missing and of the foreign.
    """

    kind: ClassVar[str] = "search-tried"
    query: str
    expected: int = 0
    found: int = 0
    missing: int = 0
    absent: int = 0
    foreign: int = 0
    untold: int = 0
    ordered: bool = True
    seconds: float = 0.0
    error: str = ""
    examples: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ArchiveTried:
    """An index that was put into the archive, aged out of the store, brought back under another name and searched.

    Args:
        index: its name, of a day before those that the store keeps.
        back_as: what it was called when it came back.
        records: how many records it had been given.
        before: how many of them each saved query found before, by the query's name.
        after: how many when it had come back.
        missing: records that a query should have found then and did not, all queries together.
        foreign: those that a query should not have found.
        left: how many could still be searched after it had aged out; none should.
        archive_seconds: how long the snapshot took.
        restore_seconds: how long it took until it could be searched again.
        error: why it could not be tried; empty where it was.
    """

    kind: ClassVar[str] = "archive-tried"
    index: str = ""
    back_as: str = ""
    records: int = 0
    before: Mapping[str, int] = field(default_factory=dict)
    after: Mapping[str, int] = field(default_factory=dict)
    missing: int = 0
    foreign: int = 0
    left: int = 0
    archive_seconds: float = 0.0
    restore_seconds: float = 0.0
    error: str = ""


@dataclass(frozen=True, slots=True)
class TailTried:
    """A live tail of the store, listened to for a while, and held against what was announced meanwhile.

    Args:
        filters: what it was asked for (`level=ERROR`).
        expected: records that it must deliver.
        delivered: records that it delivered.
        missing: expected ones that it did not deliver.
        twice: those that it delivered more than once.
        foreign: those that it should not have delivered.
        delay_p50_seconds: from the announcement to the delivery, the median; None where nothing was delivered.
        delay_max_seconds: the longest.
        seconds: how long it was listened to.
        error: why it could not be tried, or why it ended; empty where it went well.
    """

    kind: ClassVar[str] = "tail-tried"
    filters: str
    expected: int = 0
    delivered: int = 0
    missing: int = 0
    twice: int = 0
    foreign: int = 0
    delay_p50_seconds: float | None = None
    delay_max_seconds: float | None = None
    seconds: float = 0.0
    error: str = ""


SearchEvent: TypeAlias = SearchTried | ArchiveTried | TailTried
"""What a run tells of searches."""
