"""Previews of images that members are about to post: held in the memory of this process, and nowhere else.

A preview lives until its session ends, and ten minutes at most. How many a session may have is not bounded: a leak that
is known and left, for it is what the drill of the heap shows. Each is memory of its own (an anonymous mapping), not a
piece of Python's heap: what is dropped is the kernel's again at once, however the heap is fragmented.
"""

from __future__ import annotations

import mmap
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from typing import Final

from harness.stack.subject.domain import Refused, Session

LARGEST_BYTES: Final = 1_000_000
"""The largest preview; the picture itself is not ours to keep."""

KEPT_SECONDS: Final = 600
"""Who has not posted after ten minutes uploads again."""


class Previews:
    """The previews of one instance.

    Args:
        now: the clock that their age is told by, in seconds.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._kept: dict[str, list[tuple[float, mmap.mmap]]] = defaultdict(list)

    async def keep(self, owner: Session, length: int, body: AsyncIterator[bytes]) -> int:
        """Keeps a preview of so many bytes; its number within the session, from 1.

        Raises:
            Refused: it is empty or too large.
        """
        if not 0 < length <= LARGEST_BYTES:
            raise Refused(413 if length else 400, f"a preview has 1 to {LARGEST_BYTES} bytes")
        held = mmap.mmap(-1, length, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        try:
            # No longer than was said: HTTP's own parser sees to that. One that breaks off raises.
            async for piece in body:
                held.write(piece)
        except BaseException:
            held.close()
            raise
        self._kept[owner.id].append((self._now(), held))
        return len(self._kept[owner.id])

    def end(self, owner: Session) -> None:
        """Drops all of a session; nothing if there are none."""
        for _, held in self._kept.pop(owner.id, ()):
            held.close()

    def forget_old(self) -> None:
        """Drops those that are older than ten minutes."""
        past = self._now() - KEPT_SECONDS
        for owner, previews in list(self._kept.items()):
            while previews and previews[0][0] <= past:
                previews.pop(0)[1].close()
            if not previews:
                del self._kept[owner]

    def __len__(self) -> int:
        return sum(map(len, self._kept.values()))
