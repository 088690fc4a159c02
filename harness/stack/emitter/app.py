"""The emitter at work: records at a rate, and mishaps when they are asked for, one at a time."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Final

from aiohttp import web

from harness.errors import UsageError
from harness.stack.emitter.log import SystemLog
from harness.stack.emitter.mishaps import asked

DEFAULT_PER_SECOND: Final = 5.0
"""Ordinary records a second, where nobody says how many."""

TICK_SECONDS: Final = 0.05
"""Between two looks at how many records are due."""


class Emitter:
    """Writes records at a rate until it is cancelled, and does what it is told over HTTP.

    `GET /health` says how many records were written and how many the disk did not take; `POST /mishap/<name>` returns
    when it is done.

    Args:
        log: where it writes.
        per_second: ordinary records a second.
    """

    def __init__(self, log: SystemLog, per_second: float) -> None:
        self._log = log
        self._per_second = per_second
        self._writing = asyncio.Lock()
        self._lost = 0

    def application(self) -> web.Application:
        """Its control."""
        app = web.Application()
        app.router.add_get("/health", self._health)
        app.router.add_post("/mishap/{name}", self._mishap)
        return app

    async def run(self) -> None:
        """Writes until it is cancelled."""
        began, made = time.monotonic(), 0
        while True:
            due = int((time.monotonic() - began) * self._per_second) - made
            made += due
            if due:
                async with self._writing:
                    self._write(due)
            await asyncio.sleep(TICK_SECONDS)

    def _write(self, count: int) -> None:
        try:
            self._log.write(count)
        except OSError as error:
            if not self._lost:
                print(f"{self._log.path}: not written: {error}", file=sys.stderr)  # noqa: T201  # a process of its own
            self._lost += count

    async def _health(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "alive", "written": self._log.written, "lost": self._lost})

    async def _mishap(self, request: web.Request) -> web.Response:
        try:
            mishap, number = asked(request.match_info["name"], request.query)
            async with self._writing:
                await mishap.do(self._log, number)
        except UsageError as error:
            return web.json_response({"error": str(error)}, status=400)
        except OSError as error:
            return web.json_response({"error": f"The log did not take it: {error}"}, status=507)
        return web.json_response({"written": self._log.written})
