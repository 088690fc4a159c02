"""Which alerts of a lane would disturb the injection that comes next. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from harness.model.plan import Injection, Timetable
from harness.model.policy import Policies
from harness.model.stack import LANE_LABEL


def disturbs_scenes(policies: Policies) -> Callable[[Mapping[str, str]], bool]:
    """Whether an alert with some labels, pending or firing in a scene's lane, would disturb the scene.

    Every alert does that somebody hears, and every other one that inhibits anybody.
    """
    unheard = {spared.alert for spared in policies.not_drilled}
    targets = [{**alert.labels, "alertname": alert.name} for alert in policies.alerts]

    def disturbing(labels: Mapping[str, str]) -> bool:
        if labels.get("alertname", "") not in unheard:
            return True
        lane = {LANE_LABEL: labels.get(LANE_LABEL, "")}
        return any(rule.silences(labels, {**target, **lane}) for rule in policies.inhibitions for target in targets)

    return disturbing


def disturbs(injection: Injection, timetable: Timetable, policies: Policies) -> Callable[[Mapping[str, str]], bool]:
    """Whether an alert with some labels, pending or firing in the injection's lane, would disturb it.

    One that inhibits its alert does, whoever raised it. Else those do not that the injection tolerates, nor those
    that other tracks of the lane raise or tolerate, for they are others' work, nor those that no drill raises, for
    nobody hears them.
    """
    alert = policies.alert(injection.alert)
    target = {**alert.labels, "alertname": alert.name, LANE_LABEL: injection.lane}
    others = {
        name
        for other in timetable.injections
        if other.lane == injection.lane and other.track != injection.track
        for name in (other.alert, *other.tolerates)
    }
    own = {
        name
        for other in timetable.injections
        if other.lane == injection.lane and other.track == injection.track
        for name in (other.alert, *other.tolerates)
    } - set(injection.tolerates)
    others |= set(injection.tolerates) - {injection.alert}
    unheard = {spared.alert for spared in policies.not_drilled}

    def disturbing(labels: Mapping[str, str]) -> bool:
        if any(rule.silences(labels, target) for rule in policies.inhibitions):
            return True
        name = labels.get("alertname", "")
        return name in own or (name not in others and name not in unheard)

    return disturbing
