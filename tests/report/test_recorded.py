"""A run as it stands in its folder: read, judged, and the last words of the component that is to blame."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from ledgers import CHANNELS, Play, smoke
from recorded_runs import write_run

from harness.errors import LedgerError, UsageError
from harness.model.events import ComponentReady, Payload
from harness.model.hops import Hop
from harness.model.stack import ComponentReport
from harness.model.verdicts import Outcome, Trial, Verdict
from harness.report.recorded import Recorded, guilty_output, read_run

LOGS = {
    "alertmanager.log": "".join(f"alertmanager {n}\n" for n in range(20)),
    "prometheus.log": "one\ntwo \x80\n".encode("utf-8", "surrogateescape").decode("utf-8", "replace"),
}


def with_prometheus(payload: Payload) -> Payload:
    """The ledger of a stack whose node exporter is a Prometheus of all lanes, its log at an absolute path."""
    if isinstance(payload, ComponentReady) and payload.report.name == "node-exporter":
        return ComponentReady(
            ComponentReport("prometheus", "3", "process", "apt", 0.1), None, "/gone/r0/prometheus.log"
        )
    return payload


def run(tmp_path: Path, play: Play, logs: dict[str, str] | None = None) -> Recorded:
    """A run in which the alert of the dead server goes so."""
    events = smoke({"ServerDown": play}, change=with_prometheus)
    return read_run(write_run(tmp_path / "r1", events, LOGS if logs is None else logs))


def guilty(recorded: Recorded, **changes: object) -> tuple[str, ...]:
    """The output of whoever is to blame for the first injection's first trial that was not heard."""
    one = next(one for one in recorded.judgement.injections if one.injection == "ServerDown-1")
    trial = next((trial for trial in one.trials if trial.outcome is not Outcome.HEARD), one.trials[0])
    changed: Trial = replace(trial, **changes)  # type: ignore[arg-type]  # a test's own keywords
    return guilty_output(recorded, one, changed)


def test_a_folder_is_read_and_judged(tmp_path: Path) -> None:
    """Its events, its verdict, its profile and what was planned."""
    write_run(tmp_path / "r1", smoke())
    (tmp_path / "latest").symlink_to("r1")
    recorded = read_run(tmp_path / "latest")
    assert recorded.judgement.verdict is Verdict.PASS
    assert [event.kind for event in recorded.events] == [event.kind for event in smoke()]
    assert recorded.profile == "smoke"
    assert recorded.folder == tmp_path / "r1"
    assert recorded.planned["ServerDown-1"].lane == "lane-01"


@pytest.mark.parametrize("what", ["nothing", "file", "empty folder", "folder for a ledger"])
def test_what_is_no_run_is_a_sentence(tmp_path: Path, what: str) -> None:
    """The path is named, and what should be there."""
    path = tmp_path / "r1"
    if what == "file":
        path.write_text("x")
    elif what == "empty folder":
        path.mkdir()
    elif what == "folder for a ledger":
        (path / "ledger.jsonl").mkdir(parents=True)
    with pytest.raises(UsageError, match="is not the folder of a run") as caught:
        read_run(path)
    assert str(path) in str(caught.value)
    assert caught.value.hint


def test_a_damaged_ledger_names_the_line(tmp_path: Path) -> None:
    """A line that was changed by hand is an error of its own, never a verdict."""
    ledger = write_run(tmp_path / "r1", smoke()) / "ledger.jsonl"
    lines = ledger.read_text().splitlines()
    lines[4] = lines[4][:-9]
    ledger.write_text("\n".join(lines) + "\n")
    with pytest.raises(LedgerError, match=r"ledger\.jsonl:5: "):
        read_run(ledger.parent)


@pytest.mark.parametrize("keep", [0.3, 0.7, 0.99])
def test_a_run_that_was_killed_is_read_and_never_green(tmp_path: Path, keep: float) -> None:
    """A ledger that breaks off in the middle of a line is read up to there: unverified at best."""
    ledger = write_run(tmp_path / "r1", smoke()) / "ledger.jsonl"
    text = ledger.read_bytes()
    ledger.write_bytes(text[: int(len(text) * keep)])
    assert read_run(ledger.parent).judgement.verdict not in {Verdict.PASS, Verdict.INCONCLUSIVE}


@pytest.mark.parametrize(
    ("reaches", "log"),
    [
        (Hop.INJECTED, "prometheus"),
        (Hop.VISIBLE, "prometheus"),
        (Hop.PENDING, "prometheus"),
        (Hop.FIRING, "prometheus"),
        (Hop.RECEIVED, "alertmanager"),
    ],
)
def test_the_guilty_component_follows_from_the_hop(tmp_path: Path, reaches: Hop, log: str) -> None:
    """Whoever should have carried the alert on from the last hop that was reached."""
    recorded = run(tmp_path, Play(reaches=reaches, deaf=CHANNELS))
    assert guilty(recorded)[0] == f"last lines of {log} (logs/{log}.log):"


def test_the_last_lines_are_shown_and_no_more(tmp_path: Path) -> None:
    """Eight lines of a long log."""
    told = guilty(run(tmp_path, Play(deaf=CHANNELS)))
    assert told[1:] == tuple(f"alertmanager {n}" for n in range(12, 20))


def test_a_folder_that_was_moved_keeps_its_logs(tmp_path: Path) -> None:
    """The ledger names paths of the machine that ran; what is shown is the folder's own file of that name."""
    run(tmp_path, Play(reaches=Hop.FIRING))
    shutil.move(tmp_path / "r1", tmp_path / "moved")
    told = guilty(read_run(tmp_path / "moved"))
    assert told[:2] == ("last lines of prometheus (logs/prometheus.log):", "one")


def test_a_log_without_words_says_so(tmp_path: Path) -> None:
    """Empty, or not there any more: told, never taken for silence of the component."""
    assert guilty(run(tmp_path / "a", Play(deaf=CHANNELS), {"alertmanager.log": ""}))[1:] == ("(its log is empty)",)
    told = guilty(run(tmp_path / "b", Play(deaf=CHANNELS), {}))
    assert told[1:] == ("(its log cannot be read: No such file or directory)",)


@pytest.mark.parametrize("outcome", [Outcome.HEARD, Outcome.UNVERIFIED, Outcome.INCONCLUSIVE])
def test_nobody_is_guilty_where_the_monitoring_is_not_to_blame(tmp_path: Path, outcome: Outcome) -> None:
    """A fault that was not proven says nothing about Alertmanager."""
    assert guilty(run(tmp_path, Play(deaf=CHANNELS)), outcome=outcome) == ()


def test_a_component_that_never_stood_has_no_words(tmp_path: Path) -> None:
    """The run died before Alertmanager was ready."""
    events = smoke({"ServerDown": Play(reaches=Hop.FIRING)})
    assert guilty(read_run(write_run(tmp_path / "r1", events))) == ()
