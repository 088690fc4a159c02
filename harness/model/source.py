"""Where in a user's file a thing stands."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A stretch of a file; lines and columns count from 1, the end is the first column past the stretch.

    `file` is the path as the user would type it (relative to where the command runs where that is possible).
    """

    file: str
    line: int
    column: int
    end_line: int
    end_column: int

    def __str__(self) -> str:
        """`file:line:column`, which editors and CI turn into a link."""
        return f"{self.file}:{self.line}:{self.column}"
