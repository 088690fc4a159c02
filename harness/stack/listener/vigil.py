"""Whether heartbeats come, and when it is time to speak. All times are seconds of one monotonic clock."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

BLIND_SECONDS: Final = 2.0
"""Who did not look for longer than this (a stopped process, a starved machine) does not know whether a beat came."""


class State(StrEnum):
    """What is known of the heartbeats."""

    WAITING = "waiting"
    """None came since the start, and the grace is not over."""
    WELL = "well"
    SILENT = "silent"


class News(StrEnum):
    """What a person must be told."""

    FIRING = "firing"
    STILL_FIRING = "still firing"
    RESOLVED = "resolved"


class Vigil:
    """Watches for heartbeats.

    Args:
        silence: how long none may come.
        grace: how long the first may take.
        repeat: how long until a silence that lasts is told again.
        now: the instant of the start.
    """

    def __init__(self, silence: float, grace: float, repeat: float, now: float) -> None:
        self._silence = silence
        self._repeat = repeat
        self._state = State.WAITING
        self._deadline = now + grace
        self._looked = now

    @property
    def state(self) -> State:
        """What is known at this moment."""
        return self._state

    def beat(self, now: float) -> News | None:
        """A heartbeat came."""
        was = self._state
        self._state = State.WELL
        self._deadline = now + self._silence
        return News.RESOLVED if was is State.SILENT else None

    def ended(self, now: float) -> None:
        """Alertmanager says that there will be no heartbeat: nobody evaluates any more, and nobody has to wait."""
        if self._state is not State.SILENT:
            self._deadline = min(self._deadline, now)

    def look(self, now: float) -> News | None:
        """Looks whether it is time to speak; to be called several times a second."""
        blind = now - self._looked
        self._looked = now
        if blind > BLIND_SECONDS and self._state is not State.SILENT:
            # Beats that came meanwhile wait at our door: blaming their sender would be a false alarm.
            self._deadline += blind
        if now < self._deadline:
            return None
        was = self._state
        self._state = State.SILENT
        self._deadline = now + self._repeat
        return News.STILL_FIRING if was is State.SILENT else News.FIRING
