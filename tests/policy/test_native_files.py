"""prometheus.yml, rule files, alertmanager.yml, unit files: what is read from them, and what is wrong where."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from policy_folders import SHIPPED

from harness.model.policy import RestartPolicy, RestartWhen
from harness.policy.parse import alertmanager, conditions, drills, prometheus, promql, rules, stack, targets, units

RULES = """
groups:
  - name: g
    rules:
      - record: job:up:sum
        expr: sum by (job) (up)
      - alert: A
        expr: |
          rate(x_total{code=~"5..", path="a}\\"b"}[5m] offset 1h) > on (job) group_left
            max_over_time(y{z!="1"}[1h:1m] @ 100) and x_total{code=~"5..", path="a}\\"b"}
        for: 1m30s
        keep_firing_for: 250ms
        labels: {severity: yes, level: 007}
        annotations:
          summary: "{{ $value }}"
"""


def test_an_alert_is_read_whole() -> None:
    """Hold, labels as written, group, place, and every selector once without range, offset and @."""
    parsed = rules.parse(RULES, "r.yml")
    assert parsed.findings == ()
    assert parsed.value.recordings == 1
    (alert,) = parsed.value.alerts
    assert (alert.name, alert.group, alert.hold, alert.keep_firing_for) == (
        "A",
        "g",
        timedelta(seconds=90),
        timedelta(milliseconds=250),
    )
    assert alert.labels == {"severity": "yes", "level": "007"}
    assert alert.selectors == ('x_total{code=~"5..",path="a}\\"b"}', 'y{z!="1"}')
    assert str(alert.span) == "r.yml:7:9"


@pytest.mark.parametrize(
    ("expr", "selectors"),
    [
        ("up offset 5m", ("up",)),
        ('{__name__=~"a|b"} @ end() offset -1m', ('{__name__=~"a|b"}',)),
        ('absent(up{job="@ 5"} @ 5)', ('up{job="@ 5"}',)),
        ("holt_winters(x[1h], 0.5, 0.5)", ("x",)),
        ("time() - 5", ()),
        ("a + a", ("a",)),
    ],
)
def test_selectors_name_series_not_times(expr: str, selectors: tuple[str, ...]) -> None:
    """Offsets and `@` are cut off behind the selector, never inside its strings; the result is PromQL again."""
    assert promql.parse(expr).selectors == selectors
    for selector in selectors:
        assert promql.parse(f"{selector}[1m]").selectors == (selector,)


@pytest.mark.parametrize("expr", ["(" * 50_000 + "1" + ")" * 50_000, "1" + "+1" * 50_000, "sum(" * 50_000])
def test_an_expression_that_would_end_the_process_is_refused(expr: str) -> None:
    """The parser recurses natively: what is too long for it is an error like any other."""
    with pytest.raises(promql.NotPromQL):
        promql.parse(expr)


def test_a_long_expression_within_the_limit_still_parses() -> None:
    """The limit does not refuse what the parser can take."""
    assert promql.parse(" or ".join(f"metric_{n}" for n in range(300))).selectors[299] == "metric_299"


@pytest.mark.parametrize(
    ("text", "ident", "place"),
    [
        pytest.param(
            "groups: [{name: g, rules: [{alert: A, expr: 'up ='}]}]", "rules/syntax", "r.yml:1:45", id="promql"
        ),
        pytest.param("groups: [{name: g, rules: [{alrt: A, expr: up}]}]", "rules/neither", "r.yml:1:28", id="a typo"),
        pytest.param("groups: [{name: g, rules: [{alert: A}]}]", "rules/no-expr", "r.yml:1:28", id="no expr"),
        pytest.param("groups: [{rules: []}]", "rules/group-without-name", "r.yml:1:10", id="no name"),
        pytest.param("groups: {a: b}", "rules/shape", "r.yml:1:9", id="a mapping for a list"),
        pytest.param("spec: {groups: []}\nkind: PrometheusRule", "rules/no-groups", "r.yml:1:1", id="kubernetes"),
        pytest.param("", "rules/empty", "r.yml:1:1", id="empty"),
        pytest.param("a: 1\n---\nb: 2", "rules/documents", "r.yml:3:1", id="two documents"),
        pytest.param(
            "groups: [{name: g, rules: [{alert: A, expr: up, for: 1.5s}]}]", "rules/duration", "r.yml:1:54", id="1.5s"
        ),
        pytest.param(
            "groups: [{name: g, rules: [{alert: A, record: b, expr: up}]}]",
            "rules/alert-and-record",
            "r.yml:1:28",
            id="both",
        ),
    ],
)
def test_a_wrong_rule_file_says_where(text: str, ident: str, place: str) -> None:
    """Each mistake has its id and its place."""
    found = {finding.id: str(finding.span) for finding in rules.parse(text, "r.yml").findings}
    assert found.get(ident) == place


def test_prometheus_yml_gives_each_job_its_own_interval() -> None:
    """A job's interval is its own, else the global one, else Prometheus's default; targets have places."""
    text = (
        "scrape_configs:\n- {job_name: a, scrape_interval: 5s}\n"
        "- job_name: b\n  static_configs:\n  - targets: [x:1, y:2]\n"
    )
    config = prometheus.parse(text, "p.yml").value
    assert [(job.name, job.interval) for job in config.jobs] == [
        ("a", timedelta(seconds=5)),
        ("b", timedelta(minutes=1)),
    ]
    assert [str(target.span) for target in config.jobs[1].targets] == ["p.yml:5:15", "p.yml:5:20"]
    assert config.evaluation_interval == timedelta(minutes=1)
    shorter = prometheus.parse("global: {scrape_interval: 2s}\n" + text, "p.yml").value
    assert shorter.jobs[1].interval == timedelta(seconds=2)


def test_alertmanager_yml_gives_receivers_and_finds_those_that_are_not() -> None:
    """Integrations carry their key and place; a route to an unknown receiver is found with what was meant."""
    text = (
        "route:\n  receiver: team\n  routes:\n  - receiver: taem\n    routes: [{receiver: nobody}]\n"
        "receivers:\n- name: team\n  slack_configs:\n  - channel: a\n  - channel: b\n"
        "  email_configs: [{to: c}]\n- name: nobody\n"
    )
    parsed = alertmanager.parse(text, "a.yml")
    assert [(r.name, [i.key for i in r.integrations]) for r in parsed.value.receivers] == [
        ("team", ["slack_configs", "slack_configs", "email_configs"]),
        ("nobody", []),
    ]
    assert str(parsed.value.receivers[0].integrations[1].span) == "a.yml:10:5"
    (finding,) = parsed.findings
    assert (finding.id, str(finding.span), finding.fix) == (
        "alertmanager/unknown-receiver",
        "a.yml:4:15",
        "did you mean 'team'?",
    )


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("5", 5), ("500ms", 0.5), ("1min 30s", 90), ("1h2m", 3720), ("1.5s", 1.5), ("2 days", 172800), ("  7 us", 7e-6)],
)
def test_time_spans_are_systemds(text: str, seconds: float) -> None:
    """Units with and without blanks, decimals, and bare seconds (systemd.time(7))."""
    assert units.time_span(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "abc", "5 parsecs", "-1", "1..2", "s", "5s!"])
def test_what_is_no_time_span_is_refused(text: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(ValueError, match="time span"):
        units.time_span(text)


def test_a_unit_is_read_as_systemd_reads_it() -> None:
    """Continuations with comments between, quotes, escapes, resets, prefixes, the last of a repeated key."""
    text = """
; a comment
[Unit]
StartLimitIntervalSec=1min 30s
StartLimitBurst=3
[Service]
ExecStart=/bin/forgotten
ExecStart=
ExecStart=-@/usr/bin/thing --a="b c" 'd e' \\
    # between
    --f=\\x41%%\\" --empty=
Environment=A=1 "B=two words"
Environment=C=3
Restart=no
Restart=on-failure
RestartSec=250ms
"""
    parsed = units.parse(text, "u.service")
    assert parsed.findings == ()
    unit = parsed.value
    assert unit.argv == ("/usr/bin/thing", "--a=b c", "d e", '--f=A%"', "--empty=")
    assert unit.environment == {"A": "1", "B": "two words", "C": "3"}
    assert unit.restart == RestartPolicy(
        RestartWhen.ON_FAILURE, timedelta(milliseconds=250), burst=3, interval=timedelta(seconds=90)
    )
    assert (unit.span.line, unit.span.end_line) == (9, 11)


def test_a_unit_without_settings_has_systemds_defaults() -> None:
    """No Restart is no restart; RestartSec is 100 ms and five starts in 10 s are too many (systemd.service(5))."""
    assert units.parse("[Service]\nExecStart=/bin/x\n", "u").value.restart == RestartPolicy()


@pytest.mark.parametrize(
    ("text", "ident", "place"),
    [
        ("[Unit]\n", "unit/no-exec-start", "u:1:1"),
        ("[Service]\nExecStart=/bin/x\nRestart=allways", "unit/restart", "u:3:1"),
        ("[Service]\nExecStart=/bin/x\nRestartSec=fast", "unit/time-span", "u:3:1"),
        ("[Service]\nExecStart=/bin/x 'open", "unit/syntax", "u:2:1"),
        ("[Service]\nExecStart=/bin/x \\x00", "unit/syntax", "u:2:1"),
        ("[Service]\nnonsense\nExecStart=/bin/x", "unit/syntax", "u:2:1"),
        ("ExecStart=/bin/x", "unit/syntax", "u:1:1"),
        ("[Service]\nExecStart=/bin/x\n[Unit]\nStartLimitBurst=many", "unit/number", "u:4:1"),
        ("[Service]\nExecStart=/bin/x\nExecStart=/bin/y", "unit/exec-start-twice", "u:3:1"),
    ],
)
def test_a_wrong_unit_says_where(text: str, ident: str, place: str) -> None:
    """Each mistake in a unit has its id and its place."""
    found = {finding.id: str(finding.span) for finding in units.parse(text, "u").findings}
    assert found.get(ident) == place


def test_an_unknown_restart_is_corrected() -> None:
    """A misspelt Restart= comes with the one that was meant."""
    findings = units.parse("[Service]\nExecStart=/bin/x\nRestart=allways", "u").findings
    assert findings[0].fix == "did you mean 'always'?"


PARSERS = {
    "prometheus.yml": prometheus.parse,
    "alerts/errors.rules.yml": rules.parse,
    "alertmanager.yml": alertmanager.parse,
    "drills.yaml": drills.parse,
    "conditions.yaml": conditions.parse,
    "targets.yaml": targets.parse,
    "stack.yaml": stack.parse,
    "units/prometheus.service": units.parse,
}


@pytest.mark.parametrize("name", PARSERS)
@given(st.text(max_size=200))
@settings(max_examples=60, deadline=None)
def test_no_text_raises(name: str, text: str) -> None:
    """Arbitrary text gives findings or a value, never an exception."""
    PARSERS[name](text, name)


@pytest.mark.parametrize("name", PARSERS)
@given(st.data())
@settings(max_examples=80, deadline=None)
def test_no_damage_to_a_real_file_raises(name: str, data: st.DataObject) -> None:
    """A real file with a piece cut out, replaced or doubled gives findings or a value, never an exception."""
    text = (SHIPPED / name).read_text(encoding="utf-8")
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 60)))
    piece = data.draw(
        st.one_of(st.text(max_size=8), st.sampled_from(["{", "[", "- ", ": ", "\n", "~", "*a", "<<: 1", "&a "]))
    )
    PARSERS[name](text[:start] + piece + text[end:], name)


@pytest.mark.parametrize("name", [name for name in PARSERS if not name.startswith("units/")])
@given(st.data())
@settings(max_examples=60, deadline=None)
def test_no_value_in_the_wrong_place_raises(name: str, data: st.DataObject) -> None:
    """A real file whose values became something else (a list, nothing, a mapping) gives findings or a value."""
    lines = (SHIPPED / name).read_text(encoding="utf-8").split("\n")
    number = data.draw(st.integers(0, len(lines) - 1))
    head, colon, _ = lines[number].partition(":")
    other = data.draw(
        st.sampled_from([" [1, {a: b}]", " {a: [b]}", " ~", " 3", " yes", " ''", " 1e999", " .nan", " 2024-01-01"])
    )
    lines[number] = head + colon + other
    PARSERS[name]("\n".join(lines), name)
