"""ClickHouse's engine behind its own HTTP interface: the SQL of the policies, real clients, reports that are exact."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import random
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import clickhouse_connect
import lz4.frame  # type: ignore[import-untyped]
import pytest
from clickhouse_connect.driver.exceptions import DatabaseError
from event_doubles import DEADLINE_SECONDS, a_collector, event, free_port, named

from harness.errors import PolicyError, StackError, UsageError
from harness.model.stack import Address, Artifact
from harness.stack.clickhouse import __main__ as program
from harness.stack.clickhouse.asking import ask
from harness.stack.clickhouse.engine import Refusal, Statement
from harness.stack.clickhouse.interface import Interface
from harness.stack.clickhouse.setting_up import set_up
from harness.stack.clickhouse.statements import statements
from harness.stack.probe import Answer

SQL = Path(__file__).parents[2] / "policies" / "clickhouse"


class TestStatements:
    """An SQL file, cut into its statements."""

    def test_they_end_with_a_semicolon_or_the_file(self) -> None:
        """Comments before and between them are no statements, nor is nothing."""
        text = "-- first; really\nSELECT 1;\n\n  /* two;\nlines */ SELECT 2 -- tail; too\n;;\n# none\nSELECT\n 3"
        found = list(statements(text))
        assert [(one.text, one.line, one.column) for one in found] == [
            ("SELECT 1", 2, 1),
            ("SELECT 2", 5, 10),
            ("SELECT\n 3", 8, 1),
        ]
        assert list(statements(" \n-- nothing\n;")) == []

    def test_what_is_quoted_ends_nothing(self) -> None:
        """Semicolons, comment signs and quotes within quotes are text."""
        text = "SELECT ';', 'it''s -- no', 'a\\'; b', \"c;d\", `e;f` / 2 - 1;SELECT 2"
        assert [one.text for one in statements(text)] == [text.removesuffix(";SELECT 2"), "SELECT 2"]

    def test_a_place_within_is_a_place_in_the_file(self) -> None:
        """ClickHouse counts from the statement's begin, a person from the file's."""
        [_, second] = statements("SELECT 1;\n  SELECT\n  x")
        assert (second.place(1, 3), second.place(2, 3)) == ((2, 5), (3, 3))


@asynccontextmanager
async def served(answers: Sequence[bytes | Refusal]) -> AsyncIterator[tuple[Address, list[Statement]]]:
    """The interface over an engine that answers this, one after another; what it was asked."""
    asked: list[Statement] = []
    coming = iter(answers)

    def run(statement: Statement) -> bytes:
        asked.append(statement)
        answer = next(coming)
        if isinstance(answer, Refusal):
            raise answer
        return answer

    runner = aiohttp.web.AppRunner(Interface(run, "UTC").application())
    await runner.setup()
    site = aiohttp.web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield Address("127.0.0.1", runner.addresses[0][1]), asked
    finally:
        await runner.cleanup()


class TestInterface:
    """What HTTP asks becomes a statement, what the engine says becomes HTTP."""

    async def test_a_statement_comes_from_the_url_the_body_or_both(self) -> None:
        """As a server takes it: rows in the body follow the INSERT in the URL, compressed or not."""
        async with served([b"1\n"] * 5) as (at, asked), aiohttp.ClientSession(f"http://{at}") as client:
            insert = {"query": "INSERT INTO t FORMAT TSV"}
            for request in (
                client.get("/", params={"query": "SELECT 1"}),
                client.post("/", data=b"SELECT 2"),
                client.post("/", params=insert, data=b"3\n"),
                client.post("/", params=insert, data=gzip.compress(b"4\n"), headers={"Content-Encoding": "gzip"}),
                client.post("/", params=insert, data=lz4.frame.compress(b"5\n"), headers={"Content-Encoding": "lz4"}),
            ):
                async with request as answer:
                    assert (answer.status, await answer.text()) == (200, "1\n")
        assert [one.text for one in asked] == [
            b"SELECT 1",
            b"SELECT 2",
            *(b"INSERT INTO t FORMAT TSV\n%d\n" % number for number in (3, 4, 5)),
        ]

    async def test_parameters_settings_and_the_database(self) -> None:
        """Each of them reaches the engine; what means something to HTTP alone does not."""
        asking = {
            "database": "d", "param_a": "1", "max_threads": "1", "query_id": "q-7", "password": "x",
            "default_format": "JSON", "wait_end_of_query": "1",
        }  # fmt: skip
        async with (
            served([b""]) as (at, asked),
            aiohttp.ClientSession(f"http://{at}") as client,
            client.post("/", params=asking, data=b"SELECT {a:UInt8}") as answer,
        ):
            assert answer.headers["X-ClickHouse-Query-Id"] == "q-7"
            assert answer.headers["X-ClickHouse-Format"] == "JSON"
        assert asked == [Statement(b"SELECT {a:UInt8}", "d", "JSON", {"a": "1"}, {"max_threads": "1"})]

    @pytest.mark.parametrize(("code", "status"), [(62, 400), (60, 404), (159, 408), (48, 501), (241, 500)])
    async def test_a_refusal_has_the_status_of_a_server(self, code: int, status: int) -> None:
        """With ClickHouse's own code beside it."""
        async with (
            served([Refusal(f"Code: {code}. DB::Exception: no", code)]) as (at, _),
            aiohttp.ClientSession() as client,
            client.post(f"http://{at}/", data=b"x") as answer,
        ):
            assert answer.status == status
            assert answer.headers["X-ClickHouse-Exception-Code"] == str(code)

    async def test_a_broken_body_is_refused(self) -> None:
        """What is said to be compressed and is not."""
        async with (
            served([]) as (at, asked),
            aiohttp.ClientSession() as client,
            client.post(f"http://{at}/", data=b"no", headers={"Content-Encoding": "lz4"}) as answer,
        ):
            assert answer.status == 400
        assert asked == []


class TestSettingUp:
    """The SQL files of a policy."""

    async def test_files_run_in_the_order_of_their_names(self, tmp_path: Path) -> None:
        """Each statement once, one after another."""
        (tmp_path / "02.sql").write_text("B;C")
        (tmp_path / "01.sql").write_text("A;")
        (tmp_path / "notes.txt").write_text("X;")
        async with served([b""] * 3) as (at, asked):
            assert await set_up(at, tmp_path) is None
        assert [one.text for one in asked] == [b"A", b"B", b"C"]

    @pytest.mark.parametrize(
        ("said", "place"),
        [
            ("Code: 62. DB::Exception: Syntax error: failed at position 9 (x) (line 2, col 2): x", "2.sql:4:2: "),
            (
                "Code: 62. DB::Exception: Syntax error: failed at position 4 (x): x. Expected one of: a, b",
                "2.sql:3:4: ",
            ),
            ("Code: 60. DB::Exception: Unknown table", "2.sql:3:1: "),
        ],
    )
    async def test_a_wrong_statement_is_found_in_its_file(self, tmp_path: Path, said: str, place: str) -> None:
        """Where ClickHouse sees the mistake, else where its statement begins; what comes after it is not run."""
        (tmp_path / "2.sql").write_text("A;\n-- why\nBAD\n x;\nC")
        async with served([b"", Refusal(said, 62)]) as (at, asked):
            with pytest.raises(PolicyError) as caught:
                await set_up(at, tmp_path)
        assert f"clickhouse/{place}" in str(caught.value)
        assert "Expected one of" not in str(caught.value)
        assert len(asked) == 2

    async def test_nobody_there_is_no_mistake_of_the_policy(self, tmp_path: Path) -> None:
        """It is what is still missing."""
        (tmp_path / "1.sql").write_text("A")
        missing = await set_up(Address("127.0.0.1", free_port()), tmp_path)
        assert missing is not None
        assert "nobody listens" in missing


@pytest.fixture(scope="module")
def chdb(cache: Path, pytestconfig: pytest.Config) -> Artifact:
    """The engine, real; where it cannot be had the tests fail."""
    from harness.stack.provision.fetch import bring

    capture = pytestconfig.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        return bring(("chdb",), cache, lambda text: print(text, file=sys.stderr))["chdb"]  # noqa: T201


@asynccontextmanager
async def owner(chdb: Artifact, folder: Path) -> AsyncIterator[tuple[Address, asyncio.subprocess.Process]]:
    """The owner process over a folder, from when it answers; killed at the end."""
    at = Address("127.0.0.1", free_port())
    folder.mkdir(parents=True, exist_ok=True)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "harness.stack.clickhouse", f"--path={folder}/data", f"--http_port={at.port}",
        env=os.environ | dict(chdb.environment), stderr=(folder / "log").open("ab"),
    )  # fmt: skip
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            while isinstance(await ask(at, "SELECT 1"), str):
                assert process.returncode is None, (folder / "log").read_text()
                await asyncio.sleep(0.05)
        yield at, process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def rows(at: Address, query: str) -> list[list[Any]]:
    """What a query answers."""
    answer = await ask(at, f"{query} FORMAT JSONCompactEachRow")
    assert isinstance(answer, Answer)
    assert answer.status == 200, answer.body
    return [json.loads(line) for line in answer.body.splitlines()]


def some_events(count: int) -> Iterator[dict[str, Any]]:
    """Events of all kinds over three days, two lanes, several users, endpoints and addresses; the same every time."""
    drawn = random.Random(5)
    begin = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=4)
    for number in range(count):
        kind = drawn.choice(("user", "business", "security", "performance", "performance"))
        at = begin + timedelta(milliseconds=drawn.randrange(3 * 86_400_000))
        changed: dict[str, object] = {
            "timestamp": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "environment": drawn.choice(("lane-01", "lane-02")),
            "userId": drawn.choice((None, *map(str, range(40)))),
            "ip": f"192.0.2.{drawn.randrange(5)}",
            "method": drawn.choice(("GET", "POST")),
            "endpoint": drawn.choice(("/api/posts", "/api/posts/{id}")),
        }
        if kind == "performance":
            changed |= {"status": drawn.choice((200, 200, 404, 500, 503)), "duration": drawn.randrange(10**6) / 1000}
        elif kind == "business":
            what = drawn.choice(("post", "comment", "preview"))
            changed |= {"object": {"type": what, "id": number}}
        elif kind == "security":
            changed |= {"action": drawn.choice(("login_failed", "access_denied"))}
        yield event(number, kind, **changed)


Key = tuple[str, ...]


def grouped(events: Sequence[dict[str, Any]], kind: str, *fields: str, hours: bool = False) -> dict[Key, list[Any]]:
    """The events of a kind by day (or hour) and some fields."""
    found: dict[Key, list[Any]] = defaultdict(list)
    for one in events:
        if one["kind"] == kind:
            at = f"{one['timestamp'][:13].replace('T', ' ')}:00:00" if hours else one["timestamp"][:10]
            found[(at, *(one[field] for field in fields))].append(one)
    return dict(sorted(found.items()))


def quantile(durations: Sequence[float], level: float) -> float:
    """The exact quantile as the report defines it: the element at the place level x n of all, sorted."""
    return sorted(durations)[int(level * len(durations))]


@pytest.mark.stack
class TestRealEngine:
    """The current engine of ClickHouse, and the files that production would run."""

    async def test_every_report_is_what_python_makes_of_the_same_events(self, chdb: Artifact, tmp_path: Path) -> None:
        """Through the collector, a third of the events inserted a second time behind its back: figures are exact."""
        events = list(some_events(3000))
        async with owner(chdb, tmp_path / "clickhouse") as (at, _):
            assert await set_up(at, SQL) is None
            async with a_collector(tmp_path / "store", f"http://{at}/", "--clickhouse.batch=500") as collector:
                for first in range(0, len(events), 300):
                    assert (await collector.post(events[first : first + 300])).body["accepted"] == 300
                await collector.emptied()
            for kind in ("user", "business", "security", "performance"):
                again = "\n".join(json.dumps(one) for one in events[::3] if one["kind"] == kind)
                table = f"community_platform.{kind}_events"
                answer = await ask(at, f"INSERT INTO {table} (record) FORMAT JSONAsString\n{again}")
                assert isinstance(answer, Answer)
                assert answer.status == 200, answer.body
            assert await set_up(at, SQL) is None  # running the files again changes nothing
            found = {
                report: await rows(at, f"SELECT * FROM community_platform.{report}")  # noqa: S608
                for report in (
                    "daily_active_users", "posts_and_comments_per_hour", "error_ratio_by_endpoint",
                    "failed_logins_by_address", "latency_by_endpoint",
                )
            }  # fmt: skip
            stored = await rows(at, "SELECT sequence FROM merge('community_platform', '_events$') ORDER BY sequence")
        assert len(stored) > len(events)  # the doubled ones are there; the reports do not count them
        assert sorted({name for (name,) in stored}) == sorted(named(events))
        assert found["daily_active_users"] == [
            [*key, len({one["userId"] for one in group} - {None})]
            for key, group in grouped(events, "user", "environment").items()
        ]
        types = {
            key: [one["object"]["type"] for one in group]
            for key, group in grouped(events, "business", "environment", hours=True).items()
        }
        assert found["posts_and_comments_per_hour"] == [
            [*key, made.count("post"), made.count("comment")] for key, made in types.items() if {*made} != {"preview"}
        ]
        requests = grouped(events, "performance", "environment", "method", "endpoint")
        errors = {key: sum(one["status"] >= 500 for one in group) for key, group in requests.items()}
        assert found["error_ratio_by_endpoint"] == [
            [*key, len(group), errors[key], errors[key] / len(group)] for key, group in requests.items()
        ]
        failed = {
            key: [one for one in group if one["action"] == "login_failed"]
            for key, group in grouped(events, "security", "environment", "ip").items()
        }
        assert found["failed_logins_by_address"] == [[*key, len(group)] for key, group in failed.items() if group]
        durations = {key: [one["duration"] for one in group] for key, group in requests.items()}
        assert found["latency_by_endpoint"] == [
            [*key, len(took), *(quantile(took, level) for level in (0.5, 0.95, 0.99))]
            for key, took in durations.items()
        ]
        assert all(len(report) > 5 for report in found.values())

    async def test_a_client_of_clickhouse_does_not_know_the_difference(self, chdb: Artifact, tmp_path: Path) -> None:
        """clickhouse-connect, unchanged: tables, typed inserts, parameters, streams, formats and errors."""
        async with owner(chdb, tmp_path) as (at, _):
            await asyncio.to_thread(self.use, at)

    def use(self, at: Address) -> None:
        """What a client does."""
        client = clickhouse_connect.get_client(host=at.host, port=at.port)
        assert int(str(client.server_version).split(".")[0]) >= 24
        client.command("CREATE DATABASE d")
        client.command(
            "CREATE TABLE d.t (a UInt32, b Nullable(String), c DateTime64(3, 'UTC')) ENGINE = MergeTree ORDER BY a"
        )
        at_noon = datetime(2026, 11, 23, 12, 0, 0, 500_000, UTC).replace(tzinfo=None)
        written = [(n, None if n % 7 == 0 else f"tab\t;\n'{n}'", at_noon + timedelta(days=n)) for n in range(1000)]
        client.insert("d.t", written, column_names=["a", "b", "c"])
        assert client.query("SELECT * FROM d.t ORDER BY a").result_rows == written
        wanted = {"text": "tab\t;\n'8'", "numbers": [7, 8, 9]}
        asked = "SELECT a FROM d.t WHERE b = {text:String} AND a IN {numbers:Array(UInt32)}"
        assert client.query(asked, parameters=wanted).result_rows == [(8,)]
        with client.query_rows_stream("SELECT number FROM system.numbers LIMIT 100000") as stream:
            assert sum(row[0] for row in stream) == sum(range(100_000))
        assert client.query("SELECT getSetting('max_threads')", settings={"max_threads": 1}).first_row == (1,)
        assert client.raw_query("SELECT 1 AS one", fmt="JSONEachRow") == b'{"one":1}\n'
        with pytest.raises(DatabaseError, match=r"code: 60.*d\.nothing"):
            client.query("SELECT * FROM d.nothing")
        other = clickhouse_connect.get_client(host=at.host, port=at.port, database="d")
        assert other.command("SELECT count() FROM t") == 1000

    async def test_kill_9_keeps_what_was_inserted_and_no_second_owner_gets_in(
        self, chdb: Artifact, tmp_path: Path
    ) -> None:
        """Whoever opens a folder that is open is told so; after the death of the first the rows are there."""
        async with owner(chdb, tmp_path) as (at, process):
            await ask(at, "CREATE TABLE t (a UInt32) ENGINE = MergeTree ORDER BY a")
            for number in range(20):
                await ask(at, f"INSERT INTO t FORMAT TSV\n{number}")
            second = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "harness.stack.clickhouse", f"--path={tmp_path}/data",
                f"--http_port={free_port()}", env=os.environ | dict(chdb.environment), stderr=asyncio.subprocess.PIPE,
            )  # fmt: skip
            async with asyncio.timeout(DEADLINE_SECONDS):
                _, told = await second.communicate()
            assert second.returncode == StackError.exit_code, told
            assert b"cannot be opened" in told
            assert b"Traceback" not in told
            process.kill()
            await process.wait()
        async with owner(chdb, tmp_path) as (at, _):
            assert await rows(at, "SELECT count(), sum(a) FROM t") == [[20, 190]]

    async def test_wrong_sql_is_found_in_its_file(self, chdb: Artifact, tmp_path: Path) -> None:
        """A real refusal, at its real place."""
        (tmp_path / "sql").mkdir()
        (tmp_path / "sql" / "01.sql").write_text("CREATE DATABASE d;\n\nCREATE TABLE d.t\n(\n    a UInt33\n)")
        (tmp_path / "sql" / "02.sql").write_text("SELECT 1,\n  frm\n  x y z;")
        async with owner(chdb, tmp_path) as (at, _):
            with pytest.raises(PolicyError, match=r"clickhouse/01.sql:3:1: .*UInt33"):
                await set_up(at, tmp_path / "sql")
            (tmp_path / "sql" / "01.sql").unlink()
            with pytest.raises(PolicyError, match=r"clickhouse/02.sql:3:5: .*Syntax error"):
                await set_up(at, tmp_path / "sql")


class TestStart:
    """What the program says when it cannot begin."""

    def test_without_the_engine(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """Where chdb is not installed it says so."""
        assert "chdb" not in sys.modules
        assert program.main([f"--path={tmp_path}"]) == UsageError.exit_code
        assert "expected: the package chdb on PYTHONPATH" in capsys.readouterr().err
