"""How long an injection will take, from the rule alone: it decides how a plan is packed, nothing else. Pure."""

from __future__ import annotations

import re
from datetime import timedelta

from harness.model.policy import Alert
from harness.model.time import parse_duration

FIRE = timedelta(seconds=6)
"""From due to a message: scrape, evaluation, group_wait, each at its mean, and sending (5.4 s measured)."""

RESOLVE = timedelta(seconds=8)
"""From healing to the message that it is over: scrape, evaluation, the rest of a group_interval."""

CROSSING_RATIO = 0.3
"""The share of a rule's window that must be bad until a threshold is crossed, by and large."""

_RANGE = re.compile(r"\[([0-9a-z]+)")


def window(alert: Alert) -> timedelta:
    """How long what was bad stays in sight of the rule: the shortest range, nothing where a selector has none.

    An expression is over as soon as one of its parts is: `max_over_time(up[5m]) unless up` ends with `up`.
    """
    ranges = [_parsed(text) for text in _RANGE.findall(alert.expr)]
    if not ranges or len(ranges) < len(alert.selectors):
        return timedelta(0)
    return min(ranges)


def cost(alert: Alert, *, heard_after: timedelta = FIRE) -> timedelta:
    """What one injection takes beside its own drawn instants: fire, be heard, heal, be heard to be over."""
    looks_back = window(alert)
    return alert.hold + heard_after + looks_back * CROSSING_RATIO + looks_back + RESOLVE + alert.keep_firing_for


def _parsed(text: str) -> timedelta:
    try:
        return parse_duration(text)
    except ValueError:  # PromQL allows plain numbers of seconds as well since 3.0; an estimate needs no more
        return timedelta(0)
