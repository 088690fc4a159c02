"""The engine: ClickHouse as a library, over one folder, one statement at a time.

Only this module knows chdb, and only the owner process imports it: the library is 500 MB of machine code.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from harness.errors import StackError, UsageError

BACKUPS: Final = "backups"
_CODE = re.compile(r"Code: (\d+)\. ")
_TWICE = re.compile(r"^Code: \d+\. DB::Exception: (?=Code: \d+\. DB::Exception: )")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")
UNKNOWN_SETTING: Final = 115
SYNTAX_ERROR: Final = 62


class Refusal(Exception):
    """ClickHouse refuses a statement; the message is its own.

    Args:
        sentence: what it says, with its own code in it.
        code: that code (`ErrorCodes.cpp`), 0 where there is none.
    """

    def __init__(self, sentence: str, code: int) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.code = code


@dataclass(frozen=True, slots=True)
class Statement:
    """What is asked.

    Args:
        text: the statement; the rows of an INSERT follow it in their format.
        database: where names without a database are looked for.
        default_format: how the answer is written where the statement does not say.
        parameters: the values of `{name:Type}` in it, as ClickHouse's own escaped text.
        settings: settings for this statement alone.
    """

    text: bytes
    database: str = "default"
    default_format: str = "TabSeparated"
    parameters: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)


class Engine:
    """One open database folder. To be used from one thread.

    Args:
        folder: where the data is; made when missing.
        backups: where BACKUP may write and RESTORE may read.

    Raises:
        UsageError: chdb is not installed.
        StackError: the folder cannot be opened, or another process owns it.
    """

    def __init__(self, folder: Path, backups: Path) -> None:
        try:
            from chdb.session import Session  # noqa: PLC0415  # it takes a second, and nobody else needs it
        except ImportError as error:
            raise UsageError(
                "ClickHouse's engine is not there", expected="the package chdb on PYTHONPATH", seen=str(error)
            ) from error
        for needed in (folder, backups):
            try:
                needed.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise StackError(f"ClickHouse's folder {needed} cannot be made", seen=error.strerror) from error
        try:
            self._session = Session(f"{folder}?backups.allowed_path={backups}")
            self._timezone = self._ask(b"SELECT timezone()").decode().strip()
        except Exception as error:  # a library of C++: what it raises here is its own affair, and always means this
            raise StackError(
                f"ClickHouse's folder {folder} cannot be opened",
                expected="a folder that no other process has open",
                seen=str(error),
            ) from error

    @property
    def timezone(self) -> str:
        """The time zone of the engine."""
        return self._timezone

    def run(self, statement: Statement) -> bytes:
        """Runs a statement; the answer in the format that it asks for.

        Raises:
            Refusal: ClickHouse refuses it.
        """
        for name in (*statement.settings, statement.database):
            if _NAME.fullmatch(name) is None:
                raise Refusal(f"Code: {UNKNOWN_SETTING}. DB::Exception: {name!r} is no name", UNKNOWN_SETTING)
        set_now: list[str] = []
        try:
            self._ask(f"USE `{statement.database}`".encode())
            for name, value in statement.settings.items():
                self._ask(f"SET {name} = {_quoted(value)}".encode())
                set_now.append(name)
            return self._ask(statement.text, statement.default_format, statement.parameters)
        finally:
            for name in set_now:
                with suppress(Refusal):
                    self._ask(f"SET {name} = DEFAULT".encode())

    def close(self) -> None:
        """Closes the folder."""
        self._session.close()

    def _ask(self, text: bytes, form: str = "TabSeparated", parameters: Mapping[str, str] | None = None) -> bytes:
        try:
            answer = self._session.query(text, form, params=dict(parameters or {}))
            return bytes(answer.bytes())
        except Exception as error:  # chdb raises RuntimeError here and ChdbError there
            said = _TWICE.sub("", str(error))
            code = _CODE.match(said)
            raise Refusal(said, int(code.group(1)) if code else 0) from error


def _quoted(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
