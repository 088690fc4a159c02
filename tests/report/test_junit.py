"""junit.xml as CI reads it: one case a target, cell and control; red is red, and every skip has its reason."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest
from ledgers import CHANNELS, EPOCH, Play, message, smoke

from harness.model.events import Event
from harness.report.junit import render
from harness.verdict.judge import judge


def cases(events: tuple[Event, ...]) -> dict[str, ET.Element]:
    """Test cases by class and name."""
    root = ET.fromstring(render(judge(events), events))  # noqa: S314 - our own text
    return {f"{case.get('classname')}.{case.get('name')}": case for case in root.iter("testcase")}


def results(events: tuple[Event, ...]) -> dict[str, str]:
    """For every case what it came to: passed, failure, error or skipped."""
    return {name: next((child.tag for child in case), "passed") for name, case in cases(events).items()}


def test_a_healthy_run() -> None:
    """All cells and controls pass; targets that smoke does not judge, or that are set aside, are skipped."""
    assert results(smoke()) == {
        "tocsin.targets.alerts-delivered": "skipped",
        "tocsin.targets.alert-delivery-time": "skipped",
        "tocsin.targets.retention": "skipped",
        "tocsin.alerts.ServerDown at email": "passed",
        "tocsin.alerts.ServerDown at slack": "passed",
        "tocsin.alerts.DatabaseUnreachable at email": "passed",
        "tocsin.alerts.DatabaseUnreachable at slack": "passed",
        "tocsin.alerts.HighErrorRatio at email": "passed",
        "tocsin.alerts.HighErrorRatio at slack": "passed",
        "tocsin.controls.lost": "passed",
        "tocsin.controls.late": "passed",
        "tocsin.run.verdict": "passed",
    }


def test_every_skip_has_its_reason() -> None:
    """A skipped case says why it is none."""
    found = cases(smoke())
    aside = found["tocsin.targets.retention"].find("skipped")
    assert aside is not None
    assert aside.get("message") == "set aside: no store is drilled yet"
    rate = found["tocsin.targets.alerts-delivered"].find("skipped")
    assert rate is not None
    assert "a smoke run claims no rate" in rate.get("message", "")


def test_a_lost_alert_fails_with_its_timeline() -> None:
    """The failure of a cell holds the hops of each trial."""
    events = smoke({"ServerDown": Play(deaf=("email",))})
    assert results(events)["tocsin.alerts.ServerDown at slack"] == "passed"
    failure = cases(events)["tocsin.alerts.ServerDown at email"].find("failure")
    assert failure is not None
    assert failure.get("message") == "broken: 0 of 2 delivered, the trail ends at received"
    assert (failure.text or "").count("next to blame: alertmanager") == 2
    assert "received" in (failure.text or "")


def test_no_evidence_is_an_error_and_never_skipped() -> None:
    """A fault that was not proven, a control that passed, a run that died: red, and not a failure of the monitoring."""
    found = results(smoke({"ServerDown": Play(mute="no effect"), "control-lost-1": Play(also_at=CHANNELS)}))
    assert found["tocsin.alerts.ServerDown at email"] == "error"
    assert found["tocsin.controls.lost"] == "error"
    assert found["tocsin.run.verdict"] == "error"
    assert results(())["tocsin.run.verdict"] == "error"


def test_what_belongs_to_no_cell_fails_the_run() -> None:
    """A false alarm fails a case although every cell was heard."""
    found = results(smoke(extra=[(-2.0, message("ServerDown", "lane-01", "email", EPOCH + 8))]))
    assert found.pop("tocsin.run.verdict") == "failure"
    assert set(found.values()) == {"passed", "skipped"}


def test_outside_smoke_a_rate_without_proof_is_red() -> None:
    """Inconclusive is skipped in a smoke run alone."""
    assert results(smoke(profile="gate"))["tocsin.targets.alerts-delivered"] == "error"


def test_counts_are_those_of_the_cases() -> None:
    """CI reads the numbers of the suite."""
    events = smoke({"ServerDown": Play(deaf=CHANNELS)})
    root = ET.fromstring(render(judge(events), events))  # noqa: S314 - our own text
    found = list(results(events).values())
    for suite in (root, *root.iter("testsuite")):
        assert suite.get("tests") == str(len(found))
        assert suite.get("failures") == str(found.count("failure"))
        assert suite.get("skipped") == str(found.count("skipped"))


@pytest.mark.parametrize("strange", ["bell \x07", '<no value> & "quotes"', "half a pair \ud800", "null \x00"])
def test_what_xml_cannot_say_is_replaced(strange: str) -> None:
    """A message may hold anything; the report stays XML that can be read."""
    events = smoke(extra=[(-2.0, message("ServerDown", "lane-01", "email", EPOCH + 8, title=strange))])
    assert results(events)["tocsin.run.verdict"] == "failure"
