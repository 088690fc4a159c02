"""What Prometheus says of its own targets, read out of its API."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import yaml

from harness.errors import StackError
from harness.model.stack import Address


@dataclass(frozen=True, slots=True)
class Target:
    """A target as Prometheus sees it; `error` is what its last scrape failed of.

    `interval` is the one that its job had when Prometheus last looked for targets, `scraped_at` the instant of its last
    scrape, both in Prometheus's own spelling.
    """

    pool: str
    url: str
    up: bool
    error: str
    interval: str = ""
    scraped_at: str = ""

    def is_at(self, address: Address) -> bool:
        """Whether it is scraped at that address."""
        return urlsplit(self.url).netloc == str(address)

    def __str__(self) -> str:
        return f"{self.pool} at {self.url}: {self.error or ('up' if self.up else 'not scraped yet')}"


def read_targets(body: object) -> tuple[Target, ...]:
    """`GET /api/v1/targets`."""
    return tuple(
        Target(
            pool=_text(item, "scrapePool"),
            url=_text(item, "scrapeUrl"),
            up=_text(item, "health") == "up",
            error=_text(item, "lastError"),
            interval=_text(item.get("discoveredLabels") if isinstance(item, dict) else None, "__scrape_interval__"),
            scraped_at=_text(item, "lastScrape"),
        )
        for item in _items(_within(body, "data", "activeTargets"))
    )


@dataclass(frozen=True, slots=True)
class Expected:
    """What Prometheus's own configuration leads to: its jobs that look somewhere, and whether it alerts somebody.

    `intervals` are the jobs' own, in Prometheus's normal form.
    """

    jobs: tuple[str, ...]
    alerting: bool
    intervals: Mapping[str, str] = field(default_factory=dict)


def read_configuration(body: object) -> Expected:
    """`GET /api/v1/status/config`: the configuration that runs, as YAML in Prometheus's normal form."""
    configuration = yaml.load(_text(_within(body, "data"), "yaml"), Loader=yaml.CSafeLoader)
    jobs = _items(configuration.get("scrape_configs")) if isinstance(configuration, dict) else []
    alerting = configuration.get("alerting") if isinstance(configuration, dict) else None
    return Expected(
        jobs=tuple(_text(job, "job_name") for job in jobs if _looks_somewhere(job)),
        alerting=bool(isinstance(alerting, dict) and alerting.get("alertmanagers")),
        intervals={_text(job, "job_name"): text for job in jobs if (text := _text(job, "scrape_interval"))},
    )


def _looks_somewhere(job: object) -> bool:
    """Whether a job names a target or a way to find some: one whose components a run does without has neither."""
    return isinstance(job, dict) and any(
        found for key, found in job.items() if key == "static_configs" or key.endswith("_sd_configs")
    )


def read_alertmanagers(body: object) -> int:
    """`GET /api/v1/alertmanagers`: how many were found, reachable or not."""
    return len(_items(_within(body, "data", "activeAlertmanagers")))


def _within(body: object, *keys: str) -> object:
    for key in keys:
        if not isinstance(body, dict) or key not in body:
            raise StackError("Prometheus answers in a form that we do not know", expected=f"a member {key}")
        body = body[key]
    return body


def _items(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _text(item: object, key: str) -> str:
    value = item.get(key, "") if isinstance(item, dict) else ""
    return value if isinstance(value, str) else ""
