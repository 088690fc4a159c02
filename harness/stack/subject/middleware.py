"""What surrounds every endpoint: who asks, what becomes of an exception, the metrics and the log line.

The health and metrics endpoints are outside of it: a probe's requests are not the users', and would dilute every ratio.
"""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Final

from aiohttp import web

from harness.stack.subject.domain import Refused, Sessions, StorageError, Unavailable
from harness.stack.subject.events import Events
from harness.stack.subject.handlers import CALLER, COOKIE, ROUTES, Caller, Route
from harness.stack.subject.happenings import Seen
from harness.stack.subject.logs import Journal, Record
from harness.stack.subject.metrics import UNMATCHED, Metrics

QUIET: Final = frozenset({"/health", "/ready", "/api/performance/metrics"})
"""Paths that are neither counted nor logged."""

_REQUEST_ID = re.compile(r"[A-Za-z0-9._/-]{1,64}")
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Observation:
    """The middleware, as a callable object.

    Args:
        sessions: where a request's session is looked up.
        metrics: where it is counted.
        journal: where it is logged.
        instance: begins the ids that are given to requests that bring none.
        events: told of every request.
    """

    sessions: Sessions
    metrics: Metrics
    journal: Journal
    instance: str
    events: Events
    _started: int = field(default_factory=lambda: int(time.time()))
    _numbers: count[int] = field(default_factory=lambda: count(1))
    _routes: Mapping[tuple[str, str], Route] = field(
        default_factory=lambda: {(route.method, route.path): route for route in ROUTES}
    )

    async def __call__(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        """Handles a request and notes what became of it."""
        if request.path in QUIET:
            return await handler(request)
        started = time.perf_counter()
        route = self._route(request)
        component = route.component if route else "http"
        request_id = self._request_id(request)
        caller = request[CALLER] = await self._caller(request)
        error: BaseException | None = None
        response: web.StreamResponse
        try:
            response = await handler(request)
        except Refused as refused:
            response = _answer(refused.status, refused.sentence)
        except web.HTTPException as known:
            response = _answer(known.status, known.reason.lower(), known.headers.get("Allow"))
        except StorageError as failed:
            error = failed
            self.metrics.storage_error(unavailable=isinstance(failed, Unavailable))
            response = _answer(failed.status, "try again later" if failed.status == 503 else "something went wrong")
        except Exception as unforeseen:  # noqa: BLE001  # the last resort of a server: told in the error log, answered 500
            error = unforeseen
            response = _answer(500, "something went wrong")
        response.headers["X-Request-ID"] = request_id
        seconds = time.perf_counter() - started
        if route and response.status < 400:
            self.metrics.activity(route.action)
        self.metrics.request(request.method, route.path if route else UNMATCHED, response.status, seconds)
        if error is not None:
            self.journal.error(component, error, seconds)
        record = Record(
            component=component,
            action=route.action.value if route else UNMATCHED,
            status=response.status,
            duration_seconds=seconds,
            ip=request.remote,
            user_agent=request.headers.get("User-Agent"),
            user_id=caller.session.user_id if caller.session else None,
            session_id=caller.session.id if caller.session else None,
            request_id=request_id,
        )
        self.journal.request(record)
        told = response.body if request.method == "POST" and isinstance(response, web.Response) else None
        answer = told if isinstance(told, bytes) else b""
        self.events.request(Seen(record, request.method, route.path if route else UNMATCHED, answer, time.time()))
        return response

    def _route(self, request: web.Request) -> Route | None:
        resource = request.match_info.route.resource
        return self._routes.get((request.method, resource.canonical)) if resource is not None else None

    def _request_id(self, request: web.Request) -> str:
        brought = request.headers.get("X-Request-ID", "")
        if _REQUEST_ID.fullmatch(brought):
            return brought
        return f"{self.instance}/{self._started}/{next(self._numbers)}"

    async def _caller(self, request: web.Request) -> Caller:
        # Reading needs no session: a Redis that is down must not take reading down with it, so what failed here is
        # raised by `Caller.needed` where a session is needed.
        token = request.cookies.get(COOKIE)
        if not token:
            return Caller()
        try:
            return Caller(session=await self.sessions.find(token))
        except StorageError as error:
            return Caller(unknown=error)


def _answer(status: int, sentence: str, allow: str | None = None) -> web.Response:
    headers = {"Allow": allow} if allow else {}
    return web.json_response({"error": sentence}, status=status, headers=headers)
