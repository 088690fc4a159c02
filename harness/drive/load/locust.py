"""Locust as a subprocess: one process for all lanes, its raw samples read as they are written.

Locust is never imported here: importing it patches the whole process. It is started through the runtime like a
component, gets an environment of its own and listens nowhere.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from harness.drive.load.announced import MANIFESTS, RUN
from harness.drive.load.samples import Sample, SampleReader, measure
from harness.errors import ComponentDied, HarnessError, NotReady, UsageError
from harness.model.events import LoadMeasured
from harness.model.stack import Address
from harness.stack.runtimes import Launch, Running, Runtime

NOWHERE: Final = Address("127.0.0.1", 0)
"""Locust's address in its launch: it opens no port."""

STOP_SECONDS: Final = 3.0
"""For Locust to end its users and to write its last samples."""

_POLL_SECONDS = 0.05
_TAIL_LINES = 12
_FRAME = re.compile(r'\s*File "(?P<file>[^"]+)", line (?P<line>\d+)')


class LocustLoad:
    """The load of one run: started once, stopped once."""

    def __init__(self) -> None:
        self._running: Running | None = None
        self._lanes: tuple[str, ...] = ()
        self._locustfile = Path()
        self._path = Path()
        self._offset = 0
        self._ended_at: float | None = None
        self._reader = SampleReader()
        self._samples: list[Sample] = []
        self._stopped = False

    @property
    def alive(self) -> bool:
        """Whether it runs. Load that ended by itself leaves lanes without traffic: nothing of them can be judged."""
        return self._running is not None and self._running.alive

    async def start(
        self,
        runtime: Runtime,
        lanes: Mapping[str, Address],
        *,
        locustfile: Path,
        users_per_lane: int,
        samples: Path,
        log: Path,
        directory: Path,
        environment: Mapping[str, str] | None = None,
        announcing: tuple[Path, str] | None = None,
    ) -> None:
        """Starts Locust; returns as soon as its process exists. `flowing` waits for its requests.

        Args:
            runtime: what runs it; a process runtime, since it is a program of ours.
            lanes: the address of the subject in every lane.
            locustfile: the journeys; may be the user's own, must read TOCSIN_LANES and write TOCSIN_SAMPLES.
            users_per_lane: how many users each lane gets.
            samples: where raw samples go; made anew.
            log: where Locust's output goes.
            directory: its working folder and its home.
            environment: more variables for it, e.g. the run's mark, by which it is found when the harness is gone.
            announcing: the run's folder of manifests and its id, where the load goes through an nginx whose log is held
                to account; else nothing is announced.

        Raises:
            UsageError: there is nothing to start: no lanes, no users, no locustfile, or one that is not Python.
            StackError: the process could not be started.
        """
        if not lanes or users_per_lane < 1:
            raise UsageError(f"Load needs lanes and users, not {len(lanes)} lanes with {users_per_lane} users each")
        if self._running is not None:
            raise HarnessError("This load was started already")
        _check(locustfile)
        directory.mkdir(parents=True, exist_ok=True)
        samples.unlink(missing_ok=True)
        self._lanes, self._locustfile, self._path = tuple(lanes), locustfile.resolve(), samples.resolve()
        users = users_per_lane * len(lanes)
        self._running = await runtime.start(
            Launch(
                name="locust",
                lane=None,
                argv=(
                    sys.executable, "-m", "locust", "--locustfile", str(self._locustfile), "--headless",
                    "--users", str(users), "--spawn-rate", str(users), "--only-summary", "--loglevel", "WARNING",
                    "--exit-code-on-error", "0",
                ),
                environment={
                    **_environment(lanes, self._path, directory),
                    **({} if announcing is None else {MANIFESTS: str(announcing[0]), RUN: announcing[1]}),
                    **(environment or {}),
                },
                directory=directory,
                log=log,
                address=NOWHERE,
            )
        )  # fmt: skip

    async def flowing(self, deadline_seconds: float, minimum: int = 1) -> None:
        """Waits until every lane has answered at least `minimum` requests, with whatever status.

        Raises:
            UsageError: the locustfile does not load.
            NotReady: Locust ended, or a lane's answers did not come in time; says which.
        """
        running = self._started()
        started = time.monotonic()
        try:
            async with asyncio.timeout(deadline_seconds):
                while min(self._answered().values()) < minimum:
                    if not running.alive:
                        raise self._did_not_run(running, time.monotonic() - started)
                    await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError:
            raise NotReady(
                "The load does not reach every lane",
                expected=f"at least {minimum} answered requests in each of {len(self._lanes)} lanes",
                seen=self._lanes_told(),
                waited_seconds=time.monotonic() - started,
                output=running.tail(_TAIL_LINES),
                hint="0 answers with requests: the lane's application is not reached; no requests: see Locust's log",
            ) from None

    async def ended(self) -> None:
        """Waits until it ends, by itself or by `stop`."""
        await self._started().wait()

    async def stop(self) -> LoadMeasured:
        """Ends the load; what its samples say. May be called twice, and after a start that failed.

        Raises:
            ComponentDied: it had ended before, so that the run was without load for an unknown while.
        """
        if self._running is None:
            return measure(())
        died = not self._stopped and not self._running.alive
        code = await self._running.wait() if died else 0
        if not self._stopped:
            self._stopped, self._ended_at = True, time.time()
            await self._running.stop(STOP_SECONDS)
            self._read()
        if died:
            raise ComponentDied(
                f"The load ended by itself with code {code}",
                expected="Locust runs until it is stopped",
                seen=f"{len(self._samples)} requests until then",
                output=self._running.tail(_TAIL_LINES),
            )
        return measure(self._samples, self._ended_at)

    def _started(self) -> Running:
        if self._running is None:
            raise HarnessError("This load was not started")
        return self._running

    def _answered(self) -> dict[str, int]:
        self._read()
        answered = Counter(sample.lane for sample in self._samples if sample.status)
        return {lane: answered[lane] for lane in self._lanes}

    def _read(self) -> None:
        # The file is not there before Locust has loaded the journeys.
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._offset)
            piece = file.read()
        self._offset += len(piece)
        self._samples.extend(self._reader.feed(piece))

    def _lanes_told(self) -> str:
        sent = Counter(sample.lane for sample in self._samples)
        errors = {sample.lane: sample.error for sample in self._samples if not sample.status}
        return "; ".join(
            f"{lane}: {answers} of {sent[lane]} answered" + (f" (last: {errors[lane]})" if lane in errors else "")
            for lane, answers in self._answered().items()
        )

    def _did_not_run(self, running: Running, waited_seconds: float) -> HarnessError:
        lines = [line for line in running.tail(200) if line.strip()]
        last = lines[-1].strip() if lines else "no output"
        frames = [found for found in map(_FRAME.match, lines) if found and Path(found["file"]) == self._locustfile]
        if frames:
            return UsageError(
                f"The load test does not load: {self._locustfile}:{frames[-1]['line']}",
                seen=last,
                hint=f"try it by hand: locust -f {self._locustfile} --host http://127.0.0.1:5000",
            )
        return NotReady(
            f"Locust ended before the load of {self._locustfile} had reached every lane",
            seen=last,
            waited_seconds=waited_seconds,
            output=lines[-_TAIL_LINES:-1],
        )


def _check(locustfile: Path) -> None:
    """Raises a UsageError for what can be told without starting Locust."""
    try:
        source = locustfile.read_bytes()
    except OSError as error:
        raise UsageError(
            f"The load test {locustfile} cannot be read", seen=error.strerror, hint="a locustfile is a Python file"
        ) from error
    try:
        compile(source, str(locustfile), "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None) or 1
        raise UsageError(f"The load test is not Python: {locustfile}:{line}", seen=str(error)) from error


def _environment(lanes: Mapping[str, Address], samples: Path, directory: Path) -> dict[str, str]:
    """All that Locust gets. Its home is its folder: a `.locust.conf` of the person who runs us has no say here."""
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(directory),
        "TMPDIR": str(directory),
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "TOCSIN_LANES": json.dumps({lane: f"http://{address}" for lane, address in lanes.items()}),
        "TOCSIN_SAMPLES": str(samples),
    }
    if path := os.environ.get("PYTHONPATH"):
        environment["PYTHONPATH"] = path
    return environment
