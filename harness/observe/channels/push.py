"""Push: Alertmanager's own webhook, as the back end of the mobile application takes it and a phone shows it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import ClassVar

from aiohttp import web

from harness.model.hops import Hop
from harness.model.notifications import Notification, RawMessage
from harness.model.sinks import Behaviour
from harness.model.stack import LANE_LABEL, Address, ReceiverBinding
from harness.observe.attribution import CUT, LINKS, status_of
from harness.observe.channels import Certificate, Deliver, Refuse
from harness.observe.channels.webhook import HttpSink, Service, serve

_DROPPED = ("url_file", "http_config")
_GLOBAL_DROPPED = ("http_config",)
_PATH = "push"

# https://prometheus.io/docs/alerting/latest/configuration/#webhook_config
VERSION = "4"
_STATUSES = frozenset({"firing", "resolved"})


class PushChannel:
    """Push over Alertmanager's webhook. A message has reached its person when the back end took it, so far."""

    name: ClassVar[str] = "push"
    receiver_key: ClassVar[str] = "webhook_configs"
    terminal_hop: ClassVar[Hop] = Hop.NOTIFIED

    def open(self, certificate: Certificate, deliver: Deliver, refuse: Refuse) -> AbstractAsyncContextManager[HttpSink]:
        """Opens the back end on a free port of loopback; leaving closes it and every connection to it.

        Raises:
            StackError: it cannot listen, or the certificate cannot be read.
        """
        paths = (f"/{_PATH}", f"/{{receiver}}/{_PATH}")
        service = Service(self.name, "the back end of push messages", paths, _take, _unwell)
        return serve(service, _binding, certificate, deliver, refuse)

    def read(self, raw: RawMessage) -> Notification:
        """The message as a phone shows it: one line that says what and where, and each alert of the group below.

        Nothing is added: where the payload has no summary or no severity, the reader sees none.
        """
        try:
            payload = json.loads(raw.body)
        except (ValueError, RecursionError):
            payload = {}
        if not isinstance(payload, dict):
            payload = {}
        alerts = list(_alerts(payload))
        title = _title(payload, alerts)
        text = "\n".join(_told(alert) for alert in alerts)
        left_out = payload.get("truncatedAlerts")
        marks = {
            LINKS: "\n".join(
                link
                for link in (
                    *(_text(_texts(alert, "annotations"), "runbook_url") for alert in alerts),
                    *(_text(alert, "generatorURL") for alert in alerts),
                    _text(payload, "externalURL"),
                )
                if link
            ),
            CUT: f"{left_out} alerts are left out (`max_alerts`)" if isinstance(left_out, int) and left_out else "",
        }
        return Notification(
            id=raw.id,
            channel=raw.channel,
            receiver=raw.receiver,
            arrived=raw.arrived,
            status=status_of(title, text),
            title=title,
            text=text,
            marks={name: value for name, value in marks.items() if value},
        )


def _binding(address: Address) -> ReceiverBinding:
    return ReceiverBinding(
        key=PushChannel.receiver_key,
        settings={"url": f"https://{address}/{{receiver}}/{_PATH}"},
        dropped=_DROPPED,
        global_dropped=_GLOBAL_DROPPED,
        secret=("url",),
    )


def _take(_request: web.Request, body: bytes) -> tuple[str, web.Response]:
    """Takes what Alertmanager posts in version 4 of its webhook, with at least one alert in it."""
    try:
        text = body.decode("utf-8")
        payload = json.loads(text)
    except (ValueError, RecursionError) as broken:
        raise web.HTTPBadRequest(text="the body is not JSON in UTF-8") from broken
    if not isinstance(payload, dict) or payload.get("version") != VERSION:
        raise web.HTTPBadRequest(text=f"the body is no webhook of version {VERSION}")
    if payload.get("status") not in _STATUSES or not list(_alerts(payload)):
        raise web.HTTPBadRequest(text="the webhook names no alert, or neither firing nor resolved")
    return text, web.Response(text="taken")


def _unwell(how: Behaviour) -> tuple[str, str]:
    return "text/plain", "too many messages" if how is Behaviour.THROTTLE else "the back end failed"


def _title(payload: Mapping[str, object], alerts: list[Mapping[str, object]]) -> str:
    """`[FIRING:2] HighErrorRatio lane-1 (critical)`, of what all alerts of the group have in common."""
    status = _text(payload, "status").upper()
    firing = sum(_text(alert, "status") == "firing" for alert in alerts)
    common = _texts(payload, "commonLabels")
    name, place, severity = (_text(common, label) for label in ("alertname", LANE_LABEL, "severity"))
    parts = (
        f"[{status}:{firing}]" if status == "FIRING" else f"[{status}]" if status else "",
        name,
        place,
        f"({severity})" if severity else "",
    )
    return " ".join(part for part in parts if part)


def _told(alert: Mapping[str, object]) -> str:
    labels, annotations = _texts(alert, "labels"), _texts(alert, "annotations")
    status, summary = _text(alert, "status").upper(), _text(annotations, "summary")
    place = " | ".join(
        f"{word}: {value}"
        for word, label in (("Alert", "alertname"), ("Environment", LANE_LABEL), ("Severity", "severity"))
        if (value := _text(labels, label))
    )
    lines = (": ".join(part for part in (status, summary) if part), _text(annotations, "description"), place)
    return "\n".join(line for line in lines if line)


def _alerts(payload: Mapping[str, object]) -> Iterator[Mapping[str, object]]:
    value = payload.get("alerts")
    if isinstance(value, list):
        yield from (item for item in value if isinstance(item, dict))


def _texts(holder: Mapping[str, object], key: str) -> Mapping[str, object]:
    value = holder.get(key)
    return value if isinstance(value, dict) else {}


def _text(holder: Mapping[str, object], key: str) -> str:
    value = holder.get(key)
    return value.strip() if isinstance(value, str) else ""
