"""A lane that never came up: named, counted, never green; everything else is judged as ever."""

from __future__ import annotations

import pytest
from ledgers import EPOCH, smoke

from harness.model.collection import CensusTaken, ScrapesCounted
from harness.model.events import (
    Event,
    Injected,
    InjectionPlanned,
    InjectionUnverified,
    LaneRetired,
    Payload,
    TargetDeclared,
)
from harness.model.policy import Basis, Target
from harness.model.source import Span
from harness.model.verdicts import CellStatus, Judgement, Verdict
from harness.verdict.judge import judge

LANE = "lane-01"
WHY = (
    "mysql of lane lane-01 ended with code 1 before it was ready\n"
    "  expected: it runs and works at 127.0.0.1:3306\n"
    "  | starting\n"
    "  | unknown variable 'nonsense'\n"
    "  hint: its whole output is in logs/mysql.lane-01.log"
)
DECLARED = TargetDeclared(
    Target("metrics-collected", Basis.CENSUS, 0.99, "ratio", "stored", Span("policies/targets.yaml", 1, 1, 1, 1))
)
SCRAPED = ScrapesCounted("mysql", "127.0.0.1:9104", "lane-02", 2.0, EPOCH + 10, 100, 100, 100, (), 2.0)


def given_up(lane: str = LANE, *, came_up: bool = False) -> tuple[Event, ...]:
    """A smoke run, healthy but for one lane: nothing was tried in it."""
    told = list(smoke())
    planned = {
        event.payload.injection.id
        for event in told
        if isinstance(event.payload, InjectionPlanned) and event.payload.injection.lane == lane
    }
    left = [event for event in told if not _is_of(event.payload, planned, lane)]
    retired = LaneRetired(lane, WHY, came_up=came_up)
    why = f"{lane} did not come up: {WHY.splitlines()[0]}"
    started = next(number for number, event in enumerate(left) if event.kind == "stage-started")
    at = left[started].wall
    payloads: list[Payload] = [retired, *(InjectionUnverified(name, why) for name in sorted(planned))]
    more = [Event(0, at, at - EPOCH, payload.kind, payload) for payload in payloads]
    events = [*left[: started + 1], *more, *left[started + 1 :]]
    return tuple(
        Event(number, event.wall, event.monotonic, event.kind, event.payload)
        for number, event in enumerate(events, start=1)
    )


def _is_of(payload: Payload | None, injections: set[str], lane: str) -> bool:
    """Whether an event is of something that was done, or heard, in a lane."""
    if isinstance(payload, InjectionPlanned):
        return False
    return (
        getattr(payload, "injection", None) in injections or f"'{lane}'" in str(payload) or f"({lane})" in str(payload)
    )


def cells(judgement: Judgement) -> dict[str, set[CellStatus]]:
    """The statuses of every alert's cells."""
    return {alert.alert: {cell.status for cell in alert.cells} for alert in judgement.alerts}


def test_it_is_named_with_its_last_line_and_counted() -> None:
    """One reason says which lane, why, what its component said last, and how much was not tried."""
    judgement = judge(given_up())
    assert (judgement.verdict, judgement.exit_code) == (Verdict.UNVERIFIED, 3)
    (reason,) = [one for one in judgement.reasons if one.startswith(LANE)]
    assert reason == (
        "lane-01 did not come up: mysql of lane lane-01 ended with code 1 before it was ready; "
        "its last line: unknown variable 'nonsense'; injections that were not tried: 2"
    )
    assert "lane-01 did not come up: mysql of lane lane-01" in judgement.headline
    assert (judgement.planned, judgement.tried, judgement.failed) == (6, 4, 0)


def test_everything_else_is_judged() -> None:
    """Its cells are unverified, those of the other lanes heard, and both controls failed as they were meant to."""
    judgement = judge(given_up())
    assert cells(judgement) == {
        "ServerDown": {CellStatus.UNVERIFIED},
        "DatabaseUnreachable": {CellStatus.HEARD},
        "HighErrorRatio": {CellStatus.HEARD},
    }
    assert all(control.as_expected for control in judgement.controls)
    assert not [one for one in judgement.reasons if "belongs to no injection" in one]


def test_a_lane_of_which_nothing_was_planned_is_red_too() -> None:
    """That a lane is missing is said even where no injection is missing; the twin without it is green."""
    events = smoke(extra=[(-6.0, LaneRetired("lane-09", WHY, came_up=False))])
    assert judge(events).verdict is Verdict.UNVERIFIED
    assert judge(smoke()).verdict is Verdict.PASS


def test_a_track_that_was_retired_later_is_no_lane_given_up() -> None:
    """A fault that could not be undone has reasons of its own: its lane came up."""
    judgement = judge(given_up(came_up=True))
    assert judgement.verdict is Verdict.UNVERIFIED
    assert not [one for one in judgement.reasons if one.startswith(LANE)]


@pytest.mark.parametrize(
    ("lost", "lane", "verdict"),
    [
        ((), "", Verdict.PASS),
        ((), "lane-09", Verdict.UNVERIFIED),
        (tuple(range(50)), "lane-09", Verdict.FAIL),
    ],
)
def test_the_census_does_not_cover_it(lost: tuple[int, ...], lane: str, verdict: Verdict) -> None:
    """A lane that was never scraped lost no slot; the target may not be met for it, and a failure stays one."""
    counted = ScrapesCounted(
        "mysql", "127.0.0.1:9104", "lane-09", 2.0, EPOCH + 10, 100, 100, 100 - len(lost), lost, 2.0
    )
    extra: list[tuple[float, Payload]] = [
        (-10.0, DECLARED),
        (200.0, counted),
        (200.0, CensusTaken(EPOCH + 10, EPOCH + 210, 1)),
    ]
    if lane:
        extra.append((-6.0, LaneRetired(lane, WHY, came_up=False)))
    judgement = judge(smoke(profile="gate", extra=extra))
    (found,) = [target for target in judgement.targets if target.id == "metrics-collected"]
    assert found.verdict is verdict
    assert ("nothing is known of lane-09, which did not come up" in found.claim) is bool(lane)


def test_nobody_watched_over_it() -> None:
    """Quiet time is that of lanes that were watched: a lane that never was makes no bound better."""
    whole, less = judge(smoke()).quality, judge(given_up()).quality
    assert whole is not None
    assert less is not None
    assert less.noise.quiet_seconds < whole.noise.quiet_seconds


def test_nothing_was_done_in_it() -> None:
    """The twin of all of these: the ledgers here tell of no fault in that lane."""
    proven = {event.payload.injection for event in given_up() if isinstance(event.payload, Injected)}
    assert proven
    assert not [name for name in proven if name.startswith("ServerDown")]
