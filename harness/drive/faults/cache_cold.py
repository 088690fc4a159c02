"""The cache forgets: the posts that it keeps are deleted as fast as they come, by somebody who clears it too often."""

from __future__ import annotations

from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from harness.drive.faults import LaneControl
from harness.drive.lasting import Deed, LastingFault, Turns
from harness.drive.look import LOOK_SECONDS, Look
from harness.drive.newcomer import ponged
from harness.drive.tally import SUBJECT, Tally
from harness.model.stack import Address

HIT_RATIO = 0.5
"""The condition: fewer than half of the posts that are asked for are found."""
LEAST_LOOKS = 8
"""A ratio of fewer look-ups than these says nothing: of 8 a healthy cache (80 %) misses more than half once in 100."""
PAUSE_SECONDS = 0.2
"""Between two clearings: at 3 posts a second hardly any is read twice within that."""
_POSTS = "post:*"
_AT_ONCE = 1000


class CacheCold(LastingFault):
    """`DEL` of every `post:*` in the lane's Redis, five times a second, until the fault is healed; sessions stay."""

    id = "cache-cold"
    summary = "The posts in the cache are deleted five times a second, so that hardly any is found there."
    component = "redis"
    what = "the cache of posts"
    done = "cleared again and again"
    effect = f"fewer than {HIT_RATIO:.0%} of at least {LEAST_LOOKS} look-ups are hits"
    health = "PING is answered"
    looks_apart_seconds = 0.1

    def deed(self, control: LaneControl) -> Deed:
        """Clearing one lane's cache."""
        redis = control.lane.behind.get(self.component) or control.lane.addresses[self.component]
        return _Clearing(redis, control.lane.addresses[SUBJECT])

    async def well(self, control: LaneControl) -> Look:
        """The cache answers; it fills again by itself, and how fast is its readers' affair."""
        return await ponged(self.address(control))


class _Clearing:
    """Clears the cache of posts, by turns; and what the application found in it since."""

    def __init__(self, redis: Address, subject: Address) -> None:
        self._tally = Tally(subject)
        self._redis: Redis = Redis(
            host=redis.host,
            port=redis.port,
            socket_timeout=LOOK_SECONDS,
            socket_connect_timeout=LOOK_SECONDS,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
        )
        self._turns: Turns | None = None

    async def begin(self) -> None:
        self._turns = Turns(self._clear, PAUSE_SECONDS, (RedisError, OSError), "cache of posts cleared")

    async def _clear(self) -> None:
        kept: list[Any] = [key async for key in self._redis.scan_iter(match=_POSTS, count=_AT_ONCE)]
        if kept:
            await self._redis.delete(*kept)

    async def look(self) -> Look:
        counted = await self._tally.read()
        if isinstance(counted, str):
            return Look(False, counted)
        looks = counted.hits + counted.misses
        ratio = counted.hits / looks if looks else 1.0
        failure = self._turns.failure if self._turns is not None else "it was not begun"
        return Look(
            looks >= LEAST_LOOKS and ratio < HIT_RATIO,
            f"{counted.hits:.0f} of {looks:.0f} look-ups were hits since the cache was first cleared"
            + (f"; clearing it failed: {failure}" if failure else ""),
        )

    async def end(self) -> None:
        if self._turns is not None:
            await self._turns.end()
        await self._redis.aclose()
