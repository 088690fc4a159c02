"""The channels as a real Alertmanager uses them: TLS verified, firing and resolved, its own templates and ours."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import aiohttp
import pytest
import yaml

from harness.model.events import Payload
from harness.model.notifications import Notification, ReceivedAlert, SinkRefused, Status
from harness.model.sinks import Behaviour
from harness.model.stack import Address, Artifact, ReceiverBinding, Sandbox
from harness.model.time import Instant
from harness.observe.attribution import speaks_of
from harness.observe.certificates import write_certificate
from harness.observe.channels import Sink
from harness.observe.channels.registry import CHANNELS
from harness.observe.content import complaints
from harness.observe.inbox import Inbox
from harness.policy.parse.yaml import compose
from harness.policy.rewire.alertmanager import rewire
from harness.policy.rewire.document import Edits, dump, settings, values

pytestmark = pytest.mark.stack

ALL = ("email", "sms", "slack", "discord", "push")
PHONE = "+491700000000"
STRANGE = "own & ü/page?"
"""A receiver's name that has to be quoted wherever it stands in a URL or a user's name."""
READY_SECONDS = 20
HEARD_SECONDS = 20
DEAF_SECONDS = 2.5

OWN_TITLE = "[{{ .Status | toUpper }}] {{ .CommonLabels.alertname }} {{ .CommonLabels.environment }}"
OWN_TEXT = (
    "{{ range .Alerts }}severity: {{ .Labels.severity }}\n*{{ .Annotations.summary }}*\n"
    "{{ .Annotations.description }}\n<{{ .Annotations.runbook_url }}|runbook>\n{{ end }}"
)
OWN_SMS = (
    "{{ range .Alerts }}{{ .Annotations.summary }}\n{{ .Annotations.description }}\n"
    "severity {{ .Labels.severity }}\n{{ .Annotations.runbook_url }}\n{{ end }}"
)
OWN_MARKDOWN = (
    "{{ range .Alerts }}severity: {{ .Labels.severity }}\n**{{ .Annotations.summary }}**\n"
    "{{ .Annotations.description }}\n[runbook]({{ .Annotations.runbook_url }})\n{{ end }}"
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
    sinks: Sequence[Sink]

    async def arrived(self, count: int) -> None:
        """Waits until so many messages have arrived."""
        async with asyncio.timeout(HEARD_SECONDS):
            while len(self.inbox.notifications) < count:
                self.wrote.clear()
                await self.wrote.wait()

    async def post(self, annotations: Mapping[str, str] = ANNOTATIONS) -> None:
        """Hands Alertmanager the alert, firing."""
        await self._post(annotations, ends_at=None)

    async def resolve(self) -> None:
        """Hands Alertmanager the alert, over."""
        await self._post(ANNOTATIONS, ends_at=datetime.now(UTC).isoformat())

    async def _post(self, annotations: Mapping[str, str], ends_at: str | None) -> None:
        alert = {"labels": LABELS, "annotations": annotations, "generatorURL": "http://prometheus/graph"}
        if ends_at is not None:
            alert["endsAt"] = ends_at
        async with (
            aiohttp.ClientSession() as client,
            client.post(f"{self.url}/api/v2/alerts", json=[alert]) as answer,
        ):
            assert answer.status == 200, await answer.text()

    async def heard(self, status: Status, *, seconds: float = HEARD_SECONDS) -> frozenset[str]:
        """Who heard of it."""
        return await self.inbox.heard("HighErrorRatio", "lane-1", ALL, status, 0.0, time.monotonic() + seconds)

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


PRODUCTION: Mapping[str, object] = {
    "global": {
        "smtp_from": "alerts@example.org",
        "smtp_smarthost": "smtp.example.org:587",
        "slack_api_url_file": "/etc/alertmanager/secrets/slack",
        "http_config": {"proxy_url": "http://proxy.example.org:3128"},
    },
    "route": {
        "receiver": STRANGE,
        "group_by": ["alertname", "environment"],
        "group_wait": "100ms",
        "group_interval": "300ms",
        "repeat_interval": "1h",
        "routes": [{"receiver": "default", "continue": True}, {"receiver": STRANGE}],
    },
}
"""As production has it, but for the waits."""


def receiver(name: str, texts: Mapping[str, Mapping[str, object]]) -> dict[str, object]:
    """A receiver of all five channels; `texts` are its own words by channel."""
    integrations: Mapping[str, dict[str, object]] = {
        "email": {"to": "oncall@example.org"},
        "sms": {"phone_number": PHONE, "sigv4": {"profile": "oncall", "role_arn": "arn:aws:iam::123456789012:role/x"}},
        "slack": {"channel": "#alerts"},
        "discord": {"webhook_url_file": "/etc/alertmanager/secrets/discord"},
        "push": {"url": "https://mobile.example.org/push"},
    }
    return {
        "name": name,
        **{
            channel.receiver_key: [{**integrations[channel.name], **texts.get(channel.name, {}), "send_resolved": True}]
            for channel in CHANNELS
        },
    }


def configuration(bindings: Sequence[ReceiverBinding], **globally: object) -> str:
    """An alertmanager.yml, rewired: a receiver with Alertmanager's own templates and one with ours, both told."""
    own: Mapping[str, Mapping[str, object]] = {
        "email": {"headers": {"Subject": OWN_TITLE}, "html": OWN_HTML},
        "sms": {"message": f"{OWN_TITLE}\n{OWN_SMS}"},
        "slack": {"title": OWN_TITLE, "text": OWN_TEXT},
        "discord": {"title": OWN_TITLE, "message": OWN_MARKDOWN},
    }
    world = {**cast("dict[str, object]", PRODUCTION["global"]), **globally}
    production = {**PRODUCTION, "global": world, "receivers": [receiver("default", {}), receiver(STRANGE, own)]}
    text = yaml.safe_dump(production, allow_unicode=True)
    document = settings(values(compose(text, "alertmanager.yml").documents[0]))
    nowhere = Address("127.0.0.1", 9)
    rewire(document, Edits("alertmanager.yml"), Sandbox((), {}, nowhere, tuple(bindings)))
    return dump(document)


@asynccontextmanager
async def alertmanager(program: str, folder: Path, *, trusting: bool = True, **globally: object) -> AsyncIterator[Live]:
    """A real Alertmanager that sends to all sinks; without trust it has the machine's own authorities only."""
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
        config.write_text(configuration([sink.binding for sink in sinks], **globally))
        with socket.create_server(("127.0.0.1", 0)) as free:
            address = f"127.0.0.1:{free.getsockname()[1]}"
        # Amazon's own code in it knows AWS_CA_BUNDLE beside Go's SSL_CERT_FILE.
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("SSL_CERT", "AWS_"))}
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
            yield Live(f"http://{address}", inbox, written, wrote, sinks)
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


async def test_firing_and_resolved_are_read_in_all_channels(program: str, tmp_path: Path) -> None:
    """All five hear both, with the certificate checked; a whole template is whole, a poor one is complained of."""
    async with alertmanager(program, tmp_path) as live:
        await live.post()
        assert await live.heard(Status.FIRING) == set(ALL)
        await live.arrived(10)
        await live.resolve()
        assert await live.heard(Status.RESOLVED) == set(ALL)
        await live.arrived(20)
        assert live.refusals() == []
        for status in (Status.FIRING, Status.RESOLVED):
            for channel in ALL:
                message = live.message(channel, STRANGE, status)
                assert complaints(message, handed()) == ()
                assert message.title.startswith(f"[{status.value.upper()}")
                assert speaks_of(message, "HighErrorRatio", "lane-1")
            # Alertmanager's own templates of mail and Discord carry everything, its own Slack template has no text, and
            # its own SMS begins with the annotations, where a phone shows no subject.
            for channel in ("email", "discord", "push"):
                assert complaints(live.message(channel, "default", status), handed()) == ()
            told = complaints(live.message("slack", "default", status), handed())
            assert [sentence.split(" is missing")[0] for sentence in told] == [
                "the summary of HighErrorRatio (lane-1)",
                "the description of HighErrorRatio (lane-1)",
                "the runbook of HighErrorRatio (lane-1)",
            ]
            told = complaints(live.message("sms", "default", status), handed())
            assert [sentence.split(": ")[0] for sentence in told] == [
                "the title does not say whether the alert is firing or resolved",
                "the title does not name HighErrorRatio",
            ]
        assert live.message("email", STRANGE, Status.FIRING).marks["recipients"] == "oncall@example.org"
        assert live.message("sms", STRANGE, Status.FIRING).marks["recipient"] == PHONE
        assert live.message("slack", STRANGE, Status.FIRING).marks["channel"] == "#alerts"
        assert len({message.id for message in live.inbox.notifications}) == 20


async def test_what_a_channel_has_no_room_for_is_cut_and_complained_of(program: str, tmp_path: Path) -> None:
    """Alertmanager cuts an SMS at 1,600 bytes and a text for Discord at 4,096 characters, and sends the rest."""
    async with alertmanager(program, tmp_path) as live:
        await live.post(annotations={**ANNOTATIONS, "summary": "ü" * 5_000})
        await live.arrived(10)  # of both receivers: that a channel has heard says nothing of the second one
        cut = {m.channel: m.marks.get("cut", "") for m in live.inbox.notifications if m.receiver == STRANGE}
        assert "1,600 bytes" in cut["sms"]
        assert "description off at 4,096" in cut["discord"]
        assert (cut["email"], cut["push"]) == ("", "")
        assert live.refusals() == []


@pytest.mark.parametrize("how", [Behaviour.ERROR, Behaviour.THROTTLE, Behaviour.HANG])
async def test_a_channel_that_is_well_again_hears_what_it_missed(program: str, tmp_path: Path, how: Behaviour) -> None:
    """While every sink misbehaves nobody hears and every refusal is told; then Alertmanager tries again."""
    async with alertmanager(program, tmp_path) as live:
        for sink in live.sinks:
            sink.behave(how)
        await live.post()
        assert await live.heard(Status.FIRING, seconds=DEAF_SECONDS) == frozenset()
        assert {event.channel for event in live.written if isinstance(event, SinkRefused)} == set(ALL)
        for sink in live.sinks:
            sink.behave(Behaviour.WELL)
        assert await live.heard(Status.FIRING) == set(ALL)


async def test_without_the_authority_nobody_hears(program: str, tmp_path: Path) -> None:
    """The twin: Alertmanager checks certificates, so without the sandbox's authority all channels stay silent."""
    async with alertmanager(program, tmp_path, trusting=False) as live:
        await live.post()
        assert await live.heard(Status.FIRING, seconds=DEAF_SECONDS) == frozenset()
        assert live.refusals()
        assert all("does not trust the sandbox's authority" in why for why in live.refusals())
        told = [event.channel for event in live.written if isinstance(event, SinkRefused)]
        assert set(told) == set(ALL)


async def test_a_policy_that_sends_in_the_clear_loses_its_mail(program: str, tmp_path: Path) -> None:
    """`require_tls: false` is not repaired: the others hear, the mail is refused and the reason is told."""
    async with alertmanager(program, tmp_path, smtp_require_tls=False) as live:
        await live.post()
        assert await live.heard(Status.FIRING, seconds=DEAF_SECONDS) == set(ALL) - {"email"}
        assert any("without STARTTLS" in why for why in live.refusals())
