"""Which injection goes into which lane: side by side what touches different things, else one after another. Pure."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

from harness.model.plan import Injection, Traits
from harness.model.policy import Priority

LATEST_BEGIN = timedelta(seconds=10)
"""How late a track may begin that is done long before the others: some dozens of faults at the same instant would be
a burden on the machine that no single one of them is."""


def tracks(faults: Collection[str], traits: Mapping[str, Traits]) -> Mapping[str, str]:
    """For every fault the track of a lane that it runs in.

    Faults that touch the same thing conflict, and so do those that conflict with the same fault: each group of them is
    a track, named by the first of the things that it touches. Faults of different tracks share nothing.
    """
    groups: list[set[str]] = []
    for fault in faults:
        joined = set(traits[fault].touches) or {fault}
        apart = []
        for group in groups:
            if group & joined:
                joined |= group
            else:
                apart.append(group)
        groups = [*apart, joined]
    return {
        fault: min(next(group for group in groups if group & (traits[fault].touches or {fault}))) for fault in faults
    }


def packed(
    injections: Sequence[Injection], lanes: Sequence[str], urgency: Mapping[str, Priority], seed: int
) -> list[Injection]:
    """Every injection in a lane, longest first onto the lane whose track is free soonest.

    Of equal lanes the one is taken where this alert was tried least, so that no lane repeats itself. Within a lane the
    less urgent come first (what an outage leaves behind, a window or an inhibition, would silence a lesser alert after
    it), those of one priority in an order drawn from the seed.

    Args:
        injections: those of one stage, each with its track.
        lanes: the names of the lanes.
        urgency: the priority of each alert.
        seed: what every random order is drawn from.
    """
    placed: dict[tuple[str, str], list[Injection]] = {}
    for one in sorted(injections, key=lambda one: (-one.estimate, one.id)):
        lane = min(
            lanes,
            key=lambda lane: (
                load(placed.get((lane, one.track), ())),
                sum(other.alert == one.alert for other in placed.get((lane, one.track), ())),
                lane,
            ),
        )
        placed.setdefault((lane, one.track), []).append(replace(one, lane=lane))
    whole = max((load(waiting) for waiting in placed.values()), default=timedelta(0))
    return [
        one
        for (lane, track), waiting in sorted(placed.items())
        for one in in_sequence(
            waiting,
            urgency,
            f"{seed}/order of {track} in {lane}",
            begin_within=min(whole - load(waiting), LATEST_BEGIN),
        )
    ]


def in_sequence(
    waiting: Sequence[Injection],
    urgency: Mapping[str, Priority],
    dice: str,
    *,
    begin_within: timedelta = timedelta(0),
) -> list[Injection]:
    """Injections one after another, each in the lane that it has; see `packed` for their order.

    None can start before what cannot be shortened of those before it has passed. The first begins at an instant that is
    drawn within `begin_within`.
    """
    ranks = list(Priority)
    order = [*waiting]
    drawn = random.Random(dice)
    drawn.shuffle(order)
    # A control comes first: it takes the longest, and the run could not be shorter than it.
    order.sort(key=lambda one: (one.control is None, -ranks.index(urgency[one.alert])))
    earliest, placed = begin_within * drawn.random(), []
    for one in order:
        placed.append(replace(one, start=earliest))
        earliest += one.phase + one.rule_hold + one.heal_after
    return placed


def load(injections: Iterable[Injection]) -> timedelta:
    """How long injections take one after another."""
    return sum((one.estimate for one in injections), timedelta(0))


def longest(injections: Iterable[Injection]) -> timedelta:
    """How long the track takes that takes longest: the critical path of their stage."""
    by_track: dict[tuple[str, str], timedelta] = {}
    for one in injections:
        key = (one.lane, one.track)
        by_track[key] = by_track.get(key, timedelta(0)) + one.estimate
    return max(by_track.values(), default=timedelta(0))
