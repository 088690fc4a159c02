"""A connection to any ClickHouse, ours or a real one: statements with parameters, answers as a stream, sentences."""

from __future__ import annotations

import re
from collections.abc import AsyncIterable, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Final, Self

import aiohttp
import orjson

from harness.errors import StackError, UsageError
from harness.model.stack import Address
from harness.stack.clickhouse.asking import LIBRARY
from harness.stack.search import Credentials, Product

OLDEST: Final = (22, 3)
"""Before that version of ClickHouse statements of ours mean nothing to it (`WITH TIES`, `toJSONString`)."""

_SECONDS: Final = 120.0
_SHOWN: Final = 300
_NAME_HEADER: Final = "X-ClickHouse-Server-Display-Name"
_CODE_HEADER: Final = "X-ClickHouse-Exception-Code"
_VERSION = re.compile(r"(\d+)\.(\d+)[\d.]*\S*")
_DENIED: Final = frozenset({"192", "193", "194", "497", "516"})
"""ClickHouse's codes for who may not ask (`ErrorCodes.cpp`)."""
_ABSENT: Final = frozenset({"60", "81"})


class Connection:
    """Asks one ClickHouse; `async with` closes it.

    Args:
        address: where its HTTP interface listens.
        credentials: who asks, where it wants to know.
        within_seconds: how long an answer may take.
    """

    def __init__(
        self, address: Address, *, credentials: Credentials | None = None, within_seconds: float = _SECONDS
    ) -> None:
        self.address = address
        self._seconds = within_seconds
        self._session = aiohttp.ClientSession(
            headers=credentials.header if credentials else {},
            timeout=aiohttp.ClientTimeout(total=within_seconds),
            trust_env=False,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def product(self) -> Product:
        """What it is: `clickhouse`, or `chdb` where its engine as a library answers in the place of a server.

        Raises:
            StackError: it does not answer, is something else, or too old.
        """
        wanted = f"ClickHouse {OLDEST[0]}.{OLDEST[1]} or newer"
        what = f"What listens at {self.address} is not ClickHouse"
        try:
            async with self._open("SELECT version()", {}, None) as answer:
                name, version = answer.headers.get(_NAME_HEADER), (await answer.text(errors="replace")).strip()
        except _Refused as refused:
            if not refused.code:
                seen = f"POST / is answered {refused.status} by something else"
                raise StackError(what, expected=wanted, seen=seen) from None
            raise self._error(what, refused) from None
        found = _VERSION.fullmatch(version)
        if found is None or name is None:
            raise StackError(what, expected=wanted, seen="it does not tell its version as ClickHouse does")
        if (int(found[1]), int(found[2])) < OLDEST:
            raise StackError(f"The ClickHouse at {self.address} is too old", expected=wanted, seen=version)
        return Product("chdb" if name == LIBRARY else "clickhouse", version)

    async def rows(self, statement: str, parameters: Mapping[str, str] | None = None, *, what: str) -> list[list[Any]]:
        """What a SELECT without a FORMAT answers; `what` could not be done otherwise.

        Raises:
            UsageError: there is no such table or database.
            StackError: there was no answer, or a refusal.
        """
        body = b"".join(
            [part async for part in self.stream(f"{statement} FORMAT JSONCompactEachRow", parameters, what=what)]
        )
        try:
            return [orjson.loads(line) for line in body.splitlines()]
        except ValueError:
            raise StackError(what, expected="rows in JSON", seen=body[:_SHOWN].decode(errors="replace")) from None

    async def each(
        self, statement: str, parameters: Mapping[str, str] | None = None, *, what: str
    ) -> AsyncIterator[list[Any]]:
        """As `rows`, one row after another, never all of them in memory.

        Raises:
            UsageError: there is no such table or database.
            StackError: there was no answer, or a refusal.
        """
        rest = b""
        async for piece in self.stream(f"{statement} FORMAT JSONCompactEachRow", parameters, what=what):
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                yield orjson.loads(line)

    async def run(
        self,
        statement: str,
        parameters: Mapping[str, str] | None = None,
        *,
        what: str,
        data: AsyncIterable[bytes] | None = None,
    ) -> None:
        """Runs a statement that answers nothing; `data` are the rows of an INSERT.

        Raises:
            UsageError: there is no such table or database.
            StackError: there was no answer, or a refusal.
        """
        async for _ in self.stream(statement, parameters, what=what, data=data):
            pass

    async def stream(
        self,
        statement: str,
        parameters: Mapping[str, str] | None = None,
        *,
        what: str,
        data: AsyncIterable[bytes] | None = None,
    ) -> AsyncIterator[bytes]:
        """An answer as it comes, in pieces of any size.

        Raises:
            UsageError: there is no such table or database.
            StackError: there was no answer, or a refusal.
        """
        try:
            async with self._open(statement, parameters or {}, data) as answer:
                async for piece in answer.content.iter_any():
                    yield piece
        except _Refused as refused:
            raise self._error(what, refused) from None
        except TimeoutError:
            raise self._late() from None
        except (aiohttp.ClientError, OSError) as error:
            raise self._gone(error) from error

    @asynccontextmanager
    async def _open(
        self, statement: str, parameters: Mapping[str, str], data: AsyncIterable[bytes] | None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        # `wait_end_of_query`: an error that comes late is a refusal all the same, never the end of half an answer.
        query = {"wait_end_of_query": "1", **{f"param_{name}": value for name, value in parameters.items()}}
        body: AsyncIterable[bytes] | bytes = statement.encode()
        if data is not None:
            query |= {"query": statement, "async_insert": "0"}
            body = data
        try:
            answer = await self._session.post(f"http://{self.address}/", params=query, data=body)
        except TimeoutError:
            raise self._late() from None
        except (aiohttp.ClientError, OSError) as error:
            raise self._gone(error) from error
        async with answer:
            if answer.status != 200:
                said = (await answer.content.read(_SHOWN)).decode(errors="replace").strip()
                raise _Refused(answer.status, answer.headers.get(_CODE_HEADER, ""), said)
            yield answer

    def _late(self) -> StackError:
        return StackError(f"The ClickHouse at {self.address} did not answer within {self._seconds:g} s")

    def _gone(self, error: Exception) -> StackError:
        return StackError(f"The ClickHouse at {self.address} cannot be asked", seen=str(error) or repr(error))

    def _error(self, what: str, refused: _Refused) -> StackError | UsageError:
        if refused.status in {401, 403} or refused.code in _DENIED:
            return StackError(
                f"The ClickHouse at {self.address} does not let us in",
                expected="credentials that may do what is asked",
                seen=f"{refused.status}, code {refused.code or 'none'}",
                hint="check the user and the password",
            )
        if refused.code in _ABSENT:
            return UsageError(what, seen=refused.said, hint="check the name of the database")
        return StackError(what, expected="an answer without an error", seen=f"{refused.status}: {refused.said}")


class _Refused(Exception):
    """An answer that is none: its status, ClickHouse's code ("" where something else answers), what it says."""

    def __init__(self, status: int, code: str, said: str) -> None:
        super().__init__(said)
        self.status, self.code, self.said = status, code, said
