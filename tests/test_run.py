"""Every report of a run is a pure function of its ledger: what stands in the folder can be made again, byte by byte."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from ledgers import CHANNELS, Play, smoke
from recorded_runs import write_run

from harness.cli import main
from harness.errors import LedgerError
from harness.model.events import Event
from harness.run import write_reports

LEDGERS = {
    "healthy": smoke(),
    "silent": smoke({"ServerDown": Play(deaf=CHANNELS)}),
    "error": smoke(error="prometheus died"),
    "cut": smoke()[:40],
}


@pytest.mark.parametrize("events", LEDGERS.values(), ids=LEDGERS)
def test_the_report_command_makes_the_files_of_a_run_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], events: Sequence[Event]
) -> None:
    """summary.json and junit.xml, whatever the verdict, and once more from a folder that was moved."""
    folder = write_run(tmp_path / "r1", events)
    write_reports(folder)
    written = {name: (folder / name).read_text(encoding="utf-8") for name in ("summary.json", "junit.xml")}
    folder = folder.rename(tmp_path / "moved")
    for name, form in (("summary.json", "json"), ("junit.xml", "junit")):
        assert main(["report", str(folder), "--format", form]) == 0
        assert capsys.readouterr().out == written[name]


def test_reports_lie_beside_the_ledger_and_nothing_else_does(tmp_path: Path) -> None:
    """Both files, whole, and no half one."""
    folder = write_run(tmp_path / "r1", LEDGERS["healthy"])
    write_reports(folder)
    assert sorted(path.name for path in folder.iterdir()) == ["junit.xml", "ledger.jsonl", "logs", "summary.json"]


def test_a_report_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    """The file is named, and what to do."""
    folder = write_run(tmp_path / "r1", LEDGERS["healthy"])
    (folder / "summary.json").mkdir()
    with pytest.raises(LedgerError, match=r"summary\.json cannot be written") as caught:
        write_reports(folder)
    assert caught.value.hint
