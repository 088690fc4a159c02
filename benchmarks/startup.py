"""How long the command and a cached stack take to answer: `python benchmarks/startup.py [RUNS]`.

Prints medians of whole processes; figures are compared with each other within one run, never across machines.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence


def seconds(command: Sequence[str]) -> float:
    """Wall seconds of one whole process that must succeed."""
    began = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - began


def median(command: Sequence[str], runs: int) -> float:
    """Median wall seconds after one run that is not counted."""
    seconds(command)
    return statistics.median(seconds(command) for _ in range(runs))


def main() -> None:
    """Measures and prints one line for each command."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 9
    tocsin = [sys.executable, "-m", "harness"]
    sys.stdout.write(f"{os.cpu_count()} cores\n")
    bare = median([sys.executable, "-c", "pass"], runs)
    for name, arguments in (("--version", ["--version"]), ("stack fetch, all cached", ["stack", "fetch"])):
        found = median([*tocsin, *arguments], runs)
        sys.stdout.write(f"tocsin {name:<26} {found:.3f} s  ({found / bare:.1f} x an empty Python)\n")


if __name__ == "__main__":
    main()
