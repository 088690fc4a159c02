"""What Prometheus scrapes from the subject, under the names of the monitoring plan.

Cardinality is bounded: `endpoint` is a route's template (`/api/posts/{id}`) or `unmatched`, `method` one of HTTP's own,
and every action and query is named in the code. Every series that an alert divides exists from the start with the
value 0: a counter that first appears when the first error happens has no rate for that error.

**What stands behind `nodejs_memory_usage_bytes`.** The plan's application is written for Node.js and its alert asks
for `heapUsed / heapTotal`; the subject is written in Python, which has no such heap. Here `heapUsed` is the anonymous
memory that the process holds in RAM (`RssAnon` of `/proc/self/status`) and `heapTotal` the memory that it is meant to
need at most (`HEAP_LIMIT_MIB`; a budget, nothing enforces it). The ratio then means what the alert is about: the share
of its allowance that the application has used up. In Node.js itself `heapTotal` is what V8 has reserved so far; it
grows with `heapUsed`, and the ratio is high in health.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from harness.stack.subject.domain import Active

CONTENT_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4
UNMATCHED: Final = "unmatched"
"""The endpoint of a request that no route takes."""

LOGS: Final = ("application", "error")
"""The logs that the subject writes."""

OTHER_METHOD: Final = "OTHER"
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

# The plan warns at a mean of 1 s; the limits are dense where a healthy instance answers and around that second.
REQUEST_BUCKETS: Final = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.5, 5.0)
QUERY_BUCKETS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0)


class Action(StrEnum):
    """What a user did, as `user_activity_total` and the log name it."""

    REGISTER = "register"
    LOGIN = "login"
    LOGOUT = "logout"
    LIST_POSTS = "list_posts"
    READ_POST = "read_post"
    CREATE_POST = "create_post"
    LIST_COMMENTS = "list_comments"
    CREATE_COMMENT = "create_comment"
    UPLOAD_PREVIEW = "upload_preview"


class _Memory(Collector):
    """Reads the memory of this process when it is scraped."""

    def __init__(self, limit_bytes: int, status: Path = Path("/proc/self/status")) -> None:
        self._limit_bytes = limit_bytes
        self._status = status

    def collect(self) -> Iterable[GaugeMetricFamily]:
        family = GaugeMetricFamily("nodejs_memory_usage_bytes", "Memory by type; see the module.", labels=["type"])
        family.add_metric(["heapUsed"], _anonymous_bytes(self._status.read_text()))
        family.add_metric(["heapTotal"], self._limit_bytes)
        yield family


def _anonymous_bytes(status: str) -> int:
    for line in status.splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise ValueError("/proc/self/status has no RssAnon: a kernel before 4.5")


class Metrics:
    """All metrics of one instance, in a registry of their own.

    Args:
        environment: the lane, a label of `community_platform_info`.
        instance: the instance, another.
        heap_limit_bytes: what `heapTotal` says.
    """

    def __init__(self, *, environment: str, instance: str, heap_limit_bytes: int) -> None:
        self.registry = CollectorRegistry()
        registry = self.registry
        self._requests = Counter(
            "http_requests", "Requests answered.", ["method", "endpoint", "status"], registry=registry
        )
        self._request_seconds = Histogram(
            "http_request_duration_seconds",
            "Time from a request's arrival to its answer.",
            ["method", "endpoint"],
            buckets=REQUEST_BUCKETS,
            registry=registry,
        )
        self._activity = Counter("user_activity", "What users did, successfully.", ["action"], registry=registry)
        self._posts = Counter("posts_created", "Posts written.", registry=registry)
        self._comments = Counter("comments_created", "Comments written.", registry=registry)
        self._active_users = Gauge("active_users", "Users seen in the last five minutes.", registry=registry)
        self._active_sessions = Gauge("active_sessions", "Sessions used in the last five minutes.", registry=registry)
        self._login_failures = Counter("login_failures", "Log-ins with a wrong name or password.", registry=registry)
        self._cache_hits = Counter("cache_hits", "Posts found in the cache.", ["cache"], registry=registry)
        self._cache_misses = Counter("cache_misses", "Posts not found in the cache.", ["cache"], registry=registry)
        self._query_seconds = Histogram(
            "database_query_duration_seconds",
            "Time of a statement, waiting for a connection included, failed or not.",
            ["query"],
            buckets=QUERY_BUCKETS,
            registry=registry,
        )
        self._storage_errors = Counter(
            "storage_errors", "Statements and commands that failed.", ["kind"], registry=registry
        )
        self._log_records = Counter(
            "log_records_written", "Log records that the disk took.", ["log"], registry=registry
        )
        self._lost_log_lines = Counter("log_lines_lost", "Log lines that could not be written.", registry=registry)
        self._lost_events = Counter("events_lost", "Events that were given up.", registry=registry)
        info = Gauge("community_platform_info", "Always 1.", ["environment", "instance"], registry=registry)
        info.labels(environment, instance).set(1)
        registry.register(_Memory(heap_limit_bytes))
        ProcessCollector(registry=registry)
        for action in Action:
            self._activity.labels(action.value)
        for kind in ("unavailable", "query"):
            self._storage_errors.labels(kind)
        self._cache_hits.labels("posts")
        self._cache_misses.labels("posts")
        for log in LOGS:
            self._log_records.labels(log)

    def expect_route(self, method: str, endpoint: str, statuses: Sequence[int]) -> None:
        """Makes the series of a route before its first request."""
        for status in statuses:
            self._requests.labels(method, endpoint, str(status))
        self._request_seconds.labels(method, endpoint)

    def expect_queries(self, names: Iterable[str]) -> None:
        """Makes the series of the statements before they run."""
        for name in names:
            self._query_seconds.labels(name)

    def request(self, method: str, endpoint: str, status: int, seconds: float) -> None:
        """Counts an answer."""
        method = method if method in _METHODS else OTHER_METHOD
        self._requests.labels(method, endpoint, str(status)).inc()
        self._request_seconds.labels(method, endpoint).observe(seconds)

    def activity(self, action: Action) -> None:
        """Counts what a user did; posts and comments have counters of their own besides."""
        self._activity.labels(action.value).inc()
        if action is Action.CREATE_POST:
            self._posts.inc()
        elif action is Action.CREATE_COMMENT:
            self._comments.inc()

    def login_failed(self) -> None:
        """Counts a log-in with a wrong name or password."""
        self._login_failures.inc()

    def cache(self, *, hit: bool) -> None:
        """Counts a look into the cache of posts."""
        (self._cache_hits if hit else self._cache_misses).labels("posts").inc()

    def query(self, name: str, seconds: float) -> None:
        """Notes how long a statement took."""
        self._query_seconds.labels(name).observe(seconds)

    def storage_error(self, *, unavailable: bool) -> None:
        """Counts a failure of the database or of Redis."""
        self._storage_errors.labels("unavailable" if unavailable else "query").inc()

    def active(self, active: Active) -> None:
        """Sets who is active."""
        self._active_sessions.set(active.sessions)
        self._active_users.set(active.users)

    def log_record_written(self, log: str) -> None:
        """Counts a record that is in its log (`application` or `error`): whoever ships it can be held to that."""
        self._log_records.labels(log).inc()

    def log_line_lost(self) -> None:
        """Counts a log line that could not be written."""
        self._lost_log_lines.inc()

    def events_lost(self, count: int) -> None:
        """Counts events that were given up."""
        self._lost_events.inc(count)

    def exposition(self) -> bytes:
        """All of it in Prometheus's text format 0.0.4."""
        return generate_latest(self.registry)
