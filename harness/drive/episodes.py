"""Episodes, played: one fault of the records' way after another, beside whatever else a run does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from typing import Final

from harness.drive.effect import Effect
from harness.drive.finish import settled
from harness.drive.look import watch
from harness.drive.records import RecordFault, Way
from harness.drive.records.registry import RECORD_FAULTS
from harness.drive.surroundings import Surroundings
from harness.errors import FaultError, HarnessError
from harness.model.episodes import EpisodeBegan, EpisodeEnded, EpisodePlan, EpisodeProven

_SETTLE_SECONDS: Final = 45.0
_PROVE_SECONDS: Final = 30.0
_UNDO_SECONDS: Final = 60.0
_RECOVER_SECONDS: Final = 60.0
_LOOKS_APART_SECONDS: Final = 0.25
_TOO_LATE: Final = "the load ended before it was played"
_BY_ID: Final = {fault.id: fault for fault in RECORD_FAULTS}


async def play_episodes(
    episodes: Sequence[EpisodePlan],
    way: Callable[[], Way],
    world: Surroundings,
    *,
    stop: asyncio.Event,
    faults: Mapping[str, RecordFault] = _BY_ID,
) -> None:
    """Plays episodes in their order; what fails is told in `EpisodeEnded`, and the next one is played.

    Each: wait until nobody else lays hands on the way of records, and until records flow; apply the fault, have it
    prove itself, hold it, undo it, wait until records flow.

    Args:
        episodes: what is played.
        way: makes the control of an episode.
        world: what applying and undoing needs; its journal knows an episode by its id.
        stop: nothing is begun any more once it is set, and what is held is undone at once.
        faults: what there is, by id.
    """
    patient = replace(world, limits=replace(world.limits, prove_seconds=_PROVE_SECONDS))
    for episode in episodes:
        why = await _rest(episode.phase, stop)
        async with _to_itself(world.records, stop) as free:
            if not why:
                why = "" if free else _TOO_LATE
            if not why:
                why = await _played(episode, faults[episode.fault], way(), patient, stop)
        world.write(EpisodeEnded(episode.id, why))


@asynccontextmanager
async def _to_itself(way: asyncio.Lock, stop: asyncio.Event) -> AsyncIterator[bool]:
    """The way of records to oneself while this lasts; False where the run was to end before it was free."""
    taking = asyncio.create_task(way.acquire(), name="waiting for the way of records")
    stopping = asyncio.create_task(stop.wait(), name="waiting for the end")
    try:
        await asyncio.wait({taking, stopping}, return_when=asyncio.FIRST_COMPLETED)
        yield taking.done() and not stop.is_set()
    finally:
        taking.cancel()
        stopping.cancel()
        cancelled = await settled({taking, stopping})
        if not taking.cancelled():
            way.release()
        if cancelled:
            raise asyncio.CancelledError


async def _played(episode: EpisodePlan, fault: RecordFault, way: Way, world: Surroundings, stop: asyncio.Event) -> str:
    """Plays one; why it is worth nothing, empty where it was played to its end."""
    effect = Effect(fault, way, episode.id, world)
    try:
        await _flowing(fault, way, time.time(), _SETTLE_SECONDS, "Records did not flow before anything was done")
        effect.note()
    except HarnessError as error:
        return str(error)
    world.write(EpisodeBegan(episode.id, fault.id))
    why = ""
    try:
        proof = await effect.bring_about()
        world.write(EpisodeProven(episode.id, proof.at, proof.saw))
        await _rest(episode.hold, stop)
    except HarnessError as error:
        why = str(error)
    finally:
        undone, cancelled = await effect.take_back(_UNDO_SECONDS)
    if isinstance(undone, BaseException):
        why = why or f"it was not undone: {undone}"
    if cancelled:
        raise asyncio.CancelledError
    try:
        await _flowing(fault, way, time.time(), _RECOVER_SECONDS, "Records did not flow again after it was undone")
    except HarnessError as error:
        why = why or str(error)
    return why


async def _flowing(fault: RecordFault, way: Way, since: float, seconds: float, what: str) -> None:
    await watch(
        lambda: fault.flows(way, since),
        seconds,
        otherwise=FaultError,
        what=what,
        expected="its store takes in records that were not there before",
        pause_seconds=_LOOKS_APART_SECONDS,
    )


async def _rest(span: timedelta, stop: asyncio.Event) -> str:
    """Waits; why nothing more is done, empty where the time has passed."""
    if not stop.is_set():
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), span.total_seconds())
    return _TOO_LATE if stop.is_set() else ""
