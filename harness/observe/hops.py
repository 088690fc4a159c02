"""The hops that only Prometheus knows (visible, pending, firing), from its raw samples and without polling.

Asked once, after an injection is over: a range vector gives every sample with its own timestamp in milliseconds, so
the answer is as exact as Prometheus's own clock and no query ran while the alert was on its way.
`ALERTS{alertstate=…}` is the source of pending and firing; `ALERTS_FOR_STATE` has whole seconds only.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import promql_parser
from aiohttp import ClientSession

from harness.model.events import HopSeen
from harness.model.hops import Hop
from harness.model.stack import LANE_LABEL, Address
from harness.observe.asking import NoAnswer, ask

ANSWER_SECONDS: Final = 10.0
"""How long Prometheus may take for all the queries of one injection."""

_MARGIN_MILLISECONDS: Final = 1000
"""Asked for before the window: a range is open at its start in Prometheus 3 and closed in 2."""

_QUIET_POLL_SECONDS: Final = 0.09

_OPERATORS: Final = {"Equal": "=", "NotEqual": "!=", "Re": "=~", "NotRe": "!~"}


@dataclass(frozen=True, slots=True)
class HopReading:
    """What Prometheus could tell of an injection. `error` is a sentence where it could not, `hops` what it did tell."""

    hops: tuple[HopSeen, ...]
    error: str = ""


class NotASelector(ValueError):
    """A text that cannot be asked for as a series; the message is a sentence."""


async def read_hops(
    prometheus: Address,
    *,
    injection: str,
    alert: str,
    lane: str,
    selectors: Sequence[str],
    since_wall: float,
    until_wall: float,
) -> HopReading:
    """The first raw sample at or after t0 of what the rule reads, and of the alert as pending and as firing.

    Series of the lane count. Where the lane has none (an expression that aggregates the label away, a job that all
    lanes share) those without any lane do, never those of another lane. A selector's `offset` and `@` are left out:
    asked for is when the sample was taken, not when the rule got to it.

    Args:
        prometheus: where it listens; nothing is raised when it does not.
        injection: whose hops these are.
        alert: the rule's name.
        lane: value of the lane's `environment` label.
        selectors: the vector selectors of the rule's expression, as PromQL.
        since_wall: t0, Unix seconds. Prometheus cuts its timestamps to milliseconds, so a sample of t0's own
            millisecond counts as taken before it: a hop is never early.
        until_wall: the end of the injection, Unix seconds.
    """
    wanted: list[tuple[Hop, str]] = []
    errors: list[str] = []
    for selector in dict.fromkeys(selectors):
        try:
            in_lane(selector, lane)
        except NotASelector as error:
            errors.append(f"the selector {selector} cannot be asked for: {error}")
        else:
            wanted.append((Hop.VISIBLE, selector))
    wanted += [
        (hop, f"ALERTS{{alertname={quoted(alert)},alertstate={quoted(hop.value)}}}")
        for hop in (Hop.PENDING, Hop.FIRING)
    ]
    first: dict[Hop, tuple[float, str]] = {}
    try:
        async with asyncio.timeout(ANSWER_SECONDS), ClientSession(f"http://{prometheus}") as session:
            answers = await asyncio.gather(
                *(_first_sample(session, query, lane, since_wall, until_wall) for _, query in wanted),
                return_exceptions=True,
            )
    except TimeoutError:
        return HopReading((), f"Prometheus at {prometheus} did not answer within {ANSWER_SECONDS:g} s")
    for (hop, _), answer in zip(wanted, answers, strict=True):
        if isinstance(answer, NoAnswer):
            errors.append(f"Prometheus at {prometheus}: {answer}")
        elif isinstance(answer, BaseException):
            raise answer
        elif answer is not None and (hop not in first or answer < first[hop]):
            first[hop] = answer
    hops = tuple(
        HopSeen(injection=injection, subject=alert, hop=hop, at=at, source=f"prometheus: {query}")
        for hop, (at, query) in sorted(first.items(), key=lambda item: tuple(Hop).index(item[0]))
    )
    return HopReading(hops, "; ".join(dict.fromkeys(errors)))


Disturbs = Callable[[Mapping[str, str]], bool]
"""Whether an alert with these labels, pending or firing, would disturb what comes next."""


async def wait_quiet(
    prometheus: Address, lane: str, deadline_seconds: float, disturbs: Disturbs = lambda _: True
) -> tuple[str, ...]:
    """Waits until Prometheus holds no alert of a lane as pending or firing that disturbs; at the deadline those.

    A window looks back: an alert may outlive the fault, and the message that it is over, by the window's length.
    Where Prometheus cannot be asked, nothing is known of any alert, and the wait goes on.

    Args:
        prometheus: where it listens.
        lane: value of the lane's `environment` label.
        deadline_seconds: how long to wait at most.
        disturbs: which alerts are waited for; all where nothing is said.
    """
    left: tuple[str, ...] = ()
    try:
        async with asyncio.timeout(deadline_seconds), ClientSession(f"http://{prometheus}") as session:
            while True:
                with suppress(NoAnswer):
                    series = await ask(session, f"ALERTS{{{LANE_LABEL}={quoted(lane)}}}")
                    left = tuple(sorted({one["metric"]["alertname"] for one in series if disturbs(one["metric"])}))
                    if not left:
                        return ()
                await asyncio.sleep(_QUIET_POLL_SECONDS)
    except TimeoutError:
        return left


def in_lane(selector: str, lane: str) -> str:
    """The selector narrowed to a lane (`""`: to series without one), printed so that Prometheus reads it the same.

    Its `offset` and `@` are left out.

    Raises:
        NotASelector: the text is no vector selector that Prometheus knows.
    """
    vector = _vector(selector)
    matchers = [f"{matcher.name}{_operator(matcher)}{quoted(matcher.value)}" for matcher in vector.matchers.matchers]
    narrowed = f"{vector.name or ''}{{{','.join([*matchers, f'{LANE_LABEL}={quoted(lane)}'])}}}"
    return _vector(narrowed).prettify()


def _vector(text: str) -> promql_parser.VectorSelector:
    try:
        parsed = promql_parser.parse(text)
    except ValueError as error:
        raise NotASelector(str(error)) from error
    if isinstance(parsed, promql_parser.MatrixSelector):
        parsed = parsed.vector_selector
    if not isinstance(parsed, promql_parser.VectorSelector):
        raise NotASelector("it is no vector selector")
    if parsed.matchers.or_matchers:
        raise NotASelector("alternatives joined by `or` inside braces are not Prometheus's")
    return parsed


def _operator(matcher: promql_parser.Matcher) -> str:
    return next(sign for name, sign in _OPERATORS.items() if matcher.op == getattr(promql_parser.MatchOp, name))


def quoted(text: str) -> str:
    """A PromQL string, which escapes as Go does."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


async def _first_sample(
    session: ClientSession, selector: str, lane: str, since: float, until: float
) -> tuple[float, str] | None:
    milliseconds = max(0, math.ceil((until - since) * 1000)) + _MARGIN_MILLISECONDS
    for value in (lane, ""):
        narrowed = in_lane(selector, value)
        stamps = await _stamps(session, f"{narrowed}[{milliseconds}ms]", until)
        if stamps:
            after = [stamp for stamp in stamps if stamp >= since]
            return (min(after), narrowed) if after else None
    return None


async def _stamps(session: ClientSession, query: str, at: float) -> list[float]:
    """The timestamp of every raw sample that a range vector holds, in no order.

    Raises:
        NoAnswer: Prometheus could not be asked, or did not answer with a range vector.
    """
    found = await ask(session, query, at)
    try:
        return [
            float(sample[0])
            for series in found
            for sample in (*series.get("values", ()), *series.get("histograms", ()))
        ]
    except (TypeError, ValueError, IndexError, AttributeError) as error:
        raise NoAnswer(f"answered with no range vector to {query}") from error
