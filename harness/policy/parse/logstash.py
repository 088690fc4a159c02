"""logstash.conf, read by its published grammar (logstash.lark): nodes with places, or a sentence."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

from lark import Lark, Token, Transformer_NonRecursive, UnexpectedInput, v_args
from lark.exceptions import UnexpectedToken
from lark.lark import PostLex
from lark.tree import Meta

from harness.model.source import Span
from harness.policy.parse.logstash_nodes import (
    Arm,
    Attribute,
    Branch,
    Compared,
    Condition,
    Contained,
    Field,
    Hash,
    Joined,
    Listed,
    Matched,
    Not,
    Operand,
    Pair,
    Pipeline,
    Plugin,
    Regexp,
    Section,
    Truthy,
    Value,
    Word,
)
from harness.policy.parse.reading import Parsed, Reading

AREA: Final = "logstash"

MAX_DEPTH: Final = 64
"""Deeper nesting than this is no pipeline of anybody; it keeps every walk over the nodes far from the stack's end."""

_BARE = re.compile(r"[A-Za-z_][A-Za-z0-9_]+")
_OPENING, _CLOSING = frozenset("{[("), frozenset("}])")

# What lark calls the signs of the grammar, as a reader would.
_SIGNS: Final = {
    "LBRACE": "`{`", "RBRACE": "`}`", "LSQB": "`[`", "RSQB": "`]`", "LPAR": "`(`", "RPAR": "`)`", "COMMA": "`,`",
    "BANG": "`!`", "IF": "`if`", "ELSE": "`else`", "IN": "`in`", "NOT": "`not in`", "NAME": "a name",
    "STRING": "a text in quotes", "NUMBER": "a number", "SELECTOR": "a field in brackets", "REGEXP": "`/…/`",
    "SECTION": "`input`, `filter` or `output`", "BOOLEAN": "`and` or `or`", "COMPARE": "`==` or its like",
    "MATCH": "`=~` or `!~`", "$END": "the end of the file",
}  # fmt: skip


def parse(text: str, file: str) -> Parsed[Pipeline | None]:
    """Reads a logstash.conf; None where it breaks off, with a finding at that place."""
    reading = Reading(AREA, file)
    try:
        tree = _grammar().parse(text)
    except _TooDeep as deep:
        reading.error("depth", _span(file, deep.token), f"nested deeper than {MAX_DEPTH}: nothing is read of the file")
        return Parsed(None, tuple(reading.findings))
    except UnexpectedInput as error:
        _syntax(reading, text, error)
        return Parsed(None, tuple(reading.findings))
    found = _Builder(reading).transform(tree)
    assert isinstance(found, Pipeline)
    return Parsed(found, tuple(reading.findings))


class _TooDeep(Exception):
    """A bracket too many."""

    def __init__(self, token: Token) -> None:
        super().__init__(token)
        self.token = token


class _Depth(PostLex):
    """Counts brackets as they come."""

    always_accept = ()

    def process(self, stream: Iterator[Token]) -> Iterator[Token]:
        """The same tokens, up to one bracket too many."""
        depth = 0
        for token in stream:
            depth += (token in _OPENING) - (token in _CLOSING)
            if depth > MAX_DEPTH:
                raise _TooDeep(token)
            yield token


@cache
def _grammar() -> Lark:
    grammar = Path(__file__).with_name("logstash.lark").read_text(encoding="utf-8")
    return Lark(grammar, parser="lalr", propagate_positions=True, postlex=_Depth(), maybe_placeholders=False)


def _span(file: str, token: Token) -> Span:
    line, column = token.line or 1, token.column or 1
    return Span(file, line, column, token.end_line or line, token.end_column or column)


def _syntax(reading: Reading, text: str, error: UnexpectedInput) -> None:
    """The one place at which a file breaks off: what stands there, what was expected, which slip it mostly is."""
    at_end = isinstance(error, UnexpectedToken) and error.token.type == "$END"
    if at_end:
        lines = text.split("\n")
        line, column, rest = len(lines), len(lines[-1]) + 1, ""
    else:
        line, column = max(error.line, 1), max(error.column, 1)
        rest = text[error.pos_in_stream or 0 :]
    shown = re.match(r"[A-Za-z0-9_-]+|=>|[=!<>~]=?~?|.", rest)
    what = "the file ends" if not rest else f"here stands {shown[0]!r}" if shown else "here stands a line's end"
    accepted = getattr(error, "accepts", None) or getattr(error, "allowed", None) or getattr(error, "expected", ())
    wanted = sorted({_SIGNS.get(name, "`=>`") for name in accepted or () if name not in {"COMMENT", "WHITESPACE"}})
    width = len(shown[0]) if shown else 1
    reading.error(
        "syntax",
        Span(reading.file, line, column, line, column + width),
        f"this is no Logstash configuration from here on: {what}",
        details=f"expected: {', '.join(wanted)}" if wanted else "",
        fix=_slip(rest, text[: error.pos_in_stream or 0] if rest else text, frozenset(map(str, accepted or ()))),
    )


def _slip(rest: str, before: str, accepted: frozenset[str]) -> str:
    """The slip of a hand that it mostly is; "" where none is known."""
    last = before.rstrip()[-1:]
    slips: Iterable[tuple[bool, str]] = (
        (not rest, "a brace, a bracket or a parenthesis is not closed"),
        (rest[:1] in {'"', "'"} and "STRING" in accepted, "the quote that opens here is never closed"),
        (rest[:1] == "," and last != ",", "entries of a plugin or of a hash stand without commas between them"),
        (rest[:1] in {"]", "}"} and last == ",", "no comma before the end of a list"),
        (
            rest[:1] == ":" or (rest[:1] == "=" and rest[:2] not in {"==", "=>", "=~"}),
            "settings are written `name => value`, equality `==`",
        ),
        (re.match(r"not\b", rest) is not None, "write `!` before a field or a parenthesis"),
        (re.match(r"(&&|\|\|)", rest) is not None, "write `and` and `or`"),
        (re.search(r"\bels?e?if\s*$", before) is not None, "write `else if`"),
        (
            "SELECTOR" in accepted and re.match(r"[A-Za-z_]", rest) is not None,
            "a text goes in quotes, a field in brackets",
        ),
        ("SECTION" in accepted, "outermost are `input { }`, `filter { }` and `output { }`"),
    )
    return next((fix for holds, fix in slips if holds), "")


@v_args(meta=True)
class _Builder(Transformer_NonRecursive[Token, Any]):
    """Lark's tree as nodes; what the grammar lets pass and Logstash does not is a finding."""

    def __init__(self, reading: Reading) -> None:
        super().__init__()
        self._reading = reading

    def _at(self, meta: Meta) -> Span:
        return Span(self._reading.file, meta.line, meta.column, meta.end_line, meta.end_column)

    def _word(self, token: Token) -> Word:
        if token.type == "STRING":
            return Word(token[1:-1], "string", _span(self._reading.file, token))
        return Word(str(token), "number" if token.type == "NUMBER" else "bare", _span(self._reading.file, token))

    def start(self, meta: Meta, children: Sequence[Section]) -> Pipeline:  # noqa: ARG002
        return Pipeline(tuple(children))

    def section(self, meta: Meta, children: Sequence[Any]) -> Section:
        return Section(str(children[0]), tuple(children[1:]), self._at(meta))

    def branch(self, meta: Meta, children: Sequence[Arm]) -> Branch:
        return Branch(tuple(children), self._at(meta))

    def if_arm(self, meta: Meta, children: Sequence[Any]) -> Arm:
        return Arm(children[0], tuple(children[1:]), self._at(meta))

    else_if_arm = if_arm

    def else_arm(self, meta: Meta, children: Sequence[Any]) -> Arm:
        return Arm(None, tuple(children), self._at(meta))

    def plugin(self, meta: Meta, children: Sequence[Any]) -> Plugin:
        return Plugin(self._word(children[0]), tuple(children[1:]), self._at(meta))

    def attribute(self, meta: Meta, children: Sequence[Any]) -> Attribute:  # noqa: ARG002
        return Attribute(self._word(children[0]), children[1])

    def word(self, meta: Meta, children: Sequence[Token]) -> Word:  # noqa: ARG002
        word = self._word(children[0])
        if word.kind == "bare" and not _BARE.fullmatch(word.text):
            self._reading.error("bare", word.span, f"{word.text!r} must stand in quotes", fix=f'write "{word.text}"')
        return word

    def array(self, meta: Meta, children: Sequence[Value]) -> Listed:
        return Listed(tuple(children), self._at(meta))

    def entry(self, meta: Meta, children: Sequence[Any]) -> Pair:  # noqa: ARG002
        return Pair(children[0], children[1])

    def hash(self, meta: Meta, children: Sequence[Pair]) -> Hash:
        seen: set[str] = set()
        for pair in children:
            if pair.key.text in seen:
                self._reading.error("twice", pair.key.span, f"{pair.key.text!r} stands twice in one hash")
            seen.add(pair.key.text)
        return Hash(tuple(children), self._at(meta))

    def text(self, meta: Meta, children: Sequence[Token]) -> Word:  # noqa: ARG002
        return self._word(children[0])

    def field(self, meta: Meta, children: Sequence[Token]) -> Field:
        names = tuple(children[0][1:-1].split("]["))
        if names[0].strip()[:1] in {'"', "'"}:
            self._reading.error(
                "list-of-one",
                self._at(meta),
                f"Logstash takes {children[0]} for the field of that name, quotes included, and not for a list of one",
                fix=f"write `== {names[0].strip()}`, or a second value",
            )
        return Field(names, self._at(meta))

    def regexp(self, meta: Meta, children: Sequence[Token]) -> Regexp:
        return Regexp(str(children[0][1:-1]), self._at(meta))

    def grouped(self, meta: Meta, children: Sequence[Condition]) -> Condition:  # noqa: ARG002
        return children[0]

    def negated(self, meta: Meta, children: Sequence[Condition]) -> Not:
        return Not(children[0], self._at(meta))

    def negated_field(self, meta: Meta, children: Sequence[Field]) -> Not:
        return Not(Truthy(children[0], self._at(meta)), self._at(meta))

    def contained(self, meta: Meta, children: Sequence[Operand]) -> Contained:
        return Contained(children[0], children[1], self._at(meta))

    def not_contained(self, meta: Meta, children: Sequence[Operand]) -> Not:
        return Not(self.contained(meta, children), self._at(meta))

    def compared(self, meta: Meta, children: Sequence[Any]) -> Compared:
        return Compared(str(children[1]), children[0], children[2], self._at(meta))

    def matched(self, meta: Meta, children: Sequence[Any]) -> Condition:
        left, operator, right = children
        pattern = right if isinstance(right, Regexp) else Regexp(right.text, right.span)
        found = Matched(left, pattern, self._at(meta))
        return Not(found, self._at(meta)) if operator == "!~" else found

    def truthy(self, meta: Meta, children: Sequence[Operand]) -> Truthy:
        return Truthy(children[0], self._at(meta))

    def condition(self, meta: Meta, children: Sequence[Any]) -> Condition:
        """`and` binds closer than `or`; Logstash itself does not know what `xor` among others joins."""
        parts: list[Condition] = list(children[::2])
        operators = [str(one) for one in children[1::2]]
        if not operators:
            return parts[0]
        at = self._at(meta)
        strange = {"xor", "nand"} & set(operators)
        if strange and len(operators) > 1:
            name = min(strange)
            self._reading.error(
                "precedence", at, f"`{name}` beside another operator: Logstash does not start", fix="add parentheses"
            )
        if strange:
            return Joined(operators[0], tuple(parts), at)
        groups: list[list[Condition]] = [[parts[0]]]
        for operator, part in zip(operators, parts[1:], strict=True):
            if operator == "or":
                groups.append([part])
            else:
                groups[-1].append(part)
        joined = [one[0] if len(one) == 1 else Joined("and", tuple(one), at) for one in groups]
        return joined[0] if len(joined) == 1 else Joined("or", tuple(joined), at)
