"""Killed or stopped at any moment: nothing is left, the ledger can be read, and nobody sees green."""

from __future__ import annotations

import json
import os
import pty
import random
import secrets
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from live_run import PROJECT, LiveRun, Traces, judged, last_words, pause, remains, start

from harness.cli import cache_folder
from harness.model.stack import Artifact

pytestmark = pytest.mark.stack

COMPONENTS_OF_A_STACK = 20
"""Fewer processes than these and a stack does not stand: then there would have been nothing to leave behind."""
STANDS = "the stack stands"


@dataclass(frozen=True)
class Moment:
    """An instant of a run: `count` events of a kind in its ledger, then up to so many seconds, drawn anew each time."""

    name: str
    kind: str
    count: int = 1
    up_to_seconds: float = 0.0
    stands: bool = False

    def __str__(self) -> str:
        return self.name

    def wait(self, run: LiveRun) -> None:
        """Lets a run come to this moment."""
        if self.kind == STANDS:
            run.wait_until_it_stands()
        elif self.kind:
            run.wait_for(self.kind, self.count)
        seed = secrets.randbelow(1_000_000)
        pause(random.Random(seed).uniform(0, self.up_to_seconds))


KILLS = (
    Moment("interpreter", "", up_to_seconds=0.5),
    Moment("provisioning", "run-started", up_to_seconds=0.15),
    Moment("plan", "plan-closed", up_to_seconds=0.3),
    Moment("stack-starts", "progress", up_to_seconds=1.5),
    Moment("first-scrape", STANDS, up_to_seconds=2, stands=True),
    Moment("fault-applying", "fault-applying", up_to_seconds=0.05, stands=True),
    Moment("faults-in-place", "injected", 3, up_to_seconds=8, stands=True),
    Moment("resolving", "healed", up_to_seconds=5, stands=True),
    Moment("shutdown", "stage-ended", up_to_seconds=2),
    Moment("reports", "component-exited", 25, up_to_seconds=3),
)

SIGNALS = (
    (Moment("provisioning", "run-started", up_to_seconds=0.3), signal.SIGINT),
    (Moment("stack-starts", "progress", up_to_seconds=3), signal.SIGHUP),
    (Moment("faults-in-place", "injected", 3, up_to_seconds=8, stands=True), signal.SIGTERM),
    (Moment("resolving", "healed", up_to_seconds=5, stands=True), signal.SIGINT),
)


def note(what: str, age_seconds: float, traces: Traces, left: list[str]) -> None:
    """A row for who looks at what was tried (`pytest -s`): moment, age of the run, what was there, what is left."""
    there = f"{len(traces.processes)} processes, {len(traces.ports)} ports"
    sys.stdout.write(f"| {what} | {age_seconds:.2f} s | {there} | {', '.join(left) or 'nothing'} |\n")


def killed(moment: Moment, folder: Path) -> None:
    """Kills a run at a moment and holds what is left to nothing."""
    with start(folder) as run:
        moment.wait(run)
        traces = run.traces()
        if moment.stands:
            assert len(traces.processes) >= COMPONENTS_OF_A_STACK, "the twin: there was something to leave behind"
            assert len(traces.ports) >= COMPONENTS_OF_A_STACK
        age = time.monotonic() - run.began
        run.process.kill()
        assert run.end() == -signal.SIGKILL
        left = remains(run, traces)
        judgement = judged(run)
    note(f"kill -9 | {moment}", age, traces, left)
    assert left == []
    if moment.stands:
        assert judgement is not None
        assert judgement.verdict == "unverified"
        assert any("ends before the run did" in reason for reason in judgement.reasons)


def stopped(moment: Moment, number: signal.Signals, folder: Path, *, again: bool = False) -> LiveRun:
    """Stops a run by a signal at a moment; it ends in order, says so, and leaves nothing."""
    with start(folder) as run:
        moment.wait(run)
        traces = run.traces()
        age = time.monotonic() - run.began
        run.signal(number)
        if again:
            # At once when the first was heard: undoing a fault takes a moment, being idle for long does not.
            run.says(f"{number.name}: stopping")
            run.signal(number)
            for _ in range(3):
                pause(random.Random(secrets.randbelow(1_000_000)).uniform(0.02, 0.8))
                # Once its end is told nobody is there to answer: a signal then meets the interpreter on its way out.
                if run.process.poll() is None and "the run was stopped" not in run.stderr:
                    run.signal(number)
        code = run.end()
        left = remains(run, traces)
        judged(run)
    note(f"{number.name} | {moment}", age, traces, left)
    assert left == []
    assert code == 4, run.stderr[-3000:]
    assert f"the run was stopped ({number.name})" in run.stderr
    assert "Traceback" not in run.stderr
    summary, junit = last_words(run)
    assert (summary["verdict"], summary["exit_code"]) == ("error", 4)
    assert ET.fromstring(junit).tag in {"testsuite", "testsuites"}  # noqa: S314 - our own file
    assert run.lines()[-1]["kind"] == "run-ended"
    assert run.lines()[-1]["exit_code"] == 4
    every_fault_was_undone(run)
    return run


def every_fault_was_undone(run: LiveRun) -> None:
    """Each fault that was applied was seen to be healed, or its lane was given up; each injection has a last word."""
    told = {kind: [line for line in run.lines() if line["kind"] == kind] for kind in KINDS}
    healed = {line["injection"] for line in told["healed"]}
    retired = {line["lane"] for line in told["lane-retired"]}
    for fault in told["fault-applying"]:
        assert fault["injection"] in healed or fault["lane"] in retired, fault
    if told["stage-started"]:
        last = {line["injection"] for kind in ("injection-closed", "injection-unverified") for line in told[kind]}
        planned = {line["injection"]["id"] for line in told["planned"]}  # type: ignore[index]
        assert last == planned


KINDS = (
    "stage-started",
    "fault-applying",
    "healed",
    "lane-retired",
    "planned",
    "injection-closed",
    "injection-unverified",
)


@pytest.mark.parametrize("moment", [KILLS[3], KILLS[4]], ids=str)
def test_kill_9_leaves_nothing(moment: Moment, tmp_path: Path, artifacts: Mapping[str, Artifact]) -> None:
    """Killed while the stack starts, or when it stands: no process, port or file stays, and the ledger reads."""
    killed(moment, tmp_path)


def test_ctrl_c_undoes_and_says_so(tmp_path: Path, artifacts: Mapping[str, Artifact]) -> None:
    """Ctrl-C with a fault in place, pressed again and again: exit 4, every fault undone, reports written, all gone."""
    run = stopped(Moment("fault-in-place", "injected", stands=True), signal.SIGINT, tmp_path, again=True)
    assert "SIGINT: stopping" in run.stderr
    assert "SIGINT: the run is already ending" in run.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_any_command_is_stopped_with_a_sentence(number: signal.Signals) -> None:
    """Before a run has begun, and in every other command, a signal is exit 4 and one line, no trace."""
    command = subprocess.Popen(
        ["env", "--default-signal=INT,TERM,HUP", sys.executable, "-c", WAITING],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=PROJECT,
        text=True,
    )
    assert command.stdout is not None
    assert command.stdout.readline() == "waiting\n"
    command.send_signal(number)
    _, said = command.communicate(timeout=10)
    assert (command.returncode, said) == (4, "tocsin: stopped\n")


WAITING = """
import signal, sys
import harness.cli as cli

def wait(_):
    print("waiting", flush=True)
    while True: signal.pause()

cli._doctor = wait
raise SystemExit(cli.main(["doctor"]))
"""


@pytest.mark.nightly
@pytest.mark.parametrize("moment", KILLS, ids=str)
def test_kill_9_at_random_moments(moment: Moment, tmp_path: Path, artifacts: Mapping[str, Artifact]) -> None:
    """Killed at an instant drawn anew within each phase of a run, it leaves nothing for longer than 3 s."""
    killed(moment, tmp_path)


@pytest.mark.nightly
@pytest.mark.parametrize(("moment", "number"), SIGNALS, ids=str)
def test_signals_at_random_moments(
    moment: Moment, number: signal.Signals, tmp_path: Path, artifacts: Mapping[str, Artifact]
) -> None:
    """Stopped at an instant drawn anew within each phase of a run, it ends in order."""
    stopped(moment, number, tmp_path)


@pytest.mark.nightly
def test_a_terminal_that_hangs_up_stops_the_run(tmp_path: Path, artifacts: Mapping[str, Artifact]) -> None:
    """The terminal's end is SIGHUP and a screen that takes no more text: the run ends in order, by its own code."""
    command = [sys.executable, "-m", "harness", "run", "--out", str(tmp_path / "runs"), "--only", "ServerDown"]
    pid, terminal = pty.fork()
    if pid == 0:
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        os.chdir(PROJECT)
        os.execv(command[0], command)  # noqa: S606 - nothing of ours may stand between it and the terminal
    seen = b""
    while b"drills begin" not in seen:
        seen += os.read(terminal, 65536)
    os.close(terminal)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 4
    (folder,) = (path for path in (tmp_path / "runs").iterdir() if not path.is_symlink())
    summary = json.loads((folder / "summary.json").read_text())
    assert (summary["verdict"], summary["exit_code"]) == ("error", 4)
    assert "the run was stopped (SIGHUP)" in (folder / "ledger.jsonl").read_text()
    assert not (cache_folder() / "sandboxes" / folder.name).exists()


@pytest.mark.nightly
def test_ctrl_c_after_the_last_drill_changes_nothing(tmp_path: Path, artifacts: Mapping[str, Artifact]) -> None:
    """Once the drills are over the run's result stands: Ctrl-C while it cleans up breaks nothing off."""
    with start(tmp_path, "--only", "ServerDown") as run:
        Moment("shutdown", "stage-ended", up_to_seconds=0.05).wait(run)
        traces = run.traces()
        run.signal(signal.SIGINT)
        code = run.end()
        assert remains(run, traces) == []
    summary, _ = last_words(run)
    assert "SIGINT: the run is already ending" in run.stderr
    assert "Traceback" not in run.stderr
    assert run.lines()[-1]["error"] == ""
    assert summary["exit_code"] == code != 4


@pytest.mark.nightly
def test_kill_9_while_ctrl_c_is_answered(tmp_path: Path, artifacts: Mapping[str, Artifact]) -> None:
    """Impatience: kill -9 in the middle of an orderly stop leaves as little as kill -9 at any other moment."""
    with start(tmp_path) as run:
        Moment("faults-in-place", "injected", 3, stands=True).wait(run)
        traces = run.traces()
        run.signal(signal.SIGINT)
        pause(random.Random(secrets.randbelow(1_000_000)).uniform(0.05, 2))
        run.process.kill()
        run.end()
        assert remains(run, traces) == []
        judged(run)
