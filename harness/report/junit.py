"""junit.xml: a test case for each target, alert at a channel, negative control and scene, and one for the whole run."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping

from junitparser import Error, Failure, JUnitXml, Skipped, TestCase, TestSuite

from harness.model.events import Event
from harness.model.plan import Injection
from harness.model.verdicts import (
    AlertCoverage,
    Cell,
    CellStatus,
    ControlVerdict,
    Judgement,
    Outcome,
    SceneVerdict,
    TargetVerdict,
    Trial,
    Verdict,
)
from harness.report.timeline import trail
from harness.verdict.record import Record, record
from harness.verdict.series import sentence, verdict_of

# XML 1.0 has no way to write these, not even escaped; a message's own words may hold them.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render(judgement: Judgement, events: Iterable[Event]) -> str:
    """The run as JUnit XML.

    What failed carries the hop timeline of every failed trial; what has no evidence is an error. Only what the policy
    sets aside, and rates that a smoke run does not claim, are skipped, with the reason.
    """
    told = record(events)
    suite = TestSuite("tocsin")
    for name, value in _properties(told, judgement):
        suite.add_property(name, _xml(value))
    for case in _cases(judgement, told):
        suite.add_testcase(case)
    suite.time = told.wall_seconds
    report = JUnitXml("tocsin")
    report.add_testsuite(suite)
    report.update_statistics()  # type: ignore[no-untyped-call]  # junitparser types most, not this
    # Statistics take the sum of the cases for the time; lanes run side by side, so the run's own is the true one.
    suite.time = report.time = round(told.wall_seconds, 3)
    text: bytes = report.tostring()  # type: ignore[no-untyped-call]
    return text.decode("utf-8") + "\n"


def _properties(told: Record, judgement: Judgement) -> Iterator[tuple[str, str]]:
    yield "verdict", judgement.verdict.value
    yield "headline", judgement.headline
    yield "profile", told.profile
    if told.started is not None:
        yield "run", told.started.run
        yield "seed", str(told.started.seed)
        yield "attempt", str(told.started.attempt)
        yield "commit", told.started.commit
        yield "tocsin", told.started.tocsin
    for name, version in dict.fromkeys((one.report.name, one.report.version) for one in told.components):
        yield f"version.{name}", version


def _cases(judgement: Judgement, told: Record) -> Iterator[TestCase]:
    planned = {story.planned.id: story.planned for story in told.stories}
    for target in judgement.targets:
        yield _target(target, told.profile)
    for alert in judgement.alerts:
        for cell in alert.cells:
            yield _cell(alert, cell, judgement, planned)
    for control in judgement.controls:
        yield _control(control)
    for scene in judgement.scenes:
        yield _scene(scene)
    for one in told.series:
        yield _judged(_case("series", one.of_class, one.seconds), verdict_of(one, told), sentence(one, told), one.error)
    yield _run(judgement)


def _target(target: TargetVerdict, profile: str) -> TestCase:
    case = _case("targets", target.id)
    if target.excluded is not None:
        return _skipped(case, f"set aside: {target.excluded}")
    if target.verdict is Verdict.INCONCLUSIVE and profile == "smoke":
        return _skipped(case, f"inconclusive: {target.claim}")
    return _judged(case, target.verdict, f"{target.id} is {target.verdict}", target.claim)


def _cell(alert: AlertCoverage, cell: Cell, judgement: Judgement, planned: Mapping[str, Injection]) -> TestCase:
    slowest = cell.seconds.max if cell.seconds else math.inf
    case = _case("alerts", f"{alert.alert} at {cell.channel}", slowest if math.isfinite(slowest) else 0.0)
    verdict = {CellStatus.HEARD: Verdict.PASS, CellStatus.UNVERIFIED: Verdict.UNVERIFIED}.get(cell.status, Verdict.FAIL)
    lines = [
        line
        for trial in _trials(judgement, alert.alert, cell.channel)
        if trial.outcome is not Outcome.HEARD
        for line in trail(trial, planned.get(trial.injection))
    ]
    ends = f", the trail ends at {cell.trail_ends}" if cell.trail_ends else ""
    summary = f"{cell.status}: {cell.delivered} of {cell.expected} delivered{ends}"
    return _judged(case, verdict, summary, "\n".join(lines))


def _trials(judgement: Judgement, alert: str, channel: str) -> list[Trial]:
    return [
        trial
        for one in judgement.injections
        if one.alert == alert and one.control is None
        for trial in one.trials
        if trial.channel == channel
    ]


def _control(control: ControlVerdict) -> TestCase:
    case = _case("controls", control.name)
    text = f"{control.trials} trials, judged {control.verdict}; it must be fail, by our interference and nothing else"
    verdict = Verdict.PASS if control.as_expected else Verdict.UNVERIFIED
    return _judged(case, verdict, "the negative control did not fail as it was meant to", text)


def _scene(scene: SceneVerdict) -> TestCase:
    case = _case("scenes", scene.id, scene.seconds)
    return _judged(case, scene.verdict, f"scene {scene.id} is {scene.verdict}", "\n".join(scene.told))


def _run(judgement: Judgement) -> TestCase:
    """The whole run: it carries what belongs to no cell, e.g. messages that no fault explains."""
    case = _case("run", "verdict")
    return _judged(case, judgement.verdict, judgement.headline, "\n".join(judgement.reasons))


def _judged(case: TestCase, verdict: Verdict, message: str, text: str) -> TestCase:
    """A case with its verdict: nothing for pass, a failure where the monitoring failed, an error without a verdict."""
    if verdict is Verdict.PASS:
        return case
    kind = Failure if verdict is Verdict.FAIL else Error
    result = kind(_xml(message), verdict.value)
    result.text = _xml(text)
    case.result = [result]
    return case


def _skipped(case: TestCase, why: str) -> TestCase:
    case.result = [Skipped(_xml(why))]
    return case


def _case(group: str, name: str, seconds: float = 0.0) -> TestCase:
    return TestCase(_xml(name), f"tocsin.{group}", round(seconds, 3))


def _xml(text: str) -> str:
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)
