"""Scenes in every report: what was expected, whether it came, what was left out, and that a copy was shortened."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from junitparser import Error, Failure, JUnitXml, TestSuite
from ledgers import EPOCH, message, smoke

import harness.report
from harness.model.events import Event, Rewired
from harness.model.scenes import (
    Demand,
    Expectation,
    SceneDid,
    SceneEnded,
    SceneLeftOut,
    ScenePlan,
    ScenePlanned,
    SceneStarted,
)
from harness.model.stack import Difference
from harness.report import junit, summary, terminal
from harness.verdict.judge import judge

SCHEMA = json.loads((Path(harness.report.__file__).parent / "summary.schema.json").read_text(encoding="utf-8"))
ALERT, LANE, BEGUN = "DatabaseUnreachable", "lane-09", 200.0
HEARD = Expectation(Demand.HEARD, (ALERT,), ("slack",), since="broken", within=timedelta(seconds=30))
PLAN = ScenePlan("a-scene", "Something breaks.", LANE, (ALERT,), (HEARD,), timedelta(seconds=40))
SHORT = Difference("alertmanager.yml", "route.repeat_interval", "1h", "12s", "shortened copy: after 12s, not after 1h")


def run(arrives: float | None = 6.0, why: str = "", ends: bool = True) -> tuple[Event, ...]:
    """A healthy run with a scene behind its drills: its message arrives so long after its fault, or never."""
    at = EPOCH + 10 + BEGUN
    extra: list[tuple[float, Any]] = [
        (-8.5, ScenePlanned(PLAN)),
        (-8.5, SceneLeftOut("another", "no drill names the fault x")),
        (BEGUN, SceneStarted("a-scene", LANE)),
        (BEGUN, Rewired(SHORT)),
        (BEGUN, SceneDid("a-scene", "broken", at, "it is broken")),
    ]
    if arrives is not None:
        extra.append((BEGUN + arrives, message(ALERT, LANE, "slack", at + arrives)))
    if ends:
        extra.append((BEGUN + 40, SceneEnded("a-scene", why)))
    return smoke(extra=extra)


@pytest.mark.parametrize(
    ("events", "verdict", "first"),
    [
        (run(), "pass", f"{ALERT} was heard everywhere, 6.0 s after `broken` at the latest"),
        (run(None), "fail", f"{ALERT} at slack was not heard within 30 s of `broken`"),
        (run(why="it broke off"), "unverified", "it was not played to its end: it broke off"),
    ],
    ids=["pass", "fail", "unverified"],
)
def test_the_summary_lists_scenes(events: tuple[Event, ...], verdict: str, first: str) -> None:
    """Each with its verdict and what decided it, in the shape of the schema; the run's verdict follows."""
    found = json.loads(summary.render(judge(events), events))
    jsonschema.validate(found, SCHEMA, cls=jsonschema.Draft202012Validator)
    (scene,) = found["scenes"]
    assert (scene["id"], scene["lane"], scene["summary"], scene["seconds"]) == (
        "a-scene",
        LANE,
        "Something breaks.",
        40.0,
    )
    assert (scene["verdict"], scene["told"][0], found["verdict"]) == (verdict, first, verdict)
    assert found["scenes_left_out"] == [{"id": "another", "why": "no drill names the fault x"}]
    assert any("shortened copy" in one["why"] for one in found["rewired"])


def test_the_terminal_shows_scenes() -> None:
    """A line each; all that was seen where it is not green; what was left out, and what was shortened."""
    good, bad = (terminal.render(judge(events), events) for events in (run(), run(None)))
    assert "scene not played: another (no drill names the fault x)" in good
    assert "alertmanager.yml, route.repeat_interval: shortened copy: after 12s, not after 1h" in good
    (line,) = [line for line in good.splitlines() if line.startswith(" a-scene ")]
    assert line.split()[:5] == ["a-scene", LANE, "pass", "40", "s"]
    assert f"scene a-scene in {LANE}: Something breaks." not in good
    assert f"scene a-scene in {LANE}: Something breaks.\n  {ALERT} at slack was not heard within 30 s" in bad
    assert f"- scene a-scene is fail: {ALERT} at slack was not heard within 30 s of `broken`" in bad


@pytest.mark.parametrize(
    ("events", "kind"),
    [(run(), None), (run(None), Failure), (run(ends=False), Error)],
    ids=["pass", "fail", "unverified"],
)
def test_junit_has_a_case_for_each(events: tuple[Event, ...], kind: type | None) -> None:
    """A failure where the monitoring failed, an error where nobody knows, nothing where it passed."""
    report = JUnitXml.fromstring(junit.render(judge(events), events).encode())
    (case,) = [
        case for suite in report if isinstance(suite, TestSuite) for case in suite if case.classname == "tocsin.scenes"
    ]
    assert case.name == "a-scene"
    assert [type(result) for result in case.result] == ([] if kind is None else [kind])


def test_a_run_without_scenes_has_none() -> None:
    """An empty list, and no table."""
    events = smoke()
    found = json.loads(summary.render(judge(events), events))
    assert (found["scenes"], found["scenes_left_out"]) == ([], [])
    assert "scenes" not in terminal.render(judge(events), events)
