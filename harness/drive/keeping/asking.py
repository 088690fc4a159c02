"""Stores, asked over HTTP: what comes back is the body, or an error that says what came instead."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import orjson
from aiohttp import ClientError, ClientSession, ClientTimeout

from harness.errors import StackError
from harness.model.stack import Address

_ANSWER_SECONDS = 300.0
_SHOWN = 300


@asynccontextmanager
async def asking(address: Address) -> AsyncIterator[ClientSession]:
    """A session with a store; what it answers may be large and may take a while."""
    async with ClientSession(f"http://{address}", timeout=ClientTimeout(total=_ANSWER_SECONDS)) as session:
        yield session


async def answer(
    session: ClientSession,
    path: str,
    *,
    method: str = "POST",
    form: Mapping[str, str] | None = None,
    query: Mapping[str, str] | None = None,
    body: bytes | None = None,
) -> bytes:
    """What a store answers.

    Raises:
        StackError: nothing, or something else than a success.
    """
    try:
        async with session.request(method, path, data=form if body is None else body, params=query) as response:
            found = await response.read()
            status = response.status
    except (ClientError, OSError) as error:
        raise StackError(f"{path} was not answered", seen=f"{type(error).__name__}: {error}") from error
    if status >= 300:
        said = found[:_SHOWN].decode(errors="replace")
        raise StackError(f"{path} was refused", expected="a success", seen=f"{status}: {said}")
    return found


async def answered(
    session: ClientSession, path: str, *, method: str = "POST", form: Mapping[str, str] | None = None
) -> Any:
    """What a store answers, read as JSON.

    Raises:
        StackError: nothing, something else than a success, or no JSON.
    """
    found = await answer(session, path, method=method, form=form)
    try:
        return orjson.loads(found)
    except ValueError as error:
        raise StackError(f"{path} was answered with no JSON", seen=str(error)) from error
