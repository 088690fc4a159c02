"""One run: from the policies to a judged ledger. The only module that sees every room."""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from harness import __version__
from harness.drive.conduct import conduct
from harness.drive.faults.registry import FAULTS
from harness.drive.interruption import Interruption
from harness.drive.journal import UNDO, Journal, take_back
from harness.drive.load.locust import LocustLoad
from harness.drive.plan.timetable import plan
from harness.errors import Defect, HarnessError, LedgerError, StackError
from harness.model.events import (
    Event,
    FindingNoted,
    HopsRead,
    Payload,
    Progress,
    Rewired,
    RunEnded,
    RunStarted,
    StageEnded,
    StageStarted,
)
from harness.model.plan import Injection, Profile, Timetable
from harness.model.policy import Policies
from harness.model.stack import Address, Artifact
from harness.observe.certificates import write_certificate
from harness.observe.channels import Sink
from harness.observe.channels.registry import CHANNELS
from harness.observe.declaration import declare
from harness.observe.folder import attempt, commit_of, new_folder, point_latest, unwritable, write_whole
from harness.observe.hops import read_hops, wait_quiet
from harness.observe.inbox import Inbox, Interference
from harness.observe.ledger import Ledger
from harness.observe.recorder import Recorder
from harness.observe.redaction import redact_file
from harness.observe.starvation import StarvationWatch
from harness.policy.parse.policies import Loaded, load
from harness.policy.rewire.rewiring import Rewiring, rewire
from harness.report.recorded import read_run
from harness.report.registry import render
from harness.stack.components.registry import COMPONENTS
from harness.stack.guard import Guard, abandoned
from harness.stack.layout import Layout, artifacts_needed, lay_out
from harness.stack.provision.fetch import fetch
from harness.stack.runtimes.process import ProcessRuntime
from harness.stack.site import Site
from harness.stack.stack import Stack

USERS_PER_LANE = 4
"""Users of the load test in every lane: about 10 requests/s, so that a window of 10 s holds about 100."""

_FAULTS = {fault.id: fault for fault in FAULTS}
_FLOWING_SECONDS = 20.0
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
    policies = loaded.policies
    seed = secrets.randbelow(1_000_000) if options.seed is None else options.seed
    timetable = plan(
        policies.drills,
        policies.priorities,
        {alert.name: alert for alert in policies.alerts},
        profile=Profile(options.profile),
        seed=seed,
        only=options.only,
    )
    with Interruption(say) as interruption:
        run, folder = new_folder(options.out)
        began = time.monotonic()
        failure: HarnessError | None = None
        with Ledger.create(folder / "ledger.jsonl") as ledger:
            ledger.subscribe(show)
            try:
                _declare(ledger, options, loaded, timetable, run, seed)
                rehearsal = _Rehearsal(options, policies, timetable, ledger, folder, run, say, interruption)
                asyncio.run(rehearsal.carry_out())
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


def _declare(ledger: Ledger, options: Options, loaded: Loaded, timetable: Timetable, run: str, seed: int) -> None:
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
    signals = {fault.id: fault.signal for fault in FAULTS}
    declare(ledger.write, loaded.policies, loaded.findings, timetable, signals)


class _InboxEars:
    """The inbox as the conductor hears it."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox
        self.heard = inbox.heard
        self.caught = inbox.caught

    def interfere(self, injection: Injection, until_wall: float | None) -> Callable[[], None]:
        assert injection.control is not None
        interference = Interference(injection.lane, injection.alert, injection.control, until_wall)
        self._inbox.interfere(interference)
        return partial(self._inbox.clear, interference)


class _Rehearsal:
    """The part of a run that needs an event loop: everything stands up, the timetable is carried out, all goes down."""

    def __init__(
        self,
        options: Options,
        policies: Policies,
        timetable: Timetable,
        ledger: Ledger,
        folder: Path,
        run: str,
        say: Callable[[str], None],
        interruption: Interruption,
    ) -> None:
        self._options = options
        self._policies = policies
        self._timetable = timetable
        self._ledger = ledger
        self._folder = folder
        self._run = run
        self._say = say
        self._interruption = interruption
        self._selectors = {alert.name: alert.selectors for alert in policies.alerts}

    async def carry_out(self) -> None:
        """Carries the timetable out, and takes everything down again: that is never broken off.

        Raises:
            HarnessError: what kept the run from its end; Interrupted where somebody stopped it.
        """
        task = asyncio.current_task()
        assert task is not None
        try:
            async with AsyncExitStack() as exits:
                with self._interruption.stops(task):
                    await self._stand_up_and_drill(exits)
        except (asyncio.CancelledError, HarnessError) as error:
            failure = self._interruption.told(error)
            if failure is error:
                raise
            raise failure from error
        self._interruption.check()

    def _write(self, payload: Payload) -> None:
        """Writes an event; where that fails the run ends. Whoever wrote it, a callback often, is not broken off."""
        try:
            self._ledger.write(payload)
        except LedgerError as error:
            self._interruption.give_up(error)

    async def _stand_up_and_drill(self, exits: AsyncExitStack) -> None:
        artifacts = await fetch(artifacts_needed(self._policies), self._options.cache, self._say)
        await self._clear_after_the_dead()
        guard = await exits.enter_async_context(Guard.open(self._run, self._options.cache))
        exits.callback(self._redact_logs)
        inbox = Inbox(self._write, CHANNELS)
        exits.callback(inbox.close)
        authority, sinks = await self._open_sinks(exits, inbox, guard.sandbox)
        layout = self._lay_out(artifacts, guard, authority)
        exits.callback(layout.close)
        alertmanager = _site_of(layout, "alertmanager")
        recorder = await exits.enter_async_context(Recorder.open(alertmanager.address, self._write))
        copy = self._rewire(layout, sinks, alertmanager.component.addresses, recorder.address)
        runtime = ProcessRuntime(guard)
        stack = await exits.enter_async_context(Stack(layout, runtime, self._write))
        self._progress("starting the stack")
        await stack.up({**copy.files, self._policies.prometheus_file: copy.cold})
        load = LocustLoad()
        exits.push_async_callback(self._stop_load, load)
        await self._drive_load(load, runtime, layout, guard)
        await stack.wait_first_scrape()
        await load.flowing(_FLOWING_SECONDS, minimum=5)
        await stack.reload_prometheus(copy.files)
        # From here on only: what is late while everything starts at once is no trial.
        await exits.enter_async_context(StarvationWatch(self._write))
        self._progress("every target is scraped, load flows, the rules are loaded: the drills begin")
        over = asyncio.Event()
        watching = asyncio.create_task(load.ended(), name="watch over the load")
        watching.add_done_callback(lambda _: over.set())
        exits.callback(watching.cancel)
        await self._drill(stack, inbox, guard.sandbox, over)

    async def _clear_after_the_dead(self) -> None:
        """Takes back what runs that died may have left in place, then removes their sandboxes."""
        with abandoned(self._options.cache) as left:
            for dead in left:
                taken_back = await take_back(dead.run, dead.sandbox / UNDO, _FAULTS)
                for sentence in taken_back.told:
                    self._progress(sentence)
                dead.spared = not taken_back.whole
                if not dead.spared:
                    self._progress(f"the sandbox of {dead.run}, a run that died, is removed")

    async def _open_sinks(self, exits: AsyncExitStack, inbox: Inbox, sandbox: Path) -> tuple[Path, tuple[Sink, ...]]:
        certificate = write_certificate(sandbox / "certificates")
        sinks = []
        for channel in CHANNELS:
            sink = await exits.enter_async_context(channel.open(certificate, inbox.deliver, inbox.refuse))
            binding = sink.binding
            values = {**binding.settings, **(binding.global_settings or {})}
            self._ledger.redactor.learn(values[name] for name in binding.secret if values.get(name))
            sinks.append(sink)
        return certificate.authority, tuple(sinks)

    def _lay_out(self, artifacts: Mapping[str, Artifact], guard: Guard, authority: Path) -> Layout:
        layout = lay_out(
            self._policies,
            artifacts,
            self._timetable.lanes,
            run=self._run,
            sandbox=guard.sandbox,
            logs=self._folder / "logs",
            cache=self._options.cache,
            environment={"alertmanager": {"SSL_CERT_FILE": str(authority)}},
        )
        for of_lane in layout.secrets.values():
            self._ledger.redactor.learn(value for name, value in of_lane.items() if "password" in name)
        return layout

    def _rewire(self, layout: Layout, sinks: Sequence[Sink], addresses: Sequence[str], recorder: Address) -> Rewiring:
        """The copy that runs, with the recording proxy before Alertmanager; written into the run's folder too."""
        sandbox = layout.sandbox([sink.binding for sink in sinks])
        production = {**sandbox.production, **{address: {"": recorder} for address in addresses}}
        copy = rewire(self._policies, replace(sandbox, production=production))
        for difference in copy.differences:
            self._write(Rewired(difference))
        for finding in copy.findings:
            self._write(FindingNoted(finding))
        for name, text in copy.files.items():
            write_whole(self._folder / "rewired" / name, self._ledger.redactor.text(text))
        return copy

    async def _drive_load(self, load: LocustLoad, runtime: ProcessRuntime, layout: Layout, guard: Guard) -> None:
        subject = next((c.name for c in self._policies.components if c.kind == "subject"), None)
        if subject is None:
            raise StackError("the policies declare no component of kind subject", hint="name one in stack.yaml")
        project = self._policies.root.absolute().parent
        await load.start(
            runtime,
            {lane.name: lane.addresses[subject] for lane in layout.lanes},
            locustfile=self._options.locustfile or project / "loadtests" / "community.py",
            users_per_lane=USERS_PER_LANE,
            samples=self._folder / "logs" / "load-samples.jsonl",
            log=self._folder / "logs" / "locust.log",
            directory=guard.sandbox / "locust",
            environment=guard.environment,
        )

    async def _drill(self, stack: Stack, inbox: Inbox, sandbox: Path, stop: asyncio.Event) -> None:
        stage = self._timetable.stages[0].name
        self._write(StageStarted(stage))
        prometheus = stack.address("prometheus")

        async def hops(injection: Injection, since_wall: float, until_wall: float) -> None:
            reading = await read_hops(
                prometheus,
                injection=injection.id,
                alert=injection.alert,
                lane=injection.lane,
                selectors=self._selectors[injection.alert],
                since_wall=since_wall,
                until_wall=until_wall,
            )
            for hop in reading.hops:
                self._write(hop)
            self._write(HopsRead(injection.id, reading.error))

        with Journal.open(sandbox / UNDO) as journal:
            await conduct(
                self._timetable,
                _FAULTS,
                stack.lane,
                _InboxEars(inbox),
                self._write,
                journal,
                hops,
                quiet=partial(wait_quiet, prometheus),
                stop=stop,
                started_monotonic=time.monotonic(),
            )
        self._write(StageEnded(stage, "the load ended before the drills did" if stop.is_set() else ""))

    def _redact_logs(self) -> None:
        """A component may have written a credential of its lane into its log, in an address for example."""
        for log in (self._folder / "logs").glob("*.log"):
            try:
                redact_file(log, self._ledger.redactor)
            except OSError as error:
                self._interruption.give_up(unwritable(log, error))

    async def _stop_load(self, load: LocustLoad) -> None:
        self._write(await load.stop())

    def _progress(self, text: str) -> None:
        self._write(Progress(text))


def _site_of(layout: Layout, kind: str) -> Site:
    for site in layout.sites:
        if site.component.kind == kind and site.lane is None:
            return site
    raise StackError(f"the policies declare no component of kind {kind}", hint="name one in stack.yaml")
