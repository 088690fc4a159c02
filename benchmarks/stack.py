"""How long a real stack takes to stand, to be scraped and to be gone: `python benchmarks/stack.py [RUNS] [LANES]`.

Every run starts the policies' own components from the cache in a sandbox of its own. Printed are medians over the runs:
ready of an infrastructure component (all but the subject, over all of them), all of them ready, the subjects ready, the
first scrape of every target counted from the start of Prometheus, and everything gone.
"""

from __future__ import annotations

import asyncio
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.cli import cache_folder
from harness.model.events import ComponentReady, Payload
from harness.policy.rewire.rewiring import rewire
from harness.run import load_policies
from harness.stack.guard import Guard
from harness.stack.layout import artifacts_needed, lay_out
from harness.stack.provision.fetch import fetch
from harness.stack.runtimes.process import ProcessRuntime
from harness.stack.stack import Stack


@dataclass(frozen=True, slots=True)
class Round:
    """One start and stop, in seconds."""

    ready: tuple[float, ...]
    infrastructure: float
    subjects: float
    scraped: float
    gone: float


async def once(policies_folder: Path, lanes: Sequence[str], logs: Path) -> Round:
    """Starts everything, waits for the first scrapes, stops it."""
    policies = load_policies(policies_folder).policies
    cache = cache_folder()
    artifacts = await fetch(artifacts_needed(policies), cache, print)
    told: list[tuple[float, Payload]] = []
    async with Guard.open(f"bench-{secrets.token_hex(3)}", cache) as guard:
        layout = lay_out(policies, artifacts, lanes, run=guard.run, sandbox=guard.sandbox, logs=logs, cache=cache)
        copy = rewire(policies, layout.sandbox([]))
        stack = Stack(layout, ProcessRuntime(guard), lambda event: told.append((time.monotonic(), event)))
        began = time.monotonic()
        await stack.up({**copy.files, policies.prometheus_file: copy.cold})
        await stack.wait_first_scrape()
        scraped = time.monotonic() - began
        stopping = time.monotonic()
        await stack.down()
        gone = time.monotonic() - stopping
    ready = [(at - began, event.report) for at, event in told if isinstance(event, ComponentReady)]
    infrastructure = [(at, report) for at, report in ready if report.name != "community-platform"]
    return Round(
        ready=tuple(report.ready_seconds for _, report in infrastructure),
        infrastructure=max(at for at, _ in infrastructure),
        subjects=max(at for at, _ in ready),
        scraped=scraped,
        gone=gone,
    )


def main() -> None:
    """Measures and prints medians, with the range of the runs."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    lanes = [f"lane-{number:02}" for number in range(1, (int(sys.argv[2]) if len(sys.argv) > 2 else 3) + 1)]
    with tempfile.TemporaryDirectory() as logs:
        rounds = [asyncio.run(once(Path("policies"), lanes, Path(logs))) for _ in range(runs)]
    rows = {
        "an infrastructure component ready": [statistics.median(one.ready) for one in rounds],
        "all infrastructure ready": [one.infrastructure for one in rounds],
        "everything ready, subjects too": [one.subjects for one in rounds],
        "first scrape of every target": [one.scraped for one in rounds],
        "everything gone": [one.gone for one in rounds],
    }
    sys.stdout.write(f"{len(lanes)} lanes, {len(rounds[0].ready)} infrastructure components, {runs} runs\n")
    for name, values in rows.items():
        sys.stdout.write(
            f"{name:<36} median {statistics.median(values):.2f} s  ({min(values):.2f} to {max(values):.2f})\n"
        )


if __name__ == "__main__":
    main()
