"""What the benchmarks make of what they measured; that they measure at all is seen when they are run."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from ledgers import EPOCH, Ledger, injection, numbered, only, smoke
from recorded_runs import write_run

from benchmarks import gate, one_alert, sonda, stack
from harness.model.events import (
    ComponentReady,
    Event,
    FaultApplying,
    InjectionClosed,
    InjectionPlanned,
    Payload,
    PlanClosed,
    RunEnded,
    RunStarted,
    StageEnded,
    StagePlanned,
    StageStarted,
)
from harness.model.notifications import MessageArrived
from harness.model.plan import Injection, Stage
from harness.model.stack import Address, ComponentReport
from harness.report.recorded import Recorded, read_run
from harness.run import load_policies
from harness.verdict.judge import judge

POLICIES = Path(__file__).parent.parent / "policies"
SAID = """\
▶ up  signal_type: metrics | rate: 1/s | encoder: remote_write | duration: 8s
■ up  completed in 7.2s | events: 8 | bytes: 811 B | errors: 0

  {firing}
  {resolution}

  PASS 1 alert expectation(s) verified via Prometheus (scenario ran 7s)
"""
PASSED = sonda.read(
    SAID.format(
        firing="PASS ServerDown firing after 4s (within 8s)",
        resolution="PASS ServerDown resolved after 0s (within 15s of scenario end)",
    ),
    exit_code=0,
    seconds=8.0,
)


def drilled(
    *windows: tuple[str, str, float, float], stages: tuple[tuple[str, float, float], ...], profile: str = "gate"
) -> tuple[Event, ...]:
    """A ledger of injections: stage, lane, from and to, in seconds since the run began; stages with theirs."""
    ledger = Ledger()
    ledger.add(EPOCH, RunStarted("r1", "0.1.0", profile, 7, 1, "abc1234", "process", 1.0, "policies", 2))
    planned: list[Injection] = []
    for number, (stage, lane, began, ended) in enumerate(windows, start=1):
        one = replace(injection("ServerDown", number, lane), stage=stage, track="server")
        planned.append(one)
        ledger.add(EPOCH + began, FaultApplying(one.id, one.fault, lane))
        ledger.add(EPOCH + ended, InjectionClosed(one.id))
    for name, began, ended in stages:
        ledger.add(EPOCH, StagePlanned(Stage(name, 0.5, timedelta(seconds=50))))
        ledger.add(EPOCH + began, StageStarted(name))
        ledger.add(EPOCH + ended, StageEnded(name))
    ledger.add(EPOCH, *map(InjectionPlanned, planned), PlanClosed(len(planned), 100.0, {"ServerDown": len(planned)}))
    end = max(ended for _, _, ended in stages) + 2
    ledger.add(EPOCH + end, RunEnded(end))
    return numbered(sorted(ledger.lines, key=lambda line: line[0]))


TWO_STAGES = drilled(
    ("alerts", "lane-01", 10, 28),
    ("alerts", "lane-01", 30, 44),
    ("alerts", "lane-02", 12, 42),
    ("monitoring", "shared", 51, 61),
    stages=(("alerts", 8, 48), ("monitoring", 50, 62)),
)


def test_a_gate_is_held_against_its_injections_one_by_one() -> None:
    """Sums, walls and the most at once, by stage and over all; what no stage holds is beside them."""
    found = gate.measured(TWO_STAGES)
    alerts, monitoring = found.parts
    assert (alerts.name, alerts.seconds, alerts.one_by_one, alerts.most_at_once) == ("alerts", 40, 62, 2)
    assert (monitoring.seconds, monitoring.one_by_one, monitoring.most_at_once) == (12, 10, 1)
    assert (found.wall, found.before, found.drilled, found.one_by_one) == (64, 8, 52, 72)
    assert (found.profile, found.cores, found.critical_path, alerts.planned) == ("gate", 2, 100, 50)
    assert (found.left, found.error, found.missed) == ((), "", ())


def test_the_longest_row_of_a_stage_is_named() -> None:
    """A lane's track from its first second to its last, pauses included: that is what the stage waited for."""
    assert gate.measured(TWO_STAGES).parts[0].longest_row == ("lane-01 server", 2, 34)
    longer = drilled(("alerts", "lane-01", 10, 30), ("alerts", "lane-02", 12, 43), stages=(("alerts", 8, 48),))
    assert gate.measured(longer).parts[0].longest_row == ("lane-02 server", 1, 31)


def test_what_ends_as_another_begins_is_not_at_once() -> None:
    """One after another is one at a time, however close; overlapping is two."""
    rows = ("lane-01", "")
    one, after, across = (gate.Window("i", rows, *span) for span in ((0.0, 5.0), (5.0, 9.0), (4.0, 6.0)))
    assert [gate.most_at_once(of) for of in ((), (one,), (one, after), (one, across), (one, after, across))] == [
        0,
        1,
        1,
        2,
        2,
    ]


@pytest.mark.parametrize(
    ("keep", "told"),
    [
        (lambda event: not isinstance(event.payload, RunEnded), "its ledger has no end"),
        (lambda event: event.payload != InjectionClosed("ServerDown-4"), "1 planned injections were not carried"),
        (lambda event: event.payload != FaultApplying("ServerDown-4", "server-killed", "shared"), "ServerDown-4"),
    ],
    ids=["killed", "not closed", "not applied"],
)
def test_a_run_that_is_not_whole_is_told(keep: Callable[[Event], bool], told: str) -> None:
    """Its figures would flatter: what was not carried out took no time."""
    assert gate.measured(TWO_STAGES).missed == ()
    missed = gate.measured(only(TWO_STAGES, keep)).missed
    assert len(missed) == 1
    assert told in missed[0]


def test_why_a_run_was_broken_off_is_told() -> None:
    """In its own words, whatever its injections amount to."""
    assert gate.measured(smoke(error="somebody pressed Ctrl-C")).missed == (
        "the run was broken off: somebody pressed Ctrl-C",
    )


def test_drills_that_take_longer_than_their_profile_allows_are_told() -> None:
    """A gate may drill for 300 s, a night for half an hour; of a profile that is not known nothing is asked."""
    stages = (("alerts", 8.0, 310.0),)
    windows = (("alerts", "lane-01", 10.0, 300.0),)
    assert gate.measured(drilled(*windows, stages=stages)).missed == (
        "the drills took 302 s, and the profile gate allows 300 s",
    )
    for profile in ("nightly", "of next year"):
        assert gate.measured(drilled(*windows, stages=stages, profile=profile)).missed == ()


def test_the_gate_of_a_folder_is_told_and_its_exit_code_is_what_it_missed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """0 for a whole run, 1 for one without its end, 2 for what is no run."""
    whole, cut = smoke(), only(smoke(), lambda event: not isinstance(event.payload, RunEnded))
    assert gate.main([str(write_run(tmp_path / "whole", whole))]) == 0
    said = capsys.readouterr().out
    assert "smoke run on 2 cores: 8 injections" in said
    assert "alerts: longest is lane-" in said
    assert "missed" not in said
    assert gate.main([str(write_run(tmp_path / "cut", cut))]) == 1
    assert "missed: the run was broken off: its ledger has no end" in capsys.readouterr().out
    assert gate.main([str(tmp_path)]) == 2
    assert "is not the folder of a run" in capsys.readouterr().err
    assert gate.main([]) == 2


def test_a_ledger_of_nothing_divides_by_nothing() -> None:
    """A run that died before its plan has no ratio, and says so."""
    nothing = gate.measured(())
    assert nothing.missed == ("the run was broken off: its ledger has no end",)
    assert "all drills" in gate.told(nothing)


def component(kind: str, seconds: float) -> Payload:
    """A component that was ready after so many seconds."""
    return ComponentReady(ComponentReport(f"the-{kind}", "1", "process", "apt", seconds, of_kind=kind), None, "a.log")


def rounds(ready: float = 0.4, stopped: float = 0.2, down: tuple[str, ...] = ()) -> list[stack.Round]:
    """One start with a quick, a usual and a slow component, and a subject that is slower than all of them."""
    told = [
        (0.2, component("redis", 0.1)),
        (0.5, component("mariadb", ready)),
        (0.9, component("prometheus", 5.0)),
        (2.0, component("subject", 9.0)),
    ]
    return [stack.in_time(told, 7.0, stopped, down)]


def test_the_subject_is_no_infrastructure() -> None:
    """Its start is the application's own: it counts for everything, not for the infrastructure."""
    (one,) = rounds()
    assert one.ready == (("redis", 0.1), ("mariadb", 0.4), ("prometheus", 5.0))
    assert (one.infrastructure, one.subjects, one.scraped, one.stopped) == (0.9, 2.0, 7.0, 0.2)


@pytest.mark.parametrize(
    ("measured", "told"),
    [
        (rounds(), []),
        (rounds(ready=0.6, stopped=0.3), []),
        (rounds(ready=0.61), ["an infrastructure component is ready after 0.610 s, and 0.6 s are allowed"]),
        (rounds(stopped=0.31), ["everything is stopped after 0.310 s, and 0.3 s are allowed"]),
        (rounds(down=("node at x: refused",)) * 2, ["not up at the end of the wait: node at x: refused"]),
    ],
    ids=["well", "on the limit", "slow to start", "slow to stop", "down"],
)
def test_a_stack_that_is_slower_than_it_must_be_is_told(measured: list[stack.Round], told: list[str]) -> None:
    """The median component and the stop have limits, every target must be up."""
    assert list(stack.missed(measured)) == told
    assert [line for line in stack.table(6, measured).splitlines() if "missed" in line] == [
        f"  missed: {sentence}" for sentence in told
    ]


def recorded(events: tuple[Event, ...]) -> Recorded:
    """A run as it would have been read from its folder."""
    return Recorded(Path("runs/r1"), events, judge(events))


def test_one_alert_is_told_with_what_is_proven_by_whom() -> None:
    """Hops, channels, controls and the bound come from the ledger; sonda's sentences are its own."""
    run = one_alert.Run(50.0, recorded(smoke()))
    assert list(one_alert.missed(run, (PASSED, PASSED), "email")) == []
    said = one_alert.told(run, 0.1, (PASSED, PASSED), "email")
    trail = run.trail("email")
    assert list(trail) == ["injected", "visible", "pending", "firing", "received", "notified", "resolved"]
    assert trail["notified"] == pytest.approx(6.3)
    proven = {question: (ours, theirs) for question, ours, theirs in one_alert.proofs(run, PASSED, PASSED)}
    assert proven["the cause"] == ("a real fault, e.g. connection refused", "samples that it wrote")
    assert proven["receipt in a channel"] == (
        "email, slack",
        "it passed, and the only receiver leads nowhere",
    )
    assert proven["the end is told"][0] == "12 resolved messages in channels"
    assert proven["negative control"][0].startswith("lost (2): fail; late (2): fail")
    assert re.search(r"^tocsin run, all of it +50\.0 +1\.00x +12 +4\.2$", said, re.MULTILINE)
    assert re.search(r"^sonda test, asking Prometheus +8\.1 +0\.16x ", said, re.MULTILINE)
    assert "missed" not in said


def test_what_was_not_heard_is_not_compared() -> None:
    """A channel that heard nothing, a control that was believed, a sonda that failed: each is told."""
    deaf = only(smoke(), lambda event: not isinstance(event.payload, MessageArrived))
    assert "no fault was heard at email to its end" in list(
        one_alert.missed(one_alert.Run(1.0, recorded(deaf)), (), "email")
    )
    run = one_alert.Run(1.0, recorded(smoke()))
    assert list(one_alert.missed(run, (PASSED,), "fax")) == ["no fault was heard at fax to its end"]
    failed = replace(PASSED, exit_code=1)
    assert list(one_alert.missed(run, (PASSED, failed), "email")) == [
        f"sonda did not pass: {PASSED.fired}; {PASSED.resolved}"
    ]
    receipt = next(row for row in one_alert.proofs(run, PASSED, failed) if row[0] == "receipt in a channel")
    assert receipt == ("receipt in a channel", "email, slack", "-")
    control = next(one for one in run.recorded.judgement.controls if one.name == "lost")
    believing = replace(run.recorded.judgement, controls=(replace(control, as_expected=False),))
    assert list(one_alert.missed(replace(run, recorded=replace(run.recorded, judgement=believing)), (), "slack")) == [
        "the negative control lost was not found out"
    ]


@pytest.mark.parametrize(
    ("firing", "resolution"),
    [
        ("PASS A firing after 4s (within 8s)", "PASS A resolved after 0s (within 15s of scenario end)"),
        ("FAIL A fired after 9s — later than firing_within 8s", "FAIL A still firing 15s after scenario end"),
        ("FAIL A did not fire within 8s", "FAIL A: no resolution verdict — polling ended before the deadline"),
        ("FAIL A: no verdict — polling ended before the deadline", ""),
    ],
)
def test_what_sonda_says_is_read(firing: str, resolution: str) -> None:
    """Its sentences for firing and for the end, whatever they say; never its last line, which is of neither."""
    found = sonda.read(SAID.format(firing=firing, resolution=resolution), 1, 8.0)
    assert (found.fired, found.resolved, found.passed) == (firing, resolution, False)
    assert sonda.read("error: no such file\n", 1, 0.1) == sonda.Tested(0.1, 1, "", "")


def test_sonda_gets_the_same_rule_and_the_same_prometheus() -> None:
    """Production's rule file byte for byte, its evaluation interval, its units; only what takes samples is added."""
    policies = load_policies(POLICIES).policies
    alert = policies.alert("ServerDown")
    nowhere, alertmanager = Address("127.0.0.1", 9), Address("127.0.0.1", 10)
    made = sonda.files(policies, alert, alertmanager, nowhere)
    rules = (POLICIES / "alerts" / "availability.rules.yml").read_text(encoding="utf-8")
    assert made["alerts/availability.rules.yml"] == rules
    configured = yaml.safe_load(made["prometheus.yml"])
    assert configured["global"] == {"evaluation_interval": "1s"}
    assert configured["rule_files"] == ["alerts/availability.rules.yml"]
    assert "scrape_configs" not in configured
    (receiver,) = yaml.safe_load(made["alertmanager.yml"])["receivers"]
    assert receiver["webhook_configs"] == [{"url": "http://127.0.0.1:9/"}]
    units = {one.kind: one.unit.argv for one in policies.components if one.unit}
    left = {one.kind: one.unit.argv for one in sonda.bare(policies).components if one.unit}
    assert left == {
        "prometheus": (*units["prometheus"], "--web.enable-remote-write-receiver"),
        "alertmanager": units["alertmanager"],
    }


def test_the_scenario_keeps_the_signal_down_for_longer_than_the_rule_holds() -> None:
    """Well, down, well again before its end: otherwise nothing could fire, or nothing could be resolved."""
    alert = load_policies(POLICIES).policies.alert("ServerDown")
    labels = {"job": "community-platform", "instance": "sonda", "environment": "lane-01"}
    written = yaml.safe_load(sonda.scenario(alert, labels, Address("127.0.0.1", 9)))
    (signal,) = written["scenarios"]
    values = signal["generator"]["values"]
    assert values.count(0) > alert.hold.total_seconds() + 1
    assert (values[0], values[-1]) == (1, 1)
    assert signal["labels"] == labels
    (expected,) = written["expect"]["alerts"]
    assert (expected["alert"], expected["labels"]) == ("ServerDown", {"environment": "lane-01"})


def test_a_run_of_one_alert_counts_its_controls_apart() -> None:
    """From the first fault to the end of the last injection; a control that holds out longer changes nothing."""
    events = smoke()
    run = one_alert.Run(60.0, recorded(events))
    applied = {event.payload.injection for event in events if isinstance(event.payload, FaultApplying)}
    of_controls = {name for name in applied if name.startswith("control-")}
    others = only(events, lambda event: getattr(event.payload, "injection", None) not in of_controls)
    assert of_controls
    closed = [event.monotonic for event in others if isinstance(event.payload, InjectionClosed)]
    assert run.tried == pytest.approx(max(closed) - 10.0)
    assert run.tried < max(event.monotonic for event in events if isinstance(event.payload, InjectionClosed)) - 10.0
    assert run.before == pytest.approx(5.0)
    died = only(events, lambda event: event.monotonic < 2)
    assert one_alert.Run(60.0, recorded(died)).before == pytest.approx(1.0)


def test_reading_a_run_from_its_folder_is_reading_its_ledger(tmp_path: Path) -> None:
    """What is printed of a folder is what its ledger amounts to."""
    events = smoke()
    folder = write_run(tmp_path / "r1", events)
    assert gate.measured(read_run(folder).events) == gate.measured(events)
