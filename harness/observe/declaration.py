"""What is expected, written before anything is done."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from harness.model.events import (
    DrillDeclared,
    FindingNoted,
    InjectionPlanned,
    Payload,
    PlanClosed,
    StagePlanned,
    TargetDeclared,
)
from harness.model.findings import Finding
from harness.model.plan import Timetable
from harness.model.policy import Policies
from harness.model.scenes import SceneLeftOut, ScenePlanned


def declare(
    write: Callable[[Payload], object],
    policies: Policies,
    findings: Sequence[Finding],
    timetable: Timetable,
    signals: Mapping[str, str],
) -> None:
    """Writes all that a run will be held to, and closes the plan: nothing is planned after the first fault.

    Args:
        write: writes one event to the ledger.
        policies: what was promised.
        findings: what was found in the policies.
        timetable: what will be tried.
        signals: id of a fault -> whether its signal is real or simulated.
    """
    for finding in findings:
        write(FindingNoted(finding))
    for target in policies.targets:
        write(TargetDeclared(target))
    for drill in policies.drills:
        alert = policies.alert(drill.alert)
        by_itself = alert.told_by != "alertmanager"
        kinds = {signals[fault] for fault in drill.faults}
        write(
            DrillDeclared(
                alert=drill.alert,
                priority=drill.priority,
                fault=", ".join(drill.faults),
                signal=kinds.pop() if len(kinds) == 1 else "mixed",
                channels=policies.channels_of(drill),
                severity=alert.labels.get("severity", ""),
                told_by=alert.told_by,
                labels=alert.labels if by_itself else {},
                annotations=alert.annotations if by_itself else {},
            )
        )
    for spared in policies.not_drilled:
        labels = policies.alert(spared.alert).labels
        write(DrillDeclared(spared.alert, "", "", "", (), labels.get("severity", ""), why_not=spared.why))
    for stage in timetable.stages:
        write(StagePlanned(stage))
    for injection in timetable.injections:
        write(InjectionPlanned(injection))
    for scene in timetable.scenes:
        write(ScenePlanned(scene))
    for name, why in timetable.scenes_left_out.items():
        write(SceneLeftOut(name, why))
    critical_path_seconds = timetable.critical_path.total_seconds()
    write(PlanClosed(len(timetable.injections), critical_path_seconds, timetable.mix, policies.told_later))
