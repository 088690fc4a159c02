"""logstash.conf, read: every node at its place, read the way Logstash reads it; a sentence for each slip."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.policy.parse.logstash import MAX_DEPTH, parse
from harness.policy.parse.logstash_nodes import (
    Branch,
    Compared,
    Condition,
    Contained,
    Field,
    Joined,
    Listed,
    Matched,
    Not,
    Pipeline,
    Plugin,
    Truthy,
    Word,
)


def read(text: str) -> Pipeline:
    """A text in which nothing is wrong."""
    found = parse(text, "logstash.conf")
    assert found.findings == ()
    assert found.value is not None
    return found.value


def condition(text: str) -> Condition:
    """The condition of a filter."""
    [branch] = read(f"filter {{ if {text} {{ drop {{ }} }} }}").steps("filter")
    assert isinstance(branch, Branch)
    found = branch.arms[0].condition
    assert found is not None
    return found


def test_every_node_has_its_place() -> None:
    """Sections, plugins, settings, values: line and column from 1."""
    pipeline = read('input { beats { port => 5044 } }\nfilter {\n  # a comment\n  json { source => "message" }\n}\n')
    [beats], [json] = pipeline.steps("input"), pipeline.steps("filter")
    assert isinstance(beats, Plugin)
    assert isinstance(json, Plugin)
    assert (str(json.span), str(json.name.span)) == ("logstash.conf:4:3", "logstash.conf:4:3")
    source = json.get("source")
    assert isinstance(source, Word)
    assert (source.text, source.kind, str(source.span)) == ("message", "string", "logstash.conf:4:20")
    assert (source.span.end_line, source.span.end_column) == (4, 29)
    port = beats.get("port")
    assert isinstance(port, Word)
    assert (port.text, port.kind) == ("5044", "number")


def test_values_are_what_logstash_makes_of_them() -> None:
    """Lists, hashes, codecs, words without quotes; a section may come twice."""
    pipeline = read(
        'output { a { codec => json { charset => "x" } l => [1, "two", three] h => { "k" => [] 5 => -1.5 } } }\n'
        "output { b { } }"
    )
    first, second = pipeline.plugins("output")
    assert second.name.text == "b"
    codec, items = first.get("codec"), first.get("l")
    assert isinstance(codec, Plugin)
    assert isinstance(items, Listed)
    assert [(item.text, item.kind) for item in items.items if isinstance(item, Word)] == [
        ("1", "number"),
        ("two", "string"),
        ("three", "bare"),
    ]


@pytest.mark.parametrize(
    ("written", "text"),
    [
        (r'"a\"b"', r"a\"b"),
        (r"'it\'s'", r"it\'s"),
        ("'say \"x\"'", 'say "x"'),
        ('"# no comment"', "# no comment"),
        (r'"[\\?#-]"', r"[\\?#-]"),
        ('"two\nlines"', "two\nlines"),
    ],
)
def test_no_escape_is_undone(written: str, text: str) -> None:
    """As Logstash has it unless `config.support_escapes` is set: a backslash stays."""
    [plugin] = read(f"filter {{ a {{ b => {written} }} }}").plugins("filter")
    value = plugin.get("b")
    assert isinstance(value, Word)
    assert value.text == text


def test_and_binds_closer_than_or() -> None:
    """Without parentheses, and with them."""
    loose = condition("[a] or [b] and [c]")
    assert isinstance(loose, Joined)
    assert loose.operator == "or"
    assert isinstance(loose.parts[1], Joined)
    tight = condition("([a] or [b]) and [c]")
    assert isinstance(tight, Joined)
    assert tight.operator == "and"
    assert isinstance(condition("[a] xor [b]"), Joined)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("[a][b] == 5", Compared),
        ('"x" in [tags]', Contained),
        ('[a] not in ["x", "y"]', Not),
        ("[a] =~ /^x\\/y$/", Matched),
        ('[a] !~ "x"', Not),
        ("![a]", Not),
        ("!([a] and [b])", Not),
        ("[a]", Truthy),
    ],
)
def test_every_kind_of_condition(text: str, kind: type) -> None:
    """Each as its node; the contrary of one is its `Not`."""
    assert isinstance(condition(text), kind)


def test_a_field_is_a_path() -> None:
    """`[a][b]`: its names."""
    found = condition("[a][b]")
    assert isinstance(found, Truthy)
    assert isinstance(found.operand, Field)
    assert found.operand.path == ("a", "b")


@pytest.mark.parametrize(
    ("text", "place", "says"),
    [
        ("filter {\n  json {\n", "3:1", "is not closed"),
        ('filter { a { b "x" } }', "1:16", "`=>`"),
        ('filter { a { b => "x" } ', "1:25", "is not closed"),
        ('filter {\n a { b => "x }\n}', "2:11", "never closed"),
        ('filter { a { b => { "x" => 1, "y" => 2 } } }', "1:29", "without commas"),
        ('filter { a { b => ["x",] } }', "1:24", "no comma before the end"),
        ('filter { a { b: "x" } }', "1:15", "`name => value`"),
        ('filter { if [a] = "x" { } }', "1:17", "equality `==`"),
        ("filter { if not [a] { } }", "1:13", "write `!`"),
        ("filter { if [a] && [b] { } }", "1:17", "write `and`"),
        ("filter { if a == 1 { } }", "1:13", "a field in brackets"),
        ("filter { if [a] { } elsif [b] { } }", "1:27", "`else if`"),
        ("queue.type: x", "1:1", "outermost are"),
        ("filter { a { b => 30s } }", "1:19", "must stand in quotes"),
        ('filter { a { b => { "x" => 1 "x" => 2 } } }', "1:30", "stands twice"),
        ('filter { if [a] in ["x"] { } }', "1:20", "not for a list of one"),
        ("filter { if [a] xor [b] and [c] { } }", "1:13", "does not start"),
        ("filter { a { b => " + "[" * (MAX_DEPTH + 1), f"1:{18 + MAX_DEPTH - 1}", "nested deeper"),
    ],
)
def test_a_slip_is_told_where_it_is(text: str, place: str, says: str) -> None:
    """One finding, an error, at the place, with what to do."""
    found = parse(text, "f").findings
    assert [str(one.span) for one in found] == [f"f:{place}"], found
    assert says in f"{found[0]}"


SIGNS = ("{", "}", "[", "]", "(", ")", '"', "'", "/", "=>", "==", "=~", "!", ",", "#", "\n", "\\", "\x00", "\ufeff")
PIECES = st.sampled_from(
    (*SIGNS, "filter", "if", "else", "[a]", "not", "in", "and", "a", "mutate", "5", "-1.", "é", '"x"', "%{a}")
)


@settings(max_examples=150, deadline=None)
@given(st.lists(PIECES, max_size=40).map(" ".join) | st.text(max_size=60))
def test_whatever_stands_there_is_read_or_told(text: str) -> None:
    """Never a traceback, never nothing at all; every place is in the file."""
    found = parse(text, "f")
    assert found.value is not None or found.findings
    for one in found.findings:
        assert 1 <= one.span.line <= text.count("\n") + 1
        assert one.span.column >= 1
        assert one.summary


NAMES = st.from_regex(r"[a-z_][a-z0-9_]{1,8}", fullmatch=True).filter(
    lambda name: name not in {"if", "else", "in", "and", "or", "not", "xor", "nand", "input", "filter", "output"}
)
TEXTS = st.text(st.characters(exclude_characters='"\\\r', exclude_categories=["Cs"]), max_size=12)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(NAMES, st.dictionaries(NAMES, TEXTS, max_size=3)), max_size=5))
def test_what_is_written_is_what_is_read(plugins: list[tuple[str, dict[str, str]]]) -> None:
    """Whatever its texts hold: a hash, a comment, a brace."""
    written = "\n".join(
        f"{name} {{ " + " ".join(f'{key} => "{value}"' for key, value in values.items()) + " }"
        for name, values in plugins
    )
    found = [
        (one.name.text, {a.name.text: a.value.text for a in one.attributes if isinstance(a.value, Word)})
        for one in read(f"filter {{ {written} }}").plugins("filter")
    ]
    assert found == plugins
