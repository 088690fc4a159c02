"""Asking a store of the Elasticsearch family: one request, one answer, and a sentence where there is none."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self

import aiohttp
import orjson

from harness.errors import StackError
from harness.model.stack import Address

_SECONDS: Final = 10.0
_SHOWN: Final = 300
_NODE: Final = "/_nodes/_local/none?filter_path=nodes.*.version"
_FAMILY: Final = "an OpenSearch, or an Elasticsearch 7 or 8"


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who asks; the password is not shown by `repr`."""

    user: str
    password: str = field(repr=False)

    @property
    def header(self) -> dict[str, str]:
        """HTTP's basic authentication."""
        return {"Authorization": f"Basic {base64.b64encode(f'{self.user}:{self.password}'.encode()).decode()}"}


@dataclass(frozen=True, slots=True)
class Reply:
    """What a store answered: `body` is its JSON, None where that was none."""

    status: int
    body: Any

    @property
    def reason(self) -> str:
        """Why it refused, as it says it."""
        error = self.body.get("error") if isinstance(self.body, dict) else None
        told = error.get("reason") or error.get("type") if isinstance(error, dict) else error
        return f"{self.status}: {told or self.body}"[:_SHOWN]


@dataclass(frozen=True, slots=True)
class Product:
    """What a store is: `opensearch` or `elasticsearch`, and its own version, whichever it greets Filebeat with."""

    name: str
    version: str


class Search:
    """A connection to one store; `async with` closes it.

    Args:
        address: where it listens, in plain HTTP.
        credentials: who asks, where it wants to know.
        within_seconds: how long an answer may take.
    """

    def __init__(
        self, address: Address, *, credentials: Credentials | None = None, within_seconds: float = _SECONDS
    ) -> None:
        self.address = address
        self._session = aiohttp.ClientSession(
            headers=credentials.header if credentials else {}, timeout=aiohttp.ClientTimeout(total=within_seconds)
        )
        self._seconds = within_seconds

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def ask(self, method: str, path: str, body: object = None, *, lines: bytes | None = None) -> Reply:
        """One request with a JSON body, or with `lines` of NDJSON; any status is an answer.

        Raises:
            StackError: there was no answer, or it refused who asks.
        """
        data = lines if lines is not None else None if body is None else orjson.dumps(body)
        kind = "application/x-ndjson" if lines is not None else "application/json"
        try:
            async with self._session.request(
                method, f"http://{self.address}{path}", data=data, headers={"Content-Type": kind}
            ) as answer:
                raw = await answer.read()
        except TimeoutError:
            raise StackError(
                f"The store at {self.address} did not answer within {self._seconds:g} s", seen=path
            ) from None
        except (aiohttp.ClientError, OSError) as error:
            raise StackError(f"The store at {self.address} cannot be asked", seen=str(error) or repr(error)) from error
        if answer.status in {401, 403}:
            raise StackError(
                f"The store at {self.address} does not let us in",
                expected="credentials that may read and write the indices of the logs",
                seen=f"{answer.status} for {method} {path.partition('?')[0]}",
                hint="check the user and the password",
            )
        try:
            return Reply(answer.status, orjson.loads(raw) if raw else None)
        except orjson.JSONDecodeError:
            return Reply(answer.status, None)

    async def done(self, method: str, path: str, body: object = None, *, what: str) -> Any:
        """The body of an answer that says it was done; `what` could not be done otherwise.

        Raises:
            StackError: it was refused, or there was no answer.
        """
        reply = await self.ask(method, path, body)
        if reply.status >= 300:
            raise StackError(what, expected=f"{method} {path.partition('?')[0]} is answered 200", seen=reply.reason)
        return reply.body

    async def product(self) -> Product:
        """What it is.

        Raises:
            StackError: it is no store of this family, or too old or too new.
        """
        reply = await self.ask("GET", "/")
        version = reply.body.get("version") if isinstance(reply.body, dict) else None
        number = version.get("number") if isinstance(version, dict) else None
        if reply.status != 200 or not isinstance(version, dict) or not isinstance(number, str):
            seen = f"GET / is answered {reply.status} by something else"
            raise StackError(f"What listens at {self.address} is not {_FAMILY}", expected=_FAMILY, seen=seen)
        tagline = str(reply.body.get("tagline", ""))
        name = (
            "opensearch" if "OpenSearch" in tagline or version.get("distribution") == "opensearch" else "elasticsearch"
        )
        if name == "elasticsearch" and number.split(".")[0] not in {"7", "8"}:
            raise StackError(
                f"The store at {self.address} is Elasticsearch {number}, which knows other index templates",
                expected=_FAMILY,
                seen=f"{name} {number}",
            )
        if name == "opensearch" and version.get("distribution") != name:
            number = await self._own_version(number)
        return Product(name, number)

    async def _own_version(self, greeted: str) -> str:
        """The version of an OpenSearch that greets as the Elasticsearch it plays: its nodes tell their own.

        Who may search need not be allowed to ask after nodes: then the version it greets with is told as no more.
        """
        try:
            reply = await self.ask("GET", _NODE)
            [node] = reply.body["nodes"].values()
            return str(node["version"])
        except (StackError, KeyError, TypeError, ValueError, AttributeError):
            return f"that greets as {greeted}"
