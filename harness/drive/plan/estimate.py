"""How long an injection will take, from the rule alone: it decides how a plan is packed, nothing else. Pure."""

from __future__ import annotations

import re
from datetime import timedelta

from harness.model.policy import Alert
from harness.model.time import parse_duration

FIRE = timedelta(seconds=4.5)
"""From due to a message: scrape, evaluation, group_wait, each at its mean, and sending (3.5 to 5 s measured)."""

RESOLVE = timedelta(seconds=5.5)
"""From healing to the message that it is over: scrape, evaluation, the rest of a group_interval (2 to 7 s measured)."""

LONGEST_MEMORY = timedelta(minutes=1)
"""A longer range is what an alert compares with (`max_over_time(up[5m])`), not what keeps it from ending."""

_RANGE = re.compile(r"\[([0-9a-z]+)")


def window(alert: Alert) -> timedelta:
    """How long what was bad stays in sight of the rule: its shortest range, for it is over as soon as one part is."""
    ranges = [_parsed(text) for text in _RANGE.findall(alert.expr)]
    return min((one for one in ranges if one <= LONGEST_MEMORY), default=timedelta(0))


def cost(alert: Alert, *, heard_after: timedelta = FIRE) -> timedelta:
    """What one injection takes beside its own drawn instants: fire, be heard, heal, be heard to be over."""
    # A window is crossed after a part of it, and forgets after the rest: about its length in all.
    return alert.hold + heard_after + window(alert) + RESOLVE + alert.keep_firing_for


def _parsed(text: str) -> timedelta:
    try:
        return parse_duration(text)
    except ValueError:  # PromQL allows plain numbers of seconds as well since 3.0; an estimate needs no more
        return timedelta(0)
