"""Puts the parts together: the web application over whatever stores it is given."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from aiohttp import web

from harness.stack.subject.domain import PostCache, Sessions, StorageError, Store
from harness.stack.subject.events import Events, NoEvents
from harness.stack.subject.handlers import ROUTES, Api
from harness.stack.subject.logs import Journal
from harness.stack.subject.metrics import CONTENT_TYPE, Metrics
from harness.stack.subject.middleware import Observation
from harness.stack.subject.previews import Previews

METRICS_PATH: Final = "/api/performance/metrics"
LARGEST_BODY_BYTES: Final = 64 * 1024
_ERROR_STATUSES = (500, 503)


@dataclass(frozen=True, slots=True)
class Parts:
    """All that an instance is made of."""

    store: Store
    sessions: Sessions
    cache: PostCache
    metrics: Metrics
    journal: Journal
    environment: str
    instance: str
    previews: Previews = field(default_factory=Previews)
    events: Events = field(default_factory=NoEvents)


def build(parts: Parts) -> web.Application:
    """The application; it touches no store before the first request."""
    observation = Observation(parts.sessions, parts.metrics, parts.journal, parts.instance, parts.events)

    @web.middleware
    async def observe(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        return await observation(request, handler)

    app = web.Application(middlewares=[observe], client_max_size=LARGEST_BODY_BYTES)
    api = Api(parts.store, parts.sessions, parts.cache, parts.metrics, parts.previews)
    for route in ROUTES:
        app.router.add_route(route.method, route.path, partial(route.handler, api))
        parts.metrics.expect_route(route.method, route.path, (route.success, *_ERROR_STATUSES))
    app.router.add_get("/health", partial(_health, parts))
    app.router.add_get("/ready", partial(_ready, parts))
    app.router.add_get(METRICS_PATH, partial(_metrics, parts))
    return app


async def _health(parts: Parts, request: web.Request) -> web.Response:  # noqa: ARG001  # every endpoint takes a request
    """The process lives; says nothing of its database, or a restart policy would restart us for the database's sake."""
    return web.json_response({"status": "alive", "environment": parts.environment, "instance": parts.instance})


async def _ready(parts: Parts, request: web.Request) -> web.Response:  # noqa: ARG001
    """The database has its tables and Redis answers: 200; else 503 with the part that does not."""
    database, cache = await asyncio.gather(_state(parts.store.ping()), _state(parts.sessions.ping()))
    ready = database == cache == "up"
    return web.json_response({"database": database, "cache": cache}, status=200 if ready else 503)


async def _state(ping: Awaitable[None]) -> str:
    try:
        await ping
    except StorageError as error:
        return f"down ({error.code})"
    return "up"


async def _metrics(parts: Parts, request: web.Request) -> web.Response:  # noqa: ARG001
    return web.Response(body=parts.metrics.exposition(), headers={"Content-Type": CONTENT_TYPE})
