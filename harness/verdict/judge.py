"""The verdict of a run, from its ledger alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from harness.model.events import Event
from harness.model.hops import NEXT_PART
from harness.model.plan import Profile
from harness.model.policy import Target
from harness.model.verdicts import (
    AlertCoverage,
    Cell,
    CellStatus,
    ControlVerdict,
    EpisodeVerdict,
    InjectionVerdict,
    Judgement,
    Outcome,
    SceneVerdict,
    TargetVerdict,
    Verdict,
)
from harness.verdict.cells import CELL_TARGET, coverage
from harness.verdict.controls import judge_controls
from harness.verdict.episodes import judge_episodes
from harness.verdict.messages import attribute
from harness.verdict.quality import quality_of
from harness.verdict.record import Record, record
from harness.verdict.scenes import judge_scenes, shares
from harness.verdict.searching import search_complaints
from harness.verdict.targets import Sample
from harness.verdict.targets.registry import TARGETS
from harness.verdict.trials import FAILED, UNJUDGED, judge_injection

LOAD_GAP_SECONDS = 10.0
"""How long a lane may be without a request. Twice what a request may take before it is given up, and ten times what is
seen between the requests of a few users; a lane that is silent for longer raises no ratio and hears no false alarm."""


@dataclass(frozen=True, slots=True)
class _Reason:
    """Why a run is not green: what it makes of the verdict, a sentence, and a shorter one for the headline."""

    verdict: Verdict
    text: str
    short: str = ""


_WORST_FIRST = (Verdict.ERROR, Verdict.FAIL, Verdict.UNVERIFIED, Verdict.INCONCLUSIVE)


def judge(events: Iterable[Event]) -> Judgement:
    """Judges a run: harness error before any fail, before anything unverified or inconclusive, before pass.

    A smoke run is judged by its cells: green when every planned cell was heard, every fault proved its effect and
    every negative control failed as it was meant to. No rate is claimed.
    """
    told = record(events)
    shared = shares(told)
    scenes = judge_scenes(told, shared)
    told = shared.rest  # messages of scenes are no injection's
    episodes = judge_episodes(told)
    messages = attribute(told)
    verdicts = tuple(judge_injection(story, messages, told) for story in told.stories)
    own = tuple(one for one in verdicts if one.control is None)
    planned = [story.planned for story in told.stories]
    alerts = coverage(planned, own, told.drills, _cell_target(told.targets))
    controls = judge_controls([one for one in verdicts if one.control is not None], told.interfered)
    sample = Sample(
        profile=told.profile,
        injections=own,
        planned={one.id: one for one in planned},
        broken=tuple(f"{name} at {cell.channel}" for name, cell in _cells(alerts) if cell.status is CellStatus.BROKEN),
        evidence=_evidence(alerts),
        record=told,
    )
    targets = tuple(_target(target, sample) for target in told.targets)
    reasons = (
        *_errors(told),
        *_failures(told, verdicts, alerts, messages.unexplained),
        *_of_scenes(scenes),
        *_of_episodes(episodes),
        *(_Reason(verdict, text) for verdict, text in search_complaints(told)),
        *_doubts(told, own, alerts, controls),
        *_of_targets(told, targets),
    )
    verdict = next((worst for worst in _WORST_FIRST if any(one.verdict is worst for one in reasons)), Verdict.PASS)
    tried = {story.planned.id for story in told.stories if story.injected is not None}
    return Judgement(
        verdict=verdict,
        headline=_headline(told, verdict, alerts, sample.evidence, reasons),
        reasons=tuple(dict.fromkeys(one.text for one in reasons)),
        targets=targets,
        alerts=alerts,
        injections=verdicts,
        controls=controls,
        planned=len(own),
        tried=sum(one.injection in tried for one in own),
        failed=sum(one.verdict is Verdict.FAIL for one in own),
        starved_trials=sum(trial.outcome is Outcome.INCONCLUSIVE for one in verdicts for trial in one.trials),
        excluded=tuple(target.id for target in targets if target.excluded is not None),
        quality=quality_of(told, verdicts),
        scenes=scenes,
        episodes=episodes,
    )


def _cells(alerts: Sequence[AlertCoverage]) -> Iterator[tuple[str, Cell]]:
    return ((alert.alert, cell) for alert in alerts for cell in alert.cells)


def _cell_target(targets: Sequence[Target]) -> float:
    """The share that a cell is held to: what the policy promises of delivery."""
    promised = next((target for target in targets if target.id == "alerts-delivered"), None)
    if promised is None:
        return CELL_TARGET
    return promised.objective if promised.share is None else promised.share


def _evidence(alerts: Sequence[AlertCoverage]) -> str:
    """What the run rests on, over all its alerts: real, simulated or mixed; without any the weakest claim."""
    signals = {alert.signal for alert in alerts} or {"simulated"}
    return signals.pop() if len(signals) == 1 else "mixed"


def _target(target: Target, sample: Sample) -> TargetVerdict:
    """A declared target; one that is set aside, or that nothing measures yet, is unverified."""
    judges = {one.id: one for one in TARGETS}
    if target.excluded is None and target.id in judges:
        return judges[target.id].judge(target, sample)
    return TargetVerdict(
        id=target.id,
        basis=target.basis,
        verdict=Verdict.UNVERIFIED,
        target=target.objective,
        observed=None,
        lower_bound=None,
        upper_bound=None,
        n=0,
        unit=target.unit,
        evidence=sample.evidence,
        claim="nothing in this run measures it" if target.excluded is None else f"set aside: {target.excluded}",
        excluded=target.excluded,
    )


def _errors(told: Record) -> Iterator[_Reason]:
    if told.ended is not None and told.ended.error:
        # Some errors only mean that no evidence could be had: exit code 3, as errors.py draws it.
        no_evidence = told.ended.exit_code == Verdict.UNVERIFIED.exit_code
        verdict = Verdict.UNVERIFIED if no_evidence else Verdict.ERROR
        yield _Reason(verdict, f"the harness could not work: {told.ended.error}")


def _failures(
    told: Record,
    verdicts: Sequence[InjectionVerdict],
    alerts: Sequence[AlertCoverage],
    unexplained: Sequence[str],
) -> Iterator[_Reason]:
    """What the monitoring did wrong."""
    every_cell = told.profile == Profile.SMOKE
    for name, cell in _cells(alerts):
        if cell.status is CellStatus.BROKEN or (every_cell and cell.status is CellStatus.FLAKY):
            kinds, told_more = _counted(verdicts, name, cell)
            short = f"{name} at {cell.channel} is {cell.status} ({kinds})"
            yield _Reason(Verdict.FAIL, f"{short}: {told_more}", short)
    for one in verdicts:
        for unexpected in one.unexpected:
            yield _Reason(Verdict.FAIL, f"injection {one.injection} ({one.alert} in {one.lane}): {unexpected}")
    for message in unexplained:
        yield _Reason(Verdict.FAIL, message)


def _of_scenes(scenes: Sequence[SceneVerdict]) -> Iterator[_Reason]:
    """Scenes that did not get what they expected, or of which nobody knows."""
    for scene in scenes:
        if scene.verdict is not Verdict.PASS:
            first, *others = scene.told
            more = f" (and {len(others)} more)" if others else ""
            yield _Reason(scene.verdict, f"scene {scene.id} is {scene.verdict}: {first.splitlines()[0]}{more}")


def _of_episodes(episodes: Sequence[EpisodeVerdict]) -> Iterator[_Reason]:
    """Faults of the records' way that cost more than is allowed, or of which nobody knows."""
    for one in episodes:
        if one.verdict is not Verdict.PASS:
            first = one.told[0].splitlines()[0]
            yield _Reason(one.verdict, f"episode {one.fault} is {one.verdict}: {first}")


def _counted(verdicts: Sequence[InjectionVerdict], name: str, cell: Cell) -> tuple[str, str]:
    """How the trials of a cell failed; then how many, the first complaint, and who is next to blame."""
    trials = [
        trial
        for one in verdicts
        if one.alert == name and one.control is None
        for trial in one.trials
        if trial.channel == cell.channel
    ]
    failed = [trial for trial in trials if trial.outcome in FAILED]
    kinds = ", ".join(dict.fromkeys(trial.outcome.value for trial in failed))
    text = f"{len(failed)} of {len(trials)} trials failed"
    text += "".join(f", {complaint}" for complaint in failed[0].complaints[:1])
    ends = next((trial.trail_ends for trial in failed if trial.trail_ends is not None), None)
    if ends is not None:
        kinds += f", the trail ends at {ends}"
        text += f"; next to blame is {NEXT_PART[ends]}"
    return kinds, text


def _doubts(
    told: Record,
    own: Sequence[InjectionVerdict],
    alerts: Sequence[AlertCoverage],
    controls: Sequence[ControlVerdict],
) -> Iterator[_Reason]:
    """What nobody can vouch for."""
    for damage in told.damage:
        yield _Reason(Verdict.UNVERIFIED, damage)
    yield from _given_up(told)
    for gone in told.exits:
        if not gone.expected:
            name = f"{gone.name} in {gone.lane}" if gone.lane else gone.name
            ended = f"by signal {-gone.code}" if gone.code < 0 else f"with code {gone.code}"
            said = f"; its last line: {gone.output[-1]}" if gone.output else ""
            short = f"{name} ended {ended} and no fault of the plan ended it"
            yield _Reason(Verdict.UNVERIFIED, f"{short}{said}", short)
    for lane, seconds in told.load.longest_gap_seconds.items() if told.load else ():
        if seconds >= LOAD_GAP_SECONDS:
            yield _Reason(
                Verdict.UNVERIFIED,
                f"no load reached {lane} for {seconds:.1f} s: what needs traffic was not tried there",
            )
    if not own:
        yield _Reason(Verdict.UNVERIFIED, "nothing was planned, so nothing was heard")
    for story in told.stories:
        if story.injected is not None and story.healed is None:
            name = f"{story.planned.fault} in {story.planned.lane}"
            yield _Reason(Verdict.UNVERIFIED, f"injection {story.planned.id}: it was never seen that {name} was healed")
    for alert in alerts:
        if not alert.cells:
            yield _Reason(Verdict.UNVERIFIED, f"nobody must hear {alert.alert}")
        if alert.alert not in {drill.alert for drill in told.drills}:
            yield _Reason(Verdict.UNVERIFIED, f"the ledger does not declare the drill of {alert.alert}")
    for one in own:
        for trial in one.trials:
            if trial.outcome in UNJUDGED:
                verdict = Verdict.INCONCLUSIVE if trial.outcome is Outcome.INCONCLUSIVE else Verdict.UNVERIFIED
                why = (*trial.complaints, one.why, "it could not be judged")[0]
                yield _Reason(verdict, f"{one.alert} at {trial.channel}, injection {one.injection}: {why}")
    for control in controls:
        if not control.as_expected:
            yield _Reason(
                Verdict.UNVERIFIED,
                f"the negative control `{control.name}` did not fail as it was meant to "
                f"({control.trials} trials, judged {control.verdict}): this run's judge cannot be trusted",
            )


def _given_up(told: Record) -> Iterator[_Reason]:
    """Lanes that did not come up, each with how much was planned there."""
    for lane, why in told.given_up.items():
        first, *others = why.splitlines()
        said = [line.removeprefix("  | ") for line in others if line.startswith("  | ")]
        injections = sum(story.planned.lane == lane for story in told.stories)
        scenes = sum(scene.plan.lane == lane for scene in told.scenes)
        untried = f"injections that were not tried: {injections}" + (f", scenes: {scenes}" if scenes else "")
        short = f"{lane} did not come up: {first}"
        last = f"; its last line: {said[-1]}" if said else ""
        yield _Reason(Verdict.UNVERIFIED, f"{short}{last}; {untried}", short)


def _of_targets(told: Record, targets: Sequence[TargetVerdict]) -> Iterator[_Reason]:
    """Targets that are not met; in a smoke run only those that nothing measures and nobody set aside."""
    measured = {one.id for one in TARGETS}
    for target in targets:
        if target.excluded is not None or target.verdict is Verdict.PASS:
            continue
        if target.id not in measured:
            yield _Reason(
                Verdict.UNVERIFIED, f"target {target.id} is measured by nothing, and targets.yaml does not set it aside"
            )
        elif told.profile != Profile.SMOKE:
            yield _Reason(target.verdict, f"target {target.id} is {target.verdict}: {target.claim}")


def _headline(
    told: Record, verdict: Verdict, alerts: Sequence[AlertCoverage], evidence: str, reasons: Sequence[_Reason]
) -> str:
    """One sentence: profile, verdict, what was heard on which evidence, and the first thing that is wrong."""
    cells = [cell for _, cell in _cells(alerts)]
    heard = sum(cell.status is CellStatus.HEARD for cell in cells)
    text = f"{told.profile}: {verdict.value.upper()} — {heard} of {len(cells)} cells heard ({evidence})"
    drilled = {drill.alert for drill in told.drills if drill.why_not is None}
    if len(drilled) > len(alerts):
        text += f", {len(alerts)} of {len(drilled)} drills planned"
    decisive = [one.short or one.text for one in reasons if one.verdict is verdict]
    if decisive:
        text += f"; {decisive[0].splitlines()[0]}"
        if len(decisive) > 1:
            text += f" (and {len(decisive) - 1} more)"
    return text + ("; no rate is claimed" if told.profile == Profile.SMOKE else "")
