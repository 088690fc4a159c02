"""Every scene, played on a real stack with the shipped policies and under load: each gets what it expects."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from harness.drive.casting import Cast
from harness.drive.faults.registry import FAULTS
from harness.drive.interruption import Interruption
from harness.drive.plan.timetable import PLAYED, plan
from harness.drive.scenes.registry import SCENES, planned
from harness.model.events import DrillDeclared, Event, Rewired, RunEnded
from harness.model.plan import Profile, Timetable, Traits
from harness.model.policy import Policies
from harness.model.scenes import SceneDid
from harness.model.stack import Artifact
from harness.model.verdicts import SceneVerdict, Verdict
from harness.observe.declaration import declare
from harness.observe.folder import new_folder
from harness.observe.ledger import Ledger, read
from harness.rehearsal import Rehearsal, Script
from harness.run import load_policies
from harness.verdict.judge import judge
from harness.verdict.record import record

ROOT = Path(__file__).parent.parent.parent


def scenes_alone(policies: Policies) -> Timetable:
    """The nightly plan without its injections."""
    scenes, left_out = planned(Cast(policies))
    assert not left_out, "the shipped policies have somebody for every part"
    whole = plan(
        policies.drills,
        policies.priorities,
        {alert.name: alert for alert in policies.alerts},
        {fault.id: Traits(fault.touches, fault.reach) for fault in FAULTS},
        profile=Profile.NIGHTLY,
        seed=1,
        lanes=1,
        scenes=scenes,
        only=("ServerDown",),
    )
    stages = tuple(replace(stage, after=frozenset()) for stage in whole.stages if stage.name == PLAYED)
    return replace(whole, injections=(), stages=stages)


def rehearsed(folder: Path, cache: Path) -> tuple[Event, ...]:
    """The ledger of a run in which nothing but the scenes is played."""
    loaded = load_policies(ROOT / "policies")
    timetable = scenes_alone(loaded.policies)
    said: list[str] = []
    run, own = new_folder(folder)
    with Interruption(said.append) as interruption, Ledger.create(own / "ledger.jsonl") as ledger:
        declare(ledger.write, loaded.policies, loaded.findings, timetable, {one.id: one.signal for one in FAULTS})
        script = Script(run, loaded.policies, timetable, cache, own, ROOT / "loadtests" / "community.py")
        asyncio.run(Rehearsal(script, ledger, said.append, interruption).carry_out())
        ledger.write(RunEnded(0.0))
    return tuple(read(own / "ledger.jsonl"))


@pytest.mark.stack
@pytest.mark.nightly
def test_every_scene_gets_what_it_expects(tmp_path: Path, artifacts: Mapping[str, Artifact], cache: Path) -> None:
    """All of them pass; what the shortened copy changes is listed; no message is left that nobody explains."""
    assert artifacts
    events = rehearsed(tmp_path, cache)
    judgement = judge(events)
    verdicts: dict[str, SceneVerdict] = {scene.id: scene for scene in judgement.scenes}
    assert list(verdicts) == [scene.id for scene in SCENES]
    assert {name: scene.told for name, scene in verdicts.items() if scene.verdict is not Verdict.PASS} == {}
    assert not [reason for reason in judgement.reasons if "belongs to no injection" in reason]
    shortened = [
        event.payload.difference
        for event in events
        if isinstance(event.payload, Rewired) and "shortened copy" in event.payload.difference.why
    ]
    assert ("route.repeat_interval", "1h", "12s") in {(one.path, one.before, one.after) for one in shortened}
    assert any(isinstance(event.payload, SceneDid) and event.payload.mark == "shortened" for event in events)
    assert {event.payload.alert for event in events if isinstance(event.payload, DrillDeclared)} > {"DatabaseDown"}
    assert len(record(events).scenes) == len(SCENES)
