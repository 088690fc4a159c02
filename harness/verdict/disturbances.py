"""When and where we disturbed the collection of metrics ourselves: what was lost then is no fault of the monitoring."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from harness.drive.plan.timetable import ALONE
from harness.model.stack import SHARED
from harness.verdict.record import Record
from harness.verdict.stories import Story

AFTERMATH_INTERVALS = 2
"""For how many scrape intervals after it was healed a fault is still felt: a scrape that hung has to end, and the next
one to be stored."""

DISCOVERY_SECONDS = 5.0
"""How long after its start Prometheus begins to scrape, and how often it looks for targets (`discovery/manager.go`,
`updatert`). A fault that reaches the monitoring itself may leave a new Prometheus behind."""


@dataclass(frozen=True, slots=True)
class Disturbance:
    """A fault of ours from the instant at which it was applied to that at which it was healed (Unix seconds).

    `lane` is None where it reaches every lane; `until_at` is infinite where nobody saw it healed.
    """

    fault: str
    lane: str | None
    from_at: float
    until_at: float

    def covers(self, lane: str, from_at: float, to_at: float, interval_seconds: float) -> bool:
        """Whether it was in place, or still to be felt, in a lane at any moment between two instants."""
        if self.lane not in {None, lane}:
            return False
        felt = AFTERMATH_INTERVALS * interval_seconds + (DISCOVERY_SECONDS if self.lane is None else 0.0)
        return self.from_at <= to_at and from_at <= self.until_at + felt


def disturbances(record: Record) -> tuple[Disturbance, ...]:
    """Every fault and scene that may keep metrics from being collected, in the order in which they began.

    A fault reaches its own lane; one of the stage in which nothing else goes on reaches every lane. One that is
    simulated at an exporter's input changes what is collected, and takes nothing down.
    """
    return tuple(sorted(_of_stories(record), key=lambda one: one.from_at))


def _of_stories(record: Record) -> Iterator[Disturbance]:
    simulated = {
        fault.strip() for drill in record.drills if drill.signal == "simulated" for fault in drill.fault.split(",")
    }
    for story in record.stories:
        if story.applying_at is not None and story.planned.fault not in simulated:
            everywhere = reaches_everything(story)
            yield Disturbance(
                fault=story.planned.fault,
                lane=None if everywhere else story.planned.lane,
                from_at=story.applying_at,
                until_at=math.inf if story.healed is None else story.healed.healed_at,
            )
    for scene in record.scenes:
        if scene.started_at is not None:
            until_at = math.inf if scene.ended_at is None else scene.ended_at
            yield Disturbance(f"scene {scene.plan.id}", scene.plan.lane, scene.started_at, until_at)


def reaches_everything(story: Story) -> bool:
    """Whether an injection disturbs what all lanes share, and with it every lane."""
    return story.planned.lane == SHARED and story.planned.stage == ALONE


def starved(record: Record, from_at: float, to_at: float) -> bool:
    """Whether the harness or its machine was starved at any moment between two instants."""
    return any(window.from_at <= to_at and from_at <= window.to_at for window in record.starved)
