"""A store that answers as OpenSearch or Elasticsearch do to whoever reads it; nothing of it searches."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from harness.model.stack import Address


@dataclass
class FakeStore:
    """Its records in the order in which it took them; `hidden` of the last ones appear after so many counts."""

    records: Sequence[dict[str, Any]]
    product: str = "opensearch"
    version: str = "2.19.5"
    greets_as: str = ""
    fields: dict[str, Any] = field(default_factory=lambda: {"metadata.sequence": {"keyword": {}}})
    refresh: str = "1s"
    hidden: int = 0
    short: int = 0
    password: str = ""
    requests: list[str] = field(default_factory=list)
    queries: list[Any] = field(default_factory=list)

    def application(self) -> web.Application:
        """Everything that it answers."""
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._answer)
        return application

    async def _answer(self, request: web.Request) -> web.Response:
        self.requests.append(f"{request.method} {request.path}")
        if self.password and f"tocsin:{self.password}" not in str(_decoded(request.headers.get("Authorization", ""))):
            return web.json_response({"error": {"reason": "who are you?"}}, status=401)
        path, pit = request.path, "pit_id" if self.product == "opensearch" else "id"
        if path == "/":
            number = {"number": self.version, "distribution": self.product}
            if self.greets_as:
                return web.json_response({"version": {"number": self.greets_as}, "tagline": "The OpenSearch Project"})
            return web.json_response({"version": number, "tagline": f"The {self.product} project"})
        if path.startswith("/_nodes/"):
            return web.json_response({"nodes": {"n1": {"version": self.version}}})
        if path.endswith("/_field_caps"):
            return web.json_response({"indices": ["i"] if self.records else [], "fields": self.fields})
        if "/_settings" in path:
            return web.json_response({"i": {"settings": {"index.refresh_interval": self.refresh}}})
        if path.endswith("/_count"):
            self.queries.append((await request.json())["query"])
            self.hidden = max(0, self.hidden - 1)
            return web.json_response({"count": len(self.records) - self.hidden})
        if path.endswith("/_search") and path != "/_search":
            return web.json_response({"hits": {"hits": self._named(await request.json())}})
        if path == "/_search":
            return web.json_response(self._page(await request.json()))
        wanted = "/_search/point_in_time" if self.product == "opensearch" else "/_pit"
        if path.endswith(wanted):
            return web.json_response({pit: "p1"})
        return web.json_response({"error": "no such way"}, status=404)

    def _named(self, body: Any) -> list[dict[str, Any]]:
        (names,) = body["query"]["bool"]["should"][0]["terms"].values()
        visible = self.records[: len(self.records) - self.hidden]
        self.hidden = max(0, self.hidden - 1)
        found = [one["metadata"]["sequence"] for one in visible if one["metadata"]["sequence"] in names]
        return [{"fields": {"metadata.sequence": [name]}} for name in found]

    def _page(self, body: Any) -> dict[str, Any]:
        assert body["pit"]["id"] == "p1"
        start = body.get("search_after", [0])[0]
        some = self.records[start : start + body["size"]]
        hits = [{"_source": one, "sort": [start + number + 1]} for number, one in enumerate(some)]
        total = len(self.records) + self.short
        return {"hits": {"hits": hits, "total": {"value": total}}, "_shards": {"failed": 0}, "pit_id": "p1"}


def _decoded(header: str) -> bytes:
    import base64

    return base64.b64decode(header.removeprefix("Basic ")) if header else b""


@asynccontextmanager
async def serving(store: FakeStore) -> AsyncIterator[Address]:
    """The store on a port of loopback."""
    runner = web.AppRunner(store.application())
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield Address("127.0.0.1", runner.addresses[0][1])
    finally:
        await runner.cleanup()
