"""Which alerts of the policies play the parts of a scene: found by the fault that must raise them. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from harness.drive.plan.estimate import window
from harness.model.policy import Alert, Drill, Policies, PriorityRule
from harness.model.time import parse_duration
from harness.policy.parse.yaml import Scalar, Table, compose

_GROUP_INTERVAL = timedelta(minutes=5)
"""Alertmanager's own `group_interval` where a route states none (its manual, "Configuration", `route`)."""


class NoPart(LookupError):
    """The policies have nobody for a part of a scene, so it is left out; the text is a sentence."""


@dataclass(frozen=True, slots=True)
class Part:
    """An alert in a scene, who must hear it at once, and by when."""

    alert: Alert
    drill: Drill
    rule: PriorityRule

    @property
    def name(self) -> str:
        """The alert's name."""
        return self.alert.name

    @property
    def channels(self) -> tuple[str, ...]:
        """The channels that must hear it: its drill's own, else its priority's."""
        return self.rule.channels if self.drill.channels is None else self.drill.channels

    @property
    def within(self) -> timedelta:
        """How long after t0 a message may come: the rule's hold and the deadline, and the bound since t0 if it is less.

        Late means here what it means for a drill (docs/verdicts.md).
        """
        due = self.alert.hold + self.rule.deadline
        return due if self.rule.since_condition is None else min(due, self.rule.since_condition)

    @property
    def may_be_heard(self) -> tuple[str, ...]:
        """Its own name, and those that its drill tolerates."""
        return (self.name, *self.drill.tolerates)


class Cast:
    """The policies as a scene looks at them.

    Args:
        policies: what was promised.
        only: names of the alerts that the run drills; all where empty.
    """

    def __init__(self, policies: Policies, only: tuple[str, ...] = ()) -> None:
        self._policies = policies
        self._only = only

    def raised_by(self, fault: str) -> Part:
        """The alert whose drill names this fault, the drill whose first fault it is before others.

        Raises:
            NoPart: no drill does, or the run leaves that alert out.
        """
        drills = sorted(self._policies.drills, key=lambda drill: drill.fault != fault)
        drill = next((one for one in drills if fault in one.faults), None)
        if drill is None:
            raise NoPart(f"no drill names the fault {fault}")
        if self._only and drill.alert not in self._only:
            raise NoPart(f"this run does not drill {drill.alert}")
        return Part(self._policies.alert(drill.alert), drill, self._policies.priorities[drill.priority])

    def inhibited(self) -> tuple[Alert, ...]:
        """Every alert that some inhibition rule may keep from being heard, in the order of the rules.

        Raises:
            NoPart: there is none.
        """
        found = tuple(
            alert
            for alert in self._policies.alerts
            if any(
                rule.targets and all(one.matches({**alert.labels, "alertname": alert.name}) for one in rule.targets)
                for rule in self._policies.inhibitions
            )
        )
        if not found:
            raise NoPart("no alert is ever inhibited")
        return found

    def memory(self) -> timedelta:
        """How long after a cause is over its symptoms may still be inhibited: the longest window of an inhibitor."""
        return max(
            (
                window(alert)
                for alert in self._policies.alerts
                if any(
                    one.label == "alertname" and one.matches({"alertname": alert.name})
                    for rule in self._policies.inhibitions
                    for one in rule.sources
                )
            ),
            default=timedelta(0),
        )

    def group_interval(self) -> timedelta:
        """How long after a message Alertmanager looks at a group again, as the root of its routes says."""
        text = self._policies.documents[self._policies.alertmanager_file]
        root = compose(text, self._policies.alertmanager_file).documents[0]
        route = root.get("route") if isinstance(root, Table) else None
        stated = route.get("group_interval") if isinstance(route, Table) else None
        return parse_duration(stated.text) if isinstance(stated, Scalar) else _GROUP_INTERVAL
