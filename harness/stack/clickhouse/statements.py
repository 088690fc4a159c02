"""The statements of an SQL file, each with the place where it begins. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_PIECE = re.compile(
    r"""
    (?P<quoted> '(?:[^'\\]|\\.|'')*' | "(?:[^"\\]|\\.)*" | `(?:[^`\\]|\\.)*` )
  | (?P<comment> --[^\n]* | \#[^\n]* | /\*.*?\*/ )
  | (?P<end> ; )
  | (?P<other> [^'"`\-\#/;]+ | . )
    """,
    re.DOTALL | re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class SqlStatement:
    """One statement, without the comments before it; `line` and `column` count from 1."""

    text: str
    line: int
    column: int

    def place(self, line: int, column: int) -> tuple[int, int]:
        """Where a line and a column within the statement are in its file."""
        return (self.line + line - 1, column if line > 1 else self.column + column - 1)


def statements(text: str) -> Iterator[SqlStatement]:
    """The statements of a file, in their order; one that is not ended by `;` ends with the file."""
    begin: int | None = None
    last = 0
    for piece in _PIECE.finditer(text):
        if piece["end"]:
            if begin is not None:
                yield _statement(text, begin, last)
            begin = None
        elif piece["comment"] is None and not piece[0].isspace():
            if begin is None:
                begin = piece.start() + len(piece[0]) - len(piece[0].lstrip())
            last = piece.start() + len(piece[0].rstrip())
    if begin is not None:
        yield _statement(text, begin, last)


def _statement(text: str, begin: int, end: int) -> SqlStatement:
    line_begin = text.rfind("\n", 0, begin) + 1
    return SqlStatement(text[begin:end], text.count("\n", 0, begin) + 1, begin - line_begin + 1)
