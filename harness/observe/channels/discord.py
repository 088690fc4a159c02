"""Discord: a channel's webhook over HTTPS, answered as Discord answers, and messages as the channel shows them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import ClassVar

from aiohttp import web

from harness.model.hops import Hop
from harness.model.notifications import Notification, RawMessage
from harness.model.sinks import Behaviour
from harness.model.stack import Address, ReceiverBinding
from harness.observe.attribution import CUT, LINKS, status_of
from harness.observe.channels import Certificate, Deliver, Refuse
from harness.observe.channels.webhook import RETRY_AFTER_SECONDS, HttpSink, Service, serve

_DROPPED = ("webhook_url_file", "http_config")
_GLOBAL_DROPPED = ("http_config",)
_PATH = "api/webhooks/1/SANDBOX"

# https://discord.com/developers/docs/resources/webhook#execute-webhook and
# https://discord.com/developers/docs/resources/message#embed-object-embed-limits: what is longer is refused, not cut.
MAX_CONTENT = 2_000
MAX_USERNAME = 80
MAX_EMBEDS = 10
MAX_TITLE = 256
MAX_DESCRIPTION = 4_096
MAX_FIELDS = 25
MAX_FIELD_NAME = 256
MAX_FIELD_VALUE = 1_024
MAX_FOOTER = 2_048
MAX_AUTHOR = 256
MAX_ALL_EMBEDS = 6_000

# Alertmanager's colours of an embed (notify/discord/discord.go), as the words that stand for them elsewhere.
_COLOURS = {0x992D22: "danger", 0x2ECC71: "good"}
# By which Alertmanager ends what it cut to fit (notify/util.go); a cut text is exactly as long as the limit.
_ELLIPSIS = ("…", "...")


class DiscordChannel:
    """Discord over a webhook. A message has reached its person when Discord answered that it took it."""

    name: ClassVar[str] = "discord"
    receiver_key: ClassVar[str] = "discord_configs"
    terminal_hop: ClassVar[Hop] = Hop.NOTIFIED

    def open(self, certificate: Certificate, deliver: Deliver, refuse: Refuse) -> AbstractAsyncContextManager[HttpSink]:
        """Opens the webhook on a free port of loopback; leaving closes it and every connection to it.

        Raises:
            StackError: it cannot listen, or the certificate cannot be read.
        """
        paths = (f"/{_PATH}", f"/{{receiver}}/{_PATH}")
        service = Service(self.name, "the Discord webhook", paths, _take, _unwell)
        return serve(service, _binding, certificate, deliver, refuse)

    def read(self, raw: RawMessage) -> Notification:
        """The message as its channel shows it: the first embed's title or the first line, and what is below."""
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
        key=DiscordChannel.receiver_key,
        settings={"webhook_url": f"https://{address}/{{receiver}}/{_PATH}"},
        dropped=_DROPPED,
        global_dropped=_GLOBAL_DROPPED,
        secret=("webhook_url",),
    )


def _take(_request: web.Request, body: bytes) -> tuple[str, web.Response]:
    """Answers as Discord does: 204 without a body, as nobody asked for the message with `?wait=true`.

    https://discord.com/developers/docs/reference#error-messages; 50006, 50035 and 50109 in
    https://discord.com/developers/docs/topics/opcodes-and-status-codes#json.
    """
    try:
        text = body.decode("utf-8")
        payload = json.loads(text)
    except (ValueError, RecursionError) as broken:
        raise _refusal(50109, "The request body contains invalid JSON.") from broken
    if not isinstance(payload, dict):
        raise _refusal(50035, "Invalid Form Body")
    complaint = _invalid(payload)
    if complaint is not None:
        where, why = complaint
        raise _refusal(50035, "Invalid Form Body", where, why)
    if not (_text(payload, "content").strip() or list(_objects(payload.get("embeds")))):
        raise _refusal(50006, "Cannot send an empty message")
    return text, web.Response(status=204)


def _invalid(payload: Mapping[str, object]) -> tuple[str, str] | None:
    """Where a payload is what Discord does not take, and why; None where it takes it."""
    embeds = payload.get("embeds") or []
    if not isinstance(embeds, list) or not all(isinstance(embed, dict) for embed in embeds):
        return "embeds", "Only dictionaries may be used in a DictType"
    if len(embeds) > MAX_EMBEDS:
        return "embeds", f"Must be {MAX_EMBEDS} or fewer in length."
    for number, embed in enumerate(embeds):
        if len(list(_objects(embed.get("fields")))) > MAX_FIELDS:
            return f"embeds.{number}.fields", f"Must be {MAX_FIELDS} or fewer in length."
    for where, text, limit in _limited(payload):
        if len(text) > limit:
            return where, f"Must be {limit} or fewer in length."
    total = sum(len(text) for where, text, _ in _limited(payload) if where.startswith("embeds."))
    if total > MAX_ALL_EMBEDS:
        return "embeds", f"Embed size exceeds maximum size of {MAX_ALL_EMBEDS}"
    return None


def _limited(payload: Mapping[str, object]) -> Iterator[tuple[str, str, int]]:
    """Every text that has a limit: where it stands, itself, and how many characters it may have."""
    yield "content", _text(payload, "content"), MAX_CONTENT
    yield "username", _text(payload, "username"), MAX_USERNAME
    for number, embed in enumerate(_objects(payload.get("embeds"))):
        at = f"embeds.{number}"
        yield f"{at}.title", _text(embed, "title"), MAX_TITLE
        yield f"{at}.description", _text(embed, "description"), MAX_DESCRIPTION
        yield f"{at}.footer.text", _text(_object(embed, "footer"), "text"), MAX_FOOTER
        yield f"{at}.author.name", _text(_object(embed, "author"), "name"), MAX_AUTHOR
        for position, entry in enumerate(_objects(embed.get("fields"))):
            yield f"{at}.fields.{position}.name", _text(entry, "name"), MAX_FIELD_NAME
            yield f"{at}.fields.{position}.value", _text(entry, "value"), MAX_FIELD_VALUE


def _refusal(code: int, message: str, where: str = "", why: str = "") -> web.HTTPException:
    told: dict[str, object] = {"message": message, "code": code}
    if where:
        errors: object = {"_errors": [{"code": "BASE_TYPE_MAX_LENGTH", "message": why}]}
        for part in reversed(where.split(".")):
            errors = {part: errors}
        told["errors"] = errors
    return web.HTTPBadRequest(text=json.dumps(told), content_type="application/json")


def _unwell(how: Behaviour) -> tuple[str, str]:
    # https://discord.com/developers/docs/topics/rate-limits#exceeding-a-rate-limit
    if how is Behaviour.THROTTLE:
        told: dict[str, object] = {
            "message": "You are being rate limited.",
            "retry_after": float(RETRY_AFTER_SECONDS),
            "global": False,
        }
    else:
        told = {"message": "500: Internal Server Error", "code": 0}
    return "application/json", json.dumps(told)


@dataclass(frozen=True, slots=True)
class _Message:
    title: str
    text: str
    colour: str
    marks: Mapping[str, str]

    @classmethod
    def read(cls, payload: Mapping[str, object]) -> _Message:
        title = ""
        shown: list[str] = []
        links: list[str] = []

        def show(text: str) -> None:
            plain, found = _plain(text)
            links.extend(found)
            if plain:
                shown.append(plain)

        show(_text(payload, "content"))
        embeds = list(_objects(payload.get("embeds")))
        for embed in embeds:
            show(_text(_object(embed, "author"), "name"))
            heading, found = _plain(_text(embed, "title"))
            links.extend((*found, _text(embed, "url")))
            if heading and not title:
                title = heading
            elif heading:
                shown.append(heading)
            show(_text(embed, "description"))
            for entry in _objects(embed.get("fields")):
                show(": ".join(part for part in (_text(entry, "name"), _text(entry, "value")) if part))
            show(_text(_object(embed, "footer"), "text"))
        text = "\n".join(shown)
        if not title and text:
            title, _, text = text.partition("\n")
        colour = next((embed["color"] for embed in embeds if embed.get("color") is not None), None)
        cut = [
            f"Alertmanager cut the {where.rpartition('.')[2]} off at {limit:,} characters"
            for where, whole, limit in _limited(payload)
            if len(whole) == limit and whole.endswith(_ELLIPSIS)
        ]
        return cls(
            title=title,
            text=text,
            colour=_COLOURS.get(colour, "") if isinstance(colour, int) else "",
            marks={
                "username": _text(payload, "username"),
                LINKS: "\n".join(link for link in links if link),
                CUT: "; ".join(cut),
            },
        )


def _text(holder: Mapping[str, object], key: str) -> str:
    value = holder.get(key)
    return value if isinstance(value, str) else ""


def _object(holder: Mapping[str, object], key: str) -> Mapping[str, object]:
    value = holder.get(key)
    return value if isinstance(value, dict) else {}


def _objects(value: object) -> Iterator[Mapping[str, object]]:
    if isinstance(value, list):
        yield from (item for item in value if isinstance(item, dict))


_LINK = re.compile(r"\[([^\[\]\n]+)\]\(<?(https?://[^\s()<>]+)>?\)")
_CODE = re.compile(r"```(?:\w+\n)?(.+?)```|`([^`\n]+)`", re.DOTALL)
_STYLES = tuple(
    re.compile(rf"(?<![\w*_~|]){mark}(?=\S)(.*?\S){mark}(?![\w*_~|])", re.DOTALL)
    for mark in (r"\*\*\*", r"\*\*", "__", "~~", r"\|\|", r"\*", "_")
)
_LINE_MARKS = re.compile(r"^(?:#{1,3} |-# |>{1,3} )", re.MULTILINE)


def _plain(text: str) -> tuple[str, tuple[str, ...]]:
    """Discord's Markdown as it is shown, and where its links lead.

    https://support.discord.com/hc/en-us/articles/210298617 (Markdown Text 101): styles, headings, quotes, spoilers,
    code and masked links; entities are none.
    """
    links: list[str] = []

    def link(match: re.Match[str]) -> str:
        links.append(match[2])
        return match[1]

    shown = _LINK.sub(link, text)
    shown = _CODE.sub(lambda match: match[1] or match[2], shown)
    for style in _STYLES:
        shown = style.sub(r"\1", shown)
    return _LINE_MARKS.sub("", shown).strip(), tuple(links)
