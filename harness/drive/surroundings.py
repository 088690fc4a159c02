"""What carrying out an injection needs of the world around it: who listens, who is asked, how long things may take."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from harness.drive.faults import Fault, LaneControl
from harness.drive.journal import Journal
from harness.model.events import Payload
from harness.model.notifications import Status
from harness.model.plan import Injection
from harness.model.time import Instant


class Ears(Protocol):
    """Who listens in the channels, and who makes a negative control happen there."""

    async def heard(
        self,
        alert: str,
        lane: str,
        channels: Sequence[str],
        status: Status,
        *,
        since_wall: float,
        deadline_monotonic: float,
    ) -> frozenset[str]:
        """Waits until each channel has a message of this alert, lane and status that arrived since `since_wall`.

        Returns all of them as soon as they have, else at the deadline those that have.
        """

    async def caught(
        self,
        alert: str,
        lane: str,
        channels: Sequence[str],
        status: Status,
        *,
        since_wall: float,
        deadline_monotonic: float,
    ) -> frozenset[str]:
        """As `heard`, for messages that an interference dropped or holds back."""

    def interfere(self, injection: Injection, until_wall: float | None) -> Callable[[], None]:
        """Begins the injection's control; what is returned ends it.

        With LOST the messages of its alert in its lane are dropped, firing and resolved; with LATE those that say
        firing arrive at `until_wall` (Unix seconds).
        """


ReadHops = Callable[[Injection, float, float], Awaitable[None]]
"""Reads and writes the hops of an injection between t0 and an end, both in Unix seconds; called before its track is
used again."""


Quiet = Callable[[Injection, float], Awaitable[tuple[str, ...]]]
"""Waits until no alert that could disturb this injection is pending or firing, so many seconds at most; those that
still are. What the fault before has raised would else be heard as the work of this one, or silence it."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How long things may take, in seconds.

    `stopped_seconds` is what a fault gets to be undone (or, if it is just being applied, to be applied to its end
    first: half-applied cannot be undone) once the run is stopped. `quiet_seconds` is what a track gets to be free of
    alerts before it is used again. `hard_stop_seconds` counts from the start of the drills. `prove_seconds` leaves room
    for the slowest effect there is: Prometheus notices a target that is gone after 10 s in the worst case.
    """

    apply_seconds: float = 10.0
    prove_seconds: float = 12.0
    undo_seconds: float = 15.0
    stopped_seconds: float = 3.0
    quiet_seconds: float = 30.0
    hard_stop_seconds: float = 300.0


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The world around the injections of a run.

    Args:
        faults: every fault by its id.
        lane_control: what a fault may do in the lane of that name; a HarnessError from it retires the track.
        ears: who listens.
        write: writes one event to the ledger.
        journal: where undoing is noted before a fault is applied.
        read_hops: called once for each injection that is over; a HarnessError from it is noted, not raised.
        quiet: called before a track is used again.
        limits: how long things may take.
        clock: both clocks; its monotonic one is the event loop's.
        given_up: why a lane did not come up, by its name: nothing is tried there.
        records: the way of records, for whoever lays hands on it: an episode from before it is begun until records flow
            again, an injection whose fault touches that way from before it is applied until its last word.
    """

    faults: Mapping[str, Fault]
    lane_control: Callable[[str], LaneControl]
    ears: Ears
    write: Callable[[Payload], object]
    journal: Journal
    read_hops: ReadHops
    quiet: Quiet
    limits: Limits = field(default_factory=Limits)
    clock: Callable[[], Instant] = Instant.now
    given_up: Mapping[str, str] = field(default_factory=dict)
    records: asyncio.Lock = field(default_factory=asyncio.Lock)

    def why_not_in(self, lane: str) -> str:
        """Why nothing can be tried in a lane, in a sentence; empty where it can."""
        return f"{lane} did not come up: {self.given_up[lane]}" if lane in self.given_up else ""
