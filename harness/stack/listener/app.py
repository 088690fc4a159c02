"""The endpoints, and the listener behind them: heartbeats come in, messages go out to every channel."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from aiohttp import web
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from harness.policy.parse.dead_man import DeadMan
from harness.stack.listener.metrics import Metrics
from harness.stack.listener.speaker import Speaker
from harness.stack.listener.vigil import News, State, Vigil
from harness.stack.listener.words import Message

HEARTBEAT_PATH: Final = "/heartbeat"
LOOK_SECONDS: Final = 0.25
"""Between two looks whether it is time to speak."""

_LARGEST_BODY_BYTES = 256 * 1024
_log = logging.getLogger("listener")


class Listener:
    """Hears and speaks.

    Args:
        settings: what dead-man.yaml says.
        speakers: the channels.
        metrics: its figures.
    """

    def __init__(self, settings: DeadMan, speakers: Sequence[Speaker], metrics: Metrics) -> None:
        self._settings = settings
        self._speakers = tuple(speakers)
        self._metrics = metrics
        self._since: datetime | None = None
        self._vigil = Vigil(
            settings.silence.total_seconds(),
            settings.grace.total_seconds(),
            settings.repeat.total_seconds(),
            time.monotonic(),
        )

    @property
    def state(self) -> State:
        """What is known of the heartbeats."""
        return self._vigil.state

    async def run(self) -> None:
        """Looks and speaks for as long as it is not cancelled."""
        async with asyncio.TaskGroup() as voices:
            for speaker in self._speakers:
                voices.create_task(speaker.run())
            while True:
                self._tell(self._vigil.look(time.monotonic()))
                await asyncio.sleep(LOOK_SECONDS)

    def application(self) -> web.Application:
        """`POST /heartbeat`, `GET /health`, `GET /metrics`."""
        app = web.Application(client_max_size=_LARGEST_BODY_BYTES)
        app.router.add_post(HEARTBEAT_PATH, self._heartbeat)
        app.router.add_get("/health", self._health)
        app.router.add_get("/metrics", self._exposition)
        return app

    async def _heartbeat(self, request: web.Request) -> web.Response:
        """A message of Alertmanager's webhook, version 4 (its manual, "Configuration", `webhook_config`)."""
        statuses = _statuses(await request.text(), self._settings.watchdog)
        if not statuses:
            # 4xx: Alertmanager does not try again what will not become better.
            self._metrics.refused()
            return web.Response(status=422, text=f"no message of Alertmanager's about {self._settings.watchdog}\n")
        if "firing" in statuses:
            self._metrics.heartbeat(time.time())
            self._tell(self._vigil.beat(time.monotonic()))
        else:
            _log.warning("%s is resolved: nobody evaluates it any more", self._settings.watchdog)
            self._vigil.ended(time.monotonic())
        return web.Response(text="heard\n")

    async def _health(self, _request: web.Request) -> web.Response:
        """The process lives; what it knows of heartbeats is no matter of its health."""
        return web.json_response({"status": "alive", "heartbeats": self._vigil.state})

    async def _exposition(self, _request: web.Request) -> web.Response:
        return web.Response(body=self._metrics.exposition(), headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4})

    def _tell(self, news: News | None) -> None:
        """Says what there is to say, through every channel."""
        if news is None:
            return
        _log.warning("heartbeats of %s: %s", self._settings.watchdog, news)
        now = datetime.now(UTC)
        since = self._since or now
        self._since = None if news is News.RESOLVED else since
        self._metrics.silent(self._since is not None)
        message = Message.make(
            self._settings.alert,
            since,
            now if news is News.RESOLVED else None,
            repeated=news is News.STILL_FIRING,
        )
        for speaker in self._speakers:
            speaker.say(message)


def _statuses(body: str, watchdog: str) -> frozenset[str]:
    """What a message of Alertmanager's says of the watchdog; nothing where it is no such message."""
    try:
        message = json.loads(body)
    except (ValueError, RecursionError):
        return frozenset()
    alerts = message.get("alerts") if isinstance(message, Mapping) else None
    found: set[str] = set()
    for alert in alerts if isinstance(alerts, list) else ():
        labels = alert.get("labels") if isinstance(alert, Mapping) else None
        if isinstance(labels, Mapping) and labels.get("alertname") == watchdog:
            found.add(str(alert.get("status")))
    return frozenset(found & {"firing", "resolved"})
