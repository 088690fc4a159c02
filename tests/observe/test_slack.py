"""Slack: an incoming webhook over HTTPS, answered as Slack answers, and messages as the channel shows them."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.model.hops import Hop
from harness.model.notifications import Notification, RawMessage, Status
from harness.model.time import Instant
from harness.observe.attribution import speaks_of
from harness.observe.certificates import write_certificate
from harness.observe.channels import Certificate, Sink
from harness.observe.channels.registry import CHANNELS
from harness.observe.channels.slack import MAX_ATTACHMENT_TEXT, MAX_ATTACHMENTS, MAX_TEXT, SlackChannel

TIMEOUT_SECONDS = 5

GOLDEN = Path(__file__).parent / "golden"
DEFAULT_TEMPLATE = json.loads((GOLDEN / "alertmanager-0.34.2-default-firing.json").read_text())


@dataclass
class Post:
    """What a sink delivered and refused."""

    messages: list[RawMessage] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    _told: asyncio.Event = field(default_factory=asyncio.Event)

    def refuse(self, channel: str, why: str) -> None:
        """Keeps what was refused; the channel is always Slack here."""
        assert channel == "slack"
        self.refusals.append(why)
        self._told.set()

    async def refused(self) -> None:
        """Waits until something was refused."""
        async with asyncio.timeout(TIMEOUT_SECONDS):
            await self._told.wait()


@dataclass
class Open:
    """An open webhook, its post, and a client that trusts the sandbox's authority and nobody else."""

    sink: Sink
    post: Post
    client: aiohttp.ClientSession

    def url(self, receiver: str = "page") -> str:
        """The webhook's address as the rewire writes it for a receiver."""
        return self.sink.binding.settings["api_url"].replace("{receiver}", receiver)

    async def send(self, payload: object, *, url: str | None = None) -> tuple[int, str]:
        """Posts a payload and gives back the answer."""
        body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        headers = {"Content-Type": "application/json"}
        async with self.client.post(url or self.url(), data=body, headers=headers) as answer:
            return answer.status, await answer.text()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """One certificate for all tests of this file."""
    return write_certificate(tmp_path_factory.mktemp("certificates"))


@asynccontextmanager
async def opened(certificate: Certificate) -> AsyncIterator[Open]:
    """An open webhook."""
    post = Post()
    trust = ssl.create_default_context(cafile=str(certificate.authority))
    async with (
        SlackChannel().open(certificate, post.messages.append, post.refuse) as sink,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust)) as client,
    ):
        yield Open(sink, post, client)


def shown(payload: object) -> Notification:
    """The message as a person would read it."""
    body = payload if isinstance(payload, str) else json.dumps(payload)
    return SlackChannel().read(RawMessage("slack-1", "slack", "page", Instant(1, 1), {}, body))


async def test_a_message_over_verified_tls_arrives(certificate: Certificate) -> None:
    """What Alertmanager posts is answered `ok`, kept whole, and stamped when it was there."""
    async with opened(certificate) as door:
        before = Instant.now()
        assert await door.send(DEFAULT_TEMPLATE) == (200, "ok")
        (raw,) = door.post.messages
        assert before.monotonic <= raw.arrived.monotonic <= time.monotonic()
        assert (raw.channel, raw.receiver) == ("slack", "page")
        assert raw.envelope["tls"].startswith("TLSv1.")
        assert json.loads(raw.body) == DEFAULT_TEMPLATE
        assert door.post.refusals == []


async def test_a_client_that_does_not_trust_us_is_told_of(certificate: Certificate) -> None:
    """The twin: without the sandbox's authority no message gets through, and the sink says why."""
    async with opened(certificate) as door:

        def post() -> None:
            with pytest.raises(urllib.error.URLError, match="certificate verify failed"):
                urllib.request.urlopen(door.url(), b"{}", TIMEOUT_SECONDS)  # noqa: S310 - our own https URL

        await asyncio.to_thread(post)
        await door.post.refused()
        assert door.post.messages == []
        assert "does not trust the sandbox's authority" in door.post.refusals[0]


async def test_a_client_without_tls_is_told_of(certificate: Certificate) -> None:
    """Plain HTTP is no way to a webhook."""
    async with opened(certificate) as door:
        with pytest.raises(aiohttp.ClientError):
            await door.client.post(door.url().replace("https:", "http:"), json=DEFAULT_TEMPLATE)
        assert door.post.messages == []
        assert "spoke without TLS" in door.post.refusals[0]


@pytest.mark.parametrize(
    ("payload", "answer"),
    [
        (b"{not json", (400, "invalid_payload")),
        (b"\xff\xfe", (400, "invalid_payload")),
        (b"[" * 100_000, (400, "invalid_payload")),
        ([], (400, "invalid_payload")),
        ({"attachments": "text"}, (400, "invalid_payload")),
        ({"attachments": ["text"]}, (400, "invalid_payload")),
        ({"text": 5}, (400, "invalid_payload")),
        ({"blocks": {}, "text": "x"}, (200, "ok")),
        ({"blocks": {"type": "header"}}, (400, "invalid_blocks")),
        ({}, (400, "no_text")),
        ({"channel": "#alerts"}, (400, "no_text")),
        ({"attachments": [{"text": "x"}] * (MAX_ATTACHMENTS + 1)}, (400, "too_many_attachments")),
        ({"text": "x", "channel": "#{{ .Labels.team }}"}, (404, "channel_not_found")),
        ({"text": "x", "channel": "# alerts"}, (404, "channel_not_found")),
        ({"text": "x", "channel": 7}, (404, "channel_not_found")),
    ],
    ids=str,
)
async def test_what_slack_would_not_take_is_refused(
    certificate: Certificate, payload: object, answer: tuple[int, str]
) -> None:
    """Broken payloads get Slack's own answers and are told of; they are no messages."""
    async with opened(certificate) as door:
        assert await door.send(payload) == answer
        assert len(door.post.messages) == (answer[0] == 200)
        assert len(door.post.refusals) == (answer[0] != 200)
        assert all(answer[1] in why for why in door.post.refusals)


async def test_another_path_or_method_is_refused(certificate: Certificate) -> None:
    """A URL that is not the webhook's takes nothing, and that is told."""
    async with opened(certificate) as door:
        status, _ = await door.send(DEFAULT_TEMPLATE, url=f"https://{door.sink.address}/services/T0/B0/xyz")
        assert status == 404
        async with door.client.get(door.url()) as answer:
            assert answer.status == 405
        assert door.post.messages == []
        assert ["404" in door.post.refusals[0], "405" in door.post.refusals[1]] == [True, True]


async def test_a_connection_cut_in_the_body_is_no_message(certificate: Certificate) -> None:
    """Half a payload is none: nothing arrives, and it is told."""
    async with opened(certificate) as door:
        trust = ssl.create_default_context(cafile=str(certificate.authority))
        _, writer = await asyncio.open_connection(door.sink.address.host, door.sink.address.port, ssl=trust)
        writer.write(b"POST /page/services/SANDBOX HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
        await writer.drain()
        writer.transport.abort()
        await door.post.refused()
        assert door.post.messages == []
        assert "broke off before its end" in door.post.refusals[0]


async def test_the_receiver_is_known_by_the_path(certificate: Certificate) -> None:
    """A receiver's name with any character in it comes back; the global URL belongs to none."""
    async with opened(certificate) as door:
        await door.send(DEFAULT_TEMPLATE, url=door.url("team%20%C3%BC%2Fpage"))
        assert door.sink.binding.global_settings is not None
        await door.send(DEFAULT_TEMPLATE, url=door.sink.binding.global_settings["slack_api_url"])
        assert [raw.receiver for raw in door.post.messages] == ["team ü/page", ""]
        assert len({raw.id for raw in door.post.messages}) == 2


async def test_the_binding_redirects_and_repairs_nothing(certificate: Certificate) -> None:
    """The address and every other way to a workspace are replaced; channel and texts stay the policy's own."""
    async with opened(certificate) as door:
        binding = door.sink.binding
        assert binding.key == "slack_configs"
        assert set(binding.settings) == {"api_url"}
        assert {"api_url_file", "app_token", "app_token_file", "app_url"} <= set(binding.dropped)
        assert {"slack_api_url_file", "slack_app_token", "slack_app_url"} <= set(binding.global_dropped)
        assert not {"channel", "username", "title", "text"} & {*binding.settings, *binding.dropped}
        assert door.sink.address.host == "127.0.0.1"


async def test_leaving_closes_the_port(certificate: Certificate) -> None:
    """After the sink is closed nobody listens."""
    async with opened(certificate) as door:
        await door.send(DEFAULT_TEMPLATE)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((door.sink.address.host, door.sink.address.port), timeout=TIMEOUT_SECONDS)


@pytest.mark.parametrize(
    ("status", "word", "colour"), [(Status.FIRING, "[FIRING:1]", "danger"), (Status.RESOLVED, "[RESOLVED]", "good")]
)
def test_alertmanagers_own_template_is_understood(status: Status, word: str, colour: str) -> None:
    """A message as Alertmanager 0.34.2 sent it with its own template: heading, status, colour and marks."""
    notification = shown((GOLDEN / f"alertmanager-0.34.2-default-{status.value}.json").read_text())
    assert notification.title == f"{word} HighErrorRatio lane-1 (critical)"
    assert notification.text == ""
    assert notification.status is status
    assert notification.marks["channel"] == "#alerts"
    assert notification.marks["color"] == colour
    assert notification.marks["links"] == "http://alertmanager:9093/#/alerts?receiver=default"
    assert speaks_of(notification, "HighErrorRatio", "lane-1")


def test_everything_that_is_shown_is_read_in_its_order() -> None:
    """Text, pretext, fields, footer and buttons are all in front of the reader; the fallback is not."""
    notification = shown(
        {
            "text": "first",
            "attachments": [
                {
                    "pretext": "before",
                    "title": "the heading",
                    "text": "*bold* and `code`\nnext",
                    "fallback": "never shown",
                    "fields": [{"title": "severity", "value": "critical", "short": True}, {"value": "alone"}],
                    "actions": [{"type": "button", "text": "Runbook", "url": "https://runbooks.example.org/"}],
                    "footer": "the end",
                }
            ],
        }
    )
    assert notification.title == "the heading"
    assert notification.text == ("first\nbefore\nbold and code\nnext\nseverity: critical\nalone\nthe end\nRunbook")
    assert "https://runbooks.example.org/" in notification.marks["links"]


def test_blocks_are_read() -> None:
    """Block Kit: the header is the heading; sections, fields, contexts and rich text are shown below it."""
    notification = shown(
        {
            "text": "",
            "blocks": [
                {"type": "header", "text": {"type": "plain_text", "text": "[RESOLVED] DatabaseDown lane-2"}},
                {"type": "section", "text": {"type": "mrkdwn", "text": "_it_ is back"}, "fields": [{"text": "one"}]},
                {"type": "divider"},
                {"type": "context", "elements": [{"type": "mrkdwn", "text": "two"}]},
                {
                    "type": "rich_text",
                    "elements": [{"type": "rich_text_section", "elements": [{"text": "a "}, {"text": "b"}]}],
                },
            ],
        }
    )
    assert notification.title == "[RESOLVED] DatabaseDown lane-2"
    assert notification.text == "it is back\none\ntwo\na b"
    assert notification.status is Status.RESOLVED


def test_without_a_heading_the_first_line_is_the_title() -> None:
    """What a person sees first is the title, whatever field it came in."""
    notification = shown({"text": "*[FIRING]* ServerDown\nlane-1 is away"})
    assert (notification.title, notification.text) == ("[FIRING] ServerDown", "lane-1 is away")


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("<https://x.example.org/a|the runbook>", "the runbook"),
        ("<https://x.example.org/a>", "https://x.example.org/a"),
        ("<!here> <@U123> <#C1|ops>", "@here @U123 ops"),
        ("5 &lt; 6 &amp;&amp; 7 &gt; 6 &eacute;", "5 < 6 && 7 > 6 &eacute;"),
        ("a < b and c > d", "a < b and c > d"),
        ("<no value>", "<no value>"),
        ("*bold* _italic_ ~gone~ `code`", "bold italic gone code"),
        ("http_requests_total 2*3*4 mysql_up", "http_requests_total 2*3*4 mysql_up"),
        ("```two\nlines```", "two\nlines"),
        ("*environment:* lane-1", "environment: lane-1"),
        ("_lane-1_", "lane-1"),
    ],
)
def test_markup_is_read_as_it_is_shown(written: str, read: str) -> None:
    """Links, mentions, entities and styles as Slack shows them; what only looks like markup stays."""
    assert shown({"attachments": [{"title": "t", "text": written}]}).text == read


@pytest.mark.parametrize(
    ("payload", "limit"),
    [
        ({"text": "x" * (MAX_TEXT + 1)}, MAX_TEXT),
        ({"attachments": [{"title": "t", "text": "x" * (MAX_ATTACHMENT_TEXT + 1)}]}, MAX_ATTACHMENT_TEXT),
    ],
)
def test_what_slack_cuts_off_is_cut_off(payload: object, limit: int) -> None:
    """Text over the limit is not read, and the message is marked."""
    notification = shown(payload)
    assert len(notification.text or notification.title) == limit
    assert f"Slack shows {limit}" in notification.marks["cut"]


def test_what_fits_is_not_marked() -> None:
    """The twin: at the limit itself nothing is cut."""
    assert "cut" not in shown({"attachments": [{"text": "x" * MAX_ATTACHMENT_TEXT}]}).marks


@given(
    st.one_of(
        st.text(),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(),
            lambda inner: (
                st.lists(inner)
                | st.dictionaries(
                    st.sampled_from(
                        ["text", "attachments", "blocks", "fields", "elements", "title", "color", "channel"]
                    ),
                    inner,
                )
            ),
        ).map(json.dumps),
    )
)
def test_reading_never_raises(body: str) -> None:
    """Whatever comes in, somebody can look at it."""
    shown(body)


def test_a_deep_payload_does_not_exhaust_the_reader() -> None:
    """Nesting without end is cut off, not followed."""
    block: dict[str, object] = {"text": "deepest"}
    for _ in range(400):
        block = {"elements": [block]}
    assert shown({"text": "top", "blocks": [block]}).title == "top"


def test_a_message_has_reached_its_person_at_notified() -> None:
    """Nothing tells when a message is looked at: the answer `ok` is the last station."""
    assert SlackChannel().terminal_hop is Hop.NOTIFIED


def test_every_channel_is_registered_once_and_has_its_page() -> None:
    """The tuple holds each channel under a name and a key of its own, and each has a page that names its key."""
    assert [channel.name for channel in CHANNELS] == ["email", "sms", "slack", "discord", "push"]
    assert len({channel.receiver_key for channel in CHANNELS}) == len(CHANNELS)
    pages = Path(__file__).parents[2] / "docs" / "channels"
    for channel in CHANNELS:
        assert channel.receiver_key in (pages / f"{channel.name}.md").read_text()
