"""summary.json keeps the outside contract: its shape, its numbers, and what is infinite."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from ledgers import CHANNELS, EPOCH, Play, message, smoke

import harness.report
from harness.model.events import DrillDeclared, Event
from harness.model.hops import Hop
from harness.report.summary import render, summary
from harness.verdict.judge import judge

SCHEMA = json.loads((Path(harness.report.__file__).parent / "summary.schema.json").read_text(encoding="utf-8"))
RUNS = {
    "healthy": smoke(),
    "lost": smoke({"ServerDown": Play(reaches=Hop.FIRING)}),
    "unproven": smoke({"ServerDown": Play(mute="no effect")}),
    "control-passes": smoke({"control-lost-1": Play(also_at=CHANNELS)}),
    "error": smoke(error="prometheus died"),
    "gate": smoke(profile="gate"),
    "simulated": smoke(signals={"ServerDown": "simulated"}),
    "cut": smoke()[:60],
    "empty": (),
}


def shown(events: tuple[Event, ...]) -> Any:
    """The summary as another program reads it."""
    return json.loads(render(judge(events), events))


@pytest.mark.parametrize("name", RUNS)
def test_every_run_keeps_the_shape(name: str) -> None:
    """Whatever happened, the summary is what its schema says, and strict JSON."""
    found = shown(RUNS[name])
    jsonschema.validate(found, SCHEMA, cls=jsonschema.Draft202012Validator)


def test_the_quality_of_alerts() -> None:
    """Counts with the shares made of them, times as quantiles, noise with its bound, and every false alarm by name."""
    alarm = (-2.0, message("ServerDown", "lane-02", "email", EPOCH + 8))
    found = shown(smoke({"HighErrorRatio": Play(reaches=Hop.VISIBLE)}, extra=[alarm]))["quality"]
    assert (found["injections"], found["fired"], found["unknown"]) == (6, 4, 0)
    assert found["recall"] == pytest.approx(0.6667, abs=1e-4)
    assert (found["alarms"], found["precision"]) == ({"explained": 4, "false": 1}, 0.8)
    assert found["detection_seconds"]["firing"] == {"p50": pytest.approx(3.9), "max": None}
    assert found["reset_seconds"]["max"] == pytest.approx(7.6)
    assert [one["fault"] for one in found["by_fault"]] == ["server-killed", "database-refused", "errors-from-database"]
    assert [one["recall"] for one in found["by_fault"]] == [1.0, 1.0, 0.0]
    assert found["false_alarms"] == [
        {"alert": "ServerDown", "lane": "lane-02", "at": "2027-01-15T08:00:08.000000Z", "fault": None}
    ]
    noise = found["noise"]
    assert noise["false_alarms"] == 1
    assert 0 < noise["per_lane_day"] < noise["upper_bound_per_lane_day"]
    assert noise["per_lane_day"] * noise["quiet_lane_seconds"] == pytest.approx(86_400, rel=1e-5)


@pytest.mark.parametrize("name", ["empty", "unproven"])
def test_no_evidence_of_quality_is_null(name: str) -> None:
    """Neither a perfect share nor a time of 0 s is made of nothing."""
    found = shown(RUNS[name])["quality"]
    part = found if name == "empty" else found["by_fault"][0]
    assert (part["injections"], part["recall"], part["precision"]) == (0, None, None)
    assert part["detection_seconds"]["message"] == part["reset_seconds"] == {"p50": None, "max": None}
    assert (found["noise"]["upper_bound_per_lane_day"] is None) is (name == "empty")


def test_the_schema_can_refuse() -> None:
    """The twin: a field that is missing or means something else is not what the schema says."""
    whole = shown(RUNS["healthy"])
    for field in SCHEMA["required"]:
        broken = {key: value for key, value in whole.items() if key != field}
        with pytest.raises(jsonschema.ValidationError, match=field):
            jsonschema.validate(broken, SCHEMA)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**whole, "verdict": "green"}, SCHEMA)
    for broken in ({"recall": 1.5}, {"by_fault": [{"fault": "server-killed"}]}, {"noise": {}}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**whole, "quality": {**whole["quality"], **broken}}, SCHEMA)


def test_a_healthy_run() -> None:
    """The fields that others rely on, with their values."""
    found = shown(RUNS["healthy"])
    assert (found["schema"], found["verdict"], found["exit_code"]) == ("tocsin/summary/1", "pass", 0)
    assert (found["profile"], found["seed"], found["attempt"], found["time_scale"]) == ("smoke", 7, 1, 1)
    assert found["injections"] == {"planned": 6, "tried": 6, "failed": 0}
    assert found["trials"] == {"n": 12, "failed": 0}
    assert found["critical_path_seconds"] == 60
    assert found["wall_seconds"] > 0
    assert found["excluded"] == ["retention"]
    assert found["negative_controls"] == [
        {"name": "lost", "trials": 2, "verdict": "fail", "as_expected": True},
        {"name": "late", "trials": 2, "verdict": "fail", "as_expected": True},
    ]
    assert found["rewired"] == [
        {
            "file": "alertmanager.yml",
            "path": "global.smtp_smarthost",
            "from": "mail:587",
            "to": "127.0.0.1:1",
            "why": "sink",
        }
    ]
    assert found["findings"][0]["subject"] == {"kind": "alert", "name": "X"}
    assert {one["name"]: one["instances"] for one in found["components"]} == {"alertmanager": 1, "node-exporter": 1}
    cell = found["alerts"][0]["cells"][0]
    assert (cell["channel"], cell["status"], cell["expected"], cell["delivered"], cell["resolved"]) == (
        "email",
        "heard",
        2,
        2,
        2,
    )
    assert cell["seconds"] == {"p50": pytest.approx(4, abs=1e-4), "max": pytest.approx(4, abs=1e-4)}
    assert cell["since_condition_seconds"]["max"] == pytest.approx(6, abs=1e-4)
    assert cell["trail_ends"] is None


def test_a_lost_message_has_no_number() -> None:
    """Infinite seconds are null, which JSON can say; the trail's end is a hop."""
    found = shown(RUNS["lost"])
    cell = found["alerts"][0]["cells"][0]
    assert cell["seconds"] == {"p50": None, "max": None}
    assert (cell["status"], cell["trail_ends"], cell["delivered"]) == ("broken", "firing", 0)
    assert (found["verdict"], found["exit_code"], found["trials"]["failed"]) == ("fail", 1, 4)
    assert "received" not in found["alerts"][0]["hops"]


def test_what_was_not_tried_is_counted() -> None:
    """Planned and not tried: the numbers differ, nothing is dropped."""
    found = shown(RUNS["unproven"])
    assert found["injections"] == {"planned": 6, "tried": 4, "failed": 0}
    assert found["trials"]["n"] == 8
    assert (found["verdict"], found["exit_code"]) == ("unverified", 3)


def test_alerts_that_no_drill_raises_are_listed() -> None:
    """With the reason that the policy gives."""
    declared = DrillDeclared("Watchdog", "low", "", "real", (), "none", why_not="it always fires")
    events = smoke(extra=[(-9.5, declared)])
    found = summary(judge(events), events)
    assert found["not_drilled"] == [{"alert": "Watchdog", "why": "it always fires"}]
    assert found["verdict"] == "pass"
