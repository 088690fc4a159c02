"""A run as it stands in its folder: the ledger's events and what they amount to."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.errors import UsageError
from harness.model.events import ComponentReady, Event, InjectionPlanned, RunStarted
from harness.model.hops import Hop
from harness.model.plan import Injection
from harness.model.verdicts import InjectionVerdict, Judgement, Outcome, Trial
from harness.observe.ledger import read
from harness.verdict.judge import judge
from harness.verdict.trials import UNJUDGED

_OUTPUT_LINES = 8
_OF_PROMETHEUS = (Hop.INJECTED, Hop.VISIBLE, Hop.PENDING, Hop.FIRING)
"""Hops from which Prometheus should have carried an alert on; from all later ones it is Alertmanager."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """A run that took place: its folder, its events, its judgement."""

    folder: Path
    events: tuple[Event, ...]
    judgement: Judgement

    @property
    def started(self) -> RunStarted | None:
        """The first event, where the run got that far."""
        return next((event.payload for event in self.events if isinstance(event.payload, RunStarted)), None)

    @property
    def profile(self) -> str:
        """The profile that ran, empty where the ledger does not say."""
        return self.started.profile if self.started else ""

    @property
    def planned(self) -> Mapping[str, Injection]:
        """Every injection that was planned, by its id."""
        payloads = (event.payload for event in self.events)
        return {one.injection.id: one.injection for one in payloads if isinstance(one, InjectionPlanned)}


def read_run(folder: Path) -> Recorded:
    """Reads and judges a run.

    Raises:
        UsageError: there is no run at that path.
        LedgerError: what is there is not a ledger.
    """
    ledger = folder / "ledger.jsonl"
    if not ledger.is_file():
        raise UsageError(
            f"{folder} is not the folder of a run",
            expected=f"a file {ledger}",
            hint="name one below runs/, e.g. runs/latest",
        )
    events = tuple(read(ledger))
    return Recorded(folder.resolve(), events, judge(events))


def guilty_output(recorded: Recorded, injection: InjectionVerdict, trial: Trial) -> tuple[str, ...]:
    """The last lines of the component that should have carried a trial on from where its trail ends.

    Its log is looked for in the run's own folder, whatever path the ledger names: a folder may have been moved, and a
    ledger of somebody else's must not lead to files of ours. Empty where the component never stood, and where the
    monitoring is not to blame.
    """
    if trial.outcome is Outcome.HEARD or trial.outcome in UNJUDGED:
        return ()
    carrier = "prometheus" if trial.trail_ends in _OF_PROMETHEUS else "alertmanager"
    for event in recorded.events:
        ready = event.payload
        if isinstance(ready, ComponentReady) and ready.report.name == carrier and ready.lane in {None, injection.lane}:
            name = Path(ready.log).name
            lines = _last_lines(recorded.folder / "logs" / name)
            return (f"last lines of {carrier} (logs/{name}):", *lines)
    return ()


def _last_lines(log: Path) -> tuple[str, ...]:
    try:
        with log.open(encoding="utf-8", errors="replace") as stream:
            return tuple(line.rstrip() for line in deque(stream, _OUTPUT_LINES)) or ("(its log is empty)",)
    except OSError as error:
        return (f"(its log cannot be read: {error.strerror})",)
