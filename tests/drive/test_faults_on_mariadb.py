"""The faults of the database against a real MariaDB, with the subject's own code in front of it."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import aiomysql
import pytest
from aiohttp import web
from lane_doubles import UntouchedLane

from harness.drive.faults import posts_index_missing
from harness.drive.faults.database_refused import DatabaseRefused
from harness.drive.faults.posts_index_missing import PostsIndexMissing
from harness.drive.faults.posts_table_missing import PostsTableMissing
from harness.drive.journal import Journal, Replayed, replay
from harness.errors import EffectNotProven, FaultError
from harness.model.stack import Address, Artifact, Lane
from harness.stack.ports import Ports
from harness.stack.relay import Relay
from harness.stack.subject.app import Parts, build
from harness.stack.subject.logs import Journal as Log
from harness.stack.subject.memory import MemoryPostCache, MemorySessions
from harness.stack.subject.metrics import Metrics
from harness.stack.subject.mysql import MySQLStore
from harness.stack.subject.settings import DatabaseAddress

pytestmark = pytest.mark.stack

SECRETS = {"mysql_user": "app", "mysql_password": "a secret", "mysql_database": "app"}
ACCOUNT = """\
CREATE DATABASE app;
CREATE USER 'app'@'127.0.0.1' IDENTIFIED BY 'a secret';
GRANT ALL ON app.* TO 'app'@'127.0.0.1';
"""
FOREIGN_KEYS = """\
SELECT constraint_name, table_name, referenced_table_name FROM information_schema.referential_constraints
WHERE constraint_schema = 'app' ORDER BY 1"""


@pytest.fixture(scope="module")
def mariadb(artifacts: Mapping[str, Artifact], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    """A server that no run started: it outlives whoever is killed."""
    artifact = artifacts["mariadb"]
    data = tmp_path_factory.mktemp("mariadb")
    base = Path(artifact.programs["mariadbd"]).parent.parent
    environment = {**os.environ, **artifact.environment}
    common = ["--no-defaults", f"--basedir={base}", f"--datadir={data}/mysql", "--skip-name-resolve"]
    common += ["--innodb-log-file-size=4M", "--innodb-use-native-aio=0"]
    common += ["--user=root"] if os.geteuid() == 0 else []
    subprocess.run(
        [artifact.programs["mariadb-install-db"], *common, "--skip-test-db"],
        env=environment,
        check=True,
        capture_output=True,
        timeout=120,
    )
    (data / "init.sql").write_text(ACCOUNT)
    ports = Ports()
    address = ports.take()
    own = [f"--bind-address={address.host}", f"--port={address.port}", "--socket=mysqld.sock", "--pid-file=mysqld.pid"]
    own += [f"--lc-messages-dir={base}/share/mysql", f"--init-file={data}/init.sql"]
    with (data / "log").open("wb") as log:
        server = subprocess.Popen(
            [artifact.programs["mariadbd"], *common, *own], env=environment, stdout=log, stderr=log, cwd=data
        )
    try:
        asyncio.run(_ready(address, server, data / "log"))
        yield address
    finally:
        server.kill()
        server.wait()
        ports.close()


async def _ready(address: Address, server: subprocess.Popen[bytes], log: Path) -> None:
    give_up = time.monotonic() + 30
    while True:
        try:
            await query(address, "SELECT 1")
        except aiomysql.OperationalError:
            assert server.poll() is None, log.read_text()[-2000:]
            assert time.monotonic() < give_up, log.read_text()[-2000:]
            await asyncio.sleep(0.05)
        else:
            return


@asynccontextmanager
async def session(address: Address) -> AsyncIterator[aiomysql.Cursor]:
    """A connection of the test's own, not committing by itself."""
    connection = await aiomysql.connect(host=address.host, port=address.port, user="app", password="a secret", db="app")
    try:
        async with connection.cursor() as cursor:
            yield cursor
    finally:
        connection.close()


async def query(address: Address, *statements: str) -> Sequence[Sequence[object]]:
    """The rows of the last statement."""
    async with session(address) as cursor:
        for statement in statements:
            await cursor.execute(statement)
        rows: Sequence[Sequence[object]] = await cursor.fetchall()
        return rows


async def tables(address: Address) -> set[str]:
    """The tables of posts that there are, under either name."""
    return {str(name) for (name,) in await query(address, "SHOW TABLES LIKE 'posts%'")}


class _LaneControl(UntouchedLane):
    """A lane of the real database behind a real relay, and the subject in this process."""

    def __init__(self, lane: Lane, relay: Relay, secrets: Mapping[str, str]) -> None:
        super().__init__(lane, secrets)
        self.relay = relay

    async def refuse(self, component: str) -> None:
        assert component == "mysql"
        await self.relay.refuse()

    async def restore(self, component: str) -> None:
        assert component == "mysql"
        await self.relay.restore()


@pytest.fixture
async def control(mariadb: Address, tmp_path: Path) -> AsyncIterator[_LaneControl]:
    """The subject over its database, with the tables and rows that it starts with."""
    await query(mariadb, "DROP DATABASE IF EXISTS app", "CREATE DATABASE app", "SELECT 1")
    relay = await Relay.open(mariadb)
    metrics = Metrics(environment="lane-1", instance="one", heap_limit_bytes=2**28)
    store = MySQLStore(DatabaseAddress(relay.address.host, relay.address.port, "app", "a secret", "app"), metrics.query)
    with Log(tmp_path / "log", metrics.log_line_lost) as log:
        parts = Parts(store, MemorySessions(), MemoryPostCache(), metrics, log, "lane-1", "one")
        runner = web.AppRunner(build(parts))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        addresses = {"community-platform": Address(*runner.addresses[0]), "mysql": relay.address}
        try:
            await store.prepare()
            yield _LaneControl(Lane("lane-1", addresses, {"mysql": mariadb}), relay, SECRETS)
        finally:
            await runner.cleanup()
            await store.close()
            await relay.close()


async def status(control: _LaneControl, path: str = "/api/posts") -> int:
    """What the subject answers."""
    async with aiohttp.request("GET", f"http://{control.lane.addresses['community-platform']}{path}") as response:
        return response.status


async def test_renaming_the_table_makes_real_errors_and_loses_nothing(control: _LaneControl, mariadb: Address) -> None:
    """500 from the subject while it is away; after it every row, every comment and every foreign key is what it was."""
    fault = PostsTableMissing()
    describe = (
        FOREIGN_KEYS,
        "SELECT * FROM posts ORDER BY id",
        "SELECT * FROM comments ORDER BY id",
    )
    before = [await query(mariadb, statement) for statement in describe]
    for _ in range(2):
        await fault.apply(control)
        assert await tables(mariadb) == {"posts_missing"}
        assert await status(control) == 500
        proof = await fault.prove(control, 5)
        assert "requests failed with 5xx" in proof.saw
        await fault.undo(control, 5)
        assert await tables(mariadb) == {"posts"}
        assert await status(control) == 200
    assert [await query(mariadb, statement) for statement in describe] == before
    assert ("comments_of_post", "comments", "posts") in before[0]
    assert len(before[1]) == 3


async def test_the_load_s_own_failures_prove_it(control: _LaneControl) -> None:
    """With traffic there are requests enough, and the proof's own are few."""

    async def load() -> None:
        while True:
            await status(control)
            await asyncio.sleep(0.005)

    loading = asyncio.create_task(load())
    try:
        await PostsTableMissing().apply(control)
        proof = await PostsTableMissing().prove(control, 5)
    finally:
        loading.cancel()
        await asyncio.wait({loading})
        await PostsTableMissing().undo(control, 5)
    own = int(proof.saw.split(", ")[-1].split()[0])
    total = int(proof.saw.split(" of ")[1].split()[0])
    assert own < total


async def test_a_table_that_is_in_use_is_not_renamed_after_we_gave_up(
    control: _LaneControl, mariadb: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long transaction holds the table: FaultError in time, and nothing happens when that ends."""
    monkeypatch.setattr("harness.drive.migration._APPLY_SECONDS", 2.0)
    async with session(mariadb) as long:
        await long.execute("SELECT * FROM posts")
        begun = time.monotonic()
        with pytest.raises(FaultError, match="posts could not be renamed to posts_missing"):
            await PostsTableMissing().apply(control)
        assert time.monotonic() - begun < 4
    waiting = "SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE 'RENAME%'"
    assert await query(mariadb, waiting) == ((0,),)
    assert await tables(mariadb) == {"posts"}
    await PostsTableMissing().undo(control, 2)


async def test_two_tables_are_nobody_s_to_merge(control: _LaneControl, mariadb: Address) -> None:
    """Somebody made a table of posts while ours was away: FaultError with both names, and neither is touched."""
    await PostsTableMissing().apply(control)
    await query(mariadb, "CREATE TABLE posts (id INT)", "SELECT 1")
    with pytest.raises(FaultError, match="cannot be renamed") as told:
        await PostsTableMissing().undo(control, 1)
    assert told.value.seen == "both are"
    assert await tables(mariadb) == {"posts", "posts_missing"}


async def test_a_database_that_does_not_let_us_in_is_told(control: _LaneControl) -> None:
    """Undoing after a crash with credentials that are wrong: FaultError without the password in it, and not `done`."""
    facts = {**PostsTableMissing().facts(control), "mysql_password": "geheim"}
    with pytest.raises(FaultError, match="could not be renamed") as told:
        await PostsTableMissing().undo_from(facts)
    assert "Access denied" in str(told.value)
    assert "geheim" not in str(told.value)


async def test_the_path_to_a_real_database_is_cut_and_restored(control: _LaneControl) -> None:
    """503 from the subject while it is refused; the server never stops, and greets through the relay after."""
    fault = DatabaseRefused()
    assert await status(control) == 200
    for _ in range(2):
        await fault.apply(control)
        proof = await fault.prove(control, 2)
        assert "refused the connection" in proof.saw
        assert await status(control) == 503
        assert (await query(control.lane.behind["mysql"], "SELECT 1")) == ((1,),)
        healed = await fault.undo(control, 2)
        assert "greeted with protocol 10" in healed.saw
        assert await status(control) == 200


KILLED = """
import asyncio, json, sys
from dataclasses import dataclass
from pathlib import Path
from harness.drive.faults.posts_table_missing import PostsTableMissing
from harness.drive.journal import Journal
from harness.model.stack import Address, Lane

@dataclass
class Control:
    lane: Lane
    secrets: dict[str, str]

async def main(journal_path, subject_port, mysql_port, secrets):
    subject, mysql = Address("127.0.0.1", subject_port), Address("127.0.0.1", mysql_port)
    lane = Lane("lane-1", {"community-platform": subject, "mysql": mysql}, {"mysql": mysql})
    control, fault = Control(lane, secrets), PostsTableMissing()
    journal = Journal.open(Path(journal_path))
    journal.record(fault.id, "one", fault.facts(control))
    await fault.apply(control)
    print("applied", flush=True)
    await asyncio.Event().wait()

asyncio.run(main(*json.loads(sys.argv[1])))
"""


async def test_what_a_killed_run_left_in_a_database_is_undone_at_the_next_start(
    control: _LaneControl, mariadb: Address, tmp_path: Path
) -> None:
    """Kill -9 with the table away: the journal alone brings it back, once, and says so."""
    journal = tmp_path / "undo.jsonl"
    subject = control.lane.addresses["community-platform"]
    argument = json.dumps([str(journal), subject.port, mariadb.port, SECRETS])
    run = await asyncio.create_subprocess_exec(sys.executable, "-c", KILLED, argument, stdout=asyncio.subprocess.PIPE)
    try:
        assert run.stdout is not None
        async with asyncio.timeout(20):
            assert await run.stdout.readline() == b"applied\n"
    finally:
        with suppress(ProcessLookupError):
            run.kill()
        await run.wait()
    assert await status(control) == 500, "the fault outlived its process"
    assert await tables(mariadb) == {"posts_missing"}
    faults = {"posts-table-missing": PostsTableMissing()}
    assert await replay(journal, faults) == [Replayed("posts-table-missing", "one", undone=True)]
    assert await status(control) == 200
    assert await replay(journal, faults) == []


async def test_what_was_undone_already_is_not_undone_again(
    control: _LaneControl, mariadb: Address, tmp_path: Path
) -> None:
    """Killed between undoing and noting it: the replay finds nothing to do and closes the matter."""
    fault = PostsTableMissing()
    with Journal.open(tmp_path / "undo.jsonl") as journal:
        journal.record(fault.id, "one", fault.facts(control))
        await fault.apply(control)
        await fault.undo(control, 2)
    results = await replay(tmp_path / "undo.jsonl", {fault.id: fault})
    assert results == [Replayed("posts-table-missing", "one", undone=False)]
    assert await tables(mariadb) == {"posts"}


# --- the index ---------------------------------------------------------------------------------------------------

INDEXES = """\
SELECT index_name, column_name FROM information_schema.statistics
WHERE table_schema = 'app' AND table_name = 'comments' ORDER BY 1, seq_in_index"""
WROTE = "INSERT INTO comments (post_id, user_id, body, created_at) VALUES (2, 1, 'meanwhile', UTC_TIMESTAMP(6))"
BODIES = "SELECT body FROM comments ORDER BY id"


@pytest.fixture
def few_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table that is filled in half a second, and a limit in proportion."""
    monkeypatch.setattr(posts_index_missing, "FILL_SECONDS", 20.0)
    monkeypatch.setattr(posts_index_missing, "ROWS", (100_000, 100_000))
    monkeypatch.setattr(posts_index_missing, "SLOW_SECONDS", 0.01)
    monkeypatch.setattr(posts_index_missing, "_APPLY_SECONDS", 30.0)
    monkeypatch.setattr(PostsIndexMissing, "well_seconds", 10.0)


@pytest.mark.usefixtures("few_rows")
async def test_a_forgotten_index_makes_queries_slow_and_loses_nothing(control: _LaneControl, mariadb: Address) -> None:
    """The server reads all rows and says so; after it indexes, keys and rows are what they were, and one row more.

    Its twin: with the index in its place, and as many queries, nothing is proven.
    """
    fault = PostsIndexMissing()
    describe = (FOREIGN_KEYS, INDEXES, "SELECT * FROM comments WHERE body <> 'meanwhile' ORDER BY id")
    before = [await query(mariadb, statement) for statement in describe]
    assert ("comments_post", "post_id") in before[1]

    async def load() -> None:
        while True:
            assert await status(control, "/api/posts/2/comments") == 200

    loading = asyncio.create_task(load())
    try:
        with pytest.raises(EffectNotProven, match="says ref by comments_post"):
            await fault.prove(control, 0.5)
        await fault.apply(control)
        proof = await fault.prove(control, 20)
        assert "says index by PRIMARY" in proof.saw
        assert [name for name, _ in await query(mariadb, INDEXES)] == ["PRIMARY"]
        async with session(mariadb) as cursor:
            await cursor.execute(WROTE)
            with pytest.raises(aiomysql.IntegrityError):
                await cursor.execute(WROTE.replace("(2, 1,", "(999, 1,"))
            await cursor.execute("COMMIT")
        healed = await fault.undo(control, 20)
        assert "says ref by comments_post" in healed.saw
    finally:
        loading.cancel()
        await asyncio.wait({loading})
    assert [await query(mariadb, statement) for statement in describe] == before
    assert [body for (body,) in await query(mariadb, BODIES)][3:] == ["meanwhile"]
    assert await query(mariadb, "SHOW TABLES LIKE 'comments%'") == (("comments",),)


HALF_WAY = {
    "the new table is made": 2,
    "the new table has its keys": 5,
    "the tables are swapped": 6,
    "all rows are there": 7,
    "something was written": 8,
    "the tables are swapped back": 10,
}
STEPS = (
    *posts_index_missing._MAKE,
    posts_index_missing._SWAP,
    posts_index_missing._COPY,
    WROTE,
    posts_index_missing._GO_ON_FROM % 5000,
    posts_index_missing._SWAP_BACK,
)


@pytest.mark.parametrize("steps", HALF_WAY.values(), ids=[name.replace(" ", "-") for name in HALF_WAY])
async def test_a_migration_is_taken_back_from_wherever_it_was_left(
    control: _LaneControl, mariadb: Address, steps: int
) -> None:
    """Killed after any step: the journal's facts bring index and rows back, once; what was written meanwhile stays."""
    fault = PostsIndexMissing()
    indexes, bodies = await query(mariadb, INDEXES), await query(mariadb, BODIES)
    async with session(mariadb) as cursor:
        for statement in STEPS[:steps]:
            await cursor.execute(statement)
        await cursor.execute("COMMIT")
    facts = fault.facts(control)
    assert await fault.undo_from(facts) is True
    assert await fault.undo_from(facts) is False
    assert await query(mariadb, INDEXES) == indexes
    written = (("meanwhile",),) if WROTE in STEPS[:steps] else ()
    assert await query(mariadb, BODIES) == (*bodies, *written)
    assert await query(mariadb, "SHOW TABLES LIKE 'comments%'") == (("comments",),)
    await query(mariadb, WROTE, "COMMIT")
