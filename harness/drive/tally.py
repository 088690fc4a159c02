"""What the subject itself counts, for faults that prove themselves by it: requests, failures, hits, log-ins, queries.

Its own counters are no alert: they are read past Prometheus, by a fresh connection for each look.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, fields

from prometheus_client.parser import text_string_to_metric_families

from harness.drive.look import Look, Silence, ask
from harness.model.stack import Address

SUBJECT = "community-platform"
METRICS = "/api/performance/metrics"
LEAST_REQUESTS = 5
"""A ratio or a mean of fewer requests than these says nothing."""

_SUMS = {
    "http_requests_total": "requests",
    "http_request_duration_seconds_sum": "seconds",
    "http_request_duration_seconds_count": "timed",
    "cache_hits_total": "hits",
    "cache_misses_total": "misses",
    "login_failures_total": "failed_logins",
    "database_query_duration_seconds_count": "queries",
    "database_query_duration_seconds_sum": "query_seconds",
}


@dataclass(frozen=True, slots=True)
class Counted:
    """What was counted, over all series.

    Args:
        requests: requests that were answered.
        failed: those of them that were answered with 5xx.
        timed: requests whose time is known.
        seconds: their times together, in seconds.
        hits: posts that were found in the cache.
        misses: posts that were not.
        failed_logins: log-ins with a wrong name or password.
        queries: queries to the database, failed or not.
        query_seconds: their times together, in seconds.
    """

    requests: float = 0.0
    failed: float = 0.0
    timed: float = 0.0
    seconds: float = 0.0
    hits: float = 0.0
    misses: float = 0.0
    failed_logins: float = 0.0
    queries: float = 0.0
    query_seconds: float = 0.0

    def since(self, before: Counted) -> Counted:
        """What was counted after `before`."""
        return Counted(*(getattr(self, one.name) - getattr(before, one.name) for one in fields(self)))


class Tally:
    """Counts what the subject counted since the first reading."""

    def __init__(self, subject: Address) -> None:
        self._subject = subject
        self._before: Counted | None = None

    async def read(self) -> Counted | str:
        """What was counted since the first time that this could be read; a sentence where it cannot."""
        text = await exposition(self._subject)
        if isinstance(text, str):
            return text
        now = _count(text.text)
        if now is None:
            return f"{METRICS} is no exposition that can be read"
        if self._before is None:
            self._before = now
        if now.requests < self._before.requests:
            self._before = Counted()  # it was started again and counts from zero
        return now.since(self._before)


class ErrorRatio:
    """Looks whether a share of the subject's requests has failed since the first look.

    The load makes the traffic. While it has made fewer than 5 requests, each look adds one of our own.

    Args:
        subject: whose requests.
        share: from which share on it is there.
        happened: what happened at the first look, as a clause: `the table was renamed`.
        request: makes a request of our own.
    """

    def __init__(self, subject: Address, share: float, happened: str, request: Callable[[], Awaitable[object]]) -> None:
        self._tally = Tally(subject)
        self._share = share
        self._happened = happened
        self._request = request
        self._own = 0

    async def look(self) -> Look:
        """One look; says how many requests there were, how many of them failed and how many were our own."""
        counted = await self._tally.read()
        if isinstance(counted, str):
            return Look(False, counted)
        if counted.requests < LEAST_REQUESTS:
            await self._request()
            self._own += 1
        share = counted.failed / counted.requests if counted.requests else 0.0
        return Look(
            counted.requests >= LEAST_REQUESTS and share >= self._share,
            f"{counted.failed:.0f} of {counted.requests:.0f} requests failed with 5xx ({share:.0%}) since "
            f"{self._happened}, {self._own} of them our own",
        )


@dataclass(frozen=True, slots=True)
class Exposition:
    """What the subject says to a scrape."""

    text: str


async def exposition(subject: Address) -> Exposition | str:
    """What the subject says to a scrape; a sentence where it says nothing."""
    read = await ask(subject, METRICS)
    if isinstance(read, Silence):
        return read.why
    return Exposition(read.body) if read.status == 200 else f"GET {METRICS} answered {read.status}"


def _count(text: str) -> Counted | None:
    sums = dict.fromkeys([*_SUMS.values(), "failed"], 0.0)
    try:
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                name = _SUMS.get(sample.name)
                if name is not None:
                    sums[name] += sample.value
                if name == "requests" and sample.labels.get("status", "").startswith("5"):
                    sums["failed"] += sample.value
    except ValueError:
        return None
    return Counted(**sums)
