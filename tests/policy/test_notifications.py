"""What a person reads in each channel: every alert of the group, whole, and nothing that a template left behind."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from policy_folders import SHIPPED
from policy_tools import run

from harness.model.stack import Artifact

pytestmark = pytest.mark.stack


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
    done = run(
        artifacts["alertmanager"].programs["amtool"],
        "template",
        "render",
        f"--template.glob={SHIPPED}/notifications/*.tmpl",
        f'--template.text={{{{ template "{template}" . }}}}',
        f"--template.data={path}",
        f"--template.type={kind}",
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


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


@pytest.mark.parametrize("status", ["firing", "resolved"])
@pytest.mark.parametrize(
    ("template", "kind"),
    [
        ("community.email.text", "text"),
        ("community.email.html", "html"),
        ("community.slack.text", "text"),
        ("community.discord", "text"),
    ],
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


@pytest.mark.parametrize("status", ["firing", "resolved"])
def test_a_text_message_says_everything_once(tmp_path: Path, artifacts: Mapping[str, Artifact], status: str) -> None:
    """The title with status, environment and severity first; then what, and where to read on, of each alert."""
    lines = rendered(artifacts, tmp_path, "community.sms", status).strip().split("\n")
    title = "[FIRING:2]" if status == "firing" else "[RESOLVED]"
    assert lines[0] == f"{title} ServerDown production (critical)"
    assert [line for line in lines[1:] if line] == [
        "summary of one. one <is> down & out",
        "https://r.example.com/one",
        "summary of two. two <is> down & out",
        "https://r.example.com/two",
    ]


def test_a_text_message_is_short(tmp_path: Path, artifacts: Mapping[str, Artifact]) -> None:
    """For one alert it fits into the 1,600 characters of a text message many times over."""
    assert len(rendered(artifacts, tmp_path, "community.sms", "firing")) < 320
