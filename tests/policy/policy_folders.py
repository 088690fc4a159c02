"""Policies folders for tests: the shipped one, copies of it that something was done to, and the sandbox to point at."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from harness.model.stack import Address, ReceiverBinding, Sandbox
from harness.policy.parse.policies import Loaded, load

SHIPPED = Path(__file__).parents[2] / "policies"

FAULTS = frozenset(
    {
        "alertmanager-crashed",
        "alertmanager-down",
        "cache-cold",
        "cache-killed",
        "comments-unreadable",
        "connections-exhausted",
        "database-half-open",
        "database-killed",
        "database-refused",
        "database-reset",
        "database-slow",
        "disk-filled",
        "exporter-crashed",
        "exporter-killed",
        "heap-filled",
        "heartbeat-refused",
        "host-cpu-busy",
        "host-memory-full",
        "host-memory-high",
        "listener-crashed",
        "login-burst",
        "logs-not-shipped",
        "mail-hanging",
        "mail-refusing-content",
        "mail-refusing-recipient",
        "network-flood",
        "posts-index-missing",
        "posts-locked",
        "posts-table-missing",
        "prometheus-crashed",
        "prometheus-frozen",
        "receiver-erroring",
        "receiver-hanging",
        "receiver-throttling",
        "reload-broken",
        "scrapes-lost",
        "server-frozen",
        "server-killed",
        "target-withdrawn",
    }
)
CHANNELS: Mapping[str, str] = {
    "email": "email_configs",
    "sms": "sns_configs",
    "slack": "slack_configs",
    "discord": "discord_configs",
    "push": "webhook_configs",
}
KINDS = frozenset(
    {
        "alertmanager",
        "clickhouse",
        "dead-mans-listener",
        "elasticsearch",
        "elasticsearch-exporter",
        "emitter",
        "event-collector",
        "filebeat",
        "influxdb",
        "mariadb",
        "mysqld-exporter",
        "nginx",
        "node-exporter",
        "prometheus",
        "redis",
        "redis-exporter",
        "subject",
    }
)

LANES = ("lane-1", "lane-2")
SHARED = (
    "prometheus:9090",
    "alertmanager:9093",
    "dead-mans-listener:9095",
    "filebeat:5066",
    "elasticsearch:9200",
    "elasticsearch-exporter:9114",
    "event-collector:8088",
    "clickhouse:8123",
    "influxdb:8086",
    "system:5140",
)
OF_A_LANE = (
    "node-exporter:9100",
    "community-platform:5000",
    "mysql:3306",
    "redis:6379",
    "mysql-exporter:9104",
    "redis-exporter:9121",
    "nginx:80",
)
NOWHERE = Address("127.0.0.1", 9)

EMAIL = ReceiverBinding(
    key="email_configs",
    settings={
        "smarthost": "127.0.0.1:2525",
        "auth_username": "{receiver}@sandbox",
        "auth_password": "sandbox-password",
    },
    dropped=("auth_password_file", "tls_config"),
    global_settings={"smtp_smarthost": "127.0.0.1:2525", "smtp_auth_password": "sandbox-password"},
    global_dropped=("smtp_auth_password_file",),
    secret=("auth_password", "smtp_auth_password"),
)
SLACK = ReceiverBinding(
    key="slack_configs",
    settings={"api_url": "https://127.0.0.1:8443/{receiver}/services"},
    dropped=("api_url_file",),
    global_settings=None,
    global_dropped=("slack_api_url_file",),
    secret=("api_url",),
)


def loaded(root: Path = SHIPPED) -> Loaded:
    """A folder, loaded with what the harness can do."""
    return load(root, faults=FAULTS, channels=CHANNELS, components=KINDS)


def copy(to: Path, edits: Mapping[str, tuple[str, str] | str | None] | None = None) -> Path:
    """The shipped folder, copied; each edit replaces a text in a file, writes a whole file, or (None) removes it."""
    root = to / "policies"
    shutil.copytree(SHIPPED, root)
    for name, edit in (edits or {}).items():
        path = root / name
        if edit is None:
            path.unlink()
        elif isinstance(edit, str):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(edit, encoding="utf-8")
        else:
            before, after = edit
            text = path.read_text(encoding="utf-8")
            assert before in text, f"{name} does not contain {before!r}"
            path.write_text(text.replace(before, after), encoding="utf-8")
    return root


def sandbox(lanes: tuple[str, ...] = LANES) -> Sandbox:
    """A sandbox that serves every address of the shipped policies."""
    production: dict[str, dict[str, Address]] = {}
    port = 20000
    for address in SHARED:
        port += 1
        production[address] = {"": Address("127.0.0.1", port)}
    for address in OF_A_LANE:
        production[address] = {}
        for lane in lanes:
            port += 1
            production[address][lane] = Address("127.0.0.1", port)
    logs = {name: {lane: f"/sandbox/{name}.{lane}/logs" for lane in lanes} for name in ("community-platform", "nginx")}
    logs["system"] = {"": "/sandbox/system/logs"}
    return Sandbox(lanes=lanes, production=production, nowhere=NOWHERE, bindings=(EMAIL, SLACK), logs=logs)
