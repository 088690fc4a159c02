"""Filters of Logstash in a store's words: what is translated is there, and what is not is an error at its place."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from logstash_cases import CASES, DROPPED, Case

from harness.model.findings import Severity
from harness.model.records import RecordSchema
from harness.policy.translate.emitting import SCRATCH, both, script
from harness.policy.translate.filters import FILTERS
from harness.policy.translate.patterns import Untranslatable, dissect, grok, java, literal, replacement, time_format
from harness.policy.translate.pipeline import Translation, translated
from harness.policy.translate.specimens import specimens

SHIPPED = Path(__file__).parents[2] / "policies"


def made(filters: str) -> Translation:
    """Filters of which everything is translated."""
    found = translated(f"filter {{ {filters} }}", "f")
    assert found.findings == ()
    assert found.value is not None
    return found.value


@pytest.mark.parametrize("case", [*CASES, DROPPED], ids=lambda case: case.name)
def test_every_case_is_translated(case: Case) -> None:
    """What the live test tries is known to be translated here, too, and cleans up behind itself."""
    processors = made(case.filters).processors
    assert processors[-1] == {"remove": {"field": ["@metadata", SCRATCH], "ignore_missing": True}}
    assert json.loads(json.dumps(processors)) == list(processors)


def test_no_script_but_in_conditions() -> None:
    """Painless decides whether a processor acts, and changes nothing."""
    kinds = {kind for case in CASES for one in made(case.filters).processors for kind in one}
    assert "script" not in kinds
    assert {"grok", "date", "json", "kv", "dissect", "rename", "gsub", "set", "append", "remove"} <= kinds


@pytest.mark.parametrize(
    ("filters", "place", "says"),
    [
        ('ruby { code => "x" }', "1:10", "the filter `ruby`"),
        ('groc { match => { "m" => "x" } }', "1:10", "did you mean 'grok'?"),
        ('if [a] { geoip { source => "ip" } }', "1:19", "the filter `geoip`"),
        ('mutate { merge => { "a" => "b" } }', "1:19", "`merge` has no counterpart"),
        ('mutate { capitalize => ["a"] }', "1:19", "`capitalize` has no counterpart"),
        ('mutate { rename => { "a.b" => "c" } }', "1:31", "write [a][b]"),
        ('mutate { add_field => { "%{k}" => "c" } }', "1:34", "depends on the record"),
        ('mutate { add_field => { "k" => "%{+YYYY}" } }', "1:41", "the record's time"),
        ('mutate { add_field => { "k" => "{{x}}" } }', "1:41", "a template to the store"),
        ('mutate { replace => { "k" => "${HOME}" } }', "1:39", "environment"),
        ('mutate { convert => { "k" => "complex" } }', "1:39", "known are: integer"),
        ('mutate { gsub => ["a", "b"] }', "1:33", "by turns"),
        ('mutate { gsub => ["a", "[[:alpha:]]", ""] }', "1:33", "'[[:'"),
        ('mutate { gsub => ["a", "%{b}", ""] }', "1:33", "depends on the record"),
        ('mutate { remove_tag => ["%{b}"] }', "1:34", "depends on the record"),
        ('grok { match => { "m" => "%{X:y:date}" } }', "1:35", "no type 'date'"),
        ('grok { match => { "m" => "%{X:m}" } }', "1:35", 'add `overwrite => ["m"]`'),
        ('grok { match => { "a" => "x" "b" => "y" } }', "1:39", "one grok for each field"),
        ('grok { patterns_dir => ["p"] match => { "m" => "x" } }', "1:17", "`patterns_dir` has no counterpart"),
        ('grok { break_on_match => false match => { "m" => "x" } }', "1:35", "`break_on_match => false`"),
        ("grok { }", "1:10", "must name one field"),
        ('date { match => ["t"] }', "1:10", "a field and a format"),
        ('date { match => ["t", "xxxx"] }', "1:32", "'xxxx'"),
        ('date { match => ["t", "ISO8601"] timezone => "%{z}" }', "1:55", "depends on the record"),
        ('json { target => "x" }', "1:10", "names no `source`"),
        ("drop { percentage => 50 }", "1:31", "`percentage => 50`"),
        ('kv { recursive => "true" }', "1:28", "`recursive => true`"),
        ('dissect { mapping => { "m" => "%{+a} %{b}" } }', "1:40", "does %{+a} otherwise"),
        ('dissect { mapping => { "m" => "none" } }', "1:40", "names no field"),
        ("if [a] =~ /\\h+/ { drop { } }", "1:20", "'\\\\h'"),
        ("if [@metadata][beat] { drop { } }", "1:13", "Beats tells it to Logstash alone"),
        ("if [a.b] { drop { } }", "1:13", "write [a][b]"),
    ],
)
def test_what_has_no_counterpart_is_an_error_where_it_stands(filters: str, place: str, says: str) -> None:
    """Never a silent skip: one error, at the line and the column."""
    found = translated(f"filter {{ {filters} }}", "f").findings
    assert [(str(one.span), one.severity) for one in found] == [(f"f:{place}", Severity.ERROR)], found
    assert says in str(found[0])


@pytest.mark.parametrize("name", sorted(FILTERS))
def test_a_setting_that_nobody_reads_is_told(name: str) -> None:
    """Of every filter: what is not read cannot be in a processor."""
    found = translated(f'filter {{ {name} {{ never_heard_of => "x" }} }}', "f").findings
    assert "its setting `never_heard_of` has no counterpart" in "\n".join(map(str, found))


WORDS = st.sampled_from(
    [
        "match",
        "source",
        "target",
        "add_field",
        "add_tag",
        "rename",
        "gsub",
        "convert",
        "mapping",
        "remove_field",
        "split",
    ]
)
SINGLE = st.sampled_from(
    ['"a"', '"[a][b]"', '"%{a}"', '"ISO8601"', '"["', '""', "5", "true", '"%{WORD:b}"', '"${X:1}"', '"[a"', '"\\1("']
)
KEYS = st.sampled_from(['"a"', '"b.c"', '"[x]"'])


def listed(items: list[str]) -> str:
    """A list."""
    return f"[{', '.join(items)}]"


def hashed(pairs: list[tuple[str, str]]) -> str:
    """A hash."""
    return "{ " + " ".join(f"{key} => {value}" for key, value in pairs) + " }"


VALUES = st.recursive(
    SINGLE,
    lambda inner: (
        st.lists(inner, max_size=3).map(listed)
        | st.lists(st.tuples(KEYS, inner), max_size=2, unique_by=lambda pair: pair[0]).map(hashed)
    ),
    max_leaves=4,
)


@settings(max_examples=120, deadline=None)
@given(st.sampled_from([*sorted(FILTERS), "ruby"]), st.lists(st.tuples(WORDS, VALUES), max_size=4))
def test_any_setting_of_any_shape_is_translated_or_told(name: str, given_settings: list[tuple[str, str]]) -> None:
    """Never a traceback; and a filter that is named leaves a processor or an error behind."""
    body = " ".join(f"{key} => {value}" for key, value in given_settings)
    found = translated(f"filter {{ {name} {{ {body} }} }}", "f")
    assert found.value is not None
    json.dumps(found.value.body())
    changes = len(found.value.processors) > 1
    assert (
        changes
        or found.findings
        or (name in {"mutate", "dissect"} and not any("a" in value for _, value in given_settings))
    )


@pytest.mark.parametrize(
    ("joda", "java_time"),
    [
        ("YYYY-MM-dd HH:mm:ss,SSS", "yyyy-MM-dd HH:mm:ss,SSS"),
        ("dd/MMM/yyyy:HH:mm:ss Z", "dd/MMM/yyyy:HH:mm:ss [XXX][XX]"),
        ("yyyy-MM-dd'T'HH:mm:ssZZ", "yyyy-MM-dd'T'HH:mm:ss[XXX][XX]"),
        ("ISO8601", "ISO8601"),
        ("UNIX_MS", "UNIX_MS"),
    ],
)
def test_formats_of_times(joda: str, java_time: str) -> None:
    """Joda's letters as java.time has them: a year is `y`, an offset may have its colon."""
    assert time_format(joda) == java_time


def test_patterns() -> None:
    """Each language of patterns, with what it may not hold."""
    assert java(r"(?m)^a.b$") == r"(?s)^a.b$"
    assert literal(r"^\/a/b") == r"/^\/a\/b/m"
    assert literal("") == "/(?:)/m"
    assert replacement(r"\1-$-\\") == r"$1-\$-\\"
    assert grok("%{IP:[a][b]:int} (?<c>x)") == ("%{IP:a.b:int} (?<c>x)", ("a.b", "c"))
    assert dissect("%{[a][b]->} %{?x} %{}") == "%{a.b->} %{?x} %{}"
    for call in (
        lambda: grok("(?<a.b>x)"),
        lambda: java("a&&b"),
        lambda: time_format("'x"),
        lambda: replacement(r"\k<a>"),
    ):
        with pytest.raises(Untranslatable):
            call()


def test_guards() -> None:
    """Guards are joined, and functions come along where they are called."""
    assert both("", "") == ""
    assert both("", "a") == "a"
    assert both("a || b", "c") == "(a || b) && (c)"
    assert script("a == 1") == "a == 1"
    assert script("within(a, b)").count("boolean same(") == 1


def test_after_logstash_comes_the_stores_own_pipeline() -> None:
    """As in production; without one nothing is called."""
    assert made("").body(then="own")["processors"][-1] == {"pipeline": {"name": "own"}}
    assert "pipeline" not in made("").body()["processors"][-1]
    assert made('json { source => "[message]" }').reads_lines
    assert not made('json { source => "other" }').reads_lines


@pytest.mark.parametrize("path", sorted((SHIPPED / "logs").glob("*.schema.json")), ids=lambda path: path.name)
def test_specimens_are_what_their_schema_allows(path: Path) -> None:
    """Several of every source, not all alike, and every value of an enumeration."""
    document = json.loads(path.read_text())
    schema = RecordSchema(path.name.partition(".")[0], path.name, document)
    found = specimens(schema)
    assert len({json.dumps(one) for one in found}) >= 6
    assert all(jsonschema_rs.is_valid(document, one) for one in found)
    assert {one["level"] for one in found} == set(document["properties"]["level"].get("enum", ["ERROR"]))
    assert {one["timestamp"][-1] for one in found} == {"Z", "0"}


def test_a_schema_that_nothing_fits_has_no_specimen() -> None:
    """Rather none than a wrong one."""
    strange = {"type": "object", "required": ["a"], "properties": {"a": {"type": "string", "pattern": "^[0-9]{9}$"}}}
    assert specimens(RecordSchema("s", "s.schema.json", strange)) == ()
