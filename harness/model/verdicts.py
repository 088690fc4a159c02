"""Verdicts: whether the monitoring did its job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from harness.model.hops import Hop
from harness.model.policy import Basis


class Verdict(StrEnum):
    """Only `pass` is green. `unverified` means that there is no evidence."""

    PASS = "pass"  # noqa: S105 - a verdict, not a password
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"
    UNVERIFIED = "unverified"
    ERROR = "error"

    @property
    def exit_code(self) -> int:
        """The exit code of a run with this verdict: 0 pass, 1 fail, 3 no verdict, 4 harness error."""
        return {"pass": 0, "fail": 1, "inconclusive": 3, "unverified": 3, "error": 4}[self.value]


class CellStatus(StrEnum):
    """What is known of an alert at one of its channels."""

    HEARD = "heard"
    FLAKY = "flaky"
    BROKEN = "broken"
    UNVERIFIED = "unverified"


class Outcome(StrEnum):
    """What became of one trial (one notification that an injection had to cause)."""

    HEARD = "heard"
    LATE = "late"
    LOST = "lost"
    WRONG_CONTENT = "wrong-content"
    NOT_RESOLVED = "not-resolved"
    INCONCLUSIVE = "inconclusive"
    UNVERIFIED = "unverified"


@dataclass(frozen=True, slots=True)
class Trial:
    """One notification (alert x channel) of one injection, judged.

    `hops` holds the wall-clock instant (Unix seconds) of every hop that was seen; `trail_ends` the last hop reached
    where the trail does not reach its end. `seconds` counts from due, `since_condition_seconds` from t0; both are
    infinite for a lost message. `complaints` are sentences about content, duplicates and lateness.
    """

    injection: str
    alert: str
    channel: str
    outcome: Outcome
    hops: Mapping[Hop, float]
    seconds: float
    since_condition_seconds: float
    trail_ends: Hop | None
    complaints: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class InjectionVerdict:
    """One injection, judged: it succeeds when all its trials did and nobody heard what they should not."""

    injection: str
    alert: str
    fault: str
    lane: str
    control: str | None
    verdict: Verdict
    trials: tuple[Trial, ...]
    unexpected: tuple[str, ...] = ()
    starved: bool = False
    why: str = ""


@dataclass(frozen=True, slots=True)
class Quantiles:
    """Median and maximum of raw values, in seconds; no interpolation beyond the sample."""

    p50: float
    max: float


@dataclass(frozen=True, slots=True)
class Cell:
    """An alert at one required channel, over all trials."""

    channel: str
    status: CellStatus
    expected: int
    delivered: int
    resolved: int
    seconds: Quantiles | None
    since_condition_seconds: Quantiles | None
    trail_ends: Hop | None
    complaints: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AlertCoverage:
    """An alert over all its cells."""

    alert: str
    priority: str
    fault: str
    signal: str
    status: CellStatus
    cells: tuple[Cell, ...]
    hops: Mapping[Hop, Quantiles]


@dataclass(frozen=True, slots=True)
class TargetVerdict:
    """A success target, judged; `claim` says in words what green means and what it does not."""

    id: str
    basis: Basis
    verdict: Verdict
    target: float
    observed: float | None
    lower_bound: float | None
    upper_bound: float | None
    n: int
    unit: str
    evidence: str
    claim: str
    stands_in: Mapping[str, str] | None = None
    excluded: str | None = None


@dataclass(frozen=True, slots=True)
class ControlVerdict:
    """A negative control: `verdict` is the ordinary judge's and must be `fail`."""

    name: str
    trials: int
    verdict: Verdict
    as_expected: bool


@dataclass(frozen=True, slots=True)
class SceneVerdict:
    """A scene, judged: `told` are sentences, those that decide first. `seconds` is how long it was played."""

    id: str
    lane: str
    summary: str
    verdict: Verdict
    told: tuple[str, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class EpisodeVerdict:
    """A fault of the records' way, judged: what became of the records that were announced meanwhile.

    `allowed` is how many of the `written` may be lost or damaged; `told` are sentences, those that decide first.
    """

    id: str
    fault: str
    summary: str
    verdict: Verdict
    written: int
    allowed: int
    lost: int
    corrupt: int
    duplicate: int
    late: int
    told: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FalseAlarm:
    """One alert that somebody was told of and that no injection explains, however many messages told of it.

    `at` is the arrival of its first message (Unix seconds); `fault` what was under way in its lane then, "" in quiet
    time. `alert` is "" where a message speaks of none that is known.
    """

    alert: str
    lane: str
    at: float
    fault: str


@dataclass(frozen=True, slots=True)
class FaultQuality:
    """How well alerts told of a fault; "" stands for all faults together.

    `injections` are those whose effect was proven and of which is known whether their alert `fired`; of `unknown` ones
    it is not. `explained` and `false_alarms` count alerts that somebody was told of, by alert, lane and episode. Times
    are in seconds: from t0 to firing, from t0 to the first message, from healing to the last channel's resolved
    message; what never came is infinite.
    """

    fault: str
    injections: int
    fired: int
    unknown: int
    explained: int
    false_alarms: int
    firing_seconds: Quantiles | None
    message_seconds: Quantiles | None
    reset_seconds: Quantiles | None

    @property
    def recall(self) -> float | None:
        """The share of injections whose alert fired; None without any."""
        return self.fired / self.injections if self.injections else None

    @property
    def precision(self) -> float | None:
        """The share of alerts told of that an injection explains; None without any."""
        told = self.explained + self.false_alarms
        return self.explained / told if told else None


@dataclass(frozen=True, slots=True)
class Noise:
    """False alarms while nothing was wrong: `quiet_seconds` sums the time over all lanes.

    `per_lane_day` is what was seen, `upper_bound_per_lane_day` the one-sided 95 % bound of it; None without quiet time.
    """

    false_alarms: int
    quiet_seconds: float
    per_lane_day: float | None
    upper_bound_per_lane_day: float | None


@dataclass(frozen=True, slots=True)
class Quality:
    """How good the alerts were over the run's faults; docs/quality.md defines every figure."""

    overall: FaultQuality
    by_fault: tuple[FaultQuality, ...]
    noise: Noise
    false_alarms: tuple[FalseAlarm, ...]


@dataclass(frozen=True, slots=True)
class Judgement:
    """The whole run, judged from its ledger alone."""

    verdict: Verdict
    headline: str
    reasons: tuple[str, ...]
    targets: tuple[TargetVerdict, ...]
    alerts: tuple[AlertCoverage, ...]
    injections: tuple[InjectionVerdict, ...]
    controls: tuple[ControlVerdict, ...]
    planned: int
    tried: int
    failed: int
    starved_trials: int
    excluded: tuple[str, ...]
    quality: Quality
    scenes: tuple[SceneVerdict, ...] = ()
    episodes: tuple[EpisodeVerdict, ...] = ()

    @property
    def exit_code(self) -> int:
        """The exit code that this verdict gives the command."""
        return self.verdict.exit_code
