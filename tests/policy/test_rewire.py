"""The copy that runs: pointed at the sandbox, different from production only where it says so."""

from __future__ import annotations

import dataclasses
import functools
import re
import subprocess
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from policy_folders import EMAIL, LANES, NOWHERE, OF_A_LANE, SHARED, SLACK, copy, loaded, sandbox

from harness.model.policy import Policies
from harness.model.stack import Artifact, Difference, ReceiverBinding
from harness.policy.rewire.rewiring import Rewiring, rewire

SANDBOX = sandbox()
BACK = {
    str(address): production for production, lanes in SANDBOX.production.items() for address in lanes.values()
}  # where an address of the copy comes from
SECRET = "hunter2"
"""What must never be shown."""


@functools.cache
def shipped() -> Policies:
    """What the project ships, loaded once."""
    return loaded().policies


def with_documents(**documents: object) -> Policies:
    """The shipped policies with other native files; a name stands for its .yml."""
    policies = shipped()
    texts = {f"{name}.yml": text if isinstance(text, str) else yaml.safe_dump(text) for name, text in documents.items()}
    return dataclasses.replace(policies, documents=MappingProxyType({**policies.documents, **texts}))


def prometheus(rewired: Rewiring) -> dict[str, Any]:
    """The copy's prometheus.yml."""
    found: dict[str, Any] = yaml.safe_load(rewired.files["prometheus.yml"])
    return found


def alertmanager(rewired: Rewiring) -> dict[str, Any]:
    """The copy's alertmanager.yml."""
    found: dict[str, Any] = yaml.safe_load(rewired.files["alertmanager.yml"])
    return found


def listed(rewired: Rewiring) -> dict[str, Difference]:
    """The differences by path."""
    return {difference.path: difference for difference in rewired.differences}


def test_every_lane_is_scraped_under_its_own_environment() -> None:
    """A component of the lanes becomes one target for each; a shared one stays one, in the lane of what is shared."""
    rewired = rewire(shipped(), SANDBOX)
    jobs = {job["job_name"]: job.get("static_configs") for job in prometheus(rewired)["scrape_configs"]}
    assert jobs["mysql"] == [
        {"targets": [str(SANDBOX.production["mysql-exporter:9104"][lane])], "labels": {"environment": lane}}
        for lane in LANES
    ]
    assert jobs["alertmanager"] == [
        {"targets": [str(SANDBOX.production["alertmanager:9093"][""])], "labels": {"environment": "shared"}}
    ]
    found = listed(rewired)
    assert found["scrape_configs[1].static_configs[0].labels.environment"].before == "production"
    assert found["scrape_configs[1].static_configs[0].targets[0]"].before == "mysql-exporter:9104"
    assert "lane-2" in found["scrape_configs[1].static_configs[0].targets[0]"].after


def test_who_is_left_out_on_purpose_is_not_looked_for() -> None:
    """A job whose component a run does without has no target; without that word it would be down all the time."""
    bare = dataclasses.replace(shipped(), left_out=frozenset({"elasticsearch-exporter:9114"}))
    [job] = [job for job in prometheus(rewire(bare, SANDBOX))["scrape_configs"] if job["job_name"] == "elasticsearch"]
    assert job["static_configs"] == []
    said = [one for one in rewire(bare, SANDBOX).differences if one.before == "elasticsearch-exporter:9114"]
    assert [(one.after, "does without" in one.why) for one in said] == [("(nothing)", True)]
    [whole] = [
        job for job in prometheus(rewire(shipped(), SANDBOX))["scrape_configs"] if job["job_name"] == "elasticsearch"
    ]
    assert len(whole["static_configs"]) == 1
    others = {job["job_name"]: job for job in prometheus(rewire(shipped(), SANDBOX))["scrape_configs"]}
    assert {job["job_name"]: job for job in prometheus(rewire(bare, SANDBOX))["scrape_configs"]} == others | {
        "elasticsearch": job
    }


def test_targets_of_both_kinds_in_one_place_are_parted() -> None:
    """Shared, laned and unknown targets of one static configuration go where each belongs."""
    static = {"targets": ["redis:6379", "elsewhere:1", "alertmanager:9093"], "labels": {"team": "a"}}
    rewired = rewire(
        with_documents(prometheus={"scrape_configs": [{"job_name": "j", "static_configs": [static]}]}), SANDBOX
    )
    redis = SANDBOX.production["redis:6379"]
    assert prometheus(rewired)["scrape_configs"][0]["static_configs"] == [
        {"targets": [str(redis["lane-1"])], "labels": {"team": "a", "environment": "lane-1"}},
        {"targets": [str(redis["lane-2"])], "labels": {"team": "a", "environment": "lane-2"}},
        {"targets": [str(NOWHERE)], "labels": {"team": "a"}},
        {
            "targets": [str(SANDBOX.production["alertmanager:9093"][""])],
            "labels": {"team": "a", "environment": "shared"},
        },
    ]


def test_alerts_go_to_the_sandbox() -> None:
    """Alertmanager's production address becomes the sandbox's."""
    alerting = prometheus(rewire(shipped(), SANDBOX))["alerting"]
    assert alerting == {
        "alertmanagers": [{"static_configs": [{"targets": [str(SANDBOX.production["alertmanager:9093"][""])]}]}]
    }


def test_a_wrong_alertmanager_address_stays_wrong(tmp_path: Path) -> None:
    """An address of no component is sent nowhere, never repaired: else the copy would hear what production does not."""
    root = copy(
        tmp_path,
        {"prometheus.yml": ("- targets: [alertmanager:9093]\n\nscrape", "- targets: [alertmanagre:9093]\n\nscrape")},
    )
    rewired = rewire(loaded(root).policies, SANDBOX)
    assert prometheus(rewired)["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"] == [str(NOWHERE)]
    difference = listed(rewired)["alerting.alertmanagers[0].static_configs[0].targets[0]"]
    assert (difference.before, difference.after) == ("alertmanagre:9093", str(NOWHERE))
    assert "nowhere" in difference.why


def test_an_alertmanager_of_a_lane_is_no_alertmanager() -> None:
    """An address that every lane has its own of cannot be where alerts of all lanes go."""
    document = {"alerting": {"alertmanagers": [{"static_configs": [{"targets": ["redis:6379"]}]}]}}
    rewired = rewire(with_documents(prometheus=document), SANDBOX)
    assert prometheus(rewired)["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"] == [str(NOWHERE)]


WILD = f"""
global: {{query_log_file: /var/log/q, scrape_interval: 2s, external_labels: {{dc: eu}}}}
scrape_config_files: [more/*.yml]
tracing: {{endpoint: traces.example.com:4317}}
remote_write:
  - url: https://user:{SECRET}@store.example.com/write
    basic_auth: {{username: u, password: {SECRET}}}
    sigv4: {{access_key: {SECRET}, secret_key: {SECRET}}}
    queue_config: {{max_shards: 3}}
remote_read: [{{url: "https://store.example.com/read", headers: {{X: {SECRET}}}}}]
scrape_configs:
  - job_name: discovered
    scheme: https
    tls_config: {{ca_file: /etc/ca.pem}}
    authorization: {{credentials: {SECRET}}}
    proxy_url: http://proxy.example.com:3128
    kubernetes_sd_configs: [{{role: pod}}]
    file_sd_configs: [{{files: [a.json]}}]
  - job_name: probed
    metrics_path: /probe
    params: {{module: [http_2xx]}}
    static_configs:
      - targets:
          - https://community-platform:5000/health
          - https://elsewhere.example.com/
          - https://prometheus:9090/-/ready
    relabel_configs:
      - {{source_labels: [__address__], target_label: __param_target}}
      - {{target_label: __address__, replacement: "alertmanager:9093"}}
      - {{target_label: __address__, replacement: "blackbox.example.com:9115"}}
      - {{target_label: __scheme__, replacement: https}}
      - {{target_label: environment, replacement: production}}
      - {{source_labels: [a], target_label: __address__, replacement: "$1:80"}}
alerting:
  alertmanagers:
    - scheme: https
      basic_auth: {{username: u, password: {SECRET}}}
      dns_sd_configs: [{{names: [am.example.com]}}]
      path_prefix: /am
"""


def test_nothing_leaves_the_machine() -> None:
    """Discovery, credentials, TLS, proxies, remote storage, traces: all of it is gone or points nowhere, and listed."""
    rewired = rewire(with_documents(prometheus=WILD), SANDBOX)
    text = rewired.files["prometheus.yml"]
    assert "example.com" not in text
    assert "https" not in text
    assert not re.search(
        r"_sd_configs|tls_config|basic_auth|authorization|proxy|sigv4|tracing|scrape_config_files|query_log", text
    )
    config = prometheus(rewired)
    assert config["remote_write"] == [{"url": f"http://{NOWHERE}/", "queue_config": {"max_shards": 3}}]
    assert config["global"] == {"scrape_interval": "2s", "external_labels": {"dc": "eu"}}
    assert config["alerting"]["alertmanagers"] == [{"path_prefix": "/am"}]
    probed = config["scrape_configs"][1]
    assert [static["targets"] for static in probed["static_configs"]] == [
        [f"http://{SANDBOX.production['community-platform:5000']['lane-1']}/health"],
        [f"http://{SANDBOX.production['community-platform:5000']['lane-2']}/health"],
        [f"http://{NOWHERE}/"],
        [f"http://{SANDBOX.production['prometheus:9090']['']}/-/ready"],
    ]
    assert [rule.get("replacement") for rule in probed["relabel_configs"]] == [
        None,
        str(SANDBOX.production["alertmanager:9093"][""]),
        str(NOWHERE),
        "http",
        "$1:80",
    ]
    paths = set(listed(rewired))
    assert {
        "tracing",
        "remote_write[0].sigv4",
        "scrape_configs[0].kubernetes_sd_configs",
        "global.query_log_file",
    } <= paths
    assert "scrape_configs[1].relabel_configs[4]" in paths


def test_what_cannot_be_taken_along_is_a_finding() -> None:
    """Targets that are found at run time are warned of where they stand."""
    found = rewire(with_documents(prometheus=WILD), SANDBOX).findings
    assert [(finding.id, finding.span.line) for finding in found] == [
        ("rewire/left-out", 3),
        ("rewire/left-out", 17),
        ("rewire/left-out", 18),
    ]


MAIL = f"""
global:
  smtp_smarthost: smtp.example.com:587
  smtp_auth_password: {SECRET}
  slack_api_url: https://hooks.example.com/{SECRET}
  opsgenie_api_key: {SECRET}
  victorops_api_key_file: /etc/alertmanager/secrets/victorops
route: {{receiver: "team a/b"}}
receivers:
  - name: team a/b
    email_configs:
      - to: x@example.com
        smarthost: other.example.com:25
        auth_password: {SECRET}
        require_tls: no
        tls_config: {{ca_file: /a}}
      - {{to: y@example.com, require_tls: true}}
    slack_configs: [{{channel: "#a", api_url: "https://hooks.example.com/{SECRET}"}}]
    pagerduty_configs: [{{routing_key: {SECRET}}}]
    webhook_configs: [{{url: "https://u:{SECRET}@hooks.example.com/{SECRET}"}}]
"""


def test_every_integration_is_bound_to_its_sink() -> None:
    """Overrides of a receiver's own are replaced too, `{receiver}` is its name; what nobody hears is taken out."""
    rewired = rewire(with_documents(alertmanager=MAIL), SANDBOX)
    (receiver,) = alertmanager(rewired)["receivers"]
    first, second = receiver["email_configs"]
    assert first == {
        "to": "x@example.com",
        "smarthost": "127.0.0.1:2525",
        "auth_password": "sandbox-password",
        "require_tls": False,
        "auth_username": "team%20a%2Fb@sandbox",
    }
    assert (second["to"], second["smarthost"], second["require_tls"]) == ("y@example.com", "127.0.0.1:2525", True)
    assert receiver["slack_configs"][0]["api_url"] == "https://127.0.0.1:8443/team%20a%2Fb/services"
    assert set(receiver) == {"name", "email_configs", "slack_configs"}
    assert alertmanager(rewired)["global"]["smtp_smarthost"] == "127.0.0.1:2525"
    assert {"receivers[0].pagerduty_configs", "receivers[0].webhook_configs"} <= set(listed(rewired))


HEARTBEAT = """
route: {receiver: heartbeat}
receivers:
  - name: heartbeat
    webhook_configs:
      - url: https://dead-mans-listener:9095/heartbeat?a=b
        http_config: {proxy_url: "http://proxy.example.com"}
        max_alerts: 3
      - url: https://hooks.example.com/push
  - name: only a stranger's
    webhook_configs: [{url: "http://redis:6379/"}]
"""
PUSH = ReceiverBinding("webhook_configs", {"url": "https://127.0.0.1:9443/{receiver}"}, secret=("url",))


def test_a_webhook_of_a_component_of_ours_calls_it() -> None:
    """The same path at the address in the sandbox, in plain HTTP; what calls anybody else is left out."""
    rewired = rewire(with_documents(alertmanager=HEARTBEAT), SANDBOX)
    first, second = alertmanager(rewired)["receivers"]
    listener = SANDBOX.production["dead-mans-listener:9095"][""]
    assert first["webhook_configs"] == [{"url": f"http://{listener}/heartbeat?a=b", "max_alerts": 3}]
    assert second == {"name": "only a stranger's"}
    found = listed(rewired)
    changed = found["receivers[0].webhook_configs[0].url"]
    assert changed.before == "https://dead-mans-listener:9095/heartbeat?a=b"
    assert changed.after == f"http://{listener}/heartbeat?a=b"
    assert "receivers[0].webhook_configs[0].http_config" in found
    assert found["receivers[0].webhook_configs[1]"].after == "(nothing)"
    assert "example.com" not in rewired.files["alertmanager.yml"]


def test_a_webhook_of_somebody_else_is_a_channels() -> None:
    """Where a channel serves webhooks, it hears those that call no component; heartbeats still go to the listener."""
    bound = dataclasses.replace(SANDBOX, bindings=(PUSH,))
    first, second = alertmanager(rewire(with_documents(alertmanager=HEARTBEAT), bound))["receivers"]
    listener = SANDBOX.production["dead-mans-listener:9095"][""]
    assert [one["url"] for one in first["webhook_configs"]] == [
        f"http://{listener}/heartbeat?a=b",
        "https://127.0.0.1:9443/heartbeat",
    ]
    # Every lane has a redis of its own: nobody could say which one is called, so it is none of ours.
    assert second["webhook_configs"] == [{"url": "https://127.0.0.1:9443/only%20a%20stranger%27s"}]


def test_no_secret_is_listed() -> None:
    """Neither production's secrets nor the sandbox's stand in a difference; paths of secret files do."""
    both = rewire(with_documents(prometheus=WILD, alertmanager=MAIL), SANDBOX).differences
    text = "\n".join(f"{d.before} {d.after}" for d in both)
    assert SECRET not in text
    assert "sandbox-password" not in text
    assert "127.0.0.1:8443" not in text
    assert "<redacted>" in text
    whole = rewire(shipped(), SANDBOX)
    assert listed(whole)["global.smtp_auth_password_file"].before == "/etc/alertmanager/secrets/smtp-password"


def test_no_secret_of_production_is_in_the_copy() -> None:
    """The copy is kept with the run and sent around: what integrations without a sink would use is left out of it."""
    rewired = rewire(with_documents(prometheus=WILD, alertmanager=MAIL), SANDBOX)
    assert not [name for name, text in rewired.files.items() if SECRET in text]
    assert listed(rewired)["global.opsgenie_api_key"].before == "<redacted>"
    world = alertmanager(rewired)["global"]
    assert world["victorops_api_key_file"] == "/etc/alertmanager/secrets/victorops"
    assert world["smtp_auth_password"] == "sandbox-password"


def test_a_setting_that_is_a_truth_value_is_written_as_one() -> None:
    """Alertmanager refuses the text "false" where it wants false."""
    binding = dataclasses.replace(EMAIL, settings={"require_tls": "false"})
    bound = dataclasses.replace(SANDBOX, bindings=(binding, SLACK))
    assert alertmanager(rewire(shipped(), bound))["receivers"][0]["email_configs"][0]["require_tls"] is False


def test_rules_and_templates_are_copied_byte_for_byte() -> None:
    """What is not addressed is not touched; in place of a target file the copy has one for each lane."""
    policies = shipped()
    files = rewire(policies, SANDBOX).files
    assert set(policies.documents) - set(files) == {"targets/community-platform.yml"}
    assert set(files) - set(policies.documents) == {f"targets/community-platform.{lane}.yml" for lane in LANES}
    for name in (*policies.rule_files, *policies.template_files):
        assert files[name] == policies.documents[name] == (policies.root / name).read_text(encoding="utf-8")


def test_the_users_files_are_never_written(tmp_path: Path) -> None:
    """Loading and rewiring leave every byte and every time stamp as they were."""
    root = copy(tmp_path)

    def state() -> dict[str, tuple[bytes, int]]:
        return {str(p): (p.read_bytes(), p.stat().st_mtime_ns) for p in sorted(root.rglob("*")) if p.is_file()}

    before = state()
    rewire(loaded(root).policies, SANDBOX)
    assert state() == before


# --- the copy differs from the original only where it says so ------------------------------------------------------


def leaves(value: object, path: str = "") -> dict[str, object]:
    """Every single value of a document by its path."""
    if isinstance(value, dict) and value:
        return {
            k: v for key, item in value.items() for k, v in leaves(item, f"{path}.{key}" if path else str(key)).items()
        }
    if isinstance(value, list) and value:
        return {k: v for index, item in enumerate(value) for k, v in leaves(item, f"{path}[{index}]").items()}
    return {path: value}


def unlisted(before: object, after: object, paths: set[str]) -> set[str]:
    """The paths of values that differ and that no listed path covers."""
    old, new = leaves(before), leaves(after)
    differing = {path for path in old.keys() | new.keys() if old.get(path, ...) != new.get(path, ...)}
    # A collection that was emptied or first filled shows up as a value at its own path.
    return {
        path
        for path in differing
        if not any(
            path == known or path.startswith((f"{known}.", f"{known}[")) or known.startswith((f"{path}.", f"{path}["))
            for known in paths
        )
    }


def targets(job: Mapping[str, Any]) -> Counter[tuple[str, str, frozenset[tuple[str, str]]]]:
    """Every target of a job: address, environment, its other labels."""
    found: Counter[tuple[str, str, frozenset[tuple[str, str]]]] = Counter()
    for static in job.get("static_configs") or ():
        labels = dict(static.get("labels") or {})
        environment = labels.pop("environment", "")
        found.update((target, environment, frozenset(labels.items())) for target in static.get("targets") or ())
    return found


def expected(job: Mapping[str, Any]) -> Counter[tuple[str, str, frozenset[tuple[str, str]]]]:
    """What the copy must scrape for a job of production, told anew.

    What is laned once in every lane, what is shared once in the lane of that name, the rest nowhere.
    """
    found: Counter[tuple[str, str, frozenset[tuple[str, str]]]] = Counter()
    for (target, environment, labels), count in targets(job).items():
        places = SANDBOX.production.get(target)
        if places is None:
            found[(str(NOWHERE), environment, labels)] += count
        for lane, address in (places or {}).items():
            found[(str(address), lane or "shared", labels)] += count
    return found


_words = st.text(st.sampled_from("abcéx-_ 1:#"), min_size=1, max_size=6)
_scalars = st.one_of(
    _words, st.booleans(), st.integers(-3, 70), st.sampled_from(["5m", "0x1f", "1_000", "yes", "~", "1e3", "12:30"])
)
_labels = st.dictionaries(st.sampled_from(["environment", "team", "dc"]), _words, max_size=3)
_static = st.fixed_dictionaries(
    {"targets": st.lists(st.sampled_from([*SHARED, *OF_A_LANE, "elsewhere:1"]), max_size=4)},
    optional={"labels": _labels},
)
_job = st.fixed_dictionaries(
    {"job_name": _words, "static_configs": st.lists(_static, max_size=3)},
    optional={
        "honor_labels": st.booleans(),
        "metrics_path": _words,
        "scheme": st.sampled_from(["http", "https"]),
        "basic_auth": st.fixed_dictionaries({"password": st.just(SECRET)}),
        "params": st.dictionaries(_words, st.lists(_words, max_size=2), max_size=2),
        "dns_sd_configs": st.just([{"names": ["a"]}]),
        "relabel_configs": st.lists(
            st.fixed_dictionaries(
                {
                    "target_label": st.sampled_from(["x", "__address__"]),
                    "replacement": st.sampled_from(["redis:6379", *SHARED, "$1"]),
                }
            ),
            max_size=2,
        ),
    },
)
_prometheus = st.fixed_dictionaries(
    {"scrape_configs": st.lists(_job, max_size=4)},
    optional={
        "global": st.dictionaries(st.sampled_from(["scrape_interval", "query_log_file"]), _scalars, max_size=2),
        "remote_write": st.lists(st.fixed_dictionaries({"url": _words}, optional={"name": _words}), max_size=2),
        "storage": st.dictionaries(_words, _scalars, max_size=3),
        "alerting": st.fixed_dictionaries(
            {
                "alertmanagers": st.lists(
                    st.fixed_dictionaries({"static_configs": st.lists(_static, max_size=2)}), max_size=2
                )
            }
        ),
    },
)


@given(_prometheus)
@settings(max_examples=150, deadline=None)
def test_prometheus_yml_differs_only_where_it_says_so(document: dict[str, Any]) -> None:
    """Beside the targets, which must be exactly those of the lanes, every changed value is at a listed path."""
    rewired = rewire(with_documents(prometheus=document), SANDBOX)
    after = prometheus(rewired)
    for old, new in zip(document["scrape_configs"], after["scrape_configs"], strict=True):
        assert targets(new) == expected(old)
    paths = set(listed(rewired))
    for number, job in enumerate(document["scrape_configs"]):
        for index, static in enumerate(job["static_configs"]):
            for place, _ in enumerate(static["targets"]):
                assert f"scrape_configs[{number}].static_configs[{index}].targets[{place}]" in paths
    for side in (document, after):
        for job in side["scrape_configs"]:
            del job["static_configs"]
    assert unlisted(document, after, paths) == set()


_integration = st.dictionaries(
    st.sampled_from(["to", "text", "smarthost", "auth_password_file", "send_resolved", "api_url"]), _scalars, max_size=4
)


def _webhook(urls: list[str]) -> st.SearchStrategy[dict[str, Any]]:
    """A webhook that calls one of these."""
    return st.fixed_dictionaries(
        {"url": st.sampled_from(urls)},
        optional={"http_config": st.just({"a": "b"}), "send_resolved": _scalars},
    )


_receiver = st.fixed_dictionaries(
    {"name": _words},
    optional={
        **{key: st.lists(_integration, max_size=2) for key in ("email_configs", "slack_configs", "pagerduty_configs")},
        # Of ours or of strangers: where both are in one list, those that stay move up, and paths are the original's.
        "webhook_configs": st.one_of(
            st.lists(_webhook(["http://dead-mans-listener:9095/heartbeat"]), max_size=2),
            st.lists(_webhook(["http://[", "https://a.b/c"]), max_size=2),
        ),
    },
)
_alertmanager = st.fixed_dictionaries(
    {"receivers": st.lists(_receiver, max_size=3), "route": st.dictionaries(_words, _scalars, max_size=3)},
    optional={
        "global": st.dictionaries(
            st.sampled_from(["smtp_from", "smtp_smarthost", "resolve_timeout"]), _scalars, max_size=3
        )
    },
)


@given(_alertmanager)
@settings(max_examples=150, deadline=None)
def test_alertmanager_yml_differs_only_where_it_says_so(document: dict[str, Any]) -> None:
    """Every changed value of alertmanager.yml is at a listed path."""
    rewired = rewire(with_documents(alertmanager=document), SANDBOX)
    assert unlisted(document, alertmanager(rewired), set(listed(rewired))) == set()


def test_the_property_can_fail() -> None:
    """The judge of the two properties above sees a change that nobody listed."""
    assert unlisted({"a": [{"b": 1}]}, {"a": [{"b": 2}]}, {"a[0].c"}) == {"a[0].b"}
    assert unlisted({"a": [{"b": 1}]}, {"a": [{"b": 2}]}, {"a[0].b"}) == set()


def test_odd_spellings_survive() -> None:
    """Values keep the spelling of the original: Prometheus reads `0x1f`, `yes` and `12:30` by its own rules."""
    spelt = "a: 0x1f, b: yes, c: 12:30, d: '12', e: ~, f: 1_0, g: 2024-01-01"
    text = f'scrape_configs: []\nglobal: {{{spelt}, h: "é\\u2028"}}\n'
    rewired = rewire(with_documents(prometheus=text), SANDBOX)
    for spelling in spelt.split(", "):
        assert spelling in rewired.files["prometheus.yml"]
    assert prometheus(rewired)["global"]["h"] == "é\u2028"


@pytest.mark.stack
def test_the_copy_is_accepted(tmp_path: Path, artifacts: Mapping[str, Artifact]) -> None:
    """Promtool and amtool accept the copy."""
    rewired = rewire(shipped(), SANDBOX)
    for name, text in rewired.files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    promtool, amtool = artifacts["prometheus"].programs["promtool"], artifacts["alertmanager"].programs["amtool"]
    for command in (
        [promtool, "check", "config", "prometheus.yml"],
        [amtool, "check-config", "alertmanager.yml"],
    ):
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "WARN" not in done.stdout + done.stderr
