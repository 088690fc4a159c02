"""Does a message say what its reader needs: held against what Alertmanager was handed, not against a template.

Pure: no clock, no files.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from html import unescape

from harness.model.notifications import Notification, ReceivedAlert, Status
from harness.observe.attribution import CUT, LINKS, has_word, status_of

ANNOTATIONS = ("summary", "description")
"""What a message must carry of every alert in its group, where the alert has it."""

# By channel: the mark that a message must have, and what it names. Discord's and push's address is the URL itself.
_REQUIRED = {"email": ("recipients", "recipient"), "sms": ("recipient", "recipient"), "slack": ("channel", "channel")}

# What Go's templates leave behind when they have nothing to say or were written wrongly.
_RESIDUE = (
    re.compile(r"<no value>"),
    re.compile(r"<nil>"),
    re.compile(r"\{\{|\}\}"),
    re.compile(r"%!(?:\w\(|\((?:EXTRA|NOVERB|BAD))[^)]*\)?"),
    re.compile(r"\bmap\[(?:\w+:|\])"),
)
# Prometheus writes this into the annotation itself where its template fails: it is never meant.
_BROKEN_ANNOTATION = "<error expanding template"


def complaints(notification: Notification, alerts: Sequence[ReceivedAlert]) -> tuple[str, ...]:
    """Everything that is wrong with a message, one sentence each; empty where its reader has all that they need.

    Args:
        notification: the message as a person reads it.
        alerts: every alert of its group, as Prometheus posted it (annotations are rendered there).
    """
    names = frozenset(alert.labels.get("alertname", "") for alert in alerts)
    told = [
        *_about_title(notification, names),
        *_about_form(notification),
        *(sentence for alert in alerts for sentence in _about_alert(notification, alert)),
        *_about_residue(notification, alerts),
    ]
    # One line cannot name all alerts of a group of several: then each is looked for in the whole message.
    if len(names) > 1:
        shown = _shown(notification)
        told += [f"the message does not name {name}" for name in sorted(names) if not has_word(shown, name)]
    return tuple(dict.fromkeys(told))


def _about_title(notification: Notification, names: frozenset[str]) -> Iterator[str]:
    title = notification.title
    if not title.strip():
        yield "the message has no title"
        return
    if status_of(title, "") is Status.UNKNOWN:
        yield f"the title does not say whether the alert is firing or resolved: {title!r}"
    if len(names) == 1:
        yield from (f"the title does not name {name}: {title!r}" for name in names if not has_word(title, name))


def _about_form(notification: Notification) -> Iterator[str]:
    required = _REQUIRED.get(notification.channel)
    if required is not None:
        mark, word = required
        if not notification.marks.get(mark, "").strip():
            yield f"the message names no {word}"
    if notification.marks.get(CUT):
        yield f"the channel cuts the message off: {notification.marks[CUT]}"


def _about_alert(notification: Notification, alert: ReceivedAlert) -> Iterator[str]:
    shown = _shown(notification)
    plain = _plain(shown)
    who = _named(alert)
    for key in ANNOTATIONS:
        value = alert.annotations.get(key, "")
        if not value.strip():
            yield f"{who} has no {key} to tell"
        elif _BROKEN_ANNOTATION in value:
            yield f"the {key} of {who} could not be rendered by Prometheus: {_short(value)}"
        elif _plain(value) not in plain:
            yield f"the {key} of {who} is missing: {_short(value)}"
    severity = alert.labels.get("severity", "")
    if not severity:
        yield f"{who} has no severity to tell"
    elif not has_word(shown.lower(), severity.lower()):
        yield f"the severity of {who} is missing: {severity}"
    runbook = alert.annotations.get("runbook_url", "").strip()
    if runbook and _plain(runbook) not in plain and runbook not in notification.marks.get(LINKS, "").split("\n"):
        yield f"the runbook of {who} is missing: {runbook}"


def _about_residue(notification: Notification, alerts: Sequence[ReceivedAlert]) -> Iterator[str]:
    # What an alert itself carries was written by its author: only what the template added is residue.
    written = {_spaced(value) for alert in alerts for value in (*alert.labels.values(), *alert.annotations.values())}
    own = sorted((text for text in written if any(pattern.search(text) for pattern in _RESIDUE)), key=len, reverse=True)
    for where, text in (("title", notification.title), ("text", notification.text)):
        left = _spaced(text)
        for value in own:
            left = left.replace(value, " ")
        for pattern in _RESIDUE:
            if found := pattern.search(left):
                yield f"the {where} carries template residue: `{found[0]}`"


def _named(alert: ReceivedAlert) -> str:
    name = alert.labels.get("alertname", "an alert without a name")
    told = [alert.labels[key] for key in ("environment", "instance") if alert.labels.get(key)]
    return f"{name} ({', '.join(told)})" if told else name


def _shown(notification: Notification) -> str:
    return f"{notification.title}\n{notification.text}"


def _short(text: str) -> str:
    one_line = " ".join(text.split())
    return repr(one_line if len(one_line) <= 80 else one_line[:79] + "…")


def _spaced(text: str) -> str:
    return " ".join(unescape(text).split())


def _plain(text: str) -> str:
    """Text without what channels do to it: entities, line breaks, and the characters by which they mark styles."""
    return re.sub(r"[*_~`]", "", _spaced(text))
