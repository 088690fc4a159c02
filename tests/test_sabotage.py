"""The twin of every green run: a sabotaged copy of the policies is red at the right alert, channel and hop."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.model.stack import Artifact

PROJECT = Path(__file__).parent.parent
_DEAF_SLACK = """
import harness.observe.channels.slack as slack, harness.cli as cli, sys
opened = slack.SlackChannel.open
slack.SlackChannel.open = lambda self, certificate, deliver, refuse: opened(self, certificate, lambda raw: None, refuse)
raise SystemExit(cli.main(sys.argv[1:]))
"""


@dataclass(frozen=True)
class Sabotage:
    """What is spoilt, and where the trail must then end at which channels."""

    name: str
    file: str
    before: str
    after: str
    alert: str
    trail_ends: Mapping[str, str]
    program: tuple[str, ...] = ("-m", "harness")


SABOTAGES = (
    Sabotage(
        "route removed",
        "alertmanager.yml",
        '    - receiver: slack\n      matchers: [priority =~ "critical|high|medium|low"]\n',
        "",
        "ServerDown",
        {"slack": "received"},
    ),
    Sabotage(
        "wrong receiver",
        "alertmanager.yml",
        '    - receiver: slack\n      matchers: [priority =~ "critical|high|medium|low"]\n',
        '    - receiver: nobody\n      matchers: [priority =~ "critical|high|medium|low"]\n',
        "ServerDown",
        {"slack": "received"},
    ),
    Sabotage(
        "threshold off",
        "alerts/errors.rules.yml",
        ") >= 0.05",
        ") >= 1.05",
        "HighErrorRatio",
        {"email": "visible", "slack": "visible"},
    ),
    Sabotage(
        "Alertmanager's address wrong",
        "prometheus.yml",
        "alertmanager:9093",
        "alertmanager:9094",
        "ServerDown",
        {"email": "firing", "slack": "firing"},
    ),
    Sabotage(
        "sink that drops",
        "alertmanager.yml",
        "",
        "",
        "ServerDown",
        {"slack": "received"},
        ("-c", _DEAF_SLACK),
    ),
)


@pytest.mark.stack
@pytest.mark.nightly
@pytest.mark.parametrize("sabotage", SABOTAGES, ids=lambda sabotage: sabotage.name.replace(" ", "-"))
def test_a_sabotage_is_red_at_the_right_hop(
    sabotage: Sabotage, tmp_path: Path, artifacts: Mapping[str, Artifact]
) -> None:
    """The alert's cells at the spoilt channels are broken and name the hop; those at other channels are heard."""
    policies = tmp_path / "policies"
    shutil.copytree(PROJECT / "policies", policies)
    (tmp_path / "loadtests").symlink_to(PROJECT / "loadtests")
    spoilt = policies / sabotage.file
    text = spoilt.read_text()
    assert sabotage.before in text
    spoilt.write_text(text.replace(sabotage.before, sabotage.after))
    answer = subprocess.run(
        [
            sys.executable,
            *sabotage.program,
            "run",
            *("--policies", str(policies), "--out", str(tmp_path / "runs"), "--only", sabotage.alert),
        ],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        check=False,
        timeout=300,
    )
    summary = json.loads((tmp_path / "runs" / "latest" / "summary.json").read_text())
    assert (answer.returncode, summary["verdict"]) == (1, "fail"), answer.stderr[-2000:]
    (alert,) = summary["alerts"]
    assert alert["alert"] == sabotage.alert
    ends = {cell["channel"]: cell["trail_ends"] for cell in alert["cells"] if cell["status"] == "broken"}
    assert ends == sabotage.trail_ends
    others = [cell for cell in alert["cells"] if cell["channel"] not in sabotage.trail_ends]
    assert all(cell["status"] == "heard" for cell in others)
