"""Lines of found records, read, held against their schemas and digested; what is kept of each is a `Copy`."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from operator import gt, itemgetter
from typing import Any, Final, TypeAlias
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


_SHAPES: Final = 1000
_BRACE: Final = 123

Line: TypeAlias = "tuple[str, Any, float | None, bytes]"
"""A line that was read: its identity, its record, the instant before it, the line itself."""

Place: TypeAlias = "tuple[int, str, int]"
"""Which line, the epoch and the sequence of its record."""


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

    def follow(self, order: Iterable[tuple[str, int]], sources: Mapping[str, str]) -> None:
        """Looks at epochs and sequences of records in the order of their lines."""
        last = self.last
        for epoch, sequence in order:
            before = last.get(epoch)
            if before is None:
                self.first[epoch] = sequence
            elif sequence < before:
                self.inversions[sources[epoch]] += 1
            last[epoch] = sequence

    def follow_one(self, epoch: str, sequences: Sequence[int], sources: Mapping[str, str]) -> None:
        """The same for records of one epoch."""
        self.follow([(epoch, sequences[0])], sources)
        self.inversions[sources[epoch]] += sum(map(gt, sequences, islice(sequences, 1, None)))
        self.last[epoch] = sequences[-1]

    def draw(self, source: str, numbers: Sequence[int], most: int, line: Callable[[int], bytes]) -> None:
        """Draws lines of a source for the control: those of the lowest numbers, `line` says which line is whose."""
        drawn = self.drawn.get(source, [])
        lowest = heapq.nsmallest(most, zip(numbers, range(len(numbers)), strict=True))
        more = [(number, line(at)) for number, at in lowest]
        self.drawn[source] = heapq.nsmallest(most, [*drawn, *more], key=itemgetter(0))

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
        self.sources = sources
        self._batches: dict[str, list[Line]] = {}
        self._refresh = refresh_seconds
        self._seed = seed & 0xFFFFFFFF
        self._draw = draw
        self.paths = tuple(dict.fromkeys(tuple(one.identity_field.split(".")) for one in schemas)) or (
            ("metadata", "sequence"),
        )
        self._known = {one.source: _Known(one) for one in schemas}
        self._runs = {epoch.partition("/")[0] for epoch in sources}

    def read(self, lines: Iterable[bytes]) -> tuple[Seen, list[CopyRow]]:
        """What the lines amount to, and a copy for each that bears an identity of ours."""
        seen, found, order = Seen(), list[CopyRow](), list[Place]()
        for at, line in enumerate(lines):
            self.take(at, line, seen, order)
        self.finish(seen, found)
        seen.follow(((epoch, sequence) for _, epoch, sequence in order), self.sources)
        return seen, found

    def take(self, at: int, line: bytes, seen: Seen, order: list[Place]) -> str | None:
        """Reads one line, which is checked with others, or at `finish`; the source of its record.

        Args:
            at: which line it is.
            line: without a line break.
            seen: what it is added to.
            order: takes the place of its record.
        """
        if not line:
            return None
        seen.lines += 1
        seen_at = None
        try:
            if line[0] != _BRACE:
                stamp, _, rest = line.partition(b"\t")
                seen_at, record = float(stamp), orjson.loads(rest)
            else:
                record = orjson.loads(line)
            if "_source" in record:
                record = record["_source"]
            name = self._identity(record)
        except (ValueError, TypeError, AttributeError):  # no JSON, no instant before it, no object
            seen.unreadable += 1
            return None
        if name is None:
            seen.nameless += 1
            return None
        epoch, _, number = name.rpartition("/")
        source = self.sources.get(epoch)
        if source is None:
            if epoch.partition("/")[0] not in self._runs:
                seen.foreign += 1
                return None
            source = ""
        elif number.isdecimal():
            order.append((at, epoch, int(number)))
        self._batches.setdefault(source, []).append((name, record, seen_at, line))
        return source

    def allows(self, source: str, line: bytes) -> bool:
        """Whether the line that was taken last holds a record that the schema of its source allows."""
        name, record, _, last = self._batches[source][-1]
        if last is not line or name is None:
            return False
        known = self._known[source]
        declared = dict(record)
        known.strip([declared])
        return known.valid([declared])[0]

    def finish(self, seen: Seen, found: list[CopyRow]) -> None:
        """Checks what was taken."""
        for source, lines in self._batches.items():
            for start in range(0, len(lines), BATCH):
                self._check(source, lines[start : start + BATCH], seen, found)
        self._batches.clear()

    def _identity(self, record: Any) -> str | None:
        for path in self.paths:
            value = record
            for name in path:
                value = value.get(name) if type(value) is dict else None
            if type(value) is str:
                return value
        return None

    def _check(self, source: str, batch: Sequence[Line], seen: Seen, found: list[CopyRow]) -> None:
        """Adds the copies of a batch of one source; takes from its records what their schema does not declare."""
        known = self._known.get(source, _UNKNOWN)
        records = [one[1] for one in batch]
        names = [one[0] for one in batch]
        searchable = [self._searchable(record, seen_at) for _, record, seen_at, _ in batch]
        stamped = [_instant(record.get("timestamp")) for record in records]
        known.strip(records)
        valid = known.valid(records)
        if known is not _UNKNOWN and not all(valid):
            self._offences(source, known, batch, valid, seen)
        digests = map(known.digest, records, valid)
        found += zip(names, searchable, digests, valid, stamped, strict=True)
        undated = searchable.count(None)
        if undated:
            seen.undated[source] += undated
        if self._draw and source:
            numbers = [crc32(name.encode("utf-8", "surrogatepass"), self._seed) for name in names]
            seen.draw(source, numbers, self._draw, lambda at: batch[at][3])

    def _searchable(self, record: dict[str, Any], seen_at: float | None) -> float | None:
        """Since when a search can find a record: by what the store says, or by who has found it, whichever is first."""
        at = ingested_at(record)
        if at is None:
            return seen_at
        at += self._refresh
        return at if seen_at is None or at < seen_at else seen_at

    @staticmethod
    def _offences(
        source: str,
        known: _Known,
        batch: Sequence[Line],
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
    """A schema, ready to check with; without one, what takes everything for valid and digests nothing."""

    def __init__(self, schema: RecordSchema | None) -> None:
        document = {} if schema is None else dict(schema.document)
        self._one = jsonschema_rs.Draft202012Validator(document)
        # A schema within another keeps its own base, so that its references start at itself.
        embedded = {"$id": "urn:tocsin:record", **document}
        self._many = jsonschema_rs.Draft202012Validator({"type": "array", "items": embedded})
        self._fields = None if schema is None else schema.fields
        self._others: dict[tuple[str, ...], tuple[str, ...]] = {}
        self.digest: Digest = (lambda _, __: "") if schema is None else digester(schema)

    def strip(self, records: list[dict[str, Any]]) -> None:
        """Takes away what the schema does not declare: shippers and stores add to a record what is not the writer's."""
        others = self._others
        for record in records:
            shape = tuple(record)
            extra = others.get(shape)
            if extra is None:
                extra = () if self._fields is None else tuple(name for name in shape if name not in self._fields)
                if len(others) < _SHAPES:
                    others[shape] = extra
            for name in extra:
                del record[name]

    def valid(self, records: list[dict[str, Any]]) -> list[bool]:
        """Of each record, whether the schema allows it."""
        if self._many.is_valid(records):
            return [True] * len(records)
        return [self._one.is_valid(record) for record in records]

    def offending(self, record: Any) -> set[str]:
        """The fields of a record that the schema does not allow, each with what is wrong: `duration: type`."""
        return {_named(error) for error in self._one.iter_errors(record)}


_UNKNOWN = _Known(None)


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
    """Unix seconds of a time as records and stores write it; a time without a zone is taken for UTC."""
    if type(text) is not str:
        return None
    try:
        if text[19:20] == "." and text[-1] == "Z":
            return _SECONDS[text[:19]] + float(text[19:-1])
        return instant(text)
    except ValueError:
        return None


def instant(text: str) -> float:
    """Unix seconds of a time; one without a zone is taken for UTC.

    Raises:
        ValueError: it is none.
    """
    at = datetime.fromisoformat(text)
    return (at if at.tzinfo is not None else at.replace(tzinfo=UTC)).timestamp()


class _Seconds(dict[str, float]):
    """The whole seconds of times, each read once: records come by the thousand a second."""

    def __missing__(self, text: str) -> float:
        at = instant(text)
        if len(self) >= _SHAPES:
            self.clear()
        self[text] = at
        return at


_SECONDS = _Seconds()
