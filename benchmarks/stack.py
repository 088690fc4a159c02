"""How long a real stack takes to stand, to be scraped and to be gone: `python benchmarks/stack.py [RUNS] [LANES …]`.

Every run starts the policies' own components from the cache in a sandbox of its own, with the rewired copy that a run
would load and with a sink for every channel. Measured for 6 lanes (as many as a smoke run uses at most) and 12 (a
gate), five runs each, unless told otherwise. Printed are medians over the runs, with their range: ready of an
infrastructure component (all but the subjects, the median over all of them), all of these ready, the subjects too, the
first scrape of every target counted from the start of Prometheus, and everything stopped.

The exit code is 1 where the median of an infrastructure component's readiness, or that of the stop, is longer than it
must be, or where a target was not up at the end.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from harness.cli import cache_folder
from harness.model.events import ComponentReady, Payload
from harness.model.policy import Policies
from harness.observe.certificates import write_certificate
from harness.observe.channels.registry import CHANNELS
from harness.policy.rewire.rewiring import rewire
from harness.run import load_policies
from harness.stack.guard import Guard
from harness.stack.layout import artifacts_needed, lay_out
from harness.stack.provision.fetch import fetch
from harness.stack.runtimes.process import ProcessRuntime
from harness.stack.stack import Stack
from harness.stack.start import SUBJECT

READY_SECONDS = 0.6
"""What the median infrastructure component may take until it is ready, from the cache."""

STOPPED_SECONDS = 0.3
"""What the stop of everything may take."""

RUNS = 5
LANES = (6, 12)


@dataclass(frozen=True, slots=True)
class Round:
    """One start and stop: seconds since everything was started, `stopped` since the stop began.

    `ready` has every infrastructure component by itself, with its kind; `down` are targets that were not up at the end
    of the wait.
    """

    ready: tuple[tuple[str, float], ...]
    infrastructure: float
    subjects: float
    scraped: float
    stopped: float
    down: tuple[str, ...] = ()


def in_time(told: Sequence[tuple[float, Payload]], scraped: float, stopped: float, down: Sequence[str]) -> Round:
    """A round from the events of a stack, each with the seconds since everything was started."""
    ready = [(at, event.report) for at, event in told if isinstance(event, ComponentReady)]
    infrastructure = [(at, report) for at, report in ready if report.of_kind != SUBJECT]
    return Round(
        ready=tuple((report.of_kind, report.ready_seconds) for _, report in infrastructure),
        infrastructure=max(at for at, _ in infrastructure),
        subjects=max(at for at, _ in ready),
        scraped=scraped,
        stopped=stopped,
        down=tuple(down),
    )


async def once(policies: Policies, lanes: Sequence[str], logs: Path) -> Round:
    """Starts everything, waits for the first scrapes, stops it."""
    cache = cache_folder()
    artifacts = await fetch(artifacts_needed(policies), cache, lambda text: print(text, file=sys.stderr))  # noqa: T201
    told: list[tuple[float, Payload]] = []
    async with AsyncExitStack() as exits:
        guard = await exits.enter_async_context(Guard.open(f"bench-{secrets.token_hex(3)}", cache))
        certificate = write_certificate(guard.sandbox / "certificates")
        # Nobody reads what arrives, but Alertmanager and the listener are to have somebody to speak to.
        sinks = [
            await exits.enter_async_context(channel.open(certificate, lambda _: None, lambda _, __: None))
            for channel in CHANNELS
        ]
        trust = {"SSL_CERT_FILE": str(certificate.authority)}
        layout = lay_out(
            policies,
            artifacts,
            lanes,
            run=guard.run,
            sandbox=guard.sandbox,
            logs=logs,
            cache=cache,
            environment={"alertmanager": trust, "dead-mans-listener": trust},
        )
        copy = rewire(policies, layout.sandbox([sink.binding for sink in sinks]))
        async with Stack(layout, ProcessRuntime(guard), lambda event: told.append((time.monotonic(), event))) as stack:
            began = time.monotonic()
            await stack.up(copy.files)
            down = await stack.wait_first_scrape()
            scraped = time.monotonic() - began
            stopping = time.monotonic()
            await stack.down()
            stopped = time.monotonic() - stopping
    return in_time([(at - began, event) for at, event in told], scraped, stopped, [str(target) for target in down])


def table(lanes: int, rounds: Sequence[Round]) -> str:
    """The figures of one number of lanes as lines for a person."""
    rows = {
        "an infrastructure component ready": [_median(one.ready) for one in rounds],
        "all infrastructure ready": [one.infrastructure for one in rounds],
        "everything ready, subjects too": [one.subjects for one in rounds],
        "first scrape of every target": [one.scraped for one in rounds],
        "everything stopped": [one.stopped for one in rounds],
    }
    lines = [f"{lanes} lanes, {len(rounds[0].ready)} infrastructure components, {len(rounds)} runs"]
    lines += [
        f"  {name:<36} median {statistics.median(values):5.2f} s  ({min(values):.2f} to {max(values):.2f})"
        for name, values in rows.items()
    ]
    kinds = sorted({kind for one in rounds for kind, _ in one.ready})
    by_kind = {kind: _median([of for one in rounds for of in one.ready if of[0] == kind]) for kind in kinds}
    slowest = sorted(by_kind, key=lambda kind: -by_kind[kind])
    lines.append(f"  by kind: {', '.join(f'{kind} {by_kind[kind]:.2f} s' for kind in slowest)}")
    lines += [f"  missed: {sentence}" for sentence in missed(rounds)]
    return "".join(f"{line}\n" for line in lines)


def _median(ready: Sequence[tuple[str, float]]) -> float:
    return statistics.median(seconds for _, seconds in ready)


def missed(rounds: Sequence[Round]) -> Iterator[str]:
    """What had to be and was not, in sentences."""
    ready = _median([of_kind for one in rounds for of_kind in one.ready])
    stopped = statistics.median(one.stopped for one in rounds)
    if ready > READY_SECONDS:
        yield f"an infrastructure component is ready after {ready:.3f} s, and {READY_SECONDS} s are allowed"
    if stopped > STOPPED_SECONDS:
        yield f"everything is stopped after {stopped:.3f} s, and {STOPPED_SECONDS} s are allowed"
    for down in sorted({target for one in rounds for target in one.down}):
        yield f"not up at the end of the wait: {down}"


def main(arguments: Sequence[str]) -> int:
    """Measures and prints a table for each number of lanes; the exit code says whether something was missed."""
    runs, *lanes = (int(argument) for argument in arguments or [str(RUNS)])
    policies = load_policies(Path("policies")).policies
    sys.stdout.write(f"{os.cpu_count()} cores\n")
    good = True
    for count in lanes or LANES:
        names = [f"lane-{number:02}" for number in range(1, count + 1)]
        with tempfile.TemporaryDirectory() as logs:
            rounds = [asyncio.run(once(policies, names, Path(logs))) for _ in range(runs)]
        sys.stdout.write(table(count, rounds))
        sys.stdout.flush()
        good = good and not any(missed(rounds))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
