"""The part of a run that needs an event loop: everything stands up, the timetable is carried out, all goes down."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from harness.bookkeeping import Bookkeeping, provide
from harness.drive.conduct import conduct
from harness.drive.disturbance import disturbs
from harness.drive.faults import Fault
from harness.drive.faults.registry import FAULTS
from harness.drive.interruption import Interruption
from harness.drive.journal import UNDO, Journal, take_back
from harness.drive.keeping import Sizes
from harness.drive.load.locust import LocustLoad
from harness.drive.plan.timetable import ALONE, PLAYED, STAGE
from harness.drive.playing import Company, play
from harness.drive.records.registry import RECORD_FAULTS
from harness.drive.scenes.registry import SCENES
from harness.drive.surroundings import Limits, Surroundings
from harness.errors import HarnessError, LedgerError, StackError
from harness.model.episodes import EpisodePlan
from harness.model.events import HopsRead, Payload, Progress, StageEnded, StageStarted
from harness.model.plan import Injection, Profile, Timetable
from harness.model.policy import Policies
from harness.model.stack import Address, Artifact
from harness.observe.census import take_census
from harness.observe.channels.registry import CHANNELS
from harness.observe.copying import Copies
from harness.observe.ears import InboxEars
from harness.observe.far_ends import FarEnds, open_sinks
from harness.observe.folder import unwritable
from harness.observe.hops import read_hops, wait_quiet
from harness.observe.inbox import Inbox
from harness.observe.ledger import Ledger
from harness.observe.planting import Planting
from harness.observe.props import StackProps
from harness.observe.recorder import Recorder
from harness.observe.redaction import redact_file
from harness.observe.starvation import StarvationWatch
from harness.policy.rewire.rewiring import Rewiring
from harness.stack.guard import Guard, abandoned
from harness.stack.layout import Layout, lay_out
from harness.stack.runtimes.process import ProcessRuntime
from harness.stack.site import Site
from harness.stack.stack import Stack

USERS_PER_LANE = 4
"""Users of the load test in every lane: about 10 requests/s, so that a window of 10 s holds about 100."""

_FAULTS: Mapping[str, Fault] = {fault.id: fault for fault in (*FAULTS, *RECORD_FAULTS)}
_FLOWING_SECONDS = 20.0
_QUIET_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Script:
    """What is rehearsed, and where its files go.

    Args:
        run: the run's id.
        policies: what is under test.
        timetable: what is tried.
        cache: where real components are kept.
        folder: the run's folder.
        locustfile: the journeys that make the load.
        episodes: what is done to the way of records meanwhile.
        reckons: whether it is counted in the end what became of records, and whether stores keep what they have.
    """

    run: str
    policies: Policies
    timetable: Timetable
    cache: Path
    folder: Path
    locustfile: Path
    episodes: tuple[EpisodePlan, ...] = ()
    reckons: bool = True


@dataclass(frozen=True, slots=True)
class Standing:
    """A stack that stands. `rewired` makes the copy of what is rehearsed, for this stack; `copy` is what it began with.

    `over` is set when the load has ended, and the drills must. `books` follow the records.
    """

    stack: Stack
    inbox: Inbox
    sandbox: Path
    over: asyncio.Event
    runtime: ProcessRuntime
    rewired: Callable[[], Rewiring]
    copy: Rewiring
    guard: Guard
    load: LocustLoad
    books: Bookkeeping


class Rehearsal:
    """One run of a script.

    Args:
        script: what is rehearsed.
        ledger: takes what happens.
        say: takes sentences for a person.
        interruption: who may end it before its end.
    """

    def __init__(self, script: Script, ledger: Ledger, say: Callable[[str], None], interruption: Interruption) -> None:
        self._say = say
        self._interruption = interruption
        self.turn_to(script, ledger)

    def turn_to(self, script: Script, ledger: Ledger) -> None:
        """From now on another script is rehearsed, and what happens goes into another ledger."""
        self._script = script
        self._policies = script.policies
        self._ledger = ledger
        self._copies = Copies(script.folder, ledger.redactor, self._write)
        self._selectors = {alert.name: alert.selectors for alert in script.policies.alerts}

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
                    standing = await self._stand_up(exits)
                    await self.drill(standing)
                    await self._reckon(standing)
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

    @asynccontextmanager
    async def standing(self) -> AsyncIterator[Standing]:
        """Everything up to the first drill, for timetables that are drilled one after another (`turn_to`, `drill`).

        Raises:
            HarnessError: it does not stand.
        """
        async with AsyncExitStack() as exits:
            yield await self._stand_up(exits)

    async def _stand_up(self, exits: AsyncExitStack) -> Standing:
        script = self._script
        provided = await provide(script.policies, script.cache, self._say)
        self._policies = provided.policies
        books = Bookkeeping(script.run, script.folder, script.policies, provided, self._write, script.timetable.seed)
        self._ledger.subscribe(books.note)
        await self._clear_after_the_dead()
        guard = await exits.enter_async_context(Guard.open(self._script.run, self._script.cache))
        exits.callback(self._redact_logs)
        inbox = Inbox(self._write, CHANNELS)
        exits.callback(inbox.close)
        authority, sinks = await open_sinks(exits, inbox, guard.sandbox, self._ledger.redactor)
        layout = self._lay_out(provided.artifacts, guard, authority, books.manifests)
        exits.callback(layout.close)
        alertmanager = _site_of(layout, "alertmanager")
        recorder = await exits.enter_async_context(Recorder.open(alertmanager.address, self._write))
        runtime = ProcessRuntime(guard)
        stack = await exits.enter_async_context(Stack(layout, runtime, self._write, channels=FarEnds(sinks)))
        recorded = {address: {"": recorder.address} for address in alertmanager.component.addresses}

        def rewired() -> Rewiring:
            bindings = [sink.binding for sink in sinks.values()]
            return self._copies.made(self._policies, stack, bindings, recorded)

        copies = [rewired()]

        def again() -> Mapping[str, str]:
            shutil.rmtree(self._script.folder / "rewired", ignore_errors=True)  # it names lanes that are not there
            copies.append(rewired())
            return copies[-1].files

        self._progress("starting the stack")
        await stack.up(copies[-1].files, again=again)
        load = LocustLoad()
        exits.push_async_callback(self._stop_load, load)
        await self._drive_load(load, runtime, stack, guard, books)
        await stack.wait_first_scrape()
        await load.flowing(_FLOWING_SECONDS, minimum=5)
        await self._wait_quiet_everywhere(stack)
        # From here on only: what is late while everything starts at once is no trial.
        await exits.enter_async_context(StarvationWatch(self._write))
        self._progress("every target is scraped, load flows, no alert is left: the drills begin")
        over = asyncio.Event()
        watching = asyncio.create_task(load.ended(), name="watch over the load")
        watching.add_done_callback(lambda _: over.set())
        exits.callback(watching.cancel)
        return Standing(stack, inbox, guard.sandbox, over, runtime, rewired, copies[-1], guard, load, books)

    async def _clear_after_the_dead(self) -> None:
        """Takes back what runs that died may have left in place, then removes their sandboxes."""
        with abandoned(self._script.cache) as left:
            for dead in left:
                taken_back = await take_back(dead.run, dead.sandbox / UNDO, _FAULTS)
                for sentence in taken_back.told:
                    self._progress(sentence)
                dead.spared = not taken_back.whole
                if not dead.spared:
                    self._progress(f"the sandbox of {dead.run}, a run that died, is removed")

    def _lay_out(
        self, artifacts: Mapping[str, Artifact], guard: Guard, authority: Path, manifests: Path | None
    ) -> Layout:
        trust = {"SSL_CERT_FILE": str(authority)}
        layout = lay_out(
            self._policies,
            artifacts,
            self._script.timetable.lanes,
            run=self._script.run,
            sandbox=guard.sandbox,
            logs=self._script.folder / "logs",
            cache=self._script.cache,
            environment={"alertmanager": trust, "dead-mans-listener": trust},
            manifests=manifests,
        )
        for of_lane in layout.secrets.values():
            self._ledger.redactor.learn(value for name, value in of_lane.items() if "password" in name)
        return layout

    async def _drive_load(
        self, load: LocustLoad, runtime: ProcessRuntime, stack: Stack, guard: Guard, books: Bookkeeping
    ) -> None:
        doors, announcing = books.doors(stack)
        if not doors:
            raise StackError("the policies declare no component of kind subject", hint="name one in stack.yaml")
        await load.start(
            runtime,
            doors,
            locustfile=self._script.locustfile,
            users_per_lane=USERS_PER_LANE,
            samples=self._script.folder / "logs" / "load-samples.jsonl",
            log=self._script.folder / "logs" / "locust.log",
            directory=guard.sandbox / "locust",
            environment=guard.environment,
            announcing=announcing,
        )

    async def _wait_quiet_everywhere(self, stack: Stack) -> None:
        """Waits until no alert that somebody hears is left of the start, of which it would else be told."""
        prometheus = stack.address("prometheus")
        unheard = {spared.alert for spared in self._policies.not_drilled}
        lanes = [lane.name for lane in stack.lanes]
        left = await asyncio.gather(
            *(
                wait_quiet(prometheus, lane, _QUIET_SECONDS, lambda labels: labels["alertname"] not in unheard)
                for lane in lanes
            )
        )
        for lane, alerts in zip(lanes, left, strict=True):
            if alerts:
                self._progress(f"{lane} is not quiet before the first drill: {', '.join(alerts)}")

    async def drill(self, standing: Standing) -> None:
        """Every stage of the plan, one after another; changes are planted beside the first of them.

        Raises:
            HarnessError: what kept the drills from their end; every fault was undone.
        """
        stack, stop = standing.stack, standing.over
        company = self._company(stack, standing.runtime, standing.copy)
        prometheus = stack.address("prometheus")
        timetable = self._script.timetable
        limits = Limits(hard_stop_seconds=timetable.hard_stop.total_seconds())
        hard_stop = time.monotonic() + limits.hard_stop_seconds
        since_wall = time.time()
        planted_enough = asyncio.Event()
        redis = next((c.name for c in self._policies.components if c.kind == "redis" and c.per_lane), None)
        lanes = {lane.name: lane.addresses[redis] for lane in stack.lanes} if redis else {}
        planting = asyncio.create_task(
            Planting(prometheus, lanes, timetable.seed, self._write).run(planted_enough), name="planting"
        )
        try:
            async with AsyncExitStack() as beside:
                journal = beside.enter_context(Journal.open(standing.sandbox / UNDO))
                world = Surroundings(
                    faults=_FAULTS,
                    lane_control=stack.lane,
                    ears=InboxEars(standing.inbox),
                    write=self._write,
                    journal=journal,
                    read_hops=partial(self._read_hops, prometheus),
                    quiet=partial(self._quiet, prometheus),
                    limits=limits,
                    given_up={lane: why.what for lane, why in stack.given_up.items()},
                )
                episodes = await beside.enter_async_context(
                    standing.books.playing(stack, self._script.episodes, world, stop)
                )
                for stage in timetable.stages:
                    self._write(StageStarted(stage.name))
                    if stage.name == PLAYED:
                        await play(timetable.scenes, company, world, stop=stop, hard_stop_monotonic=hard_stop)
                    else:
                        await conduct(
                            [one for one in timetable.injections if one.stage == stage.name],
                            world,
                            stop=stop,
                            started_monotonic=time.monotonic(),
                            hard_stop_monotonic=hard_stop,
                            in_one_row=stage.name == ALONE,
                        )
                    if stage.name == STAGE:
                        planted_enough.set()
                        await planting
                        await episodes
                    self._write(StageEnded(stage.name, "the load ended before the drills did" if stop.is_set() else ""))
        finally:
            planting.cancel()
            await asyncio.wait({planting})
        for counted in await take_census(prometheus, since_wall=since_wall, until_wall=time.time()):
            self._write(counted)

    async def _reckon(self, standing: Standing) -> None:
        """What became of the run's records, once nobody writes any more, and whether stores keep what they have."""
        await standing.load.stop()
        sizes = Sizes.FULL if self._script.timetable.profile is Profile.NIGHTLY else Sizes.GATE
        if self._script.reckons:
            await standing.books.reckon(standing.stack, standing.runtime, standing.guard, self._script.cache, sizes)

    def _company(self, stack: Stack, runtime: ProcessRuntime, copy: Rewiring) -> Company:
        """What scenes need beside what injections need."""
        return Company(
            scenes={scene.id: scene for scene in SCENES},
            alerts={alert.name: alert for alert in self._policies.alerts},
            alertmanager=stack.address("alertmanager"),
            props=StackProps(self._policies, stack, runtime, copy, self._write),
        )

    async def _read_hops(self, prometheus: Address, injection: Injection, since_wall: float, until_wall: float) -> None:
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

    async def _quiet(self, prometheus: Address, injection: Injection, seconds: float) -> tuple[str, ...]:
        disturbing = disturbs(injection, self._script.timetable, self._policies)
        return await wait_quiet(prometheus, injection.lane, seconds, disturbing)

    def _redact_logs(self) -> None:
        """A component may have written a credential of its lane into its log, in an address for example."""
        for log in (self._script.folder / "logs").glob("*.log"):
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
