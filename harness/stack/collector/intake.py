"""The endpoints: events come in, and are answered once they are on disk.

What is held is bounded twice: the bodies that are being worked on by their bytes in memory, the events that some
destination does not have yet by their bytes on disk. Beyond either a request is answered 429 and nothing of it is kept;
whoever posted it posts it again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from aiohttp import web
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from harness.stack.collector.bodies import NotAnEvent, Unreadable, posted
from harness.stack.collector.commits import GroupCommit
from harness.stack.collector.database import SpoolError
from harness.stack.collector.forwarder import Forwarder
from harness.stack.collector.letters import DeadLetters, LettersFull
from harness.stack.collector.metrics import Metrics
from harness.stack.collector.schemas import Event, Rejected, Schemas
from harness.stack.collector.spool import CLICKHOUSE, Spool

EVENTS_PATH: Final = "/events"
RETRY_AFTER_SECONDS: Final = 1
MOST_EVENTS: Final = 10_000
"""In one request."""

_MOST_TOLD = 20
_log = logging.getLogger("collector")


@dataclass(frozen=True, slots=True)
class Limits:
    """What the collector holds at most, in bytes."""

    body: int = 4 * 2**20
    in_memory: int = 32 * 2**20
    on_disk: int = 2**30
    letters: int = 64 * 2**20


class _Refused(Exception):
    """A request that is refused whole."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence


@dataclass(slots=True)
class Intake:
    """Takes events in.

    Args:
        schemas: what they must look like.
        spool: where they are kept.
        commits: how they are kept.
        letters: where those go that are not kept.
        forwarders: send them on, each to a destination of its own.
        metrics: told of all of it.
        limits: what is held at most.
    """

    schemas: Schemas
    spool: Spool
    commits: GroupCommit
    letters: DeadLetters
    forwarders: Sequence[Forwarder]
    metrics: Metrics
    limits: Limits
    _in_memory: int = 0
    _on_the_way: int = 0

    def application(self) -> web.Application:
        """`POST /events`, `GET /health`, `GET /metrics`."""
        app = web.Application(client_max_size=self.limits.body)
        app.router.add_post(EVENTS_PATH, self._events)
        app.router.add_get("/health", self._health)
        app.router.add_get("/metrics", self._exposition)
        return app

    async def _events(self, request: web.Request) -> web.Response:
        size = self.limits.body if request.content_length is None else request.content_length
        try:
            self._make_room(size)
            try:
                return await self._take(await _body(request, self.limits.body))
            finally:
                self._in_memory -= size
        except _Refused as refused:
            self.metrics.refused(refused.status)
            headers = {"Retry-After": str(RETRY_AFTER_SECONDS)} if refused.status in {429, 503} else {}
            return web.json_response({"error": refused.sentence}, status=refused.status, headers=headers)

    def _make_room(self, size: int) -> None:
        """Sets memory aside for a body of that many bytes."""
        if size > self.limits.body:
            raise _Refused(413, f"a body has at most {self.limits.body} bytes")
        if self._in_memory + size > self.limits.in_memory:
            raise _Refused(429, "too much is being worked on: post it again")
        self._in_memory += size

    async def _take(self, body: bytes) -> web.Response:
        """Keeps what a body holds: answered 200 once all of it is either on disk or a dead letter."""
        try:
            found = posted(body)
        except Unreadable as error:
            raise _Refused(400, str(error)) from None
        if len(found) > MOST_EVENTS:
            raise _Refused(413, f"a request has at most {MOST_EVENTS} events")
        events: list[Event] = []
        rejected: list[tuple[int, Rejected]] = []
        for index, one in enumerate(found):
            checked = (
                Rejected(None, "unknown", "json", one.reason, one.text)
                if isinstance(one, NotAnEvent)
                else self.schemas.check(one)
            )
            if isinstance(checked, Event):
                events.append(checked)
            else:
                rejected.append((index, checked))
        size = sum(len(event.record) for event in events)
        if self.spool.held_bytes + self._on_the_way + size > self.limits.on_disk:
            slowest = next(one.title for one in self.forwarders if one.name == self.spool.slowest)
            raise _Refused(429, f"{slowest} does not take events fast enough and the disk's share is full")
        self._on_the_way += size
        try:
            await self._bury([one for _, one in rejected])
            new = await self._keep(events)
        finally:
            self._on_the_way -= size
        return web.json_response(
            {
                "accepted": sum(new),
                "duplicate": len(new) - sum(new),
                "rejected": len(rejected),
                "reasons": [
                    {"index": index, "identity": one.identity, "reason": one.reason}
                    for index, one in rejected[:_MOST_TOLD]
                ],
            }
        )

    async def _bury(self, rejected: Sequence[Rejected]) -> None:
        if not rejected:
            return
        try:
            await asyncio.to_thread(self.letters.write, rejected)
        except (LettersFull, OSError) as error:
            _log.warning("a dead letter cannot be kept: %s", error)
            raise _Refused(507, "some events are not what they should be, and there is no room to keep them") from error
        for one in rejected:
            self.metrics.rejected(one.kind, one.cause)

    async def _keep(self, events: Sequence[Event]) -> list[bool]:
        if not events:
            return []
        try:
            new = await self.commits.kept(events)
        except SpoolError as error:
            _log.warning("events cannot be kept: %s", error)
            raise _Refused(503, "the events cannot be kept: post them again") from error
        self.metrics.accepted(event for event, is_new in zip(events, new, strict=True) if is_new)
        self.metrics.duplicate(len(new) - sum(new))
        for forwarder in self.forwarders:
            forwarder.wake()
        return new

    async def _health(self, _request: web.Request) -> web.Response:
        """The process lives and takes events; whether its destinations do is told and no matter of its health."""
        waiting = {forwarder.name: forwarder.waiting for forwarder in self.forwarders}
        told = {forwarder.name: forwarder.trouble or "takes events" for forwarder in self.forwarders}
        return web.json_response(
            {"status": "alive", "waiting": waiting[CLICKHOUSE], "waiting_by_destination": waiting, **told}
        )

    async def _exposition(self, _request: web.Request) -> web.Response:
        return web.Response(body=self.metrics.exposition(), headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4})


async def _body(request: web.Request, limit_bytes: int) -> bytes:
    """The whole body, never more than the limit in memory."""
    try:
        return await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise _Refused(413, f"a body has at most {limit_bytes} bytes") from None
