"""Events on their way to the collector: never in the way of a request, and none lost that was announced.

A request only puts its events into a bounded queue; what finds no room there is counted and was never announced. A
batch is written to a file of ours, announced (`model/records.py`), and posted again and again under the same identities
until the collector acknowledges it. After our death the next life finds the batch in the file and posts it first; what
had not been announced by then was never posted either, and is dropped.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, Self

import aiohttp
import orjson

from harness.model.records import Announced, announced_from, identity
from harness.stack.manifest import Manifest
from harness.stack.subject.happenings import KINDS, Happening, Seen, happenings
from harness.stack.subject.logs import Json
from harness.stack.subject.settings import Announcing

IN_FLIGHT: Final = "events.in-flight"
MOST_WAITING: Final = 10_000
BATCH: Final = 500
LINGER_SECONDS: Final = 1.0
"""How long a first event waits for others to go with it: each batch costs the collector an fsync."""

ANSWER_SECONDS: Final = 5.0
FIRST_PAUSE_SECONDS: Final = 0.1
LONGEST_PAUSE_SECONDS: Final = 2.0


class Events(Protocol):
    """Where the events of requests go."""

    def request(self, seen: Seen) -> None:
        """A request was answered. Returns at once, whatever becomes of its events."""


class NoEvents:
    """For who has no collector."""

    def request(self, seen: Seen) -> None:
        """Nothing."""


@dataclass(frozen=True, slots=True)
class _Named:
    """An event that is ready to go: its identity, the event itself, its announcement where somebody asks for it."""

    name: str
    line: bytes
    announced: Announced | None


class EventSender:
    """Sends events to a collector.

    Args:
        url: the collector's `http://HOST:PORT`, without a path.
        folder: where the batch under way is kept; made when missing.
        environment: the lane, as every event says it.
        instance: this instance; begins the identities where nobody asks for announcements.
        lost: told how many events were given up.
        announcing: where events are announced; None: nobody asks.
    """

    def __init__(
        self,
        url: str,
        folder: Path,
        *,
        environment: str,
        instance: str,
        lost: Callable[[int], None],
        announcing: Announcing | None = None,
    ) -> None:
        self._url = f"{url.rstrip('/')}/events"
        self._file = folder / IN_FLIGHT
        self._environment = environment
        self._instance = instance
        self._lost = lost
        self._announcing = announcing
        self._manifests: dict[str, Manifest] = {}
        self._leaving = ExitStack()
        self._waiting: deque[Happening] = deque()
        self._come = asyncio.Event()
        self._numbers = count(1)
        self._life = str(int(time.time()))
        self._under_way: dict[str, str] = {}
        self._complained = ""

    def __enter__(self) -> Self:
        """Opens the manifests.

        Raises:
            OSError: they, or the folder, cannot be opened.
        """
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with ExitStack() as opened:
            if (to := self._announcing) is not None:
                for kind in KINDS:
                    manifest = Manifest(to.folder, run=to.run, source=kind, lane=to.lane)
                    self._manifests[kind] = opened.enter_context(manifest)
            self._leaving = opened.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Withdraws what was not acknowledged, counts what was not sent, closes the manifests."""
        for name, of_kind in self._under_way.items():
            if (manifest := self._manifests.get(of_kind)) is not None:
                try:
                    manifest.withdraw(name)
                except OSError as failed:
                    self._complain(f"an event cannot be withdrawn: {failed}")
        self._lost(len(self._waiting) + len(self._under_way))
        self._leaving.close()

    def request(self, seen: Seen) -> None:
        """Queues the events of a request, or counts them as lost where the queue is full."""
        for happening in happenings(seen, self._environment):
            if len(self._waiting) >= MOST_WAITING:
                self._lost(1)
            else:
                self._waiting.append(happening)
        self._come.set()

    async def run(self) -> None:
        """Sends for as long as it is not cancelled."""
        timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
        async with aiohttp.ClientSession(timeout=timeout, trust_env=False) as session:
            await self._deliver(session, self._left_over())
            while True:
                await self._come.wait()
                await asyncio.sleep(LINGER_SECONDS)
                self._come.clear()
                while self._waiting:
                    await self._deliver(session, self._next_batch())

    def _next_batch(self) -> list[bytes]:
        """Takes events from the queue, gives them identities, keeps and announces them; what cannot be is given up."""
        named: dict[str, list[_Named]] = {}
        for happening in [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]:
            named.setdefault(happening.kind, []).append(self._named(happening))
        try:
            self._keep([one.line for of_kind in named.values() for one in of_kind])
        except OSError as error:
            self._give_up(sum(map(len, named.values())), error)
            return []
        lines: list[bytes] = []
        for kind, of_kind in named.items():
            try:
                if (manifest := self._manifests.get(kind)) is not None:
                    manifest.announce([one.announced for one in of_kind if one.announced is not None])
            except OSError as error:
                self._give_up(len(of_kind), error)
                continue
            lines.extend(one.line for one in of_kind)
            self._under_way.update((one.name, kind) for one in of_kind)
        return lines

    def _named(self, happening: Happening) -> _Named:
        """An event with its identity, and what there is to announce of it."""
        manifest = self._manifests.get(happening.kind)
        if manifest is not None:
            name = manifest.next_identity()
        else:
            name = identity(self._instance, self._life, next(self._numbers))
        metadata = happening.record["metadata"]
        record: dict[str, Json] = {
            **happening.record,
            "metadata": {"sequence": name, **(metadata if isinstance(metadata, dict) else {})},
        }
        announced = manifest.announced(name, record, record.keys()) if manifest is not None else None
        return _Named(name, orjson.dumps(record), announced)

    def _give_up(self, events: int, error: OSError) -> None:
        self._lost(events)
        self._complain(f"events cannot be announced: {error}")

    async def _deliver(self, session: aiohttp.ClientSession, lines: Sequence[bytes]) -> None:
        """Posts a batch until the collector has acknowledged it."""
        if not lines:
            return
        body, pause = b"\n".join(lines), FIRST_PAUSE_SECONDS
        while (trouble := await self._post(session, body)) is not None:
            self._complain(trouble)
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
        self._complained = ""
        self._under_way.clear()
        self._file.unlink(missing_ok=True)

    async def _post(self, session: aiohttp.ClientSession, body: bytes) -> str | None:
        """One attempt; None where it was acknowledged."""
        try:
            async with session.post(self._url, data=body, headers={"Content-Type": "application/x-ndjson"}) as answer:
                told = await answer.text()
        except TimeoutError:
            return f"the event collector did not answer within {ANSWER_SECONDS:g} s"
        except (aiohttp.ClientError, OSError) as error:
            return f"the event collector cannot be reached: {error}"
        if answer.status != 200:
            return f"the event collector answers {answer.status}: {told[:200]}"
        rejected = orjson.loads(told).get("rejected", 0)
        if rejected:
            self._complain(f"the event collector rejected {rejected} events: {told[:500]}")
        return None

    def _keep(self, lines: Sequence[bytes]) -> None:
        """Writes the batch under way where the next life finds it."""
        fresh = self._file.with_suffix(".fresh")
        fresh.write_bytes(b"\n".join(lines) + b"\n")
        fresh.replace(self._file)

    def _left_over(self) -> list[bytes]:
        """What an earlier life had announced and not delivered."""
        try:
            lines = self._file.read_bytes().split(b"\n")
        except FileNotFoundError:
            return []
        except OSError as error:
            self._complain(f"what an earlier life left cannot be read: {error}")
            return []
        names = {line: _who(line) for line in lines if line}
        if (to := self._announcing) is not None:
            known = _announced(to, {name for name, _ in names.values()})
            names = {line: (name, kind) for line, (name, kind) in names.items() if name in known}
        self._under_way.update(names.values())
        return list(names)

    def _complain(self, sentence: str) -> None:
        if sentence != self._complained:
            self._complained = sentence
            print(sentence, file=sys.stderr)  # noqa: T201  # the last resort


def _who(line: bytes) -> tuple[str, str]:
    """The identity and the kind of an event that we wrote ourselves."""
    event: Mapping[str, Mapping[str, str]] = orjson.loads(line)
    return event["metadata"]["sequence"], str(event["kind"])


def _announced(to: Announcing, names: set[str]) -> set[str]:
    """Which of these identities an earlier life has announced; each names the manifest that would say so."""
    found: set[str] = set()
    for epoch in {name.split("/")[1] for name in names if name.startswith(f"{to.run}/")}:
        try:
            with (to.folder / f"{epoch}.tsv").open("rb") as file:
                said = {one.identity for line in file if (one := announced_from(line)) is not None}
        except OSError:
            continue
        found |= names & said
    return found
