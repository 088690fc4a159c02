"""Every scene that there is, in the order in which they are played; each has a page of its own in docs/scenes."""

from __future__ import annotations

from harness.drive.scenes import Cast, NoPart, Scene, ScenePlan
from harness.drive.scenes.cause_not_flood import CauseNotFlood
from harness.drive.scenes.grouped import Grouped
from harness.drive.scenes.inhibited_then_heard import InhibitedThenHeard
from harness.drive.scenes.priority_rises import PriorityRises
from harness.drive.scenes.repeated import Repeated
from harness.drive.scenes.silence_honoured import SilenceHonoured

SCENES: tuple[Scene, ...] = (
    CauseNotFlood(),
    Grouped(),
    SilenceHonoured(),
    InhibitedThenHeard(),
    PriorityRises(),
    Repeated(),
)


def planned(cast: Cast) -> tuple[tuple[ScenePlan, ...], dict[str, str]]:
    """Every scene that these policies have the alerts for; and why the others are left out, by id."""
    plans, left_out = [], {}
    for scene in SCENES:
        try:
            plans.append(scene.plan(cast))
        except NoPart as error:
            left_out[scene.id] = str(error)
    return tuple(plans), left_out
