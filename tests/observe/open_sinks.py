"""An open sink of a channel over HTTPS, with what it heard and a client that trusts it: for tests."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlencode

import aiohttp

from harness.model.notifications import RawMessage
from harness.observe.channels import Certificate, Channel, Sink
from harness.observe.channels.discord import DiscordChannel
from harness.observe.channels.push import PushChannel
from harness.observe.channels.slack import SlackChannel
from harness.observe.channels.sms import SmsChannel

TIMEOUT_SECONDS = 5

HTTP_CHANNELS: tuple[Channel, ...] = (SmsChannel(), SlackChannel(), DiscordChannel(), PushChannel())
ADDRESSES = {"sms": "api_url", "slack": "api_url", "discord": "webhook_url", "push": "url"}
"""The setting that leads to a channel's sink."""

WEBHOOK = {
    "version": "4",
    "status": "firing",
    "commonLabels": {"alertname": "ServerDown", "environment": "lane-1", "severity": "critical"},
    "alerts": [{"status": "firing", "labels": {"alertname": "ServerDown"}, "annotations": {}}],
}
SMALL: Mapping[str, bytes] = {
    "sms": urlencode(
        {"Action": "Publish", "Version": "2010-03-31", "PhoneNumber": "+491700000000", "Message": "x"}
    ).encode(),
    "slack": b'{"text": "x"}',
    "discord": b'{"content": "x"}',
    "push": json.dumps(WEBHOOK).encode(),
}
"""The least that each channel takes."""


@dataclass
class Post:
    """What a sink delivered and refused."""

    channel: str
    messages: list[RawMessage] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    _told: asyncio.Event = field(default_factory=asyncio.Event)

    def refuse(self, channel: str, why: str) -> None:
        """Keeps what was refused; the channel is always the same one here."""
        assert channel == self.channel
        self.refusals.append(why)
        self._told.set()

    async def refused(self) -> None:
        """Waits until something was refused."""
        async with asyncio.timeout(TIMEOUT_SECONDS):
            await self._told.wait()


@dataclass
class Answer:
    """An answer, read to its end."""

    status: int
    text: str
    headers: Mapping[str, str]


@dataclass
class Open:
    """An open sink, its post, and a client that trusts the sandbox's authority and nobody else."""

    channel: str
    sink: Sink
    post: Post
    client: aiohttp.ClientSession
    trust: ssl.SSLContext

    def url(self, receiver: str = "page") -> str:
        """The sink's address as the rewire writes it for a receiver."""
        return self.sink.binding.settings[ADDRESSES[self.channel]].replace("{receiver}", receiver)

    def headers(self, key: str | None = None) -> dict[str, str]:
        """What this channel's client sends beside its body."""
        if self.channel != "sms":
            return {"Content-Type": "application/json"}
        key = self.sink.binding.settings["sigv4.access_key"] if key is None else key
        scope = f"{key}/20261125/us-east-1/sns/aws4_request"
        signed = f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host;x-amz-date, Signature=00"
        return {"Content-Type": "application/x-www-form-urlencoded", "Authorization": signed}

    async def send(
        self, body: bytes | None = None, *, url: str | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Posts a body, the least that is a message where none is given."""
        body = SMALL[self.channel] if body is None else body
        headers = self.headers() if headers is None else headers
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
        async with self.client.post(url or self.url(), data=body, headers=headers, timeout=timeout) as answer:
            return Answer(answer.status, await answer.text(), dict(answer.headers))


@asynccontextmanager
async def opened(channel: Channel, certificate: Certificate) -> AsyncIterator[Open]:
    """An open sink."""
    post = Post(channel.name)
    trust = ssl.create_default_context(cafile=str(certificate.authority))
    async with (
        channel.open(certificate, post.messages.append, post.refuse) as sink,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust)) as client,
    ):
        yield Open(channel.name, sink, post, client, trust)
