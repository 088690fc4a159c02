"""A ledger put in order: which fault ends the story of which injection."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from ledgers import EPOCH, injection, numbered

from harness.model.events import FaultApplying, InjectionPlanned, PathDisturbed, PathRestored
from harness.verdict.record import record

FIRST = injection("ServerDown", 1, "lane-01")


@pytest.mark.parametrize(
    ("lane", "track", "stage", "ends"),
    [
        ("lane-01", FIRST.track, "alerts", True),
        ("lane-01", "host-cpu", "alerts", False),
        ("lane-01", "monitoring", "monitoring", True),
        ("lane-02", FIRST.track, "alerts", False),
        ("lane-02", "monitoring", "monitoring", False),
    ],
    ids=["its track", "another track beside it", "a later stage", "another lane", "a later stage elsewhere"],
)
def test_a_story_ends_with_the_next_fault_that_could_be_meant(lane: str, track: str, stage: str, *, ends: bool) -> None:
    """The next one of its track or, once the stage is over, of its lane; what goes on beside it ends nothing."""
    other = replace(injection("ServerDown", 2, lane), track=track, stage=stage)
    told = record(
        numbered(
            [
                (EPOCH, InjectionPlanned(FIRST)),
                (EPOCH, InjectionPlanned(other)),
                (EPOCH + 1, FaultApplying(FIRST.id, FIRST.fault, FIRST.lane)),
                (EPOCH + 9, FaultApplying(other.id, other.fault, other.lane)),
            ]
        )
    )
    first, second = told.stories
    assert first.ends_at == (EPOCH + 9 if ends else math.inf)
    assert second.ends_at == math.inf, "nothing comes after it"


def test_where_all_go_on_one_at_a_time_any_next_one_ends_a_story() -> None:
    """A fault of what all lanes share, after one in a lane whose way was disturbed."""
    first = replace(FIRST, track="monitoring", stage="monitoring", although="receiver-erroring")
    other = replace(injection("ServerDown", 2, "shared"), track="monitoring", stage="monitoring")
    planned = [(EPOCH, InjectionPlanned(one)) for one in (first, other)]
    applied = [(EPOCH + at, FaultApplying(one.id, one.fault, one.lane)) for at, one in ((1, first), (9, other))]
    assert record(numbered([*planned, *applied])).stories[0].ends_at == EPOCH + 9


@pytest.mark.parametrize("kinds", [(), (PathDisturbed,), (PathDisturbed, PathRestored)], ids=["never", "on", "over"])
def test_a_disturbance_is_remembered_until_it_is_seen_to_be_over(
    kinds: tuple[type[PathDisturbed | PathRestored], ...],
) -> None:
    """None where there was none, True while it lasts, False when it is over."""
    lines = [(EPOCH + at, kind(FIRST.id, "receiver-erroring", 1.0, "500")) for at, kind in enumerate(kinds, start=1)]
    (story,) = record(numbered([(EPOCH, InjectionPlanned(FIRST)), *lines])).stories
    assert story.disturbed is {0: None, 1: True, 2: False}[len(kinds)]
