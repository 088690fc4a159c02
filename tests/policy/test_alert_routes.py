"""alertmanager.yml sends each alert where the plan's table says: asked of Alertmanager's own tool."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import yaml
from policy_folders import CHANNELS, SHIPPED, loaded
from policy_tools import run

from harness.model.policy import Priority
from harness.model.stack import Artifact
from harness.policy.parse.alertmanager import parse

CONFIG: dict[str, Any] = yaml.safe_load((SHIPPED / "alertmanager.yml").read_text(encoding="utf-8"))
LATER = {
    Priority.CRITICAL: set[str](),
    Priority.HIGH: {"push-batch"},
    Priority.MEDIUM: {"push-batch"},
    Priority.LOW: {"push-report"},
}
"""Who hears by push later, which is not judged by the gate."""
SILENT = {"Watchdog": {"dead-mans-listener"}, "CauseRecently": {"nobody"}}


def routed(artifacts: Mapping[str, Artifact], config: str, **labels: str) -> set[str]:
    """The receivers that Alertmanager's own tool says an alert reaches."""
    arguments = [f"{name}={value}" for name, value in labels.items()]
    amtool = artifacts["alertmanager"].programs["amtool"]
    done = run(amtool, "config", "routes", "test", f"--config.file={config}", *arguments)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.strip().split(","))


@pytest.mark.stack
def test_each_alert_goes_where_the_table_says(artifacts: Mapping[str, Artifact]) -> None:
    """At once to every channel of its priority, later by push where the plan says so, and to nobody else."""
    policies = loaded().policies
    reached: dict[str, set[str]] = {}
    wanted: dict[str, set[str]] = {}
    for alert in policies.alerts:
        if alert.told_by != "alertmanager":
            continue
        labels = {**alert.labels, "alertname": alert.name, "environment": "production"}
        reached[alert.name] = routed(artifacts, str(SHIPPED / "alertmanager.yml"), **labels)
        if alert.name in SILENT:
            wanted[alert.name] = SILENT[alert.name]
        else:
            priority = Priority(alert.labels["priority"])
            wanted[alert.name] = set(policies.priorities[priority].channels) | LATER[priority]
    assert reached == wanted
    assert len(reached) > 20


@pytest.mark.stack
def test_who_has_no_priority_is_heard(artifacts: Mapping[str, Artifact]) -> None:
    """A label that somebody forgot, or misspelt, drops nothing."""
    for labels in ({"alertname": "New"}, {"alertname": "New", "priority": "urgent"}):
        assert routed(artifacts, str(SHIPPED / "alertmanager.yml"), **labels) == {"email"}


@pytest.mark.stack
def test_a_route_that_does_not_continue_is_seen(artifacts: Mapping[str, Artifact], tmp_path_factory: Any) -> None:
    """The tests above go red where one `continue` is missing: the channels behind it hear nothing."""
    broken = tmp_path_factory.mktemp("routes") / "alertmanager.yml"
    text = (SHIPPED / "alertmanager.yml").read_text(encoding="utf-8")
    email = '    - receiver: email\n      matchers: [priority =~ "critical|high|medium"]\n      continue: true\n'
    assert email in text
    broken.write_text(text.replace(email, email.replace("      continue: true\n", "")), encoding="utf-8")
    assert routed(artifacts, str(broken), priority="critical") == {"email"}


@pytest.mark.stack
def test_the_real_programs_accept_the_files(artifacts: Mapping[str, Artifact]) -> None:
    """Their own tools read prometheus.yml with its rules and alertmanager.yml with its templates."""
    promtool, amtool = artifacts["prometheus"].programs["promtool"], artifacts["alertmanager"].programs["amtool"]
    checked = run(promtool, "check", "config", "prometheus.yml")
    assert (checked.returncode, checked.stdout.count("rules found")) == (0, len(loaded().policies.rule_files))
    rules = run(promtool, "check", "rules", *sorted((SHIPPED / "alerts").iterdir()))
    assert rules.returncode == 0, rules.stderr
    checked = run(amtool, "check-config", "alertmanager.yml")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert f"{len(CONFIG['receivers'])} receivers" in checked.stdout


def test_one_receiver_for_each_channel() -> None:
    """A channel that hangs must not hold up another: no receiver has two, and each channel's bears its name."""
    receivers = {receiver.name: receiver for receiver in loaded().policies.receivers}
    for receiver in receivers.values():
        assert len(receiver.integrations) <= 1
    assert {name: receivers[name].integrations[0].key for name in CHANNELS} == dict(CHANNELS)


def test_the_end_is_told_where_the_beginning_was() -> None:
    """Every channel hears resolved messages, and the listener too: a watchdog that is over is a silence."""
    for receiver in CONFIG["receivers"]:
        for key in (key for key in receiver if key.endswith("_configs")):
            (integration,) = receiver[key]
            told = receiver["name"] != "push-report"
            assert integration["send_resolved"] is told


def test_timing_is_the_plans() -> None:
    """Grouped by alert and environment; batches by five minutes; a heartbeat at every 5 s, which 4 s do not skip."""
    route = CONFIG["route"]
    assert route["group_by"] == ["alertname", "environment"]
    assert (route["group_wait"], route["group_interval"], route["repeat_interval"]) == ("2s", "5s", "1h")
    children = {child["receiver"]: child for child in route["routes"]}
    beat = children["dead-mans-listener"]
    assert (beat["group_wait"], beat["group_interval"], beat["repeat_interval"]) == ("0s", "5s", "4s")
    batch = children["push-batch"]
    assert (batch["group_wait"], batch["group_interval"]) == ("5m", "5m")
    for channel in CHANNELS:
        assert not {"group_wait", "group_interval", "repeat_interval", "group_by"} & set(children[channel])


def test_who_is_told_later_is_read_from_the_routes() -> None:
    """Batches and the report, by their own `group_wait` or that of a route above; one shorter way is told at once."""
    policies = loaded().policies
    assert policies.told_later == ("push-batch", "push-report")
    text = policies.documents[policies.alertmanager_file]
    waits = parse(text, "alertmanager.yml").value.waits
    assert (waits["email"], waits["push-batch"]) == (timedelta(seconds=2), timedelta(minutes=5))
    sooner = text.replace(
        "    - receiver: slack\n", "    - receiver: push-batch\n      continue: true\n    - receiver: slack\n"
    )
    assert parse(sooner, "alertmanager.yml").value.waits["push-batch"] == timedelta(seconds=2)
    assert replace(policies, group_waits=parse(sooner, "").value.waits).told_later == ("push-report",)
