"""Sessions and the cache of posts, in Redis.

A session's token is the secret of its owner: Redis and the logs know its SHA-256 alone. The promise to the handlers is
that of `mysql`: an answer or a `StorageError` within `DEADLINE_SECONDS`.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Final

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from harness.stack.subject.domain import Active, Post, QueryFailed, Session, Unavailable, User

DEADLINE_SECONDS: Final = 0.4
"""For one exchange, connecting included. A request asks Redis twice and the database once: 4 s in all at the worst."""

SESSION_SECONDS: Final = 1800
"""A session ends when it was not used for half an hour."""

ACTIVE_SECONDS: Final = 300
"""Who was seen within five minutes is active."""

POST_SECONDS: Final = 10
"""How long a post is cached; posts do not change, so the time only bounds how much is held."""

_SEEN_SESSIONS = "seen:sessions"
_SEEN_USERS = "seen:users"


def connect(url: str) -> Redis:
    """A client that connects when it is first asked, and again by itself.

    One retry without a pause: it replaces a connection that a restarted Redis has closed. The library's own default
    (three, with pauses that grow) would outlast our deadline.
    """
    return Redis.from_url(
        url,
        decode_responses=True,
        socket_connect_timeout=DEADLINE_SECONDS,
        socket_timeout=DEADLINE_SECONDS,
        retry=Retry(NoBackoff(), 1),
        max_connections=16,
        protocol=2,
    )


def session_id(token: str) -> str:
    """What names a session where anybody may read it."""
    return _digest(token)[:16]


class RedisSessions:
    """`domain.Sessions` in Redis; `seen:*` are sorted sets by the last use, in Unix seconds."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def ping(self) -> None:
        """Returns when Redis answers."""
        async with _asked("EXISTS seen"):
            await self._redis.exists(_SEEN_USERS)

    async def open(self, user: User) -> str:
        """Opens a session."""
        token = secrets.token_urlsafe(24)
        async with _asked("SET session"):
            kept = json.dumps({"user_id": user.id, "user_name": user.name})
            await self._redis.set(_key(token), kept, ex=SESSION_SECONDS)
        return token

    async def find(self, token: str) -> Session | None:
        """The session of a token."""
        async with _asked("GET session"):
            kept = await self._redis.get(_key(token))
            if kept is None:
                return None
            owner = json.loads(kept)
            session = Session(session_id(token), int(owner["user_id"]), str(owner["user_name"]))
            now = time.time()
            async with self._redis.pipeline(transaction=False) as pipeline:
                pipeline.expire(_key(token), SESSION_SECONDS)
                pipeline.zadd(_SEEN_SESSIONS, {session.id: now})
                pipeline.zadd(_SEEN_USERS, {str(session.user_id): now})
                await pipeline.execute()
        return session

    async def close(self, token: str) -> None:
        """Ends a session."""
        async with _asked("DEL session"), self._redis.pipeline(transaction=False) as pipeline:
            pipeline.delete(_key(token))
            pipeline.zrem(_SEEN_SESSIONS, session_id(token))
            await pipeline.execute()

    async def active(self) -> Active:
        """How many sessions and users were active of late; forgets the others."""
        past = time.time() - ACTIVE_SECONDS
        async with _asked("ZCARD seen"), self._redis.pipeline(transaction=False) as pipeline:
            pipeline.zremrangebyscore(_SEEN_SESSIONS, "-inf", past)
            pipeline.zremrangebyscore(_SEEN_USERS, "-inf", past)
            pipeline.zcard(_SEEN_SESSIONS)
            pipeline.zcard(_SEEN_USERS)
            _, _, sessions, users = await pipeline.execute()
        return Active(int(sessions), int(users))


class RedisPostCache:
    """`domain.PostCache` in Redis."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def get(self, post_id: int) -> Post | None:
        """The post, if it is cached."""
        async with _asked("GET post"):
            kept = await self._redis.get(f"post:{post_id}")
        if kept is None:
            return None
        post = json.loads(kept)
        return Post(post_id, post["author"], post["title"], post["body"], datetime.fromisoformat(post["created_at"]))

    async def put(self, post: Post) -> None:
        """Caches a post for ten seconds."""
        kept = {
            "author": post.author,
            "title": post.title,
            "body": post.body,
            "created_at": post.created_at.isoformat(),
        }
        async with _asked("SET post"):
            await self._redis.set(f"post:{post.id}", json.dumps(kept), ex=POST_SECONDS)


@asynccontextmanager
async def _asked(command: str) -> AsyncIterator[None]:
    started = time.perf_counter()
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            yield
    except (RedisConnectionError, RedisTimeoutError, OSError) as error:
        raise Unavailable(
            f"Redis: {error or 'no answer in time'}",
            code=type(error).__name__,
            query=command,
            seconds=time.perf_counter() - started,
        ) from error
    except RedisError as error:
        raise QueryFailed(
            f"Redis: {error}", code=type(error).__name__, query=command, seconds=time.perf_counter() - started
        ) from error


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _key(token: str) -> str:
    return f"session:{_digest(token)}"
