"""A store of the Elasticsearch family, read in pages: a point in time, `search_after`, every page at once to disk.

Nothing is written to the store, and never more than a page is held. Everything in a point in time could be found by a
search when it was opened: that instant stands before each record.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from harness.errors import StackError, UsageError
from harness.model.records import WITHDRAWN, RecordSchema, announced_from
from harness.model.time import parse_duration
from harness.observe.records.partition import chunks
from harness.stack.search import Product, Search

PAGE: Final = 5000
"""Records a page: some megabytes, and below the limit that these stores set by default."""

_KEEP_ALIVE = "2m"
_INGESTED = "event.ingested"


@dataclass(frozen=True, slots=True)
class Read:
    """What was read: how many records, the instant at which all of them could be found, and how long it took.

    `refresh_seconds` is the longest refresh interval of the indices; infinite where one refreshes only when it is told.
    """

    product: Product
    records: int
    opened_at: float
    refresh_seconds: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Question:
    """Which records are ours: in which indices, and by which fields they bear their identity."""

    index: str
    identities: tuple[str, ...]
    run: str

    def query(self) -> dict[str, Any]:
        """As the stores want it."""
        ours = [
            {"prefix": {name: f"{self.run}/"}} if self.run else {"exists": {"field": name}} for name in self.identities
        ]
        return {"bool": {"filter": [{"bool": {"should": ours, "minimum_should_match": 1}}]}}


async def question(search: Search, index: str, schemas: Sequence[RecordSchema], run: str) -> Question:
    """The question for the records of these schemas.

    Raises:
        UsageError: there is no such index, or it cannot be searched by identity.
        StackError: the store does not answer, or refuses.
    """
    names = tuple(dict.fromkeys(schema.identity_field for schema in schemas))
    asked = ",".join([*names, *(f"{name}.keyword" for name in names)])
    what = f"The fields of {index} cannot be read"
    answer = await search.done("GET", f"/{index}/_field_caps?fields={asked}&ignore_unavailable=true", what=what)
    if not answer.get("indices"):
        raise UsageError(
            f"the store at {search.address} has no index {index}",
            expected="the indices that the shipper writes, e.g. community-platform-*",
            hint="name them with --index",
        )
    fields: dict[str, Any] = answer.get("fields", {})
    usable = tuple(
        found
        for name in names
        for found in (name, f"{name}.keyword")
        if {"keyword", "wildcard"} & set(fields.get(found, ()))
    )
    if not usable:
        raise UsageError(
            f"the records in {index} cannot be found by their identity",
            expected=f"a field {names[0] if names else 'metadata.sequence'} of type keyword",
            seen=", ".join(sorted(f"{name}: {'/'.join(kinds)}" for name, kinds in fields.items())) or "no such field",
            hint="map it as keyword in the index template",
        )
    return Question(index, usable, run)


async def read_pages(search: Search, asked: Question, schemas: Sequence[RecordSchema], spool: Path) -> Read:
    """Reads all records of a question into a file, in the order in which the store took them.

    Raises:
        StackError: the store does not answer, refuses, or gave fewer records than it said it had.
    """
    began = time.perf_counter()
    product = await search.product()
    refresh = await _refresh_seconds(search, asked.index)
    opensearch = product.name == "opensearch"
    path = "_search/point_in_time" if opensearch else "_pit"
    what = f"The store at {search.address} opens no point in time over {asked.index}"
    opened = await search.done("POST", f"/{asked.index}/{path}?keep_alive={_KEEP_ALIVE}", what=what)
    pit = opened["pit_id" if opensearch else "id"]
    opened_at = time.time()
    try:
        records = await _pages(search, asked, schemas, pit, opened_at, spool)
    finally:
        await search.ask("DELETE", f"/{path}", {"pit_id": [pit]} if opensearch else {"id": pit})
    return Read(product, records, opened_at, refresh, time.perf_counter() - began)


async def _pages(
    search: Search, asked: Question, schemas: Sequence[RecordSchema], pit: str, opened_at: float, spool: Path
) -> int:
    kept = sorted({name for schema in schemas for name in schema.fields})
    body: dict[str, Any] = {
        "size": PAGE,
        "query": asked.query(),
        "_source": [*kept, *(f"{name}.*" for name in kept), _INGESTED],
        "sort": [
            {_INGESTED: {"order": "asc", "unmapped_type": "date"}},
            *({name: {"order": "asc", "unmapped_type": "keyword"}} for name in asked.identities),
            {"_doc": "asc"},
        ],
        "track_total_hits": True,
        "pit": {"id": pit, "keep_alive": _KEEP_ALIVE},
    }
    stamp = b"%.3f\t" % opened_at
    read, total = 0, 0
    with spool.open("wb") as file:
        while True:
            what = f"The store at {search.address} does not give its records"
            answer = await search.done("POST", "/_search", body, what=what)
            hits = answer["hits"]["hits"]
            if read == 0:
                total = answer["hits"]["total"]["value"]
                body["track_total_hits"] = False
            if answer["_shards"]["failed"]:
                raise StackError(what, expected="an answer of every shard", seen=f"{answer['_shards']}")
            file.writelines(stamp + orjson.dumps(hit["_source"]) + b"\n" for hit in hits)
            read += len(hits)
            if len(hits) < PAGE:
                break
            body["search_after"] = hits[-1]["sort"]
            body["pit"]["id"] = answer.get("pit_id", pit)
    if read != total:
        raise StackError(
            f"The store at {search.address} gave {read} of {total} records",
            hint="two copies of one record that it took in one millisecond, in different shards, cannot be told apart",
        )
    return read


async def _refresh_seconds(search: Search, index: str) -> float:
    answer = await search.done(
        "GET",
        f"/{index}/_settings/index.refresh_interval?flat_settings=true",
        what=f"The settings of {index} cannot be read",
    )
    longest = 0.0
    for one in answer.values():
        spelled = one.get("settings", {}).get("index.refresh_interval", "1s")
        try:
            longest = max(longest, parse_duration(spelled).total_seconds())
        except ValueError:
            return math.inf  # -1: it refreshes when it is told, and nobody knows when
    return max(longest, 1.0) if not answer else longest


def announced_in(manifests: Iterable[Path]) -> tuple[int, float]:
    """How many records are announced and not taken back, and when the last one was, in Unix seconds (0 for none)."""
    mark = b"\t" + WITHDRAWN.encode() + b"\t"
    count, last_at = 0, 0.0
    for path in manifests:
        for chunk in chunks(path, 0, path.stat().st_size):
            count += chunk.count(b"\n") - 2 * chunk.count(mark)
            last = announced_from(chunk[: chunk.rfind(b"\n") + 1].rpartition(b"\n")[0].rpartition(b"\n")[2] + b"\n")
            last_at = max(last_at, last.at if last else 0.0)
    return count, last_at
