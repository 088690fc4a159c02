"""Recorder and hops between a real Prometheus and a real Alertmanager: one alert, seen at every hop."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import ClientSession, web

from harness.model.events import Payload
from harness.model.notifications import AlertReceived
from harness.model.stack import Address, Artifact
from harness.observe.hops import read_hops
from harness.observe.recorder import Recorder

pytestmark = pytest.mark.stack

SCRAPE_SECONDS = 0.25
HOLD_SECONDS = 1.0


@dataclass
class Exporter:
    """An application in two lanes whose error ratio the test sets."""

    ratios: dict[str, float] = field(default_factory=lambda: {"lane-1": 0.0, "lane-2": 0.0})
    scraped: asyncio.Queue[float] = field(default_factory=asyncio.Queue)

    async def metrics(self, _: web.Request) -> web.Response:
        """The two samples."""
        self.scraped.put_nowait(time.time())
        lines = [f'errors_ratio{{environment="{lane}"}} {ratio}\n' for lane, ratio in self.ratios.items()]
        return web.Response(text="".join(lines))

    async def scrapes(self, count: int) -> None:
        """Waits until it was scraped that often from now on."""
        while not self.scraped.empty():
            self.scraped.get_nowait()
        for _ in range(count):
            await self.scraped.get()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[Address]:
        """Listens on loopback until it is left."""
        app = web.Application()
        app.router.add_get("/metrics", self.metrics)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            yield Address("127.0.0.1", runner.addresses[0][1])
        finally:
            await runner.cleanup()


def free_address() -> Address:
    """A port that is free now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return Address("127.0.0.1", free.getsockname()[1])


@asynccontextmanager
async def running(artifact: Artifact, program: str, log: Path, *arguments: str) -> AsyncIterator[None]:
    """A component while it is entered."""
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            artifact.programs[program], *arguments, env=dict(artifact.environment), stdout=output, stderr=output
        )
        try:
            yield
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


async def sent(session: ClientSession, prometheus: Address) -> float:
    """How many alerts Prometheus says that it posted."""
    async with session.get(f"http://{prometheus}/metrics") as answer:
        lines = (await answer.text()).splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("prometheus_notifications_sent_total"))


async def test_one_alert_is_seen_at_every_hop(tmp_path: Path, artifacts: Mapping[str, Artifact]) -> None:
    """The hops come in their order with their distances, resends are recorded once, the other lane stays apart."""
    exporter = Exporter()
    events: list[Payload] = []
    arrived = asyncio.Event()

    def write(event: Payload) -> None:
        events.append(event)
        if isinstance(event, AlertReceived):
            arrived.set()

    upstream, prometheus = free_address(), free_address()
    (tmp_path / "alertmanager.yml").write_text("route: {receiver: nobody}\nreceivers: [{name: nobody}]\n")
    rule = {
        "alert": "HighErrorRate",
        "expr": "errors_ratio >= 0.05",
        "for": "1s",
        "annotations": {"summary": "Every {{ $value | humanizePercentage }} of the requests fail"},
    }
    (tmp_path / "errors.rules.yml").write_text(json.dumps({"groups": [{"name": "errors", "rules": [rule]}]}))
    async with (
        asyncio.timeout(60),
        exporter.listening() as target,
        Recorder.open(upstream, write) as recorder,
        ClientSession() as session,
    ):
        configuration = {
            "global": {"scrape_interval": "250ms", "scrape_timeout": "250ms", "evaluation_interval": "250ms"},
            "rule_files": ["errors.rules.yml"],
            "alerting": {"alertmanagers": [{"static_configs": [{"targets": [str(recorder.address)]}]}]},
            "scrape_configs": [{"job_name": "app", "static_configs": [{"targets": [str(target)]}]}],
        }
        (tmp_path / "prometheus.yml").write_text(json.dumps(configuration))
        async with (
            running(
                artifacts["alertmanager"],
                "alertmanager",
                tmp_path / "alertmanager.log",
                f"--config.file={tmp_path}/alertmanager.yml",
                f"--storage.path={tmp_path}/alertmanager",
                f"--web.listen-address={upstream}",
                "--cluster.listen-address=",
            ),
            running(
                artifacts["prometheus"],
                "prometheus",
                tmp_path / "prometheus.log",
                f"--config.file={tmp_path}/prometheus.yml",
                f"--storage.tsdb.path={tmp_path}/tsdb",
                f"--web.listen-address={prometheus}",
                "--rules.alert.resend-delay=500ms",
            ),
        ):
            await exporter.scrapes(3)
            exporter.ratios["lane-1"] = 0.2
            t0 = time.time()
            await arrived.wait()
            await exporter.scrapes(8)
            assert await sent(session, prometheus) >= 3, "Prometheus was to send the alert again meanwhile"
            readings = {
                lane: await read_hops(
                    prometheus,
                    injection="i-1",
                    alert="HighErrorRate",
                    lane=lane,
                    selectors=("errors_ratio",),
                    since_wall=t0,
                    until_wall=time.time(),
                )
                for lane in exporter.ratios
            }
            async with session.get(f"http://{upstream}/api/v2/alerts") as answer:
                held = [alert["labels"] for alert in await answer.json()]

    assert {lane: reading.error for lane, reading in readings.items()} == {"lane-1": "", "lane-2": ""}
    at = {hop.hop: hop.at for hop in readings["lane-1"].hops}
    assert list(at) == ["visible", "pending", "firing"]
    (received,) = [event.alert for event in events if isinstance(event, AlertReceived)]
    assert t0 <= at["visible"] <= at["pending"] < at["firing"] <= received.received.wall
    # Generous above, because a shared machine may lose a scrape; exact below, because nothing can be earlier.
    assert at["visible"] - t0 < SCRAPE_SECONDS + 1
    assert HOLD_SECONDS <= at["firing"] - at["pending"] + 0.001 < HOLD_SECONDS + 1
    assert received.starts_at == pytest.approx(at["firing"], abs=0.002)
    assert received.labels["environment"] == "lane-1"
    assert not received.resolved
    assert [hop.hop for hop in readings["lane-2"].hops] == ["visible"]
    assert held == [dict(received.labels)]
