"""What Prometheus scrapes from the listener; every series is there from the start."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, ProcessCollector, generate_latest


class Metrics:
    """The listener's own figures, beside those of its process (`process_start_time_seconds`, …)."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        of = self._registry
        name = "dead_mans_listener"
        self._heartbeats = Counter(f"{name}_heartbeats", "Heartbeats that came.", registry=of)
        self._refused = Counter(f"{name}_refused", "Posts to /heartbeat that were none.", registry=of)
        self._last = Gauge(f"{name}_last_heartbeat_timestamp_seconds", "When the last one came; 0: none.", registry=of)
        self._silent = Gauge(f"{name}_silent", "1 while the monitoring is silent.", registry=of)
        self._delivered = Counter(f"{name}_messages_delivered", "Messages taken.", ["channel"], registry=of)
        self._failed = Counter(f"{name}_sends_failed", "Tries that were not taken.", ["channel"], registry=of)
        self._waiting = Gauge(f"{name}_messages_waiting", "Messages not taken yet.", ["channel"], registry=of)

    def expect(self, channel: str) -> None:
        """Makes a channel's series."""
        for metric in (self._delivered, self._failed, self._waiting):
            metric.labels(channel)

    def heartbeat(self, wall: float) -> None:
        """A heartbeat came at this instant (Unix seconds)."""
        self._heartbeats.inc()
        self._last.set(wall)

    def refused(self) -> None:
        """Something was posted that is no heartbeat."""
        self._refused.inc()

    def silent(self, silent: bool) -> None:
        """Whether the monitoring is silent."""
        self._silent.set(silent)

    def delivered(self, channel: str) -> None:
        """A message was taken."""
        self._delivered.labels(channel).inc()

    def failed(self, channel: str) -> None:
        """A try was not taken."""
        self._failed.labels(channel).inc()

    def waiting(self, channel: str, count: int) -> None:
        """How many messages have not been taken yet."""
        self._waiting.labels(channel).set(count)

    def exposition(self) -> bytes:
        """Everything, in Prometheus's text format."""
        return generate_latest(self._registry)
