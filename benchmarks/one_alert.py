"""What one alert costs to prove, and what is proven then: `python benchmarks/one_alert.py [ALERT] [CHANNEL]`.

`tocsin run --only ALERT` (ServerDown unless told otherwise) goes first, then, on the same Prometheus, `sonda test` for
the same rule: once asking Prometheus and once asking Alertmanager, since it asks one of them at a time. Printed are the
wall time of each, its ratio to tocsin's, the trail of one fault to one channel (email), and for each question what
either of them has proven in this run. Tocsin's column is read from the ledger. Sonda's is what it said; where it has no
means at all, its own documentation and source say so (`sonda test --help`, `verify/` of sonda-core 1.29).

The exit code is 1 where the alert was not heard at the channel, where a negative control was not found out, or where
sonda did not pass: then nothing is compared.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import sonda
from harness.cli import cache_folder
from harness.errors import HarnessError
from harness.model.events import FaultApplying, Injected, InjectionClosed, StageStarted
from harness.model.hops import Hop
from harness.model.verdicts import CellStatus, Trial
from harness.report.recorded import Recorded, read_run
from harness.run import load_policies

ALERT = "ServerDown"
CHANNEL = "email"
_RUN_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Run:
    """A `tocsin run` of one alert: the wall seconds of the whole command, and what its folder holds."""

    seconds: float
    recorded: Recorded

    @property
    def trials(self) -> tuple[Trial, ...]:
        """Every notification that was judged, negative controls apart."""
        verdicts = self.recorded.judgement.injections
        return tuple(trial for one in verdicts if one.control is None for trial in one.trials)

    @property
    def before(self) -> float:
        """Seconds from the first line of its ledger until its drills began."""
        events = self.recorded.events
        began = next((event for event in events if isinstance(event.payload, StageStarted)), events[-1])
        return began.monotonic - events[0].monotonic

    @property
    def tried(self) -> float:
        """Seconds from the first fault to the end of the last injection, negative controls apart."""
        ids = {one.injection for one in self.recorded.judgement.injections if one.control is None}
        instants = [
            event.monotonic
            for event in self.recorded.events
            if isinstance(event.payload, FaultApplying | InjectionClosed) and event.payload.injection in ids
        ]
        return max(instants, default=0.0) - min(instants, default=0.0)

    def trail(self, channel: str) -> dict[str, float]:
        """The hops of the first fault that was heard at a channel, in seconds since it was applied."""
        applied = {
            event.payload.injection: event.wall
            for event in self.recorded.events
            if isinstance(event.payload, FaultApplying)
        }
        for trial in self.trials:
            if trial.channel == channel and Hop.RESOLVED in trial.hops and trial.injection in applied:
                return {hop.value: at - applied[trial.injection] for hop, at in sorted(trial.hops.items(), key=_at)}
        return {}


def _at(hop: tuple[Hop, float]) -> float:
    return hop[1]


def proofs(run: Run, by_prometheus: sonda.Tested, by_alertmanager: sonda.Tested) -> Iterator[tuple[str, str, str]]:
    """Each question with what tocsin's run and sonda's tests have proven."""
    judgement = run.recorded.judgement
    cells = [cell for alert in judgement.alerts for cell in alert.cells]
    heard = list(dict.fromkeys(cell.channel for cell in cells if cell.status is CellStatus.HEARD))
    injected = [event.payload for event in run.recorded.events if isinstance(event.payload, Injected)]
    complaints = sum(len(trial.complaints) for trial in run.trials)
    delivered = next((target for target in judgement.targets if target.id == "alerts-delivered"), None)
    controls = [f"{one.name} ({one.trials}): {one.verdict.value}" for one in judgement.controls]
    yield (
        "the cause",
        f"a real fault, e.g. {injected[0].proof}" if injected else "-",
        "samples that it wrote",
    )
    yield "the rule fires", f"{sum(Hop.FIRING in one.hops for one in run.trials)} trails", by_prometheus.fired or "-"
    yield (
        "Alertmanager has it",
        f"{sum(Hop.RECEIVED in one.hops for one in run.trials)} trails",
        by_alertmanager.fired or "-",
    )
    deaf = "it passed, and the only receiver leads nowhere" if by_alertmanager.passed else "-"
    yield "receipt in a channel", ", ".join(heard) or "-", deaf
    yield "content", f"read in {sum(cell.delivered for cell in cells)} messages, {complaints} complaints", "not asked"
    yield (
        "the end is told",
        f"{sum(cell.resolved for cell in cells)} resolved messages in channels",
        f"the rule's only: {by_prometheus.resolved or '-'}",
    )
    yield "where the time goes", ", ".join(run.trail(heard[0])) if heard else "-", "one instant, of the one it asked"
    yield (
        "resolution",
        "as benchmarks/sinks.py measures it",
        f"it looks every {sonda.INTERVAL}, says whole seconds",
    )
    yield "how sure", _sure(delivered.n, delivered.lower_bound) if delivered else "-", "one observation, no bound"
    yield "negative control", "; ".join(controls) or "-", "none"


def _sure(n: int, lower: float | None) -> str:
    return f"{n} injections" + ("" if lower is None else f", at least {lower:.0%} are heard (95 % sure)")


def missed(run: Run, tests: Sequence[sonda.Tested], channel: str) -> Iterator[str]:
    """Why there is nothing to compare, in sentences."""
    if not run.trail(channel):
        yield f"no fault was heard at {channel} to its end"
    controls = run.recorded.judgement.controls
    yield from (f"the negative control {one.name} was not found out" for one in controls if not one.as_expected)
    yield from (f"sonda did not pass: {one.fired}; {one.resolved}" for one in tests if not one.passed)


def told(run: Run, ready: float, tests: Sequence[sonda.Tested], channel: str) -> str:
    """All figures as lines for a person; `ready` is how long sonda's Prometheus and Alertmanager took, in seconds."""
    by_prometheus, by_alertmanager = tests
    lines = [f"{'':<40}{'wall s':>8}{'of tocsin':>11}{'notifications':>15}{'s each':>8}"]
    trail = run.trail(channel)
    rows = [
        ("tocsin run, all of it", run.seconds, len(run.trials)),
        ("  until its drills began", run.before, 0),
        ("  its faults, controls apart", run.tried, len(run.trials)),
        (f"  one of them, to the end at {channel}", trail.get(Hop.RESOLVED, 0.0), 1),
        ("sonda test, asking Prometheus", ready + by_prometheus.seconds, 0),
        ("sonda test, asking Alertmanager", ready + by_alertmanager.seconds, 0),
        ("sonda, both hops", ready + by_prometheus.seconds + by_alertmanager.seconds, 0),
    ]
    for name, seconds, notifications in rows:
        each = f"{seconds / notifications:8.1f}" if notifications else f"{'-':>8}"
        lines.append(f"{name:<40}{seconds:>8.1f}{seconds / run.seconds:>10.2f}x{notifications:>15}{each}")
    lines.append(f"sonda's include {ready:.2f} s until Prometheus and Alertmanager were ready")
    hops = ", ".join(f"{hop} {seconds:.2f}" for hop, seconds in trail.items())
    lines.append(f"one fault at {channel}, seconds since it was applied: {hops or 'not heard'}")
    lines += [f"{question}\n    tocsin  {tocsin}\n    sonda   {peer}" for question, tocsin, peer in proofs(run, *tests)]
    lines += [f"missed: {sentence}" for sentence in missed(run, tests, channel)]
    return "".join(f"{line}\n" for line in lines)


def rehearse(alert: str, out: Path) -> Run:
    """A `tocsin run` of one alert, as a person starts it."""
    command = [sys.executable, "-m", "harness", "run", "--only", alert, "--seed", "1", "--out", str(out)]
    began = time.monotonic()
    subprocess.run(command, check=False, stdout=subprocess.DEVNULL, timeout=_RUN_SECONDS)
    seconds = time.monotonic() - began
    return Run(seconds, read_run(out / "latest"))


async def ask_sonda(alert: str, folder: Path) -> tuple[float, str, tuple[sonda.Tested, ...]]:
    """Both of sonda's tests: until its peers were ready, Prometheus's version, what was found."""
    policies = load_policies(Path("policies")).policies
    cache = cache_folder()
    program = await sonda.program(cache)
    found = []
    async with sonda.peers(policies, policies.alert(alert), cache, folder) as peers:
        asked = (
            ("--prometheus-url", f"http://{peers.prometheus}"),
            ("--alertmanager-url", f"http://{peers.alertmanager}"),
        )
        for number, whom in enumerate(asked, start=1):
            labels = {"job": "community-platform", "instance": "sonda", "environment": f"lane-{number:02}"}
            written = folder / f"scenario-{number}.yaml"
            written.write_text(sonda.scenario(policies.alert(alert), labels, peers.prometheus), encoding="utf-8")
            found.append(await sonda.test(program, written, whom))
    return peers.ready_seconds, peers.version, tuple(found)


def main(arguments: Sequence[str]) -> int:
    """Runs both and prints what came of them; the exit code says whether there was something to compare."""
    alert, channel = (*arguments, *(ALERT, CHANNEL)[len(arguments) :])
    try:
        with tempfile.TemporaryDirectory() as folder:
            run = rehearse(alert, Path(folder) / "runs")
            ready, version, tests = asyncio.run(ask_sonda(alert, Path(folder)))
    except HarnessError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    sys.stdout.write(f"{alert} on {os.cpu_count()} cores, Prometheus {version} for both\n")
    sys.stdout.write(told(run, ready, tests, channel))
    return 1 if any(missed(run, tests, channel)) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
