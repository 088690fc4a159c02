"""What Prometheus scrapes from the collector; the number of its series is bounded, whatever is posted."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, ProcessCollector, generate_latest

from harness.stack.collector.schemas import Event

OTHER: Final = "other"
MOST_SERIES: Final = 500
"""Of accepted events; whatever comes beyond them is counted under the action and the origin `other`."""

_NAME = "event_collector"


class Metrics:
    """The collector's own figures, beside those of its process."""

    def __init__(self) -> None:
        of = self._registry = CollectorRegistry()
        ProcessCollector(registry=of)
        accepted = ("kind", "action", "origin")
        self._accepted = Counter(f"{_NAME}_events_accepted", "Events kept; `origin`: whence.", accepted, registry=of)
        self._duplicate = Counter(f"{_NAME}_events_duplicate", "Events that were known already.", registry=of)
        self._rejected = Counter(
            f"{_NAME}_events_rejected", "Events that became dead letters.", ["kind", "cause"], registry=of
        )
        self._refused = Counter(f"{_NAME}_requests_refused", "Requests refused whole.", ["status"], registry=of)
        self._known: set[tuple[str, str, str]] = set()

    def expect(self, kinds: Iterable[str]) -> None:
        """Makes the series of every kind, so that the first event of it is an increase."""
        for kind in kinds:
            self._rejected.labels(kind, "schema")
        for status in (400, 413, 429, 503, 507):
            self._refused.labels(str(status))

    def accepted(self, events: Iterable[Event]) -> None:
        """Events were kept."""
        counts: dict[tuple[str, str, str], int] = {}
        for event in events:
            key = (event.kind, event.action, event.origin)
            counts[key] = counts.get(key, 0) + 1
        for key, count in counts.items():
            if key not in self._known:
                if len(self._known) >= MOST_SERIES:
                    self._accepted.labels(key[0], OTHER, OTHER).inc(count)
                    continue
                self._known.add(key)
            self._accepted.labels(*key).inc(count)

    def duplicate(self, count: int) -> None:
        """Events were known already."""
        self._duplicate.inc(count)

    def rejected(self, kind: str, cause: str) -> None:
        """An event became a dead letter."""
        self._rejected.labels(kind, cause).inc()

    def refused(self, status: int) -> None:
        """A request was refused whole."""
        self._refused.labels(str(status)).inc()

    def outflow(self, title: str, cause: str, kinds: Iterable[str], infix: str = "") -> Outflow:
        """The figures of one destination, whose series are `event_collector_<infix>…`."""
        return Outflow(self._registry, self._rejected, title, cause, kinds, f"{_NAME}_{infix}")

    def exposition(self) -> bytes:
        """Everything, in Prometheus's text format."""
        return generate_latest(self._registry)


class Outflow:
    """The figures of one destination.

    Args:
        registry: what is scraped.
        rejected: the dead letters, by kind and cause.
        title: what the destination is called.
        cause: of the dead letters that it leads to.
        kinds: what it takes; the series of each are made, so that the first event of it is an increase.
        prefix: what its series' names begin with.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        rejected: Counter,
        title: str,
        cause: str,
        kinds: Iterable[str],
        prefix: str,
    ) -> None:
        of = registry
        self.cause: Final = cause
        self._rejected = rejected
        self._queue = Gauge(f"{prefix}queue_events", f"Events that {title} does not have yet.", registry=of)
        self._queue_bytes = Gauge(f"{prefix}queue_bytes", "Bytes of them.", registry=of)
        self._forwarded = Counter(f"{prefix}events_forwarded", f"Events that {title} took.", ["kind"], registry=of)
        self._failures = Counter(f"{prefix}forward_failures", f"Inserts that {title} did not take.", registry=of)
        self._last = Gauge(
            f"{prefix}last_forward_timestamp_seconds", f"When {title} last took events; 0: never.", registry=of
        )
        for kind in kinds:
            self._forwarded.labels(kind)
            self._rejected.labels(kind, cause)

    def queue(self, events: int, size_bytes: int) -> None:
        """What waits to be sent."""
        self._queue.set(events)
        self._queue_bytes.set(size_bytes)

    def forwarded(self, kind: str, count: int, wall: float) -> None:
        """The destination took events at this instant (Unix seconds)."""
        self._forwarded.labels(kind).inc(count)
        self._last.set(wall)

    def refused(self, kind: str, count: int) -> None:
        """The destination will never take these events, and they became dead letters."""
        self._rejected.labels(kind, self.cause).inc(count)

    def failed(self) -> None:
        """The destination did not take an insert."""
        self._failures.inc()
