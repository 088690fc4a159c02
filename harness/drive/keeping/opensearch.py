"""The store of logs kept, OpenSearch in Elasticsearch's place: daily indices age out, snapshots are restored."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import orjson

from harness.drive.keeping import Sizes
from harness.drive.keeping.comparing import Comparison, blame
from harness.drive.keeping.ground import Ground, copied, size_of
from harness.errors import StackError
from harness.model.keeping import AgedData, RestoreDrilled, RetentionProbed
from harness.model.logs import Retention, SearchPolicy
from harness.model.policy import ComponentPolicy
from harness.model.stack import Address
from harness.stack.search import Search
from harness.stack.search_retention import age_out

_DAY = 86_400
_SECONDS = 600.0
_AGES = (1.0, 89.0, 89.9, 91.2)
"""Days; on both sides of the edge, and none between 90 days and one index more, where either is right."""
_AGED_RECORDS = 10
_DRILL_DAYS = 3
_BATCH = 2_000
_REPOSITORY = "kept"
_SNAPSHOT = "all"
_EVIDENCE = "stand-in"


class OpenSearchKeeper:
    """Retention by the policy's own file; a snapshot in one folder, copied to another node's and restored there.

    A node takes seconds of a processor to start, so all that is asked of the store is asked of two nodes: one that is
    filled further and further, and one that is empty again before each restore.
    """

    kind = "elasticsearch"
    ages = True
    artifacts = ("opensearch",)

    def sizes(self, sizes: Sizes) -> tuple[int, ...]:
        """Documents; at night twenty times as many."""
        return sizes.of(1_000, 4_000, 12_000, full=20)

    async def retention(self, ground: Ground, component: ComponentPolicy) -> RetentionProbed:
        """Fills back-dated indices on both sides of the edge, ages them out as the policy says, and counts."""
        search, policy = _policy(ground)
        site = await ground.last(component, "filled", documents=ground.documents(search.folder), folder=search.folder)
        now = datetime.now(UTC)
        aged = []
        async with Search(site.address, within_seconds=_SECONDS) as store:
            lines = [line for days in _AGES for line in _aged_lines(policy, now, days)]
            await _bulk(store, lines)
            await age_out(site.address, policy, now, run=ground.run)
            await _refreshed(store, search.pattern)
            for days in _AGES:
                oldest, newest = _span(now, days)
                found = await store.done(
                    "POST", f"/{search.pattern}/_count",
                    {"query": {"range": {"@timestamp": {"gte": oldest.isoformat(), "lte": newest.isoformat()}}}},
                    what="The store did not count what is left",
                )  # fmt: skip
                ages = ((now - newest).total_seconds() / _DAY, (now - oldest).total_seconds() / _DAY)
                aged.append(AgedData(*ages, _AGED_RECORDS, int(found["count"])))
            await _emptied(store, search.pattern)
        return RetentionProbed(
            store=component.name,
            of_kind=self.kind,
            keeps=f"keep_days {policy.keep_days} of {policy.span.file}",
            unit="index",
            unit_days=1.0,
            told="whole daily indices leave, as often as the job of that file runs",
            aged=tuple(aged),
            evidence=_EVIDENCE,
        )

    async def restore(self, ground: Ground, component: ComponentPolicy, records: int) -> RestoreDrilled:
        """Fills the first node up to a size, snapshots it, copies the repository, restores it into the empty node."""
        search, policy = _policy(ground)
        documents = ground.documents(search.folder)
        origin = await ground.last(component, "filled", documents=documents, folder=search.folder)
        second = await ground.last(component, "restored", documents={})
        content = _Content(policy, datetime.now(UTC).date())
        name = f"{_REPOSITORY}-{records}"
        async with (
            Search(origin.address, within_seconds=_SECONDS) as store,
            Search(second.address, within_seconds=_SECONDS) as other,
        ):
            await _fill(store, search.pattern, content, records)
            began = time.monotonic()
            await _snapshot(store, search.pattern, name)
            backup_seconds = time.monotonic() - began
            await _emptied(other, search.pattern)
            backup = origin.data / "snapshots" / name
            size = await asyncio.to_thread(size_of, backup)
            began = time.monotonic()
            await copied(backup, second.data / "snapshots" / name)
            await self.put_back(second.address, name)
            await _count(other, search.pattern)
            restore_seconds = time.monotonic() - began
            found = await _compare(other, search.pattern, content, records)
            await blame(component, found, lambda: _compare(store, search.pattern, content, records))
        return found.drilled(
            component, size=size, backup_seconds=backup_seconds, restore_seconds=restore_seconds, evidence=_EVIDENCE
        )

    async def put_back(self, address: Address, name: str) -> None:
        """The restore itself: every index of a snapshot, into a node that has none of them."""
        async with Search(address, within_seconds=_SECONDS) as store:
            await _repository(store, name)
            done = await store.done(
                "POST", f"/_snapshot/{name}/{_SNAPSHOT}/_restore?wait_for_completion=true",
                {"include_global_state": False}, what="The store did not restore its snapshot",
            )  # fmt: skip
            _whole(done)


@dataclass(frozen=True, slots=True)
class _Content:
    """Documents by number, spread over the daily indices of the three days before a day."""

    policy: Retention
    day: date

    def document(self, number: int) -> tuple[str, dict[str, Any]]:
        """The index of a document, and the document."""
        day = self.day - timedelta(days=1 + number % _DRILL_DAYS)
        at = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(milliseconds=number)
        drawn = random.Random(number)
        return self.policy.index_of(day), {
            "@timestamp": at.isoformat(),
            "level": "ERROR" if number % 10 == 0 else "INFO",
            "message": f"{drawn.getrandbits(256):x} ünï \"quoted\" \\ back",
            "duration": drawn.random(),
            "userId": f"user-{drawn.randint(1, 500)}",
            "metadata": {"sequence": _sequence(number)},
        }  # fmt: skip

    def pieces(self, first: int, last: int) -> Iterator[list[tuple[str, dict[str, Any]]]]:
        """Documents of these numbers, `last` excluded, in pieces."""
        for start in range(first, last, _BATCH):
            yield [self.document(number) for number in range(start, min(start + _BATCH, last))]


def _policy(ground: Ground) -> tuple[SearchPolicy, Retention]:
    """What the policies say of the store and of its retention.

    Raises:
        StackError: they say nothing.
    """
    logs = ground.policies.logs
    if logs is None or logs.search is None or logs.search.retention is None:
        raise StackError(
            "The policies do not say how long logs are kept",
            expected="elasticsearch/retention.json beside the index template",
        )
    return logs.search, logs.search.retention


def _sequence(number: int) -> str:
    return f"kept/drill/{number:09d}"


def _span(now: datetime, days: float) -> tuple[datetime, datetime]:
    newest = now - timedelta(days=days)
    return newest - timedelta(seconds=_AGED_RECORDS - 1), newest


def _aged_lines(policy: Retention, now: datetime, days: float) -> Iterator[bytes]:
    oldest, _ = _span(now, days)
    for back in range(_AGED_RECORDS):
        at = oldest + timedelta(seconds=back)
        sequence = f"kept/aged-{days:g}/{back}"
        document = {"@timestamp": at.isoformat(), "level": "INFO", "metadata": {"sequence": sequence}}
        yield from _lines(policy.index_of(at.date()), document)


def _lines(index: str, document: dict[str, Any]) -> tuple[bytes, bytes]:
    action = {"index": {"_index": index, "_id": document["metadata"]["sequence"]}}
    return orjson.dumps(action), orjson.dumps(document)


async def _bulk(store: Search, lines: list[bytes]) -> None:
    """Writes documents; each must have been taken in.

    Raises:
        StackError: one was not.
    """
    reply = await store.ask("POST", "/_bulk", lines=b"\n".join((*lines, b"")))
    if reply.status != 200 or not isinstance(reply.body, dict) or reply.body.get("errors", True):
        raise StackError("The store did not take in what it was given", seen=reply.reason)


async def _fill(store: Search, pattern: str, content: _Content, records: int) -> None:
    """Adds documents up to a number: the store is filled further from drill to drill."""
    for piece in content.pieces(await _count(store, pattern), records):
        await _bulk(store, [line for index, document in piece for line in _lines(index, document)])
    await _refreshed(store, pattern)


async def _refreshed(store: Search, pattern: str) -> None:
    await store.done("POST", f"/{pattern}/_refresh", what="The store did not refresh its indices")


async def _count(store: Search, pattern: str) -> int:
    found = await store.done("GET", f"/{pattern}/_count", what="The store did not count its documents")
    return int(found["count"])


async def _emptied(store: Search, pattern: str) -> None:
    """Deletes every index of a pattern, by its whole name, from a node that is the drill's own."""
    found = await store.done("GET", f"/{pattern}/_mapping", what="The store does not tell its indices")
    for index in found:
        await store.done("DELETE", f"/{index}", what=f"The store did not delete {index}")


async def _repository(store: Search, name: str) -> None:
    body = {"type": "fs", "settings": {"location": name}}
    await store.done("PUT", f"/_snapshot/{name}", body, what="The store did not take a folder for snapshots")


async def _snapshot(store: Search, pattern: str, name: str) -> None:
    await _repository(store, name)
    done = await store.done(
        "PUT", f"/_snapshot/{name}/{_SNAPSHOT}?wait_for_completion=true",
        {"indices": pattern, "include_global_state": False}, what="The store did not take a snapshot",
    )  # fmt: skip
    _whole(done)


def _whole(done: Any) -> None:
    """A snapshot or a restore counts when every shard of it succeeded.

    Raises:
        StackError: one did not, or nothing tells.
    """
    try:
        shards = done["snapshot"]["shards"]
        whole = shards["failed"] == 0 and shards["successful"] == shards["total"]
    except (KeyError, TypeError):
        whole = False
    if not whole:
        raise StackError("Not every shard was saved or restored", seen=str(done)[:200])


async def _compare(store: Search, pattern: str, content: _Content, records: int) -> Comparison:
    """Every document, read in the order of its identity and held against what was generated."""
    await _refreshed(store, pattern)
    found = Comparison()
    after: str | None = None
    for piece in content.pieces(0, records):
        written = [_record(document) for _, document in piece]
        hits = await _page(store, pattern, after, last=written[-1][0])
        found.take(written, hits)
        after = written[-1][0]
    found.foreign += max(0, await _count(store, pattern) - records)
    return found


async def _page(store: Search, pattern: str, after: str | None, *, last: str) -> list[tuple[str, bytes]]:
    """The documents behind one identity and up to another, twice as many at most as there should be."""
    bounds = {"lte": last} if after is None else {"gt": after, "lte": last}
    body = {
        "size": 2 * _BATCH,
        "sort": [{"metadata.sequence": "asc"}],
        "query": {"range": {"metadata.sequence": bounds}},
        "track_total_hits": False,
    }
    answer = await store.done("POST", f"/{pattern}/_search", body, what="The store did not answer a search")
    try:
        return [_record(hit["_source"]) for hit in answer["hits"]["hits"]]
    except (KeyError, TypeError) as error:
        raise StackError("The store answered a search with something else", seen=str(answer)[:200]) from error


def _record(document: dict[str, Any]) -> tuple[str, bytes]:
    """A document by its identity, without what the ingest pipeline adds."""
    said = {name: value for name, value in document.items() if name != "event"}
    return str(document["metadata"]["sequence"]), orjson.dumps(said, option=orjson.OPT_SORT_KEYS)
