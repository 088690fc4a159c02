"""The positioned tree: positions that an editor can jump to, YAML's traps, and no text that ends the process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.policy.parse.yaml import MAX_DEPTH, Items, Node, Scalar, Table, compose, value


def scalars(node: Node) -> Iterator[Scalar]:
    """Every key and value of a tree."""
    if isinstance(node, Scalar):
        yield node
    elif isinstance(node, Items):
        for item in node.items:
            yield from scalars(item)
    else:
        for entry in node.entries:
            yield entry.key
            yield from scalars(entry.value)


def only(text: str) -> Node:
    """The one document of a text that is right."""
    composed = compose(text, "f.yml")
    assert composed.findings == ()
    assert len(composed.documents) == 1
    return composed.documents[0]


def test_positions_are_those_that_an_editor_shows() -> None:
    """Lines and columns count from 1, characters beyond ASCII count as one, a block ends with its last value."""
    tree = only("ü: 1\nliste:\n  - é: [x, yy]\n    z: |\n      long\n      text\nend: 'q'\n")
    places = {scalar.text: (scalar.span.line, scalar.span.column, scalar.span.end_column) for scalar in scalars(tree)}
    assert places["yy"] == (3, 12, 14)
    assert places["z"] == (4, 5, 6)
    assert places["q"] == (7, 6, 9)
    assert isinstance(tree, Table)
    listed = tree.get("liste")
    assert listed is not None
    assert (listed.span.line, listed.span.column, listed.span.end_line) == (3, 3, 7)
    assert (tree.span.line, tree.span.end_line, tree.span.end_column) == (1, 7, 9)


def test_a_second_key_of_the_same_name_is_found_with_both_places() -> None:
    """A duplicate key is a finding at the second, naming the first; the first value is kept."""
    composed = compose("a:\n  b: 1\n  c: 2\n  b: {d: [3]}\n", "f.yml")
    (finding,) = composed.findings
    assert (finding.id, str(finding.span), finding.details) == (
        "yaml/duplicate-key",
        "f.yml:4:3",
        "it stands first at f.yml:2:3",
    )
    assert value(composed.documents[0]) == {"a": {"b": 1, "c": 2}}


def test_anchors_and_merge_keys_are_expanded() -> None:
    """Aliases stand for what they name, an anchor may be defined anew, `<<` yields to own keys, earlier sources win."""
    text = "x: &a {p: 1, q: 2}\ny: &b {q: 3, r: 4}\nz:\n  <<: [*a, *b]\n  p: 0\nw: &a 5\nv: *a\n'<<': 6\n"
    assert value(only(text)) == {
        "x": {"p": 1, "q": 2},
        "y": {"q": 3, "r": 4},
        "z": {"p": 0, "q": 2, "r": 4},
        "w": 5,
        "v": 5,
        "<<": 6,
    }


@pytest.mark.parametrize(
    ("text", "ident", "place"),
    [
        pytest.param("a: &x [*x]", "yaml/alias", "f.yml:1:8", id="an anchor in itself"),
        pytest.param("a: *nope", "yaml/alias", "f.yml:1:4", id="an unknown anchor"),
        pytest.param("a: b\n\tc: d", "yaml/syntax", "f.yml:2:1", id="a tab"),
        pytest.param("a: [1, 2", "yaml/syntax", "f.yml:2:1", id="an open bracket"),
        pytest.param("ok: 1\nbad: x\x07y", "yaml/character", "f.yml:2:7", id="a control character"),
        pytest.param("? [1, 2]\n: 3\n", "yaml/key", "f.yml:1:3", id="a list as a key"),
        pytest.param("a:\n  <<: 3\n", "yaml/merge", "f.yml:2:7", id="a merge of a number"),
    ],
)
def test_what_is_wrong_is_found_where_it_stands(text: str, ident: str, place: str) -> None:
    """Each kind of broken YAML is one finding at its place."""
    (finding,) = compose(text, "f.yml").findings
    assert (finding.id, str(finding.span)) == (ident, place)


def test_a_tab_is_told_in_words() -> None:
    """The commonest mistake of all comes with what to do."""
    (finding,) = compose("a: b\n\tc: d", "f.yml").findings
    assert "spaces" in finding.fix


@pytest.mark.parametrize("bracket", ["[", "{a: ", "- ", "? "])
def test_depth_that_would_end_the_process_is_a_finding(bracket: str) -> None:
    """Thousands of nested collections are refused, not recursed into."""
    composed = compose(bracket * 20_000, "f.yml")
    assert composed.findings
    assert composed.findings[-1].id in {"yaml/too-deep", "yaml/syntax"}
    assert compose("[" * MAX_DEPTH + "]" * MAX_DEPTH, "f.yml").findings == ()
    assert compose("[" * (MAX_DEPTH + 1), "f.yml").findings[-1].id == "yaml/too-deep"


def test_a_billion_laughs_are_refused() -> None:
    """Aliases of aliases that stand for more values than anybody wrote are a finding, at once."""
    lines = ["a0: &a0 [l, l, l, l, l, l, l, l, l, l]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    (finding,) = compose("\n".join(lines), "f.yml").findings
    assert finding.id == "yaml/too-large"


@pytest.mark.parametrize("text", ["0b_", "0x_", "!!int abc", "!!float x", "9" * 5000, "1:99:99", "!!int ''"])
def test_numbers_that_are_none_stay_text_or_become_numbers(text: str) -> None:
    """A scalar that claims to be a number and is none never raises."""
    value(only(f"a: {text}"))


_leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=12)
_data = st.recursive(
    _leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4)
)


@given(_data)
@settings(max_examples=150, deadline=None)
def test_values_are_those_of_yaml(data: object) -> None:
    """What PyYAML writes is read back as the same data."""
    assert value(only(yaml.safe_dump(data))) == data


@given(
    st.dictionaries(st.from_regex(r"[a-zé]{1,6}", fullmatch=True), st.from_regex(r"[a-z0-9é-]{1,8}", fullmatch=True))
)
@settings(max_examples=100, deadline=None)
def test_the_text_at_a_span_is_the_value(data: dict[str, str]) -> None:
    """Cutting the file at a plain value's span gives the value back."""
    text = yaml.safe_dump({"outer": [data, {"k": [data]}]}, allow_unicode=True)
    lines = text.split("\n")
    for scalar in scalars(only(text)):
        if not scalar.style:
            cut = lines[scalar.span.line - 1][scalar.span.column - 1 : scalar.span.end_column - 1]
            assert cut == scalar.text


@given(st.text())
@settings(max_examples=300, deadline=None)
def test_no_text_raises(text: str) -> None:
    """Any text gives documents or findings."""
    composed = compose(text, "f.yml")
    for document in composed.documents:
        value(document)
        for scalar in scalars(document):
            assert (1, 1) <= (scalar.span.line, scalar.span.column) <= (scalar.span.end_line, scalar.span.end_column)
