"""The project's own policies, as they are written: what they name, what a person is told, who restarts what."""

from __future__ import annotations

from datetime import timedelta

from policy_folders import CHANNELS, FAULTS, KINDS, loaded

from harness.drive.faults.registry import FAULTS as REGISTERED
from harness.drive.plan.timetable import plan
from harness.model.plan import Profile, Traits
from harness.model.policy import Basis, Priority, RestartWhen
from harness.policy.parse.targets import TARGET_IDS


def test_they_name_only_what_the_harness_can_do() -> None:
    """Faults, channels and kinds are those of the registries, and each fault is drilled."""
    from harness.drive.faults import registry as faults
    from harness.observe.channels import registry as channels
    from harness.stack.components import registry as components

    assert {fault.id for fault in faults.FAULTS} == FAULTS
    assert {channel.name: channel.receiver_key for channel in channels.CHANNELS} == dict(CHANNELS)
    assert {component.kind for component in components.COMPONENTS} == KINDS
    assert {component.kind for component in loaded().policies.components} == KINDS


SEVERITIES = {
    Priority.CRITICAL: "critical",
    Priority.HIGH: "warning",
    Priority.MEDIUM: "warning",
    Priority.LOW: "info",
}


def test_every_alert_carries_what_a_person_needs() -> None:
    """A severity that goes with its priority; a summary and a description that say where and how much; a runbook."""
    for alert in loaded().policies.alerts:
        assert alert.annotations["summary"]
        assert alert.annotations["description"]
        assert alert.annotations["runbook_url"].startswith("https://runbooks.example.com/community-platform/")
        if alert.labels["severity"] == "none":
            assert "priority" not in alert.labels
            continue
        assert alert.labels["severity"] == SEVERITIES[Priority(alert.labels["priority"])]
        assert "{{ $labels.environment }}" in alert.annotations["summary"]
        assert "{{ $labels.environment }}" in alert.annotations["description"]
        assert "{{ $value" in alert.annotations["description"] or alert.told_by == "listener"


def test_only_those_that_reach_nobody_are_not_drilled() -> None:
    """Whatever a person may hear is drilled, under the priority that its label says."""
    policies = loaded().policies
    silent = {alert.name for alert in policies.alerts if alert.labels["severity"] == "none"}
    assert {entry.alert for entry in policies.not_drilled} == silent == {"Watchdog", "CauseRecently"}
    for drill in policies.drills:
        assert policies.alert(drill.alert).labels["priority"] == drill.priority


def test_priorities_are_the_plans() -> None:
    """Who must hear at once, and by when; the dead man's switch alone has channels of its own."""
    policies = loaded().policies
    assert {priority: set(rule.channels) for priority, rule in policies.priorities.items()} == {
        Priority.CRITICAL: {"email", "sms", "slack", "discord", "push"},
        Priority.HIGH: {"email", "slack", "discord"},
        Priority.MEDIUM: {"email", "slack"},
        Priority.LOW: {"slack"},
    }
    for rule in policies.priorities.values():
        assert rule.deadline == timedelta(seconds=30)
    assert policies.priorities[Priority.CRITICAL].since_condition == timedelta(seconds=30)
    own = {drill.alert: set(drill.channels) for drill in policies.drills if drill.channels}
    assert own == {"DeadMansSwitch": {"email", "slack", "discord"}}


def test_the_timetable_leaves_room_for_thirty_seconds() -> None:
    """Scrape, hold and grouping of a critical alert leave half of its 30 s for windows and retries; all are quick."""
    policies = loaded().policies
    assert set(policies.scrape_intervals.values()) == {timedelta(seconds=2)}
    assert policies.evaluation_interval == timedelta(seconds=1)
    for drill in policies.drills:
        hold = policies.alert(drill.alert).hold
        assert hold <= timedelta(seconds=5 if drill.priority is Priority.CRITICAL else 12)


def test_the_targets_are_the_plans() -> None:
    """Nine targets with the plan's values; what is not judged is set aside with a reason."""
    targets = {target.id: target for target in loaded().policies.targets}
    assert set(targets) == set(TARGET_IDS)
    assert {id_: (t.basis, t.objective, t.unit, t.share) for id_, t in targets.items()} == {
        "metrics-collected": (Basis.CENSUS, 0.99, "ratio", None),
        "logs-collected": (Basis.CENSUS, 0.99, "ratio", None),
        "alerts-delivered": (Basis.BINOMIAL, 0.95, "ratio", 0.95),
        "collection-delay": (Basis.QUANTILE, 5, "seconds", 0.95),
        "alert-delivery-time": (Basis.BINOMIAL, 30, "seconds", 0.95),
        "dashboard-load": (Basis.QUANTILE, 3, "seconds", 0.9),
        "availability": (Basis.MAXIMUM, 0.999, "ratio", None),
        "retention": (Basis.BOUNDARY, 90, "days", None),
        "restore-time": (Basis.MAXIMUM, 3600, "seconds", None),
    }
    judged = {id_ for id_, target in targets.items() if target.excluded is None}
    assert judged == {
        "metrics-collected",
        "alerts-delivered",
        "collection-delay",
        "alert-delivery-time",
        "availability",
        "logs-collected",
        "retention",
        "restore-time",
    }
    assert all(
        (target.excluded or "").startswith("not built yet: ") for id_, target in targets.items() if id_ not in judged
    )


def test_units_say_how_everything_restarts() -> None:
    """Each component has a unit that restarts it; the monitoring never gives up."""
    for component in loaded().policies.components:
        assert component.unit is not None
        assert component.unit.restart.when is RestartWhen.ALWAYS
        gives_up = component.unit.restart.interval > timedelta(0)
        assert gives_up == (component.name in {"community-platform", "mysql", "redis", "nginx", "system"})
    flags = {c.name: c.unit.argv for c in loaded().policies.components if c.unit}
    assert {"--storage.tsdb.retention.time=90d", "--rules.alert.resend-delay=5s"} <= set(flags["prometheus"])
    assert {"--data.retention=120h", "--cluster.listen-address="} <= set(flags["alertmanager"])


def test_one_receiver_for_each_channel() -> None:
    """A channel that hangs must not hold up another: no receiver has two."""
    for receiver in loaded().policies.receivers:
        assert len(receiver.integrations) <= 1


def test_a_gate_plans_every_cell_that_the_suite_asks_for() -> None:
    """What `slo/` has a test for is tried, and nothing else: a drill's own channels count in both."""
    policies = loaded().policies
    traits = {fault.id: Traits(fault.touches, fault.reach) for fault in REGISTERED}
    alerts = {alert.name: alert for alert in policies.alerts}
    timetable = plan(policies.drills, policies.priorities, alerts, traits, profile=Profile.GATE, seed=1)
    planned = {(one.alert, channel) for one in timetable.injections for channel in one.channels}
    asked = {(drill.alert, channel) for drill in policies.drills for channel in policies.channels_of(drill)}
    assert planned == asked
    assert ("DeadMansSwitch", "sms") not in asked
    assert ("ServerDown", "sms") in asked
