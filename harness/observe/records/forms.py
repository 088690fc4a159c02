"""Forms of records: a pattern that reads, checks and digests every line which looks like one that was read before.

Writers write the same fields in the same order, line after line. From one such line that its schema allows, and from
the schema, a pattern is made which matches a line only where three things are certain: it is JSON, its schema allows
it, and what was matched, put in the order of sorted keys, is the text that its digest is computed over. A line that no
pattern matches proves nothing; it is read in full. So a pattern may be as narrow as is convenient, and never too wide:
a text with an escape or beyond ASCII, a number that might be written in another way, a keyword that is not known here
are all left to who reads in full.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any, Final, TypeAlias

import jsonschema_rs
import orjson

from harness.model.records import RecordSchema

Row: TypeAlias = tuple[bytes, ...]
"""The groups of a matched line; of one that was not matched the last alone is not empty: the line itself."""

_TEXT: Final = b"<text>"
_CLEAN: Final = rb'[^"]'
_STRICT: Final = rb'[^"\\\x00-\x1f\x7f-\xff]'
# What follows none of these can stand in it, so nothing is lost by never giving a byte back (`+` after the count).
_PART: Final = rb'[^"/\\\x00-\x1f\x7f-\xff]++'
_INTEGER: Final = rb"0|-?[1-9][0-9]{0,14}+"
# Few enough digits, and large enough, for one way only to write them: as orjson does.
_NUMBER: Final = (
    rb"-?[1-9][0-9]{0,8}+(?:\.[0-9]{1,6}+(?<!0)(?!\.))?"
    rb"|0(?:\.0{0,2}[1-9](?:[0-9]{0,5}[1-9])?(?!\.))?|-?[1-9][0-9]{9,14}"
)
_FOREIGN_NUMBER: Final = rb"-?(?:0|[1-9][0-9]{0,14})(?:\.[0-9]{1,17})?"
_KEY: Final = re.compile(r"[ !#-\[\]-~]*")
_TIME: Final = re.compile(r'[^"\\]{19}\.[0-9]{1,9}Z')
_IDENTITY: Final = re.compile(r'[^"/\\]+/[^"/\\]+/(0|[1-9][0-9]{0,14})')
_STAMP: Final = re.compile(rb"[0-9]{1,12}\.[0-9]{1,9}\t")

_SAYS_NOTHING: Final = frozenset(
    {"$schema", "title", "description", "$comment", "format", "examples", "default", "deprecated", "readOnly"}
)
_LENGTHS: Final = frozenset({"minLength", "maxLength"})
_BY_VALUE: Final = frozenset(
    {"enum", "const", "pattern", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}
)
_OF_OBJECTS: Final = frozenset({"type", "properties", "required", "additionalProperties"})
_REMEMBERED: Final = 4096


class _Unfit(Exception):
    """Nothing can be said for certain of lines like this one."""


@dataclass(frozen=True, slots=True)
class Form:
    """Lines of one form. Numbers are those of a `Row`'s columns.

    Args:
        source: whose schema they were held against.
        clean: matches lines of a text without escapes, control characters and what is beyond ASCII.
        strict: the same for any text.
        digested: the digested text of a row, in pieces: what is the same in all of them, and columns.
        epoch: the epoch of the identity, and after it the sequence.
        seen_at: when a search has found the record.
        ingested: when the store took it, in one column or in two, seconds and fraction; none where it does not say.
        stamped: its own timestamp, likewise.
        values: columns whose values are to be looked at, with who tells whether the schema allows one.
    """

    source: str
    clean: re.Pattern[bytes]
    strict: re.Pattern[bytes]
    digested: tuple[bytes | int, ...]
    epoch: int
    seen_at: int | None
    ingested: tuple[int, ...]
    stamped: tuple[int, ...]
    values: tuple[tuple[int, Callable[[bytes], bool]], ...]

    def texts(self, columns: Sequence[Row]) -> Iterator[bytes]:
        """What the digests of rows are computed over."""
        pieces = (columns[one] if type(one) is int else repeat(one) for one in self.digested)
        return map(b"".join, zip(*pieces, strict=False))


def form_of(line: bytes, schema: RecordSchema, paths: Sequence[tuple[str, ...]]) -> Form | None:
    """The form of a line; None where its schema or itself is not fit for one.

    Args:
        line: one that was read in full and that its schema allows, without a line break.
        schema: its source's.
        paths: where records carry their identity, the first that holds a text counts.
    """
    stamp = _STAMP.match(line)
    try:
        record = orjson.loads(line[stamp.end() :] if stamp else line)
        drawing = _Drawing(schema, tuple(paths))
        if stamp:
            drawing.seen_at = drawing.group(rb"[0-9]{1,12}\.[0-9]{1,9}")
            drawing.pattern += rb"\t"
        made = drawing.form(record)
    except (_Unfit, ValueError, RecursionError, re.error, OverflowError):
        return None
    (row,) = made.strict.findall(line + b"\n")
    return None if row[-1] else made


@dataclass(slots=True)
class _Drawing:
    """A form in the making: its pattern so far, and what its columns are."""

    schema: RecordSchema
    paths: tuple[tuple[str, ...], ...]
    pattern: bytes = b""
    groups: int = 0
    epoch: int = -1
    seen_at: int | None = None
    ingested: tuple[int, ...] = ()
    stamped: tuple[int, ...] = ()
    values: list[tuple[int, Callable[[bytes], bool]]] = field(default_factory=list)

    def group(self, pattern: bytes) -> int:
        """Adds a column."""
        self.pattern += b"(" + pattern + b")"
        self.groups += 1
        return self.groups - 1

    def form(self, record: Any) -> Form:
        """The form of a record, once its line's beginning is drawn."""
        if type(record) is not dict or "_source" in record or ("event.ingested" in record and "event" in record):
            raise _Unfit
        pieces = self._object(record, self.schema.document, (), top=True)
        if self.epoch < 0:
            raise _Unfit
        self.pattern += rb"\n"
        whole = b"(?:" + self.pattern + rb"|([^\n]*)\n)"
        digested: list[bytes | int] = []
        for one in pieces:
            if digested and isinstance(one, bytes) and isinstance(digested[-1], bytes):
                digested[-1] += one
            else:
                digested.append(one)
        return Form(
            self.schema.source,
            re.compile(whole.replace(_TEXT, _CLEAN)),
            re.compile(whole.replace(_TEXT, _STRICT)),
            tuple(digested),
            self.epoch,
            self.seen_at,
            self.ingested,
            self.stamped,
            tuple(self.values),
        )

    def _object(
        self, sample: Mapping[str, Any], schema: Mapping[str, Any], path: tuple[str, ...], *, top: bool = False
    ) -> list[Any]:
        """Draws an object whose fields are digested; of the record itself only those are that its schema declares."""
        said = _said(schema, _OF_OBJECTS | ({"$id"} if top else set()))
        properties, closed = said.get("properties", {}), said.get("additionalProperties", True)
        kinds = said.get("type", "object")
        if (kinds != "object" and "object" not in kinds) or closed not in (True, False):
            raise _Unfit
        if not set(said.get("required", ())) <= (set(sample) & set(properties) if top else set(sample)):
            raise _Unfit
        drawn: dict[str, list[Any]] = {}
        for at, (name, value) in enumerate(sample.items()):
            self._name(name, b"," if at else b"{")
            here = (*path, name)
            if name not in properties and top:
                self._foreign(value, here)
            elif name not in properties and not closed:
                raise _Unfit
            else:
                drawn[name] = self._value(value, properties.get(name, True), here)
        self.pattern += rb"\}" if sample else rb"\{\}"
        pieces: list[Any] = [b"{"]
        for at, name in enumerate(sorted(drawn)):
            pieces += [(b"," if at else b"") + orjson.dumps(name) + b":", *drawn[name]]
        return [*pieces, b"}"]

    def _name(self, name: str, before: bytes) -> None:
        if not _KEY.fullmatch(name):
            raise _Unfit
        self.pattern += re.escape(before + orjson.dumps(name) + b":")

    def _value(self, sample: Any, schema: Any, path: tuple[str, ...]) -> list[Any]:
        """Draws a value that is digested, as its schema allows it; what is digested of it."""
        if path in {("event",), ("event.ingested",)} or type(schema) not in {dict, bool} or schema is False:
            raise _Unfit
        schema = {} if schema is True else schema
        if path in self.paths and type(sample) is str:
            return self._identity(sample, schema)
        if type(sample) is dict:
            return self._object(sample, schema, path)
        if type(sample) is list or path in self.paths:
            raise _Unfit
        said = _said(schema, {"type", *_LENGTHS, *_BY_VALUE})
        if path == ("timestamp",):
            if type(sample) is str and _TIME.fullmatch(sample) and set(said) <= {"type"}:
                return [b'"', *self._time(), b'"']
            raise _Unfit
        return list(self._scalar(sample, said))

    def _scalar(self, sample: Any, said: Mapping[str, Any]) -> list[int]:
        named = said.get("type", _kind(sample))
        kinds = {named} if isinstance(named, str) else set(named)
        others = []
        if "string" in kinds:
            least, most = said.get("minLength", 0), said.get("maxLength", "")
            if type(least) is not int or type(most) not in {int, str}:
                raise _Unfit
            others.append(
                b'"%b%b"' % (_TEXT, b"{%d,%b}+" % (least, str(most).encode()) if said.keys() & _LENGTHS else b"*+")
            )
        if "null" in kinds:
            others.append(b"null")
        if "boolean" in kinds:
            others += [b"true", b"false"]
        columns = []
        self.pattern += b"(?:"
        if kinds & {"number", "integer"}:
            number = _NUMBER if "number" in kinds else _INTEGER
            columns.append(self.group(_positive(number) if _is_positive(said) else number))
            self.pattern += rb"(?:\.0)?"  # which is the integer to a digest, and to a schema
            self.pattern += b"|" if others else b""
        if others:
            columns.append(self.group(b"|".join(others)))
        self.pattern += b")"
        if not columns:
            raise _Unfit
        if said.keys() & _BY_VALUE and not (_is_positive(said) and not others):
            allowed = _Allowed(said)
            self.values += [(column, allowed.__getitem__) for column in columns]
        return columns

    def _identity(self, sample: str, schema: Mapping[str, Any]) -> list[Any]:
        said = _said(schema, {"type", "minLength"})
        if self.epoch >= 0 or not _IDENTITY.fullmatch(sample) or said.get("minLength", 0) > len("r/e/1"):
            raise _Unfit
        self.pattern += b'"'
        self.epoch = self.group(_PART + b"/" + _PART)
        self.pattern += b"/"
        number = self.group(rb"0|[1-9][0-9]{0,14}+")
        self.pattern += b'"'
        return [b'"', self.epoch, b"/", number, b'"']

    def _time(self) -> tuple[int, int]:
        self.pattern += b'"'
        self.stamped = self.group(_TEXT + b"{19}"), self.group(rb"\.[0-9]{1,9}+Z")
        self.pattern += b'"'
        return self.stamped

    def _foreign(self, sample: Any, path: tuple[str, ...]) -> None:
        """Draws a value that somebody else has added: it need only be JSON."""
        if path[0] in {one[0] for one in self.paths}:
            raise _Unfit
        if path in {("event", "ingested"), ("event.ingested",)}:
            self._ingested(sample)
        elif path == ("timestamp",):
            raise _Unfit
        elif type(sample) is dict:
            for at, (name, value) in enumerate(sample.items()):
                self._name(name, b"," if at else b"{")
                self._foreign(value, (*path, name))
            self.pattern += rb"\}" if sample else rb"\{\}"
        elif type(sample) is list:
            self.pattern += rb"\["
            for at, value in enumerate(sample):
                self.pattern += b"," if at else b""
                self._foreign(value, (*path, ""))
            self.pattern += rb"\]"
        elif type(sample) is str:
            self.pattern += b'"' + _TEXT + b'*+"'
        else:
            self.pattern += {"null": b"null", "boolean": b"(?:true|false)"}.get(_kind(sample), _FOREIGN_NUMBER)

    def _ingested(self, sample: Any) -> None:
        if type(sample) is not str or not _TIME.fullmatch(sample) or self.ingested:
            raise _Unfit  # with two of them which one counts is not decided here
        self.pattern += b'"'
        self.ingested = self.group(_TEXT + b"{19}"), self.group(rb"\.[0-9]{1,9}+Z")
        self.pattern += b'"'


class _Allowed(dict[bytes, bool]):
    """Whether a schema allows a value that was read, each looked at once."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        super().__init__({b"": True})
        self._is_valid = jsonschema_rs.Draft202012Validator(dict(schema)).is_valid

    def __missing__(self, text: bytes) -> bool:
        if len(self) > _REMEMBERED:
            self.clear()
            self[b""] = True
        self[text] = self._is_valid(orjson.loads(text))
        return self[text]


def _said(schema: Mapping[str, Any], known: set[str] | frozenset[str]) -> dict[str, Any]:
    """What a schema demands; what is only told left out.

    Raises:
        _Unfit: it demands something else than is known.
    """
    said = {name: value for name, value in schema.items() if name not in _SAYS_NOTHING and name[:2] != "x-"}
    if not said.keys() <= known:
        raise _Unfit
    return said


def _kind(sample: Any) -> str:
    kinds = {str: "string", bool: "boolean", int: "number", float: "number", type(None): "null"}
    return kinds[type(sample)]


def _is_positive(said: Mapping[str, Any]) -> bool:
    """Whether not to be negative is all that a schema says of a number's value."""
    return said.get("minimum") == 0 and not said.keys() & (_BY_VALUE - {"minimum"})


def _positive(number: bytes) -> bytes:
    return number.replace(b"-?", b"")
