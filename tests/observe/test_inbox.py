"""The inbox: every message is written down, who waits is woken, and negative controls are seen to act."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from harness.errors import HarnessError
from harness.model.events import Payload
from harness.model.notifications import MessageArrived, MessageInterfered, RawMessage, SinkRefused, Status
from harness.model.plan import Control
from harness.model.time import Instant
from harness.observe.channels.registry import CHANNELS
from harness.observe.inbox import Inbox, Interference

ALERT, LANE = "HighErrorRatio", "lane-1"
BOTH = ("email", "slack")
SOON_SECONDS = 0.2


class Book(list[Payload]):
    """What was written, with a look at one kind at a time."""

    def arrived(self) -> list[MessageArrived]:
        """The messages that arrived."""
        return [event for event in self if isinstance(event, MessageArrived)]

    def interfered(self) -> list[MessageInterfered]:
        """What the negative controls did."""
        return [event for event in self if isinstance(event, MessageInterfered)]

    def refused(self) -> list[SinkRefused]:
        """What the sinks could not take."""
        return [event for event in self if isinstance(event, SinkRefused)]


@pytest.fixture
def book() -> Book:
    """An empty ledger."""
    return Book()


@pytest.fixture
def inbox(book: Book) -> Inbox:
    """An inbox for all channels."""
    return Inbox(book.append, CHANNELS)


COUNT = iter(range(1_000_000))


def mail(word: str = "FIRING:1", *, alert: str = ALERT, lane: str = LANE, arrived: Instant | None = None) -> RawMessage:
    """A mail about an alert in a lane."""
    body = f"Subject: [{word}] {alert} {lane}\r\n\r\nthe text\r\n"
    return RawMessage(f"email-{next(COUNT)}", "email", "page", arrived or Instant.now(), {}, body)


def slack(word: str = "FIRING:1", *, alert: str = ALERT, lane: str = LANE) -> RawMessage:
    """A Slack message about an alert in a lane."""
    body = f'{{"channel": "#alerts", "attachments": [{{"title": "[{word}] {alert} {lane}"}}]}}'
    return RawMessage(f"slack-{next(COUNT)}", "slack", "page", Instant.now(), {}, body)


def in_seconds(seconds: float) -> float:
    """A deadline on the monotonic clock."""
    return time.monotonic() + seconds


async def test_a_message_is_written_with_its_arrival_and_kept(inbox: Inbox, book: Book) -> None:
    """The ledger holds what came and how it reads, under the instant that the sink stamped."""
    raw = mail(arrived=Instant(1000.0, 10.0))
    inbox.deliver(raw)
    (event,) = book.arrived()
    assert event.raw is raw
    assert event.notification.arrived == Instant(1000.0, 10.0)
    assert event.notification.title == f"[FIRING:1] {ALERT} {LANE}"
    assert inbox.notifications == (event.notification,)


async def test_a_refusal_is_written(inbox: Inbox, book: Book) -> None:
    """What a sink could not take is in the ledger too."""
    inbox.refuse("email", "wrong credentials")
    assert book == [SinkRefused("email", "wrong credentials")]


async def test_waiting_ends_when_the_last_channel_hears(inbox: Inbox) -> None:
    """Who waits is woken by the message itself, long before the deadline."""
    waiting = asyncio.create_task(inbox.heard(ALERT, LANE, BOTH, Status.FIRING, 0.0, in_seconds(30)))
    await asyncio.sleep(0)
    inbox.deliver(mail())
    await asyncio.sleep(0.01)
    assert not waiting.done()
    inbox.deliver(slack())
    async with asyncio.timeout(1):
        assert await waiting == {"email", "slack"}


async def test_what_is_there_already_is_heard_at_once(inbox: Inbox) -> None:
    """A message that came before anybody waited is not missed, not even past the deadline."""
    inbox.deliver(mail())
    assert await inbox.heard(ALERT, LANE, ("email",), Status.FIRING, 0.0, in_seconds(0)) == {"email"}


async def test_at_the_deadline_who_heard_is_told(inbox: Inbox) -> None:
    """The answer names the channels that heard; the others are missing from it, and the wait is no longer."""
    inbox.deliver(mail())
    begun = time.monotonic()
    assert await inbox.heard(ALERT, LANE, BOTH, Status.FIRING, 0.0, in_seconds(0.05)) == {"email"}
    assert time.monotonic() - begun >= 0.05


@pytest.mark.parametrize(
    "make",
    [
        lambda: mail(lane="lane-10"),
        lambda: mail(alert="HighErrorRatioCritical"),
        lambda: mail("RESOLVED"),
        lambda: mail("note"),
        slack,
        lambda: mail(arrived=Instant(time.time() - 60, time.monotonic() - 60)),
        lambda: mail(arrived=Instant(time.time() + 60, time.monotonic() + 60)),
    ],
    ids=["other lane", "other alert", "resolved", "unknown", "other channel", "too early", "past the deadline"],
)
async def test_another_message_does_not_count(inbox: Inbox, make: Callable[[], RawMessage]) -> None:
    """Only this alert, in this lane, with this status, in this channel, in this window is an answer."""
    since = time.time() - 1
    inbox.deliver(make())
    assert await inbox.heard(ALERT, LANE, ("email",), Status.FIRING, since, in_seconds(0.02)) == frozenset()


async def test_a_mixed_message_is_heard_by_both(inbox: Inbox) -> None:
    """A message that tells of firing and resolved alerts answers either question."""
    inbox.deliver(mail("FIRING:1, RESOLVED:1"))
    for status in (Status.FIRING, Status.RESOLVED):
        assert await inbox.heard(ALERT, LANE, ("email",), status, 0.0, in_seconds(0)) == {"email"}


async def test_many_wait_at_the_same_time(inbox: Inbox) -> None:
    """Each lane hears its own message, in whatever order they come."""
    lanes = [f"lane-{number}" for number in range(1, 13)]
    waiting = {
        lane: asyncio.create_task(inbox.heard(ALERT, lane, ("email",), Status.FIRING, 0.0, in_seconds(SOON_SECONDS)))
        for lane in lanes
    }
    await asyncio.sleep(0)
    for lane in reversed(lanes[1:]):
        inbox.deliver(mail(lane=lane))
    answers = {lane: await task for lane, task in waiting.items()}
    assert answers == {lane: {"email"} if lane != "lane-1" else frozenset() for lane in lanes}


async def test_lost_drops_messages_and_says_so(inbox: Inbox, book: Book) -> None:
    """The lost control takes every message of its alert and lane; the ledger says that it was on purpose."""
    inbox.interfere(Interference(LANE, ALERT, Control.LOST))
    for raw in (mail(), slack(), mail("RESOLVED")):
        inbox.deliver(raw)
    assert book.arrived() == []
    assert book.interfered() == [
        MessageInterfered("email", "lost", LANE),
        MessageInterfered("slack", "lost", LANE),
        MessageInterfered("email", "lost", LANE),
    ]
    assert await inbox.heard(ALERT, LANE, BOTH, Status.FIRING, 0.0, in_seconds(0.02)) == frozenset()


async def test_what_was_dropped_can_be_waited_for(inbox: Inbox) -> None:
    """Who runs the lost control learns that the message was sent; to everybody else it never was."""
    inbox.interfere(Interference(LANE, ALERT, Control.LOST))
    waiting = asyncio.create_task(
        inbox.caught(ALERT, LANE, BOTH, Status.FIRING, since_wall=0.0, deadline_monotonic=in_seconds(30))
    )
    await asyncio.sleep(0)
    inbox.deliver(mail())
    inbox.deliver(slack())
    async with asyncio.timeout(1):
        assert await waiting == {"email", "slack"}
    assert inbox.notifications == ()
    assert await inbox.caught(ALERT, LANE, BOTH, Status.RESOLVED, 0.0, in_seconds(0)) == frozenset()


async def test_what_was_heard_was_not_caught(inbox: Inbox) -> None:
    """The twin: a message that nobody interfered with is not among the dropped."""
    inbox.deliver(mail())
    assert await inbox.caught(ALERT, LANE, ("email",), Status.FIRING, 0.0, in_seconds(0)) == frozenset()


async def test_a_control_leaves_everybody_else_alone(inbox: Inbox, book: Book) -> None:
    """Other lanes, other alerts and channels that it does not work on are heard; after its end all are."""
    control = Interference(LANE, ALERT, Control.LOST, channels=frozenset({"email"}))
    inbox.interfere(control)
    inbox.deliver(mail(lane="lane-10"))
    inbox.deliver(mail(alert="DatabaseDown"))
    inbox.deliver(slack())
    inbox.clear(control)
    inbox.clear(control)
    inbox.deliver(mail())
    assert len(book.arrived()) == 4
    assert book.interfered() == []


async def test_late_holds_a_firing_message_until_its_instant(inbox: Inbox, book: Book) -> None:
    """The late control's message arrives at the instant given, stamped then, and is heard then."""
    until = time.time() + SOON_SECONDS
    control = Interference(LANE, ALERT, Control.LATE, until)
    inbox.interfere(control)
    taken = mail()
    inbox.deliver(taken)
    inbox.clear(control)
    assert book == [MessageInterfered("email", "late", LANE, until)]
    assert await inbox.heard(ALERT, LANE, ("email",), Status.FIRING, 0.0, in_seconds(5)) == {"email"}
    (event,) = book.arrived()
    assert event.raw == replace(taken, arrived=event.raw.arrived)
    assert event.notification.arrived == event.raw.arrived
    assert until <= event.raw.arrived.wall < until + 1
    assert event.raw.arrived.monotonic - taken.arrived.monotonic >= SOON_SECONDS - 0.05


async def test_late_does_not_hold_a_resolved_message(inbox: Inbox, book: Book) -> None:
    """Only the firing message is late; that the alert is over is heard in its own time."""
    inbox.interfere(Interference(LANE, ALERT, Control.LATE, time.time() + 60))
    inbox.deliver(mail("RESOLVED"))
    assert len(book.arrived()) == 1


async def test_a_message_that_is_late_by_itself_is_not_held(inbox: Inbox, book: Book) -> None:
    """Past the instant there is nothing left to hold it for."""
    inbox.interfere(Interference(LANE, ALERT, Control.LATE, time.time() - 1))
    inbox.deliver(mail())
    assert len(book.arrived()) == 1
    assert book.interfered() == []


async def test_a_message_still_held_at_the_end_is_not_lost_silently(inbox: Inbox, book: Book) -> None:
    """Closing says of each held message that it was never delivered, and it does not come back afterwards."""
    failures: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: failures.append(context))
    inbox.interfere(Interference(LANE, ALERT, Control.LATE, time.time() + 0.05))
    raw = mail()
    inbox.deliver(raw)
    inbox.close()
    (refused,) = book.refused()
    assert refused.channel == "email"
    assert raw.id in refused.why
    assert "never delivered" in refused.why
    await asyncio.sleep(0.08)
    assert book.arrived() == []
    assert failures == []


def test_a_late_control_without_an_instant_is_a_mistake() -> None:
    """It would hold its message for ever."""
    with pytest.raises(HarnessError, match="no instant"):
        Interference(LANE, ALERT, Control.LATE)
