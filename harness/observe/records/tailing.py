"""The live tail, tried: listened to while records are announced and stored, and held against what was announced."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import aiohttp

from harness.errors import HarnessError, in_a_line
from harness.model.logs import SearchPolicy
from harness.model.policy import Policies
from harness.model.records import RecordSchema
from harness.model.searching import TailTried
from harness.model.stack import Address
from harness.observe.records.announcements import Announcements
from harness.observe.records.matching import Matcher, OfDocument
from harness.observe.records.planted import plant
from harness.observe.records.searching import LOGS, SECONDS
from harness.observe.records.tail import Filters, TailServer, tail_server
from harness.stack.search import Search

LISTENING_SECONDS: Final = 10.0
WAITING_SECONDS: Final = 60.0
"""How long what was announced is waited for afterwards."""

POLL_SECONDS: Final = 0.1
FILTERS: Final = (Filters(), Filters(level="ERROR"))

_EVERY_SECONDS: Final = 1.0
_MANY: Final = 4


@dataclass(slots=True)
class Heard:
    """What one listener has heard: instants of delivery by identity, the first one, and how often each came."""

    filters: Filters
    opened: asyncio.Event = field(default_factory=asyncio.Event)
    at: dict[str, float] = field(default_factory=dict)
    times: Counter[str] = field(default_factory=Counter)
    ended: str = ""

    async def listen(self, address: Address) -> None:
        """Reads the stream until it ends, or is cancelled."""
        asked = {name: value for name in ("level", "lane", "source", "text") if (value := getattr(self.filters, name))}
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None)) as session,
                session.get(f"http://{address}/tail", params=asked) as answer,
            ):
                event = name = ""
                async for raw in _lines(answer.content):
                    key, _, value = raw.partition(": ")
                    if key == "event":
                        event = value
                    elif key == "id":
                        name = value
                    elif key == "data" and event == "dropped":
                        self.ended = value
                    elif not raw:
                        self._take(event, name)
                        event = name = ""
            self.ended = self.ended or "the stream ended"
        except (aiohttp.ClientError, OSError) as error:
            self.ended = self.ended or str(error) or repr(error)
        finally:
            self.opened.set()

    def _take(self, event: str, name: str) -> None:
        if event == "open":
            self.opened.set()
        elif event == "record":
            self.at.setdefault(name, time.time())
            self.times[name] += 1


async def try_tail(
    address: Address,
    policies: Policies,
    manifests: Path,
    *,
    run: str,
    seconds: float = LISTENING_SECONDS,
    within_seconds: float = WAITING_SECONDS,
) -> tuple[TailTried, ...]:
    """Listens to two tails of a run's store, of all records and of ERROR alone, while known records are stored.

    Args:
        address: where the store listens.
        policies: of the run; where they say nothing of a store nothing is tried.
        manifests: the run's manifests.
        run: the run's id.
        seconds: for how long records are stored.
        within_seconds: how long they are waited for afterwards.
    """
    logs = policies.logs
    if logs is None or logs.search is None:
        return ()
    trial = _Trial(
        address,
        logs.search,
        [one for one in policies.records if one.file.startswith(LOGS)],
        manifests,
        run,
        [Heard(filters) for filters in FILTERS],
    )
    try:
        spent = await trial.listen(seconds, within_seconds)
        told = Announcements.of(manifests, [one.source for one in trial.schemas], logs)
        return tuple(await asyncio.to_thread(trial.held, told, spent))
    except (HarnessError, OSError, TimeoutError) as error:
        why = in_a_line(error) or "the tails did not open in time"
        return tuple(TailTried(str(one.filters), error=one.ended or why) for one in trial.heard)


@dataclass(slots=True)
class _Trial:
    """Records stored while listeners listen. `documents` are those, by identity."""

    address: Address
    policy: SearchPolicy
    schemas: list[RecordSchema]
    manifests: Path
    run: str
    heard: list[Heard]
    documents: dict[str, OfDocument] = field(default_factory=dict)

    async def listen(self, seconds: float, within_seconds: float) -> float:
        """Stores records for a while, then waits until all listeners have theirs; how long it was listened to.

        Raises:
            HarnessError: the store cannot be asked, or records could not be announced.
            TimeoutError: a tail did not open.
        """
        async with tail_server(TailServer(self.address, self.policy)) as tail:
            listening = [asyncio.create_task(one.listen(tail)) for one in self.heard]
            try:
                await asyncio.wait_for(asyncio.gather(*(one.opened.wait() for one in self.heard)), within_seconds)
                began = time.monotonic()
                await self._store(seconds)
                deadline = time.monotonic() + within_seconds
                while self._awaited() and time.monotonic() < deadline:  # noqa: ASYNC110 - listeners tell nobody
                    await asyncio.sleep(POLL_SECONDS)
                # What comes twice may come a little later.
                await asyncio.sleep(min(within_seconds, 2 * self.policy.refresh.total_seconds()))
                return time.monotonic() - began
            finally:
                for task in listening:
                    task.cancel()
                await asyncio.wait(listening)

    async def _store(self, seconds: float) -> None:
        ends = time.monotonic() + seconds
        async with Search(self.address, within_seconds=SECONDS) as search:
            while time.monotonic() < ends:
                known = await plant(
                    search, self.policy, self.schemas, self.manifests, run=self.run, count=_MANY, refresh=False
                )
                self.documents |= {name: OfDocument(one) for name, one in known.documents.items()}
                await asyncio.sleep(_EVERY_SECONDS)

    def _awaited(self) -> bool:
        return any(not one.ended and not self._wanted(one) <= one.at.keys() for one in self.heard)

    def _wanted(self, one: Heard) -> set[str]:
        """The stored records that a listener must hear."""
        fits = self._matcher(one)
        return {name for name, document in self.documents.items() if fits(document)}

    def _matcher(self, one: Heard) -> Matcher:
        return Matcher(one.filters.query(self.policy.fields), self.policy.fields)

    def held(self, told: Announcements, spent: float) -> Iterator[TailTried]:
        """What each listener has heard, held against what was announced.

        Raises:
            HarnessError: a manifest cannot be read.
        """
        found = {name for one in self.heard for name in one.at} | self.documents.keys()
        announced = {line.identity: line for line in told if line.identity in found}
        for one in self.heard:
            wanted, fits = self._wanted(one), self._matcher(one)
            delays = [one.at[name] - announced[name].at for name in wanted & one.at.keys()]
            others = {name: announced.get(name) for name in one.at.keys() - wanted}
            foreign = [
                name
                for name, line in others.items()
                if name in self.documents or line is None or fits(told.facts(line)) is False
            ]
            yield TailTried(
                str(one.filters),
                expected=len(wanted),
                delivered=len(one.at),
                missing=len(wanted - one.at.keys()),
                twice=sum(times > 1 for times in one.times.values()),
                foreign=len(foreign),
                delay_p50_seconds=statistics.median(delays) if delays else None,
                delay_max_seconds=max(delays, default=None),
                seconds=spent,
                error=one.ended,
            )


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[str]:
    """The lines of a stream, however long each is."""
    rest = b""
    async for chunk in content.iter_any():
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line.removesuffix(b"\r").decode(errors="replace")
