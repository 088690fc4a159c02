"""remote_write: which series it sends, where the copy sends them, and what is said where nobody takes them."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from policy_folders import copy, loaded, sandbox

from harness.model.policy import RECORD_KINDS, Policies
from harness.policy.parse.prometheus import RemoteWrite, parse
from harness.policy.rewire.rewiring import rewire

SANDBOX = sandbox()
WITHOUT = replace(SANDBOX, production={name: at for name, at in SANDBOX.production.items() if "influxdb" not in name})


@functools.cache
def shipped() -> Policies:
    """What the project ships, loaded once."""
    return loaded().policies


def remote(rules: str) -> RemoteWrite:
    """A remote_write with these rules."""
    text = f"remote_write: [{{url: 'http://user:x@store:8086/write', write_relabel_configs: [{rules}]}}]"
    [found] = parse(text, "p.yml").value.remote_writes
    return found


def test_the_copy_writes_to_the_influxdb_of_the_sandbox() -> None:
    """The address is the sandbox's, path and database are production's, and that is told whole."""
    found = rewire(shipped(), SANDBOX)
    [written] = yaml.safe_load(found.files["prometheus.yml"])["remote_write"]
    at = SANDBOX.production["influxdb:8086"][""]
    assert written["url"] == f"http://{at}/api/v1/prom/write?db=metrics"
    [told] = [one for one in found.differences if one.path == "remote_write[0].url"]
    assert (told.before, told.after) == ("http://influxdb:8086/api/v1/prom/write?db=metrics", written["url"])


def test_a_run_without_influxdb_writes_nowhere_and_says_so() -> None:
    """A smoke run does without what only keeps records: Prometheus is not sent to knock at a door that is not there."""
    found = rewire(shipped().without(RECORD_KINDS), WITHOUT)
    assert "remote_write" not in yaml.safe_load(found.files["prometheus.yml"])
    [told] = [one for one in found.differences if one.path.startswith("remote_write")]
    assert (told.path, told.after) == ("remote_write[0]", "(nothing)")
    assert "does without" in told.why


def test_a_storage_that_nobody_declares_is_named_and_stays_wrong(tmp_path: Path) -> None:
    """The twin: an address of no component is a finding at its place, and leads nowhere in the copy."""
    root = copy(tmp_path, {"prometheus.yml": ("http://influxdb:8086/", "http://influxdb:8068/")})
    found = loaded(root)
    [finding] = [one for one in found.findings if one.id == "stack/unknown-address"]
    assert finding.summary.startswith("influxdb:8068, where remote_write sends samples, is an address of no component")
    assert finding.fix == "did you mean 'influxdb:8086'?"
    [written] = yaml.safe_load(rewire(found.policies, SANDBOX).files["prometheus.yml"])["remote_write"]
    assert written["url"] == f"http://{SANDBOX.nowhere}/"


def test_what_is_no_url_is_a_finding_and_no_traceback(tmp_path: Path) -> None:
    """A bracket that is never closed cannot be an address of anybody."""
    root = copy(tmp_path, {"prometheus.yml": ("http://influxdb:8086/", "http://[")})
    found = loaded(root)
    assert ["http://[" in one.summary for one in found.findings if one.id == "stack/unknown-address"] == [True]
    assert rewire(found.policies, SANDBOX).files


@pytest.mark.parametrize(
    ("rules", "sent"),
    [
        ("", {"up", "http_requests_total", "go_goroutines"}),
        ("{source_labels: [__name__], regex: up|http_.+, action: keep}", {"up", "http_requests_total"}),
        ("{source_labels: [__name__], regex: http, action: keep}", set()),
        ("{source_labels: [__name__], regex: go_.+, action: Drop}", {"up", "http_requests_total"}),
        ("{source_labels: [job, __name__], separator: /, regex: web/.+, action: keep}", {"http_requests_total"}),
        (
            "{source_labels: [job], regex: web, action: keep}, {source_labels: [__name__], regex: up, action: keep}",
            set(),
        ),
    ],
)
def test_which_series_are_sent(rules: str, sent: set[str]) -> None:
    """Rules are followed one after another, each on the whole of the joined labels, as Prometheus does."""
    found = remote(rules)
    names = {"up": "node", "http_requests_total": "web", "go_goroutines": "node"}
    assert {name for name, job in names.items() if found.sends({"__name__": name, "job": job})} == sent
    assert (found.address, found.unread) == ("store:8086", "")


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ("{source_labels: [a], target_label: b}", "have the action 'replace'"),
        ("{regex: x, action: labeldrop}", "have the action 'labeldrop'"),
        ("{source_labels: [a], regex: '\\pL+', action: keep}", "is a regular expression of Go's alone"),
    ],
)
def test_rules_that_cannot_be_followed_are_named(rule: str, why: str) -> None:
    """Where a series is renamed nobody can say here what should arrive under which name."""
    assert why in remote(rule).unread


def test_the_shipped_rules_send_what_is_looked_at_and_no_more() -> None:
    """The application's series, the machine's of dashboards and alerts, and what was up."""
    [found] = parse(shipped().documents["prometheus.yml"], "prometheus.yml").value.remote_writes
    sent = ("up", "http_requests_total", "cache_hits_total", "node_cpu_seconds_total", "node_memory_MemTotal_bytes")
    kept_back = ("go_goroutines", "node_filesystem_size_bytes", "mysql_up", "update", "prometheus_build_info")
    assert all(found.sends({"__name__": name}) for name in sent)
    assert not any(found.sends({"__name__": name}) for name in kept_back)
    assert found.unread == ""
