"""summary.json: the run for other programs. `summary.schema.json` beside this file is its JSON Schema."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import TypeAlias

from harness.model.events import ComponentReady, Event
from harness.model.findings import Finding
from harness.model.stack import Difference
from harness.model.time import rfc3339
from harness.model.verdicts import (
    AlertCoverage,
    Cell,
    ControlVerdict,
    EpisodeVerdict,
    FaultQuality,
    Judgement,
    Quality,
    Quantiles,
    SceneVerdict,
    TargetVerdict,
)
from harness.report.audited import audit_json
from harness.report.compared import series_json
from harness.report.searched import archives_json, searches_json, tails_json
from harness.verdict.record import record
from harness.verdict.trials import FAILED, UNJUDGED

SCHEMA = "tocsin/summary/1"

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
"""What JSON can say."""

_DIGITS = 6  # microseconds: finer is noise of the clock


def render(judgement: Judgement, events: Iterable[Event]) -> str:
    """The summary as text, with a line break at its end."""
    return json.dumps(summary(judgement, events), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def summary(judgement: Judgement, events: Iterable[Event]) -> dict[str, Json]:
    """The run in the shape of the outside contract; what is infinite (a lost message's time) is null."""
    told = record(events)
    started = told.started
    trials = [trial for one in judgement.injections if one.control is None for trial in one.trials]
    return {
        "schema": SCHEMA,
        "run": started.run if started else None,
        "tocsin": started.tocsin if started else None,
        "commit": started.commit if started else None,
        "verdict": judgement.verdict.value,
        "exit_code": judgement.exit_code,
        "headline": judgement.headline,
        "reasons": list(judgement.reasons),
        "profile": told.profile,
        "seed": started.seed if started else None,
        "attempt": started.attempt if started else 1,
        "time_scale": _number(started.time_scale if started else 1),
        "wall_seconds": _number(told.wall_seconds),
        "critical_path_seconds": _number(told.plan.critical_path_seconds if told.plan else 0),
        "mix": dict(told.plan.mix) if told.plan else {},
        "excluded": list(judgement.excluded),
        "targets": [_target(target) for target in judgement.targets],
        "injections": {"planned": judgement.planned, "tried": judgement.tried, "failed": judgement.failed},
        "trials": {
            "n": sum(trial.outcome not in UNJUDGED for trial in trials),
            "failed": sum(trial.outcome in FAILED for trial in trials),
        },
        "alerts": [_alert(alert) for alert in judgement.alerts],
        "not_drilled": [{"alert": one.alert, "why": one.why_not} for one in told.drills if one.why_not is not None],
        "negative_controls": [_control(control) for control in judgement.controls],
        "scenes": [_scene(scene) for scene in judgement.scenes],
        "scenes_left_out": [{"id": name, "why": why} for name, why in told.scenes_left_out.items()],
        "episodes": [_episode(one) for one in judgement.episodes],
        "episodes_left_out": [{"fault": name, "why": why} for name, why in told.episodes_left_out.items()],
        "starved_trials": judgement.starved_trials,
        "quality": _quality(judgement.quality),
        "audit": audit_json(told.audits, told.not_audited) if told.audits or told.not_audited else None,
        "searches": searches_json(told),
        "archives": archives_json(told),
        "tails": tails_json(told),
        "series": series_json(told),
        "findings": [_finding(finding) for finding in told.findings],
        "rewired": [_difference(difference) for difference in told.differences],
        "components": _components(told.components),
    }


def _target(target: TargetVerdict) -> Json:
    return {
        "id": target.id,
        "basis": target.basis.value,
        "verdict": target.verdict.value,
        "target": _number(target.target),
        "observed": _number(target.observed),
        "lower_bound": _number(target.lower_bound),
        "upper_bound": _number(target.upper_bound),
        "n": target.n,
        "unit": target.unit,
        "evidence": target.evidence,
        "stands_in": dict(target.stands_in) if target.stands_in else None,
        "claim": target.claim,
        "excluded": target.excluded,
    }


def _alert(alert: AlertCoverage) -> Json:
    return {
        "alert": alert.alert,
        "priority": alert.priority,
        "fault": alert.fault,
        "signal": alert.signal,
        "status": alert.status.value,
        "cells": [_cell(cell) for cell in alert.cells],
        "hops": {hop.value: _quantiles(times) for hop, times in alert.hops.items()},
    }


def _cell(cell: Cell) -> Json:
    return {
        "channel": cell.channel,
        "status": cell.status.value,
        "expected": cell.expected,
        "delivered": cell.delivered,
        "resolved": cell.resolved,
        "seconds": _quantiles(cell.seconds),
        "since_condition_seconds": _quantiles(cell.since_condition_seconds),
        "trail_ends": cell.trail_ends.value if cell.trail_ends else None,
        "complaints": list(cell.complaints),
    }


def _control(control: ControlVerdict) -> Json:
    return {
        "name": control.name,
        "trials": control.trials,
        "verdict": control.verdict.value,
        "as_expected": control.as_expected,
    }


def _scene(scene: SceneVerdict) -> Json:
    return {
        "id": scene.id,
        "lane": scene.lane,
        "summary": scene.summary,
        "verdict": scene.verdict.value,
        "told": list(scene.told),
        "seconds": _number(scene.seconds),
    }


def _episode(one: EpisodeVerdict) -> Json:
    return {
        "id": one.id,
        "fault": one.fault,
        "summary": one.summary,
        "verdict": one.verdict.value,
        "written": one.written,
        "allowed": one.allowed,
        "lost": one.lost,
        "corrupt": one.corrupt,
        "duplicate": one.duplicate,
        "late": one.late,
        "told": list(one.told),
    }


def _quality(quality: Quality) -> Json:
    noise = quality.noise
    return {
        **_of_fault(quality.overall),
        "noise": {
            "false_alarms": noise.false_alarms,
            "quiet_lane_seconds": _number(noise.quiet_seconds),
            "per_lane_day": _number(noise.per_lane_day),
            "upper_bound_per_lane_day": _number(noise.upper_bound_per_lane_day),
        },
        "by_fault": [{"fault": one.fault, **_of_fault(one)} for one in quality.by_fault],
        "false_alarms": [
            {"alert": alarm.alert, "lane": alarm.lane, "at": rfc3339(alarm.at), "fault": alarm.fault or None}
            for alarm in quality.false_alarms
        ],
    }


def _of_fault(quality: FaultQuality) -> dict[str, Json]:
    return {
        "injections": quality.injections,
        "fired": quality.fired,
        "unknown": quality.unknown,
        "recall": _number(quality.recall),
        "alarms": {"explained": quality.explained, "false": quality.false_alarms},
        "precision": _number(quality.precision),
        "detection_seconds": {
            "firing": _quantiles(quality.firing_seconds),
            "message": _quantiles(quality.message_seconds),
        },
        "reset_seconds": _quantiles(quality.reset_seconds),
    }


def _finding(finding: Finding) -> Json:
    span, subject = finding.span, finding.subject
    return {
        "id": finding.id,
        "severity": finding.severity.value,
        "file": span.file,
        "line": span.line,
        "column": span.column,
        "end_line": span.end_line,
        "end_column": span.end_column,
        "summary": finding.summary,
        "details": finding.details,
        "fix": finding.fix,
        "subject": {"kind": subject.kind, "name": subject.name} if subject else None,
    }


def _difference(difference: Difference) -> Json:
    return {
        "file": difference.file,
        "path": difference.path,
        "from": difference.before,
        "to": difference.after,
        "why": difference.why,
    }


def _components(ready: Iterable[ComponentReady]) -> list[Json]:
    """Every component once, however many lanes have their own: `ready_seconds` is the slowest of them."""
    reports: dict[tuple[str, str, str, str], list[float]] = {}
    for one in ready:
        report = one.report
        key = (report.name, report.version, report.runtime, report.source)
        reports.setdefault(key, []).append(report.ready_seconds)
    return [
        {
            "name": name,
            "version": version,
            "runtime": runtime,
            "source": source,
            "ready_seconds": _number(max(seconds)),
            "instances": len(seconds),
        }
        for (name, version, runtime, source), seconds in reports.items()
    ]


def _quantiles(times: Quantiles | None) -> Json:
    """Median and maximum; null for each where nothing was measured or a message was lost."""
    found: Mapping[str, float | None] = {
        "p50": times.p50 if times else None,
        "max": times.max if times else None,
    }
    return {name: _number(value) for name, value in found.items()}


def _number(value: float | None) -> float | int | None:
    if value is None or not math.isfinite(value):
        return None
    return value if isinstance(value, int) else round(value, _DIGITS)
