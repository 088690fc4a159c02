"""Scenes: one file each. A scene is a small story with the real stack, alone in one lane, and expects something of it.

`SCENES` in `harness/drive/scenes/registry.py` is the one tuple of all that there are. Whether a scene got what it
expected is judged from the ledger alone (`harness/verdict/scenes.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import Protocol

from harness.drive.casting import Cast, NoPart, Part
from harness.drive.faults import Fault, LaneControl, Proof
from harness.model.policy import Alert
from harness.model.scenes import Demand, Expectation, ScenePlan
from harness.model.stack import Address

__all__ = [
    "LANE",
    "Cast",
    "Demand",
    "Expectation",
    "NoPart",
    "Part",
    "Props",
    "Scene",
    "ScenePlan",
    "Theatre",
]

LANE = "lane-01"
"""The lane in which scenes are played; every plan has it."""


class Props(Protocol):
    """What scenes need that is no part of a lane."""

    def repeating(self, every: timedelta) -> AbstractAsyncContextManager[Address]:
        """A second Alertmanager beside the run's, from the same copy but for how soon it repeats a message.

        It stands while this lasts, and its messages arrive in the same sinks. How its copy differs is written.

        Raises:
            StackError: it could not be started.
        """

    async def quiet(self, lane: str, seconds: float) -> tuple[str, ...]:
        """Waits until no alert of a lane that would disturb a scene is pending or firing; those that still are."""


class Theatre(Protocol):
    """What a scene may do while it is played, in its lane. Whatever it leaves in place is undone when it is over."""

    @property
    def plan(self) -> ScenePlan:
        """The scene as it was planned."""

    @property
    def control(self) -> LaneControl:
        """What may be done to the lane."""

    @property
    def alertmanager(self) -> Address:
        """Where the run's Alertmanager listens."""

    @property
    def props(self) -> Props:
        """What is no part of the lane."""

    def fault(self, name: str) -> Fault:
        """The fault of that id.

        Raises:
            FaultError: there is none.
        """

    def alert(self, name: str) -> Alert:
        """The alerting rule of that name."""

    def now(self) -> float:
        """This moment, in Unix seconds."""

    def did(self, mark: str, at: float, saw: str) -> None:
        """Writes that something was done or seen at an instant (Unix seconds)."""

    async def bring_about(self, fault: Fault, mark: str) -> Proof:
        """Applies a fault and has it prove its effect, which is the mark's instant.

        Raises:
            FaultError: it could not be applied, or its effect was not seen.
        """

    async def take_back(self, fault: Fault, mark: str) -> Proof:
        """Undoes a fault; the mark's instant is that of the proof.

        Raises:
            FaultError: it could not be undone.
        """

    async def hear(
        self, expected: Expectation, since: float, *, within: timedelta | None = None, ends: bool = True
    ) -> None:
        """Waits until every channel has heard that the alerts of an expectation fire.

        Args:
            expected: which alerts, at which channels, by when.
            since: the instant from which messages and that time count, in Unix seconds.
            within: by when, where that is not the expectation's own time.
            ends: whether those who heard will be told that it is over: the scene is not over before.
        """

    async def held_back(self, alerts: tuple[str, ...], by: Mapping[str, str], mark: str, seconds: float) -> None:
        """Waits until Alertmanager keeps one of these alerts of the lane back; the mark's instant is when that is seen.

        Args:
            alerts: names of alerts.
            by: the field of Alertmanager's answer that says who keeps it back -> the word for it in a sentence.
            mark: what it is called.
            seconds: how long that may take.

        Raises:
            EffectNotProven: it keeps none back.
        """

    async def keep(self, seconds: float) -> None:
        """Leaves everything as it is for so long."""


class Scene(Protocol):
    """One scene. Instances are stateless."""

    @property
    def id(self) -> str:
        """Its name, e.g. `grouped`."""

    @property
    def summary(self) -> str:
        """One sentence: what happens, and what must come of it."""

    def plan(self, cast: Cast) -> ScenePlan:
        """The scene with the alerts of these policies.

        Raises:
            NoPart: they have nobody for one of its parts.
        """

    async def play(self, theatre: Theatre) -> None:
        """Plays it, after `plan`; raises what kept it from its end.

        Raises:
            HarnessError: something could not be done, or was not seen.
        """
