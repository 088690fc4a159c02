"""PromQL: what an expression reads, and whether it is one at all."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import promql_parser

MAX_PARTS: Final = 400
"""Operators and brackets in one expression. The parser recurses natively: some thousands of them end the process, and
no expression of 2,710 published rules has more than 52."""

_STRING = re.compile(r'"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])*\'|`[^`]*`')
_COMMENT = re.compile(r"#[^\n]*")
_PART = re.compile(r"[-+*/%^(\[{<>=!]|\b(?:and|or|unless|atan2)\b", re.IGNORECASE)

# Prometheus 2 calls double_exponential_smoothing by this name; the parser knows only the new one.
promql_parser.register_extra_functions(
    [
        promql_parser.Function(
            "holt_winters",
            [promql_parser.ValueType.Matrix, promql_parser.ValueType.Scalar, promql_parser.ValueType.Scalar],
            promql_parser.ValueType.Vector,
        )
    ]
)


@dataclass(frozen=True, slots=True)
class Expression:
    """A PromQL expression that parses. `selectors` are the vector selectors that it reads, each once, in order.

    A selector stands without its range, offset and `@`: it names series, not a time.
    """

    selectors: tuple[str, ...]


class NotPromQL(ValueError):
    """The text is not an expression; the message says why."""


def parse(text: str) -> Expression:
    """Reads an expression.

    Raises:
        NotPromQL: it does not parse, or is too long for the parser to survive.
    """
    bare = _STRING.sub('""', text)
    parts = len(_PART.findall(_COMMENT.sub("", bare)))
    if parts > MAX_PARTS or bare.count("(") > MAX_PARTS:
        raise NotPromQL(f"it has {parts} operators and brackets, and {MAX_PARTS} is the most that is read")
    try:
        tree = promql_parser.parse(text)
        found: dict[str, None] = {}

        def visit(node: promql_parser.Expr) -> None:
            if isinstance(node, promql_parser.VectorSelector):
                found[_selector(node)] = None
            elif isinstance(node, promql_parser.MatrixSelector):
                found[_selector(node.vector_selector)] = None

        promql_parser.walk(tree, visit)
    except (ValueError, OverflowError) as error:
        raise NotPromQL(str(error)) from None
    return Expression(tuple(found))


def _selector(node: promql_parser.VectorSelector) -> str:
    """The selector as PromQL. `prettify` is used because `str` does not escape quotes."""
    text = node.prettify()
    if node.offset is None and node.at is None:
        return text
    # The modifiers stand behind the closing brace, or behind the name where there is none; strings hold braces too.
    shadow = _STRING.sub(lambda match: "s" * len(match.group()), text)
    brace = shadow.rfind("}")
    return text[: brace + 1] if brace >= 0 else text.split()[0]
