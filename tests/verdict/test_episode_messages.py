"""What an episode of the records' way truly raises is no false alarm, and nothing else is excused by it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from ledgers import ALERTS, EPOCH, LABELS, Ledger, injection, message, post, smoke

from harness.model.episodes import EpisodeBegan, EpisodeEnded, EpisodePlan, EpisodePlanned, Promise
from harness.model.events import Event, InjectionPlanned, Payload
from harness.model.notifications import Status
from harness.model.stack import SHARED
from harness.verdict.episodes import AFTERMATH_SECONDS
from harness.verdict.messages import Attribution, attribute
from harness.verdict.quality import quality_of
from harness.verdict.record import record

ALERT = "HighErrorRatio"
"""It stands for LogsNotCollected."""

FIRST = EPOCH + 10
BEGAN, ENDED = 100.0, 130.0
PLAN = EpisodePlan(
    "episode-x", "x", "It does.", "real", ("system",), timedelta(0), timedelta(seconds=20), Promise(), (ALERT,)
)


def told(
    at: float, *, status: Status = Status.FIRING, lane: str = SHARED, alert: str = ALERT
) -> tuple[tuple[float, Payload], ...]:
    """A message, and what Alertmanager was handed for it, so many seconds after the first fault."""
    over = status is Status.RESOLVED
    return (
        (at - 0.1, post(alert, lane, FIRST + at - 0.1, over=over)),
        (at, message(alert, lane, "email", FIRST + at, status)),
    )


def episode(plan: EpisodePlan = PLAN, *, ended: bool = True) -> tuple[tuple[float, Payload], ...]:
    """An episode between two instants."""
    known = ((-8.0, EpisodePlanned(plan)), (BEGAN, EpisodeBegan(plan.id, plan.fault)))
    return (*known, (ENDED, EpisodeEnded(plan.id))) if ended else known


def attributed(*extra: tuple[float, Payload]) -> Attribution:
    """What becomes of the messages of a healthy run with these besides."""
    return attribute(record(smoke(extra=extra)))


def alarms(*extra: tuple[float, Payload]) -> int:
    """How many false alarms are counted."""
    return len(quality_of(record(smoke(extra=extra)), ()).false_alarms)


@pytest.mark.parametrize(
    ("at", "status"),
    [
        (BEGAN + 1, Status.FIRING),
        (ENDED, Status.RESOLVED),
        (ENDED + AFTERMATH_SECONDS - 1, Status.FIRING),
        (ENDED + AFTERMATH_SECONDS - 1, Status.RESOLVED),
    ],
)
def test_what_an_episode_raises_is_explained(at: float, status: Status) -> None:
    """From its beginning to shortly after its end; without the episode the same message is a false alarm."""
    assert attributed(*episode(), *told(at, status=status)).unexplained == ()
    assert len(attributed(*told(at, status=status)).unexplained) == 1
    if status is Status.FIRING:
        assert (alarms(*episode(), *told(at)), alarms(*told(at))) == (0, 1)


@pytest.mark.parametrize("at", [BEGAN - 1, ENDED + AFTERMATH_SECONDS + 1])
def test_before_and_long_after_it_is_a_false_alarm(at: float) -> None:
    """The twin: the episode excuses nothing of that."""
    assert len(attributed(*episode(), *told(at)).unexplained) == 1
    assert alarms(*episode(), *told(at)) == 1


def test_one_that_never_ended_excuses_to_the_end() -> None:
    """Nobody knows until when it was to be heard of."""
    assert attributed(*episode(ended=False), *told(ENDED + 500)).unexplained == ()


@pytest.mark.parametrize(
    "extra",
    [
        (*episode(replace(PLAN, tolerates=())), *told(BEGAN + 1)),
        (*episode(replace(PLAN, tolerates=("ServerDown",))), *told(BEGAN + 1)),
        (*episode(), *told(BEGAN + 1, lane="elsewhere")),
    ],
    ids=["it tolerates nothing", "it tolerates another alert", "in another lane"],
)
def test_what_it_does_not_tolerate_stays_a_false_alarm(extra: tuple[tuple[float, Payload], ...]) -> None:
    """The twins: an alert that it does not name, and one of a lane, with which it has nothing to do."""
    assert len(attributed(*extra).unexplained) == 1


class TestBesideInjections:
    """In the shared lane, where injections go on as well."""

    @staticmethod
    def run(start: float, alert: str, *extra: tuple[float, Payload]) -> tuple[Event, ...]:
        """A run in which an alert is injected in the shared lane, too."""
        played = Ledger()
        one = replace(injection(alert, 9, SHARED), id=f"{alert}-9")
        played.play(one, FIRST + start)
        lines = [(-8.0, InjectionPlanned(one)), *((at - FIRST, payload) for at, payload in played.lines)]
        return smoke(extra=(*lines, *extra))

    def test_the_injection_of_another_alert_is_not_spoilt(self) -> None:
        """Without the episode the message would be laid to it."""
        for known, spoilt in ((episode(), False), ((), True)):
            found = attribute(record(self.run(BEGAN + 2, "ServerDown", *known, *told(BEGAN + 6))))
            assert bool(found.unexpected.get("ServerDown-9")) is spoilt

    def test_an_injection_that_is_over_does_not_get_the_episodes_messages(self) -> None:
        """Its own alert speaks again, for another reason; without that reason it says firing after all was over."""
        for known, spoilt in ((episode(), False), ((), True)):
            found = attribute(record(self.run(20, ALERT, *known, *told(BEGAN + 6))))
            assert bool(found.unexpected.get(f"{ALERT}-9")) is spoilt
            assert found.heard[f"{ALERT}-9"][-1].status is (Status.FIRING if spoilt else Status.RESOLVED)

    def test_an_injection_after_the_episode_has_its_own_messages(self) -> None:
        """What is heard of it is its own; that the episode's alert is over, told while it begins, is not."""
        start = ENDED + 3
        found = attribute(record(self.run(start, ALERT, *episode(), *told(start + 1, status=Status.RESOLVED))))
        heard = found.heard[f"{ALERT}-9"]
        assert [one.status for one in heard] == [Status.FIRING] * 2 + [Status.RESOLVED] * 2
        assert not found.unexpected.get(f"{ALERT}-9")
        assert found.unexplained == ()


def test_the_stand_in_is_an_alert_of_the_synthetic_policy() -> None:
    """Else every message above would speak of nothing."""
    assert ALERT in ALERTS
    assert ALERT in LABELS


@pytest.mark.parametrize(("over", "unexplained"), [(99.0, 0), (101.0, 1)])
def test_when_the_drills_are_over_nobody_is_judged_by_what_is_heard(over: float, unexplained: int) -> None:
    """The harness reckons then, and loads the machine; the same message before their end is a false alarm."""
    found = replace(record(smoke(extra=told(100.0))), drilled=(EPOCH, FIRST + over))
    assert len(attribute(found).unexplained) == unexplained


@pytest.mark.parametrize(("later", "unexplained"), [(("email-critical",), 0), (("push-batch",), 1)])
def test_a_batch_judges_nobody(later: tuple[str, ...], unexplained: int) -> None:
    """What a receiver says that is told of nothing at once is passed over; of any other it is a false alarm."""
    found = record(smoke(extra=told(100.0)))
    assert found.plan is not None
    found = replace(found, plan=replace(found.plan, told_later=later), messages=found.messages[-1:])
    assert found.messages[0].receiver == "email-critical"
    assert len(attribute(found).unexplained) == unexplained
