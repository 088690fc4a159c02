"""Episodes on a real way of events, from an application's sender into ClickHouse: nothing acknowledged is lost."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from record_way import EVENTS, Flow, flowing

from harness.drive.episodes import play_episodes
from harness.drive.monitoring import figure
from harness.drive.records import LaneControl, RecordFault
from harness.drive.records.clickhouse_down import ClickhouseDown
from harness.drive.records.collector_killed import CollectorKilled
from harness.drive.records.waiting import QUEUE
from harness.model.audit import Fates, RecordsAudited
from harness.model.episodes import EpisodePlan, EpisodePlanned, EpisodeProven
from harness.model.records import MANIFESTS
from harness.model.stack import Address, Artifact
from harness.model.verdicts import EpisodeVerdict, Verdict
from harness.observe.records.of_clickhouse import audit_events
from harness.stack.subject.events import EventSender
from harness.stack.subject.happenings import Seen
from harness.stack.subject.logs import Record
from harness.stack.subject.settings import Announcing
from harness.verdict.episodes import judge_episodes
from harness.verdict.record import record

pytestmark = pytest.mark.stack

KINDS = ("clickhouse", "event-collector")
LANE = "lane-01"
EVERY_SECONDS = 0.02
"""Between two requests of the application; each gives rise to two events or three."""

HOLD = timedelta(seconds=4)
WAITING = 100
"""So many acknowledged events wait in the collector before it is killed: who forgets them loses them."""

REQUESTS = (("list_posts", 200, b""), ("create_post", 201, b'{"id": 7}'), ("login", 401, b""))


async def waiting(collector: Address) -> float:
    """How many events wait in the collector; none where it does not tell."""
    count = await figure(collector, QUEUE)
    return 0.0 if isinstance(count, str) else count


class KilledWhileTheyWait(CollectorKilled):
    """The collector is killed with acknowledged events on its disk, which ClickHouse refuses meanwhile."""

    async def disturb(self, control: LaneControl) -> None:
        """Has them wait, and kills it."""
        await control.refuse("clickhouse")
        async with asyncio.timeout(30):
            while await waiting(self.address(control)) < WAITING:  # noqa: ASYNC110 - the collector tells nobody
                await asyncio.sleep(0.1)
        await super().disturb(control)

    async def mend(self, control: LaneControl) -> None:
        """Starts it, beside a ClickHouse that answers again."""
        await control.restore("clickhouse")
        await super().mend(control)


class Forgetting(KilledWhileTheyWait):
    """A collector that forgets its spool: it comes back with an empty folder."""

    def __init__(self, spool: Path) -> None:
        self._spool = spool

    async def mend(self, control: LaneControl) -> None:
        """Removes what it has kept, and starts it."""
        assert any(self._spool.iterdir())
        shutil.rmtree(self._spool)
        await super().mend(control)


@asynccontextmanager
async def visited(flow: Flow) -> AsyncIterator[EventSender]:
    """An application that is visited; what it does with its events is what the subject of every lane does."""
    collector = flow.stack.layout.site("event-collector").address
    gone: list[int] = []
    sender = EventSender(
        f"http://{collector}",
        flow.folder / "sender",
        environment=LANE,
        instance="test",
        lost=gone.append,
        announcing=Announcing(flow.folder / MANIFESTS, flow.run, LANE),
    )

    async def visits() -> None:
        number = 0
        while True:
            action, status, answer = REQUESTS[number % len(REQUESTS)]
            told = Record("posts", action, status, 0.012, "192.0.2.1", "test", 1, None, f"r-{number}")
            sender.request(Seen(told, "GET", "/api/posts", answer, time.time()))
            number += 1
            await asyncio.sleep(EVERY_SECONDS)

    with sender:
        working = [asyncio.create_task(sender.run()), asyncio.create_task(visits())]
        try:
            yield sender
        finally:
            for task in working:
                task.cancel()
            await asyncio.wait(working)


async def acknowledged(flow: Flow) -> None:
    """Waits until every batch of the episodes is acknowledged: before it is, the sender announces no other one."""

    def announced() -> int:
        return sum(path.stat().st_size for path in (flow.folder / MANIFESTS).iterdir())

    async with asyncio.timeout(30):
        for _ in range(2):
            before = announced()
            while announced() == before:  # noqa: ASYNC110 - the sender tells nobody
                await asyncio.sleep(0.1)


async def played(
    folder: Path, artifacts: Mapping[str, Artifact], *faults: RecordFault | type[Forgetting]
) -> tuple[tuple[EpisodeVerdict, ...], Fates, Flow]:
    """Faults, played one after another while events flow; their verdicts, and what became of every event."""
    async with flowing(folder, artifacts, kinds=KINDS) as flow:
        spool = flow.stack.layout.site("event-collector").data / "store"
        made = [one if isinstance(one, RecordFault) else one(spool) for one in faults]
        plans = [
            EpisodePlan(f"episode-{n}", one.id, one.summary, one.signal, EVENTS, timedelta(0), HOLD, one.promise)
            for n, one in enumerate(made)
        ]
        async with visited(flow):
            for plan in plans:
                flow.world.write(EpisodePlanned(plan))
            by_id = {one.id: one for one in made}
            await play_episodes(plans, flow.way, flow.world, stop=asyncio.Event(), faults=by_id)
            await acknowledged(flow)
        audits = await audit_events(
            flow.stack.layout.site("clickhouse").address,
            flow.schemas,
            flow.folder / MANIFESTS,
            database="community_platform",
            since=flow.began,
            until=time.time(),
            run=flow.run,
            windows=flow.windows(),
        )
        told = record(flow.ledger(*audits))
    fates = [one.fates for one in audits if isinstance(one, RecordsAudited)]
    assert len(fates) == len(audits) == len(EVENTS), audits
    return judge_episodes(told), sum(fates, Fates()), flow


async def test_no_acknowledged_event_is_lost(tmp_path: Path, artifacts: Mapping[str, Artifact]) -> None:
    """ClickHouse down, then the collector killed: every event is found that was announced and not taken back."""
    verdicts, fates, flow = await played(tmp_path, artifacts, ClickhouseDown(), CollectorKilled())
    print(*verdicts, fates, sep="\n")  # noqa: T201 - the figures, for who runs it with -s
    assert [(one.fault, one.verdict, one.told) for one in verdicts if one.verdict is not Verdict.PASS] == []
    assert [one.fault for one in verdicts] == ["clickhouse-down", "collector-killed"]
    assert len([one for _, one in flow.told if isinstance(one, EpisodeProven)]) == 2
    assert all(one.written and one.lost == 0 for one in verdicts)
    assert (fates.lost, fates.corrupt, fates.unverified) == (0, 0, 0)
    assert fates.written > sum(one.written for one in verdicts)


@pytest.mark.nightly
async def test_what_waits_on_its_disk_outlives_the_collector(tmp_path: Path, artifacts: Mapping[str, Artifact]) -> None:
    """Killed with acknowledged events that only its disk has, it sends them when it is back."""
    [verdict], fates, _ = await played(tmp_path, artifacts, KilledWhileTheyWait())
    assert (verdict.verdict, verdict.lost, fates.lost) == (Verdict.PASS, 0, 0), verdict


@pytest.mark.nightly
async def test_a_collector_that_forgets_its_spool_is_seen(tmp_path: Path, artifacts: Mapping[str, Artifact]) -> None:
    """The twin: the same death, and what had been acknowledged is lost, and held against the episode."""
    [verdict], fates, _ = await played(tmp_path, artifacts, Forgetting)
    assert verdict.verdict is Verdict.FAIL, verdict
    assert verdict.lost >= WAITING // 2
    assert fates.lost >= verdict.lost
    assert f"{verdict.lost} lost" in verdict.told[0]
