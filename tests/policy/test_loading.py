"""Loading a policies folder: everything that is wrong with it at once, each with its place and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from policy_folders import FAULTS, SHIPPED, copy, loaded

from harness.errors import PolicyError, UsageError
from harness.model.findings import Finding, Severity


def findings(root: Path) -> dict[str, Finding]:
    """What is wrong with a folder, errors and warnings, by id."""
    try:
        found = loaded(root).findings
    except PolicyError as error:
        found = error.findings
        assert any(finding.severity is Severity.ERROR for finding in found)
    return {finding.id: finding for finding in found}


AGAIN = "  - alert: ServerDown\n    priority: critical\n    fault: server-killed"

BROKEN = [
    pytest.param({"prometheus.yml": None}, "file/missing", "prometheus.yml", "", id="no prometheus.yml"),
    pytest.param({"targets.yaml": None}, "file/missing", "targets.yaml", "", id="no targets.yaml"),
    pytest.param({"drills.yaml": "priorities: [\n"}, "yaml/syntax", "drills.yaml", "", id="broken YAML"),
    pytest.param({"drills.yaml": ""}, "drill/empty", "drills.yaml", "", id="an empty file"),
    pytest.param(
        {"drills.yaml": ("  - alert: HighErrorRatio\n    priority: high\n    fault: comments-unreadable\n", "")},
        "drill/missing",
        "alerts/errors.rules.yml: alert: HighErrorRatio",
        "give it a drill",
        id="an alert without a drill",
    ),
    pytest.param(
        {"drills.yaml": ("alert: ServerDown", "alert: ServerDwn")},
        "drill/unknown-alert",
        "drills.yaml: ServerDwn",
        "did you mean 'ServerDown'?",
        id="a drill for an unknown alert",
    ),
    pytest.param(
        {"drills.yaml": ("fault: database-refused", "fault: databse-refused")},
        "drill/unknown-fault",
        "drills.yaml: databse-refused",
        "did you mean 'database-refused'?",
        id="an unknown fault",
    ),
    pytest.param(
        {"drills.yaml": ("fault: disk-filled", "fault: disk-filled\n    tolerates: [Nobody]")},
        "drill/unknown-alert",
        "drills.yaml: Nobody]",
        "known are",
        id="an unknown alert tolerated",
    ),
    pytest.param(
        {"drills.yaml": ("fault: server-killed", f"fault: server-killed\n{AGAIN}")},
        "drill/duplicate",
        "drills.yaml: ServerDown",
        "",
        id="two drills for one alert",
    ),
    pytest.param(
        {"drills.yaml": ("sms, slack, discord, push], deadline", "sms, slak, discord, push], deadline")},
        "priority/unknown-channel",
        "drills.yaml: slak, discord, push], deadline: 30s, since_",
        "did you mean 'slack'?",
        id="an unknown channel",
    ),
    pytest.param(
        {"drills.yaml": ("  high: { channels: [email, slack, discord], deadline: 30s }\n", "")},
        "drill/no-priority",
        "drills.yaml: alert: NotificationsFailing",
        "add `high`",
        id="a priority that is not declared",
    ),
    pytest.param(
        {"drills.yaml": ("    fault: server-killed", "    falt: server-killed")},
        "drills/unknown-key",
        "drills.yaml: falt: server-killed",
        "did you mean 'fault'?",
        id="an unknown key",
    ),
    pytest.param(
        {"drills.yaml": ("alert: ServerDown\n    priority: critical", "alert: ServerDown\n    priority: crticial")},
        "drills/unknown-value",
        "drills.yaml: crticial",
        "did you mean 'critical'?",
        id="an unknown priority",
    ),
    pytest.param(
        {"drills.yaml": ("also: [server-frozen]", "also: [server-frosen]")},
        "drill/unknown-fault",
        "drills.yaml: server-frosen",
        "did you mean 'server-frozen'?",
        id="an unknown further fault",
    ),
    pytest.param(
        {"drills.yaml": ("nightly: [alertmanager-down,", "nightly: [alertmanager-dwon,")},
        "drill/unknown-fault",
        "drills.yaml: alertmanager-dwon",
        "did you mean 'alertmanager-down'?",
        id="an unknown fault at night",
    ),
    pytest.param(
        {"drills.yaml": ("      - receiver-erroring\n", "      - receiver-eroring\n")},
        "drill/unknown-fault",
        "drills.yaml: receiver-eroring",
        "did you mean 'receiver-erroring'?",
        id="an unknown fault in spite of which",
    ),
    pytest.param(
        {"drills.yaml": ("also: [server-frozen]", "also: [server-frozen, server-killed]")},
        "drill/fault-twice",
        "drills.yaml: server-killed]",
        "`fault` and `also`",
        id="a fault twice in one drill",
    ),
    pytest.param(
        {"drills.yaml": ("also: [server-frozen]", "also: server-frozen")},
        "drills/value",
        "drills.yaml: server-frozen",
        "",
        id="a word where a list belongs",
    ),
    pytest.param(
        {"drills.yaml": ("also: [server-frozen]", "also: []")},
        "drills/value",
        "drills.yaml: []",
        "",
        id="no further faults",
    ),
    pytest.param(
        {"drills.yaml": ("channels: [email, slack, discord]\n", "channels: [email, slack, dicsord]\n")},
        "priority/unknown-channel",
        "drills.yaml: dicsord]",
        "did you mean 'discord'?",
        id="an unknown channel of one drill",
    ),
    pytest.param(
        {"drills.yaml": ("  low: {", "  lowest: {")},
        "drills/unknown-key",
        "drills.yaml: lowest: { channels: [slack],",
        "did you mean 'low'?",
        id="an unknown priority declared",
    ),
    pytest.param(
        {"drills.yaml": ("    fault: server-killed\n", "")},
        "drills/missing-key",
        "drills.yaml: alert: ServerDown",
        "",
        id="a key missing",
    ),
    pytest.param(
        {"drills.yaml": ("deadline: 30s, since", "deadline: 30, since")},
        "drills/value",
        "drills.yaml: 30, since_condition: 30s }",
        "",
        id="30 of what",
    ),
    pytest.param(
        {"alertmanager.yml": ("    slack_configs:", "    pagerduty_configs:")},
        "channel/no-receiver",
        "drills.yaml: slack, discord, push], deadline: 30s, since",
        "add slack_configs",
        id="no receiver for a channel",
    ),
    pytest.param(
        {"alertmanager.yml": ("    slack_configs:", "    pagerduty_configs:")},
        "receiver/no-sink",
        'alertmanager.yml: channel: "#alerts"',
        "",
        id="a receiver without sink",
    ),
    pytest.param(
        {"alertmanager.yml": ("    - receiver: slack\n", "    - receiver: slak\n")},
        "alertmanager/unknown-receiver",
        "alertmanager.yml: slak",
        "did you mean 'slack'?",
        id="a route to nobody",
    ),
    pytest.param(
        {"alertmanager.yml": ("notifications/*.tmpl", "notificatons/*.tmpl")},
        "file/glob-matches-nothing",
        "alertmanager.yml: notificatons/*.tmpl",
        "",
        id="templates that are not there",
    ),
    pytest.param(
        {"prometheus.yml": ("alerts/*.rules.yml", "rules/*.yml")},
        "file/glob-matches-nothing",
        "prometheus.yml: rules/*.yml",
        "",
        id="rule files that are not there",
    ),
    pytest.param(
        {"prometheus.yml": ("alerts/*.rules.yml", "/etc/prometheus/*.yml")},
        "file/outside",
        "prometheus.yml: /etc/prometheus/*.yml",
        "relative",
        id="rule files of the host",
    ),
    pytest.param(
        {"prometheus.yml": ("rule_files:\n  - alerts/*.rules.yml\n", "")},
        "prometheus/no-rules",
        "prometheus.yml: # Prometheus of Community Pl",
        "name the rule files",
        id="no rule files",
    ),
    pytest.param(
        {"prometheus.yml": ("targets: [mysql-exporter:9104]", "targets: [mysql-exporter:9105]")},
        "stack/unknown-address",
        "prometheus.yml: mysql-exporter:9105]",
        "did you mean 'mysql-exporter:9104'?",
        id="a target of no component",
    ),
    pytest.param(
        {"prometheus.yml": ("- targets: [alertmanager:9093]\n\nscrape", "- targets: [alertmanagre:9093]\n\nscrape")},
        "stack/unknown-address",
        "prometheus.yml: alertmanagre:9093]",
        "did you mean 'alertmanager:9093'?",
        id="an Alertmanager of no component",
    ),
    pytest.param(
        {"conditions.yaml": ("alert: HighCpu", "alert: HighCPU")},
        "condition/unknown-alert",
        "conditions.yaml: HighCPU",
        "did you mean 'HighCpu'?",
        id="a condition that no alert answers",
    ),
    pytest.param(
        {"conditions.yaml": ("alert: HighCpu", "alert: Watchdog")},
        "condition/no-drill",
        "conditions.yaml: Watchdog",
        "give it a drill",
        id="a condition whose alert nobody tries",
    ),
    pytest.param(
        {"conditions.yaml": ("alert: HighCpu, priority: medium", "alert: HighCpu, priority: high")},
        "condition/priority-differs",
        "conditions.yaml: high",
        "the same",
        id="a condition with another priority",
    ),
    pytest.param(
        {
            "conditions.yaml": (
                "alert: DeadMansSwitch, priority: critical, channels: [email, slack, discord]",
                "alert: DeadMansSwitch, priority: critical, channels: [email, sms, slack, discord, push]",
            )
        },
        "condition/channels-differ",
        "conditions.yaml: [email, sms, slack, discord, push]",
        "the same",
        id="a condition with the priority's channels where the drill has its own",
    ),
    pytest.param(
        {"conditions.yaml": ("channels: [slack], deadline: 30s", "channels: [slack], deadline: 31s")},
        "condition/deadline-differs",
        "conditions.yaml: 31s",
        "the same",
        id="a condition with another deadline",
    ),
    pytest.param(
        {"conditions.yaml": ("alert: CacheDown,", "alert: CacheHitRatioLow,")},
        "condition/duplicate",
        "conditions.yaml: { what: Cache efficiency",
        "",
        id="a condition answered twice by the same",
    ),
    pytest.param(
        {"conditions.yaml": ("asks: rule, severity: warning", "asks: rule, severity: waring")},
        "conditions/unknown-value",
        "conditions.yaml: waring",
        "did you mean 'warning'?",
        id="a severity that the plan has not",
    ),
    pytest.param(
        {"conditions.yaml": ("what: CPU use at or above 80 %, ", "")},
        "conditions/missing-key",
        "conditions.yaml: { asks: condition",
        "",
        id="a condition that does not say what",
    ),
    pytest.param(
        {"stack.yaml": ("kind: mariadb", "kind: mysql")},
        "stack/unknown-kind",
        "stack.yaml: mysql",
        "known are",
        id="a kind",
    ),
    pytest.param(
        {"stack.yaml": ("name: redis\n", "name: mysql\n")},
        "stack/duplicate-component",
        "stack.yaml: name: mysql",
        "",
        id="two alike",
    ),
    pytest.param(
        {"stack.yaml": ("[redis:6379]", "[mysql:3306]")},
        "stack/duplicate-address",
        "stack.yaml: name: redis",
        "",
        id="one address",
    ),
    pytest.param(
        {"stack.yaml": ("per_lane: true", "perlane: true")},
        "stack/unknown-key",
        "stack.yaml: perlane: true",
        "'per_lane'",
        id="perlane",
    ),
    pytest.param(
        {"units/redis.service": None},
        "file/missing",
        "stack.yaml: units/redis.service",
        "",
        id="a unit that is not there",
    ),
    pytest.param(
        {"stack.yaml": ("units/redis.service", "../redis.service")},
        "file/outside",
        "stack.yaml: ../redis.service",
        "",
        id="a unit outside",
    ),
    pytest.param(
        {"targets.yaml": ("name: retention", "name: retentoin")},
        "targets/unknown-value",
        "targets.yaml: retentoin",
        "'retention'",
        id="a target",
    ),
    pytest.param(
        {"targets.yaml": ("name: retention", "name: restore-time")},
        "target/duplicate",
        "targets.yaml: name: restore-time",
        "",
        id="a target twice",
    ),
    pytest.param(
        {"targets.yaml": ("name: retention", "name: restore-time")},
        "target/missing",
        "targets.yaml: # The success targets of the",
        "excluded",
        id="a target gone",
    ),
    pytest.param(
        {"alerts/more.rules.yml": "groups: [{name: more, rules: [{alert: ServerDown, expr: up == 0}]}]"},
        "alert/duplicate",
        "alerts/more.rules.yml: {alert: ServerDown, expr: up",
        "its own name",
        id="an alert twice",
    ),
    pytest.param(
        {"alerts/more.rules.yml": "groups: [{name: more, rules: [{alert: New, expr: up === 0}]}]"},
        "rules/syntax",
        "alerts/more.rules.yml: up === 0}]}]",
        "",
        id="broken PromQL",
    ),
    pytest.param(
        {"alerts/host.rules.yml": ("priority: critical", "priority: high")},
        "drill/priority-differs",
        "drills.yaml: alert: DiskAlmostFull",
        "agree",
        id="a label that contradicts its drill",
    ),
]


@pytest.mark.parametrize(("edits", "ident", "place", "fix"), BROKEN)
def test_what_is_wrong_is_told_with_its_place(
    tmp_path: Path, edits: dict[str, tuple[str, str] | str | None], ident: str, place: str, fix: str
) -> None:
    """Each way to break a folder is a finding with its id, its place (the text that stands there), and the way out."""
    root = copy(tmp_path, edits)
    found = findings(root)
    assert ident in found, f"found only {sorted(found)}"
    span = found[ident].span
    name, _, text = place.partition(": ")
    assert span.file == str(root / name)
    if text:
        line = (root / name).read_text(encoding="utf-8").split("\n")[span.line - 1]
        assert line[span.column - 1 :].startswith(text)
    assert fix in found[ident].fix


def test_everything_is_told_at_once(tmp_path: Path) -> None:
    """Mistakes in four files are four findings of one refusal, in the order of the files."""
    root = copy(
        tmp_path,
        {
            "prometheus.yml": ("evaluation_interval: 1s", "evaluation_interval: 1"),
            "alertmanager.yml": ("    - receiver: slack\n", "    - receiver: slak\n"),
            "drills.yaml": ("priority: low", "priority: lwo"),
            "units/redis.service": ("Restart=always", "Restart=ever"),
        },
    )
    with pytest.raises(PolicyError) as refused:
        loaded(root)
    assert [finding.id for finding in refused.value.findings] == [
        "alertmanager/unknown-receiver",
        "drills/unknown-value",
        "prometheus/duration",
        "unit/restart",
    ]
    assert "4 errors" in refused.value.what
    lines = (root / "drills.yaml").read_text(encoding="utf-8").split("\n")
    assert f"{root}/drills.yaml:{lines.index('    priority: lwo') + 1}:15: error: " in str(refused.value)


def test_a_broken_file_is_not_told_twice(tmp_path: Path) -> None:
    """Where a rule file does not parse, its alerts are not called missing as well."""
    found = findings(copy(tmp_path, {"alerts/errors.rules.yml": "groups: ["}))
    assert set(found) == {"yaml/syntax"}


def test_warnings_do_not_refuse(tmp_path: Path) -> None:
    """A target that no component owns is worth a warning; the policies still run."""
    root = copy(tmp_path, {"prometheus.yml": ("[redis-exporter:9121]", "[elsewhere:9121]")})
    found = loaded(root)
    assert [(finding.id, finding.severity) for finding in found.findings] == [
        ("stack/unknown-address", Severity.WARNING)
    ]


def test_bytes_that_are_not_utf8(tmp_path: Path) -> None:
    """The byte is named with its line and column."""
    root = copy(tmp_path)
    (root / "drills.yaml").write_bytes(b"priorities: {}\ndrills: [] # \xff\n")
    found = findings(root)["file/encoding"]
    assert (found.span.line, found.span.column, "0xff" in found.summary) == (2, 14, True)


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No permission is a sentence with the reason."""
    root = copy(tmp_path)

    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert "Permission denied" in findings(root)["file/unreadable"].summary


def test_a_folder_in_place_of_a_file(tmp_path: Path) -> None:
    """A folder called prometheus.yml is no prometheus.yml."""
    root = copy(tmp_path, {"prometheus.yml": None})
    (root / "prometheus.yml").mkdir()
    assert "is not a file" in findings(root)["file/missing"].summary


@pytest.mark.parametrize("kind", ["missing", "file", "empty"])
def test_a_folder_that_is_none_is_a_usage_error(tmp_path: Path, kind: str) -> None:
    """A wrong --policies is told in a sentence with a hint, exit code 2."""
    root = tmp_path / "policies"
    if kind == "file":
        root.write_text("x")
    elif kind == "empty":
        root.mkdir()
    with pytest.raises(UsageError) as refused:
        loaded(root)
    assert not isinstance(refused.value, PolicyError)
    assert (refused.value.exit_code, refused.value.hint is not None) == (2, True)
    assert str(root) in refused.value.what


def test_paths_are_told_as_the_user_would_type_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder below the working directory is told relative to it, however it was given."""
    root = copy(tmp_path, {"drills.yaml": ""})
    monkeypatch.chdir(tmp_path)
    assert str(findings(root)["drill/empty"].span) == "policies/drills.yaml:1:1"
    assert str(findings(Path("policies"))["drill/empty"].span) == "policies/drills.yaml:1:1"


@given(data=st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_bytes_end_in_a_traceback(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Any bytes in any file: the folder loads, or is refused with findings."""
    root = copy(tmp_path_factory.mktemp("fuzz"))
    files = sorted(path for path in root.rglob("*") if path.is_file())
    path = data.draw(st.sampled_from(files), label="file")
    old = path.read_bytes()
    start = data.draw(st.integers(0, len(old)))
    end = data.draw(st.integers(start, min(len(old), start + 40)))
    path.write_bytes(old[:start] + data.draw(st.binary(max_size=12)) + old[end:])
    told: tuple[Finding, ...] | None = None
    try:
        loaded(root)
    except PolicyError as error:
        told = error.findings
    assert told != ()


def test_the_shipped_folder_is_whole() -> None:
    """Nothing to complain about in what the project ships, and no fault that is in no drill."""
    assert loaded(SHIPPED).findings == ()
    drills = loaded(SHIPPED).policies.drills
    assert {fault for drill in drills for fault in (*drill.faults, *drill.although, *drill.nightly)} == FAULTS


def test_a_folder_need_not_say_what_a_plan_asks_for(tmp_path: Path) -> None:
    """Without conditions.yaml nothing is complained of, and there are none."""
    found = loaded(copy(tmp_path, {"conditions.yaml": None}))
    assert (found.findings, found.policies.conditions) == ((), ())
    assert len(loaded(SHIPPED).policies.conditions) > len(found.policies.conditions)


def test_a_drill_is_read_whole() -> None:
    """Its faults in order, the first by itself; channels of its own, or none where its priority's must hear."""
    drills = {drill.alert: drill for drill in loaded(SHIPPED).policies.drills}
    database = drills["DatabaseDown"]
    assert (database.fault, database.faults) == (
        "database-refused",
        ("database-refused", "database-killed", "database-half-open", "database-reset"),
    )
    assert (database.channels, database.although, database.nightly) == (None, (), ())
    silence = drills["DeadMansSwitch"]
    assert silence.faults == ("heartbeat-refused",)
    assert silence.channels == ("email", "slack", "discord")
    assert silence.nightly == ("alertmanager-down", "prometheus-frozen")
    assert silence.tolerates == ("NotificationsFailing", "MonitoringRestarted")
    assert "mail-refusing-content" in drills["ServerDown"].although
