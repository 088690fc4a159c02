"""One run: from the policies to a judged ledger. With `rehearsal.py` the only module that sees every room."""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness import __version__
from harness.drive.casting import Cast
from harness.drive.faults import RECORDS
from harness.drive.faults.registry import FAULTS
from harness.drive.interruption import Interruption
from harness.drive.plan.episodes import plan_episodes
from harness.drive.plan.shapes import SHAPES
from harness.drive.plan.timetable import plan
from harness.drive.records.registry import RECORD_FAULTS
from harness.drive.scenes.registry import planned
from harness.errors import Defect, HarnessError, LedgerError
from harness.model.episodes import EpisodeLeftOut, EpisodePlan, EpisodePlanned
from harness.model.events import Event, RunEnded, RunStarted
from harness.model.plan import Profile, Timetable, Traits
from harness.model.policy import LOG_KINDS, RECORD_KINDS, Policies
from harness.observe.channels.registry import CHANNELS
from harness.observe.declaration import declare
from harness.observe.folder import attempt, commit_of, new_folder, point_latest, write_whole
from harness.observe.ledger import Ledger
from harness.policy.parse.policies import Loaded, load
from harness.rehearsal import Rehearsal, Script
from harness.report.recorded import read_run
from harness.report.registry import render
from harness.stack.components.registry import COMPONENTS

_REPORTS = {"summary.json": "json", "junit.xml": "junit"}


@dataclass(frozen=True, slots=True)
class Options:
    """What a run is asked to do.

    Args:
        policies: the policies folder.
        cache: where real components are kept.
        out: the folder of the runs.
        profile: how much is tried.
        only: names of the alerts to drill; all where empty.
        seed: fixes every random instant; drawn where None.
        runtime: how components are run.
        locustfile: the journeys that make the load; `loadtests/community.py` beside the policies where None.
    """

    policies: Path
    cache: Path
    out: Path
    profile: str = "smoke"
    only: tuple[str, ...] = ()
    seed: int | None = None
    runtime: str = "process"
    locustfile: Path | None = None


def load_policies(folder: Path) -> Loaded:
    """The policies of a folder, held against the faults, channels and components that there are.

    Raises:
        UsageError: there is no such folder.
        PolicyError: it cannot be run; carries every finding.
    """
    return load(
        folder,
        faults=[fault.id for fault in FAULTS],
        channels={channel.name: channel.receiver_key for channel in CHANNELS},
        components=[component.kind for component in COMPONENTS],
        record_faults=[fault.id for fault in RECORD_FAULTS],
    )


def execute(options: Options, show: Callable[[Event], None], say: Callable[[str], None]) -> Path:
    """Carries a run out and writes its files; returns the folder of the run, whatever its verdict.

    From the first event on every failure is part of the run: it is in the ledger, said, and judged.

    Args:
        options: what to do.
        show: takes every event as it happens.
        say: takes sentences for a person.

    Raises:
        UsageError: the run could not begin: policies, profile, names of alerts.
        LedgerError: the run's files cannot be written.
        HarnessError: what kept the run from its end, where the ledger cannot take it.
    """
    loaded = load_policies(options.policies)
    follows_records = SHAPES[Profile(options.profile)].records and not options.only
    policies = loaded.policies if follows_records else as_far_as_needed(loaded.policies, options.only)
    seed = secrets.randbelow(1_000_000) if options.seed is None else options.seed
    scenes, left_out = planned(Cast(policies, options.only))
    timetable = plan(
        policies.drills,
        policies.priorities,
        {alert.name: alert for alert in policies.alerts},
        {fault.id: Traits(fault.touches, fault.reach) for fault in FAULTS},
        profile=Profile(options.profile),
        seed=seed,
        only=options.only,
        scenes=scenes,
        scenes_left_out=left_out,
    )
    episodes, not_played = _episodes(policies, timetable) if follows_records else ((), {})
    with Interruption(say) as interruption:
        run, folder = new_folder(options.out)
        began = time.monotonic()
        failure: HarnessError | None = None
        with Ledger.create(folder / "ledger.jsonl") as ledger:
            ledger.subscribe(show)
            try:
                _declare(ledger, options, loaded, timetable, run, seed, episodes, not_played)
                script = Script(
                    run=run,
                    policies=policies,
                    timetable=timetable,
                    cache=options.cache,
                    folder=folder,
                    locustfile=options.locustfile or policies.root.absolute().parent / "loadtests" / "community.py",
                    episodes=episodes,
                    reckons=follows_records,
                )
                asyncio.run(Rehearsal(script, ledger, say, interruption).carry_out())
            except HarnessError as error:
                failure = error
            except Exception as error:  # noqa: BLE001 - whatever it was, the ledger must tell how the run ended
                failure = Defect.of(error)
            spent = time.monotonic() - began
            ended = RunEnded(spent, str(failure), failure.exit_code) if failure else RunEnded(spent)
            try:
                ledger.write(ended)
            except LedgerError:
                if failure is None:
                    raise
                raise failure from None
            if failure is not None:
                say(str(failure))
        write_reports(folder)
        point_latest(options.out, folder)
    return folder


def write_reports(folder: Path) -> None:
    """Writes the reports of a run beside its ledger, each in one step: a reader finds a whole one or none.

    Raises:
        LedgerError: a report cannot be written.
    """
    recorded = read_run(folder)
    for name, form in _REPORTS.items():
        write_whole(folder / name, render(form, recorded, colour=False))


def as_far_as_needed(policies: Policies, only: Sequence[str]) -> Policies:
    """What a run needs that follows no records: the way of logs where an alert of it is asked for by name, else none.

    Without that way its alerts cannot be drilled.

    Args:
        policies: what was promised.
        only: names of the alerts to drill; all where empty.
    """
    faults = {fault.id for fault in FAULTS if RECORDS & fault.touches}
    of_records = {drill.alert for drill in policies.drills if faults & {*drill.faults, *drill.nightly}}
    if of_records & set(only):
        return policies.without(RECORD_KINDS - LOG_KINDS)
    bare = policies.without(RECORD_KINDS)
    return replace(bare, drills=tuple(drill for drill in bare.drills if drill.alert not in of_records))


def _episodes(policies: Policies, timetable: Timetable) -> tuple[tuple[EpisodePlan, ...], Mapping[str, str]]:
    """What is done to the way of records, and why the rest is not."""
    if not any(one.kind in RECORD_KINDS for one in policies.components):
        return (), {}
    return plan_episodes(
        [fault.traits for fault in RECORD_FAULTS],
        policies.record_drills,
        {one.kind for one in policies.components if not one.per_lane},
        {schema.file: schema.source for schema in policies.records},
        profile=timetable.profile,
        seed=timetable.seed,
    )


def _declare(
    ledger: Ledger,
    options: Options,
    loaded: Loaded,
    timetable: Timetable,
    run: str,
    seed: int,
    episodes: Sequence[EpisodePlan],
    not_played: Mapping[str, str],
) -> None:
    commit = commit_of(options.policies)
    ledger.write(
        RunStarted(
            run=run,
            tocsin=__version__,
            profile=options.profile,
            seed=seed,
            attempt=attempt(options.out, commit),
            commit=commit,
            runtime=options.runtime,
            time_scale=1.0,
            policies=str(options.policies),
            cores=os.cpu_count() or 1,
        )
    )
    for episode in episodes:
        ledger.write(EpisodePlanned(episode))
    for name, why in not_played.items():
        ledger.write(EpisodeLeftOut(name, why))
    signals = {fault.id: fault.signal for fault in FAULTS}
    declare(ledger.write, loaded.policies, loaded.findings, timetable, signals)
