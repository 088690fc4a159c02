"""Whether the files of a policies folder fit together: what one file names must be there in another."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from harness.model.findings import Finding, Severity, Subject
from harness.model.policy import Alert
from harness.model.source import Span
from harness.policy.parse.alertmanager import AlertmanagerConfig
from harness.policy.parse.drills import Drills
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
    mentioned: dict[str, Span] = {}
    for name, span in [(d.alert, d.span) for d in drills.drills] + [(n.alert, n.span) for n in drills.not_drilled]:
        if name in mentioned:
            yield _error(
                "drill/duplicate",
                span,
                f"the alert {name!r} stands in {drills_file} twice",
                "drill",
                name,
                details=f"it stands first at {mentioned[name]}",
            )
        mentioned.setdefault(name, span)
        if name not in by_name:
            yield _unknown_alert(name, span, by_name)
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
    for drill in drills.drills:
        for tolerated in drill.tolerates:
            if tolerated not in by_name:
                yield _unknown_alert(tolerated, drill.span, by_name)
        if drill.fault not in known.faults:
            yield _error(
                "drill/unknown-fault",
                drill.span,
                f"there is no fault {drill.fault!r}, which the drill of {drill.alert!r} names",
                "fault",
                drill.fault,
                fix=hint(drill.fault, known.faults),
            )
        labelled = by_name[drill.alert].labels.get("priority") if drill.alert in by_name else None
        if labelled is not None and labelled != drill.priority:
            yield Finding(
                "drill/priority-differs",
                Severity.WARNING,
                drill.span,
                f"{drill.alert!r} is labelled priority {labelled!r} and drilled as {str(drill.priority)!r}",
                details=f"the label stands at {by_name[drill.alert].span}",
                fix="the drill says who must hear, the label decides who does: make them agree",
                subject=Subject("drill", drill.alert),
            )


def _unknown_alert(name: str, span: Span, alerts: Collection[str]) -> Finding:
    return _error(
        "drill/unknown-alert", span, f"no rule defines an alert {name!r}", "alert", name, fix=hint(name, alerts)
    )


def channels_and_receivers(
    drills: Drills, alertmanager: AlertmanagerConfig, known: Known, alertmanager_file: str
) -> Iterator[Finding]:
    """Every channel that a priority needs is known and has a receiver; every integration has a sink."""
    served = {key: channel for channel, key in known.channels.items()}
    present = {integration.key for receiver in alertmanager.receivers for integration in receiver.integrations}
    wanted: dict[str, Span] = {}
    for rule in drills.priorities.values():
        for channel in rule.channels:
            if channel not in known.channels:
                yield _error(
                    "priority/unknown-channel",
                    rule.span,
                    f"there is no channel {channel!r}, which priority {rule.priority} names",
                    "channel",
                    channel,
                    fix=hint(channel, known.channels),
                )
            else:
                wanted.setdefault(channel, rule.span)
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
            if integration.key not in served:
                yield Finding(
                    "receiver/no-sink",
                    Severity.WARNING,
                    integration.span,
                    f"a receiver without sink: nobody can hear {integration.key} of {receiver.name!r} here",
                    details=f"it is left out of the copy; sinks are there for {', '.join(sorted(served)) or 'nothing'}",
                    subject=Subject("receiver", receiver.name),
                )


def addresses(prometheus: PrometheusConfig, components: Iterable[DeclaredComponent], known: Known) -> Iterator[Finding]:
    """Every kind is known; every address that is scraped or alerted to belongs to a component."""
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
