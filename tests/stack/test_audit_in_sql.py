"""The audit as SQL, run by ClickHouse's own engine: the same answers as the audit in Python, whatever went wrong."""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from event_sets import POLICIES, RUN, SCHEMAS, Change, a_set, an_engine, damaged, doubled, fill, late, lost, mended

from harness.cli import main
from harness.errors import StackError, UsageError
from harness.model.audit import AuditControl, AuditEvent, Fates, FaultWindow, RecordsAudited
from harness.model.records import UNKNOWN_DIGEST, WITHDRAWN
from harness.model.stack import Address, Artifact
from harness.observe.records import in_sql
from harness.observe.records.of_clickhouse import Look, look_into
from harness.observe.records.spoiling import Drawn, spoilt
from harness.observe.records.tables import Rows
from harness.stack.clickhouse.client import Connection


@pytest.fixture(scope="module")
def engine(cache: Path, pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    """The engine, real and running; where it cannot be had the tests fail."""
    from harness.stack.provision.fetch import bring

    capture = pytestconfig.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        chdb: Artifact = bring(("chdb",), cache, lambda text: print(text, file=sys.stderr))["chdb"]  # noqa: T201
    with an_engine(chdb, tmp_path_factory.mktemp("clickhouse")) as at:
        yield at


def alike(event: AuditEvent) -> AuditEvent:
    """An audit without that in which the two ways are not alike: how long they took, what they drew and say."""
    assert isinstance(event, RecordsAudited)
    examples = {fate: tuple(sorted(names)) for fate, names in event.examples.items() if fate != "in_time"}
    return replace(event, seconds=0.0, fetch_seconds=0.0, doubts=(), control=AuditControl(0, 0, 0), examples=examples)


async def in_both_ways(
    at: Address, manifests: tuple[Path, ...], look: Look
) -> tuple[list[AuditEvent], list[AuditEvent]]:
    """The audit in Python, and the one in SQL."""
    schemas = tuple(SCHEMAS.values())
    expected = await look_into(at, schemas, manifests, look)
    async with Connection(at) as connection:
        told = await in_sql.audit_in_sql(connection, schemas, manifests, look)
        left = await connection.rows("SELECT name FROM system.databases WHERE name LIKE 'tocsin%'", what="databases")
    assert left == []
    return list(expected), list(told)


@pytest.mark.stack
class TestRealEngine:
    """Both ways over the same rows of the policy's own tables."""

    async def test_the_answers_are_the_same(self, engine: Address, tmp_path: Path) -> None:
        """Lost, doubled, damaged, late, taken back, without a digest, out of order, of nobody, under a fault."""
        changes = {
            ("user", 1): lost, ("user", 2): lost, ("user", 3): lost, ("user", 4): damaged,
            ("security", 3): doubled, ("security", 4): damaged,
            ("performance", 5): late, ("performance", 6): mended, ("performance", 7): damaged,
        }  # fmt: skip
        kept = a_set(40, changes)
        for index, one in enumerate(kept.announced):
            if one.source == "user" and one.identity.endswith(("/4", "/5")):
                kept.announced[index] = replace(one, digest=UNKNOWN_DIGEST)
        first = next(one for one in kept.announced if one.source == "user")
        kept.announced.append(replace(first, level=WITHDRAWN))
        kept.rows["user"].append(a_set(41).rows["user"][-1])
        manifests = kept.write(tmp_path / "manifests")
        await fill(engine, "alike", kept)
        windows = (
            FaultWindow("late", "", first.at + 0.0005, first.at + 0.0105),
            FaultWindow("elsewhere", "b", 0, 1e18),
        )
        look = Look(Rows("alike", RUN), windows=windows, work=tmp_path)
        expected, told = await in_both_ways(engine, manifests, look)
        for here, there in zip(told, expected, strict=True):
            assert asdict(alike(here)) == asdict(alike(there))
        by_source = {one.source: one for one in told if isinstance(one, RecordsAudited)}
        assert by_source["user"].fates == Fates(written=39, in_time=37, lost=2)
        assert by_source["security"].fates == Fates(written=40, in_time=38, duplicate=1, corrupt=1)
        assert by_source["performance"].fates == Fates(written=40, in_time=37, late=1, duplicate=1, corrupt=1)
        assert all(one.control.exact for one in by_source.values())

    async def test_digests_are_clickhouse_s_own(
        self, engine: Address, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Texts of every length around a block's: none is a suspect; of damaged ones none passes."""
        read: list[bytes] = []

        async def unread(*_: object) -> AsyncIterator[bytes]:
            for line in read:
                yield line

        monkeypatch.setattr(in_sql._Side, "_checked", unread)
        plain = a_set(260, {("user", 3): damaged, ("user", 4): lost}, agent=lambda number: "ü/" + "x" * (number - 3))
        manifests = plain.write(tmp_path / "manifests")
        await fill(engine, "lengths", plain)
        told = await in_sql.count_events(
            engine, tuple(SCHEMAS.values()), manifests, Look(Rows("lengths"), work=tmp_path)
        )
        fates = {one.source: one.fates for one in told if isinstance(one, RecordsAudited)}
        whole = Fates(written=260, in_time=260)
        assert fates.pop("user") == Fates(written=260, in_time=258, corrupt=1, lost=1)
        assert fates == {"security": whole, "performance": whole}

    @pytest.mark.parametrize(
        ("right", "wrong"),
        [
            ("whole = 0, 'corrupt',", ""),
            pytest.param("copies = 1, 'in_time',", "copies > 0, 'in_time',", marks=pytest.mark.nightly),
            pytest.param("'lost', 'unverified'", "'in_time', 'unverified'", marks=pytest.mark.nightly),
        ],
        ids=["damaged", "doubled", "missing"],
    )
    async def test_a_wrong_statement_is_found_out_by_the_control(
        self, engine: Address, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, right: str, wrong: str
    ) -> None:
        """The twin: an audit that takes damaged, doubled or missing records for good says so of itself."""
        kept = a_set(8)
        manifests = kept.write(tmp_path / "manifests")
        database = f"wrong_{len(wrong)}"
        await fill(engine, database, kept)
        original = in_sql._statements

        def changed(which: str) -> list[str]:
            made = original(which)
            assert which != "fates" or right in made[0]
            return [one.replace(right, wrong) for one in made] if which == "fates" else made

        monkeypatch.setattr(in_sql, "_statements", changed)
        look = Look(Rows(database), work=tmp_path)
        told = await in_sql.count_events(engine, tuple(SCHEMAS.values()), manifests, look)
        assert len(told) == 3
        assert not any(isinstance(one, RecordsAudited) and one.control.exact for one in told)

    async def test_a_database_that_is_there_is_left_alone(self, engine: Address, tmp_path: Path) -> None:
        """It is somebody else's, whatever it is called."""
        kept = a_set(3)
        manifests = kept.write(tmp_path / "manifests")
        await fill(engine, "guests", kept)
        look, schemas = Look(Rows("guests"), work=tmp_path), tuple(SCHEMAS.values())
        async with Connection(engine) as connection:
            await connection.run("CREATE DATABASE tocsin_run", what="theirs")
            await connection.run("CREATE TABLE tocsin_run.fates (a Int8) ENGINE = Memory", what="theirs")
            with pytest.raises(UsageError, match="has a database tocsin_run already"):
                await in_sql.audit_in_sql(connection, schemas, manifests, look)
            assert await connection.rows("SHOW TABLES FROM tocsin_run", what="theirs") == [["fates"]]
            await connection.run("DROP DATABASE tocsin_run", what="theirs")

    async def test_whatever_happens_nothing_is_left(
        self, engine: Address, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A refusal in the middle is an error with the statement's name, and the database is gone."""
        manifests = a_set(3).write(tmp_path / "manifests")
        await fill(engine, "refused", a_set(3))
        original = in_sql._statements
        monkeypatch.setattr(in_sql, "_statements", lambda name: ["SELECT x"] if name == "fates" else original(name))
        async with Connection(engine) as connection:
            with pytest.raises(StackError, match=r"The audit fails \(fates.sql\)"):
                await in_sql.audit_in_sql(
                    connection, tuple(SCHEMAS.values()), manifests, Look(Rows("refused"), work=tmp_path)
                )
            assert await connection.rows("SELECT name FROM system.databases WHERE name LIKE 'tocsin%'", what="x") == []

    @pytest.mark.parametrize(
        ("way", "changes", "code"),
        [
            ([], {("user", 1): lost}, 1),
            (["--in-sql"], {("user", 1): lost}, 1),
            pytest.param(["--in-sql"], {}, 0, marks=pytest.mark.nightly),
        ],
        ids=["python", "sql", "sql, whole"],
    )
    async def test_the_command(
        self,
        engine: Address,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        way: list[str],
        changes: Mapping[tuple[str, int], Change],
        code: int,
    ) -> None:
        """`tocsin audit` in either way; manifests of logs in the same folder are not ClickHouse's affair."""
        monkeypatch.setenv("TOCSIN_CACHE", str(tmp_path / "cache"))
        kept = a_set(10, changes)
        kept.write(tmp_path / "manifests")
        (tmp_path / "manifests" / "application.lane-01.1.tsv").write_text("run/e/1\t1\tapplication\tlane-01\t\t-\n")
        database = f"command_{code}_{len(way)}"
        await fill(engine, database, kept)
        arguments = ["--policies", str(POLICIES), "--manifests", str(tmp_path / "manifests"), "--format", "json"]
        where = ["--store", f"http://{engine}", "--database", database, "--output", str(tmp_path / "told.json")]
        assert await asyncio.to_thread(main, ["audit", *arguments, *where, *way]) == code
        told = json.loads((tmp_path / "told.json").read_text())
        assert (told["written"], told["lost"], told["verdict"]) == (30, code, "fail" if code else "pass")
        assert [one["source"] for one in told["by_source"]] == ["performance", "security", "user"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--manifests", "m", "--store", "http://127.0.0.1:9", "--in-sql"],
        ["--manifests", "m", "--records", "r", "--database", "d"],
    ],
)
def test_a_database_without_a_store_is_a_sentence(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Usage, exit code 2."""
    assert main(["audit", *arguments]) == 2
    assert "it is not clear which ClickHouse to audit" in capsys.readouterr().err


def test_a_control_needs_three_records_and_tells_what_was_counted() -> None:
    """Two can be spoilt in no three ways; a wrong count is told."""
    drawn = [Drawn(f"run/user.b.1/{n}", 1.0, "user", "", "d", "in_time", '{"userAgent":"x"}', "1") for n in range(4)]
    few = spoilt(drawn[:2], SCHEMAS, 1)
    assert (few.rows, few.judged("user", Counter())) == (
        [], AuditControl(0, 0, 0, "only 2 whole records could be drawn for it"),
    )  # fmt: skip
    made = spoilt(drawn, SCHEMAS, 1)
    assert len(made.rows) == 4
    right = Counter(lost=1, corrupt=1, duplicate=1, in_time=1)
    assert made.judged("user", right) == AuditControl(1, 1, 1)
    assert "counted 4 in_time" in made.judged("user", Counter(in_time=4)).told
