"""Whose message is this, and what does it say: read from the words that a person reads, not from our own knowledge.

Pure: no clock, no files.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from harness.model.notifications import Notification, Status

LINKS = "links"
"""The mark that holds where a message's links lead, one a line: nobody reads these, so they speak of no alert."""

FALLBACK = "fallback"
"""The mark that holds what a device shows where it cannot show the message itself."""

CUT = "cut"
"""The mark that says what the channel cuts off without a word."""

_NOT_READ = {LINKS, FALLBACK, CUT}

_WORD = "A-Za-z0-9_-"
_TOKEN = re.compile(rf"[{_WORD}]+")

# A colour is the second witness, after the title: `danger` and `good` come from Alertmanager's own template.
_COLOURS = {"danger": Status.FIRING, "warning": Status.FIRING, "good": Status.RESOLVED}

_IN_TITLE = {
    Status.FIRING: re.compile(r"\bfiring\b", re.IGNORECASE),
    Status.RESOLVED: re.compile(r"\bresolved\b", re.IGNORECASE),
}

# Below the title such words also stand in prose ("resolved by hand"), so only capitals and headings count there:
# "FIRING", "Alerts Firing:", "[1] Resolved", "Status: firing".
_HEADING = r"^\W*(?:(?:alerts?|status|state|\d+)\b\W*)*\b{word}\b(?:\s*\W?\d+\W?)?\s*(?::|\W*$)"
_IN_TEXT = {
    Status.FIRING: re.compile(rf"\bFIRING\b|(?im:{_HEADING.format(word='firing')})"),
    Status.RESOLVED: re.compile(rf"\bRESOLVED\b|(?im:{_HEADING.format(word='resolved')})"),
}


def speaks_of(notification: Notification, alert: str, lane: str) -> bool:
    """Whether a message names both the alert and the lane, each as a whole word, where a person can read them.

    A word ends where neither a letter, a digit, `_` nor `-` goes on: lane-1 is not lane-10, HighErrorRatio is not
    HighErrorRatioCritical. Marks count (a lane may have a channel of its own), targets of links do not.
    """
    return {alert, lane} <= spoken(notification, (alert, lane))


def spoken(notification: Notification, words: Iterable[str]) -> set[str]:
    """Those of the words that a message says as whole words, where a person can read them (see `speaks_of`)."""
    marks = "\n".join(value for name, value in notification.marks.items() if name not in _NOT_READ)
    shown = f"{notification.title}\n{notification.text}\n{marks}"
    said = set(_TOKEN.findall(shown))
    return {word for word in words if word in said or (not _TOKEN.fullmatch(word) and has_word(shown, word))}


def has_word(text: str, word: str) -> bool:
    """Whether `word` stands in `text` and is not part of a longer word; an empty word stands nowhere."""
    return bool(word) and _whole(word).search(text) is not None


def status_of(title: str, text: str, colour: str = "") -> Status:
    """What a message says of its alerts.

    The words FIRING and RESOLVED in its title are the first witness, its colour the second, its text the third; the
    first that says anything decides. Where it says both, the message is mixed; where none speaks, it is unknown.
    """
    return _said(_IN_TITLE, title) or _COLOURS.get(colour.strip().lower()) or _said(_IN_TEXT, text) or Status.UNKNOWN


def says(status: Status, wanted: Status) -> bool:
    """Whether a message of `status` counts as one of `wanted`: a mixed one says both."""
    return status is wanted or (status is Status.MIXED and wanted in {Status.FIRING, Status.RESOLVED})


def _said(words: dict[Status, re.Pattern[str]], text: str) -> Status | None:
    found = [status for status, pattern in words.items() if pattern.search(text)]
    if len(found) > 1:
        return Status.MIXED
    return found[0] if found else None


@lru_cache(maxsize=512)
def _whole(word: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![{_WORD}]){re.escape(word)}(?![{_WORD}])")
