"""The report form that is read while the run goes on: live on a terminal, plain lines in CI."""

from __future__ import annotations

import shutil
import time
from types import TracebackType
from typing import Self, TextIO

from harness.model.audit import RecordsAudited, RecordsNotAudited
from harness.model.episodes import EpisodeBegan, EpisodeEnded, EpisodeProven
from harness.model.events import (
    ComponentExited,
    ComponentReady,
    ComponentRestarted,
    Event,
    FaultApplying,
    Healed,
    HopsRead,
    Injected,
    InjectionClosed,
    InjectionPlanned,
    InjectionUnverified,
    LaneRetired,
    PathDisturbed,
    PathRestored,
    Payload,
    PlanClosed,
    Progress,
    RunEnded,
    RunStarted,
    StageEnded,
    Starved,
)
from harness.model.keeping import RestoreDrilled, RetentionProbed
from harness.model.notifications import MessageArrived, MessageInterfered, SinkRefused
from harness.model.plan import Injection
from harness.model.scenes import SceneDid, SceneEnded, SceneStarted
from harness.model.searching import ArchiveTried, SearchTried, TailTried
from harness.model.series import SeriesCompared
from harness.report import compared
from harness.report.searched import archive_sentence, sentence, tail_sentence

_FALLBACK_COLUMNS = 80


class LiveProgress:
    """Prints what happens in a run as it happens; on a terminal the last line tells what is under way.

    No escape codes are written, to no stream: the live line is taken away by writing spaces over it. A stream that
    can no longer be written to (a closed terminal, a reader that went away) ends the show, never the run.

    Args:
        stream: where to print, standard error as a rule. Without a terminal nothing but plain lines is written.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._live = not stream.closed and stream.isatty()
        self._gone = False
        self._shown = ""
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
        self._live, erased = False, self._erased()
        if erased:
            self._write(erased)

    def show(self, event: Event) -> None:
        """Takes one event; prints a line where a person wants to know of it."""
        line = _printable(self._line(event))
        if line:
            self._print(f"{time.monotonic() - self._began:6.1f} s  {line}")
        elif self._live and self._status() != self._shown:
            self._print()

    def say(self, text: str) -> None:
        """Prints a sentence for a person, which may have several lines, above the live line."""
        self._print(*map(_printable, f"tocsin: {text}".splitlines()))

    def _print(self, *lines: str) -> None:
        """Lines, and below them on a terminal the live one; all in one write, so that nothing flickers."""
        erased, status = self._erased(), self._status() if self._live else ""
        self._shown = status
        self._write(erased + "".join(f"{line}\n" for line in lines) + status)

    def _erased(self) -> str:
        return f"\r{' ' * len(self._shown)}\r" if self._shown else ""

    def _status(self) -> str:
        if not self._planned:
            return ""
        under_way = ", ".join(
            sorted({f"{one.lane}: {one.fault}" for name, one in self._planned.items() if name in self._open})
        )
        # A line that wraps could not be taken away again.
        room = shutil.get_terminal_size((_FALLBACK_COLUMNS, 24)).columns - 1
        return _printable(f"        {self._closed}/{len(self._planned)} done  {under_way}")[:room]

    def _write(self, text: str) -> None:
        if self._gone:
            return
        encoding = self._stream.encoding or "utf-8"
        try:
            self._stream.write(text.encode(encoding, "replace").decode(encoding))
            self._stream.flush()
        except (OSError, ValueError):  # ValueError: the stream was closed
            # Nobody watches any more. What happens is in the ledger, and the run goes on.
            self._gone = True

    def _line(self, event: Event) -> str:
        match event.payload:
            case RunStarted() as run:
                return f"run {run.run}: profile {run.profile}, seed {run.seed}, attempt {run.attempt} on this commit"
            case ComponentReady(report=report, lane=lane):
                where = f" in {lane}" if lane else ""
                return f"ready  {report.name}{where} ({report.version}) after {report.ready_seconds:.2f} s"
            case ComponentExited(expected=False) as gone:
                return f"DIED   {gone.name}{f' in {gone.lane}' if gone.lane else ''} with exit code {gone.code}"
            case ComponentRestarted(held=False) as back:
                where = f" in {back.lane}" if back.lane else ""
                return f"BACK   {back.name}{where}, restarted by its own unit after {back.outage_seconds:.1f} s"
            case InjectionPlanned(injection=injection):
                self._planned[injection.id] = injection
                return ""
            case PlanClosed() as plan:
                return f"plan   {plan.injections} injections, critical path {plan.critical_path_seconds:.0f} s"
            case Progress(text=text):
                return text
            case StageEnded(why=why) as stage if why:
                return f"CUT    stage {stage.stage}: {why}"
            case SceneStarted() as scene:
                return f"scene  {scene.scene} begins in {scene.lane}"
            case SceneDid() as scene:
                return f"scene  {scene.scene}, {scene.mark}: {scene.saw}"
            case SceneEnded() as scene:
                return f"scene  {scene.scene} is over{f': {scene.why}' if scene.why else ''}"
            case HopsRead(error=error) as hops if error:
                return f"UNREAD hops of {self._name(hops.injection)}: {error}"
            case _:
                return self._injection_line(event)

    def _injection_line(self, event: Event) -> str:
        match event.payload:
            case FaultApplying() as fault:
                self._open.add(fault.injection)
                return ""
            case Injected() as injected:
                return f"fault  {self._name(injected.injection)}: {injected.proof}"
            case PathDisturbed() as disturbed:
                return f"path   {self._name(disturbed.injection)}, although {disturbed.fault}: {disturbed.proof}"
            case PathRestored() as restored:
                return f"path   {self._name(restored.injection)}, {restored.fault} is over: {restored.proof}"
            case Healed() as healed:
                return f"healed {self._name(healed.injection)}: {healed.proof}"
            case InjectionClosed() as closed:
                self._open.discard(closed.injection)
                self._closed += closed.injection in self._planned
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
                return _record_line(event.payload)

    def _name(self, injection: str) -> str:
        planned = self._planned.get(injection)
        if planned is None:
            return injection
        control = f" [control: {planned.control}]" if planned.control else ""
        return f"{planned.fault} in {planned.lane} for {planned.alert}{control}"


def _printable(line: str) -> str:
    """One line without anything that moves a cursor: titles and proofs hold what other programs wrote."""
    return "".join(char if char.isprintable() else " " for char in line)


def _record_line(payload: Payload | None) -> str:
    """What is told of records and of the stores that keep them."""
    match payload:
        case EpisodeBegan(fault=fault):
            return f"record  {fault} begins"
        case EpisodeProven() as proven:
            return f"record  {proven.episode} is in place: {proven.proof}"
        case EpisodeEnded() as over:
            return f"record  {over.episode} is over{f': {over.why.splitlines()[0]}' if over.why else ''}"
        case RecordsAudited(source=source, fates=fates):
            return f"audit  {source}: {fates.collected} of {fates.written} found in time, {fates.lost} lost"
        case SearchTried() as search:
            return sentence(search)
        case ArchiveTried() as archive:
            return archive_sentence(archive)
        case TailTried() as tail:
            return tail_sentence(tail)
        case SeriesCompared() as series:
            return compared.sentence(series)
        case RecordsNotAudited() as gap:
            return f"audit  {gap.source or 'records'} not audited: {gap.why.splitlines()[0]}"
        case RetentionProbed(error=error) as probed:
            if error:
                return f"kept  {probed.store} not probed: {error.splitlines()[0]}"
            return f"kept  {probed.store}: its oldest data was asked for ({probed.keeps})"
        case RestoreDrilled(error=error) as drilled:
            if error:
                return f"restored  {drilled.store} not drilled: {error.splitlines()[0]}"
            size = f"{drilled.records:,} records, {drilled.bytes / 2**20:.1f} MiB"
            if not drilled.equal:
                size += f", {drilled.missing} missing, {drilled.changed} changed, {drilled.foreign} foreign"
            return f"restored  {drilled.store} in {drilled.restore_seconds:.1f} s: {size}"
        case _:
            return ""
