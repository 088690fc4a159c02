"""Ledgers as a run would have written them, without a run: what tests of verdicts and reports are made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

from harness.model.events import (
    ComponentReady,
    DrillDeclared,
    Event,
    FaultApplying,
    FindingNoted,
    Healed,
    HopSeen,
    HopsRead,
    Injected,
    InjectionClosed,
    InjectionPlanned,
    InjectionUnverified,
    Payload,
    PlanClosed,
    Rewired,
    RunEnded,
    RunStarted,
    StageEnded,
    StagePlanned,
    StageStarted,
    TargetDeclared,
)
from harness.model.findings import Finding, Severity, Subject
from harness.model.hops import Hop
from harness.model.notifications import (
    AlertReceived,
    MessageArrived,
    MessageInterfered,
    Notification,
    RawMessage,
    ReceivedAlert,
    Status,
)
from harness.model.plan import Control, Injection, Stage
from harness.model.policy import Basis, Target
from harness.model.source import Span
from harness.model.stack import ComponentReport, Difference
from harness.model.time import Instant

EPOCH = 1_800_000_000.0
CHANNELS = ("email", "slack")
ALERTS: Mapping[str, tuple[str, str]] = {
    "ServerDown": ("critical", "server-killed"),
    "DatabaseUnreachable": ("critical", "database-refused"),
    "HighErrorRatio": ("high", "errors-from-database"),
}
LABELS = {"ServerDown": "critical", "DatabaseUnreachable": "critical", "HighErrorRatio": "warning"}
HOLD_SECONDS = 2.0
_SPAN = Span("policies/targets.yaml", 1, 1, 1, 1)
_ORDER = (Hop.VISIBLE, Hop.PENDING, Hop.FIRING, Hop.RECEIVED)
_OFFSETS = {Hop.VISIBLE: 1.2, Hop.PENDING: 1.9, Hop.FIRING: 3.9, Hop.RECEIVED: 3.905}


@dataclass(frozen=True, slots=True)
class Play:
    """How an injection goes. As it stands: everything is heard 6 s after t0 and resolved 8 s after the healing.

    `reaches` is the last hop of the trail before the channels; `deaf` channels hear nothing, `never_over` those that
    are not told the end; `after` is when the message comes, in seconds since t0, by channel; `also_at` further
    channels that hear; `mute` leaves the fault unproven; `unread` is why Prometheus could not be asked.
    """

    reaches: Hop = Hop.RECEIVED
    deaf: tuple[str, ...] = ()
    never_over: tuple[str, ...] = ()
    after: Mapping[str, float] = field(default_factory=dict)
    also_at: tuple[str, ...] = ()
    twice: tuple[str, ...] = ()
    text: str | None = None
    mute: str = ""
    unread: str = ""
    since_applied: float = 0.3


def injection(
    alert: str, number: int, lane: str, *, control: Control | None = None, channels: tuple[str, ...] = CHANNELS
) -> Injection:
    """A planned injection of one of `ALERTS`."""
    priority, fault = ALERTS[alert]
    return Injection(
        id=f"control-{control}-{number}" if control else f"{alert}-{number}",
        alert=alert,
        fault=fault,
        lane=lane,
        channels=channels,
        start=timedelta(0),
        phase=timedelta(seconds=0.5),
        heal_after=timedelta(seconds=1),
        hold=timedelta(seconds=35),
        deadline=timedelta(seconds=30),
        since_condition=timedelta(seconds=34) if priority == "critical" else None,
        rule_hold=timedelta(seconds=HOLD_SECONDS),
        control=control,
        estimate=timedelta(seconds=20),
    )


def carried(alert: str, lane: str) -> dict[str, str]:
    """What the rules of the synthetic policy say of an alert."""
    return {"summary": f"{alert} in {lane}", "description": f"Something is wrong in {lane}, look at it."}


def message(
    alert: str,
    lane: str,
    channel: str,
    at: float,
    status: Status = Status.FIRING,
    text: str | None = None,
    title: str | None = None,
) -> MessageArrived:
    """A message as production's templates would write it."""
    told = carried(alert, lane)
    title = f"[{status.upper()}] {alert} ({lane})" if title is None else title
    text = f"{told['summary']}\n{told['description']}\nseverity: {LABELS[alert]}" if text is None else text
    arrived = Instant(at, at - EPOCH)
    name = f"{channel}-{alert}-{lane}-{at:.3f}"
    marks = {"recipients": "oncall@example.org", "channel": "#alerts"}
    return MessageArrived(
        RawMessage(name, channel, f"{channel}-critical", arrived, {}, text),
        Notification(name, channel, f"{channel}-critical", arrived, status, title, text, marks),
    )


def post(alert: str, lane: str, at: float, *, over: bool = False) -> AlertReceived:
    """What Prometheus posts to Alertmanager."""
    labels = {"alertname": alert, "environment": lane, "severity": LABELS[alert]}
    ends_at = at - 0.01 if over else at + 20
    return AlertReceived(ReceivedAlert(labels, carried(alert, lane), at - 0.1, ends_at, Instant(at, at - EPOCH)))


class Ledger:
    """Gathers events at their instants; `events` puts them into order and numbers them."""

    def __init__(self) -> None:
        self.lines: list[tuple[float, Payload]] = []

    def add(self, at: float, *payloads: Payload) -> None:
        """Events at an instant, in Unix seconds."""
        self.lines.extend((at, payload) for payload in payloads)

    @property
    def events(self) -> tuple[Event, ...]:
        """The ledger."""
        return numbered(sorted(self.lines, key=lambda line: line[0]))

    def play(self, planned: Injection, start: float, play: Play | None = None) -> float:
        """Plays an injection; returns when it is over."""
        play = play or Play()
        name, lane, alert = planned.id, planned.lane, planned.alert
        self.add(start, FaultApplying(name, planned.fault, lane))
        if play.mute:
            self.add(start + 5, InjectionUnverified(name, play.mute), InjectionClosed(name))
            return start + 6
        t0 = start + play.since_applied
        self.add(t0, Injected(name, start + 0.01, t0, "connection refused"))
        lost_at = t0 + HOLD_SECONDS + planned.hold.total_seconds()
        reached = _ORDER[: _ORDER.index(play.reaches) + 1] if play.reaches in _ORDER else ()
        healing_at = self._hear(planned, t0, lost_at, play, handed=Hop.RECEIVED in reached)
        self.add(healing_at + 0.4, Healed(name, healing_at, healing_at + 0.4, "connected"))
        over_at = healing_at + 8
        if Hop.RECEIVED in reached:
            self.add(over_at - 5, post(alert, lane, over_at - 5, over=True))
            for channel in planned.channels:
                dropped = planned.control is Control.LOST and not play.also_at
                if not dropped and channel not in (*play.deaf, *play.never_over):
                    self.add(over_at, message(alert, lane, channel, over_at, Status.RESOLVED))
        hops = [HopSeen(name, alert, hop, t0 + _OFFSETS[hop], "prometheus") for hop in reached if hop != Hop.RECEIVED]
        self.add(over_at + 0.1, *(() if play.unread else hops), HopsRead(name, play.unread), InjectionClosed(name))
        return over_at + 0.2

    def _hear(self, planned: Injection, t0: float, lost_at: float, play: Play, *, handed: bool) -> float:
        """What arrives while the fault is there; returns when healing begins."""
        name, lane, alert = planned.control, planned.lane, planned.alert
        arrivals = {channel: t0 + 6 + 0.01 * number for number, channel in enumerate(planned.channels)}
        if planned.control is Control.LATE:
            arrivals = dict.fromkeys(planned.channels, t0 + HOLD_SECONDS + 31)
        arrivals |= {channel: t0 + seconds for channel, seconds in play.after.items()}
        deaf = planned.channels if planned.control is Control.LOST and not play.also_at else play.deaf
        if name is not None:
            until = t0 + HOLD_SECONDS + 31 if name is Control.LATE else None
            self.add(t0 + 6, *(MessageInterfered(one, name.value, lane, until) for one in planned.channels))
        if handed:
            self.add(t0 + _OFFSETS[Hop.RECEIVED], post(alert, lane, t0 + _OFFSETS[Hop.RECEIVED]))
        else:
            deaf = planned.channels
        for channel, at in arrivals.items():
            if channel not in deaf:
                self.add(at, message(alert, lane, channel, at, text=play.text))
                if channel in play.twice:
                    self.add(at + 0.5, message(alert, lane, channel, at + 0.5, text=play.text))
        for channel in play.also_at:
            self.add(t0 + 6, message(alert, lane, channel, t0 + 6))
        last = max((at for channel, at in arrivals.items() if channel not in deaf), default=lost_at)
        return (last if not set(deaf) & set(planned.channels) else max(last, lost_at)) + 1


def numbered(lines: Iterable[tuple[float, Payload]]) -> tuple[Event, ...]:
    """Lines of a ledger with their numbers."""
    return tuple(
        Event(number, at, at - EPOCH, payload.kind, payload) for number, (at, payload) in enumerate(lines, start=1)
    )


def only(events: Iterable[Event], keep: Callable[[Event], bool]) -> tuple[Event, ...]:
    """The ledger as if the other events had never happened: numbered anew, so that no gap gives it away."""
    return tuple(replace(event, seq=number) for number, event in enumerate(filter(keep, events), start=1))


def without(events: Sequence[Event], index: int) -> tuple[Event, ...]:
    """The ledger as if one event had never happened."""
    return only(events, lambda event: event is not events[index])


def smoke(
    plays: Mapping[str, Play] | None = None,
    *,
    profile: str = "smoke",
    extra: Iterable[tuple[float, Payload]] = (),
    error: str = "",
    signals: Mapping[str, str] | None = None,
    repeats: int = 2,
    change: Callable[[Payload], Payload] = lambda payload: payload,
) -> tuple[Event, ...]:
    """A whole smoke run: three alerts at two channels, two injections each, both controls. Healthy as it stands.

    Args:
        plays: how injections go that do not go well, by id, or by alert for all of an alert's.
        profile: the profile that the ledger names.
        extra: further events at their instants, in seconds since the first fault.
        error: what the harness could not do.
        signals: by alert, where it is not real.
        repeats: injections of each alert.
        change: what becomes of every event.
    """
    plays = plays or {}
    ledger = Ledger()
    ledger.add(EPOCH, RunStarted("r1", "0.1.0", profile, 7, 1, "abc1234", "process", 1.0, "policies", 2))
    ledger.add(EPOCH, *(TargetDeclared(target) for target in targets()))
    for alert, (priority, fault) in ALERTS.items():
        signal = (signals or {}).get(alert, "real")
        ledger.add(EPOCH, DrillDeclared(alert, priority, fault, signal, CHANNELS, LABELS[alert]))
    ledger.add(
        EPOCH, FindingNoted(Finding("drill/none", Severity.INFO, _SPAN, "a note", subject=Subject("alert", "X")))
    )
    ledger.add(
        EPOCH, Rewired(Difference("alertmanager.yml", "global.smtp_smarthost", "mail:587", "127.0.0.1:1", "sink"))
    )
    for lane in (None, "lane-01"):
        name = "alertmanager" if lane is None else "node-exporter"
        report = ComponentReport(name, "0.34.2", "process", "go", 0.3)
        ledger.add(EPOCH + 1, ComponentReady(report, lane, f"logs/{name}.log"))
    lanes = {
        f"lane-{number:02}": [injection(alert, count, f"lane-{number:02}") for count in range(1, repeats + 1)]
        for number, alert in enumerate(ALERTS, start=1)
    }
    lanes["lane-04"] = [injection("ServerDown", 1, "lane-04", control=Control.LOST)]
    lanes["lane-05"] = [injection("ServerDown", 1, "lane-05", control=Control.LATE)]
    planned = [one for waiting in lanes.values() for one in waiting]
    ledger.add(EPOCH + 2, StagePlanned(Stage("alerts", 0.5, timedelta(seconds=60))))
    ledger.add(EPOCH + 2, *(InjectionPlanned(one) for one in planned))
    ledger.add(EPOCH + 2, PlanClosed(len(planned), 60.0, dict.fromkeys(ALERTS, repeats)))
    ledger.add(EPOCH + 5, StageStarted("alerts"))
    end = EPOCH + 10
    for waiting in lanes.values():
        free = EPOCH + 10
        for one in waiting:
            play = plays.get(one.id, plays.get(one.alert, Play()) if one.control is None else Play())
            free = ledger.play(one, free, play) + 0.5
        end = max(end, free)
    for at, payload in extra:
        ledger.add(EPOCH + 10 + at, payload)
    end = max(end, *(at for at, _ in ledger.lines))
    ledger.add(end + 1, StageEnded("alerts"))
    ledger.add(end + 2, RunEnded(end + 2 - EPOCH, error))
    ledger.lines = [(at, change(payload)) for at, payload in ledger.lines]
    return ledger.events


def targets() -> tuple[Target, ...]:
    """Two targets that a run can judge, one that is set aside."""
    return (
        Target("alerts-delivered", Basis.BINOMIAL, 0.95, "ratio", "alerts reach people", _SPAN),
        Target("alert-delivery-time", Basis.BINOMIAL, 30, "seconds", "in time", _SPAN, share=0.95),
        Target("retention", Basis.BOUNDARY, 90, "days", "kept", _SPAN, excluded="no store is drilled yet"),
    )
