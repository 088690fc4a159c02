"""The events in the body of a request: a JSON array, or one JSON object a line (NDJSON)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import orjson

_SHOWN = 2000


@dataclass(frozen=True, slots=True)
class NotAnEvent:
    """Something in a body that is no JSON object; `text` is the beginning of it, `reason` says why."""

    text: str
    reason: str


class Unreadable(Exception):
    """A body of which nothing can be read; its message is a sentence."""


Posted = Mapping[str, object] | NotAnEvent


def posted(body: bytes) -> list[Posted]:
    """What a body holds, in its order.

    A body that begins with `[` is one JSON array and stands or falls whole. Anything else is read line by line, and a
    line that cannot be read spoils no other.

    Raises:
        Unreadable: it is an array that is no JSON, or there is nothing in it.
    """
    stripped = body.lstrip()
    if not stripped:
        raise Unreadable("the body is empty: post a JSON array of events, or one event a line")
    if stripped[:1] != b"[":
        return list(_lines(body))
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Unreadable(f"the body begins as a JSON array and is none: {error}") from None
    return [_event(one) for one in found]


def _lines(body: bytes) -> Iterator[Posted]:
    for line in body.split(b"\n"):
        if not line.strip():
            continue
        try:
            yield _event(orjson.loads(line))
        except orjson.JSONDecodeError as error:
            yield NotAnEvent(line[:_SHOWN].decode(errors="backslashreplace"), f"this is not JSON: {error}")


def _event(value: object) -> Posted:
    if isinstance(value, dict):
        return value
    return NotAnEvent(orjson.dumps(value)[:_SHOWN].decode(errors="replace"), "this is not a JSON object")
