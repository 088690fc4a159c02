"""The status of a cell from its trials, and what a cell tells of them."""

from __future__ import annotations

import math

import pytest
from ledgers import Play, smoke

from harness.model.hops import Hop
from harness.model.verdicts import CellStatus, Outcome, Trial
from harness.verdict.cells import status_of
from harness.verdict.judge import judge

SIGNS = {
    "h": Outcome.HEARD,
    "l": Outcome.LOST,
    "t": Outcome.LATE,
    "w": Outcome.WRONG_CONTENT,
    "n": Outcome.NOT_RESOLVED,
    "i": Outcome.INCONCLUSIVE,
    "u": Outcome.UNVERIFIED,
}


def trial(outcome: Outcome) -> Trial:
    """A trial of which only the outcome matters."""
    return Trial("x", "ServerDown", "email", outcome, {}, math.inf, math.inf, None)


@pytest.mark.parametrize(
    ("outcomes", "status"),
    [
        ("hh", CellStatus.HEARD),
        ("hhhhh", CellStatus.HEARD),
        ("ll", CellStatus.BROKEN),
        ("tw", CellStatus.BROKEN),
        ("nn", CellStatus.BROKEN),
        ("hl", CellStatus.FLAKY),
        ("hhl", CellStatus.FLAKY),
        ("hll", CellStatus.BROKEN),
        ("hhll", CellStatus.BROKEN),
        ("hhhl", CellStatus.FLAKY),
        ("", CellStatus.UNVERIFIED),
        ("uu", CellStatus.UNVERIFIED),
        ("ii", CellStatus.UNVERIFIED),
        ("hu", CellStatus.UNVERIFIED),
        ("hi", CellStatus.UNVERIFIED),
        ("lu", CellStatus.FLAKY),
        ("llu", CellStatus.BROKEN),
    ],
)
def test_status_of_a_cell(outcomes: str, status: CellStatus) -> None:
    """All heard, proven broken, failed without proof, or not known; no outcome is silently left out."""
    assert status_of([trial(SIGNS[sign]) for sign in outcomes]) is status


def test_a_lost_message_stays_in_the_sample() -> None:
    """Two trials, one lost: the maximum is infinite, and so is the upper median."""
    alert = next(
        one for one in judge(smoke({"ServerDown-1": Play(deaf=("email",))})).alerts if one.alert == "ServerDown"
    )
    email, slack = alert.cells
    assert email.seconds is not None
    assert (email.seconds.p50, email.seconds.max) == (math.inf, math.inf)
    assert slack.seconds is not None
    assert slack.seconds.max < 30
    assert alert.status is CellStatus.FLAKY


def test_hop_times_count_from_the_condition() -> None:
    """The hops of an alert are told once an injection, in seconds since t0, in the order of the trail."""
    alert = judge(smoke()).alerts[0]
    assert list(alert.hops) == [Hop.VISIBLE, Hop.PENDING, Hop.FIRING, Hop.RECEIVED, Hop.NOTIFIED]
    assert alert.hops[Hop.VISIBLE].max == pytest.approx(1.2, abs=1e-4)
    assert alert.hops[Hop.NOTIFIED].max == pytest.approx(6.01, abs=1e-4)


def test_the_earliest_end_of_a_trail_is_shown() -> None:
    """Of two lost trials the one that came less far points nearest to the cause."""
    plays = {"ServerDown-1": Play(reaches=Hop.VISIBLE), "ServerDown-2": Play(deaf=("email", "slack"))}
    cell = judge(smoke(plays)).alerts[0].cells[0]
    assert cell.trail_ends is Hop.VISIBLE
