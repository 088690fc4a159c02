"""A store is read in pages, waited for, asked politely, and never written to."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import orjson
import pytest
from fake_store import FakeStore, serving
from record_sets import RUN, SCHEMA, announced, of_source, record, stored, write_manifest

from harness.errors import HarnessError, StackError, UsageError
from harness.model.audit import AuditEvent, Fates, RecordsNotAudited
from harness.model.stack import Address
from harness.observe.records import store as reading
from harness.observe.records.of_store import Look, audit_store, look_at
from harness.stack.search import Credentials


def written(folder: Path, count: int, *, ago: float) -> tuple[Path, list[dict[str, Any]]]:
    """So many records, announced so long ago and taken by the store half a second later."""
    began = time.time() - ago
    records = [record(number, at=began) for number in range(1, count + 1)]
    write_manifest(folder / "manifests", [announced(one, began) for one in records])
    return folder / "manifests", [orjson.loads(stored(one, began + 0.5)) for one in records]


async def audited(address: Address, manifests: Path, **more: Any) -> tuple[AuditEvent, ...]:
    """The audit of a run's store."""
    return await audit_store(
        address, (SCHEMA,), manifests, index_pattern="logs-*", since=0, until=1e18, run=RUN, **more
    )


@pytest.mark.parametrize(("product", "version"), [("opensearch", "2.19.5"), ("elasticsearch", "8.13.0")])
async def test_a_store_is_read_in_pages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, product: str, version: str
) -> None:
    """Both products; every page is asked for, what stood in is told, and nothing was asked that could write."""
    monkeypatch.setattr(reading, "PAGE", 7)
    manifests, records = written(tmp_path, 30, ago=100)
    store = FakeStore([*records[:12], *records[13:]], product, version)
    async with serving(store) as address:
        event = of_source(await audited(address, manifests))
    assert event.fates == Fates(written=30, in_time=29, lost=1)
    assert event.control.exact
    assert event.delay_max_seconds == pytest.approx(1.5, abs=0.01)
    assert event.stands_in == ({"for": "Elasticsearch", "is": "OpenSearch"} if product == "opensearch" else {})
    assert store.requests.count("POST /_search") == 5
    written_to = [one for one in store.requests if one.startswith(("PUT", "DELETE"))]
    assert written_to == [f"DELETE /{'_search/point_in_time' if product == 'opensearch' else '_pit'}"]
    assert store.queries[0]["bool"]["filter"][0]["bool"]["should"] == [{"prefix": {"metadata.sequence": f"{RUN}/"}}]
    assert not list(tmp_path.glob("audit-*"))


@pytest.mark.parametrize(
    ("store", "told"),
    [
        (FakeStore([], greets_as="7.10.2"), "OpenSearch 2.19.5"),
        (FakeStore([], "elasticsearch", "7.10.2"), "Elasticsearch 7.10.2"),
    ],
    ids=["plays Elasticsearch", "is Elasticsearch"],
)
async def test_the_report_names_what_was_asked(tmp_path: Path, store: FakeStore, told: str) -> None:
    """Not the version that OpenSearch greets Filebeat with; Elasticsearch of that version is told as what it is."""
    manifests, store.records = written(tmp_path, 3, ago=100)
    async with serving(store) as address:
        event = of_source(await audited(address, manifests))
    assert event.store == told


async def test_what_was_announced_just_now_is_waited_for(tmp_path: Path) -> None:
    """The store shows the last records at the fourth look; without waiting they would be read before."""
    manifests, records = written(tmp_path, 10, ago=0)
    store = FakeStore(records, hidden=3)
    async with serving(store) as address:
        event = of_source(await audited(address, manifests))
    assert event.fates == Fates(written=10, in_time=10)
    assert store.requests.count("POST /logs-*/_count") == 1
    assert store.requests.count("POST /logs-*/_search") == 3


async def test_nobody_waits_for_what_was_lost_long_ago(tmp_path: Path) -> None:
    """One of 70 s ago is missing for ever, those of just now are all there: the store is read at the first look."""
    now = time.time()
    records = [record(number, at=now - (70 if number <= 5 else 0)) for number in range(1, 11)]
    instants = [now - (70 if number <= 5 else 0) for number in range(1, 11)]
    write_manifest(tmp_path / "manifests", map(announced, records, instants))
    there = [orjson.loads(stored(one, at + 0.5)) for one, at in zip(records[1:], instants[1:], strict=True)]
    store = FakeStore(there)
    async with serving(store) as address:
        event = of_source(await audited(address, tmp_path / "manifests"))
    assert event.fates == Fates(written=10, in_time=9, lost=1)
    assert store.requests.count("POST /logs-*/_search") == 1


async def test_waiting_ends_with_the_allowance(tmp_path: Path) -> None:
    """What is not there then is lost; nobody waits for ever."""
    manifests, records = written(tmp_path, 10, ago=70)
    async with serving(FakeStore(records[:8])) as address:
        event = of_source(await audited(address, manifests))
    assert event.fates == Fates(written=10, in_time=8, lost=2)


async def test_an_index_that_refreshes_when_told_is_found_when_it_is_found(tmp_path: Path) -> None:
    """There only the look itself says since when a record can be found."""
    manifests, records = written(tmp_path, 10, ago=70)
    async with serving(FakeStore(records, refresh="-1")) as address:
        event = of_source(await audited(address, manifests))
    assert event.fates == Fates(written=10, late=10)


@pytest.mark.parametrize(
    ("store", "error", "told"),
    [
        (FakeStore([]), UsageError, "has no index logs-"),
        (FakeStore([{}], fields={"metadata.sequence": {"text": {}}}), UsageError, "cannot be found by their identity"),
        (FakeStore([{}], version="6.8.0", product="elasticsearch"), StackError, "Elasticsearch 6.8.0"),
        (FakeStore([{}], password="x"), StackError, "does not let us in"),
        (FakeStore([{}], short=2), StackError, "gave 1 of 3 records"),
    ],
    ids=["no index", "no keyword", "old", "credentials", "short"],
)
async def test_a_store_that_cannot_be_audited_is_a_sentence(
    tmp_path: Path, store: FakeStore, error: type[HarnessError], told: str
) -> None:
    """Raised for who asked for this store, an event for a run."""
    manifests, _ = written(tmp_path, 1, ago=100)
    async with serving(store) as address:
        with pytest.raises(error, match=told):
            await look_at(address, (SCHEMA,), [*manifests.iterdir()], Look("logs-*", work=tmp_path))
        (gap,) = await audited(address, manifests)
    assert isinstance(gap, RecordsNotAudited)
    assert told in gap.why
    assert "\n" not in gap.why


async def test_a_store_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    """So are manifests that are not."""
    manifests, _ = written(tmp_path, 1, ago=100)
    (gap,) = await audited(Address("127.0.0.1", 9), manifests)
    assert isinstance(gap, RecordsNotAudited)
    assert "cannot be asked" in gap.why
    (gap,) = await audited(Address("127.0.0.1", 9), tmp_path / "nowhere")
    assert isinstance(gap, RecordsNotAudited)
    assert "cannot be read" in gap.why


async def test_the_right_password_opens(tmp_path: Path) -> None:
    """The twin of the refusal above."""
    manifests, records = written(tmp_path, 5, ago=100)
    look = Look("logs-*", credentials=Credentials("tocsin", "secret"), work=tmp_path)
    async with serving(FakeStore(records, password="secret")) as address:
        events = await look_at(address, (SCHEMA,), [*manifests.iterdir()], look)
    assert of_source(events).fates == Fates(written=5, in_time=5)


async def test_manifests_of_other_stores_are_left_alone(tmp_path: Path) -> None:
    """Events go elsewhere: their manifests lie in the same folder, and nobody misses them here."""
    manifests, records = written(tmp_path, 5, ago=100)
    (manifests / "security.lane-01.1.tsv").write_text(f"{RUN}/security.lane-01.1/1\t1\tsecurity\tlane-01\t\t-\n")
    async with serving(FakeStore(records)) as address:
        events = await audited(address, manifests)
    assert [getattr(one, "source", "") for one in events] == ["application"]
