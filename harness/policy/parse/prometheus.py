"""prometheus.yml: jobs with their targets, rule files, and where alerts and samples are sent."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from urllib.parse import urlsplit

from harness.model.findings import Subject
from harness.model.source import Span
from harness.policy.parse.discovery import DISCOVERY, is_name
from harness.policy.parse.reading import Parsed, Reading
from harness.policy.parse.yaml import Node, Scalar, Table

# Source: Prometheus's manual, "Configuration", defaults of `global`.
_DEFAULT_INTERVAL = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Job:
    """A scrape job with its own interval and its targets (addresses as written).

    `target_files` are the patterns of its `file_sd_configs`. What these files say is among the `targets` once somebody
    has read them; before that only the statically configured ones are.
    """

    name: str
    interval: timedelta
    targets: tuple[Scalar, ...]
    span: Span
    target_files: tuple[Scalar, ...] = ()


@dataclass(frozen=True, slots=True)
class KeepRule:
    """An entry of `write_relabel_configs` that decides alone whether a series is sent, and changes nothing of it.

    `labels` are joined by `separator`; a series whose joined values match `regex` as a whole is kept where `keeps`, and
    dropped where not.
    """

    labels: tuple[str, ...]
    separator: str
    regex: re.Pattern[str]
    keeps: bool

    def lets(self, series: Mapping[str, str]) -> bool:
        """Whether a series goes on to the next rule."""
        joined = self.separator.join(series.get(label, "") for label in self.labels)
        return (self.regex.fullmatch(joined) is not None) is self.keeps


@dataclass(frozen=True, slots=True)
class RemoteWrite:
    """Where samples are sent on to: the address as written, and which series.

    `unread` says which rule cannot be followed here (it renames or hashes); nobody can say then what should arrive.
    """

    url: Scalar
    rules: tuple[KeepRule, ...] = ()
    unread: str = ""

    @property
    def address(self) -> str:
        """Host and port of the URL."""
        return remote_address(self.url.text)

    def sends(self, series: Mapping[str, str]) -> bool:
        """Whether a series is sent on."""
        return all(rule.lets(series) for rule in self.rules)


@dataclass(frozen=True, slots=True)
class PrometheusConfig:
    """What the rest of the house needs of prometheus.yml."""

    jobs: tuple[Job, ...]
    rule_files: tuple[Scalar, ...]
    alertmanagers: tuple[Scalar, ...]
    evaluation_interval: timedelta
    remote_writes: tuple[RemoteWrite, ...] = ()
    external_labels: Mapping[str, str] = field(default_factory=dict)


def remote_address(url: str) -> str:
    """Host and port of the URL of a remote storage; empty where it is none."""
    try:
        return urlsplit(url).netloc.rpartition("@")[2]
    except ValueError:
        return ""


def parse(text: str, file: str) -> Parsed[PrometheusConfig]:
    """Reads a prometheus.yml."""
    reading = Reading("prometheus", file)
    document = reading.document(text) or Table((), reading.start())
    world = reading.table(document.get("global"), "global") or Table((), reading.start())
    default = reading.duration(world.get("scrape_interval"), "scrape_interval", _DEFAULT_INTERVAL)
    jobs: list[Job] = []
    for job in reading.tables(document.get("scrape_configs"), "scrape_configs"):
        name = reading.scalar(job.get("job_name"), "job_name")
        if name is None:
            reading.error("job-without-name", job.span, "a scrape job has no job_name")
            continue
        if any(name.text == other.name for other in jobs):
            reading.error(
                "duplicate-job", name.span, f"two scrape jobs are called {name.text!r}", about=Subject("job", name.text)
            )
            continue
        interval = reading.duration(job.get("scrape_interval"), "scrape_interval", default)
        jobs.append(Job(name.text, interval, _targets(reading, job), job.span, _target_files(reading, job)))
    alerting = reading.table(document.get("alerting"), "alerting")
    alertmanagers = _alertmanagers(reading, alerting.get("alertmanagers") if alerting else None)
    config = PrometheusConfig(
        jobs=tuple(jobs),
        rule_files=tuple(reading.scalars(document.get("rule_files"), "rule_files")),
        alertmanagers=alertmanagers,
        evaluation_interval=reading.duration(
            world.get("evaluation_interval"), "evaluation_interval", _DEFAULT_INTERVAL
        ),
        remote_writes=_remote_writes(reading, document.get("remote_write")),
        external_labels=_labels(reading, world.get("external_labels")),
    )
    return Parsed(config, tuple(reading.findings))


def _labels(reading: Reading, node: Node | None) -> dict[str, str]:
    labels = reading.table(node, "external_labels")
    return {
        entry.key.text: entry.value.text
        for entry in (labels.entries if labels else ())
        if isinstance(entry.value, Scalar)
    }


def _remote_writes(reading: Reading, node: Node | None) -> tuple[RemoteWrite, ...]:
    found: list[RemoteWrite] = []
    for entry in reading.tables(node, "remote_write"):
        url = reading.scalar(entry.get("url"), "url")
        if url is None:
            reading.error("remote-write-without-url", entry.span, "a remote_write has no url")
            continue
        rules: list[KeepRule] = []
        unread = ""
        for rule in reading.tables(entry.get("write_relabel_configs"), "write_relabel_configs"):
            read = _keep_rule(reading, rule)
            if isinstance(read, str):
                unread = unread or read
            else:
                rules.append(read)
        found.append(RemoteWrite(url, tuple(rules), unread))
    return tuple(found)


def _keep_rule(reading: Reading, rule: Table) -> KeepRule | str:
    """A rule that keeps or drops; else a clause that says what it does instead."""
    action = _text(rule.get("action"), "replace").lower()
    if action not in {"keep", "drop"}:
        return f"its write_relabel_configs have the action {action!r}"
    labels = tuple(label.text for label in reading.scalars(rule.get("source_labels"), "source_labels"))
    spelled = _text(rule.get("regex"), "(.*)")
    try:
        regex = re.compile(spelled, re.DOTALL)
    except re.error:
        return f"{spelled!r} is a regular expression of Go's alone"
    return KeepRule(labels, _text(rule.get("separator"), ";"), regex, action == "keep")


def _text(node: Node | None, default: str) -> str:
    return node.text if isinstance(node, Scalar) else default


def _alertmanagers(reading: Reading, node: Node | None) -> tuple[Scalar, ...]:
    found: list[Scalar] = []
    for entry in reading.tables(node, "alertmanagers"):
        found.extend(_targets(reading, entry))
    return tuple(found)


def _targets(reading: Reading, owner: Table) -> tuple[Scalar, ...]:
    found: list[Scalar] = []
    for static in reading.tables(owner.get("static_configs"), "static_configs"):
        found.extend(reading.scalars(static.get("targets"), "targets"))
    return tuple(found)


def _target_files(reading: Reading, job: Table) -> tuple[Scalar, ...]:
    found: list[Scalar] = []
    for entry in reading.tables(job.get(DISCOVERY), DISCOVERY):
        for pattern in reading.scalars(entry.get("files"), "files"):
            if is_name(pattern.text):
                found.append(pattern)
            else:
                reading.error(
                    "target-file-name",
                    pattern.span,
                    f"{pattern.text!r} cannot name target files: Prometheus does not start with it",
                    details="expected: a path that ends in .json, .yml or .yaml, and `*` in its last part alone",
                )
    return tuple(found)
