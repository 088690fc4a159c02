"""InfluxDB 1.x, asked: answers as they come, in pieces of a few thousand points, never all of them in memory."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import aiohttp
import orjson

from harness.errors import StackError
from harness.model.stack import Address

CHUNK: Final = 5000
"""Points of a series in one piece of an answer."""

NANOSECONDS: Final = 1_000_000_000

_SECONDS: Final = 120.0
_SHOWN: Final = 300
_CONTROL = re.compile(r"[\x00-\x1f]")


@dataclass(frozen=True, slots=True)
class Piece:
    """Part of what a statement answers: of one series, whose tags are told where the statement groups by them."""

    statement: int
    name: str
    tags: Mapping[str, str]
    rows: Sequence[Sequence[Any]]


class Influx:
    """Asks one InfluxDB; `async with` closes it.

    Args:
        address: where it listens.
    """

    def __init__(self, address: Address) -> None:
        self.address = address
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_SECONDS), trust_env=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def version(self) -> str:
        """What it calls itself (`InfluxDB 1.6.7`).

        Raises:
            StackError: it does not answer, or something else does.
        """
        try:
            async with self._session.get(f"http://{self.address}/ping") as answer:
                version = answer.headers.get("X-Influxdb-Version", "")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._gone(error) from error
        if not version:
            raise StackError(
                f"What listens at {self.address} is not InfluxDB", seen=f"GET /ping answers {answer.status}"
            )
        return f"InfluxDB {version}"

    async def pieces(self, statements: str, database: str) -> AsyncIterator[Piece]:
        """What statements answer, with instants in nanoseconds.

        Raises:
            StackError: it does not answer, or refuses a statement.
        """
        form = {"q": statements, "db": database, "epoch": "ns", "chunked": "true", "chunk_size": str(CHUNK)}
        try:
            async with self._session.post(f"http://{self.address}/query", data=form) as answer:
                rest = b""
                async for part in answer.content.iter_any():
                    *lines, rest = (rest + part).split(b"\n")
                    for line in lines:
                        for piece in self._read(line, statements):
                            yield piece
                for piece in self._read(rest, statements):
                    yield piece
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._gone(error) from error

    async def rows(self, statement: str, database: str) -> list[Sequence[Any]]:
        """All rows of a statement that answers with few.

        Raises:
            StackError: it does not answer, or refuses the statement.
        """
        return [row async for piece in self.pieces(statement, database) for row in piece.rows]

    def _read(self, line: bytes, asked: str) -> list[Piece]:
        if not line.strip():
            return []
        try:
            told = orjson.loads(line)
            refused = told.get("error") or next((one["error"] for one in told["results"] if "error" in one), "")
            if refused:
                raise StackError(f"The InfluxDB at {self.address} refuses {asked[:_SHOWN]}", seen=refused)
            return [
                Piece(result["statement_id"], series["name"], series.get("tags", {}), series.get("values", ()))
                for result in told["results"]
                for series in result.get("series", ())
            ]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            seen = line[:_SHOWN].decode(errors="replace")
            raise StackError(f"The InfluxDB at {self.address} answers something else than JSON", seen=seen) from error

    def _gone(self, error: Exception) -> StackError:
        return StackError(f"The InfluxDB at {self.address} cannot be asked", seen=str(error) or type(error).__name__)


def named(name: str) -> str:
    """A name as InfluxQL writes it."""
    return f'"{_escaped(name, chr(34))}"'


def quoted(value: str) -> str:
    """A text as InfluxQL writes it."""
    return f"'{_escaped(value, chr(39))}'"


def tagged(tags: Mapping[str, str]) -> str:
    """The condition that a point has these tags."""
    return " AND ".join(f"{named(name)} = {quoted(value)}" for name, value in sorted(tags.items()))


def _escaped(text: str, quote: str) -> str:
    plain = text.replace("\\", "\\\\").replace(quote, f"\\{quote}").replace("\n", "\\n")
    return _CONTROL.sub(" ", plain)
