"""One at a time: whoever brings components into a cache holds its lock."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from harness.errors import CacheError
from harness.stack.provision.cache import storage_error
from harness.stack.provision.source import Say

_POLL_SECONDS = 0.05


@asynccontextmanager
async def exclusive(cache: Path, say: Say, *, deadline_seconds: float = 1800) -> AsyncIterator[None]:
    """Holds the cache's lock; waits for who holds it now, and says so.

    The kernel lets go of it when its holder dies, however it dies. Children do not inherit it.

    Raises:
        DiskFull: no room is left for the cache's folder.
        CacheError: the cache cannot be written, or somebody held the lock past the deadline.
    """
    try:
        cache.mkdir(parents=True, exist_ok=True)
        handle = os.open(cache / "provision.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise storage_error(error, cache) from error
    try:
        await _acquire(handle, cache, say, deadline_seconds)
        yield
    finally:
        os.close(handle)


async def _acquire(handle: int, cache: Path, say: Say, deadline_seconds: float) -> None:
    told = False
    try:
        async with asyncio.timeout(deadline_seconds):
            while True:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    if not told:
                        say(f"another process is filling the cache {cache}; waiting for it")
                        told = True
                    await asyncio.sleep(_POLL_SECONDS)
                except OSError as error:
                    raise storage_error(error, cache) from error
                else:
                    return
    except TimeoutError:
        raise CacheError(
            f"the cache {cache} stayed locked by another process",
            expected="that it is done and lets go",
            waited_seconds=deadline_seconds,
            hint="see who holds it with `fuser -v` on its provision.lock; end that process or wait for it",
        ) from None
