"""conditions.yaml answers everything the monitoring plan asks for."""

from __future__ import annotations

from policy_folders import loaded

from harness.model.policy import Asked, Priority

CONDITIONS = {
    "The server does not respond": ("critical", "ServerDown"),
    "The database cannot be reached": ("critical", "DatabaseDown"),
    "Memory use at or above 95 %": ("critical", "HostMemoryCritical"),
    "Disk use at or above 90 %": ("critical", "DiskAlmostFull"),
    "CPU use at or above 80 %": ("warning", "HighCpu"),
    "Memory use at or above 80 %": ("warning", "HostMemoryHigh"),
    "HTTP error ratio at or above 5 %": ("warning", "HighErrorRatio"),
    "Mean response time at or above 1 s": ("warning", "SlowResponses"),
}
"""The plan's conditions, with its own severity and the alert that answers each."""

RULES = {
    "HighErrorRate": {"ErrorRatioCritical", "HighErrorRatio"},
    "HighMemoryUsage": {"HeapHigh"},
    "DatabaseConnectionHigh": {"DatabaseConnectionsHigh"},
}
"""The plan's sketched rules, with the alerts that do what they meant."""

AREAS = {
    "Network traffic": {"NetworkTrafficAnomaly"},
    "Query performance of the database": {"SlowQueries"},
    "Cache efficiency": {"CacheHitRatioLow", "CacheDown"},
    "Security events": {"FailedLoginBurst"},
    "The monitoring itself is blind": {"TargetMissing", "DeadMansSwitch", "ExporterDown"},
    "Metrics collected": {"CollectionRatioLow"},
    "Logs collected": {"LogsNotCollected"},
    "Alerts delivered": {"NotificationsFailing"},
    "Tuning of rules": {"ConfigReloadFailed"},
    "Information that has recovered by itself": {"MonitoringRestarted"},
}
"""What else the plan wants watched, or its priorities name, and the alerts for it."""


def answers(asked: Asked) -> dict[str, set[str]]:
    """What is asked for in this way, with the alerts that answer it."""
    found: dict[str, set[str]] = {}
    for condition in loaded().policies.conditions:
        if condition.asked is asked:
            found.setdefault(condition.what, set()).add(condition.alert)
    return found


def test_the_eight_conditions_are_answered() -> None:
    """Each by one alert; what the plan calls critical is critical, what it calls a warning is not."""
    assert answers(Asked.CONDITION) == {what: {alert} for what, (_, alert) in CONDITIONS.items()}
    for condition in loaded().policies.conditions:
        if condition.asked is Asked.CONDITION:
            assert condition.severity == CONDITIONS[condition.what][0]
            assert (condition.severity == "critical") == (condition.priority is Priority.CRITICAL)


def test_the_three_rules_and_the_other_areas_are_answered() -> None:
    """The sketched rules by what they meant, and what is watched beyond them."""
    assert answers(Asked.RULE) == RULES
    assert answers(Asked.AREA) == AREAS


def test_no_alert_is_asked_for_by_nobody() -> None:
    """Every alert that is drilled answers something the plan asks for."""
    policies = loaded().policies
    assert {condition.alert for condition in policies.conditions} == {drill.alert for drill in policies.drills}
