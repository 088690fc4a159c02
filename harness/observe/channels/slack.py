"""Slack: an incoming webhook over HTTPS, answered as Slack answers, and messages as the channel shows them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import ClassVar

from aiohttp import web

from harness.model.hops import Hop
from harness.model.notifications import Notification, RawMessage
from harness.model.sinks import Behaviour
from harness.model.stack import Address, ReceiverBinding
from harness.observe.attribution import CUT, FALLBACK, LINKS, status_of
from harness.observe.channels import Certificate, Deliver, Refuse
from harness.observe.channels.webhook import HttpSink, Service, serve

# Instead of a webhook production may use an app's token, files that hold either, and a proxy, an authority or
# credentials of its own; none of that leads to the sandbox.
_DROPPED = ("api_url_file", "app_token", "app_token_file", "app_url", "http_config")
_GLOBAL_DROPPED = ("slack_api_url_file", "slack_app_token", "slack_app_token_file", "slack_app_url", "http_config")

# https://api.slack.com/changelog/2018-04-truncating-really-long-messages: what is longer is cut off, and a webhook's
# caller is not told.
MAX_TEXT = 40_000
# Not documented by Slack; measured by https://github.com/ErikKalkoken/slackApiDoc (message_limits.md).
MAX_ATTACHMENT_TEXT = 8_000
# More of them are refused, by `too_many_attachments`.
MAX_ATTACHMENTS = 100

_CHANNEL = re.compile(r"[#@]?[^\s#@<>{}]{1,80}")


class SlackChannel:
    """Slack over an incoming webhook. A message has reached its person when Slack answered `ok`."""

    name: ClassVar[str] = "slack"
    receiver_key: ClassVar[str] = "slack_configs"
    terminal_hop: ClassVar[Hop] = Hop.NOTIFIED

    def open(self, certificate: Certificate, deliver: Deliver, refuse: Refuse) -> AbstractAsyncContextManager[HttpSink]:
        """Opens the webhook on a free port of loopback; leaving closes it and every connection to it.

        Raises:
            StackError: it cannot listen, or the certificate cannot be read.
        """
        paths = ("/services/SANDBOX", "/{receiver}/services/SANDBOX")
        service = Service(self.name, "the Slack webhook", paths, _take, _unwell)
        return serve(service, _binding, certificate, deliver, refuse)

    def read(self, raw: RawMessage) -> Notification:
        """The message as its channel shows it: the heading or first line, what is below, no formatting marks."""
        try:
            payload = json.loads(raw.body)
        except (ValueError, RecursionError):
            payload = {}
        message = _Message.read(payload if isinstance(payload, dict) else {})
        return Notification(
            id=raw.id,
            channel=raw.channel,
            receiver=raw.receiver,
            arrived=raw.arrived,
            status=status_of(message.title, message.text, message.colour),
            title=message.title,
            text=message.text,
            marks={name: value for name, value in message.marks.items() if value},
        )


def _binding(address: Address) -> ReceiverBinding:
    return ReceiverBinding(
        key=SlackChannel.receiver_key,
        settings={"api_url": f"https://{address}/{{receiver}}/services/SANDBOX"},
        dropped=_DROPPED,
        global_settings={"slack_api_url": f"https://{address}/services/SANDBOX"},
        global_dropped=_GLOBAL_DROPPED,
        secret=("api_url", "slack_api_url"),
    )


def _take(_request: web.Request, body: bytes) -> tuple[str, web.Response]:
    """Answers as Slack does.

    The answers: https://api.slack.com/changelog/2016-05-17-changes-to-errors-for-incoming-webhooks and
    https://api.slack.com/messaging/webhooks#handling_errors.
    """
    return _checked(body), web.Response(text="ok")


def _unwell(how: Behaviour) -> tuple[str, str]:
    # 500 is `rollup_error` by the list of errors above; what a 429 says beside Retry-After is not documented.
    return "text/plain", "ratelimited" if how is Behaviour.THROTTLE else "rollup_error"


def _checked(body: bytes) -> str:
    """The payload's text, where Slack would take it.

    Raises:
        HTTPException: the answer that Slack gives instead.
    """
    try:
        text = body.decode("utf-8")
        payload = json.loads(text)
    except (ValueError, RecursionError) as broken:
        raise web.HTTPBadRequest(text="invalid_payload") from broken
    if not isinstance(payload, dict):
        raise web.HTTPBadRequest(text="invalid_payload")
    attachments = payload.get("attachments") or []
    blocks = payload.get("blocks") or []
    if not _are_objects(attachments) or not isinstance(payload.get("text") or "", str):
        raise web.HTTPBadRequest(text="invalid_payload")
    if not _are_objects(blocks):
        raise web.HTTPBadRequest(text="invalid_blocks")
    if len(attachments) > MAX_ATTACHMENTS:
        raise web.HTTPBadRequest(text="too_many_attachments")
    if not (payload.get("text") or attachments or blocks):
        raise web.HTTPBadRequest(text="no_text")
    channel = payload.get("channel")
    if channel is not None and not (isinstance(channel, str) and (not channel or _CHANNEL.fullmatch(channel))):
        raise web.HTTPNotFound(text="channel_not_found")
    return text


def _are_objects(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


@dataclass(frozen=True, slots=True)
class _Message:
    title: str
    text: str
    colour: str
    marks: Mapping[str, str]

    @classmethod
    def read(cls, payload: Mapping[str, object]) -> _Message:
        headings: list[str] = []
        shown: list[str] = []
        links: list[str] = []
        cut: list[str] = []

        def show(text: str, *, where: str = "text", limit: int = MAX_TEXT, heading: bool = False) -> None:
            if len(text) > limit:
                cut.append(f"the {where} has {len(text)} characters, Slack shows {limit}")
                text = text[:limit]
            plain, found = _plain(text)
            links.extend(found)
            if plain:
                (headings if heading and not headings else shown).append(plain)

        show(_text(payload, "text"))
        for heading, text in _blocks(payload.get("blocks")):
            show(text, heading=heading)
        attachments = list(_objects(payload.get("attachments")))
        for attachment in attachments:
            for key in ("pretext", "author_name"):
                show(_text(attachment, key), where=key)
            show(_text(attachment, "title"), where="title", heading=True)
            links.append(_text(attachment, "title_link"))
            show(_text(attachment, "text"), where="attachment's text", limit=MAX_ATTACHMENT_TEXT)
            for heading, text in _blocks(attachment.get("blocks")):
                show(text, heading=heading)
            for field in _objects(attachment.get("fields")):
                show(": ".join(part for part in (_text(field, "title"), _text(field, "value")) if part), where="field")
            show(_text(attachment, "footer"), where="footer")
            for action in _objects(attachment.get("actions")):
                show(_text(action, "text"), where="button")
                links.append(_text(action, "url"))
        text = "\n".join(shown)
        if not headings and text:
            first, _, text = text.partition("\n")
            headings.append(first)
        colours = [colour for attachment in attachments if (colour := _text(attachment, "color"))]
        return cls(
            title=headings[0] if headings else "",
            text=text,
            colour=colours[0] if colours else "",
            marks={
                "channel": _text(payload, "channel"),
                "username": _text(payload, "username"),
                "color": ", ".join(colours),
                FALLBACK: "\n".join(found for attachment in attachments if (found := _text(attachment, "fallback"))),
                LINKS: "\n".join(link for link in links if link),
                CUT: "; ".join(cut),
            },
        )


def _text(holder: Mapping[str, object], key: str) -> str:
    value = holder.get(key)
    return value if isinstance(value, str) else ""


def _objects(value: object) -> Iterator[Mapping[str, object]]:
    if isinstance(value, list):
        yield from (item for item in value if isinstance(item, dict))


_DEEPEST_BLOCK = 12
_PARTS = ("text", "title", "fields", "elements", "accessory", "blocks")


def _blocks(value: object) -> Iterator[tuple[bool, str]]:
    """Every text in Block Kit blocks, in the order in which it is shown; True beside that of a header block."""
    for block in _objects(value):
        texts = [text for text in _texts(block, _DEEPEST_BLOCK) if text]
        # The parts of a rich text are pieces of one paragraph.
        joined = "".join(texts) if block.get("type") == "rich_text" else "\n".join(texts)
        yield block.get("type") == "header", joined


def _texts(part: object, deepest: int) -> Iterable[str]:
    if deepest == 0:
        return
    if isinstance(part, str):
        yield part
    elif isinstance(part, list):
        for item in part:
            if isinstance(item, dict):
                yield from _texts(item, deepest - 1)
    elif isinstance(part, dict):
        for key in _PARTS:
            yield from _texts(part.get(key), deepest - 1)


_ANGLES = re.compile(r"<((?:https?://|mailto:|tel:|[!@#])[^<>|]*)(?:\|([^<>]*))?>")
_CODE = re.compile(r"```(.+?)```|`([^`\n]+)`", re.DOTALL)
_STYLES = tuple(
    re.compile(rf"(?<![\w{mark}]){mark}(?=\S)([^\n{mark}]*?\S){mark}(?![\w{mark}])") for mark in (r"\*", "_", "~")
)


def _plain(text: str) -> tuple[str, tuple[str, ...]]:
    """Slack's markup as it is shown, and where its links lead.

    https://api.slack.com/reference/surfaces/formatting: links and mentions in angle brackets, `*bold*`,
    `_italic_`, `~struck~`, code in backticks; `&amp;`, `&lt;` and `&gt;` are the only entities.
    """
    links: list[str] = []

    def angle(match: re.Match[str]) -> str:
        target, label = match[1], match[2]
        if target[0] in "!@#":
            kind = "@" if target[0] == "!" else target[0]
            return label or kind + target[1:]
        links.append(target)
        return label or target

    shown = _ANGLES.sub(angle, text)
    shown = _CODE.sub(lambda match: match[1] or match[2], shown)
    for style in _STYLES:
        shown = style.sub(r"\1", shown)
    shown = shown.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    return shown.strip(), tuple(links)
