"""What a team wrote: alerts, routes, drills, targets, components. Every node knows where it stands."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Final

from harness.model.logs import LogPolicy
from harness.model.matching import Inhibition
from harness.model.records import RecordSchema
from harness.model.source import Span


class Priority(StrEnum):
    """The plan's four priorities, most urgent first."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class Basis(StrEnum):
    """What a target's verdict rests on (verdict/targets has one file for each target)."""

    BINOMIAL = "binomial"
    CENSUS = "census"
    QUANTILE = "quantile"
    MAXIMUM = "maximum"
    BOUNDARY = "boundary"


@dataclass(frozen=True, slots=True)
class Alert:
    """An alerting rule. `hold` is its `for`, `selectors` every vector selector that its expression reads, as PromQL.

    `told_by` is whose messages tell of it: `alertmanager`, or `listener` for the alert that the dead man's listener
    raises by itself (dead-man.yaml). Nothing evaluates that one: it has no expression, no hold and no hops before
    `notified`, and its annotations know `{{ $labels.<name> }}` alone.
    """

    name: str
    expr: str
    hold: timedelta
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    group: str
    file: str
    span: Span
    keep_firing_for: timedelta = timedelta(0)
    selectors: tuple[str, ...] = ()
    told_by: str = "alertmanager"


PLACEHOLDER: Final = re.compile(r"\{\{\s*\$labels\.(\w+)\s*\}\}")
"""All that an annotation of the dead man's listener may ask for."""


def rendered(annotation: str, labels: Mapping[str, str]) -> str:
    """An annotation as the dead man's listener says it: `{{ $labels.<name> }}` is the label's value."""
    return PLACEHOLDER.sub(lambda match: labels.get(match[1], ""), annotation)


@dataclass(frozen=True, slots=True)
class Integration:
    """One entry of a receiver, e.g. of its `slack_configs`; `key` is that configuration key.

    `address` is the `host:port` that the `url` of a webhook leads to, "" for everything else.
    """

    key: str
    span: Span
    address: str = ""


@dataclass(frozen=True, slots=True)
class Receiver:
    """A named receiver of Alertmanager with its integrations."""

    name: str
    integrations: tuple[Integration, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class PriorityRule:
    """What a priority promises: at once at these channels, within the deadline counted from due.

    `since_condition`, where set, bounds the time since t0 as well.
    """

    priority: Priority
    channels: tuple[str, ...]
    deadline: timedelta
    since_condition: timedelta | None
    span: Span


@dataclass(frozen=True, slots=True)
class Drill:
    """What must raise one alert, and the people who must hear.

    `tolerates` names alerts that may speak too without failing the drill (a consequence that nothing inhibits).
    `also` are further faults that must raise the same alert. `channels`, where set, are the channels that must hear
    instead of the priority's. `although` are faults of the way that alerts take, under which this one must be heard
    all the same, and `nightly` further faults that must raise it: both are tried by the nightly profile alone.
    """

    alert: str
    priority: Priority
    fault: str
    tolerates: tuple[str, ...]
    span: Span
    also: tuple[str, ...] = ()
    channels: tuple[str, ...] | None = None
    although: tuple[str, ...] = ()
    nightly: tuple[str, ...] = ()

    @property
    def faults(self) -> tuple[str, ...]:
        """Every fault that must raise the alert in any profile, `fault` first: injections take turns through them."""
        return (self.fault, *self.also)


@dataclass(frozen=True, slots=True)
class NotDrilled:
    """An alert that no drill raises, with the reason, e.g. one that only inhibits others."""

    alert: str
    why: str
    span: Span


class Asked(StrEnum):
    """Where the monitoring plan asks for something: a condition, a rule that it sketches, an area to be watched."""

    CONDITION = "condition"
    RULE = "rule"
    AREA = "area"


@dataclass(frozen=True, slots=True)
class Condition:
    """Something that the monitoring plan asks for, and the alert that answers it: to whom, and by when from due.

    `what` is in the plan's own words, `severity` its own word for how bad it is, where it has one.
    """

    what: str
    asked: Asked
    severity: str | None
    alert: str
    priority: Priority
    channels: tuple[str, ...]
    deadline: timedelta
    span: Span


@dataclass(frozen=True, slots=True)
class Target:
    """A success target. `objective` in `unit`; `share` is the quantile or proportion where the basis needs one.

    `excluded` is the reason of the visible line that sets the target aside, or None.
    """

    id: str
    basis: Basis
    objective: float
    unit: str
    description: str
    span: Span
    share: float | None = None
    excluded: str | None = None


class RestartWhen(StrEnum):
    """systemd's `Restart=` (systemd.service(5)), as far as a process runtime can honour it."""

    NO = "no"
    ALWAYS = "always"
    ON_FAILURE = "on-failure"
    ON_ABNORMAL = "on-abnormal"
    ON_ABORT = "on-abort"
    ON_SUCCESS = "on-success"


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """systemd's restart settings: when, after which pause, and how many starts in which interval are too many."""

    when: RestartWhen = RestartWhen.NO
    pause: timedelta = timedelta(milliseconds=100)
    burst: int = 5
    interval: timedelta = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class Unit:
    """A systemd service file of the policy: what production runs and how it is restarted.

    `argv` is `ExecStart` split as systemd splits it; `environment` its `Environment=` lines.
    """

    file: str
    argv: tuple[str, ...]
    environment: Mapping[str, str]
    restart: RestartPolicy
    span: Span


@dataclass(frozen=True, slots=True)
class ComponentPolicy:
    """One component that production runs: its kind, the address production knows it by, its unit.

    `per_lane` components exist once in every lane (the subject, its database, its cache, their exporters).
    `command`, where set, replaces the shipped stand-in for the subject by the user's own application.
    """

    name: str
    kind: str
    addresses: tuple[str, ...]
    unit: Unit | None
    per_lane: bool
    span: Span
    command: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RecordDrill:
    """What a team states of one fault of the records' way: how many records it may cost, and why.

    `lost` is a count, `ratio` a share of the announced ones; where both are None the fault's own promise stands.
    `nightly` says whether it is for the night alone; None leaves that to the fault. `tolerates` names alerts that may
    speak while it is in place and shortly after: it truly raises them.
    """

    fault: str
    lost: int | None
    ratio: float | None
    why: str
    nightly: bool | None
    span: Span
    tolerates: tuple[str, ...] = ()


LOG_KINDS: Final = frozenset({"nginx", "emitter", "filebeat", "elasticsearch", "elasticsearch-exporter"})
"""Kinds of component that only write, ship and keep logs, or watch that: without store and shipper none is of use."""

RECORD_KINDS: Final = LOG_KINDS | {"clickhouse", "influxdb"}
"""Kinds of component that only serve records: a run can do without all of them, and without what is drilled of them."""


@dataclass(frozen=True, slots=True)
class Policies:
    """Everything in a policies folder, parsed and consistent.

    `documents` are the native files that the rewired copy is made from, by path relative to `root`, as text.
    `dead_man_file` is what the dead man's listener reads, where there is one; its alert is the last of `alerts`.
    `nginx_files` are nginx.conf and what it includes, none where the folder has none.
    `conditions` are what the monitoring plan asks for, where the folder says it. `logs` is how logs are shipped and
    kept, None where the folder has no filebeat.yml. `record_drills` is what faults of the records' way may cost.
    `left_out` are the addresses of components that production has and this stack does without (`without`).
    `group_waits` says how soon each receiver is told at the soonest.
    """

    root: Path
    prometheus_file: str
    alertmanager_file: str
    rule_files: tuple[str, ...]
    template_files: tuple[str, ...]
    documents: Mapping[str, str]
    alerts: tuple[Alert, ...]
    receivers: tuple[Receiver, ...]
    priorities: Mapping[Priority, PriorityRule]
    drills: tuple[Drill, ...]
    not_drilled: tuple[NotDrilled, ...]
    targets: tuple[Target, ...]
    components: tuple[ComponentPolicy, ...]
    scrape_intervals: Mapping[str, timedelta]
    evaluation_interval: timedelta
    inhibitions: tuple[Inhibition, ...] = ()
    dead_man_file: str | None = None
    conditions: tuple[Condition, ...] = ()
    nginx_files: tuple[str, ...] = ()
    logs: LogPolicy | None = None
    records: tuple[RecordSchema, ...] = ()
    record_drills: tuple[RecordDrill, ...] = ()
    left_out: frozenset[str] = frozenset()
    group_waits: Mapping[str, timedelta] = field(default_factory=dict)

    @property
    def told_later(self) -> tuple[str, ...]:
        """Receivers that are told of nothing at once: each waits for longer than any priority's deadline allows."""
        deadline = max((rule.deadline for rule in self.priorities.values()), default=timedelta(0))
        return tuple(sorted(name for name, wait in self.group_waits.items() if deadline and wait > deadline))

    def channels_of(self, drill: Drill) -> tuple[str, ...]:
        """The channels that must hear a drill's alert: its own, or those of its priority.

        Raises:
            KeyError: its priority promises nothing.
        """
        return self.priorities[drill.priority].channels if drill.channels is None else drill.channels

    def without(self, kinds: Collection[str]) -> Policies:
        """The same policies of a stack that has no components of these kinds."""
        gone = {address for one in self.components if one.kind in kinds for address in one.addresses}
        stay = tuple(one for one in self.components if one.kind not in kinds)
        return replace(self, components=stay, left_out=self.left_out | gone)

    def alert(self, name: str) -> Alert:
        """The alert of that name.

        Raises:
            KeyError: there is none.
        """
        for alert in self.alerts:
            if alert.name == name:
                return alert
        raise KeyError(name)
