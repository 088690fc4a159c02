"""A channel's voice: says what it was given, in order, each until it was taken, whatever other channels do."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from harness.stack.listener.metrics import Metrics
from harness.stack.listener.senders import Sender, Undelivered
from harness.stack.listener.words import Message

FIRST_PAUSE_SECONDS: Final = 0.5
"""Between the first try and the second; it doubles from there."""

LONGEST_PAUSE_SECONDS: Final = 15.0
"""A channel that is back must hear soon, and one that is not must not be flooded."""

_LONGEST_ASKED_SECONDS = 60.0


class Speaker:
    """One channel."""

    def __init__(self, channel: str, sender: Sender, metrics: Metrics) -> None:
        self._channel = channel
        self._sender = sender
        self._metrics = metrics
        self._waiting: list[Message] = []
        self._news = asyncio.Event()
        self._log = logging.getLogger(f"listener.{channel}")
        metrics.expect(channel)

    def say(self, message: Message) -> None:
        """Queues a message; one that only repeats what has not been heard yet is left out."""
        if message.repeated and self._waiting:
            return
        self._waiting.append(message)
        self._metrics.waiting(self._channel, len(self._waiting))
        self._news.set()

    async def run(self) -> None:
        """Sends for as long as it is not cancelled."""
        while True:
            while not self._waiting:
                self._news.clear()
                await self._news.wait()
            await self._deliver(self._waiting[0])
            del self._waiting[0]
            self._metrics.waiting(self._channel, len(self._waiting))

    async def _deliver(self, message: Message) -> None:
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                await self._sender.send(message)
            except Undelivered as error:
                self._metrics.failed(self._channel)
                wait = max(pause, min(error.wait_seconds, _LONGEST_ASKED_SECONDS))
                self._log.warning("%s was not taken: %s; tried again in %g s", message.title, error, wait)
                await asyncio.sleep(wait)
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
            else:
                self._metrics.delivered(self._channel)
                self._log.info("%s was taken", message.title)
                return
