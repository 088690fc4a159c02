"""ClickHouse kept: the policy's TTL at its boundary, a restore compared row by row, and what a bad one looks like."""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from stack_doubles import component, policies

from harness.drive.keeping.clickhouse import ClickHouseKeeper
from harness.drive.keeping.ground import Ground
from harness.errors import StackError
from harness.model.stack import Artifact
from harness.stack.clickhouse.statements import statements
from harness.stack.guard import Guard
from harness.stack.ports import Ports
from harness.stack.runtimes.process import ProcessRuntime
from harness.stack.site import Site

SQL = Path(__file__).parents[2] / "policies" / "clickhouse"
DOCUMENTS = {f"clickhouse/{path.name}": path.read_text(encoding="utf-8") for path in SQL.glob("*.sql")}
USERS = next(one.text for one in statements(DOCUMENTS["clickhouse/01-events.sql"]) if "user_events" in one.text)
SHORTER = USERS.replace("user_events", "shorter_events").replace("INTERVAL 90 DAY", "INTERVAL 60 DAY")
CLICKHOUSE = component(
    "clickhouse", "clickhouse", "/usr/bin/clickhouse-server --config-file=/etc/clickhouse-server/config.xml",
    per_lane=False, port=8123,
)  # fmt: skip


@pytest.fixture(scope="module")
def chdb(cache: Path, pytestconfig: pytest.Config) -> Mapping[str, Artifact]:
    """The engine, real; where it cannot be had the tests fail."""
    from harness.stack.provision.fetch import bring

    capture = pytestconfig.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        return bring(("chdb",), cache, lambda text: print(text, file=sys.stderr))  # noqa: T201


@asynccontextmanager
async def a_ground(
    folder: Path, artifacts: Mapping[str, Artifact], documents: Mapping[str, str]
) -> AsyncIterator[Ground]:
    """Ground for stores, below a test's own folder."""
    ports = Ports()
    (folder / "logs").mkdir()
    try:
        async with Guard.open(f"test-{time.monotonic_ns()}", folder) as guard:
            yield Ground(
                guard.run, replace(policies(CLICKHOUSE), documents=documents), artifacts, folder / "cache",
                guard.sandbox, folder / "logs", ProcessRuntime(guard), ports,
            )  # fmt: skip
    finally:
        ports.close()


class Careless(ClickHouseKeeper):
    """One whose backup comes back with a table's columns spoilt: a file of it is empty."""

    async def put_back(self, backups: Path, site: Site) -> None:
        """Forgets all that the last table held."""
        await super().put_back(backups, site)
        for path in (site.data / "backups").rglob("*"):
            if path.is_file() and "user_events" in str(path) and "data" in path.parts:
                path.unlink()


@pytest.mark.stack
class TestRealEngine:
    """The policy's own tables in ClickHouse's own engine."""

    async def test_rows_answer_for_90_days_and_a_partition_later_they_are_gone(
        self, chdb: Mapping[str, Artifact], tmp_path: Path
    ) -> None:
        """Every table of events, each at its boundary; a fifth one that keeps 60 days is found out."""
        async with a_ground(tmp_path, chdb, {**DOCUMENTS, "clickhouse/99-shorter.sql": SHORTER}) as ground:
            probed = await ClickHouseKeeper().retention(ground, CLICKHOUSE)
        assert set(probed.keeps.split("; ")) == {
            f"TTL toDateTime(timestamp) + toIntervalDay({days})" for days in (90, 60)
        }
        assert (probed.unit, probed.unit_days) == ("partition", 1.0)
        answered = {one.newest_days: (one.answered, one.written) for one in probed.aged}
        assert all(answered[days] == (100, 100) for days in (0.1, 30.0)), answered
        assert all(answered[days] == (80, 100) for days in (89.0, 89.9)), answered
        assert all(answered[days] == (0, 100) for days in (91.05, 120.0)), answered

    async def test_a_restore_is_compared_row_by_row(self, chdb: Mapping[str, Artifact], tmp_path: Path) -> None:
        """An empty instance has every row as it was written, and no other."""
        async with a_ground(tmp_path, chdb, DOCUMENTS) as ground:
            drilled = await ClickHouseKeeper().restore(ground, CLICKHOUSE, 2000)
        assert drilled.equal
        assert (drilled.records, drilled.missing, drilled.changed, drilled.foreign) == (2000, 0, 0, 0)
        assert min(drilled.bytes, drilled.backup_seconds, drilled.restore_seconds) > 0

    @pytest.mark.nightly
    async def test_a_spoilt_backup_is_no_restore(self, chdb: Mapping[str, Artifact], tmp_path: Path) -> None:
        """The twin: a backup with files missing is either refused by ClickHouse or found to lack rows."""
        async with a_ground(tmp_path, chdb, DOCUMENTS) as ground:
            try:
                drilled = await Careless().restore(ground, CLICKHOUSE, 2000)
            except StackError as error:
                assert "was refused" in str(error)  # noqa: PT017  # either of two ends is right
            else:
                assert not drilled.equal
                assert drilled.missing


async def test_no_sql_is_no_probe(tmp_path: Path) -> None:
    """A ClickHouse without tables keeps nothing: said, not passed."""
    async with a_ground(tmp_path, {}, {}) as ground:
        with pytest.raises(StackError, match="clickhouse has no table"):
            await ClickHouseKeeper().retention(ground, CLICKHOUSE)
