"""The bench on which sabotages are tried: one stack; something is spoilt, drilled, judged, mended, and quiet again."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from itertools import cycle
from pathlib import Path

from aiohttp import ClientError, ClientSession
from sabotage_sink import DropsEveryTenth
from sabotages import Change, Means, Sabotage

from harness import __version__
from harness.drive.faults.registry import FAULTS
from harness.drive.interruption import Interruption
from harness.drive.plan.timetable import plan
from harness.errors import HarnessError, PolicyError, StackError
from harness.model.events import Event, Injected, RunEnded, RunStarted
from harness.model.findings import Finding
from harness.model.plan import Injection, Profile, Timetable, Traits
from harness.model.policy import RECORD_KINDS, Policies
from harness.model.sinks import Behaviour
from harness.model.stack import SHARED
from harness.model.time import rfc3339
from harness.model.verdicts import Judgement
from harness.observe.asking import NoAnswer, ask
from harness.observe.declaration import declare
from harness.observe.folder import new_folder
from harness.observe.ledger import Ledger, read
from harness.rehearsal import Rehearsal, Script, Standing
from harness.run import load_policies
from harness.stack import probe
from harness.verdict.judge import judge

PROJECT = Path(__file__).parent.parent
LANES = ("lane-01", "lane-02", "lane-03")
SEED = 4
_QUIET_SECONDS = 180.0
_STILL_SECONDS = 6.0
"""A group's interval (5 s) and a second: whoever has something left to say has said it."""
_POLL_SECONDS = 0.2
_RELOAD_SECONDS = 10.0
_EXPORTER = "redis-exporter"
_ALERTMANAGER = "alertmanager"


@dataclass(frozen=True)
class Tried:
    """What came of a sabotage.

    Args:
        judgement: the ordinary judge's word; None where it could not be tried.
        read: ids of what `tocsin` finds in the spoilt policies before anything starts.
        seconds: how long it took, from quiet to quiet.
        failure: why it could not be tried, or not be mended.
    """

    judgement: Judgement | None
    read: tuple[str, ...] = ()
    seconds: float = 0.0
    failure: str = ""


def try_all(sabotages: Sequence[Sabotage], folder: Path, cache: Path, say: Callable[[str], None]) -> dict[str, Tried]:
    """Tries sabotages one after another on one stack; by name what came of each.

    Args:
        sabotages: what is tried.
        folder: takes the spoilt copies, the ledgers and the logs.
        cache: where real components are kept.
        say: takes sentences for a person.

    Raises:
        HarnessError: the stack did not stand.
    """
    return asyncio.run(_try_all(sabotages, folder, cache, say))


async def _try_all(
    sabotages: Sequence[Sabotage], folder: Path, cache: Path, say: Callable[[str], None]
) -> dict[str, Tried]:
    healthy = load_policies(PROJECT / "policies").policies.without(RECORD_KINDS)
    run, place = new_folder(folder)
    script = Script(
        run, healthy, _timetable(healthy, sabotages[0]), cache, place, PROJECT / "loadtests" / "community.py"
    )
    found: dict[str, Tried] = {}
    with Ledger.create(place / "between.jsonl") as between:
        rehearsal = Rehearsal(script, between, say, Interruption(say))
        async with rehearsal.standing() as standing:
            bench = Bench(rehearsal, standing, script, between)
            await bench.quiet()
            for sabotage in sabotages:
                found[sabotage.name] = tried = await bench.try_twice(sabotage)
                say(f"{tried.seconds:5.0f} s  {sabotage.name}: {told(tried)}")
                if tried.failure:
                    break  # what was not mended spoils whatever comes after it
    return found


def told(tried: Tried) -> str:
    """What came of a sabotage, in a sentence."""
    return tried.failure or (tried.judgement.headline if tried.judgement else "nothing is known")


class Bench:
    """A standing stack on which one sabotage after another is tried.

    Args:
        rehearsal: what stood it up.
        standing: the stack.
        script: what is rehearsed while nothing is spoilt.
        between: takes what happens between sabotages.
    """

    def __init__(self, rehearsal: Rehearsal, standing: Standing, script: Script, between: Ledger) -> None:
        self._rehearsal = rehearsal
        self._standing = standing
        self._script = script
        self._between = between
        self._numbers = 0

    async def try_twice(self, sabotage: Sabotage) -> Tried:
        """Tries a sabotage, and once more where the machine was too slow for anybody to say what came of it."""
        tried = await self.try_once(sabotage)
        if tried.judgement is not None and tried.judgement.starved_trials:
            tried = await self.try_once(sabotage)
        return tried

    async def try_once(self, sabotage: Sabotage) -> Tried:
        """Spoils, drills, judges, mends, and waits until all is quiet."""
        began = time.monotonic()
        self._numbers += 1
        place = self._script.folder / f"{self._numbers:02}"
        place.mkdir()
        policies, read_before = spoilt(self._script.policies, sabotage.changes, place / "policies")
        judgement, failure = None, ""
        try:
            async with AsyncExitStack() as mending:
                judgement = await self._tried(sabotage, policies, place, mending)
        except HarnessError as error:
            failure = str(error)
        finally:
            self._rehearsal.turn_to(self._script, self._between)
        try:
            await self.quiet()
        except HarnessError as error:
            failure = f"{failure}\n{error}".strip()
        findings = tuple(dict.fromkeys(finding.id for finding in read_before))
        return Tried(judgement, findings, time.monotonic() - began, failure)

    async def _tried(
        self, sabotage: Sabotage, policies: Policies, place: Path, mending: AsyncExitStack
    ) -> Judgement | None:
        mending.callback(self._rehearsal.turn_to, self._script, self._between)  # last of all
        if await self._restarted(sabotage, policies, mending):
            await self.quiet(watched=False)  # the watchdog too is told only once in a resend delay
        timetable = _timetable(self._script.policies, sabotage)
        with Ledger.create(place / "ledger.jsonl", self._between.redactor) as ledger:
            mending.callback(self._rehearsal.turn_to, self._script, self._between)
            self._rehearsal.turn_to(replace(self._script, policies=policies, timetable=timetable, folder=place), ledger)
            self._declare(ledger, timetable, sabotage)
            began = time.monotonic()
            await self._put(policies, mending)
            async with self._meant(sabotage, ledger, timetable):
                await self._rehearsal.drill(self._standing)
            ledger.write(RunEnded(time.monotonic() - began))
            self._rehearsal.turn_to(self._script, self._between)
        return judge(read(place / "ledger.jsonl"))

    def _declare(self, ledger: Ledger, timetable: Timetable, sabotage: Sabotage) -> None:
        """The beginning of a ledger; what is promised is what the healthy policies promise."""
        ledger.write(
            RunStarted(
                run=f"{self._script.run}-{self._numbers:02}",
                tocsin=__version__,
                profile=timetable.profile,
                seed=timetable.seed,
                attempt=1,
                commit="",
                runtime="process",
                time_scale=1.0,
                policies=sabotage.name,
                cores=os.cpu_count() or 1,
            )
        )
        declare(ledger.write, self._script.policies, (), timetable, {fault.id: fault.signal for fault in FAULTS})

    # --- files --------------------------------------------------------------------------------------------------------

    async def _put(self, policies: Policies, mending: AsyncExitStack) -> None:
        """Has the components work by a spoilt copy, until what is there now is put back."""
        healthy, now = self._standing.copy.files, self._standing.rewired().files
        changed = {name: text for name, text in now.items() if healthy.get(name) != text}
        if not changed:
            return
        mending.push_async_callback(self._load, {name: healthy[name] for name in changed}, policies)
        await self._load(changed, policies)

    async def _load(self, files: dict[str, str], policies: Policies) -> None:
        """Writes files of the copy; who reads them loads them again.

        Raises:
            StackError: they are refused.
        """
        stack = self._standing.stack
        notifying = {policies.alertmanager_file, *policies.template_files}
        if set(files) - notifying:
            await stack.reload_prometheus(files)
        if set(files) & notifying:
            for name in set(files) & notifying:
                (stack.layout.configuration / name).write_text(files[name], encoding="utf-8")
            answer = await probe.ask(
                stack.address(_ALERTMANAGER), "/-/reload", method="POST", within_seconds=_RELOAD_SECONDS
            )
            if not isinstance(answer, probe.Answer) or answer.status != 200:
                raise StackError("Alertmanager did not load the copy", expected="an answer of 200", seen=str(answer))

    async def _restarted(self, sabotage: Sabotage, policies: Policies, mending: AsyncExitStack) -> bool:
        """Starts Prometheus by its spoilt unit, until it is started by its own again; whether its unit is spoilt."""
        own = next(one for one in self._script.policies.components if one.kind == "prometheus")
        assert own.unit is not None
        unit = next(one for one in policies.components if one.kind == "prometheus").unit
        assert unit is not None
        if unit.argv == own.unit.argv:
            assert not any(one.file.startswith("units/") for one in sabotage.changes), "a unit was changed in vain"
            return False
        mending.push_async_callback(self._start_prometheus, own.unit.argv)
        await self._start_prometheus(unit.argv)
        return True

    async def _start_prometheus(self, argv: tuple[str, ...]) -> None:
        stack = self._standing.stack
        name = next(one.name for one in self._script.policies.components if one.kind == "prometheus")
        await stack.lane(SHARED).change_unit(name, argv)
        await stack.wait_first_scrape()

    # --- what is done beside files ------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _meant(self, sabotage: Sabotage, ledger: Ledger, timetable: Timetable) -> AsyncIterator[None]:
        """While this lasts the way of the alerts is disturbed as the sabotage means it."""
        async with AsyncExitStack() as after:
            stack = self._standing.stack
            match sabotage.means:
                case None:
                    pass
                case Means.SINK_DROPS:
                    drops = DropsEveryTenth.of(sabotage.alert, LANES, sabotage.ends)
                    after.callback(self._standing.inbox.clear, drops)
                    self._standing.inbox.interfere(drops)
                case Means.EXPORTER_DOWN:
                    for lane in LANES:
                        after.push_async_callback(stack.lane(lane).let_up, _EXPORTER)
                        await stack.lane(lane).hold_down(_EXPORTER)
                case Means.MAIL_REFUSED:
                    channels = stack.lane(SHARED).channels
                    after.callback(channels.behave, "email")
                    channels.misbehave("email", Behaviour.REFUSE_CONTENT)
                case Means.SILENCED:
                    await after.enter_async_context(self._silenced(sabotage.alert))
                case Means.ALERTMANAGER_AWAY:
                    lanes = {one.lane for one in timetable.injections}
                    away = asyncio.create_task(self._away(sabotage.alert, lanes, ledger), name="Alertmanager is away")
                    after.push_async_callback(_came_back, away)
            yield

    @asynccontextmanager
    async def _silenced(self, alert: str) -> AsyncIterator[None]:
        now = time.time()
        silence = {
            "matchers": [{"name": "alertname", "value": alert, "isRegex": False}],
            "startsAt": rfc3339(now),
            "endsAt": rfc3339(now + 3600),
            "createdBy": "somebody",
            "comment": "for the maintenance of last week",
        }
        async with ClientSession(f"http://{self._standing.stack.address(_ALERTMANAGER)}") as session:
            async with session.post("/api/v2/silences", json=silence, raise_for_status=True) as answer:
                name = (await answer.json())["silenceID"]
            yield
            async with session.delete(f"/api/v2/silence/{name}", raise_for_status=True):
                pass

    async def _away(self, alert: str, lanes: set[str], ledger: Ledger) -> None:
        """Holds Alertmanager down as soon as a fault's effect is proven, until the alert fires in all its lanes."""
        proven = asyncio.Event()

        def hear(event: Event) -> None:
            if isinstance(event.payload, Injected):
                proven.set()

        ledger.subscribe(hear)
        await proven.wait()
        control = self._standing.stack.lane(SHARED)
        await control.hold_down(_ALERTMANAGER)
        try:
            firing = f'count(ALERTS{{alertname="{alert}", alertstate="firing"}}) >= {len(lanes)}'
            async with asyncio.timeout(30), ClientSession(self._prometheus) as session:
                while not await ask(session, firing):  # noqa: ASYNC110 - Prometheus sets no event
                    await asyncio.sleep(_POLL_SECONDS)
            await asyncio.sleep(1.0)  # the evaluation that found it is over, and with it the post that nobody took
        finally:
            await control.let_up(_ALERTMANAGER)

    # --- quiet --------------------------------------------------------------------------------------------------------

    @property
    def _prometheus(self) -> str:
        return f"http://{self._standing.stack.address('prometheus')}"

    async def quiet(self, *, watched: bool = True) -> None:
        """Waits until no alert but the watchdog is anywhere, and nobody has heard anything for a while.

        Args:
            watched: whether Alertmanager must know the watchdog.

        Raises:
            StackError: it did not become quiet.
        """
        inbox = self._standing.inbox
        deadline = time.monotonic() + _QUIET_SECONDS
        heard, since = len(inbox.notifications), time.monotonic()
        while time.monotonic() - since < _STILL_SECONDS:
            left = await self._left({"Watchdog"} if watched else set())
            if left or len(inbox.notifications) != heard:
                heard, since = len(inbox.notifications), time.monotonic()
            if time.monotonic() > deadline:
                raise StackError("It did not become quiet", seen=left or "messages kept coming")
            await asyncio.sleep(_POLL_SECONDS)

    async def _left(self, needed: set[str]) -> str:
        """What is not quiet yet; empty where everything is."""
        try:
            async with ClientSession(self._prometheus) as session:
                series = await ask(session, 'ALERTS{alertname!="Watchdog"}')
            async with (
                ClientSession(f"http://{self._standing.stack.address(_ALERTMANAGER)}") as session,
                session.get("/api/v2/alerts", raise_for_status=True) as answer,
            ):
                known = {one["labels"]["alertname"] for one in await answer.json()}
        except (NoAnswer, ClientError, OSError, TimeoutError) as error:
            return f"somebody does not answer: {error}"
        names = known - {"Watchdog"} | needed - known | {one["metric"]["alertname"] for one in series}
        return ", ".join(sorted(names))


async def _came_back(away: asyncio.Task[None]) -> None:
    """Ends what holds Alertmanager down, should the drill be over before.

    Raises:
        StackError: it never came to its end.
    """
    if not away.done():
        away.cancel()
    await asyncio.wait({away})
    if away.cancelled():
        raise StackError("Alertmanager was not away while the alert began to fire", expected="an alert that fires")
    away.result()


def spoilt(healthy: Policies, changes: Iterable[Change], folder: Path) -> tuple[Policies, tuple[Finding, ...]]:
    """The policies with changes, and what is found in them; where they cannot be run, the healthy ones' native files.

    Whoever deploys files without having them read first runs those. Nothing that only follows records stands.
    """
    shutil.copytree(healthy.root, folder)
    for change in changes:
        path = folder / change.file
        text = path.read_text(encoding="utf-8")
        assert text.count(change.before) == 1, f"{change.file} has {text.count(change.before)} x {change.before!r}"
        path.write_text(text.replace(change.before, change.after), encoding="utf-8")
    try:
        loaded = load_policies(folder)
    except PolicyError as error:
        documents = {name: (folder / name).read_text(encoding="utf-8") for name in healthy.documents}
        return replace(healthy, documents=documents), error.findings
    return loaded.policies.without(RECORD_KINDS), loaded.findings


def _timetable(healthy: Policies, sabotage: Sabotage) -> Timetable:
    """The smoke of an alert, two injections side by side, or again and again until there are as many as it takes.

    What is promised is what the healthy policies promise.
    """
    if sabotage.controls:
        return replace(_smoke(healthy, sabotage, SEED), lanes=LANES)
    trials: list[Injection] = []
    for seed in range(SEED, SEED + sabotage.injections):  # other instants each time
        made = _smoke(healthy, sabotage, seed)
        trials += [replace(one, id=f"{one.id}-{seed}") for one in made.injections if one.control is None]
        if len(trials) >= sabotage.injections:
            break
    placed = tuple(replace(one, lane=lane) for one, lane in zip(trials, cycle(LANES), strict=False))
    return replace(made, lanes=LANES, injections=placed)


def _smoke(healthy: Policies, sabotage: Sabotage, seed: int) -> Timetable:
    return plan(
        healthy.drills,
        healthy.priorities,
        {alert.name: alert for alert in healthy.alerts},
        {fault.id: Traits(fault.touches, fault.reach) for fault in FAULTS},
        profile=Profile.SMOKE,
        seed=seed,
        lanes=len(LANES),
        only=(sabotage.alert, *sabotage.beside),
    )
