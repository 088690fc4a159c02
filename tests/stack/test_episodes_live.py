"""Episodes on a real way of records: each fault proves itself, costs what it may, and is undone."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path

import pytest
from record_way import flowing

from harness.drive.episodes import play_episodes
from harness.drive.records.registry import RECORD_FAULTS
from harness.model.audit import RecordsAudited
from harness.model.episodes import EpisodePlan, EpisodePlanned
from harness.model.stack import Artifact
from harness.model.verdicts import EpisodeVerdict, Verdict
from harness.verdict.episodes import judge_episodes
from harness.verdict.record import record

pytestmark = [pytest.mark.stack, pytest.mark.nightly]

HERE = {"elasticsearch", "filebeat", "emitter"}
TRIED = {fault.id: fault for fault in RECORD_FAULTS if fault.needs <= HERE}
GROUPS: Mapping[str, tuple[str, ...]] = {
    "gate": ("store-down", "shipper-killed", "store-refusing-documents", "log-rotated"),
    "lines": ("half-line", "not-utf-8", "long-line", "stack-trace", "clock-stepped"),
    "store": ("store-hanging", "store-refusing-requests", "store-disk-full"),
    "files": ("shipper-frozen", "log-rotated-while-shipper-down", "log-copy-truncated", "log-truncated", "storm"),
}
"""Each group has a way of its own: how a group goes says nothing of the next."""


def planned(name: str) -> EpisodePlan:
    """A short episode of a fault."""
    fault = TRIED[name]
    hold = min(fault.hold, timedelta(seconds=4))
    return EpisodePlan(
        f"episode-{name}", name, fault.summary, fault.signal, ("system",), timedelta(0), hold, fault.promise
    )


async def played(folder: Path, artifacts: Mapping[str, Artifact], names: Iterable[str]) -> tuple[EpisodeVerdict, ...]:
    """Faults, played one after another on a real way, and judged by the records that were announced meanwhile."""
    plans = [planned(name) for name in names]
    async with flowing(folder, artifacts) as flow:
        for plan in plans:
            flow.world.write(EpisodePlanned(plan))
        await play_episodes(plans, flow.way, flow.world, stop=asyncio.Event())
        audits = await flow.audited()
        told = record(flow.ledger(*audits))
    assert all(isinstance(one, RecordsAudited) for one in audits), audits
    return judge_episodes(told)


@pytest.mark.parametrize("names", GROUPS.values(), ids=GROUPS)
async def test_a_fault_costs_what_it_may(
    tmp_path: Path, artifacts: Mapping[str, Artifact], names: Sequence[str]
) -> None:
    """Each proves itself, is undone, and no more is lost, damaged or doubled than its promise allows."""
    verdicts = await played(tmp_path, artifacts, names)
    assert [one.fault for one in verdicts] == list(names)
    assert [(one.fault, one.verdict, one.told) for one in verdicts if one.verdict is not Verdict.PASS] == []
    assert all(one.written for one in verdicts)


def test_every_fault_of_the_logs_way_is_tried() -> None:
    """None is forgotten here."""
    assert {name for names in GROUPS.values() for name in names} == set(TRIED)
