"""dead-man.yaml: read like the other policies, held against them, and pointed at the sandbox."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from policy_folders import CHANNELS, FAULTS, KINDS, SHIPPED, copy, loaded, sandbox

from harness.errors import PolicyError
from harness.model.findings import Finding, Severity
from harness.model.policy import rendered
from harness.model.stack import ReceiverBinding
from harness.policy.parse import dead_man
from harness.policy.parse.policies import load
from harness.policy.rewire.rewiring import Rewiring, rewire

PAGE = (Path(__file__).parents[2] / "docs" / "dead-mans-listener.md").read_text(encoding="utf-8")
TEXT = (SHIPPED / "dead-man.yaml").read_text(encoding="utf-8")
DISCORD = ReceiverBinding(
    "discord_configs", {"webhook_url": "https://127.0.0.1:7443/{receiver}/hook"}, secret=("webhook_url",)
)


def found_in(text: str) -> dict[str, Finding]:
    """What is wrong with a file, by id."""
    return {finding.id: finding for finding in dead_man.parse(text, "dead-man.yaml").findings}


def test_the_shipped_file_says_what_the_listener_does() -> None:
    """Its times, its channels, and an alert that belongs to the policies like any other."""
    found = dead_man.parse(TEXT, "dead-man.yaml").value
    assert found is not None
    assert (found.watchdog, found.channels) == ("Watchdog", ("email", "slack", "discord"))
    assert (found.silence, found.grace, found.repeat) == (
        timedelta(seconds=12),
        timedelta(minutes=1),
        timedelta(hours=1),
    )
    policies = loaded().policies
    assert policies.dead_man_file == "dead-man.yaml"
    assert policies.documents["dead-man.yaml"] == TEXT
    alert = policies.alerts[-1]
    assert (alert.name, alert.told_by, alert.expr, alert.hold) == ("DeadMansSwitch", "listener", "", timedelta(0))
    assert {one.told_by for one in policies.alerts[:-1]} == {"alertmanager"}
    assert Path(alert.span.file).name == "dead-man.yaml"
    assert TEXT.splitlines()[alert.span.line - 1] == "alert: DeadMansSwitch"


def test_what_is_not_said_has_a_default() -> None:
    """Watchdog, a minute of grace, an hour until it is told again."""
    text = re.sub(r"^(watchdog|grace|repeat): .*\n", "", TEXT, flags=re.MULTILINE)
    found = dead_man.parse(text, "dead-man.yaml").value
    assert found is not None
    assert (found.watchdog, found.grace, found.repeat) == ("Watchdog", timedelta(minutes=1), timedelta(hours=1))


def test_passwords_are_not_shown() -> None:
    """A traceback or a log line holds none of them."""
    text = TEXT.replace("password_file: /etc/tocsin/secrets/smtp-password", "password: hunter2")
    found = dead_man.parse(text, "dead-man.yaml").value
    assert found is not None
    assert found.email is not None
    assert found.email.password.value == "hunter2"
    assert "hunter2" not in repr(found)


def test_a_folder_without_listener_is_whole(tmp_path: Path) -> None:
    """The file is optional: without it, and without the component, there is no such alert and nothing to complain of.

    A component that has nothing to say is told, at the file that is missing.
    """
    root = copy(tmp_path, {"dead-man.yaml": None})
    with pytest.raises(PolicyError) as refused:
        loaded(root)
    assert "there is no dead-man.yaml" in str(refused.value)
    components = yaml.safe_load((root / "stack.yaml").read_text())["components"]
    others = [one for one in components if one["kind"] != "dead-mans-listener"]
    (root / "stack.yaml").write_text(yaml.safe_dump({"components": others}))
    undrilled(root)
    found = loaded(root)
    assert found.policies.dead_man_file is None
    assert "DeadMansSwitch" not in {alert.name for alert in found.policies.alerts}
    assert rewire(found.policies, sandbox()).files.keys() & {"dead-man.yaml"} == set()


def undrilled(root: Path) -> None:
    """Takes every mention of the listener's alert out of a folder's drills.yaml, and what a plan asks for with it."""
    (root / "conditions.yaml").unlink()
    path = root / "drills.yaml"
    document = yaml.safe_load(path.read_text())
    for kind in ("drills", "not_drilled"):
        document[kind] = [entry for entry in document[kind] if entry["alert"] != "DeadMansSwitch"]
    for entry in document["drills"]:
        entry["tolerates"] = [alert for alert in entry.get("tolerates", ()) if alert != "DeadMansSwitch"]
    path.write_text(yaml.safe_dump(document))


BROKEN = [
    pytest.param(
        "silence: 12s", "silense: 12s", "dead-man/unknown-key", "silense", "did you mean 'silence'?", id="key"
    ),
    pytest.param("silence: 12s", "silence: twelve", "dead-man/value", "silence", "", id="no duration"),
    pytest.param("silence: 12s", "silence: 0s", "dead-man/duration", "silence", "above zero", id="no time"),
    pytest.param("  severity: critical\n", "", "dead-man/missing-key", "  priority", "", id="no severity"),
    pytest.param(
        "$labels.environment }} is", "$labels.env }} is", "dead-man/template", "  summary", "add it", id="label"
    ),
    pytest.param("}} is silent", "}} {{ $value }}", "dead-man/template", "  summary", "all it knows", id="template"),
    pytest.param(
        "  channel:",
        "  webhook_url: x\n  channel:",
        "dead-man/secret",
        "  webhook_url_file: /etc/tocsin/secrets/slack",
        "keep one",
        id="two secrets",
    ),
    pytest.param(
        "  password_file: /etc/tocsin/secrets/smtp-password\n",
        "",
        "dead-man/secret",
        "  smarthost",
        "password_file",
        id="no secret",
    ),
    pytest.param("smtp.example.com:587", "smtp.example.com", "dead-man/value", "  smarthost", "", id="no port"),
]


@pytest.mark.parametrize(("before", "after", "ident", "place", "fix"), BROKEN)
def test_what_is_wrong_is_told_with_its_place(before: str, after: str, ident: str, place: str, fix: str) -> None:
    """Each mistake is a finding with its id, its line and the way out; the listener gets no settings then."""
    assert before in TEXT
    text = TEXT.replace(before, after, 1)
    finding = found_in(text)[ident]
    assert finding.severity is Severity.ERROR
    assert text.splitlines()[finding.span.line - 1].startswith(place)
    assert fix in finding.fix
    assert dead_man.parse(text, "dead-man.yaml").value is None


def test_who_speaks_to_nobody_is_told() -> None:
    """A file without a channel."""
    text = TEXT[: TEXT.index("\nemail:")]
    assert set(found_in(text)) == {"dead-man/no-channel"}
    assert set(found_in(TEXT)) == set()


def test_only_what_is_asked_for_is_rendered() -> None:
    """Labels by name; a label that is not there is nothing, everything else stays as it is."""
    assert rendered("{{ $labels.a }} and {{$labels.b}}{{ $labels.c }} {$labels.a}", {"a": "1", "b": "{{ x }}"}) == (
        "1 and {{ x }} {$labels.a}"
    )


def test_its_alert_needs_a_drill_like_any_other(tmp_path: Path) -> None:
    """Without one the policies are refused at the alert's line in dead-man.yaml."""
    root = copy(tmp_path)
    undrilled(root)
    with pytest.raises(PolicyError) as refused:
        loaded(root)
    (missing,) = (one for one in refused.value.findings if one.id == "drill/missing")
    assert missing.span.file == str(root / "dead-man.yaml")


def drilled(tmp_path: Path, *channels: str) -> Path:
    """The shipped folder with a drill of the listener's alert at these channels."""
    root = copy(tmp_path)
    undrilled(root)
    document = yaml.safe_load((root / "drills.yaml").read_text())
    entry = {
        "alert": "DeadMansSwitch",
        "priority": "critical",
        "fault": "heartbeat-refused",
        "channels": list(channels),
    }
    document["drills"].append(entry)
    (root / "drills.yaml").write_text(yaml.safe_dump(document))
    return root


def test_a_drill_asks_for_channels_that_the_listener_has(tmp_path: Path) -> None:
    """What it cannot speak through is an error at its alert; what it can is none."""
    assert loaded(drilled(tmp_path / "well", "email", "slack")).policies.drills
    with pytest.raises(PolicyError) as refused:
        loaded(drilled(tmp_path / "ill", "email", "sms"))
    (finding,) = (one for one in refused.value.findings if one.id == "dead-man/no-channel")
    assert "cannot speak through sms" in finding.summary


def test_a_broken_file_is_not_told_twice(tmp_path: Path) -> None:
    """Its alert may be missing because the file could not be read: its drill is not blamed as well."""
    root = drilled(tmp_path, "email")
    (root / "dead-man.yaml").write_text(TEXT.replace("silence: 12s", "silense: 12s"))
    with pytest.raises(PolicyError) as refused:
        loaded(root)
    assert {one.id for one in refused.value.findings} == {"dead-man/unknown-key", "dead-man/missing-key"}


def test_a_heartbeat_is_no_channel(tmp_path: Path) -> None:
    """A webhook that calls the listener needs no sink, and reaches nobody by whom a priority could be heard."""
    root = copy(tmp_path)
    path = root / "alertmanager.yml"
    document = yaml.safe_load(path.read_text())
    document["receivers"] = [
        {name: value for name, value in receiver.items() if name != "webhook_configs"}
        for receiver in document["receivers"]
    ]
    beating = {"name": "beating", "webhook_configs": [{"url": "http://dead-mans-listener:9095/heartbeat"}]}
    document["receivers"].append(beating)
    path.write_text(yaml.safe_dump(document))
    drills = yaml.safe_load((root / "drills.yaml").read_text())
    others = {name: key for name, key in CHANNELS.items() if key != "webhook_configs"}
    for channels, wanted, missing in (
        (CHANNELS, False, set[str]()),
        (others, False, set()),
        (CHANNELS, True, {"channel/no-receiver"}),
    ):
        for rule in drills["priorities"].values():
            rule["channels"] = ["email", *(["push"] if wanted else [])]
        (root / "drills.yaml").write_text(yaml.safe_dump(drills))
        assert _about_receivers(root, channels) == missing


def _about_receivers(root: Path, channels: Mapping[str, str]) -> set[str]:
    try:
        found = load(root, faults=FAULTS, channels=channels, components=KINDS).findings
    except PolicyError as error:
        found = error.findings
    return {one.id for one in found} & {"channel/no-receiver", "receiver/no-sink"}


# --- the copy ---------------------------------------------------------------------------------------------------------


def copied(*more: ReceiverBinding) -> tuple[Rewiring, dict[str, Any]]:
    """The copy in a sandbox with these sinks too, and what its dead-man.yaml says."""
    where = sandbox()
    rewired = rewire(loaded().policies, dataclasses.replace(where, bindings=(*where.bindings, *more)))
    return rewired, yaml.safe_load(rewired.files["dead-man.yaml"])


def test_the_copy_speaks_to_the_sinks_for_what_is_shared() -> None:
    """Addresses, credentials and environment are the sandbox's; times, words and recipients are production's."""
    rewired, document = copied(DISCORD)
    before = yaml.safe_load(TEXT)
    assert document["labels"] == {**before["labels"], "environment": "shared"}
    assert document["email"] == {
        "smarthost": "127.0.0.1:2525",
        "from": before["email"]["from"],
        "to": before["email"]["to"],
        "username": "dead-mans-listener@sandbox",
        "password": "sandbox-password",
    }
    assert document["slack"] == {
        "channel": "#alerts",
        "webhook_url": "https://127.0.0.1:8443/dead-mans-listener/services",
    }
    assert document["discord"] == {"webhook_url": "https://127.0.0.1:7443/dead-mans-listener/hook"}
    same = {"alert", "watchdog", "annotations", "silence", "grace", "repeat"}
    assert {key: document[key] for key in same} == {key: before[key] for key in same}
    settings = dead_man.parse(rewired.files["dead-man.yaml"], "dead-man.yaml")
    assert settings.findings == ()
    assert settings.value is not None
    assert settings.value.channels == ("email", "slack", "discord")


def test_every_difference_is_listed_and_no_secret_is() -> None:
    """What the owner reads: where, before, after, why."""
    rewired, _ = copied(DISCORD)
    listed = {one.path: one for one in rewired.differences if one.file == "dead-man.yaml"}
    assert set(listed) == {
        "labels.environment",
        "email.smarthost",
        "email.username",
        "email.password",
        "email.password_file",
        "slack.webhook_url",
        "slack.webhook_url_file",
        "discord.webhook_url",
        "discord.webhook_url_file",
    }
    assert (listed["labels.environment"].before, listed["labels.environment"].after) == ("production", "shared")
    shown = "\n".join(f"{one.before} {one.after}" for one in listed.values())
    for secret in ("sandbox-password", "127.0.0.1:8443", "127.0.0.1:7443"):
        assert secret not in shown


def test_a_channel_without_sink_is_left_out() -> None:
    """Nothing leaves the machine; that it is left out is listed."""
    rewired, document = copied()
    assert "discord" not in document
    (difference,) = (one for one in rewired.differences if (one.file, one.path) == ("dead-man.yaml", "discord"))
    assert difference.after == "(nothing)"
    assert "example.com" not in re.sub(r".*(from|to|runbook_url): .*", "", rewired.files["dead-man.yaml"])


# --- the page ---------------------------------------------------------------------------------------------------------


def test_the_example_of_the_page_is_right() -> None:
    """A reader may copy it."""
    (example,) = re.findall(r"```yaml\n# dead-man.yaml\n(.*?)```", PAGE, re.DOTALL)
    assert PAGE.count("```yaml") == 1
    assert dead_man.parse(example, "dead-man.yaml").findings == ()


def test_every_key_is_explained() -> None:
    """Each key that the schema allows stands on the page."""
    import json

    schemas = Path(dead_man.__file__).parents[1] / "schemas"
    schema = json.loads((schemas / "dead-man.schema.json").read_text())
    parts = [schema, *schema["$defs"].values(), *schema["properties"].values()]
    keys = {key for part in parts for key in part.get("properties", {})}
    assert len(keys) > 20
    assert {key for key in keys if not re.search(rf"`{key}`", PAGE)} == set()
