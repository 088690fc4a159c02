"""A store that is asked: what it is, what it is told, what of it is left alone; against a server that plays it."""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from harness.errors import StackError
from harness.model.logs import RUN_MARK, Retention
from harness.model.source import Span
from harness.model.stack import Address
from harness.stack.ports import Ports
from harness.stack.search import Credentials, Product, Search
from harness.stack.search_retention import age_out
from harness.stack.search_setup import instruct, orders

FOLDER = Path(__file__).parents[2] / "policies" / "elasticsearch"
OPENSEARCH = {"version": {"number": "7.10.2"}, "tagline": "The OpenSearch Project: https://opensearch.org/"}
NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
KEPT = Retention("community-platform-*", "yyyy.MM.dd", 90, Span("retention.json", 1, 1, 1, 1))


@dataclass
class Store:
    """What a store plays: its greeting, its indices with their marks, what it was told."""

    greeting: Any = field(default_factory=lambda: dict(OPENSEARCH))
    nodes: Any = field(default_factory=lambda: {"nodes": {"aUszA1pp": {"version": "2.19.5"}}})
    indices: dict[str, str | None] = field(default_factory=dict)
    user: str | None = None
    refuses: str = ""
    told: list[tuple[str, str, Any]] = field(default_factory=list)
    spoilt: dict[str, Any] = field(default_factory=dict)
    looks: int = 0

    def passes(self, one: dict[str, Any]) -> dict[str, Any]:
        """What the translated logstash.conf makes of a record here: a line is read; then what is `spoilt`."""
        source = dict(one["_source"])
        line = source.pop("message", None)
        return {"_source": {**source, **(json.loads(line) if line is not None else {}), **self.spoilt}}

    async def answer(self, request: web.Request) -> web.Response:
        """One answer."""
        raw = await request.read()
        if self.user is not None and request.headers.get("Authorization") != self.user:
            return web.json_response({"error": "who are you"}, status=401)
        if request.path == "/":
            return self.greeting if isinstance(self.greeting, web.Response) else web.json_response(self.greeting)
        if request.path.startswith("/_nodes/"):
            self.looks += 1
            return self.nodes if isinstance(self.nodes, web.Response) else web.json_response(self.nodes)
        if request.path.endswith("/_mapping"):
            marks = {name: {} if run is None else {"_meta": {RUN_MARK: run}} for name, run in self.indices.items()}
            return web.json_response({name: {"mappings": mappings} for name, mappings in marks.items()})
        if self.refuses and self.refuses in request.path:
            reason = {"type": "illegal_argument_exception", "reason": "two templates of one priority"}
            return web.json_response({"error": reason}, status=400)
        self.told.append((request.method, request.path, json.loads(raw) if raw else None))
        if request.method == "DELETE":
            del self.indices[request.path[1:]]
        if request.path.endswith("/_simulate"):
            return web.json_response({"docs": [{"doc": self.passes(one)} for one in json.loads(raw)["docs"]]})
        return web.json_response({"acknowledged": True})


@asynccontextmanager
async def playing(store: Store) -> AsyncIterator[Address]:
    """A server that plays a store."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", store.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        yield Address(host, port)
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(
    ("greeting", "product", "looks"),
    [
        (OPENSEARCH, Product("opensearch", "2.19.5"), 1),
        ({"version": {"number": "2.18.0", "distribution": "opensearch"}}, Product("opensearch", "2.18.0"), 0),
        ({"version": {"number": "7.10.2"}, "tagline": "You Know, for Search"}, Product("elasticsearch", "7.10.2"), 0),
        ({"version": {"number": "8.15.0"}, "tagline": "You Know, for Search"}, Product("elasticsearch", "8.15.0"), 0),
    ],
)
async def test_a_store_of_the_family_is_known(greeting: Any, product: Product, looks: int) -> None:
    """OpenSearch that greets as an Elasticsearch is asked for its own version; who greets as itself is believed."""
    store = Store(greeting)
    async with playing(store) as address, Search(address) as search:
        assert await search.product() == product
    assert store.looks == looks


@pytest.mark.parametrize(
    "nodes",
    [{"nodes": {}}, {"nodes": []}, {"error": "no such way"}, [], web.Response(text="<html>"), web.Response(status=403)],
    ids=["no node", "no table", "another way", "a list", "a page", "not allowed"],
)
async def test_a_version_that_is_not_told_is_not_made_up(nodes: Any) -> None:
    """Whoever may search need not be allowed to ask after nodes: the greeting is then told as a greeting."""
    async with playing(Store(nodes=nodes)) as address, Search(address) as search:
        assert await search.product() == Product("opensearch", "that greets as 7.10.2")


@pytest.mark.parametrize(
    ("greeting", "sentence"),
    [
        ({"version": {"number": "6.8.0"}, "tagline": "You Know, for Search"}, "which knows other index templates"),
        ({"status": "up"}, "is not an OpenSearch"),
        ([], "is not an OpenSearch"),
        ({"version": "3"}, "is not an OpenSearch"),
    ],
)
async def test_another_product_is_refused_by_name(greeting: Any, sentence: str) -> None:
    """Too old, another JSON service, no object."""
    async with playing(Store(greeting)) as address, Search(address) as search:
        with pytest.raises(StackError, match=sentence):
            await search.product()


async def test_what_speaks_no_json_is_refused() -> None:
    """A web page at the store's address."""
    async with playing(Store(web.Response(text="<html>"))) as address, Search(address) as search:
        with pytest.raises(StackError, match="is not an OpenSearch") as refused:
            await search.product()
        assert "answered 200 by something else" in str(refused.value)


async def test_right_credentials_are_taken() -> None:
    """The twin of the next: basic authentication, as HTTP has it."""
    who = Credentials("logs", "hunter2")
    async with playing(Store(user="Basic bG9nczpodW50ZXIy")) as address, Search(address, credentials=who) as search:
        assert (await search.product()).name == "opensearch"


async def test_wrong_credentials_are_told_without_them() -> None:
    """401 is a sentence; the password is in no message and in no `repr`."""
    who = Credentials("logs", "hunter2")
    async with playing(Store(user="nobody")) as address, Search(address, credentials=who) as search:
        with pytest.raises(StackError, match="does not let us in") as refused:
            await search.product()
    assert "hunter2" not in f"{refused.value} {who!r}"


async def test_nobody_at_the_address_is_told() -> None:
    """A refused connection is a sentence."""
    ports = Ports()
    try:
        address = ports.take()
        async with Search(address, within_seconds=5) as search:
            with pytest.raises(StackError, match=r"cannot be asked|did not answer"):
                await search.product()
    finally:
        ports.close()


async def test_a_store_is_told_pipeline_first_and_every_index_is_marked() -> None:
    """The template names the pipeline, so the pipeline is there first; the rest of both is the team's own."""
    store = Store()
    told = orders(FOLDER)
    async with playing(store) as address, Search(address) as search:
        await instruct(search, told, "run-1")
        await instruct(search, told, "run-1")
    first, second = store.told[:2]
    assert first == (
        "PUT",
        "/_ingest/pipeline/community-platform",
        json.loads((FOLDER / "ingest-pipeline.json").read_text()),
    )
    assert second[:2] == ("PUT", "/_index_template/community-platform")
    assert second[2]["template"]["mappings"]["_meta"].pop(RUN_MARK) == "run-1"
    assert second[2] == json.loads((FOLDER / "index-template.json").read_text())
    assert store.told[2:] != []


async def test_logstash_comes_last_and_is_tried() -> None:
    """Its translation is installed beside the store's own pipeline, and called by it nowhere."""
    store = Store()
    async with playing(store) as address, Search(address) as search:
        await instruct(search, orders(FOLDER), "run-1")
    assert [path for _, path, _ in store.told[2:]] == [
        "/_ingest/pipeline/community-platform-logstash",
        "/_ingest/pipeline/community-platform-logstash/_simulate",
    ]
    assert store.told[2][2]["processors"][-1] == {"pipeline": {"name": "community-platform"}}


@pytest.mark.parametrize(
    ("spoilt", "says"),
    [
        ({"duration": "12"}, "duration"),
        ({"metadata": {}}, "metadata"),
        ({"tags": ["_grokparsefailure"]}, "it is tagged _grokparsefailure"),
        ({"event": {"ingest_error": "it failed"}}, "a processor failed: it failed"),
    ],
)
async def test_what_logstash_would_spoil_is_told(spoilt: dict[str, Any], says: str) -> None:
    """A field of another kind, an identity that is gone, a filter that failed: before the first record."""
    async with playing(Store(spoilt=spoilt)) as address, Search(address) as search:
        with pytest.raises(StackError, match=r"what application\.schema\.json does not allow") as refused:
            await instruct(search, orders(FOLDER), "run-1")
    assert says in (refused.value.seen or "")


@pytest.mark.parametrize("owner", [None, "run-2"])
async def test_a_store_with_foreign_indices_is_left_alone(owner: str | None) -> None:
    """An index of the pattern that bears no mark, or another's: refused by its name, and nothing was written."""
    store = Store(indices={"community-platform-2026.11.01": owner, "community-platform-2026.11.02": "run-1"})
    async with playing(store) as address, Search(address) as search:
        with pytest.raises(StackError, match="that this run did not make") as refused:
            await instruct(search, orders(FOLDER), "run-1")
    assert (refused.value.seen or "").startswith("community-platform-2026.11.01 of ")
    assert store.told == []


async def test_what_a_store_refuses_is_told_in_its_words() -> None:
    """Another template of the same priority."""
    async with playing(Store(refuses="_index_template")) as address, Search(address) as search:
        with pytest.raises(StackError, match="did not take the index template community-platform") as refused:
            await instruct(search, orders(FOLDER), "run-1")
    assert "two templates of one priority" in (refused.value.seen or "")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda folder: (folder / "index-template.json").unlink(),
        lambda folder: (folder / "index-template.json").write_text("{"),
        lambda folder: (folder / "index-template.json").write_text('{"index_patterns": ["*"]}'),
        lambda folder: (folder / "ingest-pipeline.json").write_bytes(b"\xff"),
    ],
)
def test_a_broken_folder_is_told(tmp_path: Path, spoil: Callable[[Path], object]) -> None:
    """Missing, no JSON, no pattern, no text: a sentence each."""
    folder = tmp_path / "elasticsearch"
    shutil.copytree(FOLDER, folder)
    assert orders(folder).name == "community-platform"
    spoil(folder)
    with pytest.raises(StackError):
        orders(folder)


async def test_only_what_is_old_and_ours_is_deleted() -> None:
    """Older than 90 days to its last record, of the pattern, and marked by this run: by its whole name each."""
    mine = {
        "community-platform-2026.08.31": "run-1",  # its last record is 90.5 d old
        "community-platform-2026.09.01": "run-1",  # 89.5 d
        "community-platform-2026.11.30": "run-1",
        "community-platform-2026.08.31-restored": "run-1",
    }
    foreign: dict[str, str | None] = {"community-platform-2020.01.01": "run-2", "community-platform-2020.01.02": None}
    store = Store(indices={**mine, **foreign})
    async with playing(store) as address:
        gone = await age_out(address, KEPT, NOW, run="run-1")
        assert gone.deleted == ("community-platform-2026.08.31",)
        assert gone.foreign == tuple(sorted(foreign))
        assert set(gone.kept) == set(mine) - set(gone.deleted)
        assert store.told == [("DELETE", "/community-platform-2026.08.31", None)]
        assert (await age_out(address, KEPT, NOW, run="run-1")).deleted == ()
    assert set(store.indices) == (set(mine) | set(foreign)) - set(gone.deleted)
