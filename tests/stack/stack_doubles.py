"""Policies, units and small servers that the tests of the stack are made of."""

from __future__ import annotations

import asyncio
import shlex
import sys
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from pathlib import Path

from harness.model.policy import ComponentPolicy, Policies, RestartPolicy, RestartWhen, Unit
from harness.model.source import Span

HERE = Span("policies/components.yaml", 1, 1, 1, 1)

SERVER = """
import http.server, os, signal, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/health" else 404)
        self.end_headers()
    def log_message(self, *_): pass
if "deaf" in sys.argv: signal.signal(signal.SIGTERM, signal.SIG_IGN)
if "child" in sys.argv and os.fork() == 0:
    while True: signal.pause()
if "stray" in sys.argv and os.fork() == 0:
    os.setsid()
    while True: signal.pause()
if "dies" in sys.argv: sys.exit("no " + "such table")
if "late" in sys.argv:
    while True: signal.pause()
host, port = os.environ["LISTEN"].split(":")
print("listening", flush=True)
http.server.ThreadingHTTPServer.allow_reuse_address = "plain" not in sys.argv
http.server.ThreadingHTTPServer((host, int(port)), Handler).serve_forever()
"""
"""A server as a team might bring it: `/health` answers 200. Its words: deaf to SIGTERM, with a child in its group, with
one that left it (stray), dies at once, never listens (late), plain (without SO_REUSEADDR)."""


async def until(condition: Callable[[], object], within_seconds: float = 5) -> None:
    """Waits until a condition holds."""
    async with asyncio.timeout(within_seconds):
        while not condition():  # noqa: ASYNC110 - what is watched knows nothing of us
            await asyncio.sleep(0.005)


def unit(exec_start: str, environment: Mapping[str, str] | None = None, restart: RestartPolicy | None = None) -> Unit:
    """A unit of production."""
    quick = RestartPolicy(RestartWhen.ALWAYS, timedelta(milliseconds=20), burst=5, interval=timedelta(seconds=10))
    return Unit(
        "policies/units/some.service", tuple(shlex.split(exec_start)), environment or {}, restart or quick, HERE
    )


def component(
    name: str,
    kind: str,
    exec_start: str | None = None,
    *,
    per_lane: bool = True,
    port: int = 1,
    command: Iterable[str] = (),
    restart: RestartPolicy | None = None,
) -> ComponentPolicy:
    """A component of a policy."""
    made = unit(exec_start, restart=restart) if exec_start else None
    return ComponentPolicy(name, kind, (f"{name}:{port}",), made, per_lane, HERE, tuple(command))


def server(name: str, *words: str, per_lane: bool = True, restart: RestartPolicy | None = None) -> ComponentPolicy:
    """A small server in the place of the subject."""
    command = (sys.executable, "-c", SERVER, *words)
    return component(name, "subject", f"/srv/{name}", per_lane=per_lane, command=command, restart=restart)


def policies(*components: ComponentPolicy, root: Path = Path("policies")) -> Policies:
    """Policies that name these components and nothing else."""
    return Policies(
        root=root,
        prometheus_file="prometheus.yml",
        alertmanager_file="alertmanager.yml",
        rule_files=(),
        template_files=(),
        documents={},
        alerts=(),
        receivers=(),
        priorities={},
        drills=(),
        not_drilled=(),
        targets=(),
        components=components,
        scrape_intervals={},
        evaluation_interval=timedelta(seconds=1),
        dead_man_file="dead-man.yaml",
    )


INFRASTRUCTURE = (
    component(
        "prometheus",
        "prometheus",
        "/usr/bin/prometheus --config.file=/etc/prometheus/prometheus.yml --storage.tsdb.retention.time=90d "
        "--rules.alert.resend-delay=5s",
        per_lane=False,
        port=9090,
    ),
    component(
        "alertmanager",
        "alertmanager",
        "/usr/bin/alertmanager --config.file=/etc/alertmanager/alertmanager.yml --data.maintenance-interval=5s",
        per_lane=False,
        port=9093,
    ),
    component("node-exporter", "node-exporter", "/usr/bin/node_exporter", per_lane=False, port=9100),
    component("mysql", "mariadb", "/usr/sbin/mariadbd --max-connections=60 --slow-query-log", port=3306),
    component("redis", "redis", "/usr/bin/redis-server /etc/redis/redis.conf --supervised systemd", port=6379),
    component("mysql-exporter", "mysqld-exporter", "/usr/bin/mysqld_exporter --web.listen-address=:9104", port=9104),
    component("redis-exporter", "redis-exporter", "/usr/bin/redis_exporter", port=9121),
)
"""The infrastructure of the plan: three shared components, four in each lane."""
