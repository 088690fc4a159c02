"""Episodes on a real way of records that was sabotaged: what is doubled or withheld is held against the episode."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from record_way import Flow, flowing

from harness.drive.episodes import play_episodes
from harness.drive.records import LaneControl
from harness.drive.records.shipper_killed import ShipperKilled
from harness.model.episodes import EpisodePlan, EpisodePlanned, EpisodeProven
from harness.model.records import announced_from, line_of
from harness.model.stack import SHARED, Artifact
from harness.model.verdicts import EpisodeVerdict, Verdict
from harness.verdict.episodes import judge_episodes
from harness.verdict.record import record

pytestmark = [pytest.mark.stack, pytest.mark.nightly]

WITHHELD = 3
DEADLINE_SECONDS = 150.0
SHORT = timedelta(seconds=1)


class Forgetting(ShipperKilled):
    """A shipper that loses its registry when it is killed, and so reads every file from its beginning."""

    def __init__(self, registry: Path) -> None:
        self._registry = registry

    async def mend(self, control: LaneControl) -> None:
        """Removes what it knew, and starts it."""
        shutil.rmtree(self._registry, ignore_errors=True)
        await super().mend(control)


def nameless(root: Path) -> None:
    """No processor writes a record's `_id`: sent twice it is stored twice."""
    text = (root / "filebeat.yml").read_text()
    assert "target_field: '@metadata._id'" in text
    (root / "filebeat.yml").write_text(text.replace("target_field: '@metadata._id'", "target_field: fingerprint"))


def withhold(flow: Flow) -> None:
    """Announces records, at the instant at which the fault was proven, that nobody writes."""
    [at] = {one.at for _, one in flow.told if isinstance(one, EpisodeProven)}
    [manifest] = (flow.folder / "manifests").glob("system.*.tsv")
    last = announced_from(manifest.read_bytes().splitlines(keepends=True)[-1])
    assert last is not None
    lines = [line_of(replace(last, identity=f"{last.identity}00{number}", at=at)) for number in range(WITHHELD)]
    with manifest.open("ab") as file:
        file.write(b"".join(lines))


async def played(flow: Flow, fault: ShipperKilled) -> None:
    """One short episode of a fault."""
    plan = EpisodePlan(
        "episode-x", fault.id, fault.summary, fault.signal, ("system",), timedelta(0), SHORT, fault.promise
    )
    flow.world.write(EpisodePlanned(plan))
    await play_episodes([plan], flow.way, flow.world, stop=asyncio.Event(), faults={fault.id: fault})


async def judged(flow: Flow) -> EpisodeVerdict:
    """What became of its records, once nobody writes any more: the audit waits for a number of records, whichever."""
    await flow.stack.lane(SHARED).hold_down("system")
    ends = time.monotonic() + DEADLINE_SECONDS
    while True:
        audits = await flow.audited()
        [verdict] = judge_episodes(record(flow.ledger(*audits)))
        if (
            verdict.verdict is Verdict.FAIL or time.monotonic() >= ends
        ):  # until the shipper has read all anew, it passes
            return verdict
        await asyncio.sleep(1)


async def test_a_shipper_that_forgets_doubles(tmp_path: Path, artifacts: Mapping[str, Artifact]) -> None:
    """Without its registry and without `_id` it stores records twice, and that fails; nothing is lost by it."""
    async with flowing(tmp_path, artifacts, nameless) as flow:
        await played(flow, Forgetting(flow.stack.layout.site("filebeat").data / "registry"))
        verdict = await judged(flow)
    assert (verdict.verdict, verdict.lost) == (Verdict.FAIL, 0), verdict
    assert verdict.duplicate > 0
    assert "more than once" in verdict.told[0]


async def test_what_is_withheld_is_counted_exactly(tmp_path: Path, artifacts: Mapping[str, Artifact]) -> None:
    """Three announced records that nobody writes are lost, neither more nor fewer; the shipper itself lost none."""
    async with flowing(tmp_path, artifacts) as flow:
        await played(flow, ShipperKilled())
        withhold(flow)
        verdict = await judged(flow)
    assert (verdict.verdict, verdict.lost, verdict.duplicate) == (Verdict.FAIL, WITHHELD, 0), verdict
    assert f"{WITHHELD} lost" in verdict.told[0]
