"""Live tail: new records of a store as they become visible, as a stream of server-sent events with filters.

A store shows records in another order than that of `event.ingested`: a slow batch becomes visible behind a quick one.
So every look goes back a few seconds and leaves out what was delivered before; nothing is lost, nothing comes twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
from aiohttp import web
from aiohttp_sse import EventSourceResponse, sse_response

from harness.errors import HarnessError, StackError, UsageError, in_a_line
from harness.model.logs import SearchPolicy
from harness.model.stack import Address
from harness.model.time import from_rfc3339
from harness.stack.search import Search

OVERLAP_SECONDS: Final = 5.0
"""How far every look goes back: how much longer than another batch one may take from its stamp until it is visible."""

MOST_SEEN: Final = 100_000
"""Records that may come within the overlap; more cannot be told apart, and the tail ends with that reason."""

MOST_WAITING: Final = 2_000
"""Records that may wait for a client that reads slowly; then it is dropped, with the reason."""

PAGE: Final = 500
GRACE_SECONDS: Final = 1.0

_INGESTED = "event.ingested"
_IDENTITY = "metadata.sequence"
_BY = {"level": "level", "lane": "fields.environment", "source": "fields.log"}


@dataclass(frozen=True, slots=True)
class Filters:
    """Which records are wanted; "" for whatever there is. `text` are words that must all stand in one of the texts."""

    level: str = ""
    lane: str = ""
    source: str = ""
    text: str = ""

    @classmethod
    def of(cls, asked: Mapping[str, str]) -> Filters:
        """From the query of a URL.

        Raises:
            UsageError: it asks for something else.
        """
        unknown = sorted(set(asked) - {*_BY, "text"})
        if unknown:
            raise UsageError(
                f"a tail knows no filter {unknown[0]!r}", expected="level, lane, source and text", seen=", ".join(asked)
            )
        return cls(**dict(asked))

    def query(self, fields: Mapping[str, str]) -> dict[str, Any]:
        """As the store wants it; `fields` are the types of the index template's."""
        wanted = {"level": self.level, "lane": self.lane, "source": self.source}
        clauses: list[dict[str, Any]] = [{"term": {_BY[name]: value}} for name, value in wanted.items() if value]
        if self.text:
            texts = sorted(name for name, kind in fields.items() if kind == "text")
            clauses.append({"multi_match": {"query": self.text, "fields": texts, "operator": "and"}})
        return {"bool": {"filter": clauses}}

    def __str__(self) -> str:
        """`level=ERROR`, or `all`."""
        named = (("level", self.level), ("lane", self.lane), ("source", self.source), ("text", self.text))
        return " ".join(f"{name}={value}" for name, value in named if value) or "all"


@dataclass(frozen=True, slots=True)
class Line:
    """A record of a tail: who it is (its identity, else its `_id`) and the whole document."""

    name: str
    document: Mapping[str, Any]


class Tail:
    """One reader of new records. What is visible when it is opened is not new.

    Args:
        search: the store.
        policy: its indices and fields.
        filters: which records are wanted.
    """

    def __init__(self, search: Search, policy: SearchPolicy, filters: Filters) -> None:
        self._search = search
        self._policy = policy
        self._query = filters.query(policy.fields)
        self._seen: dict[str, float] = {}
        self._newest = 0.0

    async def open(self) -> None:
        """Looks at what is there already.

        Raises:
            StackError: the store does not answer.
        """
        what = f"The store at {self._search.address} cannot be followed"
        body = {"size": 0, "aggs": {"newest": {"max": {"field": _INGESTED}}}}
        answer = await self._search.done("POST", f"/{self._policy.pattern}/_search", body, what=what)
        self._newest = float(answer["aggregations"]["newest"]["value"] or 0) / 1000
        async for _ in self.new():
            pass

    async def new(self) -> AsyncIterator[Line]:
        """What has become visible since the last look, in the order in which the store took it in.

        Raises:
            StackError: the store does not answer, or too much came to be told apart.
        """
        since = max(0.0, self._newest - OVERLAP_SECONDS)
        recent = {"range": {_INGESTED: {"gte": int(since * 1000), "format": "epoch_millis"}}}
        body: dict[str, Any] = {
            "size": PAGE,
            "query": {"bool": {"filter": [self._query, recent]}},
            "sort": [{_INGESTED: "asc"}, {_IDENTITY: {"order": "asc", "unmapped_type": "keyword"}}],
            "track_total_hits": False,
        }
        what = f"The store at {self._search.address} cannot be followed"
        while True:
            answer = await self._search.done("POST", f"/{self._policy.pattern}/_search", body, what=what)
            hits: Sequence[Mapping[str, Any]] = answer["hits"]["hits"]
            for hit in hits:
                if hit["_id"] not in self._seen:
                    at = from_rfc3339(str(hit["_source"]["event"]["ingested"]))
                    self._seen[hit["_id"]] = at
                    self._newest = max(self._newest, at)
                    yield Line(str(hit["_source"].get("metadata", {}).get("sequence") or hit["_id"]), hit["_source"])
            if len(hits) < PAGE:
                break
            body["search_after"] = hits[-1]["sort"]
        # One second more than is looked back: what may be seen again is remembered.
        self._seen = {name: at for name, at in self._seen.items() if at >= self._newest - OVERLAP_SECONDS - 1}
        if len(self._seen) > MOST_SEEN:
            raise StackError(
                "More records come than a tail can tell apart",
                expected=f"at most {MOST_SEEN} within {OVERLAP_SECONDS:g} s",
                seen=str(len(self._seen)),
                hint="filter by level, lane, source or text",
            )


@dataclass(slots=True)
class TailServer:
    """`GET /tail?level=&lane=&source=&text=`: an event `open`, then an event `record` for each new record.

    It ends with an event `dropped` and the reason, where the client reads too slowly or the store does not answer.

    Args:
        address: where the store listens.
        policy: its indices and fields.
        waiting: how many records may wait for a slow client.
    """

    address: Address
    policy: SearchPolicy
    waiting: int = MOST_WAITING
    dropped: list[str] = field(default_factory=list)

    def application(self) -> web.Application:
        """The server's application."""
        app = web.Application()
        app.router.add_get("/tail", self._tail)
        return app

    async def _tail(self, request: web.Request) -> web.StreamResponse:
        try:
            filters = Filters.of(request.query)
        except UsageError as error:
            return web.json_response({"error": str(error)}, status=400)
        async with sse_response(request) as response:
            queue: asyncio.Queue[Line | None] = asyncio.Queue(self.waiting)
            reading = asyncio.create_task(self._read(filters, queue))
            sending = asyncio.create_task(_send(response, queue))
            try:
                await asyncio.wait({reading, sending}, return_when=asyncio.FIRST_COMPLETED)
                if reading.done():
                    why = reading.result()
                    self.dropped.append(why)
                    sending.cancel()
                    await asyncio.wait({sending})
                    await _dismiss(request, response, why)
            finally:
                for task in (reading, sending):
                    task.cancel()
                await asyncio.wait({reading, sending})
        return response

    async def _read(self, filters: Filters, queue: asyncio.Queue[Line | None]) -> str:
        """Fills the queue until that cannot go on; why it cannot."""
        pause = max(0.2, self.policy.refresh.total_seconds() / 2)
        try:
            async with Search(self.address) as search:
                tail = Tail(search, self.policy, filters)
                await tail.open()
                queue.put_nowait(None)
                while True:
                    async for line in tail.new():
                        queue.put_nowait(line)
                    await asyncio.sleep(pause)
        except asyncio.QueueFull:
            return f"the client reads too slowly: {self.waiting} records were waiting for it"
        except HarnessError as error:
            return in_a_line(error)
        except (KeyError, TypeError, ValueError) as error:
            return f"the store answered with something else: {error!r}"


async def _send(response: EventSourceResponse, queue: asyncio.Queue[Line | None]) -> None:
    """Sends what is in the queue, until the client is gone."""
    with suppress(ConnectionError):
        while True:
            line = await queue.get()
            if line is None:
                await response.send("", event="open")
            else:
                await response.send(orjson.dumps(line.document).decode(), event="record", id=line.name)


async def _dismiss(request: web.Request, response: EventSourceResponse, why: str) -> None:
    """Tells a client why it is dropped; where it does not even read that, its connection is cut."""
    try:
        with suppress(ConnectionError):
            await asyncio.wait_for(response.send(why, event="dropped"), GRACE_SECONDS)
    except TimeoutError:
        if request.transport is not None:
            request.transport.abort()


@asynccontextmanager
async def tail_server(server: TailServer, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[Address]:
    """The server, listening while the block goes on.

    Raises:
        HarnessError: it cannot listen there.
    """
    runner = web.AppRunner(server.application(), access_log=None, shutdown_timeout=GRACE_SECONDS)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            raise HarnessError(f"The tail cannot listen on {host}:{port}", seen=error.strerror) from error
        yield Address(host, runner.addresses[0][1])
    finally:
        await runner.cleanup()
