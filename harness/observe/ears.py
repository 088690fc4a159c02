"""The inbox as the conductor of the drills hears it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from harness.model.plan import Injection
from harness.observe.inbox import Inbox, Interference


class InboxEars:
    """What arrived of an injection, and how a negative control interferes with it."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox
        self.heard = inbox.heard
        self.caught = inbox.caught

    def interfere(self, injection: Injection, until_wall: float | None) -> Callable[[], None]:
        """Drops the messages of a control's injection, or holds them back until an instant; returns what ends that."""
        assert injection.control is not None
        interference = Interference(injection.lane, injection.alert, injection.control, until_wall)
        self._inbox.interfere(interference)
        return partial(self._inbox.clear, interference)
