"""Instants and the native spelling of durations."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

_UNIT_MILLISECONDS = {
    "y": 31_536_000_000,
    "w": 604_800_000,
    "d": 86_400_000,
    "h": 3_600_000,
    "m": 60_000,
    "s": 1000,
    "ms": 1,
}
_DURATION = re.compile(r"(?:(\d+)y)?(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?(?:(\d+)ms)?")


@dataclass(frozen=True, slots=True, order=True)
class Instant:
    """One moment on both clocks: `wall` in Unix seconds, `monotonic` in seconds of this boot.

    Durations between events of the harness are taken on the monotonic clock; instants that come from elsewhere
    (a sample's own timestamp) exist on the wall clock only and are compared there.
    """

    wall: float
    monotonic: float

    @classmethod
    def now(cls) -> Instant:
        """This moment."""
        return cls(time.time(), time.monotonic())

    @property
    def rfc3339(self) -> str:
        """The wall clock in UTC with microseconds, as the ledger writes it."""
        return rfc3339(self.wall)


def rfc3339(wall_seconds: float) -> str:
    """Unix seconds as an RFC 3339 instant in UTC with microseconds."""
    return datetime.fromtimestamp(wall_seconds, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def from_rfc3339(text: str) -> float:
    """An RFC 3339 instant as Unix seconds; nanoseconds, which Go writes, are cut to microseconds.

    Raises:
        ValueError: the text is not an instant.
    """
    cut = re.sub(r"(\.\d{6})\d+", r"\1", text.replace("Z", "+00:00"))
    return datetime.fromisoformat(cut).timestamp()


def parse_duration(text: str) -> timedelta:
    """A duration in Prometheus's own spelling (`1h30m`, `250ms`, `0`).

    Source: `model.ParseDuration` of prometheus/common: units in falling order, each at most once, whole numbers.

    Raises:
        ValueError: the text is not such a duration.
    """
    if text == "0":
        return timedelta(0)
    match = _DURATION.fullmatch(text)
    if not text or match is None:
        raise ValueError(f"not a duration: {text!r}")
    pairs = zip(match.groups(), _UNIT_MILLISECONDS.values(), strict=True)
    return timedelta(milliseconds=sum(int(count) * unit for count, unit in pairs if count))


def format_duration(duration: timedelta) -> str:
    """A duration in Prometheus's spelling, exact to the millisecond; the inverse of `parse_duration`."""
    left = round(duration / timedelta(milliseconds=1))
    if left == 0:
        return "0s"
    parts = []
    for unit, size in _UNIT_MILLISECONDS.items():
        if unit in {"y", "w"}:
            continue
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts)
