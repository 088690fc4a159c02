"""A sink that drops 10 %: every tenth message of an alert, after its sender was told that it was taken."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Self

from harness.model.notifications import Notification, Status
from harness.model.plan import Control
from harness.observe.attribution import says, speaks_of
from harness.observe.inbox import Interference

EVERY = 10


@dataclass(frozen=True, slots=True, eq=False)
class DropsEveryTenth(Interference):
    """Drops the tenth, twentieth, ... of the messages that say an alert fires, whichever lane they are of.

    Those that say that it is over are left alone, so that what is seen of a lost message is that it was lost.
    """

    lanes: tuple[str, ...] = ()
    numbers: Iterator[int] = field(default_factory=lambda: count(1))

    @classmethod
    def of(cls, alert: str, lanes: Iterable[str], channels: Iterable[str]) -> Self:
        """One that begins to count now."""
        return cls("", alert, Control.LOST, channels=frozenset(channels), lanes=tuple(lanes))

    def touches(self, notification: Notification) -> bool:
        """Whether this message is one of those to be dropped; asked once of each message."""
        counts = (
            (self.channels is None or notification.channel in self.channels)
            and says(notification.status, Status.FIRING)
            and any(speaks_of(notification, self.alert, lane) for lane in self.lanes)
        )
        return counts and next(self.numbers) % EVERY == 0
