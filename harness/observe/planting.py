"""Changes whose own instant is known, planted in the world, and how long it takes until a query sees them.

A change is one key more in a database of a lane's Redis that nobody else uses: the exporter tells how many there are
(`redis_db_keys`), so the way goes through a real server, its exporter, a scrape and a query. The instant is that of
Redis's acknowledgement. Instants and lanes are drawn from the seed: they are not locked to the phase of a scrape.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from aiohttp import ClientSession
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from harness.model.collection import ChangeNotPlanted, ChangePlanted, ChangeSeen
from harness.model.events import Payload
from harness.model.stack import LANE_LABEL, Address
from harness.model.time import Instant
from harness.observe.asking import NoAnswer, ask
from harness.observe.hops import quoted

DATABASE: Final = 15
"""The database that changes are planted in: the last of the sixteen that Redis has unless it is told otherwise."""

POLL_SECONDS: Final = 0.025
"""How often Prometheus is asked while a change is awaited: how exact the delay is."""

DEADLINE_SECONDS: Final = 15.0
"""How long a change is awaited; three times the 5 s that are promised."""

AT_ONCE: Final = 3
"""How many changes are awaited at the same time, at most; one query asks for all of them."""

PAUSE_SECONDS: Final = (0.1, 1.1)
"""Between which the pause before the next change is drawn: 90 s give about 130 changes where a scrape comes every 2 s,
more than twice the 59 that a bound of the 95th percentile needs."""

_REDIS_SECONDS = 1.0
_QUERY_SECONDS = 2.0
_KEY = "planted"


@dataclass(slots=True)
class _Awaited:
    """A change that was planted: the number of keys that shows it."""

    lane: str
    value: float
    seen: asyncio.Future[float] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Planting:
    """Plants changes, lane after lane, and writes when each was planted and when it was seen.

    Args:
        prometheus: where it listens.
        lanes: the address of each lane's Redis, by the lane's name.
        seed: what instants are drawn from.
        write: takes a `ChangePlanted` and its `ChangeSeen`, or a `ChangeNotPlanted`.
        deadline_seconds: how long a change is awaited.
    """

    def __init__(
        self,
        prometheus: Address,
        lanes: Mapping[str, Address],
        seed: int,
        write: Callable[[Payload], object],
        *,
        deadline_seconds: float = DEADLINE_SECONDS,
    ) -> None:
        self._prometheus = prometheus
        self._lanes = lanes
        self._dice = random.Random(f"{seed}/planting")
        self._write = write
        self._deadline = deadline_seconds
        self._awaited: dict[str, _Awaited] = {}
        self._wanted = asyncio.Event()
        self._shown: dict[str, float] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Plants until `stop` is set, then waits for what is still awaited, until its deadline at most."""
        if not self._lanes:
            return
        free = asyncio.Semaphore(AT_ONCE)
        changes: set[asyncio.Task[None]] = set()
        busy: set[str] = set()
        order = self._dice.sample(sorted(self._lanes), len(self._lanes))
        number = 0
        async with ClientSession(f"http://{self._prometheus}") as session:
            asking = asyncio.create_task(self._ask(session), name="queries for planted changes")
            try:
                while not await _set_within(stop, self._dice.uniform(*PAUSE_SECONDS)):
                    if asking.done() or any(_failed(change) for change in changes):
                        break  # whoever fails ends all
                    lane = next((lane for lane in order if lane not in busy), None)
                    if lane is None or free.locked():
                        continue
                    order.remove(lane)
                    order.append(lane)
                    number += 1
                    busy.add(lane)
                    await free.acquire()
                    change = asyncio.create_task(self._change(session, f"change-{number:03}", lane), name=lane)
                    changes.add(change)

                    def over(done: asyncio.Task[None]) -> None:
                        busy.discard(done.get_name())
                        free.release()
                        if done.cancelled() or done.exception() is None:
                            changes.discard(done)

                    change.add_done_callback(over)
                await asyncio.gather(*changes)
            finally:
                for task in (asking, *changes):
                    task.cancel()
                await asyncio.wait([asking, *changes])
        if not asking.cancelled():
            asking.result()  # it ends by itself only when it fails

    async def _change(self, session: ClientSession, name: str, lane: str) -> None:
        """One change, from its planting to the moment when it is seen."""
        with suppress(NoAnswer, TimeoutError):  # a Prometheus that does not answer is what may be found out
            async with asyncio.timeout(_QUERY_SECONDS):
                self._shown |= await _shown(session, _keys_of(lane))
        try:
            count, planted = await self._plant(lane, name, self._shown.get(lane))
        except (RedisError, OSError, TimeoutError) as error:
            why = str(error) or type(error).__name__
            self._write(ChangeNotPlanted(name, lane, Instant.now().wall, why))
            return
        awaited = _Awaited(lane, count)
        self._write(ChangePlanted(name, lane, planted.wall, _keys_of(lane), count))
        self._awaited[lane] = awaited
        self._wanted.set()
        try:
            async with asyncio.timeout(max(0.0, planted.monotonic + self._deadline - Instant.now().monotonic)):
                seen = await awaited.seen
        except TimeoutError:
            shown = self._shown.get(lane)
            told = "nothing" if shown is None else f"{shown:g} keys"
            self._write(ChangeSeen(name, float("inf"), f"{self._deadline:g} s later {told} instead of {count:g}"))
        else:
            self._write(ChangeSeen(name, seen - planted.monotonic))
        finally:
            del self._awaited[lane]

    async def _plant(self, lane: str, name: str, shown: float | None) -> tuple[int, Instant]:
        """Adds a key; the number of keys then, and the instant at which Redis had acknowledged it.

        The new number is never one that Prometheus shows already: a server that was started anew counts from 0, and
        what is left of its former life would pass for the change.
        """
        address = self._lanes[lane]
        client = Redis(
            host=address.host,
            port=address.port,
            db=DATABASE,
            socket_timeout=_REDIS_SECONDS,
            socket_connect_timeout=_REDIS_SECONDS,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
        )
        async with client, asyncio.timeout(2 * _REDIS_SECONDS):
            if shown is not None and await client.dbsize() + 1 == shown:
                await client.set(f"{_KEY}-before-{name}", "")
            transaction = client.pipeline(transaction=True)
            transaction.set(f"{_KEY}-{name}", "")
            transaction.dbsize()
            _, count = await transaction.execute()
            return int(count), Instant.now()

    async def _ask(self, session: ClientSession) -> None:
        """Asks for all changes that are awaited, as long as there is one."""
        while True:
            await self._wanted.wait()
            lanes = sorted(self._awaited)
            if not lanes:
                self._wanted.clear()
                continue
            with suppress(NoAnswer, TimeoutError):  # whoever is awaited then comes late, or never
                async with asyncio.timeout(_QUERY_SECONDS):
                    self._shown |= await _shown(session, _keys_of(*lanes))
                now = Instant.now().monotonic
                for awaited in self._awaited.values():
                    if self._shown.get(awaited.lane) == awaited.value and not awaited.seen.done():
                        awaited.seen.set_result(now)
            await asyncio.sleep(POLL_SECONDS)


def _failed(change: asyncio.Task[None]) -> bool:
    """Whether a change came to its end by an error; one that is just over is not yet taken out of the set."""
    return change.done() and not change.cancelled() and change.exception() is not None


def _keys_of(*lanes: str) -> str:
    """The query for the number of keys in the lanes' database of changes."""
    if len(lanes) == 1:
        return f'redis_db_keys{{db="db{DATABASE}",{LANE_LABEL}={quoted(lanes[0])}}}'
    return f'redis_db_keys{{db="db{DATABASE}",{LANE_LABEL}=~{quoted("|".join(lanes))}}}'


async def _shown(session: ClientSession, query: str) -> dict[str, float]:
    """What a query shows, by lane.

    Raises:
        NoAnswer: Prometheus could not be asked, or answered in a form that we do not know.
    """
    series: list[Any] = await ask(session, query)
    try:
        return {one["metric"].get(LANE_LABEL, ""): float(one["value"][1]) for one in series}
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise NoAnswer(f"answered with no instant vector to {query}") from error


async def _set_within(stop: asyncio.Event, seconds: float) -> bool:
    """Whether an event is set within so many seconds; returns as soon as it is."""
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
    return stop.is_set()
