"""The SQL files of a policy, run in the order of their names against any ClickHouse; again changes nothing.

That they may be run again is the files' own affair (`IF NOT EXISTS`, `OR REPLACE`): they are production's.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from harness.errors import PolicyError, UsageError
from harness.model.findings import Finding, Severity
from harness.model.source import Span
from harness.model.stack import Address
from harness.stack.clickhouse.asking import ask
from harness.stack.clickhouse.statements import SqlStatement, statements

PATTERN: Final = "*.sql"
_PLACE = re.compile(r"\(line (\d+), col (\d+)\)")
_POSITION = re.compile(r"failed at position (\d+)")
_EXPECTED = re.compile(r"\. Expected one of: .*", re.DOTALL)


async def set_up(address: Address, folder: Path, shown: str = "clickhouse") -> str | None:
    """Runs every statement of every file; None when all of them were run, else what is still missing.

    Args:
        address: where ClickHouse listens.
        folder: the folder of the files.
        shown: what a message calls that folder.

    Raises:
        UsageError: a file cannot be read.
        PolicyError: ClickHouse refuses a statement; carries where it stands and why.
    """
    for path in sorted(folder.glob(PATTERN)):
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise UsageError(f"{shown}/{path.name} cannot be read", seen=str(error)) from error
        for statement in statements(text):
            answer = await ask(address, statement.text)
            if isinstance(answer, str):
                return answer
            if answer.status != 200:
                raise PolicyError(
                    "ClickHouse refuses a statement of the policies",
                    [_finding(f"{shown}/{path.name}", statement, answer.body.strip())],
                )
    return None


def _finding(file: str, statement: SqlStatement, said: str) -> Finding:
    line, column = _place(statement, said)
    first = _EXPECTED.sub("", said.splitlines()[0]) if said else "it says nothing"
    return Finding("clickhouse/refused", Severity.ERROR, Span(file, line, column, line, column), first)


def _place(statement: SqlStatement, said: str) -> tuple[int, int]:
    """Where ClickHouse sees the mistake; where it does not say, the statement's own beginning."""
    if found := _PLACE.search(said):
        return statement.place(int(found[1]), int(found[2]))
    if found := _POSITION.search(said):
        return statement.place(1, int(found[1]))
    return statement.line, statement.column
