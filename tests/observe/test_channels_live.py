"""The channels as a real Alertmanager uses them: TLS verified, firing and resolved, its own templates and ours."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import pytest
import yaml

from harness.model.events import Payload, SinkRefused
from harness.model.notifications import Notification, ReceivedAlert, Status
from harness.model.stack import Artifact, ReceiverBinding
from harness.model.time import Instant
from harness.observe.certificates import write_certificate
from harness.observe.channels.registry import CHANNELS
from harness.observe.content import complaints
from harness.observe.inbox import Inbox

pytestmark = pytest.mark.stack

BOTH = ("email", "slack")
READY_SECONDS = 20
HEARD_SECONDS = 20
DEAF_SECONDS = 2.5

OWN_TITLE = "[{{ .Status | toUpper }}] {{ .CommonLabels.alertname }} {{ .CommonLabels.environment }}"
OWN_TEXT = (
    "{{ range .Alerts }}severity: {{ .Labels.severity }}\n*{{ .Annotations.summary }}*\n"
    "{{ .Annotations.description }}\n<{{ .Annotations.runbook_url }}|runbook>\n{{ end }}"
)
OWN_HTML = (
    "<html><body>{{ range .Alerts }}<h2>{{ .Annotations.summary }}</h2><p>severity: {{ .Labels.severity }}<br>"
    '{{ .Annotations.description }}</p><a href="{{ .Annotations.runbook_url }}">runbook</a>{{ end }}</body></html>'
)
LABELS = {"alertname": "HighErrorRatio", "environment": "lane-1", "severity": "critical"}
ANNOTATIONS = {
    "summary": "5.4% of requests fail in lane-1 — über dem Ziel",
    "description": 'more than 5 % & "rising", <5 min',
    "runbook_url": "https://runbooks.example.org/errors?a=1&b=2",
}


@dataclass(frozen=True)
class Live:
    """A running Alertmanager, the inbox behind it, and what was written."""

    url: str
    inbox: Inbox
    written: list[Payload]
    wrote: asyncio.Event

    async def arrived(self, count: int) -> None:
        """Waits until so many messages have arrived."""
        async with asyncio.timeout(HEARD_SECONDS):
            while len(self.inbox.notifications) < count:
                self.wrote.clear()
                await self.wrote.wait()

    async def post(self, **labels: str) -> None:
        """Hands Alertmanager the alert, firing."""
        await self._post(labels, ends_at=None)

    async def resolve(self, **labels: str) -> None:
        """Hands Alertmanager the alert, over."""
        await self._post(labels, ends_at=datetime.now(UTC).isoformat())

    async def _post(self, labels: Mapping[str, str], ends_at: str | None) -> None:
        alert = {"labels": {**LABELS, **labels}, "annotations": ANNOTATIONS, "generatorURL": "http://prometheus/graph"}
        if ends_at is not None:
            alert["endsAt"] = ends_at
        async with (
            aiohttp.ClientSession() as client,
            client.post(f"{self.url}/api/v2/alerts", json=[alert]) as answer,
        ):
            assert answer.status == 200, await answer.text()

    async def heard(self, status: Status, *, seconds: float = HEARD_SECONDS) -> frozenset[str]:
        """Who heard of it."""
        return await self.inbox.heard("HighErrorRatio", "lane-1", BOTH, status, 0.0, time.monotonic() + seconds)

    def message(self, channel: str, receiver: str, status: Status) -> Notification:
        """The one message of this receiver that says this."""
        (found,) = (
            message
            for message in self.inbox.notifications
            if (message.channel, message.receiver, message.status) == (channel, receiver, status)
        )
        return found

    def refusals(self) -> list[str]:
        """Why sinks refused."""
        return [event.why for event in self.written if isinstance(event, SinkRefused)]


def configuration(bindings: Mapping[str, ReceiverBinding], **globally: object) -> str:
    """A small alertmanager.yml: a receiver with Alertmanager's own templates and one with ours, both always told."""

    def integration(key: str, receiver: str, own: Mapping[str, object]) -> dict[str, object]:
        settings = {name: value.replace("{receiver}", receiver) for name, value in bindings[key].settings.items()}
        return {**own, **settings, "send_resolved": True}

    def receiver(name: str, email: Mapping[str, object], slack: Mapping[str, object]) -> dict[str, object]:
        return {
            "name": name,
            "email_configs": [integration("email_configs", name, {"to": "oncall@example.org", **email})],
            "slack_configs": [integration("slack_configs", name, {"channel": "#alerts", **slack})],
        }

    settings = {name: value for binding in bindings.values() for name, value in (binding.global_settings or {}).items()}
    return yaml.safe_dump(
        {
            "global": {"smtp_from": "alerts@example.org", **settings, **globally},
            "route": {
                "receiver": "own",
                "group_by": ["alertname", "environment"],
                "group_wait": "100ms",
                "group_interval": "300ms",
                "repeat_interval": "1h",
                "routes": [{"receiver": "default", "continue": True}, {"receiver": "own"}],
            },
            "receivers": [
                receiver("default", {}, {}),
                receiver(
                    "own",
                    {"headers": {"Subject": OWN_TITLE}, "html": OWN_HTML},
                    {"title": OWN_TITLE, "text": OWN_TEXT},
                ),
            ],
        },
        allow_unicode=True,
    )


@asynccontextmanager
async def alertmanager(program: str, folder: Path, *, trusting: bool = True, **globally: object) -> AsyncIterator[Live]:
    """A real Alertmanager that sends to both sinks; without trust it has the machine's own authorities only."""
    certificate = write_certificate(folder / "certificates")
    written: list[Payload] = []
    wrote = asyncio.Event()

    def write(event: Payload) -> None:
        written.append(event)
        asyncio.get_running_loop().call_soon(wrote.set)

    inbox = Inbox(write, CHANNELS)
    async with AsyncExitStack() as stack:
        sinks = [
            await stack.enter_async_context(channel.open(certificate, inbox.deliver, inbox.refuse))
            for channel in CHANNELS
        ]
        config = folder / "alertmanager.yml"
        config.write_text(configuration({sink.binding.key: sink.binding for sink in sinks}, **globally))
        with socket.create_server(("127.0.0.1", 0)) as free:
            address = f"127.0.0.1:{free.getsockname()[1]}"
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SSL_CERT")}
        if trusting:
            environment["SSL_CERT_FILE"] = str(certificate.authority)
        log = stack.enter_context((folder / "alertmanager.log").open("w"))
        process = await asyncio.create_subprocess_exec(
            program,
            f"--config.file={config}",
            f"--storage.path={folder / 'data'}",
            f"--web.listen-address={address}",
            "--cluster.listen-address=",
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=log,
        )
        try:
            await ready(f"http://{address}/-/ready", process, folder / "alertmanager.log")
            yield Live(f"http://{address}", inbox, written, wrote)
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


async def ready(url: str, process: asyncio.subprocess.Process, log: Path) -> None:
    """Waits until Alertmanager answers."""
    async with asyncio.timeout(READY_SECONDS), aiohttp.ClientSession() as client:
        while True:
            assert process.returncode is None, log.read_text()
            with contextlib.suppress(aiohttp.ClientConnectionError):
                async with client.get(url) as answer:
                    if answer.status == 200:
                        return
            await asyncio.sleep(0.02)


@pytest.fixture(scope="module")
def program(artifacts: Mapping[str, Artifact]) -> str:
    """Alertmanager's binary."""
    return artifacts["alertmanager"].programs["alertmanager"]


def handed() -> list[ReceivedAlert]:
    """What Alertmanager was handed."""
    return [ReceivedAlert(LABELS, ANNOTATIONS, time.time(), None, Instant.now())]


async def test_firing_and_resolved_are_read_in_both_channels(program: str, tmp_path: Path) -> None:
    """Both channels hear both, with the certificate checked; a whole template is whole, a poor one is complained of."""
    async with alertmanager(program, tmp_path) as live:
        await live.post()
        assert await live.heard(Status.FIRING) == set(BOTH)
        await live.resolve()
        assert await live.heard(Status.RESOLVED) == set(BOTH)
        await live.arrived(8)
        assert live.refusals() == []
        for status in (Status.FIRING, Status.RESOLVED):
            for channel in BOTH:
                assert complaints(live.message(channel, "own", status), handed()) == ()
            # Alertmanager's own mail template carries everything, its own Slack template has no text.
            assert complaints(live.message("email", "default", status), handed()) == ()
            told = complaints(live.message("slack", "default", status), handed())
            assert [sentence.split(" is missing")[0] for sentence in told] == [
                "the summary of HighErrorRatio (lane-1)",
                "the description of HighErrorRatio (lane-1)",
                "the runbook of HighErrorRatio (lane-1)",
            ]
        assert live.message("email", "own", Status.FIRING).marks["recipients"] == "oncall@example.org"
        assert live.message("slack", "own", Status.FIRING).marks["channel"] == "#alerts"
        assert len({message.id for message in live.inbox.notifications}) == 8


async def test_without_the_authority_nobody_hears(program: str, tmp_path: Path) -> None:
    """The twin: Alertmanager checks certificates, so without the sandbox's authority both channels stay silent."""
    async with alertmanager(program, tmp_path, trusting=False) as live:
        await live.post()
        assert await live.heard(Status.FIRING, seconds=DEAF_SECONDS) == frozenset()
        assert live.refusals()
        assert all("does not trust the sandbox's authority" in why for why in live.refusals())
        told = [event.channel for event in live.written if isinstance(event, SinkRefused)]
        assert set(told) == set(BOTH)


async def test_a_policy_that_sends_in_the_clear_loses_its_mail(program: str, tmp_path: Path) -> None:
    """`require_tls: false` is not repaired: Slack hears, the mail is refused and the reason is told."""
    async with alertmanager(program, tmp_path, smtp_require_tls=False) as live:
        await live.post()
        assert await live.heard(Status.FIRING, seconds=DEAF_SECONDS) == {"slack"}
        assert any("without STARTTLS" in why for why in live.refusals())
