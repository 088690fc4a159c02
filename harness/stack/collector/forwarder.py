"""On to a destination: every event that was kept, in batches, again and again until the destination has it.

There is one forwarder for each destination, with a place of its own in the spool; none waits for another.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import aiohttp

from harness.stack.collector.database import SpoolError
from harness.stack.collector.letters import LettersFull
from harness.stack.collector.metrics import Outflow
from harness.stack.collector.outlets import Kept, Outlet, Stretch
from harness.stack.collector.schemas import Rejected, identity_of

FIRST_PAUSE_SECONDS: Final = 0.1
LONGEST_PAUSE_SECONDS: Final = 2.0
"""Between two attempts; it doubles from the first to this."""

LINGER_SECONDS: Final = 2.0
"""How long events wait for others where they are no whole batch: a store wants few inserts of many rows."""

ANSWER_SECONDS: Final = 30.0
"""For a destination to take a batch; a hanging one is given up and asked again."""

SHOWN: Final = 300
"""Bytes of a refusal that are told."""

_log = logging.getLogger("collector")


class NotTaken(Exception):
    """A destination did not take what was sent; its message says what it said.

    Args:
        data: because of the events themselves, so that asking again would not help.
        whole: because of every single one of them.
    """

    def __init__(self, sentence: str, *, data: bool = False, whole: bool = False) -> None:
        super().__init__(sentence)
        self.data = data
        self.whole = whole


@dataclass(frozen=True, slots=True)
class Parcel:
    """Events of one kind that are sent together; it has the same name whenever they are sent again."""

    kind: str
    records: Sequence[bytes]
    name: str

    def halves(self) -> tuple[Parcel, Parcel]:
        """Two parcels, in the order of their events."""
        middle = len(self.records) // 2
        return (
            Parcel(self.kind, self.records[:middle], f"{self.name}:a"),
            Parcel(self.kind, self.records[middle:], f"{self.name}:b"),
        )


class Store(Protocol):
    """Where events go."""

    @property
    def title(self) -> str:
        """What it is called in sentences."""
        ...

    async def take(self, session: aiohttp.ClientSession, parcel: Parcel) -> None:
        """Returns once the store has all of a parcel for good.

        Raises:
            NotTaken: it has not, or nobody knows whether it has.
        """
        ...


class Forwarder:
    """Sends what is in a spool to one destination.

    Args:
        outlet: the destination's place in the spool.
        store: the name of the spool, which is part of the name of every parcel.
        to: the destination.
        outflow: told what was taken.
        bury: keeps events that the destination will never take, with the reason.
        batch_events: how many are sent together at most.
    """

    def __init__(
        self,
        outlet: Outlet,
        store: str,
        to: Store,
        outflow: Outflow,
        bury: Callable[[Sequence[Rejected]], None],
        batch_events: int,
    ) -> None:
        self._outlet = outlet
        self._store = store
        self._to = to
        self._outflow = outflow
        self._bury = bury
        self._batch_events = batch_events
        self._come = asyncio.Event()
        self.trouble: str | None = None
        """Why the last attempt failed; None while all is well."""
        self._tell()

    @property
    def name(self) -> str:
        """The destination's."""
        return self._outlet.name

    @property
    def title(self) -> str:
        """What the destination is called in sentences."""
        return self._to.title

    @property
    def waiting(self) -> int:
        """How many events the destination is to have and does not have yet."""
        return self._outlet.waiting

    def wake(self) -> None:
        """There is something new in the spool."""
        self._tell()
        self._come.set()

    async def run(self) -> None:
        """Sends for as long as it is not cancelled."""
        timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
        async with aiohttp.ClientSession(timeout=timeout, trust_env=False) as session:
            while True:
                self._come.clear()
                try:
                    stretch = await asyncio.to_thread(self._outlet.next_stretch, self._batch_events)
                    if stretch is None:
                        await self._come.wait()
                        await asyncio.sleep(LINGER_SECONDS)
                        continue
                    kept = await asyncio.to_thread(self._outlet.read, stretch)
                except SpoolError as error:
                    self._troubled(str(error))
                    await asyncio.sleep(LONGEST_PAUSE_SECONDS)
                    continue
                await self._deliver(session, stretch, kept)
                self._tell()
                if len(kept) < self._batch_events:
                    await asyncio.sleep(LINGER_SECONDS)

    async def _deliver(self, session: aiohttp.ClientSession, stretch: Stretch, kept: Sequence[Kept]) -> None:
        """Returns once every event of a stretch is stored or buried, and that is written down."""
        by_kind: dict[str, list[bytes]] = {}
        for one in kept:
            if self._outlet.takes(one.kind):
                by_kind.setdefault(one.kind, []).append(one.record)
        parcels = deque(
            Parcel(kind, records, f"{self._store}:{stretch.after}:{kind}") for kind, records in by_kind.items()
        )
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                while parcels:
                    await self._send(session, parcels)
                    pause = FIRST_PAUSE_SECONDS
                await asyncio.to_thread(self._outlet.sent, stretch, kept)
            except (NotTaken, SpoolError) as error:
                self._troubled(str(error))
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
            else:
                if self.trouble is not None:
                    _log.warning("%s takes events again", self._to.title)
                    self.trouble = None
                return

    async def _send(self, session: aiohttp.ClientSession, parcels: deque[Parcel]) -> None:
        """Sends the first parcel; where the destination cannot hold all of it, two halves are left in its place.

        Raises:
            NotTaken: it was not taken; it is still the first.
        """
        parcel = parcels[0]
        try:
            await self._to.take(session, parcel)
        except NotTaken as error:
            if not error.data:
                raise
            if not error.whole and len(parcel.records) > 1:
                parcels.popleft()
                parcels.extendleft(reversed(parcel.halves()))
                return
            await self._buried(parcel, str(error))
        else:
            self._outflow.forwarded(parcel.kind, len(parcel.records), time.time())
        parcels.popleft()

    async def _buried(self, parcel: Parcel, reason: str) -> None:
        """Makes dead letters of a parcel.

        Raises:
            NotTaken: there is no room for them. They wait: an event is never thrown away silently.
        """
        cause = self._outflow.cause
        letters = [
            Rejected(identity_of(record), parcel.kind, cause, reason, record.decode()) for record in parcel.records
        ]
        try:
            await asyncio.to_thread(self._bury, letters)
        except (LettersFull, OSError) as error:
            raise NotTaken(f"{reason}; and no dead letter can be kept: {error}") from error
        self._outflow.refused(parcel.kind, len(letters))

    def _tell(self) -> None:
        self._outflow.queue(self._outlet.waiting, self._outlet.waiting_bytes)

    def _troubled(self, sentence: str) -> None:
        self._outflow.failed()
        if self.trouble is None:
            _log.warning("events wait here: %s", sentence)
        self.trouble = sentence
