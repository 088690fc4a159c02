"""The census of scrapes: of every slot of every target's scrape clock, whether a sample of it is stored.

Asked once, after the drills: a range vector over `up` gives every raw sample with its own timestamp, for a target
that could not be scraped too (`up` is then 0). Prometheus scrapes a target on a grid of its interval whose phase is
fixed by the target's labels and the host's name (`scrape/target.go`, `offset`), so it stays the same over a restart;
a scrape may start late on a busy machine, and never early by more than the 2 ms to which timestamps are aligned
(`scrape/scrape.go`, `ScrapeTimestampTolerance`).
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from aiohttp import ClientSession

from harness.model.collection import CensusTaken, ScrapesCounted
from harness.model.events import Payload
from harness.model.stack import LANE_LABEL, Address
from harness.model.time import parse_duration
from harness.observe.asking import NoAnswer, active_targets, ask

ANSWER_SECONDS: Final = 20.0
"""How long Prometheus may take for the whole census."""

EARLY: Final = 0.25
"""The share of an interval by which a sample may seem to come before its slot, whose instant is estimated from samples
that may all be late. One that is late by more than the rest of the interval belongs to the next slot."""

_MARGIN_INTERVALS = 2

Labels = frozenset[tuple[str, str]]
Sample = tuple[float, float]


@dataclass(frozen=True, slots=True)
class _Scraped:
    """A target: its labels as they are in its series, and its interval in seconds where it is known."""

    labels: Mapping[str, str]
    interval: float | None


async def take_census(prometheus: Address, *, since_wall: float, until_wall: float) -> tuple[Payload, ...]:
    """One `ScrapesCounted` for every target, then one `CensusTaken`, which says so where Prometheus cannot be asked.

    Counted are the slots from `since_wall` to one interval before `until_wall`: a scrape may take that long, and is
    stored when it is over. Targets are those that are scraped now, and those that have samples in the window though
    they are not.

    Args:
        prometheus: where it listens.
        since_wall: when the rules were loaded and every target was scraped, Unix seconds.
        until_wall: when the drills were over, Unix seconds; not later than now.
    """
    try:
        async with asyncio.timeout(ANSWER_SECONDS), ClientSession(f"http://{prometheus}") as session:
            scraped = _scraped(await active_targets(session))
            longest = max((one.interval or 0.0 for one in scraped.values()), default=0.0)
            milliseconds = max(1, math.ceil((until_wall - since_wall + _MARGIN_INTERVALS * longest) * 1000))
            samples = _samples(await ask(session, f"up[{milliseconds}ms]", until_wall))
    except NoAnswer as error:
        return (CensusTaken(since_wall, until_wall, 0, f"Prometheus at {prometheus}: {error}"),)
    except TimeoutError:
        told = f"Prometheus at {prometheus} did not answer within {ANSWER_SECONDS:g} s"
        return (CensusTaken(since_wall, until_wall, 0, told),)
    by_job = {one.labels.get("job", ""): one.interval for one in scraped.values()}
    targets = {**scraped, **{labels: _gone(labels, by_job) for labels in samples if labels not in scraped}}
    counted: list[Payload] = []
    errors = []
    for labels, one in sorted(targets.items(), key=lambda item: sorted(item[0])):
        job, instance, lane = (one.labels.get(name, "") for name in ("job", "instance", LANE_LABEL))
        if one.interval is None:
            errors.append(f"nobody knows how often {job} at {instance} is scraped")
            continue
        slots = count_slots(samples.get(labels, ()), one.interval, since_wall, until_wall)
        counted.append(
            ScrapesCounted(
                job=job,
                instance=instance,
                lane=lane,
                interval_seconds=one.interval,
                first_at=slots.first_at,
                expected=slots.expected,
                stored=slots.stored,
                good=slots.expected - len(slots.lost),
                lost=slots.lost,
                longest_gap_seconds=slots.longest_gap_seconds,
            )
        )
    if not targets:
        errors.append("Prometheus scrapes nothing")
    return (*counted, CensusTaken(since_wall, until_wall, len(targets), "; ".join(errors)))


@dataclass(frozen=True, slots=True)
class Slots:
    """One target's slots: the first is due at `first_at`; `lost` numbers those without a good sample, from 0."""

    first_at: float
    expected: int
    stored: int
    lost: tuple[int, ...]
    longest_gap_seconds: float


def count_slots(samples: Sequence[Sample], interval: float, since: float, until: float) -> Slots:
    """Puts samples into the slots that they were taken for.

    The phase of the grid is estimated from the samples: from the earliest of them where all are a little late, from the
    bulk of them where a few are very late, whichever leaves fewer slots empty. Without any sample the grid begins at
    `since`, and all of it is lost.

    Args:
        samples: instant (Unix seconds) and value of each sample of `up`, from a little before `since` on.
        interval: seconds between two scrapes.
        since: from when on slots count.
        until: up to when samples were asked for; the last interval before it may still be under way.
    """
    stamps = sorted(samples)
    grids = (_on_grid(stamps, phase, interval, since, until) for phase in _phases(stamps, interval, since))
    return min(grids, key=lambda slots: len(slots.lost))


def _phases(stamps: Sequence[Sample], interval: float, since: float) -> tuple[float, ...]:
    """Instants that may lie on the grid: the end of the longest stretch without samples, and the middle of them."""
    if not stamps:
        return (since,)
    points = sorted((at - since) % interval for at, _ in stamps)
    stretches = [(later - earlier, later) for earlier, later in pairwise(points)]
    stretches.append((points[0] + interval - points[-1], points[0]))
    return since + max(stretches)[1], since + points[len(points) // 2]


def _on_grid(stamps: Sequence[Sample], phase: float, interval: float, since: float, until: float) -> Slots:
    first_at = phase + math.ceil((since - phase) / interval) * interval
    expected = max(0, math.floor((until - interval - first_at) / interval) + 1)
    values: dict[int, float] = {}
    for at, value in stamps:
        number = math.floor((at - first_at) / interval + EARLY)
        if 0 <= number < expected:
            values[number] = max(value, values.get(number, 0.0))
    good_at = [at for at, value in stamps if value == 1 and since <= at <= until]
    edges = [since, *good_at, max(since, until - interval, *good_at[-1:])]
    return Slots(
        first_at=first_at,
        expected=expected,
        stored=len(values),
        lost=tuple(number for number in range(expected) if values.get(number) != 1),
        longest_gap_seconds=max(later - earlier for earlier, later in pairwise(edges)),
    )


def _scraped(active: Sequence[Any]) -> dict[Labels, _Scraped]:
    """The targets by their labels.

    Raises:
        NoAnswer: they are not listed in the form that we know.
    """
    found = {}
    try:
        for target in active:
            labels = dict(target["labels"])
            spelled = target.get("scrapeInterval") or target["discoveredLabels"].get("__scrape_interval__", "")
            found[frozenset(labels.items())] = _Scraped(labels, _seconds(spelled))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise NoAnswer("lists its targets in a form that we do not know") from error
    return found


def _seconds(spelled: str) -> float | None:
    try:
        return parse_duration(spelled).total_seconds() or None
    except ValueError:
        return None


def _samples(series: Sequence[Any]) -> dict[Labels, list[Sample]]:
    """The samples of `up` by their target's labels.

    Raises:
        NoAnswer: that is no range vector.
    """
    try:
        return {
            frozenset((name, value) for name, value in one["metric"].items() if name != "__name__"): [
                (float(at), float(value)) for at, value in one["values"]
            ]
            for one in series
        }
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise NoAnswer("answered with no range vector to up") from error


def _gone(labels: Labels, by_job: Mapping[str, float | None]) -> _Scraped:
    """A target that has samples and is scraped no more: its interval is that of the others of its job."""
    known = dict(labels)
    return _Scraped(known, by_job.get(known.get("job", "")))
