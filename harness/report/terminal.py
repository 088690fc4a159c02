"""The report that a person reads in a terminal; its last line is the headline."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterable, Iterator, Mapping

from rich import box
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from harness.model.events import Event
from harness.model.findings import Severity
from harness.model.plan import Injection
from harness.model.verdicts import (
    AlertCoverage,
    Cell,
    CellStatus,
    InjectionVerdict,
    Judgement,
    Outcome,
    Quality,
    Quantiles,
    TargetVerdict,
    Verdict,
)
from harness.report import audited, compared, searched
from harness.report.timeline import trail
from harness.verdict.record import Record, record

WIDTH = 120
"""Columns where nobody says how wide the terminal is."""

_COLOURS: Mapping[str, str] = {
    "pass": "green",
    "heard": "green",
    "as meant": "green",
    "fail": "red",
    "broken": "red",
    "error": "red",
    "not as meant": "red",
}
_DOUBTFUL = "yellow"
_FOLDED = "claim"  # the one column that may take several lines


def render(judgement: Judgement, events: Iterable[Event], *, colour: bool = False, width: int = WIDTH) -> str:
    """The run as text.

    Args:
        judgement: the verdicts.
        events: the run's ledger.
        colour: whether the reader is a terminal that wants colour; the environment is not asked.
        width: columns of the terminal.
    """
    told = record(events)
    out = io.StringIO()
    console = Console(
        file=out,
        width=width,
        force_terminal=colour,
        no_color=not colour,
        color_system="standard" if colour else None,
        highlight=False,
        markup=False,
        emoji=False,
        legacy_windows=False,
        _environ={},
    )
    _print(console, judgement, told)
    text = "\n".join(line.rstrip() for line in out.getvalue().splitlines())
    return re.sub(r"\n{3,}", "\n\n", text) + "\n"  # tables bring an empty line of their own


def _print(console: Console, judgement: Judgement, told: Record) -> None:
    planned = {story.planned.id: story.planned for story in told.stories}
    for line in _about_run(told):
        console.print(line, soft_wrap=True)
    if judgement.starved_trials:
        console.print(f"starved: {judgement.starved_trials} trials could not be judged")
    parts = (
        _cells(judgement),
        _controls(judgement),
        _scenes(judgement),
        _episodes(judgement),
        *_audits(told),
        _targets(judgement),
    )
    for part in (*parts, _quality(judgement.quality)):
        if part is not None:
            console.print(part)
    console.print(_noise(judgement.quality), soft_wrap=True)
    for block in _trouble(judgement, planned):
        console.print()
        for number, line in enumerate(block):
            console.print(line, style="bold" if number == 0 else None, soft_wrap=True)
    if judgement.reasons:
        console.print()
        for reason in judgement.reasons:
            console.print(f"- {reason}", soft_wrap=True)
    console.print()
    console.print(judgement.headline, style=f"bold {_style(judgement.verdict)}", soft_wrap=True)


def _style(word: str) -> str:
    return _COLOURS.get(word, _DOUBTFUL)


def _about_run(told: Record) -> Iterator[str]:
    """What ran: the run itself, versions, how the copy differs from production, what the policy does not drill."""
    started = told.started
    if started is not None:
        yield (
            f"run {started.run}: profile {started.profile}, seed {started.seed}, attempt {started.attempt} on commit "
            f"{started.commit or 'unknown'}, time scale {started.time_scale:g}, tocsin {started.tocsin}"
        )
    path = f", critical path {told.plan.critical_path_seconds:.0f} s" if told.plan else ""
    yield f"took {told.wall_seconds:.1f} s{path}"
    versions = dict.fromkeys(f"{one.report.name} {one.report.version}" for one in told.components)
    if versions:
        yield f"components: {', '.join(versions)}"
    if told.plan:
        yield f"mix of injections: {', '.join(f'{alert} {count}' for alert, count in told.plan.mix.items())}"
    if told.load is not None:
        yield (
            f"load meanwhile: {told.load.requests} requests, {told.load.failures} failed, "
            f"p95 {_seconds(told.load.p95_seconds)}, max {_seconds(told.load.max_seconds)}"
        )
    count = len(told.differences)
    if count:
        yield f"rewired: {count} difference{'s' if count > 1 else ''} from production, listed in summary.json"
    for drill in told.drills:
        if drill.why_not is not None:
            yield f"not drilled: {drill.alert} ({drill.why_not})"
    for name, why in told.scenes_left_out.items():
        yield f"scene not played: {name} ({why})"
    for difference in told.differences:
        if difference.why.startswith("shortened copy"):
            yield f"{difference.file}, {difference.path}: {difference.why}"
    for gone in told.exits:
        if not gone.expected:
            lane = f" in {gone.lane}" if gone.lane else ""
            yield f"{gone.name}{lane} ended by itself with code {gone.code}"
    for finding in told.findings:
        if finding.severity is not Severity.INFO:
            yield str(finding)


def _table(title: str, *columns: str) -> Table:
    table = Table(title=f"\n{title}", title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    table.padding = (0, 0)
    for name in columns:
        table.add_column(name, no_wrap=name != _FOLDED, overflow="fold")
    return table


def _word(text: str) -> RenderableType:
    return Text(text, style=_style(text))


def _cells(judgement: Judgement) -> RenderableType | None:
    if not judgement.alerts:
        return None
    table = _table(
        "alerts",
        "alert",
        "priority",
        "channel",
        "status",
        "delivered",
        "resolved",
        "since due (max)",
        "since t0 (max)",
        "trail ends",
    )
    for alert in judgement.alerts:
        for cell in alert.cells:
            table.add_row(*_cell(alert, cell))
    return table


def _cell(alert: AlertCoverage, cell: Cell) -> tuple[RenderableType, ...]:
    return (
        alert.alert,
        alert.priority,
        cell.channel,
        _word(cell.status.value),
        f"{cell.delivered}/{cell.expected}",
        f"{cell.resolved}/{cell.expected}",
        _times(cell.seconds),
        _times(cell.since_condition_seconds),
        cell.trail_ends.value if cell.trail_ends else "",
    )


def _times(times: Quantiles | None) -> str:
    return f"{_seconds(times.p50)} ({_seconds(times.max)})" if times else "-"


def _seconds(value: float) -> str:
    return f"{value:.1f} s" if math.isfinite(value) else "never"


def _controls(judgement: Judgement) -> RenderableType | None:
    if not judgement.controls:
        return None
    table = _table("negative controls (must fail)", "control", "trials", "judged", "result")
    for control in judgement.controls:
        result = "as meant" if control.as_expected else "not as meant"
        table.add_row(control.name, str(control.trials), control.verdict.value, _word(result))
    return table


def _scenes(judgement: Judgement) -> RenderableType | None:
    if not judgement.scenes:
        return None
    table = _table("scenes", "scene", "lane", "verdict", "played", _FOLDED)
    for scene in judgement.scenes:
        first = next(iter(scene.told), "")
        table.add_row(scene.id, scene.lane, _word(scene.verdict.value), f"{scene.seconds:.0f} s", first.splitlines()[0])
    return table


def _episodes(judgement: Judgement) -> RenderableType | None:
    if not judgement.episodes:
        return None
    columns = ("fault", "verdict", "written", "allowed", "lost", "corrupt", "double", "late", _FOLDED)
    table = _table("faults of the records' way", *columns)
    for one in judgement.episodes:
        counts = (one.written, one.allowed, one.lost, one.corrupt, one.duplicate, one.late)
        table.add_row(one.fault, _word(one.verdict.value), *map(str, counts), one.told[0].splitlines()[0])
    return table


def _audits(told: Record) -> Iterator[RenderableType]:
    """What became of records, by source, and what faults cost; then what is to be said besides."""
    for title, columns, rows in (
        ("records", audited.COLUMNS, audited.rows(told.audits)),
        ("what faults cost", audited.FAULT_COLUMNS, audited.fault_rows(told.audits)),
        ("searches", searched.COLUMNS, searched.rows(told)),
        ("time series in InfluxDB", compared.COLUMNS, compared.rows(told)),
    ):
        if rows:
            table = _table(title, *columns)
            for row in rows:
                table.add_row(*row)
            yield table
    remarks = (*audited.remarks(told.audits, told.not_audited), *searched.remarks(told), *compared.remarks(told))
    for remark in remarks:
        yield Text(f"- {remark}")


def _targets(judgement: Judgement) -> RenderableType | None:
    if not judgement.targets:
        return None
    table = _table("targets", "target", "verdict", "observed", "bounds", "n", "claim")
    for target in judgement.targets:
        table.add_row(
            target.id,
            _word("excluded") if target.excluded is not None else _word(target.verdict.value),
            "-" if target.observed is None else f"{target.observed:.3g}",
            _bounds(target),
            str(target.n),
            target.claim,
        )
    return table


def _bounds(target: TargetVerdict) -> str:
    if target.lower_bound is None or target.upper_bound is None:
        return "-"
    return f"{target.lower_bound:.3f} to {target.upper_bound:.3f}"


def _quality(quality: Quality) -> RenderableType | None:
    if not quality.by_fault:
        return None
    table = _table(
        "alert quality",
        "fault",
        "recall",
        "precision",
        "t0 to firing (max)",
        "t0 to message (max)",
        "healed to resolved (max)",
    )
    for one in (*quality.by_fault, quality.overall):
        table.add_row(
            one.fault or "all",
            _share(one.fired, one.injections),
            _share(one.explained, one.explained + one.false_alarms),
            _times(one.firing_seconds),
            _times(one.message_seconds),
            _times(one.reset_seconds),
        )
    return table


def _share(good: int, count: int) -> str:
    """A share, never rounded up, with what it is of; a share of nothing is no evidence."""
    return f"{math.floor(100 * good / count) / 100:.2f} ({good}/{count})" if count else "no evidence"


def _noise(quality: Quality) -> str:
    noise, bound = quality.noise, quality.noise.upper_bound_per_lane_day
    if bound is None:
        return "noise: no evidence, no lane was quiet at any time"
    alarms = f"{noise.false_alarms} false alarm{'' if noise.false_alarms == 1 else 's'}"
    return (
        f"noise: {alarms} in {noise.quiet_seconds / 3600:.3f} quiet lane-hours, at most "
        f"{bound:.{0 if bound >= 100 else 2}f} a lane and day (one-sided 95 %)"
    )


def _trouble(judgement: Judgement, planned: Mapping[str, Injection]) -> Iterator[tuple[str, ...]]:
    """Every trial that was not heard, hop by hop, and every injection in which somebody heard too much."""
    broken = {
        (alert.alert, cell.channel)
        for alert in judgement.alerts
        for cell in alert.cells
        if cell.status is not CellStatus.HEARD
    }
    for one in judgement.injections:
        for trial in one.trials:
            in_sight = one.control is None and (trial.alert, trial.channel) in broken
            if trial.outcome is not Outcome.HEARD and (in_sight or _astray(judgement, one)):
                yield trail(trial, planned.get(one.injection))
        if one.unexpected:
            yield (f"{one.alert} in {one.lane}, injection {one.injection}: heard by mistake", *_bullets(one.unexpected))
    for scene in judgement.scenes:
        if scene.verdict is not Verdict.PASS:
            yield (f"scene {scene.id} in {scene.lane}: {scene.summary}", *_bullets(scene.told))


def _astray(judgement: Judgement, injection: InjectionVerdict) -> bool:
    """Whether an injection belongs to a control that did not fail as it was meant to."""
    return any(one.name == injection.control and not one.as_expected for one in judgement.controls)


def _bullets(lines: Iterable[str]) -> Iterator[str]:
    return (f"  {line}" for line in lines)
