"""The copy that runs: production's files, pointed at the sandbox, with every difference listed. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from harness.model.findings import Finding
from harness.model.policy import Policies
from harness.model.stack import Difference, Sandbox
from harness.policy.parse.yaml import Node, Table, compose
from harness.policy.rewire import alertmanager, prometheus
from harness.policy.rewire.document import Edits, Value, dump, entries, settings, values

COLD_SCRAPE_INTERVAL = "500ms"
"""How often targets are scraped until the rules are loaded."""


@dataclass(frozen=True, slots=True)
class Rewiring:
    """The copy: text by path relative to the policies folder, and how it differs from what production runs.

    `cold` is prometheus.yml to start with: without its rules, since rules that are loaded before the first samples are
    there fire falsely, and with every target scraped each 500 ms, since the first scrape comes up to one interval after
    the 5 s that Prometheus takes to find its targets. What is scraped and when is production's again with the rules.
    `findings` name what could not be taken along.
    """

    files: Mapping[str, str]
    cold: str
    differences: tuple[Difference, ...]
    findings: tuple[Finding, ...]


def rewire(policies: Policies, sandbox: Sandbox) -> Rewiring:
    """Makes the copy of the native files. Rule files and templates stay byte for byte what they were."""
    tree = _tree(policies, policies.prometheus_file)
    scraping = _document(tree)
    to_prometheus = Edits(policies.prometheus_file)
    prometheus.rewire(scraping, to_prometheus, sandbox)

    notifying = _document(_tree(policies, policies.alertmanager_file))
    to_alertmanager = Edits(policies.alertmanager_file)
    alertmanager.rewire(notifying, to_alertmanager, sandbox.bindings)

    files = dict(policies.documents)
    files[policies.prometheus_file] = dump(scraping)
    files[policies.alertmanager_file] = dump(notifying)
    return Rewiring(
        files=MappingProxyType(files),
        cold=dump(_cold(scraping)),
        differences=(*to_prometheus.differences, *to_alertmanager.differences),
        findings=tuple(prometheus.undiscoverable(tree)),
    )


def _cold(scraping: Mapping[str, Value]) -> Value:
    """The configuration to start with."""
    own = ("scrape_interval", "scrape_timeout")
    general = {name: value for name, value in settings(scraping.get("global")).items() if name not in own}
    jobs: list[Value] = [
        {name: value for name, value in settings(job).items() if name not in own}
        for job in entries(scraping.get("scrape_configs"))
    ]
    return {
        **scraping,
        "global": {**general, "scrape_interval": COLD_SCRAPE_INTERVAL, "scrape_timeout": COLD_SCRAPE_INTERVAL},
        "rule_files": [],
        "scrape_configs": jobs,
    }


def _tree(policies: Policies, file: str) -> Node:
    """The file's tree with the path that its owner knows; it parsed when the policies were loaded."""
    return compose(policies.documents[file], str(policies.root / file)).documents[0]


def _document(tree: Node) -> dict[str, Value]:
    assert isinstance(tree, Table)
    found = values(tree)
    assert isinstance(found, dict)
    return found
