"""What it is worth that injections go on side by side: `python benchmarks/gate.py RUN`.

RUN is the folder of any run. All figures are read from its ledger, so both sides of each ratio are from one run on one
machine. The window of an injection goes from `fault-applying` to `injection-closed`: what it would take of the run if
nothing else were injected meanwhile. The sum of all windows is the time that the same injections need one after
another. What is no injection (the start, the end) is on neither side of that ratio, and stands beside it.

The exit code is 1 where the run was broken off, a planned injection was not carried to its end, or the drills took
longer than their profile allows (`hard_stop` in harness/drive/plan/shapes.py).
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.drive.plan.shapes import SHAPES
from harness.errors import HarnessError
from harness.model.events import (
    Event,
    FaultApplying,
    InjectionClosed,
    InjectionPlanned,
    PlanClosed,
    RunEnded,
    RunStarted,
    StageEnded,
    StagePlanned,
    StageStarted,
)
from harness.model.plan import Profile
from harness.report.recorded import read_run


@dataclass(frozen=True, slots=True)
class Window:
    """An injection from its application until nothing more was awaited for it, in seconds since the run began."""

    injection: str
    row: tuple[str, str]
    began: float
    ended: float

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.ended - self.began


@dataclass(frozen=True, slots=True)
class Part:
    """A stage as it went.

    Args:
        name: the stage's.
        planned: how long the plan expected it to take, in seconds.
        seconds: how long it took.
        windows: its injections'; one that was not closed is missing.
    """

    name: str
    planned: float
    seconds: float
    windows: tuple[Window, ...]

    @property
    def one_by_one(self) -> float:
        """How long its injections would take one after another, in seconds."""
        return sum(window.seconds for window in self.windows)

    @property
    def most_at_once(self) -> int:
        """The most injections that were under way at one moment."""
        return most_at_once(self.windows)

    @property
    def longest_row(self) -> tuple[str, int, float]:
        """The lane (and the track within it) that took longest: its name, its injections, from first to last second."""
        rows: dict[tuple[str, str], list[Window]] = defaultdict(list)
        for window in self.windows:
            rows[window.row].append(window)
        if not rows:
            return "", 0, 0.0
        taken = {row: max(one.ended for one in of) - min(one.began for one in of) for row, of in rows.items()}
        longest = max(taken, key=lambda row: taken[row])
        return " ".join(filter(None, longest)), len(rows[longest]), taken[longest]


@dataclass(frozen=True, slots=True)
class Gate:
    """A run as it went; durations in seconds.

    Args:
        profile: what it was.
        cores: those of its machine.
        wall: from its first line to its last.
        before: until its first stage began: the stack's start, its first scrapes, the load.
        critical_path: how long the plan expected all stages to take.
        parts: its stages in order.
        left: planned injections that were not carried to their end.
        error: why it was broken off, empty where it was not.
    """

    profile: str
    cores: int
    wall: float
    before: float
    critical_path: float
    parts: tuple[Part, ...]
    left: tuple[str, ...]
    error: str

    @property
    def windows(self) -> tuple[Window, ...]:
        """All of them."""
        return tuple(window for part in self.parts for window in part.windows)

    @property
    def drilled(self) -> float:
        """How long all stages took together, in seconds."""
        return sum(part.seconds for part in self.parts)

    @property
    def one_by_one(self) -> float:
        """How long all injections would take one after another, in seconds."""
        return sum(part.one_by_one for part in self.parts)

    @property
    def missed(self) -> tuple[str, ...]:
        """What had to be and was not, in sentences."""
        return tuple(self._missed())

    def _missed(self) -> Iterator[str]:
        if self.error:
            yield f"the run was broken off: {self.error}"
        if self.left:
            yield f"{len(self.left)} planned injections were not carried to their end: {', '.join(self.left[:5])}"
        if self.profile not in set(Profile):
            return
        limit = SHAPES[Profile(self.profile)].hard_stop.total_seconds()
        if self.drilled > limit:
            yield f"the drills took {self.drilled:.0f} s, and the profile {self.profile} allows {limit:.0f} s"


def most_at_once(windows: Iterable[Window]) -> int:
    """The most windows that were open at one moment; one that ends as another begins is not counted with it."""
    steps = sorted(step for window in windows for step in ((window.began, 1), (window.ended, -1)))
    open_now = most = 0
    for _, step in steps:
        open_now += step
        most = max(most, open_now)
    return most


def measured(events: Sequence[Event]) -> Gate:
    """A run's ledger as times, all of them from the monotonic clock of its lines."""
    first = events[0].monotonic if events else 0.0
    planned: dict[str, tuple[str, tuple[str, str]]] = {}
    stages: dict[str, float] = {}
    began: dict[str, float] = {}
    opened: dict[str, float] = {}
    spans: dict[str, tuple[float, float]] = {}
    windows: dict[str, list[Window]] = defaultdict(list)
    started, closed = RunStarted("", "", "", 0, 0, "", "", 1.0, "", 0), PlanClosed(0, 0.0, {})
    error = "its ledger has no end"
    for event in events:
        at = event.monotonic - first
        match event.payload:
            case RunStarted() as payload:
                started = payload
            case StagePlanned(stage):
                stages[stage.name] = stage.estimate.total_seconds()
            case InjectionPlanned(one):
                planned[one.id] = one.stage, (one.lane, one.track)
            case PlanClosed() as payload:
                closed = payload
            case StageStarted(name):
                began[name] = at
            case StageEnded(name, why):
                spans[name] = began.pop(name, at), at
                error = why or error
            case FaultApplying(injection):
                opened[injection] = at
            case InjectionClosed(injection) if injection in opened and injection in planned:
                stage_name, row = planned[injection]
                windows[stage_name].append(Window(injection, row, opened.pop(injection), at))
            case RunEnded():
                error = event.payload.error
    done = {window.injection for of in windows.values() for window in of}
    last = events[-1].monotonic - first if events else 0.0
    spans |= {name: (at, last) for name, at in began.items()}
    return Gate(
        profile=started.profile,
        cores=started.cores,
        wall=last,
        before=min((since for since, _ in spans.values()), default=last),
        critical_path=closed.critical_path_seconds,
        parts=tuple(
            Part(name, stages.get(name, 0.0), until - since, tuple(windows[name]))
            for name, (since, until) in sorted(spans.items(), key=lambda span: span[1])
        ),
        left=tuple(name for name in planned if name not in done),
        error=error,
    )


def told(gate: Gate) -> str:
    """The figures as lines for a person."""
    count = len(gate.windows)
    lines = [
        f"{gate.profile} run on {gate.cores} cores: {count} injections in {gate.wall:.1f} s",
        f"{'':<12} {'injections':>10} {'at once':>8} {'planned s':>10} {'took s':>8} {'one by one s':>13} {'ratio':>6}",
    ]
    lines += [
        f"{part.name:<12} {len(part.windows):>10} {part.most_at_once:>8} {part.planned:>10.1f} {part.seconds:>8.1f} "
        f"{part.one_by_one:>13.1f} {_ratio(part.one_by_one, part.seconds):>6}"
        for part in gate.parts
    ]
    lines.append(
        f"{'all drills':<12} {count:>10} {most_at_once(gate.windows):>8} {gate.critical_path:>10.1f} "
        f"{gate.drilled:>8.1f} {gate.one_by_one:>13.1f} {_ratio(gate.one_by_one, gate.drilled):>6}"
    )
    for part in gate.parts:
        name, injections, seconds = part.longest_row
        share = seconds / part.seconds if part.seconds else 0.0
        lines.append(f"{part.name}: longest is {name}, {injections} injections in {seconds:.1f} s ({share:.0%})")
    after = max(gate.wall - gate.before - gate.drilled, 0.0)
    whole = gate.one_by_one + gate.before + after
    lines.append(
        f"before the drills {gate.before:.1f} s, after them {after:.1f} s; "
        f"the whole run would take {whole:.0f} s one by one, {_ratio(whole, gate.wall)} of what it took"
    )
    lines += [f"missed: {sentence}" for sentence in gate.missed]
    return "".join(f"{line}\n" for line in lines)


def _ratio(long: float, short: float) -> str:
    return f"{long / short:.1f}x" if short else "-"


def main(arguments: Sequence[str]) -> int:
    """Reads a run and prints its figures; the exit code says whether something that had to be was missed."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python benchmarks/gate.py RUN, RUN being the folder of a run, e.g. runs/latest\n")
        return 2
    try:
        gate = measured(read_run(Path(arguments[0])).events)
    except HarnessError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    sys.stdout.write(told(gate))
    return 1 if gate.missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
