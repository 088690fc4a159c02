"""What happens in a run: one frozen type a kind of event, one line of the ledger each.

Every report is a pure function of these, so an event carries all that a reader needs to judge it without the policies
at hand. Fields may be added with a default; a field that is renamed or dropped is a new ledger schema.
Instants named `…_at` are Unix seconds on the wall clock; the ledger stamps each line with both clocks by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from harness.model.audit import AuditEvent
from harness.model.collection import CensusTaken, ChangeNotPlanted, ChangePlanted, ChangeSeen, ScrapesCounted
from harness.model.episodes import EpisodeEvent
from harness.model.findings import Finding
from harness.model.keeping import RestoreDrilled, RetentionProbed, StoresDeclared
from harness.model.notifications import MessageEvent
from harness.model.plan import Injection, Stage
from harness.model.policy import Target
from harness.model.scenes import SceneEvent
from harness.model.searching import SearchEvent
from harness.model.series import SeriesCompared
from harness.model.stack import ComponentReport, Difference


@dataclass(frozen=True, slots=True)
class RunStarted:
    """First line of every ledger. `commit` and `attempt` tell how often this commit was tried here."""

    kind: ClassVar[str] = "run-started"
    run: str
    tocsin: str
    profile: str
    seed: int
    attempt: int
    commit: str
    runtime: str
    time_scale: float
    policies: str
    cores: int


@dataclass(frozen=True, slots=True)
class TargetDeclared:
    """A success target as the policy states it."""

    kind: ClassVar[str] = "target-declared"
    target: Target


@dataclass(frozen=True, slots=True)
class DrillDeclared:
    """An alert with its drill, or with the reason why it has none.

    `fault` names all faults that raise it, with commas between, `signal` is real, simulated, or mixed. `told_by` is who
    sends its messages: `alertmanager`, or a `listener` that says by itself what `labels` and `annotations` hold.
    """

    kind: ClassVar[str] = "drill-declared"
    alert: str
    priority: str
    fault: str
    signal: str
    channels: tuple[str, ...]
    severity: str
    why_not: str | None = None
    told_by: str = "alertmanager"
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FindingNoted:
    """Something wrong with the policies that did not stop the run."""

    kind: ClassVar[str] = "finding-noted"
    finding: Finding


@dataclass(frozen=True, slots=True)
class Rewired:
    """One difference between what runs and what production would run."""

    kind: ClassVar[str] = "rewired"
    difference: Difference


@dataclass(frozen=True, slots=True)
class StagePlanned:
    """A stage of the run's plan."""

    kind: ClassVar[str] = "stage-planned"
    stage: Stage


@dataclass(frozen=True, slots=True)
class InjectionPlanned:
    """What should be heard, written before anything is done: `planned` of the plan."""

    kind: ClassVar[str] = "planned"
    injection: Injection


@dataclass(frozen=True, slots=True)
class PlanClosed:
    """The plan is complete; what comes after it was not chosen by a look at results.

    `told_later` are receivers that are told of nothing at once (batches, reports): what they tell is not judged.
    """

    kind: ClassVar[str] = "plan-closed"
    injections: int
    critical_path_seconds: float
    mix: Mapping[str, int]
    told_later: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ComponentReady:
    """A component stands; `lane` is None for those that every lane shares."""

    kind: ClassVar[str] = "component-ready"
    report: ComponentReport
    lane: str | None
    log: str


@dataclass(frozen=True, slots=True)
class ComponentExited:
    """A component ended, wanted or not; `expected` where a fault or the stop of the stack did it."""

    kind: ClassVar[str] = "component-exited"
    name: str
    lane: str | None
    code: int
    expected: bool
    output: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ComponentRestarted:
    """The supervisor started a component again: under its restart policy, or because who `held` it down let it up."""

    kind: ClassVar[str] = "component-restarted"
    name: str
    lane: str | None
    outage_seconds: float
    held: bool = False


@dataclass(frozen=True, slots=True)
class Progress:
    """A sentence for who watches; no report depends on it."""

    kind: ClassVar[str] = "progress"
    text: str


@dataclass(frozen=True, slots=True)
class StageStarted:
    """A stage began."""

    kind: ClassVar[str] = "stage-started"
    stage: str


@dataclass(frozen=True, slots=True)
class StageEnded:
    """A stage ended; `why` is empty where it ran to its end."""

    kind: ClassVar[str] = "stage-ended"
    stage: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class FaultApplying:
    """A fault is about to be applied."""

    kind: ClassVar[str] = "fault-applying"
    injection: str
    fault: str
    lane: str


@dataclass(frozen=True, slots=True)
class Injected:
    """The fault's effect is proven by its own observation: t0 of the injection is `proven_at`."""

    kind: ClassVar[str] = "injected"
    injection: str
    applied_at: float
    proven_at: float
    proof: str


@dataclass(frozen=True, slots=True)
class PathDisturbed:
    """The way of an injection's alert is disturbed by a second fault, and this was proven."""

    kind: ClassVar[str] = "path-disturbed"
    injection: str
    fault: str
    proven_at: float
    proof: str


@dataclass(frozen=True, slots=True)
class PathRestored:
    """The disturbance of an alert's way is over, and this was proven."""

    kind: ClassVar[str] = "path-restored"
    injection: str
    fault: str
    restored_at: float
    proof: str


@dataclass(frozen=True, slots=True)
class InjectionUnverified:
    """The injection cannot be judged: its effect was not proven, its lane was gone, the run ended first."""

    kind: ClassVar[str] = "injection-unverified"
    injection: str
    why: str


@dataclass(frozen=True, slots=True)
class Healed:
    """The fault is undone: `healing_at` when that began, `healed_at` when it was proven."""

    kind: ClassVar[str] = "healed"
    injection: str
    healing_at: float
    healed_at: float
    proof: str


@dataclass(frozen=True, slots=True)
class InjectionClosed:
    """Nothing more is awaited for this injection."""

    kind: ClassVar[str] = "injection-closed"
    injection: str


@dataclass(frozen=True, slots=True)
class LaneRetired:
    """A track of a lane is not used again, for a fault could not be undone in it; or the whole lane never came up."""

    kind: ClassVar[str] = "lane-retired"
    lane: str
    why: str
    track: str = ""
    came_up: bool = True


@dataclass(frozen=True, slots=True)
class HopSeen:
    """A hop of an injection as its source tells: `family` names the hop family, `at` is Unix seconds."""

    kind: ClassVar[str] = "hop"
    injection: str
    subject: str
    hop: str
    at: float
    source: str
    family: str = "alert"


@dataclass(frozen=True, slots=True)
class HopsRead:
    """Prometheus was asked for an injection's hops; `error` says why it could not answer."""

    kind: ClassVar[str] = "hops-read"
    injection: str
    error: str = ""


@dataclass(frozen=True, slots=True)
class Starved:
    """The harness or its machine was starved in this window; `what` is loop-lag, steal, run-queue or clock-step."""

    kind: ClassVar[str] = "starved"
    what: str
    from_at: float
    to_at: float
    value: float
    limit: float


@dataclass(frozen=True, slots=True)
class LoadMeasured:
    """Load over the run, from raw samples timed from the intended start.

    `longest_gap_seconds` is, by lane, the longest time without a request from the lane's first one to the end.
    """

    kind: ClassVar[str] = "load-measured"
    requests: int
    failures: int
    p50_seconds: float
    p95_seconds: float
    max_seconds: float
    by_lane: Mapping[str, int] = field(default_factory=dict)
    longest_gap_seconds: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RunEnded:
    """Last line of a whole ledger.

    `error` is what we could not do, empty where nothing of the kind happened; `exit_code` is that error's own (3 where
    no evidence could be had, 4 otherwise).
    """

    kind: ClassVar[str] = "run-ended"
    wall_seconds: float
    error: str = ""
    exit_code: int = 0


Payload = (
    RunStarted
    | TargetDeclared
    | DrillDeclared
    | FindingNoted
    | Rewired
    | StagePlanned
    | InjectionPlanned
    | PlanClosed
    | ComponentReady
    | ComponentExited
    | ComponentRestarted
    | Progress
    | StageStarted
    | StageEnded
    | FaultApplying
    | Injected
    | PathDisturbed
    | PathRestored
    | InjectionUnverified
    | Healed
    | InjectionClosed
    | LaneRetired
    | HopSeen
    | HopsRead
    | MessageEvent
    | Starved
    | LoadMeasured
    | ScrapesCounted
    | CensusTaken
    | ChangePlanted
    | ChangeSeen
    | ChangeNotPlanted
    | SceneEvent
    | EpisodeEvent
    | AuditEvent
    | StoresDeclared
    | RetentionProbed
    | RestoreDrilled
    | SearchEvent
    | SeriesCompared
    | RunEnded
)
"""Every kind of event; the ledger's codec is derived from this union."""


@dataclass(frozen=True, slots=True)
class Event:
    """One line of a ledger: its number from 1, both clocks, what happened.

    `payload` is None for a kind that this version does not know (a later one, or a family that is not ours):
    `kind` and `fields` still carry it.
    """

    seq: int
    wall: float
    monotonic: float
    kind: str
    payload: Payload | None
    fields: Mapping[str, object] = field(default_factory=dict)
