"""Lines read by their form amount to what they amount to read in full; schemas allow what python jsonschema does."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from record_sets import BEGAN, RUN, SCHEMA, instant, record, stored

from harness.model.records import RecordSchema, digest_of
from harness.observe.records import forms
from harness.observe.records.checks import Checker, Seen
from harness.observe.records.digests import UNREADABLE
from harness.observe.records.forms import form_of
from harness.observe.records.partition import BLOCK, Sorted, number_of
from harness.observe.records.reading import Reader

EPOCH = f"{RUN}/typed.lane-01.1"
SOURCES = {EPOCH: "typed", f"{RUN}/application.lane-01.1": "application", f"{RUN}/application.lane-02.1": "application"}
PATHS = (("metadata", "sequence"),)
HELD: Any = {"refresh_seconds": 1.5, "seed": 3, "draw": 4}

short = st.text(st.sampled_from('ab"\\ü\n\x7f/{}, :'), max_size=4) | st.sampled_from(["", "INFO", "null"])
numbers = (
    st.sampled_from([0, -1, 1, 12.0, 0.5, -0.5, 1e-5, 1e16, 123456.75, 0.1 + 0.2, 10**15, 2**53 + 1, -0.0, 99.25])
    | st.integers(-1000, 1000)
    | st.floats(-1000, 1000, width=32)
)
scalars = st.none() | st.booleans() | numbers | short
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(short, inner, max_size=2), max_leaves=4
)
scalar_schemas: st.SearchStrategy[Any] = st.one_of(
    st.just(True),
    st.fixed_dictionaries(
        {},
        optional={
            "type": st.sampled_from(
                ["string", "integer", "number", "boolean", "null", ["string", "null"], ["integer", "null", "string"]]
            ),
            "description": st.just("told"),
        },
    ),
    st.fixed_dictionaries(
        {"type": st.just("string")}, optional={"minLength": st.integers(0, 3), "maxLength": st.integers(2, 4)}
    ),
    st.fixed_dictionaries(
        {"type": st.sampled_from(["number", "integer"])},
        optional={
            "minimum": st.sampled_from([0, 0.5, -3]),
            "maximum": st.integers(5, 500),
            "multipleOf": st.just(0.25),
        },
    ),
    st.fixed_dictionaries({"enum": st.lists(scalars, min_size=1, max_size=3)}),
    st.fixed_dictionaries({"const": scalars}),
    st.fixed_dictionaries({"type": st.just("string"), "pattern": st.sampled_from(["^a", "b$", "^[A-Z]+$"])}),
    st.fixed_dictionaries({"anyOf": st.just([{"type": "string"}, {"minimum": 3}])}),
)
property_schemas = scalar_schemas | st.builds(
    lambda inside, closed, needed: {
        "type": "object",
        "properties": inside,
        "required": [name for name in needed if name in inside],
        **({} if closed is None else {"additionalProperties": closed}),
    },
    st.dictionaries(st.sampled_from("pq"), scalar_schemas, max_size=2),
    st.none() | st.booleans(),
    st.lists(st.sampled_from("pq"), max_size=1),
)


@st.composite
def sets(draw: st.DrawFn) -> tuple[RecordSchema, list[bytes]]:
    """A schema, and lines of its records: nearly alike, allowed or not, some of them cut."""
    properties = draw(st.dictionaries(st.sampled_from(["a", "b", "level", "timestamp"]), property_schemas, max_size=3))
    document = {
        "type": "object",
        "required": draw(st.lists(st.sampled_from(["a", "b", "level"]), max_size=1)),
        "properties": {**properties, "metadata": {"type": "object", "properties": {"sequence": {"type": "string"}}}},
    }
    names = draw(st.lists(st.sampled_from(["a", "b", "level", "timestamp", "more"]), unique=True, max_size=5))
    wrong: list[list[Any]] = [[], ["2027-13-15T08:00:00.1Z", 7]]
    pools: dict[str, list[Any]] = {name: draw(st.lists(anything, min_size=1, max_size=3)) for name in names}
    pools["timestamp"] = [
        instant(BEGAN),
        instant(BEGAN + 0.125),
        *draw(st.sampled_from(wrong)),
    ]
    lines = []
    for number in range(draw(st.integers(1, 25))):
        one: dict[str, Any] = {name: draw(st.sampled_from(pools[name])) for name in names}
        one["metadata"] = {"sequence": f"{EPOCH}/{draw(st.sampled_from([number, 3, 5000]))}"}
        at = draw(st.sampled_from(["2027-01-15T08:00:00.250Z"] * 4 + ["never", "2027-01-15T08:00:00Z"]))
        one |= {"event": {"ingested": at}, "host": {"name": "vm", "n": 1}}
        written = orjson.dumps(one) if draw(st.integers(0, 9)) else json.dumps(one).encode()
        stamp = draw(st.sampled_from([b""] * 3 + [b"1800000000.250\t"]))
        cut = draw(st.sampled_from([None] * 9 + [-1, 20]))
        lines.append(stamp + written[:cut])
    return RecordSchema("typed", "logs/typed.schema.json", document), lines


def told(seen: Seen) -> dict[str, Any]:
    """What was seen, without counts of nought; of lines of one identity either may have been drawn."""
    numbers = {source: [number for number, _ in drawn] for source, drawn in seen.drawn.items()}
    return {"numbers": numbers} | {
        name: {key: value for key, value in part.items() if value} if isinstance(part, dict) else part
        for name in Seen.__slots__
        if name != "drawn" and (part := getattr(seen, name)) is not None
    }


def copies(found: Sorted) -> Counter[Any]:
    """All copies, in whatever way they were kept."""
    return Counter(found.copies())


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(given_=sets())
def test_by_form_or_in_full_is_the_same(given_: tuple[RecordSchema, list[bytes]]) -> None:
    """Any schema, any lines, each read twice by one reader: the same counts, fields, order, draws and copies."""
    schema, lines = given_
    checker = Checker([schema], SOURCES, **HELD)
    seen, rows = Checker([schema], SOURCES, **HELD).read(lines)
    reader = Reader(checker, [schema], **HELD)
    first, found = reader.read(b"\n".join(lines))
    assert told(first) == told(seen)
    assert copies(found) == Counter(rows)
    again, found = reader.read(b"\n".join(lines) + b"\n")
    assert {**told(again), "numbers": 0} == {**told(seen), "numbers": 0}  # what was drawn is not drawn twice
    assert copies(found) == Counter(rows)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(given_=sets())
def test_schemas_allow_what_python_jsonschema_allows(given_: tuple[RecordSchema, list[bytes]]) -> None:
    """The other implementation of the specification, and the plain digest, say the same of every record."""
    schema, lines = given_
    other = Draft202012Validator(dict(schema.document))
    expected: Counter[Any] = Counter()
    violations = 0
    for line in lines:
        try:
            one = orjson.loads(line.rpartition(b"\t")[2])
        except ValueError:
            continue
        declared = {name: value for name, value in one.items() if name in schema.fields}
        valid = other.is_valid(declared)
        violations += not valid
        try:
            digest = digest_of(one, schema.fields)
        except TypeError:
            digest = UNREADABLE
        expected[one["metadata"]["sequence"], digest, valid] += 1
    seen, found = Reader(Checker([schema], SOURCES), [schema]).read(b"\n".join(lines))
    assert Counter((row[0], row[2], row[3]) for row in copies(found).elements()) == expected
    assert seen.violations["typed"] == violations


def lines_of(count: int) -> list[bytes]:
    """Records of two writers that take turns."""
    return [
        stored(record(at // 2 + 1, f"lane-0{at % 2 + 1}", BEGAN + at + 0.125), BEGAN + at + 0.5) for at in range(count)
    ]


def test_lines_that_are_alike_are_read_by_their_form(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a thousand one is read in full: that the form is used is what makes an audit quick."""
    taken: list[int] = []
    take = Checker.take

    def counted(self: Checker, at: int, *others: Any) -> Any:
        taken.append(at)
        return take(self, at, *others)

    monkeypatch.setattr(Checker, "take", counted)
    lines = lines_of(1000)
    seen, found = Reader(Checker([SCHEMA], SOURCES), [SCHEMA]).read(b"\n".join(lines))
    assert taken == [0]
    assert (seen.lines, sum(copies(found).values())) == (1000, 1000)
    taken.clear()
    odd = [line.replace(b'"view"', '"vü"'.encode()) if at % 100 == 7 else line for at, line in enumerate(lines)]
    _, found = Reader(Checker([SCHEMA], SOURCES), [SCHEMA]).read(b"\n".join(odd))
    assert len(taken) == 11
    assert sum(copies(found).values()) == 1000


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        (b'"INFO"', b'"FATAL"'),
        (b'"view"', b"7"),
        (b'"status":200', b'"status":200.5'),
        (b'"status":200', b'"status":200.5.0'),
        (b'"duration":', b'"duration":-'),
        (b'"duration":12.75', b'"duration":12.75.0'),
        (b'"duration":', b'"duration":0'),
        (b'"view"', b'"vi\x01ew"'),
        (b'"view"', b'"vi\\qew"'),
        (b'"view"', b'"vi\xffew"'),
        (b'"view"', b'"vi'),
        (b'"component":"posts",', b""),
        (b'"tags":["x"]', b'"tags":["x"'),
    ],
)
def test_what_is_wrong_is_never_taken_for_alike(was: bytes, becomes: bytes) -> None:
    """One line among its like is damaged: it is told as it is when it is read by itself."""
    lines = lines_of(20)
    assert was in lines[4]
    lines[4] = lines[4].replace(was, becomes)
    expected, rows = Checker([SCHEMA], SOURCES).read(lines)
    seen, found = Reader(Checker([SCHEMA], SOURCES), [SCHEMA]).read(b"\n".join(lines))
    assert expected.unreadable + expected.violations["application"] == 1
    assert told(seen) == told(expected)
    assert copies(found) == Counter(rows)


def test_a_text_that_goes_on_in_the_next_line_is_two_broken_lines() -> None:
    """Where only quotes end texts, two halves look like one line; there is one line too few, and that is seen."""
    lines = lines_of(20)
    lines[4] = lines[4].replace(b'"view"', b'"vi\new"')
    expected, rows = Checker([SCHEMA], SOURCES).read(b"\n".join(lines).split(b"\n"))
    seen, found = Reader(Checker([SCHEMA], SOURCES), [SCHEMA]).read(b"\n".join(lines))
    assert (seen.unreadable, seen.lines) == (2, 21)
    assert told(seen) == told(expected)
    assert copies(found) == Counter(rows)


def test_lengths_are_held() -> None:
    """A text that is too short or too long, among its like."""
    properties = {**SCHEMA.document["properties"], "action": {"type": "string", "minLength": 2, "maxLength": 5}}
    schema = RecordSchema("application", "f", {**SCHEMA.document, "properties": properties})
    lines = lines_of(20)
    lines[4:6] = lines[4].replace(b'"view"', b'"v"'), lines[5].replace(b'"view"', b'"viewed"')
    seen, _ = Reader(Checker([schema], SOURCES), [schema]).read(b"\n".join(lines))
    assert seen.offending == {"application": {"action: minLength": 1, "action: maxLength": 1}}


def test_copies_are_sorted_by_the_number_of_their_identities() -> None:
    """Else what was announced and what was found would not meet: over the end of a block, of several writers."""
    lines = [
        stored(record(number, f"lane-0{number % 2 + 1}", BEGAN + 0.5), BEGAN + 0.5)
        for number in range(BLOCK - 9, BLOCK + 9)
    ]
    _, found = Reader(Checker([SCHEMA], SOURCES), [SCHEMA]).read(b"\n".join(lines))
    sorted_so = [(number, row[0]) for number, part in found.packed for row in part.rows()]
    assert len(sorted_so) == len(lines) - 1
    assert all(number == number_of(name) for number, name in sorted_so)
    assert len({number for number, _ in sorted_so}) == 4


def test_a_form_that_is_too_wide_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The twin: where a text may be anything, a damaged line passes for whole, and the comparison above sees it."""
    monkeypatch.setattr(forms, "_STRICT", rb'[^"]')
    lines = lines_of(20)
    lines[4] = lines[4].replace(b'"view"', b'"vi\\qew"')
    expected, _ = Checker([SCHEMA], SOURCES).read(lines)
    seen, _ = Reader(Checker([SCHEMA], SOURCES), [SCHEMA]).read(b"\n".join(lines))
    assert (expected.unreadable, seen.unreadable) == (1, 0)


@pytest.mark.parametrize("more", [{"allOf": [True]}, {"minProperties": 1}, {"patternProperties": {"a": True}}])
def test_what_a_form_does_not_know_it_leaves(more: dict[str, Any]) -> None:
    """A schema that demands something else of its records has no form, and every line is read in full."""
    line = lines_of(1)[0]
    assert form_of(line, SCHEMA, PATHS) is not None
    assert form_of(line, RecordSchema("application", "f", {**SCHEMA.document, **more}), PATHS) is None
