"""The report form that is read while the run goes on: live on a terminal, plain lines in CI."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self, TextIO

from harness.model.events import (
    ComponentExited,
    ComponentReady,
    Event,
    FaultApplying,
    Healed,
    Injected,
    InjectionClosed,
    InjectionPlanned,
    InjectionUnverified,
    LaneRetired,
    MessageArrived,
    MessageInterfered,
    PlanClosed,
    Progress,
    RunEnded,
    RunStarted,
    SinkRefused,
    Starved,
)
from harness.model.plan import Injection

_CLEAR = "\r\x1b[2K"


class LiveProgress:
    """Prints what happens in a run as it happens; on a terminal the last line tells what is under way.

    Args:
        stream: where to print, standard error as a rule. Without a terminal nothing but plain lines is written.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._live = stream.isatty()
        self._began = time.monotonic()
        self._planned: dict[str, Injection] = {}
        self._open: set[str] = set()
        self._closed = 0

    def __enter__(self) -> Self:
        """Starts the clock that lines are stamped with."""
        self._began = time.monotonic()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Takes the live line away."""
        if self._live:
            self._stream.write(_CLEAR)
            self._stream.flush()

    def show(self, event: Event) -> None:
        """Takes one event; prints a line where a person wants to know of it."""
        line = self._line(event)
        if self._live:
            self._stream.write(_CLEAR)
        if line:
            self._stream.write(f"{time.monotonic() - self._began:6.1f} s  {line}\n")
        if self._live:
            self._stream.write(self._status())
        if line or self._live:
            self._stream.flush()

    def _status(self) -> str:
        if not self._planned:
            return ""
        under_way = ", ".join(
            sorted({f"{self._planned[name].lane}: {self._planned[name].fault}" for name in self._open})
        )
        return f"        {self._closed}/{len(self._planned)} done  {under_way}"[:110]

    def _line(self, event: Event) -> str:
        match event.payload:
            case RunStarted() as run:
                return f"run {run.run}: profile {run.profile}, seed {run.seed}, attempt {run.attempt} on this commit"
            case ComponentReady(report=report, lane=lane):
                where = f" in {lane}" if lane else ""
                return f"ready  {report.name}{where} ({report.version}) after {report.ready_seconds:.2f} s"
            case ComponentExited(expected=False) as gone:
                return f"DIED   {gone.name}{f' in {gone.lane}' if gone.lane else ''} with exit code {gone.code}"
            case InjectionPlanned(injection=injection):
                self._planned[injection.id] = injection
                return ""
            case PlanClosed() as plan:
                return f"plan   {plan.injections} injections, critical path {plan.critical_path_seconds:.0f} s"
            case Progress(text=text):
                return text
            case _:
                return self._injection_line(event)

    def _injection_line(self, event: Event) -> str:
        match event.payload:
            case FaultApplying() as fault:
                self._open.add(fault.injection)
                return ""
            case Injected() as injected:
                return f"fault  {self._name(injected.injection)}: {injected.proof}"
            case Healed() as healed:
                return f"healed {self._name(healed.injection)}: {healed.proof}"
            case InjectionClosed() as closed:
                self._open.discard(closed.injection)
                self._closed += 1
                return ""
            case InjectionUnverified() as unverified:
                self._open.discard(unverified.injection)
                return f"UNVERIFIED {self._name(unverified.injection)}: {unverified.why}"
            case MessageArrived(notification=message):
                return f"heard  {message.channel}: {message.title[:80]}"
            case MessageInterfered() as spoilt:
                return f"control {spoilt.control}: a message to {spoilt.channel} of {spoilt.lane} was spoilt on purpose"
            case LaneRetired() as retired:
                return f"RETIRED {retired.lane}: {retired.why}"
            case SinkRefused() as refused:
                return f"REFUSED by {refused.channel}: {refused.why}"
            case Starved() as starved:
                return f"STARVED {starved.what} {starved.value:.2f} (limit {starved.limit:g})"
            case RunEnded(error=error) if error:
                return f"ENDED  {error.splitlines()[0]}"
            case _:
                return ""

    def _name(self, injection: str) -> str:
        planned = self._planned.get(injection)
        if planned is None:
            return injection
        control = f" [control: {planned.control}]" if planned.control else ""
        return f"{planned.fault} in {planned.lane} for {planned.alert}{control}"
