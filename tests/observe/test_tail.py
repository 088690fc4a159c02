"""The live tail: what becomes visible late is not lost, nothing comes twice, and what is heard is held against."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from record_sets import RUN, announced, instant, record, write_manifest

from harness.errors import StackError, UsageError
from harness.model.logs import SearchPolicy
from harness.model.stack import Address
from harness.observe.records import tail as tailing
from harness.observe.records.announcements import Announcements
from harness.observe.records.matching import OfDocument
from harness.observe.records.tail import Filters, Tail
from harness.observe.records.tailing import Heard, _Trial
from harness.stack.search import Search

BEGAN = 1_800_000_000.0
FIELDS = {"level": "keyword", "message": "text", "error.message": "text"}
POLICY = SearchPolicy("e", "e/t", None, "logs", "logs-*", "", timedelta(seconds=1), None, None, FIELDS)


class Shelf:
    """A store whose records become visible when they are put here."""

    def __init__(self) -> None:
        self.address = Address("127.0.0.1", 9)
        self.hits: list[dict[str, Any]] = []

    def put(self, number: int, ingested: float) -> None:
        """A record becomes visible that was taken in at an instant."""
        whole = {**record(number), "event": {"ingested": instant(ingested)}}
        hit = {"_id": f"d{number}", "_source": whole, "sort": [ingested, number], "at": ingested}
        self.hits = sorted([*self.hits, hit], key=lambda one: one["sort"])

    async def done(self, _: str, __: str, body: Mapping[str, Any], *, what: str) -> Any:
        """Answers the two requests of a tail."""
        assert what
        if "aggs" in body:
            return {"aggregations": {"newest": {"value": max((one["at"] for one in self.hits), default=0) * 1000}}}
        since = body["query"]["bool"]["filter"][1]["range"]["event.ingested"]["gte"] / 1000
        after = body.get("search_after", [0, 0])
        hits = [one for one in self.hits if one["at"] >= since and one["sort"] > after]
        return {"hits": {"hits": hits[: body["size"]]}}


async def look(tail: Tail) -> list[int]:
    """The numbers of the new records."""
    return [int(line.name.rpartition("/")[2]) async for line in tail.new()]


async def test_what_becomes_visible_late_is_delivered_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A record that was stamped before another and shown after it, over pages. Without looking back it is lost."""
    monkeypatch.setattr(tailing, "PAGE", 2)
    for overlap, late in ((5.0, [3]), (0.0, [])):
        monkeypatch.setattr(tailing, "OVERLAP_SECONDS", overlap)
        shelf = Shelf()
        shelf.put(1, BEGAN)
        tail = Tail(cast("Search", shelf), POLICY, Filters())
        await tail.open()
        assert await look(tail) == []
        for number in (4, 5, 6, 7, 8):
            shelf.put(number, BEGAN + 3 + number / 1000)
        assert await look(tail) == [4, 5, 6, 7, 8]
        shelf.put(3, BEGAN + 2.5)
        assert await look(tail) == late
        assert await look(tail) == []


async def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is older than is looked back is forgotten; too much at once ends the tail with a sentence."""
    shelf = Shelf()
    tail = Tail(cast("Search", shelf), POLICY, Filters())
    await tail.open()
    for number in range(1, 200):
        shelf.put(number, BEGAN + number)
        assert await look(tail) == [number]
    assert len(tail._seen) < 10
    monkeypatch.setattr(tailing, "MOST_SEEN", 5)
    for number in range(200, 210):
        shelf.put(number, BEGAN + 200)
    with pytest.raises(StackError, match="More records come than"):
        await look(tail)


def test_filters() -> None:
    """By level, lane and source as keywords, by words in any text; others are refused."""
    filters = Filters.of({"level": "ERROR", "text": "deadlock found"})
    assert str(filters) == "level=ERROR text=deadlock found"
    first, second = filters.query(FIELDS)["bool"]["filter"]
    assert first == {"term": {"level": "ERROR"}}
    assert second["multi_match"]["fields"] == ["error.message", "message"]
    assert str(Filters.of({})) == "all"
    with pytest.raises(UsageError, match="knows no filter 'levle'"):
        Filters.of({"levle": "ERROR"})


def test_what_was_heard_is_held_against_what_was_announced(tmp_path: Path) -> None:
    """Everything once, then the twins: one missing, one twice, one that nobody announced, one of another level."""
    records = [record(number) for number in range(1, 31)]
    write_manifest(tmp_path, [announced(one, BEGAN + 1) for one in records])
    names = [one["metadata"]["sequence"] for one in records]
    told = Announcements(tmp_path, frozenset({"application"}), frozenset())

    def held(filters: Filters, *heard: str) -> tuple[int, ...]:
        one = Heard(filters)
        for name in heard:
            one.at.setdefault(name, BEGAN + 2.5)
            one.times[name] += 1
        documents = {name: OfDocument(each) for name, each in zip(names[:20], records, strict=False)}
        trial = _Trial(Address("h", 1), POLICY, [], tmp_path, RUN, [one], documents)
        [event] = trial.held(told, 3.0)
        assert event.delay_max_seconds in {1.5, None}
        return event.expected, event.missing, event.twice, event.foreign

    assert held(Filters(), *names[:20]) == (20, 0, 0, 0)
    assert held(Filters(), *names) == (20, 0, 0, 0)
    assert held(Filters(), *names[1:20]) == (20, 1, 0, 0)
    assert held(Filters(), *names[:20], names[3]) == (20, 0, 1, 0)
    assert held(Filters(), *names[:20], f"{RUN}/application.lane-01.9/1") == (20, 0, 0, 1)
    assert held(Filters(level="ERROR"), names[9], names[19], names[29]) == (2, 0, 0, 0)
    assert held(Filters(level="ERROR"), names[9], names[19], names[0], names[28]) == (2, 0, 0, 2)
    assert held(Filters(level="ERROR")) == (2, 2, 0, 0)
