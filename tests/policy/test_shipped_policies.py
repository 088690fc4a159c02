"""The project's own policies do what their comments say: thresholds, holds, inhibition, messages."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from policy_folders import CHANNELS, FAULTS, KINDS, SHIPPED, loaded

from harness.model.policy import Basis, Priority, RestartWhen
from harness.model.stack import Artifact
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


def test_every_alert_carries_what_a_person_needs() -> None:
    """Severity; a priority for those who are to be heard; summary and description that name the environment."""
    for alert in loaded().policies.alerts:
        assert alert.labels["severity"] in {"critical", "warning", "none"}
        assert ("priority" in alert.labels) == (alert.labels["severity"] != "none")
        assert "{{ $labels.environment }}" in alert.annotations["summary"]
        assert "{{ $labels.environment }}" in alert.annotations["description"]
        # The dead man's listener has no value to tell: what it hears is that it hears nothing.
        assert ("{{ $value" in alert.annotations["description"]) == (alert.told_by == "alertmanager")
        assert alert.annotations["runbook_url"].startswith("https://")


def test_the_timetable_leaves_room_for_thirty_seconds() -> None:
    """Intervals and holds are short enough for the deadline, and the symptom waits for its cause."""
    policies = loaded().policies
    assert set(policies.scrape_intervals.values()) == {timedelta(seconds=2)}
    assert policies.evaluation_interval == timedelta(seconds=1)
    symptom, cause = policies.alert("HighErrorRatio"), policies.alert("DatabaseDown")
    scrape = policies.scrape_intervals["mysql"]
    assert symptom.hold >= cause.hold + scrape + policies.evaluation_interval
    for rule in policies.priorities.values():
        assert rule.deadline == timedelta(seconds=30)
    assert policies.priorities[Priority.CRITICAL].since_condition == timedelta(seconds=30)


def test_the_targets_are_the_plans() -> None:
    """Nine targets with the plan's values; two are judged, seven are set aside with a reason."""
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
        assert gives_up == (component.name in {"community-platform", "mysql", "redis"})
    flags = {c.name: c.unit.argv for c in loaded().policies.components if c.unit}
    assert {"--storage.tsdb.retention.time=90d", "--rules.alert.resend-delay=5s"} <= set(flags["prometheus"])
    assert {"--data.retention=120h", "--cluster.listen-address="} <= set(flags["alertmanager"])


def test_one_receiver_for_each_channel() -> None:
    """A channel that hangs must not hold up another: no receiver has two."""
    for receiver in loaded().policies.receivers:
        assert len(receiver.integrations) <= 1


# --- with real programs -----------------------------------------------------------------------------------------


def promtool(
    artifacts: Mapping[str, Artifact], folder: Path, tests: list[dict[str, Any]], rules: Path = SHIPPED
) -> str:
    """Runs rule tests over the shipped rules (or those of another folder); what it complains of, empty if nothing."""
    document = {
        "rule_files": [f"{rules}/alerts/*.rules.yml"],
        "evaluation_interval": "1s",
        "tests": [{"interval": "2s", **test} for test in tests],
    }
    path = folder / "rules.test.yml"
    path.write_text(yaml.safe_dump(document))
    program = artifacts["prometheus"].programs["promtool"]
    done = subprocess.run(
        [program, "test", "rules", str(path)], capture_output=True, text=True, check=False, timeout=60
    )
    return "" if done.returncode == 0 else done.stdout + done.stderr


def requests(good: str, bad: str) -> list[dict[str, str]]:
    """Series of answered requests, one with 200 and one with 500."""
    return [
        {"series": f'http_requests_total{{environment="production",status="{status}"}}', "values": values}
        for status, values in (("200", good), ("500", bad))
    ]


def firing(alert: str, at: str, count: int) -> dict[str, Any]:
    """How many of an alert fire at an instant."""
    expr = f'count(ALERTS{{alertname="{alert}",alertstate="firing"}}) or vector(0)'
    return {"expr": expr, "eval_time": at, "exp_samples": [{"labels": "{}", "value": count}]}


@pytest.mark.stack
@pytest.mark.parametrize(
    ("good", "bad", "count"),
    [
        pytest.param("0+19x60", "0+1x60", 1, id="exactly 5 percent"),
        pytest.param("0+95x60", "0+5x60", 1, id="exactly 5 percent of many"),
        pytest.param("0+1000x60", "0+49x60", 0, id="below 5 percent"),
        pytest.param("0+0x60", "0+0x60", 0, id="no traffic"),
        pytest.param("0+0x60", "0+0x20 1+0x39", 0, id="a lone failed request"),
        pytest.param("_x10 0+19x40", "_x10 0+1x40", 1, id="traffic that began late"),
    ],
)
def test_the_error_ratio_fires_at_five_percent(
    tmp_path: Path, artifacts: Mapping[str, Artifact], good: str, bad: str, count: int
) -> None:
    """At or above 5 % it fires; below, without traffic and for a single failed request it does not."""
    checks = [firing("HighErrorRatio", at, count) for at in ("50s", "60s", "70s")]
    assert promtool(artifacts, tmp_path, [{"input_series": requests(good, bad), "promql_expr_test": checks}]) == ""


OUTAGE = {
    "input_series": [
        {"series": 'mysql_up{environment="production",instance="m",job="mysql"}', "values": "1x10 0x10 1x30"},
        # Errors go on for one scrape after the database is back: the application reconnects.
        *requests("0+10x10 100+0x10 100+10x30", "0+0x10 0+10x12 120+0x28"),
    ]
}
UNEXPLAINED = (
    'ALERTS{alertname="HighErrorRatio",alertstate="firing"}'
    ' unless on (environment) ALERTS{alertname="DatabaseDownRecently",alertstate="firing"}'
)


def no_unexplained_errors() -> list[dict[str, Any]]:
    """At no second of the outage or after it do errors fire that their inhibitor does not cover."""
    return [
        {
            "expr": f"count({UNEXPLAINED}) or vector(0)",
            "eval_time": f"{t}s",
            "exp_samples": [{"labels": "{}", "value": 0}],
        }
        for t in range(20, 90)
    ]


@pytest.mark.stack
def test_errors_of_an_outage_stay_inhibited_until_they_are_forgotten(
    tmp_path: Path, artifacts: Mapping[str, Artifact]
) -> None:
    """DatabaseDown resolves while the ratio still remembers the outage; the inhibitor outlives the ratio."""
    after = [firing("DatabaseDown", "46s", 0), firing("HighErrorRatio", "46s", 1), firing("HighErrorRatio", "70s", 0)]
    test = {**OUTAGE, "promql_expr_test": [*no_unexplained_errors(), *after]}
    assert promtool(artifacts, tmp_path, [test]) == ""


@pytest.mark.stack
@pytest.mark.parametrize("window", ["5s", "10s"])
def test_a_shorter_inhibitor_would_page_after_the_outage(
    tmp_path: Path, artifacts: Mapping[str, Artifact], window: str
) -> None:
    """The test above goes red where the inhibitor forgets before the ratio does."""
    folder = tmp_path / "sabotaged"
    (folder / "alerts").mkdir(parents=True)
    for path in (SHIPPED / "alerts").iterdir():
        (folder / "alerts" / path.name).write_text(path.read_text().replace("mysql_up[15s]", f"mysql_up[{window}]"))
    complaint = promtool(artifacts, tmp_path, [{**OUTAGE, "promql_expr_test": no_unexplained_errors()}], folder)
    assert "exp:" in complaint


@pytest.mark.stack
def test_causes_fire_after_their_hold(tmp_path: Path, artifacts: Mapping[str, Artifact]) -> None:
    """ServerDown and DatabaseDown: one lost scrape is silent, two are heard."""
    for alert, series in (
        ("ServerDown", 'up{job="community-platform",environment="e"}'),
        ("DatabaseDown", 'mysql_up{environment="e"}'),
    ):
        lost_one = {
            "input_series": [{"series": series, "values": "1x5 0 1x20"}],
            "promql_expr_test": [firing(alert, f"{t}s", 0) for t in range(10, 20)],
        }
        lost_two = {
            "input_series": [{"series": series, "values": "1x5 0x20"}],
            "promql_expr_test": [firing(alert, "13s", 0), firing(alert, "14s", 1)],
        }
        assert promtool(artifacts, tmp_path, [lost_one, lost_two]) == ""


def rendered(artifacts: Mapping[str, Artifact], folder: Path, template: str, status: str, kind: str = "text") -> str:
    """What Alertmanager makes of a template for two alerts of one group."""
    alerts = [
        {
            "status": status,
            "labels": {
                "alertname": "ServerDown",
                "environment": "production",
                "severity": "critical",
                "instance": name,
            },
            "annotations": {
                "summary": f"summary of {name}",
                "description": f"{name} <is> down & out",
                "runbook_url": f"https://r.example.com/{name}",
            },
            "startsAt": "2026-01-02T03:04:05Z",
            "endsAt": "2026-01-02T03:14:05Z",
            "generatorURL": "http://prometheus",
        }
        for name in ("one", "two")
    ]
    common = {"alertname": "ServerDown", "environment": "production", "severity": "critical"}
    data = {
        "receiver": "r",
        "status": status,
        "alerts": alerts,
        "groupLabels": common,
        "commonLabels": common,
        "commonAnnotations": {},
        "externalURL": "http://am",
    }
    path = folder / "data.json"
    path.write_text(json.dumps(data))
    done = subprocess.run(
        [
            artifacts["alertmanager"].programs["amtool"],
            "template",
            "render",
            f"--template.glob={SHIPPED}/notifications/*.tmpl",
            f'--template.text={{{{ template "{template}" . }}}}',
            f"--template.data={path}",
            f"--template.type={kind}",
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.stack
def test_the_title_says_what_where_and_how_bad(tmp_path: Path, artifacts: Mapping[str, Artifact]) -> None:
    """One line: status, number, alert, environment, severity."""
    assert (
        rendered(artifacts, tmp_path, "community.title", "firing").strip()
        == "[FIRING:2] ServerDown production (critical)"
    )
    assert (
        rendered(artifacts, tmp_path, "community.title", "resolved").strip()
        == "[RESOLVED] ServerDown production (critical)"
    )


@pytest.mark.stack
@pytest.mark.parametrize("status", ["firing", "resolved"])
@pytest.mark.parametrize(
    ("template", "kind"),
    [("community.email.text", "text"), ("community.email.html", "html"), ("community.slack.text", "text")],
)
def test_every_alert_of_the_group_is_told(
    tmp_path: Path, artifacts: Mapping[str, Artifact], template: str, kind: str, status: str
) -> None:
    """Summary, description, severity and runbook of each, and nothing that a template left behind."""
    text = rendered(artifacts, tmp_path, template, status, kind)
    for name in ("one", "two"):
        told = f"{name} &lt;is&gt; down &amp; out" if kind == "html" else f"{name} <is> down & out"
        for part in (f"summary of {name}", told, f"https://r.example.com/{name}"):
            assert part in text
    assert text.count("Severity: critical") == 2
    assert text.count("Environment: production") == 2
    assert text.count(f"{status.upper()}: summary") == 2
    assert "no value" not in text
    assert "{{" not in text
