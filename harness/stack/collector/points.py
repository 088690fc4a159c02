"""An event as a point of InfluxDB, in its line protocol (docs/events.md).

Nothing is added to an event's timestamp, so that a point that is written again takes its own place.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import orjson


class NoPoint(Exception):
    """An event that can be no point; its message names the field."""


@dataclass(frozen=True, slots=True)
class Series:
    """What becomes of a kind of event.

    Args:
        database: where its points go; their measurement has the same name.
        tags: fields of the event, in the order of their names, in which InfluxDB wants them.
        figures: fields of the event that are numbers; each becomes a float.
    """

    database: str
    tags: tuple[str, ...]
    figures: tuple[str, ...] = ()


SERIES: Final[Mapping[str, Series]] = {
    "performance": Series("performance", ("endpoint", "environment"), ("duration",)),
    "user": Series("user_activity", ("action", "environment")),
}
"""By the kind of event; the other kinds are no time series."""

_TIME = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d+))?([Zz]|[+-]\d\d:\d\d)")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# A backslash and whatever ends a line cannot be escaped in a tag: a point would end in the middle, and what follows
# would be another one.
_NO_TAG = re.compile(r"[\\\x00-\x1f\x7f]")
_TAG = str.maketrans({",": "\\,", "=": "\\=", " ": "\\ "})
_TEXT = str.maketrans({"\\": "\\\\", '"': '\\"'})


def point(series: Series, record: bytes) -> bytes:
    """The line of an event that its schema has accepted.

    Raises:
        NoPoint: one of its fields can stand in no line.
    """
    event = orjson.loads(record)
    try:
        tags = "".join(f",{name}={_tag(name, event[name])}" for name in series.tags)
        figures = "".join(f"{name}={float(event[name])!r}," for name in series.figures)
        sequence = str(event["metadata"]["sequence"]).translate(_TEXT)
        return f'{series.database}{tags} {figures}sequence="{sequence}" {nanoseconds(event["timestamp"])}'.encode()
    except KeyError as error:
        raise NoPoint(f"{error.args[0]}: a point needs it") from None
    except (TypeError, ValueError, OverflowError) as error:
        raise NoPoint(f"this can be no point: {error}") from None


def nanoseconds(timestamp: str) -> int:
    """An instant of RFC 3339 in nanoseconds since 1970, exactly.

    Raises:
        NoPoint: it is none.
    """
    found = _TIME.fullmatch(timestamp)
    if found is None:
        raise NoPoint(f"timestamp: {timestamp!r} is no instant of RFC 3339")
    day, time, fraction, zone = found.groups()
    try:
        instant = datetime.fromisoformat(f"{day}T{time}{zone.upper()}")
    except ValueError as error:
        # A leap second, for one: InfluxDB's clock has none.
        raise NoPoint(f"timestamp: {timestamp!r}: {error}") from None
    since = instant - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000_000 + int((fraction or "0")[:9].ljust(9, "0"))


def _tag(name: str, value: object) -> str:
    if not isinstance(value, str) or not value:
        raise NoPoint(f"{name}: a tag is a text that is not empty")
    if _NO_TAG.search(value) is not None:
        raise NoPoint(f"{name}: a tag of InfluxDB holds no backslash and no control character")
    return value.translate(_TAG)
