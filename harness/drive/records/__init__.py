"""Faults of the way that records take, from their writer into their store: one file each.

Such a fault says what may be lost while it is in place. It is done to what all lanes share, and touches nothing that an
alert depends on. `RECORD_FAULTS` in `harness/drive/records/registry.py` is the one tuple of all that there are.
"""

from __future__ import annotations

from abc import abstractmethod
from datetime import timedelta
from typing import ClassVar

from harness.drive.component_fault import ComponentFault
from harness.drive.faults import LaneControl, Reach
from harness.drive.look import Look
from harness.drive.records.way import Way, way_of
from harness.model.episodes import EpisodeTraits, Promise

LOGS = "logs/"
"""The records of every log."""
EVENTS = "events/"
"""The records of every stream of events."""
SYSTEM = "logs/system.schema.json"
"""The records of the emitter alone."""


class RecordFault(ComponentFault):
    """A fault of the records' way; `component` is the *kind* of what it is done to, whatever the policy calls it.

    Beside what `ComponentFault` asks: `needs` are the kinds of component without which it cannot be tried, `concerns`
    whose records it can cost, `promise` what the shipped configuration promises; `hold` is how long it stays once it is
    proven, `gate_hold` the same in the gate (None: for the night alone).
    """

    touches: ClassVar[frozenset[str]] = frozenset({"records"})
    reach: ClassVar[Reach] = Reach.SHARED
    well_seconds: ClassVar[float] = 10.0
    looks_apart_seconds: ClassVar[float] = 0.1
    needs: ClassVar[frozenset[str]] = frozenset({"elasticsearch", "filebeat", "emitter"})
    concerns: ClassVar[str] = LOGS
    promise: ClassVar[Promise] = Promise()
    hold: ClassVar[timedelta] = timedelta(seconds=5)
    gate_hold: ClassVar[timedelta | None] = None

    @abstractmethod
    async def flows(self, way: Way, since: float) -> Look:
        """One look whether records of the kind that it concerns come in that did not before an instant (Unix s)."""

    @property
    def traits(self) -> EpisodeTraits:
        """What a plan must know of it."""
        return EpisodeTraits(
            self.id, self.summary, self.signal, self.needs, self.concerns, self.promise, self.hold, self.gate_hold
        )


__all__ = ["EVENTS", "LOGS", "SYSTEM", "LaneControl", "Look", "Promise", "RecordFault", "Way", "way_of"]
