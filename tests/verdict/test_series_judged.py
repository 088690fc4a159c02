"""Time series in InfluxDB, judged: what is lost is red, what nobody looked at is unverified, a crash is told apart."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import pytest
from ledgers import EPOCH, smoke

from harness.model.collection import CensusTaken, ScrapesCounted
from harness.model.events import ComponentExited, ComponentRestarted, Payload, TargetDeclared
from harness.model.policy import Basis, Target
from harness.model.series import Gap, SeriesCompared, SeriesControl
from harness.model.source import Span
from harness.model.verdicts import TargetVerdict, Verdict
from harness.report.junit import render as junit
from harness.report.summary import render as summary
from harness.report.terminal import render as terminal
from harness.verdict.judge import judge

AT = EPOCH + 60
TARGETS = {
    name: Target(name, Basis.CENSUS, 0.99, "ratio", "x", Span("targets.yaml", 1, 1, 1, 1))
    for name in ("metrics-collected", "logs-collected")
}
WHOLE = SeriesCompared(
    "metrics", "InfluxDB 1.6.7", "prometheus", EPOCH, EPOCH + 90, 900, 250, 9000, 9000, control=SeriesControl(2, 2, 1)
)
SLOTS = ScrapesCounted("mysql", "127.0.0.1:1", "lane-09", 2.0, EPOCH + 10, 100, 100, 100, (), 2.0)
COUNTED: tuple[Payload, ...] = (SLOTS, CensusTaken(EPOCH + 10, EPOCH + 210, 1))


def judged(
    *more: Payload, target: str = "metrics-collected", lives: Sequence[tuple[float, Payload]] = ()
) -> TargetVerdict:
    """The target over a run in which every scrape slot is stored, and this was told."""
    extra = [(-10.0, TargetDeclared(TARGETS[target])), *lives, *((300.0, one) for one in (*COUNTED, *more))]
    found = judge(smoke(None, profile="gate", extra=extra)).targets
    return next(one for one in found if one.id == target)


def test_all_samples_there_is_a_pass_and_none_told_is_no_matter() -> None:
    """The claim says how many; policies that write no series are judged as before."""
    found = judged(WHOLE)
    assert found.verdict is Verdict.PASS
    assert "the class metrics in InfluxDB 1.6.7 has 9000 of 9000 samples of 250 series" in found.claim
    assert judged().verdict is Verdict.PASS
    assert "class" not in judged().claim


@pytest.mark.parametrize(
    ("change", "verdict", "said"),
    [
        ({"missing": 1, "found": 8999, "gaps": (Gap(AT, AT + 1, 1),)}, Verdict.FAIL, "1 missing"),
        ({"differing": 1, "examples": {"differing": ("up{} at 1",)}}, Verdict.FAIL, "1 differing (up{} at 1)"),
        ({"foreign": 2}, Verdict.FAIL, "2 foreign"),
        ({"twice": 1}, Verdict.FAIL, "1 twice"),
        ({"control": SeriesControl()}, Verdict.UNVERIFIED, "nothing could be spoilt"),
        ({"control": SeriesControl(2, 2, 1, "counted 0")}, Verdict.UNVERIFIED, "not counted exactly (counted 0)"),
        ({"error": "InfluxDB died\n  seen: x"}, Verdict.UNVERIFIED, "was not compared: InfluxDB died"),
        ({"expected": 0, "found": 0}, Verdict.UNVERIFIED, "nothing was due"),
        ({"missing": 9000, "found": 0, "control": SeriesControl()}, Verdict.FAIL, "9000 missing"),
        ({"overwritten": 7}, Verdict.PASS, "7 stand under another one"),
    ],
)
def test_what_is_wrong_with_a_class_is_told_and_judged(change: dict[str, object], verdict: Verdict, said: str) -> None:
    """One lost sample is red although 99 % are there; what nobody could compare is no pass."""
    found = judged(replace(WHOLE, **change))  # type: ignore[arg-type]
    assert found.verdict is verdict
    assert said in found.claim


def lives(ended: float, again: float, name: str = "prometheus", lane: str | None = None) -> list[tuple[float, Payload]]:
    """An end of a component and its new beginning."""
    return [
        (ended - EPOCH - 10, ComponentExited(name, lane, -9, expected=True)),
        (again - EPOCH - 10, ComponentRestarted(name, lane, again - ended)),
    ]


@pytest.mark.parametrize(
    ("gap", "told", "verdict"),
    [
        (Gap(AT - 3, AT + 0.5, 40), lives(AT, AT + 1), Verdict.PASS),
        (Gap(AT - 3, AT + 0.5, 40), [], Verdict.FAIL),
        (Gap(AT - 3, AT + 0.5, 40), lives(AT, AT + 1, "alertmanager"), Verdict.FAIL),
        (Gap(AT - 3, AT + 0.5, 40), lives(AT, AT + 1, lane="lane-01"), Verdict.FAIL),
        (Gap(AT - 12, AT + 0.5, 40), lives(AT, AT + 1), Verdict.FAIL),
        (Gap(AT - 3, AT + 8, 40), lives(AT, AT + 1), Verdict.FAIL),
    ],
)
def test_what_a_killed_prometheus_had_not_sent_is_told_apart(
    gap: Gap, told: list[tuple[float, Payload]], verdict: Verdict
) -> None:
    """Only the seconds before its own end and until it sends again; whatever else is missing is lost."""
    found = judged(replace(WHOLE, found=8960, missing=40, gaps=(gap,)), lives=told)
    assert found.verdict is verdict
    assert ("40 were not yet sent when prometheus was killed" in found.claim) is (verdict is Verdict.PASS)


def test_classes_of_events_are_judged_with_the_records() -> None:
    """`performance` and `user_activity` are of the logs' target, and nothing of the metrics'."""
    lost = replace(WHOLE, of_class="user_activity", missing=3)
    assert judged(lost).verdict is Verdict.PASS
    found = judged(lost, target="logs-collected")
    assert found.verdict is Verdict.FAIL
    assert "the class user_activity" in found.claim
    assert "3 missing" in found.claim


def test_every_report_tells_of_every_class() -> None:
    """Terminal, JSON and JUnit: the numbers, the control, and what is wrong by name."""
    bad = replace(WHOLE, of_class="performance", missing=1, examples={"missing": ("run/a/7",)})
    run = smoke(None, profile="gate", extra=[(300.0, one) for one in (WHOLE, bad)])
    judgement = judge(run)
    text = terminal(judgement, run)
    assert "time series in InfluxDB" in text
    assert "- series of performance: missing: run/a/7" in text
    found = json.loads(summary(judgement, run))["series"]
    assert [(one["class"], one["verdict"], one["found"], one["missing"]) for one in found] == [
        ("metrics", "pass", 9000, 0),
        ("performance", "fail", 9000, 1),
    ]
    assert found[0]["control"] == {"withheld": 2, "changed": 2, "added": 1, "exact": True, "told": ""}
    xml = junit(judgement, run)
    assert 'name="metrics"' in xml
    assert "9000 of 9000 samples of 250 series, 1 missing (run/a/7)" in xml
