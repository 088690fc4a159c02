"""What faults of the events' way share: how many events wait in the collector."""

from __future__ import annotations

from harness.drive.look import Look
from harness.drive.monitoring import figure
from harness.drive.records.way import Way

QUEUE = "event_collector_queue_events"
"""The collector's own figure of the events that its store does not have yet."""

FEW = 200
"""Events that may be on their way at any moment: about a batch."""


async def none_waits(way: Way) -> Look:
    """Whether the collector works, and no more events wait in it than are always on their way."""
    count = await figure(way.lane.addresses["event-collector"], QUEUE)
    if isinstance(count, str):
        return Look(False, count)
    return Look(count <= FEW, f"{count:g} events wait in the collector")
