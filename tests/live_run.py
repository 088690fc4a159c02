"""A real `tocsin run` as a process of its own: watched by its ledger, ended at chosen moments, searched for remains."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from harness.cli import cache_folder
from harness.errors import LedgerError
from harness.model.events import Event, FaultApplying, InjectionPlanned, PlanClosed
from harness.model.verdicts import Judgement, Verdict
from harness.observe.ledger import read
from harness.report.recorded import Recorded
from harness.report.registry import FORMS, render
from harness.verdict.judge import judge

PROJECT = Path(__file__).parent.parent
GONE_WITHIN_SECONDS = 3.0
"""How long after its end something of a run may still be seen."""
_POLL_SECONDS = 0.005

Line = Mapping[str, object]


@dataclass(frozen=True)
class Traces:
    """What a run had going at one moment: processes by pid with their start, and the ports that they listened at."""

    processes: Mapping[int, float]
    ports: frozenset[int]


@dataclass
class LiveRun:
    """A run that was started; `with` ends it, whatever happens to the test."""

    process: subprocess.Popen[bytes]
    out: Path
    cache: Path
    temporary: Path
    said: Path
    told: Path
    began: float = field(default_factory=time.monotonic)
    _lines: list[Line] = field(default_factory=list)
    _offset: int = 0

    def __enter__(self) -> LiveRun:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    @property
    def folder(self) -> Path | None:
        """The run's folder, once it is there."""
        found = [path for path in self.out.glob("2*") if not path.is_symlink()]
        assert len(found) <= 1, f"one run, one folder: {found}"
        return found[0] if found else None

    @property
    def id(self) -> str:
        """The run's id; empty before its folder is there."""
        return self.folder.name if self.folder else ""

    @property
    def stderr(self) -> str:
        """All that was said so far."""
        return self.said.read_text(errors="replace")

    def lines(self) -> Sequence[Line]:
        """Whole lines of the ledger so far."""
        ledger = self.folder / "ledger.jsonl" if self.folder else None
        if ledger is not None and ledger.exists():
            with ledger.open("rb") as file:
                file.seek(self._offset)
                whole = file.read().rpartition(b"\n")[0]
            if whole:
                self._offset += len(whole) + 1
                self._lines.extend(json.loads(line) for line in whole.splitlines())
        return self._lines

    def wait_for(
        self, kind: str, count: int = 1, within_seconds: float = 120, where: Callable[[Line], bool] = lambda _: True
    ) -> Sequence[Line]:
        """Waits until the ledger has so many events of a kind; those."""
        deadline = time.monotonic() + within_seconds
        while len(found := [line for line in self.lines() if line["kind"] == kind and where(line)]) < count:
            assert self.process.poll() is None, f"it ended before {count} x {kind}: {self.stderr[-3000:]}"
            assert time.monotonic() < deadline, f"no {count} x {kind} within {within_seconds} s: {self.stderr[-3000:]}"
            pause(_POLL_SECONDS)
        return found

    def wait_until_it_stands(self) -> None:
        """Waits until every component is ready: the subjects start last, one in each lane."""
        self.wait_for("plan-closed")
        lanes = {line["injection"]["lane"] for line in self.lines() if line["kind"] == "planned"}  # type: ignore[index]
        subject = "community-platform"
        self.wait_for("component-ready", len(lanes), where=lambda line: line["report"]["name"] == subject)  # type: ignore[index]

    def traces(self) -> Traces:
        """What it has going now; nothing where it ended."""
        processes: dict[int, float] = {}
        ports: set[int] = set()
        try:
            root = psutil.Process(self.process.pid)
            family = [root, *root.children(recursive=True)]
        except psutil.NoSuchProcess:
            family = []
        for one in family:
            try:
                processes[one.pid] = one.create_time()
                ports |= {
                    connection.laddr.port
                    for connection in one.net_connections("tcp")
                    if connection.status == psutil.CONN_LISTEN
                }
            except psutil.NoSuchProcess:
                continue
        return Traces(processes, frozenset(ports))

    def says(self, text: str, within_seconds: float = 10) -> None:
        """Waits until the run has said this on standard error."""
        deadline = time.monotonic() + within_seconds
        while text not in self.stderr:
            assert time.monotonic() < deadline, f"it never said {text!r}: {self.stderr[-3000:]}"
            pause(0.01)

    def signal(self, number: int) -> None:
        """Sends a signal to the whole process group, as a terminal does."""
        os.killpg(self.process.pid, number)

    def end(self, within_seconds: float = 30) -> int:
        """Waits for its end; the exit code."""
        try:
            return self.process.wait(within_seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it did not end within {within_seconds} s: {self.stderr[-3000:]}") from None


def start(
    folder: Path,
    *arguments: str,
    policies: Path = PROJECT / "policies",
    cache: Path | None = None,
    out: Path | None = None,
    program: Sequence[str] = (sys.executable, "-m", "harness"),
    wrapper: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> LiveRun:
    """Starts a run whose files go below `folder`; it leads a process group of its own, as under a shell."""
    cache = cache or cache_folder()
    out = out or folder / "runs"
    temporary = folder / "tmp"
    temporary.mkdir(mode=0o777, parents=True, exist_ok=True)
    said, told = folder / "stderr.txt", folder / "stdout.txt"
    with said.open("wb") as errors, told.open("wb") as output:
        process = subprocess.Popen(
            # A shell that starts tests in the background has them ignore SIGINT, which a command at a prompt does not.
            [
                *("env", "--default-signal=INT,TERM,HUP", *wrapper, *program, "run"),
                *("--policies", str(policies), "--out", str(out), *arguments),
            ],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            env={
                **os.environ,
                "PYTHONPATH": str(PROJECT),
                "TOCSIN_CACHE": str(cache),
                "TMPDIR": str(temporary),
                **(environment or {}),
            },
            process_group=0,
        )
    return LiveRun(process, out, cache, temporary, said, told)


def pause(seconds: float) -> None:
    """Lets a drawn moment pass, or the next look come."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(left, 0.05))


def remains(run: LiveRun, traces: Traces) -> list[str]:
    """What is still there of a run that ended, after `GONE_WITHIN_SECONDS` at most; empty as soon as nothing is."""
    deadline = time.monotonic() + GONE_WITHIN_SECONDS
    while (left := _remains(run, traces)) and time.monotonic() < deadline:
        pause(0.02)
    return left


def _remains(run: LiveRun, traces: Traces) -> list[str]:
    left = [f"process {pid} carries the run's mark" for pid in _marked(run.id)] if run.id else []
    for pid, created in traces.processes.items():
        try:
            one = psutil.Process(pid)
            if one.create_time() == created and one.status() != psutil.STATUS_ZOMBIE:
                left.append(f"process {pid} ({' '.join(one.cmdline())[:80]})")
        except psutil.NoSuchProcess:
            continue
    listening = {
        connection.laddr.port
        for connection in psutil.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.ip == "127.0.0.1"
    }
    left += [f"port {port}" for port in sorted(traces.ports & listening)]
    if run.id:
        left += [str(path) for path in (run.cache / "sandboxes").glob(f"{run.id}*")]
        left += [line for line in Path("/proc/mounts").read_text().splitlines() if run.id in line]
    return left + [str(path) for path in run.temporary.iterdir()]


def _marked(run: str) -> list[int]:
    """Processes that carry a run's mark in their environment; read here, not by what is under test."""
    mark = f"TOCSIN_RUN={run}".encode()
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if mark in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def judged(run: LiveRun) -> Judgement | None:
    """The judgement over what a run that did not reach its end left; None where it died before the first line.

    The ledger is whole but for half a last line, every injection that it knows was planned before any fault, every
    report can be made of it, and it is not green.
    """
    ledger = run.folder / "ledger.jsonl" if run.folder else None
    if ledger is None or not ledger.exists():
        return None
    try:
        events = tuple(read(ledger))
    except LedgerError:
        assert b"\n" not in ledger.read_bytes(), "only a ledger without one whole line cannot be read"
        return None
    _holds_its_plan(events)
    judgement = judge(events)
    assert judgement.verdict is not Verdict.PASS
    assert judgement.exit_code != 0
    assert run.folder is not None
    for form in FORMS:
        assert render(form, Recorded(run.folder, events, judgement), colour=False)
    return judgement


def _holds_its_plan(events: Sequence[Event]) -> None:
    planned: set[str] = set()
    closed = False
    for event in events:
        match event.payload:
            case InjectionPlanned(injection=injection):
                assert not closed, "nothing is planned after the plan was closed"
                planned.add(injection.id)
            case PlanClosed(injections=number):
                assert number == len(planned) > 0
                closed = True
            case FaultApplying(injection=name):
                assert closed, "a fault was applied before its plan was closed"
                assert name in planned
            case _:
                pass


def last_words(run: LiveRun) -> tuple[Mapping[str, object], str]:
    """summary.json and junit.xml of a run that ended in order."""
    assert run.folder is not None, run.stderr
    summary = json.loads((run.folder / "summary.json").read_text())
    return summary, (run.folder / "junit.xml").read_text()
