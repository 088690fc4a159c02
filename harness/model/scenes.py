"""Scenes: small stories with the real stack, each played alone in one lane and held to what it expected beforehand.

Their events are kinds of the ledger like those in `harness/model/events.py`, whose union names them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import ClassVar, TypeAlias


class Demand(StrEnum):
    """What an expectation asks of the messages in the scene's lane.

    heard: every channel has a message that says firing, within a time. silent: no channel has any message. together:
    every channel has one message that says firing and no second one, and it tells all alerts of that name. repeated:
    every channel is told again when that is due, and not before.
    """

    HEARD = "heard"
    SILENT = "silent"
    TOGETHER = "together"
    REPEATED = "repeated"


@dataclass(frozen=True, slots=True)
class Expectation:
    """What must be heard, or must not, between two marks of a scene.

    Args:
        demand: what is asked.
        alerts: the names of the alerts that it is asked of.
        channels: where; every channel where empty.
        since: the mark from which messages count.
        until: the mark up to which they count, where the demand has an end.
        within: for `heard` how long after `since` a message may come; for `silent` how long after `until` nobody may
            speak; for `together` how long after the first message a second one would come; for `repeated` the interval
            after which a repetition is due.
        slack: for `repeated` how long after it was due a repetition may come.
        given: the mark without which the scene shows nothing: who was never held back has not been silent.
    """

    demand: Demand
    alerts: tuple[str, ...]
    channels: tuple[str, ...]
    since: str
    until: str = ""
    within: timedelta = timedelta(0)
    slack: timedelta = timedelta(0)
    given: str = ""


@dataclass(frozen=True, slots=True)
class ScenePlan:
    """A scene as it will be played in a lane: what it does in a sentence, its expectations.

    `may_be_heard` names the alerts of which anybody may hear in the lane while it is played: of others nobody must.
    """

    id: str
    summary: str
    lane: str
    may_be_heard: tuple[str, ...]
    expects: tuple[Expectation, ...]
    estimate: timedelta


@dataclass(frozen=True, slots=True)
class ScenePlanned:
    """What a scene expects, written before anything is done."""

    kind: ClassVar[str] = "scene-planned"
    scene: ScenePlan


@dataclass(frozen=True, slots=True)
class SceneLeftOut:
    """A scene that this run does not play, with the reason."""

    kind: ClassVar[str] = "scene-left-out"
    scene: str
    why: str


@dataclass(frozen=True, slots=True)
class SceneStarted:
    """A scene begins in its lane, which is quiet."""

    kind: ClassVar[str] = "scene-started"
    scene: str
    lane: str


@dataclass(frozen=True, slots=True)
class SceneDid:
    """A scene did or saw something: `mark` is what its expectations call it, `at` the instant (Unix seconds)."""

    kind: ClassVar[str] = "scene-did"
    scene: str
    mark: str
    at: float
    saw: str


@dataclass(frozen=True, slots=True)
class SceneEnded:
    """A scene is over and all that it did is undone; `why` is empty where it was played to its end."""

    kind: ClassVar[str] = "scene-ended"
    scene: str
    why: str = ""


SceneEvent: TypeAlias = ScenePlanned | SceneLeftOut | SceneStarted | SceneDid | SceneEnded
"""What a ledger tells of scenes."""
