"""A run as it stands in its folder: the ledger's events and what they amount to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.errors import UsageError
from harness.model.events import ComponentReady, Event, RunStarted
from harness.model.hops import Hop
from harness.model.verdicts import InjectionVerdict, Judgement, Trial
from harness.observe.ledger import read
from harness.verdict.judge import judge

_OUTPUT_LINES = 8
# The component that should have carried an alert on from a hop, by its kind's usual name.
_CARRIER = {
    Hop.INJECTED: "prometheus",
    Hop.VISIBLE: "prometheus",
    Hop.PENDING: "prometheus",
    Hop.FIRING: "prometheus",
    Hop.RECEIVED: "alertmanager",
    Hop.NOTIFIED: "alertmanager",
}


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
    """The last lines of the component that should have carried a trial on from where its trail ends."""
    carrier = _CARRIER.get(trial.trail_ends or Hop.NOTIFIED)
    for event in recorded.events:
        ready = event.payload
        if isinstance(ready, ComponentReady) and ready.report.name == carrier and ready.lane in {None, injection.lane}:
            log = recorded.folder / "logs" / ready.log
            if log.is_file():
                lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-_OUTPUT_LINES:]
                return (f"last lines of {ready.report.name}:", *lines)
    return ()
