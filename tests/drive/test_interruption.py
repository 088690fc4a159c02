"""One reason ends a run, once; those that follow break nothing off."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import suppress

import pytest

from harness.drive.interruption import SIGNALS, Interruption
from harness.errors import ComponentDied, HarnessError, Interrupted, LedgerError


@pytest.fixture
def said() -> list[str]:
    """What a person was told."""
    return []


@pytest.fixture
def interruption(said: list[str]) -> Iterator[Interruption]:
    """An interruption that listens."""
    with Interruption(said.append) as listening:
        yield listening


async def work(interruption: Interruption, steps: list[str], cleaning: asyncio.Event) -> None:
    """A run: it works until it is stopped, then cleans up until it is allowed to end."""
    task = asyncio.current_task()
    assert task is not None
    try:
        with interruption.stops(task):
            steps.append("work")
            await asyncio.Event().wait()
    finally:
        steps.append("clean up")
        await cleaning.wait()
        steps.append("clean")


def send(number: int) -> None:
    """A signal to ourselves; Python has run its handler when this returns."""
    os.kill(os.getpid(), number)


async def reached(steps: list[str], step: str) -> None:
    """Waits until a run came so far."""
    async with asyncio.timeout(2):
        while step not in steps:  # noqa: ASYNC110 - a list tells nobody
            await asyncio.sleep(0.001)


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
async def test_the_first_signal_stops_and_the_others_are_told(
    number: signal.Signals, interruption: Interruption, said: list[str]
) -> None:
    """However often it is sent, the work is cancelled once and the clean-up that follows reaches its end."""
    steps: list[str] = []
    cleaning = asyncio.Event()
    run = asyncio.create_task(work(interruption, steps, cleaning))
    await reached(steps, "work")
    send(number)
    await reached(steps, "clean up")
    for again in SIGNALS:
        send(again)
    async with asyncio.timeout(2):
        while len(said) < 1 + len(SIGNALS):  # noqa: ASYNC110 - see above
            await asyncio.sleep(0.001)
    assert not run.done()
    cleaning.set()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert steps == ["work", "clean up", "clean"]
    assert said[0].startswith(f"{number.name}: stopping")
    assert all("already ending" in sentence for sentence in said[1:])
    assert f"the run was stopped ({number.name})" in str(interruption.told())


async def test_a_signal_before_the_work_is_answered_when_it_begins(interruption: Interruption) -> None:
    """What came while the plan was written breaks off no line of it, and the run does not begin."""
    send(signal.SIGTERM)
    steps: list[str] = []
    cleaning = asyncio.Event()
    cleaning.set()
    with pytest.raises(Interrupted, match="SIGTERM"):
        await work(interruption, steps, cleaning)
    assert "work" not in steps


async def test_a_signal_after_the_work_changes_nothing(interruption: Interruption, said: list[str]) -> None:
    """A run that is over keeps its result."""
    task = asyncio.current_task()
    assert task is not None
    with interruption.stops(task):
        await asyncio.sleep(0)
    send(signal.SIGINT)
    await asyncio.sleep(0.01)
    interruption.check()
    assert said == ["SIGINT: the run is already ending, and cleaning up after itself"]
    died = ComponentDied("prometheus ended")
    assert interruption.told(died) is died


async def test_a_reason_of_our_own_stops_too(interruption: Interruption) -> None:
    """A ledger that takes no more lines ends the run; the first failure is its error, whatever came of it."""
    steps: list[str] = []
    cleaning = asyncio.Event()
    cleaning.set()
    run = asyncio.create_task(work(interruption, steps, cleaning))
    await reached(steps, "work")
    first = LedgerError("no room is left")
    interruption.give_up(first)
    interruption.give_up(LedgerError("still none"))
    send(signal.SIGINT)
    with pytest.raises(asyncio.CancelledError) as cancelled:
        await run
    assert interruption.told(cancelled.value) is first
    with pytest.raises(LedgerError, match="no room is left"):
        interruption.check()


async def test_what_else_went_wrong_is_told_with_it(interruption: Interruption) -> None:
    """A stop during which a component died says both; without a stop the component's death is the error."""
    steps: list[str] = []
    cleaning = asyncio.Event()
    cleaning.set()
    died = ComponentDied("the load ended by itself")
    assert interruption.told(died) is died
    run = asyncio.create_task(work(interruption, steps, cleaning))
    await reached(steps, "work")
    send(signal.SIGHUP)
    with suppress(asyncio.CancelledError):
        await run
    told = interruption.told(died)
    assert isinstance(told, Interrupted)
    assert "SIGHUP" in str(told)
    assert "besides: the load ended by itself" in str(told)


async def test_a_cancellation_tells_the_error_beneath(interruption: Interruption) -> None:
    """A stop while an error was being cleaned up after does not hide the error."""
    error: BaseException | None = None
    try:
        try:
            raise ComponentDied("redis ended")
        except HarnessError:
            raise asyncio.CancelledError from None
    except asyncio.CancelledError as cancelled:
        error = cancelled
    assert str(interruption.told(error)) == "redis ended"


def test_what_was_ignored_stays_ignored_and_all_is_put_back() -> None:
    """Under `nohup` a hang-up is not ours to answer; afterwards every signal is handled as before."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interruption(lambda _: None):
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            assert signal.getsignal(signal.SIGTERM) is not before[signal.SIGTERM]
    finally:
        signal.signal(signal.SIGHUP, before[signal.SIGHUP])
    assert {number: signal.getsignal(number) for number in SIGNALS} == before
