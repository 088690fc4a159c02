"""Whether the files of a policies folder fit together: what one file names must be there in another."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta

from harness.model.findings import Finding, Severity, Subject
from harness.model.policy import Alert
from harness.model.source import Span
from harness.policy.parse.alertmanager import AlertmanagerConfig
from harness.policy.parse.conditions import Placed
from harness.policy.parse.dead_man import DeadMan
from harness.policy.parse.drills import Drills, Named
from harness.policy.parse.prometheus import PrometheusConfig
from harness.policy.parse.stack import DeclaredComponent
from harness.policy.parse.suggest import hint
from harness.policy.parse.yaml import Scalar


@dataclass(frozen=True, slots=True)
class Known:
    """What the harness itself can do: faults, channels (name to receiver key), component kinds."""

    faults: Collection[str]
    channels: Mapping[str, str]
    components: Collection[str]


def alerts_and_drills(alerts: Iterable[Alert], drills: Drills, known: Known, drills_file: str) -> Iterator[Finding]:
    """Every alert has one drill or a reason for having none; every drill has an alert and a fault that there is."""
    by_name: dict[str, Alert] = {}
    for alert in alerts:
        if alert.name in by_name:
            yield _error(
                "alert/duplicate",
                alert.span,
                f"the alert {alert.name!r} is defined twice: a drill could not tell them apart",
                "alert",
                alert.name,
                details=f"it stands first at {by_name[alert.name].span}",
                fix="give each its own name",
            )
        by_name.setdefault(alert.name, alert)
    mentioned: dict[str, Named] = {}
    for named in (*drills.names.drilled, *drills.names.not_drilled):
        if named.word in mentioned:
            yield _error(
                "drill/duplicate",
                named.span,
                f"the alert {named.word!r} stands in {drills_file} twice",
                "drill",
                named.word,
                details=f"it stands first at {mentioned[named.word].span}",
            )
        mentioned.setdefault(named.word, named)
    for name, alert in by_name.items():
        if name not in mentioned:
            yield _error(
                "drill/missing",
                alert.span,
                f"nobody has tried whether the alert {name!r} is heard: it has no drill",
                "alert",
                name,
                fix=f"give it a drill in {drills_file}, or a line under `not_drilled` that says why it has none",
            )
    for named in (*drills.names.drilled, *drills.names.not_drilled, *drills.names.tolerated):
        if named.word not in by_name:
            summary = f"no rule defines an alert {named.word!r}"
            fix = hint(named.word, by_name)
            yield _error("drill/unknown-alert", named.span, summary, "alert", named.word, fix=fix)
    for named in drills.names.faults:
        if named.word not in known.faults:
            summary = f"there is no fault {named.word!r}"
            fix = hint(named.word, known.faults)
            yield _error("drill/unknown-fault", named.span, summary, "fault", named.word, fix=fix)
    for drill in drills.drills:
        alert_of = by_name.get(drill.alert)
        labelled = alert_of.labels.get("priority") if alert_of else None
        if alert_of is not None and labelled is not None and labelled != drill.priority:
            yield Finding(
                "drill/priority-differs",
                Severity.WARNING,
                drill.span,
                f"{drill.alert!r} is labelled priority {labelled!r} and drilled as {str(drill.priority)!r}",
                details=f"the rule stands at {alert_of.span}",
                fix="the drill says who must hear, the label decides who does: make them agree",
                subject=Subject("drill", drill.alert),
            )


def channels_and_receivers(
    drills: Drills, alertmanager: AlertmanagerConfig, known: Known, alertmanager_file: str, owned: Collection[str]
) -> Iterator[Finding]:
    """Every channel that a priority needs is known and has a receiver; every integration has a sink.

    A webhook that calls one of the `owned` addresses speaks to a component of ours: it needs no sink and is no channel.
    """
    served = {key: channel for channel, key in known.channels.items()}
    present = {
        integration.key
        for receiver in alertmanager.receivers
        for integration in receiver.integrations
        if integration.address not in owned
    }
    wanted: dict[str, Span] = {}
    for named in drills.names.channels:
        if named.word not in known.channels:
            summary = f"there is no channel {named.word!r}"
            fix = hint(named.word, known.channels)
            yield _error("priority/unknown-channel", named.span, summary, "channel", named.word, fix=fix)
        else:
            wanted.setdefault(named.word, named.span)
    for channel, span in wanted.items():
        key = known.channels[channel]
        if key not in present:
            yield _error(
                "channel/no-receiver",
                span,
                f"no receiver of {alertmanager_file} reaches the channel {channel!r}",
                "channel",
                channel,
                details=f"expected: a receiver with {key}",
                fix=f"add {key} to a receiver, or take {channel!r} from the priority",
            )
    for receiver in alertmanager.receivers:
        for integration in receiver.integrations:
            if integration.key not in served and integration.address not in owned:
                yield Finding(
                    "receiver/no-sink",
                    Severity.WARNING,
                    integration.span,
                    f"a receiver without sink: nobody can hear {integration.key} of {receiver.name!r} here",
                    details=f"it is left out of the copy; sinks are there for {', '.join(sorted(served)) or 'nothing'}",
                    subject=Subject("receiver", receiver.name),
                )


def listener(dead_man: DeadMan, drills: Drills, known: Known) -> Iterator[Finding]:
    """The dead man's listener speaks through every channel that its alert's drill needs; each has a sink."""
    name = dead_man.alert.name
    for channel in dead_man.channels:
        if channel not in known.channels:
            yield Finding(
                "dead-man/no-sink",
                Severity.WARNING,
                dead_man.alert.span,
                f"{name!r} is told through {channel}, of which there is no sink here: it is left out of the copy",
                subject=Subject("channel", channel),
            )
    for drill in drills.drills:
        rule = drills.priorities.get(drill.priority)
        if drill.alert != name or rule is None:
            continue
        for channel in rule.channels if drill.channels is None else drill.channels:
            if channel not in dead_man.channels:
                yield _error(
                    "dead-man/no-channel",
                    dead_man.alert.span,
                    f"{name!r} is drilled as {str(drill.priority)!r}, and the listener cannot speak through {channel}",
                    "channel",
                    channel,
                    details=f"the priority stands at {rule.span}",
                    fix=f"add {channel} to the listener's file, or name the drill's own `channels`",
                )


def conditions(asked: Iterable[Placed], alerts: Iterable[Alert], drills: Drills, drills_file: str) -> Iterator[Finding]:
    """Everything the plan asks for has an alert that is drilled, and is heard there as the drill says."""
    names = {alert.name for alert in alerts}
    drilled = {drill.alert: drill for drill in drills.drills}
    for placed in asked:
        wanted = placed.condition
        if wanted.alert not in names:
            yield _error(
                "condition/unknown-alert",
                placed.alert,
                f"{wanted.what!r} is to be answered by {wanted.alert!r}, which no rule defines",
                "alert",
                wanted.alert,
                fix=hint(wanted.alert, names),
            )
            continue
        drill = drilled.get(wanted.alert)
        if drill is None:
            yield _error(
                "condition/no-drill",
                placed.alert,
                f"{wanted.what!r} is answered by {wanted.alert!r}, which no drill raises: nobody has tried it",
                "alert",
                wanted.alert,
                fix=f"give it a drill in {drills_file}",
            )
            continue
        rule = drills.priorities.get(drill.priority)
        heard = drill.channels or (rule.channels if rule else ())
        disagreements = (
            ("priority-differs", placed.priority, str(wanted.priority), str(drill.priority)),
            ("channels-differ", placed.channels, _joined(wanted.channels), _joined(heard)),
            ("deadline-differs", placed.deadline, _seconds(wanted.deadline), _seconds(rule.deadline) if rule else ""),
        )
        for name, span, here, there in disagreements:
            if here != there and rule is not None:
                yield _error(
                    f"condition/{name}",
                    span,
                    f"{wanted.what!r} asks for {here}; the drill of {wanted.alert!r} has {there}",
                    "condition",
                    wanted.what,
                    details=f"the drill stands at {drill.span}",
                    fix="what the plan promises and what is proven must be the same: correct the one that is wrong",
                )


def _joined(channels: Iterable[str]) -> str:
    return ", ".join(sorted(channels))


def _seconds(duration: timedelta) -> str:
    return f"{duration.total_seconds():g} s"


def addresses(prometheus: PrometheusConfig, components: Iterable[DeclaredComponent], known: Known) -> Iterator[Finding]:
    """Every kind is known; every address that is scraped, alerted or written to belongs to a component."""
    owned: set[str] = set()
    for component in components:
        owned.update(component.addresses)
        if component.kind.text not in known.components:
            yield _error(
                "stack/unknown-kind",
                component.kind.span,
                f"the component {component.name!r} is of kind {component.kind.text!r}, which there is not",
                "component",
                component.name,
                fix=hint(component.kind.text, known.components),
            )
    for job in prometheus.jobs:
        for target in job.targets:
            yield from _owned(target, owned, f"the target {target.text} of job {job.name!r}", Subject("job", job.name))
    for target in prometheus.alertmanagers:
        yield from _owned(target, owned, f"the Alertmanager address {target.text}", Subject("address", target.text))
    for remote in prometheus.remote_writes:
        what = f"{remote.address or remote.url.text}, where remote_write sends samples,"
        yield from _owned(replace(remote.url, text=remote.address), owned, what, Subject("address", remote.address))


def _owned(address: Scalar, owned: Collection[str], what: str, subject: Subject) -> Iterator[Finding]:
    if address.text not in owned:
        yield Finding(
            "stack/unknown-address",
            Severity.WARNING,
            address.span,
            f"{what} is an address of no component in stack.yaml; in the copy it points nowhere",
            fix=hint(address.text, owned),
            subject=subject,
        )


def _error(ident: str, span: Span, summary: str, kind: str, name: str, *, details: str = "", fix: str = "") -> Finding:
    return Finding(ident, Severity.ERROR, span, summary, details=details, fix=fix, subject=Subject(kind, name))
