"""How long does a restore take, and how does that grow? Prints every drill and the line through them.

    python benchmarks/restore.py [gate|full] [KIND …]

Exit code 1 where a drill could not be carried out, or a content was not what had been written.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path

from harness.cli import cache_folder
from harness.drive.keeping import Sizes
from harness.drive.keeping.registry import KEEPERS
from harness.drive.keeping.stage import artifacts_to_keep, keep
from harness.model.events import Payload
from harness.model.keeping import RestoreDrilled, RetentionProbed
from harness.run import load_policies
from harness.stack.guard import Guard
from harness.stack.provision.fetch import fetch
from harness.stack.runtimes.process import ProcessRuntime
from harness.verdict.growth import fit

HOUR = 3600.0


def say(text: str) -> None:
    """A sentence of progress."""
    sys.stderr.write(f"{text}\n")


async def measure(sizes: Sizes, kinds: tuple[str, ...]) -> list[Payload]:
    """The events of a keeping stage of its own."""
    policies = load_policies(Path("policies")).policies
    cache = cache_folder()
    artifacts = await fetch(artifacts_to_keep(policies), cache, say)
    keepers = tuple(keeper for keeper in KEEPERS if not kinds or keeper.kind in kinds)
    events: list[Payload] = []
    with tempfile.TemporaryDirectory() as folder:
        async with Guard.open(f"restore-benchmark-{os.getpid()}", cache) as guard:
            runtime = ProcessRuntime(guard)
            try:
                await keep(
                    policies, artifacts, Path(folder), runtime, guard, events.append,
                    cache=cache, sizes=sizes, keepers=keepers,
                )  # fmt: skip
            finally:
                await runtime.close()
    return events


def told(events: list[Payload]) -> tuple[list[str], bool]:
    """Lines for a person, and whether every drill was carried out and brought everything back."""
    drills = [one for one in events if isinstance(one, RestoreDrilled)]
    lines = [
        f"{one.store}: {one.error.splitlines()[0]}"
        for one in events
        if isinstance(one, RestoreDrilled | RetentionProbed) and one.error
    ]
    for store in dict.fromkeys(one.store for one in drills):
        done = [one for one in drills if one.store == store and not one.error]
        lines.extend(
            f"{store:<12} {one.records:>10,} records {one.bytes / 1e6:>9.2f} MB  backup {one.backup_seconds:>7.2f} s  "
            f"restore {one.restore_seconds:>7.2f} s  {'equal' if one.equal else 'NOT EQUAL'}"
            for one in done
        )
        growth = fit([(one.bytes, one.restore_seconds) for one in done])
        lines.append(f"{store:<12} {growth.told(HOUR, '1 h') if growth else 'no growth can be fitted'}")
    return lines, bool(drills) and all(one.equal for one in drills)


def main() -> int:
    """Measures and prints."""
    words = sys.argv[1:]
    sizes = Sizes(words[0]) if words else Sizes.FULL
    began = time.monotonic()
    lines, good = told(asyncio.run(measure(sizes, tuple(words[1:]))))
    sys.stdout.write(f"{os.cpu_count()} cores, sizes {sizes}, {time.monotonic() - began:.0f} s\n")
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
