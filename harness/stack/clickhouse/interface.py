"""ClickHouse's HTTP interface (its manual, "HTTP Interface") over an engine: questions and answers."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

import lz4.frame  # type: ignore[import-untyped]
from aiohttp import web

from harness.stack.clickhouse.asking import LIBRARY
from harness.stack.clickhouse.engine import Refusal, Statement

LARGEST_BODY_BYTES: Final = 256 * 2**20

_NOT_SETTINGS: Final = frozenset(
    {
        "query", "database", "default_format", "query_id", "user", "password", "session_id", "session_timeout",
        "session_check", "close_session", "compress", "decompress", "role", "quota_key", "stacktrace", "buffer_size",
        "wait_end_of_query", "client_protocol_version", "readonly", "send_progress_in_http_headers",
        "http_headers_progress_interval_ms", "enable_http_compression",
        "cancel_http_readonly_queries_on_client_close",
    }
)  # fmt: skip
"""Parameters of a URL that are no settings of a statement, or that mean something to HTTP alone."""

_STATUSES: Final = {
    **dict.fromkeys((6, 26, 27, 38, 41, 43, 47, 53, 62, 69, 70, 72, 115, 117, 130, 131, 158, 190, 386, 456), 400),
    **dict.fromkeys((46, 60, 81), 404),
    159: 408,
    48: 501,
}
"""HTTP's word for ClickHouse's codes (`HTTPHandler.cpp`); 500 for all others."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """A statement, and the names that its answer bears."""

    statement: Statement
    query_id: str


@dataclass(frozen=True, slots=True)
class Interface:
    """The endpoints.

    Args:
        run: runs a statement, in whatever thread (`Engine.run`).
        timezone: of the engine; clients want to know.
    """

    run: Callable[[Statement], bytes]
    timezone: str
    _thread: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "engine"))

    def application(self) -> web.Application:
        """`GET /ping`, and statements by GET or POST at `/`."""
        app = web.Application(client_max_size=LARGEST_BODY_BYTES)
        app.router.add_get("/ping", self._ping)
        app.router.add_get("/replicas_status", self._ping)
        app.router.add_route("*", "/", self._statement)
        return app

    def executor(self) -> ThreadPoolExecutor:
        """The one thread that the engine is used from."""
        return self._thread

    async def _ping(self, _request: web.Request) -> web.Response:
        return web.Response(text="Ok.\n")

    async def _statement(self, request: web.Request) -> web.Response:
        if request.method == "GET" and not request.query.get("query"):
            return web.Response(text="Ok.\n")
        try:
            asked = await _asked(request)
        except web.HTTPRequestEntityTooLarge:
            return web.Response(status=413, text=f"a body has at most {LARGEST_BODY_BYTES} bytes\n")
        except (UnicodeDecodeError, RuntimeError, ValueError) as error:
            return web.Response(status=400, text=f"the body cannot be read: {error}\n")
        names = {"X-ClickHouse-Query-Id": asked.query_id, "X-ClickHouse-Server-Display-Name": LIBRARY}
        loop = asyncio.get_running_loop()
        try:
            # Shielded: a client that goes away does not take a statement back that has begun.
            answer = await asyncio.shield(loop.run_in_executor(self._thread, self.run, asked.statement))
        except Refusal as refusal:
            return web.Response(
                status=_STATUSES.get(refusal.code, 500),
                text=refusal.sentence + "\n",
                headers={**names, "X-ClickHouse-Exception-Code": str(refusal.code)},
            )
        form = asked.statement.default_format
        return web.Response(
            body=answer,
            headers={
                **names,
                "X-ClickHouse-Timezone": self.timezone,
                "X-ClickHouse-Format": form,
                "X-ClickHouse-Summary": "{}",
                "Content-Type": "text/plain; charset=UTF-8" if form == "TabSeparated" else "application/octet-stream",
            },
        )


async def _asked(request: web.Request) -> _Asked:
    """The statement of a request: `query` of its URL, then its body; a form's fields count as the URL's."""
    query: dict[str, str] = dict(request.query)
    body = b""
    if request.content_type == "multipart/form-data":
        query |= {name: value for name, value in (await request.post()).items() if isinstance(value, str)}
    else:
        body = _plain(await request.read(), request.headers)
    text = query.get("query", "").encode()
    text = text + b"\n" + body if text and body else text or body
    return _Asked(
        Statement(
            text=text,
            database=query.get("database") or request.headers.get("X-ClickHouse-Database") or "default",
            default_format=query.get("default_format") or request.headers.get("X-ClickHouse-Format") or "TabSeparated",
            parameters={
                name.removeprefix("param_"): value for name, value in query.items() if name.startswith("param_")
            },
            settings={
                name: value
                for name, value in query.items()
                if name not in _NOT_SETTINGS and not name.startswith("param_")
            },
        ),
        query.get("query_id") or str(uuid.uuid4()),
    )


def _plain(body: bytes, headers: Mapping[str, str]) -> bytes:
    """The body as it was before the client compressed it; aiohttp knows every way but this one."""
    if headers.get("Content-Encoding") != "lz4":
        return body
    plain: bytes = lz4.frame.decompress(body)
    return plain
