"""Lines of found records, read, held against their schemas and digested; what is kept of each is a `Copy`."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from operator import itemgetter
from typing import Any, Final
from zlib import crc32

import jsonschema_rs
import orjson

from harness.model.records import RecordSchema
from harness.observe.records.digests import Digest, digester
from harness.observe.records.fates import CopyRow

BATCH: Final = 256
"""How many records are held against their schema in one call: a call costs as much as half a record."""

_SHOWN_FIELDS: Final = 1000
"""More distinct offending fields than this are not told apart: a record may make up its keys."""


@dataclass(slots=True)
class Seen:
    """What lines of found records amount to; parts are added up by `add`.

    `first` and `last` are, by epoch, the sequences of its first and last record in the order of the lines. `drawn` are
    lines for the negative control, by source, each with the number that it was drawn by.
    """

    lines: int = 0
    unreadable: int = 0
    nameless: int = 0
    foreign: int = 0
    undated: Counter[str] = field(default_factory=Counter)
    violations: Counter[str] = field(default_factory=Counter)
    offending: dict[str, Counter[str]] = field(default_factory=dict)
    inversions: Counter[str] = field(default_factory=Counter)
    first: dict[str, int] = field(default_factory=dict)
    last: dict[str, int] = field(default_factory=dict)
    drawn: dict[str, list[tuple[int, bytes]]] = field(default_factory=dict)

    def add(self, later: Seen, sources: Mapping[str, str], draw: int) -> None:
        """Adds what stood behind these lines."""
        self.lines += later.lines
        self.unreadable += later.unreadable
        self.nameless += later.nameless
        self.foreign += later.foreign
        self.undated += later.undated
        self.violations += later.violations
        for source, fields in later.offending.items():
            self.offending.setdefault(source, Counter()).update(fields)
        self.inversions += later.inversions
        for epoch, sequence in later.first.items():
            if epoch in self.last:
                self.inversions[sources[epoch]] += sequence < self.last[epoch]
            self.first.setdefault(epoch, sequence)
        self.last.update(later.last)
        for source, drawn in later.drawn.items():
            self.drawn[source] = heapq.nsmallest(draw, [*self.drawn.get(source, ()), *drawn], key=itemgetter(0))


class Checker:
    """Reads lines of records. One line is a JSON object, or an instant in Unix seconds, a tab, and the object.

    The instant is one at which a search has found the record.

    Args:
        schemas: what records must look like.
        sources: the source of every epoch (`run/epoch`) that was announced; records of others are foreign.
        refresh_seconds: what is added to `event.ingested`.
        seed: what records are drawn by.
        draw: how many of each source are drawn.
    """

    def __init__(
        self,
        schemas: Sequence[RecordSchema],
        sources: Mapping[str, str],
        *,
        refresh_seconds: float = 0.0,
        seed: int = 0,
        draw: int = 0,
    ) -> None:
        self._sources = sources
        self._refresh = refresh_seconds
        self._seed = seed & 0xFFFFFFFF
        self._draw = draw
        self._paths = tuple(dict.fromkeys(tuple(one.identity_field.split(".")) for one in schemas)) or (
            ("metadata", "sequence"),
        )
        self._known = {one.source: _Known(one) for one in schemas}
        self._runs = {epoch.partition("/")[0] for epoch in sources}

    def read(self, lines: Iterable[bytes]) -> tuple[Seen, list[tuple[int, CopyRow]]]:
        """What the lines amount to, and a copy for each that bears an identity of ours, with its number for sorting."""
        seen = Seen()
        batches: dict[str, list[tuple[str, Any, float | None, bytes]]] = {}
        found: list[tuple[int, CopyRow]] = []
        sources, last = self._sources, seen.last
        for line in lines:
            if not line:
                continue
            seen.lines += 1
            record, seen_at = _parsed(line)
            if record is None:
                seen.unreadable += 1
                continue
            name = self._identity(record)
            if name is None:
                seen.nameless += 1
                continue
            epoch, _, number = name.rpartition("/")
            source = sources.get(epoch)
            if source is None:
                if epoch.partition("/")[0] not in self._runs:
                    seen.foreign += 1
                    continue
                source = ""
            elif number.isdecimal():
                sequence = int(number)
                before = last.get(epoch)
                if before is None:
                    seen.first[epoch] = sequence
                elif sequence < before:
                    seen.inversions[source] += 1
                last[epoch] = sequence
            batch = batches.get(source)
            if batch is None:
                batch = batches[source] = []
            batch.append((name, record, seen_at, line))
            if len(batch) == BATCH:
                self._check(source, batch, seen, found)
                batch.clear()
        for source, batch in batches.items():
            if batch:
                self._check(source, batch, seen, found)
        return seen, found

    def _identity(self, record: Any) -> str | None:
        for path in self._paths:
            value = record
            for name in path:
                value = value.get(name) if type(value) is dict else None
            if type(value) is str:
                return value
        return None

    def _check(
        self,
        source: str,
        batch: Sequence[tuple[str, Any, float | None, bytes]],
        seen: Seen,
        found: list[tuple[int, CopyRow]],
    ) -> None:
        known = self._known.get(source)
        valid = [True] * len(batch) if known is None else known.valid([one[1] for one in batch])
        digest = None if known is None else known.digest
        refresh, seed, undated = self._refresh, self._seed, 0
        rows: list[tuple[int, CopyRow]] = []
        for (name, record, seen_at, _), fits in zip(batch, valid, strict=True):
            searchable_at = ingested_at(record)
            if searchable_at is not None:
                searchable_at += refresh
                if seen_at is not None and seen_at < searchable_at:
                    searchable_at = seen_at
            elif seen_at is not None:
                searchable_at = seen_at
            else:
                undated += 1
            row = (
                name,
                searchable_at,
                digest(record, fits) if digest is not None else "",
                fits,
                _instant(record.get("timestamp")),
            )
            rows.append((crc32(name.encode("utf-8", "surrogatepass"), seed), row))
        found += rows
        if undated:
            seen.undated[source] += undated
        if known is not None and not all(valid):
            self._offences(source, known, batch, valid, seen)
        if self._draw and source:
            self._draw_from(source, batch, rows, seen)

    def _draw_from(
        self,
        source: str,
        batch: Sequence[tuple[str, Any, float | None, bytes]],
        rows: Sequence[tuple[int, CopyRow]],
        seen: Seen,
    ) -> None:
        drawn = seen.drawn.setdefault(source, [])
        limit = drawn[-1][0] if len(drawn) >= self._draw else 1 << 32
        more = [(key, batch[at][3]) for at, (key, _) in enumerate(rows) if key < limit]
        if more:
            seen.drawn[source] = heapq.nsmallest(self._draw, [*drawn, *more], key=itemgetter(0))

    @staticmethod
    def _offences(
        source: str,
        known: _Known,
        batch: Sequence[tuple[str, Any, float | None, bytes]],
        valid: Sequence[bool],
        seen: Seen,
    ) -> None:
        counts = seen.offending.setdefault(source, Counter())
        for (_, record, _, _), fits in zip(batch, valid, strict=True):
            if not fits:
                seen.violations[source] += 1
                for field_name in known.offending(record):
                    counts[field_name if len(counts) < _SHOWN_FIELDS or field_name in counts else "(others)"] += 1


class _Known:
    """A schema, ready to check with."""

    def __init__(self, schema: RecordSchema) -> None:
        document = dict(schema.document)
        self._one = jsonschema_rs.Draft202012Validator(document)
        self._many = jsonschema_rs.Draft202012Validator({"type": "array", "items": _embedded(document)})
        self.digest: Digest = digester(schema)

    def valid(self, records: list[Any]) -> list[bool]:
        """Of each record, whether the schema allows it."""
        if self._many.is_valid(records):
            return [True] * len(records)
        return [self._one.is_valid(record) for record in records]

    def offending(self, record: Any) -> set[str]:
        """The fields of a record that the schema does not allow, each with what is wrong: `duration: type`."""
        return {_named(error) for error in self._one.iter_errors(record)}


def _embedded(document: dict[str, Any]) -> dict[str, Any]:
    """A schema as part of another: its references start at itself, so it keeps its own base."""
    return {"$id": "urn:tocsin:record", **document}


def _named(error: jsonschema_rs.ValidationError) -> str:
    path = ".".join("[]" if isinstance(part, int) else str(part) for part in error.instance_path)
    keyword = str(error.schema_path[-1]) if error.schema_path else "false"
    if keyword in {"required", "additionalProperties", "unevaluatedProperties"}:
        told = error.message.split('"')
        if len(told) > 1:
            path = f"{path}.{told[1]}" if path else told[1]
    return f"{path or '(record)'}: {keyword}"


def ingested_at(record: Any) -> float | None:
    """When the store took a record, Unix seconds: its `event.ingested`; None where it does not say."""
    event = record.get("event")
    if type(event) is dict:
        return _instant(event.get("ingested"))
    return _instant(record.get("event.ingested"))


def _instant(text: object) -> float | None:
    if type(text) is not str:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (at if at.tzinfo is not None else at.replace(tzinfo=UTC)).timestamp()


def _parsed(line: bytes) -> tuple[Any, float | None]:
    """The record of a line, None where it is none; and the instant before it."""
    seen_at = None
    try:
        if line[0] != 123:  # not a brace: an instant and a tab come first
            stamp, tab, rest = line.partition(b"\t")
            if tab:
                line, seen_at = rest, float(stamp)
        record = orjson.loads(line)
    except ValueError:
        return None, None
    if type(record) is not dict:
        return None, None
    hit = record.get("_source")
    return (hit if type(hit) is dict else record), seen_at
