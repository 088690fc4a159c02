"""The plan's success targets, one test each; what each of them claims is written in `docs/verdicts.md`."""

from harness.pytest_plugin import JudgedRun


def test_metrics_collected_at_least_99_percent(slo: JudgedRun) -> None:
    """Of all planned scrapes, at least 99 % are stored."""
    slo.target("metrics-collected")


def test_logs_collected_at_least_99_percent(slo: JudgedRun) -> None:
    """Of all records written, at least 99 % are found again."""
    slo.target("logs-collected")


def test_alerts_delivered_at_least_95_percent(slo: JudgedRun) -> None:
    """Of all faults, at least 95 % are heard in every channel that they must be heard in."""
    slo.target("alerts-delivered")


def test_collection_delay_at_most_5_seconds(slo: JudgedRun) -> None:
    """A change in the world can be queried within 5 s."""
    slo.target("collection-delay")


def test_alerts_delivered_within_30_seconds(slo: JudgedRun) -> None:
    """From due to arrival, at most 30 s."""
    slo.target("alert-delivery-time")


def test_dashboards_load_within_3_seconds(slo: JudgedRun) -> None:
    """A person who opens a dashboard sees it within 3 s."""
    slo.target("dashboard-load")


def test_monitoring_is_available_99_9_percent(slo: JudgedRun) -> None:
    """Every part of the monitoring recovers by itself when it is killed, and somebody notices."""
    slo.target("availability")


def test_data_is_kept_90_days(slo: JudgedRun) -> None:
    """Every store answers for data of 90 days ago."""
    slo.target("retention")


def test_data_is_restored_within_1_hour(slo: JudgedRun) -> None:
    """Every store comes back from its backup, its content compared."""
    slo.target("restore-time")
