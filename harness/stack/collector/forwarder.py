"""On to ClickHouse: every event that was kept, in batches, again and again until ClickHouse has it.

What is sent is named by where it stands in the spool (`insert_deduplication_token`), so that a batch whose answer was
lost is not stored twice; and the tables keep one row of an identity, should ClickHouse have forgotten the name.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import aiohttp

from harness.stack.collector.metrics import Metrics
from harness.stack.collector.schemas import Rejected
from harness.stack.collector.spool import Kept, Spool, SpoolError, Stretch

FIRST_PAUSE_SECONDS: Final = 0.1
LONGEST_PAUSE_SECONDS: Final = 2.0
LINGER_SECONDS: Final = 2.0
"""How long events wait for others where they are no whole batch: ClickHouse wants few inserts of many rows."""
"""Between two attempts; it doubles from the first to this."""

ANSWER_SECONDS: Final = 30.0
"""For ClickHouse to take a batch; a hanging one is given up and asked again."""

EXCEPTION_CODE: Final = "X-ClickHouse-Exception-Code"
DATA_ERRORS: Final = frozenset({"6", "26", "27", "38", "41", "69", "72", "117", "130", "131", "158", "190"})
"""ClickHouse's codes for rows that it cannot read or hold; asking again would not help (`ErrorCodes.cpp`)."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SHOWN = 300
_log = logging.getLogger("collector")


class NotTaken(Exception):
    """ClickHouse did not take an insert; its message says what it said. `data`: because of the rows themselves."""

    def __init__(self, sentence: str, *, data: bool = False) -> None:
        super().__init__(sentence)
        self.data = data


@dataclass(frozen=True, slots=True)
class Destination:
    """Where events go: the address of ClickHouse's HTTP interface, and a database there."""

    url: str
    database: str

    def table(self, kind: str) -> str:
        """The table of a kind of event."""
        name = kind.replace("-", "_")
        if _NAME.fullmatch(name) is None:
            raise NotTaken(f"no table can be called after the kind {kind!r}")
        return f"{self.database}.{name}_events"


class Forwarder:
    """Sends what is in a spool.

    Args:
        spool: the events.
        to: where they go.
        metrics: told what was taken.
        bury: keeps an event that ClickHouse will never take, with the reason.
        batch_events: how many are sent together at most.
    """

    def __init__(
        self,
        spool: Spool,
        to: Destination,
        metrics: Metrics,
        bury: Callable[[Sequence[Rejected]], None],
        batch_events: int = 10_000,
    ) -> None:
        self._spool = spool
        self._to = to
        self._metrics = metrics
        self._bury = bury
        self._batch_events = batch_events
        self._come = asyncio.Event()
        self.trouble: str | None = None
        """Why the last attempt failed; None while all is well."""

    def wake(self) -> None:
        """There is something new in the spool."""
        self._come.set()

    async def run(self) -> None:
        """Sends for as long as it is not cancelled."""
        timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
        async with aiohttp.ClientSession(timeout=timeout, trust_env=False) as session:
            while True:
                self._come.clear()
                try:
                    stretch = await asyncio.to_thread(self._spool.next_stretch, self._batch_events)
                    if stretch is None:
                        await self._come.wait()
                        await asyncio.sleep(LINGER_SECONDS)
                        continue
                    kept = await asyncio.to_thread(self._spool.read, stretch)
                except SpoolError as error:
                    self._troubled(str(error))
                    await asyncio.sleep(LONGEST_PAUSE_SECONDS)
                    continue
                await self._deliver(session, stretch, kept)
                self._metrics.queue(self._spool.waiting, self._spool.waiting_bytes)
                if len(kept) < self._batch_events:
                    await asyncio.sleep(LINGER_SECONDS)

    async def _deliver(self, session: aiohttp.ClientSession, stretch: Stretch, kept: Sequence[Kept]) -> None:
        """Returns once every event of a stretch is stored or buried, and that is written down."""
        by_kind: dict[str, list[bytes]] = {}
        for one in kept:
            by_kind.setdefault(one.kind, []).append(one.record)
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                for kind in list(by_kind):
                    await self._send(session, kind, by_kind[kind], f"{self._spool.store}:{stretch.after}:{kind}")
                    del by_kind[kind]
                await asyncio.to_thread(self._spool.sent, stretch, kept)
            except (NotTaken, SpoolError) as error:
                self._troubled(str(error))
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
            else:
                if self.trouble is not None:
                    _log.warning("ClickHouse takes events again")
                    self.trouble = None
                return

    async def _send(self, session: aiohttp.ClientSession, kind: str, records: Sequence[bytes], token: str) -> None:
        """Inserts the records of a kind; where ClickHouse cannot hold one of them, all but that one."""
        try:
            await self._insert(session, kind, records, token)
        except NotTaken as error:
            if not error.data:
                raise
            if len(records) == 1:
                text = records[0].decode()
                await asyncio.to_thread(self._bury, [Rejected(None, kind, "store", str(error), text)])
                self._metrics.rejected(kind, "store")
                return
            middle = len(records) // 2
            await self._send(session, kind, records[:middle], f"{token}:a")
            await self._send(session, kind, records[middle:], f"{token}:b")
        else:
            self._metrics.forwarded(kind, len(records), time.time())

    async def _insert(self, session: aiohttp.ClientSession, kind: str, records: Sequence[bytes], token: str) -> None:
        """One insert.

        Raises:
            NotTaken: ClickHouse did not take it, or nobody knows whether it did.
        """
        asked = {
            "query": f"INSERT INTO {self._to.table(kind)} (record) FORMAT JSONAsString",
            "insert_deduplication_token": token,
            # Taken means stored: never a buffer of the server's, never an answer before the end.
            "async_insert": "0",
            "wait_end_of_query": "1",
        }
        try:
            async with session.post(self._to.url, params=asked, data=b"\n".join(records)) as answer:
                if answer.status == 200:
                    await answer.read()
                    return
                said = (await answer.content.read(_SHOWN)).decode(errors="replace").strip()
                code = answer.headers.get(EXCEPTION_CODE, "")
                raise NotTaken(f"ClickHouse answers {answer.status}: {said}", data=code in DATA_ERRORS)
        except TimeoutError:
            raise NotTaken(f"ClickHouse did not answer within {ANSWER_SECONDS:g} s") from None
        except (aiohttp.ClientError, OSError) as error:
            raise NotTaken(f"ClickHouse cannot be reached: {error}") from error

    def _troubled(self, sentence: str) -> None:
        self._metrics.forward_failed()
        if self.trouble is None:
            _log.warning("events wait here: %s", sentence)
        self.trouble = sentence
