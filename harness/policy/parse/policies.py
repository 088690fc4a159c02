"""A policies folder, whole: read, parsed, held together, or refused with everything that is wrong with it at once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Final, Generic, TypeVar

from harness.errors import PolicyError
from harness.model.findings import Finding, Severity, Subject
from harness.model.policy import Alert, ComponentPolicy, Policies, Unit
from harness.model.source import Span
from harness.policy.parse import (
    alertmanager,
    conditions,
    consistency,
    dead_man,
    discovery,
    drills,
    events,
    logs,
    nginx,
    prometheus,
    record_drills,
    records,
    rules,
    stack,
    targets,
    units,
)
from harness.policy.parse.files import Folder
from harness.policy.parse.reading import Parsed
from harness.policy.parse.yaml import Scalar

PROMETHEUS: Final = ("prometheus.yml", "prometheus.yaml")
ALERTMANAGER: Final = ("alertmanager.yml", "alertmanager.yaml")
DRILLS: Final = ("drills.yaml", "drills.yml")
TARGETS: Final = ("targets.yaml", "targets.yml")
STACK: Final = ("stack.yaml", "stack.yml")
DEAD_MAN: Final = ("dead-man.yaml", "dead-man.yml")
CONDITIONS: Final = ("conditions.yaml", "conditions.yml")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _File(Generic[T]):
    """One of the folder's own files: its name there, and what it says where it could be read."""

    name: str
    value: T | None


@dataclass(frozen=True, slots=True)
class Loaded:
    """Policies that can be run, and what is still worth a warning."""

    policies: Policies
    findings: tuple[Finding, ...]


def load(
    root: Path,
    *,
    faults: Collection[str],
    channels: Mapping[str, str],
    components: Collection[str],
    record_faults: Collection[str] | None = None,
) -> Loaded:
    """Reads a policies folder.

    Args:
        root: the folder.
        faults: ids of the faults that there are.
        channels: the channels that there are, each with the receiver key that it serves (`slack`: `slack_configs`).
        components: the component kinds that there are.
        record_faults: ids of the faults of the records' way that there are; None: whatever the file names is taken.

    Raises:
        UsageError: the folder is not there, is a file, or is empty.
        PolicyError: something in it cannot work; carries every finding, warnings included.
    """
    folder = Folder(root)
    known = consistency.Known(faults, channels, components)
    found: list[Finding] = []

    prometheus_yml = _file(folder, PROMETHEUS, prometheus.parse, found)
    alertmanager_yml = _file(folder, ALERTMANAGER, alertmanager.parse, found)
    drills_yaml = _file(folder, DRILLS, drills.parse, found)
    targets_yaml = _file(folder, TARGETS, targets.parse, found)
    stack_yaml = _file(folder, STACK, stack.parse, found)

    rule_files: tuple[str, ...] = ()
    alerts: tuple[Alert, ...] = ()
    if prometheus_yml.value is not None:
        rule_files = _matched(folder, prometheus_yml.name, prometheus_yml.value.rule_files, "rule file", found)
        alerts = _alerts(folder, rule_files, found)
        if not prometheus_yml.value.rule_files:
            found.append(_no_rules(folder, prometheus_yml.name))
    dead_man_yaml = _optional(folder, DEAD_MAN, dead_man.parse, found)
    if any(component.kind.text == dead_man.KIND for component in stack_yaml.value or ()):
        folder.first(DEAD_MAN)  # a listener that runs has something to say: here no file is a finding
    if dead_man_yaml is not None and dead_man_yaml.value is not None:
        alerts = (*alerts, dead_man_yaml.value.alert)
    conditions_yaml = _optional(folder, CONDITIONS, conditions.parse, found)
    asked = conditions_yaml.value or () if conditions_yaml is not None else ()
    template_files: tuple[str, ...] = ()
    if alertmanager_yml.value is not None:
        template_files = _matched(folder, alertmanager_yml.name, alertmanager_yml.value.templates, "template", found)
        for name in template_files:
            folder.read(name)
    owned, of_records = _components(folder, stack_yaml.value or (), found), records.load(folder, found)
    nginx_files, event_files = nginx.load(folder, owned, found), events.native(folder, owned, found)
    shipped, drilled = (
        logs.load(folder, owned, found),
        record_drills.load(folder, record_faults, None if _broken(found) else {alert.name for alert in alerts}, found),
    )

    # Files are held against each other only where both could be read: else each broken file would be told many times.
    if drills_yaml.value is not None and prometheus_yml.value is not None and not _broken(found):
        found.extend(consistency.alerts_and_drills(alerts, drills_yaml.value, known, drills_yaml.name))
        found.extend(consistency.conditions(asked, alerts, drills_yaml.value, drills_yaml.name))
    if drills_yaml.value is not None and alertmanager_yml.value is not None:
        found.extend(
            consistency.channels_and_receivers(
                drills_yaml.value,
                alertmanager_yml.value,
                known,
                folder.shown(alertmanager_yml.name),
                {address for component in stack_yaml.value or () for address in component.addresses},
            )
        )
        if dead_man_yaml is not None and dead_man_yaml.value is not None:
            found.extend(consistency.listener(dead_man_yaml.value, drills_yaml.value, known))
    target_files: tuple[str, ...] = ()
    if prometheus_yml.value is not None:
        target_files, scraping = _discovered(folder, prometheus_yml.name, prometheus_yml.value, found)
        if stack_yaml.value:
            found.extend(consistency.addresses(scraping, stack_yaml.value, known))

    findings = tuple(dict.fromkeys(sorted([*folder.findings, *found], key=lambda finding: finding.span)))
    errors = sum(finding.severity is Severity.ERROR for finding in findings)
    if (
        errors
        or prometheus_yml.value is None
        or alertmanager_yml.value is None
        or drills_yaml.value is None
        or targets_yaml.value is None
        or stack_yaml.value is None
    ):
        raise PolicyError(
            f"the policies in {root} cannot be run: {errors} error{'s' if errors != 1 else ''}",
            findings,
            hint="each line names the file, the line and what to do",
        )
    named = (prometheus_yml.name, alertmanager_yml.name, *rule_files, *template_files, *target_files)
    native = (*named, *nginx_files, *logs.native(shipped), *event_files)
    native += (dead_man_yaml.name,) if dead_man_yaml is not None else ()
    policies = Policies(
        root=root,
        prometheus_file=prometheus_yml.name,
        alertmanager_file=alertmanager_yml.name,
        rule_files=rule_files,
        template_files=template_files,
        documents=MappingProxyType({name: folder.texts[name] for name in native}),
        alerts=alerts,
        receivers=alertmanager_yml.value.receivers,
        inhibitions=alertmanager_yml.value.inhibitions,
        group_waits=MappingProxyType(alertmanager_yml.value.waits),
        priorities=drills_yaml.value.priorities,
        drills=drills_yaml.value.drills,
        not_drilled=drills_yaml.value.not_drilled,
        targets=targets_yaml.value,
        components=owned,
        scrape_intervals=MappingProxyType({job.name: job.interval for job in prometheus_yml.value.jobs}),
        evaluation_interval=prometheus_yml.value.evaluation_interval,
        dead_man_file=dead_man_yaml.name if dead_man_yaml is not None else None,
        conditions=tuple(placed.condition for placed in asked),
        nginx_files=nginx_files,
        records=of_records,
        logs=shipped,
        record_drills=drilled,
    )
    return Loaded(policies, findings)


def _file(
    folder: Folder, names: Sequence[str], parse: Callable[[str, str], Parsed[T]], found: list[Finding]
) -> _File[T]:
    """One of the folder's own files by its name."""
    name = folder.first(names)
    text = folder.read(name) if name else None
    if name is None or text is None:
        return _File(names[0], None)
    parsed = parse(text, folder.shown(name))
    found.extend(parsed.findings)
    return _File(name, parsed.value)


def _optional(
    folder: Folder, names: Sequence[str], parse: Callable[[str, str], Parsed[T]], found: list[Finding]
) -> _File[T] | None:
    """One of the folder's own files that need not be there; None where it is not, which is no mistake."""
    if not any((folder.root / name).exists() for name in names):
        return None
    return _file(folder, names, parse, found)


def _alerts(folder: Folder, rule_files: Iterable[str], found: list[Finding]) -> tuple[Alert, ...]:
    alerts: list[Alert] = []
    for name in rule_files:
        text = folder.read(name)
        if text is not None:
            parsed = rules.parse(text, folder.shown(name))
            found.extend(parsed.findings)
            alerts.extend(parsed.value.alerts)
    return tuple(alerts)


def _discovered(
    folder: Folder, name: str, config: prometheus.PrometheusConfig, found: list[Finding]
) -> tuple[tuple[str, ...], prometheus.PrometheusConfig]:
    """The target files that jobs name, each once; and the configuration with what these say among the jobs' targets."""
    files: dict[str, None] = {}
    jobs: list[prometheus.Job] = []
    for job in config.jobs:
        here = [pattern for pattern in job.target_files if folder.matching(pattern.text, name) is not None]
        targets = list(job.targets)
        for file in _matched(folder, name, here, "target file", found):
            text = folder.read(file)
            if text is not None:
                parsed = discovery.parse(text, folder.shown(file))
                found.extend(parsed.findings)
                targets.extend(parsed.value)
                files[file] = None
        jobs.append(replace(job, targets=tuple(targets)))
    return tuple(files), replace(config, jobs=tuple(jobs))


def _matched(
    folder: Folder, beside: str, patterns: Iterable[Scalar], what: str, found: list[Finding]
) -> tuple[str, ...]:
    """The files that the globs of a file mean, each once; a glob that means none is a finding."""
    names: dict[str, None] = {}
    for pattern in patterns:
        matching = folder.matching(pattern.text, beside)
        if matching is None:
            found.append(
                Finding(
                    "file/outside",
                    Severity.ERROR,
                    pattern.span,
                    f"{pattern.text!r} leads out of the policies folder, where a copy cannot follow",
                    fix="write the path relative to the file that names it",
                )
            )
        elif not matching:
            found.append(
                Finding(
                    "file/glob-matches-nothing",
                    Severity.ERROR,
                    pattern.span,
                    f"{pattern.text!r} matches no {what}",
                    details=f"relative to {folder.shown(beside)}; Prometheus and Alertmanager say nothing of this",
                )
            )
        names.update(dict.fromkeys(matching or ()))
    return tuple(names)


def _components(
    folder: Folder, declared: Iterable[stack.DeclaredComponent], found: list[Finding]
) -> tuple[ComponentPolicy, ...]:
    components: list[ComponentPolicy] = []
    for component in declared:
        unit: Unit | None = None
        if component.unit is not None:
            if folder.matching(component.unit.text, "stack.yaml") is None:
                found.append(
                    Finding(
                        "file/outside",
                        Severity.ERROR,
                        component.unit.span,
                        f"the unit {component.unit.text!r} leads out of the policies folder",
                        subject=Subject("component", component.name),
                    )
                )
                continue
            text = folder.read(component.unit.text, blame=component.unit.span)
            if text is not None:
                parsed = units.parse(text, folder.shown(component.unit.text))
                found.extend(parsed.findings)
                unit = parsed.value
        components.append(
            ComponentPolicy(
                name=component.name,
                kind=component.kind.text,
                addresses=component.addresses,
                unit=unit,
                per_lane=component.per_lane,
                span=component.span,
                command=component.command,
            )
        )
    return tuple(components)


def _no_rules(folder: Folder, prometheus_file: str) -> Finding:
    at = Span(folder.shown(prometheus_file), 1, 1, 1, 1)
    return Finding(
        "prometheus/no-rules",
        Severity.ERROR,
        at,
        "there is no `rule_files`: no alert can ever fire",
        fix="name the rule files, e.g. `rule_files: [alerts/*.rules.yml]`",
    )


def _broken(found: Iterable[Finding]) -> bool:
    """Whether a rule file or drills.yaml could not be read whole, so that what is missing says nothing."""
    return any(
        finding.severity is Severity.ERROR
        and finding.id.split("/")[0] in {"yaml", "rules", "drills", "dead-man", "file"}
        for finding in found
    )
