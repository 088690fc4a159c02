"""Stores kept, with the real ones: data at the edge of 90 days, restores compared, and every twin that goes red."""

from __future__ import annotations

import shutil
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from harness.drive.database import connected
from harness.drive.keeping import Sizes
from harness.drive.keeping.asking import answer, asking
from harness.drive.keeping.back_fill import METRIC, WINDOW_SECONDS, Shape, blocks, make_blocks, open_metrics, values
from harness.drive.keeping.ground import Ground
from harness.drive.keeping.influxdb import InfluxKeeper
from harness.drive.keeping.mariadb import MariaKeeper
from harness.drive.keeping.opensearch import OpenSearchKeeper
from harness.drive.keeping.prometheus import PrometheusKeeper
from harness.drive.keeping.registry import KEEPERS
from harness.drive.keeping.stage import keep
from harness.model.events import FindingNoted, Payload
from harness.model.keeping import RestoreDrilled, RetentionProbed, StoresDeclared
from harness.model.policy import ComponentPolicy, Policies
from harness.model.stack import Address, Artifact
from harness.policy.parse.units import parse
from harness.run import load_policies
from harness.stack.guard import Guard
from harness.stack.ports import Ports
from harness.stack.runtimes.process import ProcessRuntime
from harness.stack.search import Search
from harness.stack.site import Site

pytestmark = pytest.mark.stack

ROOT = Path(__file__).parents[2]
FILES = {f"influxdb/{path.name}": path.read_text() for path in (ROOT / "policies" / "influxdb").iterdir()}


def shipped() -> Policies:
    """The shipped policies, with InfluxDB among their components."""
    found = load_policies(ROOT / "policies").policies
    if any(one.kind == "influxdb" for one in found.components):
        return found
    name = "units/influxdb.service"
    unit = parse((ROOT / "policies" / name).read_text(), name).value
    added = ComponentPolicy("influxdb", "influxdb", ("influxdb:8086",), unit, False, found.components[0].span)
    return replace(found, components=(*found.components, added), documents={**found.documents, **FILES})


def component(policies: Policies, kind: str) -> ComponentPolicy:
    """The store of a kind."""
    return next(one for one in policies.components if one.kind == kind)


@asynccontextmanager
async def ground(
    tmp_path: Path, cache: Path, artifacts: Mapping[str, Artifact], policies: Policies | None = None
) -> AsyncIterator[Ground]:
    """A ground in a sandbox of its own."""
    async with Guard.open(f"keeping-{time.time_ns()}", cache) as guard, AsyncExitStack() as lasting:
        runtime, ports = ProcessRuntime(guard), Ports()
        lasting.callback(ports.close)
        lasting.push_async_callback(runtime.close)
        yield Ground(
            guard.run, policies or shipped(), artifacts, cache, guard.sandbox, tmp_path, runtime, ports, lasting
        )


def oldest_answered(probed: RetentionProbed) -> float:
    """Up to which age data answered."""
    return max(one.oldest_days for one in probed.aged if one.answered)


async def test_prometheus_keeps_90_days_by_productions_own_flags(
    tmp_path: Path, cache: Path, artifacts: Mapping[str, Artifact]
) -> None:
    """What is younger answers to the last sample, what is older by a block is gone; nothing was lost in between."""
    async with ground(tmp_path, cache, artifacts) as on:
        probed = await PrometheusKeeper().retention(on, component(on.policies, "prometheus"))
    assert probed.keeps == "--storage.tsdb.retention.time=90d"
    assert "90 to 96.75 d" in probed.told
    for one in probed.aged:
        if one.oldest_days <= 90:
            assert one.answered == one.written > 0
        if one.newest_days > 90 + probed.unit_days:
            assert one.answered == 0 < one.written
    assert max(one.oldest_days for one in probed.aged if one.oldest_days <= 90) > 89.9
    assert min(one.newest_days for one in probed.aged if one.newest_days > 90) < 90.1


@pytest.mark.parametrize(("days", "within", "beyond"), [("89d", 0, 0), ("91d", 10, 10)])
async def test_a_prometheus_that_keeps_a_day_less_or_more_is_seen(
    tmp_path: Path, cache: Path, artifacts: Mapping[str, Artifact], days: str, within: int, beyond: int
) -> None:
    """The twins: the edge of 90 days lies between two blocks of ten minutes."""
    async with ground(tmp_path, cache, artifacts) as on:
        production = component(on.policies, "prometheus")
        assert production.unit is not None
        argv = tuple(word.replace("retention.time=90d", f"retention.time={days}") for word in production.unit.argv)
        other = replace(production, unit=replace(production.unit, argv=argv))
        probed = await PrometheusKeeper().retention(on, other)
    assert probed.keeps.endswith(days)
    edges = [one for one in probed.aged if one.written == 10]
    assert [one.answered for one in edges] == [within, beyond]


class LosesASample(PrometheusKeeper):
    """A restore that brings everything back but one sample."""

    async def put_back(self, backup: Path, site: Site) -> None:
        """Makes the newest window anew, without its first sample."""
        await super().put_back(backup, site)
        newest = max(int(self.window_of(block)) for block in blocks(site.data / "tsdb"))
        for block in blocks(site.data / "tsdb"):
            if self.window_of(block) == newest:
                shutil.rmtree(block)
        shape = Shape(10, 600)
        named = [(f'{{series="{one}"}}', values(shape, newest, one)[one == 3 :]) for one in range(shape.series)]
        assert self.on is not None
        await make_blocks(self.on, site, open_metrics(METRIC, named), site.data / "made")
        shutil.copytree(site.data / "made", site.data / "tsdb", dirs_exist_ok=True)

    on: Ground | None = None

    @staticmethod
    def window_of(block: Path) -> int:
        """Which window a block is."""
        import json

        return int(json.loads((block / "meta.json").read_text())["minTime"]) // 1000 // WINDOW_SECONDS


async def test_a_prometheus_comes_back_sample_by_sample(
    tmp_path: Path, cache: Path, artifacts: Mapping[str, Artifact]
) -> None:
    """All of it; and the twin, one sample missing of nineteen thousand, is seen."""
    async with ground(tmp_path, cache, artifacts) as on:
        prometheus = component(on.policies, "prometheus")
        drilled = await PrometheusKeeper().restore(on, prometheus, 19_000)
        assert drilled.equal
        assert drilled.records == 19_440
        assert drilled.bytes > 50_000
        assert drilled.restore_seconds > 0
        keeper = LosesASample()
        keeper.on = on
        lossy = await keeper.restore(on, prometheus, 19_000)
    assert not lossy.equal
    assert (lossy.records, lossy.missing, lossy.changed, lossy.foreign) == (19_440, 1, 0, 0)


@pytest.mark.parametrize(
    ("days", "edge", "beyond"), [("90d", 10, 0), ("88d", 0, 0), pytest.param("INF", 10, 10, marks=pytest.mark.nightly)]
)
async def test_influxdb_keeps_as_long_as_its_policy_says(
    tmp_path: Path, cache: Path, artifacts: Mapping[str, Artifact], days: str, edge: int, beyond: int
) -> None:
    """In each of its databases; and the twins, a policy that keeps less or for ever."""
    policies = shipped()
    name = "influxdb/databases.iql"
    changed = policies.documents[name].replace("DURATION 90d", f"DURATION {days}", 1)
    policies = replace(policies, documents={**policies.documents, name: changed})
    async with ground(tmp_path, cache, artifacts, policies) as on:
        probed = await InfluxKeeper().retention(on, component(policies, "influxdb"))
    found = {(one.part, round(one.newest_days, 1)): one.answered for one in probed.aged}
    assert {part for part, _ in found} == {"metrics", "performance", "user_activity"}
    assert (found["metrics", 89.9], found["metrics", 91.2]) == (edge, beyond)
    for part in ("performance", "user_activity"):
        assert (found[part, 60.0], found[part, 89.9], found[part, 91.2]) == (10, 10, 0)


NEWEST = "SELECT last(v) FROM tocsin_kept"
DELETE = "DELETE FROM tocsin_kept WHERE time = {}"


class LosesAPoint(InfluxKeeper):
    """A restore that brings everything back but the points of one instant, and one that was never there."""

    async def put_back(self, ground: Ground, site: Site, door: Address, backup: Path) -> None:
        """Restores; then deletes the newest point, and adds one."""
        await super().put_back(ground, site, door, backup)
        async with asking(site.address) as session:
            found = b"disabled"
            while b"disabled" in found:
                found = await answer(session, "/query", form={"q": NEWEST, "db": "metrics", "epoch": "ns"})
            at = found.split(b'"values":[[')[1].split(b",")[0].decode()
            found = b"disabled"
            while b"disabled" in found:  # one shard may answer before another is enabled
                found = await answer(session, "/query", form={"q": DELETE.format(at), "db": "metrics"})
            body = f"tocsin_kept,origin=x v=1.5 {int(at) - 1}".encode()
            await answer(session, "/write", query={"db": "metrics"}, body=body)


async def test_influxdb_comes_back_point_by_point(
    tmp_path: Path, cache: Path, artifacts: Mapping[str, Artifact]
) -> None:
    """Floats, integers and texts; and the twin, one point missing and one too many."""
    async with ground(tmp_path, cache, artifacts) as on:
        influxdb = component(on.policies, "influxdb")
        drilled = await InfluxKeeper().restore(on, influxdb, 3_000)
        assert drilled.equal
        assert drilled.records == 3_000
        lossy = await LosesAPoint().restore(on, influxdb, 3_000)
    assert (lossy.records, lossy.missing, lossy.changed, lossy.foreign) == (3_000, 1, 0, 1)


class LosesRows(MariaKeeper):
    """A restore after which a row is gone, another is changed, one is new and an index is not there."""

    async def put_back(self, ground: Ground, site: Site, address: Address, dump: Path) -> None:
        """Restores, then meddles."""
        await super().put_back(ground, site, address, dump)
        facts = {"host": address.host, "port": str(address.port), **site.secrets}
        async with connected(facts) as cursor:
            await cursor.execute("DELETE FROM comments WHERE id = 5")
            await cursor.execute("UPDATE comments SET body = 'x' WHERE id IN (6, 7)")
            await cursor.execute("INSERT INTO users VALUES (999, 'new', 'x', NOW())")
            await cursor.execute("ALTER TABLE comments DROP KEY comments_post, ADD KEY another (post_id)")


async def test_a_mariadb_comes_back_row_by_row(tmp_path: Path, cache: Path, artifacts: Mapping[str, Artifact]) -> None:
    """Tables with their keys, and every row; and the twin."""
    async with ground(tmp_path, cache, artifacts) as on:
        mysql = component(on.policies, "mariadb")
        drilled = await MariaKeeper().restore(on, mysql, 500)
        assert drilled.equal
        assert drilled.records == 3 + 500
        lossy = await LosesRows().restore(on, mysql, 500)
    assert (lossy.records, lossy.missing, lossy.changed, lossy.foreign) == (3 + 500, 1, 2 + 1, 1)


class LosesADocument(OpenSearchKeeper):
    """A restore after which a document is gone."""

    async def put_back(self, address: Address, name: str) -> None:
        """Restores, then deletes one document."""
        await super().put_back(address, name)
        query = {"query": {"term": {"metadata.sequence": "kept/drill/000000042"}}}
        async with Search(address) as store:
            what = "The document is deleted"
            await store.done("POST", "/community-platform-*/_delete_by_query?refresh=true", query, what=what)


@pytest.mark.nightly
async def test_the_store_of_logs_is_kept(tmp_path: Path, cache: Path, artifacts: Mapping[str, Artifact]) -> None:
    """Its edge, its restore, and the twins of both."""
    policies = shipped()
    async with ground(tmp_path, cache, artifacts, policies) as on:
        store = component(policies, "elasticsearch")
        assert (await OpenSearchKeeper().restore(on, store, 500)).equal
        lossy = await LosesADocument().restore(on, store, 700)
    assert (lossy.records, lossy.missing, lossy.changed, lossy.foreign) == (700, 1, 0, 0)
    for days, edge, beyond in ((90, 10, 0), (80, 0, 0), (120, 10, 10)):
        assert policies.logs is not None
        assert policies.logs.search is not None
        assert policies.logs.search.retention is not None
        retention = replace(policies.logs.search.retention, keep_days=days)
        search = replace(policies.logs.search, retention=retention)
        other = replace(policies, logs=replace(policies.logs, search=search))
        async with ground(tmp_path, cache, artifacts, other) as on:
            probed = await OpenSearchKeeper().retention(on, store)
        found = {round(one.newest_days, 1): one.answered for one in probed.aged}
        assert (found[1.0], found[89.9], found[91.2]) == (10, edge, beyond)
        assert probed.evidence == "stand-in"


@pytest.mark.nightly
async def test_the_whole_stage(tmp_path: Path, cache: Path, artifacts: Mapping[str, Artifact]) -> None:
    """Every store that is declared is probed and drilled at three sizes, and nothing stays."""
    policies = shipped()
    events: list[Payload] = []
    async with Guard.open(f"keeping-{time.time_ns()}", cache) as guard:
        runtime = ProcessRuntime(guard)
        try:
            await keep(policies, artifacts, tmp_path, runtime, guard, events.append, cache=cache, sizes=Sizes.GATE)
        finally:
            await runtime.close()
        assert list((guard.sandbox / "keeping").iterdir()) == []
    declared = next(one for one in events if isinstance(one, StoresDeclared))
    kinds = {one.kind for one in policies.components} & {keeper.kind for keeper in KEEPERS}
    assert {one.of_kind for one in declared.stores} == kinds
    probed = [one for one in events if isinstance(one, RetentionProbed)]
    assert {one.store for one in probed} == {one.store for one in declared.stores if one.ages}
    assert [one.error for one in probed] == [""] * len(probed)
    drilled = [one for one in events if isinstance(one, RestoreDrilled)]
    assert [one.store for one in drilled] == [one.store for one in declared.stores for _ in range(3)]
    assert all(one.equal for one in drilled)
    assert not any(isinstance(one, FindingNoted) for one in events)
