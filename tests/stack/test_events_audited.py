"""Events in ClickHouse's own engine are read in pages, held against what was announced, and never changed."""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiohttp import web
from event_sets import RUN, SCHEMAS, Kept, a_set, an_engine, damaged, doubled, fill, late, lost, mended
from stack_doubles import component, policies

from harness.bookkeeping import Bookkeeping, Provided
from harness.errors import HarnessError, StackError, UsageError
from harness.model.audit import AuditEvent, Fates, RecordsAudited, RecordsNotAudited
from harness.model.events import Payload
from harness.model.policy import ComponentPolicy
from harness.model.records import WITHDRAWN
from harness.model.stack import Address, Artifact
from harness.observe.records import tables
from harness.observe.records.of_clickhouse import LIBRARY, Look, audit_events, look_into
from harness.observe.records.tables import Rows
from harness.stack.clickhouse.client import Connection
from harness.stack.stack import Stack

NAMELESS = '{"timestamp": "2026-11-23T10:00:00.000Z"}'


@pytest.fixture(scope="module")
def engine(cache: Path, pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    """The engine, real and running; where it cannot be had the tests fail."""
    from harness.stack.provision.fetch import bring

    capture = pytestconfig.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        chdb: Artifact = bring(("chdb",), cache, lambda text: print(text, file=sys.stderr))["chdb"]  # noqa: T201
    with an_engine(chdb, tmp_path_factory.mktemp("clickhouse")) as at:
        yield at


async def audited(at: Address, folder: Path, database: str, **more: Any) -> dict[str, AuditEvent]:
    """The audit of a run's events, by source."""
    found = await audit_events(
        at, tuple(SCHEMAS.values()), folder, **{"database": database, "since": 0, "until": 1e18, "run": RUN, **more}
    )
    return {one.source: one for one in found}


CHANGES = {
    ("user", 1): lost,
    ("user", 2): lost,
    ("security", 3): doubled,
    ("security", 4): damaged,
    ("performance", 5): late,
    ("performance", 6): mended,
    ("performance", 7): damaged,
}
EXPECTED = {
    "user": Fates(written=40, in_time=38, lost=2),
    "security": Fates(written=40, in_time=38, duplicate=1, corrupt=1),
    "performance": Fates(written=40, in_time=37, late=1, duplicate=1, corrupt=1),
}


@pytest.mark.stack
class TestRealEngine:
    """The policy's own tables in ClickHouse's own engine."""

    async def test_every_event_gets_its_fate(
        self, engine: Address, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """In pages of seven; what happened on the way is counted so, and what stands in is told."""
        monkeypatch.setattr(tables, "PAGE", 7)
        kept = a_set(40, CHANGES)
        kept.write(tmp_path / "manifests")
        await fill(engine, "fates", kept)
        found = await audited(engine, tmp_path / "manifests", "fates")
        assert {source: getattr(one, "fates", one) for source, one in found.items()} == EXPECTED
        for one in found.values():
            assert isinstance(one, RecordsAudited)
            assert one.control.exact
            assert one.stands_in == {"for": "ClickHouse", "is": LIBRARY}
            assert one.store.startswith(f"{LIBRARY} 2")
            assert one.delay_p50_seconds == pytest.approx(1.5, abs=0.01)
            assert one.doubts == ()
        security = found["security"]
        assert isinstance(security, RecordsAudited)
        assert (security.surplus, security.examples["corrupt"]) == (2, (f"{RUN}/security.lane-01.1/4",))
        assert not list(tmp_path.glob("audit-*"))

    async def test_where_nothing_went_wrong_nothing_is_told(self, engine: Address, tmp_path: Path) -> None:
        """The twin; rows of other runs, of nobody and without identity are not ours."""
        kept = a_set(10)
        manifests = kept.write(tmp_path / "manifests")
        foreign = a_set(3, {(kind, number): as_another for kind in SCHEMAS for number in (1, 2, 3)})
        kept.rows["user"] += [*foreign.rows["user"], {"record": NAMELESS, "ingested": "1"}]
        stray = a_set(11).rows["user"][-1]
        kept.rows["user"].append(stray)
        await fill(engine, "whole", kept)
        found = await audited(engine, tmp_path / "manifests", "whole")
        assert {getattr(one, "fates", None) for one in found.values()} == {Fates(written=10, in_time=10)}
        assert [getattr(found[kind], "unannounced", None) for kind in ("user", "security")] == [1, 0]
        last = (await look_into(engine, tuple(SCHEMAS.values()), manifests, Look(Rows("whole"), work=tmp_path)))[0]
        assert isinstance(last, RecordsAudited)
        assert last.fates.in_time == 10

    async def test_what_was_announced_just_now_is_waited_for(self, engine: Address, tmp_path: Path) -> None:
        """An event that is not there yet keeps us waiting until its time is over; one taken back does not."""
        kept = a_set(5, {("user", 1): lost}, ago=58.5)
        kept.write(tmp_path / "manifests")
        await fill(engine, "waiting", kept)
        found = await audited(engine, tmp_path / "manifests", "waiting")
        ended = time.time()
        assert getattr(found["user"], "fates", None) == Fates(written=5, in_time=4, lost=1)
        assert ended >= kept.announced[0].at + 60
        young = a_set(5, {("user", 1): lost}, ago=0.0)
        young.announced.append(replace(young.announced[0], level=WITHDRAWN))
        young.write(tmp_path / "young")
        await fill(engine, "young", young)
        found = await audited(engine, tmp_path / "young", "young")
        assert time.time() < young.announced[-1].at + 50
        assert getattr(found["user"], "fates", None) == Fates(written=4, in_time=4)

    async def test_rows_of_one_insert_have_no_order(self, engine: Address, tmp_path: Path) -> None:
        """All of them bear one instant: 10 does not stand before 9, in pages of seven neither; a real turn is told."""
        kept = a_set(30)
        for row in kept.rows["user"]:
            row["ingested"] = kept.rows["user"][0]["ingested"]
        kept.rows["security"][0]["ingested"] = kept.rows["security"][9]["ingested"]
        kept.write(tmp_path / "manifests")
        await fill(engine, "ordered", kept)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(tables, "PAGE", 7)
            found = await audited(engine, tmp_path / "manifests", "ordered")
        turned = {source: getattr(one, "order_inversions", None) for source, one in found.items()}
        assert turned == {"user": 0, "security": 1, "performance": 0}

    async def test_a_page_ends_with_all_copies_of_its_last_row(self, engine: Address, tmp_path: Path) -> None:
        """Pages of one row: copies that were inserted at one instant are all read, and none of them twice."""
        kept = a_set(3, {("user", 2): doubled})
        kept.write(tmp_path / "manifests")
        await fill(engine, "ties", kept)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(tables, "PAGE", 1)
            found = (await audited(engine, tmp_path / "manifests", "ties"))["user"]
        assert isinstance(found, RecordsAudited)
        assert (found.found, found.surplus, found.fates.duplicate) == (5, 2, 1)

    async def test_only_the_window_is_audited(self, engine: Address, tmp_path: Path) -> None:
        """What was announced before or after it is neither found nor missed."""
        kept = a_set(10, {("user", 1): lost, ("user", 9): lost})
        kept.write(tmp_path / "manifests")
        await fill(engine, "window", kept)
        instants = [one.at for one in kept.announced if one.source == "user"]
        found = await audited(
            engine, tmp_path / "manifests", "window", since=instants[1] - 0.0005, until=instants[8] - 0.0005
        )
        assert getattr(found["user"], "fates", None) == Fates(written=7, in_time=7)

    async def test_a_database_that_cannot_be_audited_is_a_sentence(self, engine: Address, tmp_path: Path) -> None:
        """None at all, one without tables of events, a table without what an audit needs."""
        manifests = a_set(3).write(tmp_path / "manifests")
        async with Connection(engine) as connection:
            for statement in (
                "CREATE DATABASE bare",
                "CREATE DATABASE odd",
                "CREATE TABLE odd.user_events (record String, ingested DateTime) ENGINE = Memory",
            ):
                await connection.run(statement, what=statement)
        for database, told in (
            ("nowhere", "has no table of records"),
            ("bare", "has no table of records"),
            ("odd", "the table user_events in the database 'odd'"),
        ):
            with pytest.raises(UsageError, match=told):
                await look_into(engine, tuple(SCHEMAS.values()), manifests, Look(Rows(database), work=tmp_path))
            found = await audited(engine, tmp_path / "manifests", database)
            [gap] = found.values()
            assert isinstance(gap, RecordsNotAudited)
            assert gap.why.startswith("events: ")
            assert told in gap.why
            assert "\n" not in gap.why

    async def test_without_announcements_nothing_is_audited(self, engine: Address, tmp_path: Path) -> None:
        """Manifests of logs are another store's."""
        kept = a_set(3)
        await fill(engine, "silent", kept)
        (tmp_path / "manifests").mkdir()
        (tmp_path / "manifests" / "application.lane-01.1.tsv").write_text("r/e/1\t1\tapplication\tlane-01\t\t-\n")
        [gap] = (await audited(engine, tmp_path / "manifests", "silent")).values()
        assert gap == RecordsNotAudited("no manifest announces any record")

    async def test_a_run_audits_its_events(self, engine: Address, tmp_path: Path) -> None:
        """Where its collector and its ClickHouse are there, in the database that the collector's unit names."""
        kept = a_set(5, {("user", 1): lost})
        kept.write(tmp_path / "manifests")
        await fill(engine, "booked", kept)
        told = await booked(tmp_path, engine, provided=EVENTS)
        fates = {one.source: one.fates for one in told if isinstance(one, RecordsAudited)}
        whole = Fates(written=5, in_time=5)
        assert fates == {"user": Fates(written=5, in_time=4, lost=1), "security": whole, "performance": whole}
        assert len(told) == 3


EVENTS = (
    component("event-collector", "event-collector", "python -m collector --clickhouse.database booked", per_lane=False),
    component("clickhouse", "clickhouse", per_lane=False),
)


async def booked(
    folder: Path, at: Address, *, provided: tuple[ComponentPolicy, ...], why_not: Mapping[str, str] | None = None
) -> list[Payload]:
    """What a run writes of its events, of whose components these are there."""
    told: list[Payload] = []
    schemas = tuple(SCHEMAS.values())
    had = Provided(replace(policies(*provided), records=schemas), {}, why_not or {})
    books = Bookkeeping(RUN, folder, replace(policies(*EVENTS), records=schemas), had, told.append, 1)
    books._since = 0.0  # the events of the test were announced before
    layout = SimpleNamespace(site=lambda _name: SimpleNamespace(address=at))
    await books.audit(cast("Stack", SimpleNamespace(layout=layout)))
    return told


@pytest.mark.parametrize(
    ("provided", "why_not", "told"),
    [
        (EVENTS[:1], {"chdb": "chdb cannot be brought"}, "events: chdb cannot be brought"),
        (EVENTS[1:], {}, "events: no event-collector is declared"),
        (EVENTS, {}, "events: the folder of manifests"),
    ],
)
async def test_a_run_says_why_it_did_not_audit_its_events(
    tmp_path: Path, provided: tuple[ComponentPolicy, ...], why_not: Mapping[str, str], told: str
) -> None:
    """The engine could not be brought, nobody collects, nothing was announced."""
    [gap] = await booked(tmp_path, Address("127.0.0.1", 9), provided=provided, why_not=why_not)
    assert isinstance(gap, RecordsNotAudited)
    assert gap.why.startswith(told)


def as_another(kept: Kept, one: dict[str, Any], at: float) -> None:
    """It belongs to another run."""
    metadata = {**one["metadata"], "sequence": f"other{one['metadata']['sequence']}"}
    kept.keep({**one, "metadata": metadata}, at)


@asynccontextmanager
async def answering(status: int, body: str, **headers: str) -> AsyncIterator[Address]:
    """Something that answers everything like this."""

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(status=status, text=body, headers={k.replace("_", "-"): v for k, v in headers.items()})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.01)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield Address("127.0.0.1", runner.addresses[0][1])
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(
    ("status", "body", "headers", "told"),
    [
        (200, "18.16.1\n", {"X_ClickHouse_Server_Display_Name": "db"}, "is too old"),
        (200, "{}", {}, "is not ClickHouse"),
        (405, "no", {}, "is not ClickHouse"),
        (403, "Code: 516. DB::Exception: no", {"X_ClickHouse_Exception_Code": "516"}, "does not let us in"),
        (500, "Code: 241. DB::Exception: memory", {"X_ClickHouse_Exception_Code": "241"}, "Code: 241"),
    ],
    ids=["old", "other", "405", "credentials", "refusal"],
)
async def test_what_is_no_clickhouse_of_ours_is_a_sentence(
    tmp_path: Path, status: int, body: str, headers: dict[str, str], told: str
) -> None:
    """Raised for who asked for it, an event for a run."""
    manifests = a_set(1).write(tmp_path / "manifests")
    async with answering(status, body, **headers) as at:
        with pytest.raises(StackError, match=told):
            await look_into(at, tuple(SCHEMAS.values()), manifests, Look(Rows("d"), work=tmp_path))
        [gap] = (await audited(at, tmp_path / "manifests", "d")).values()
    assert isinstance(gap, RecordsNotAudited)
    assert told in gap.why


async def test_nobody_there_is_a_sentence(tmp_path: Path) -> None:
    """So are manifests that are not."""
    manifests = a_set(1).write(tmp_path / "manifests")
    with pytest.raises(HarnessError, match="cannot be asked"):
        await look_into(Address("127.0.0.1", 9), tuple(SCHEMAS.values()), manifests, Look(Rows("d"), work=tmp_path))
    [gap] = (await audited(Address("127.0.0.1", 9), tmp_path / "nowhere", "d")).values()
    assert isinstance(gap, RecordsNotAudited)
    assert "cannot be read" in gap.why
