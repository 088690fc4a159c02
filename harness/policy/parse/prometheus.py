"""prometheus.yml: jobs with their targets, rule files, and where alerts are sent."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

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
class PrometheusConfig:
    """What the rest of the house needs of prometheus.yml."""

    jobs: tuple[Job, ...]
    rule_files: tuple[Scalar, ...]
    alertmanagers: tuple[Scalar, ...]
    evaluation_interval: timedelta


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
    )
    return Parsed(config, tuple(reading.findings))


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
