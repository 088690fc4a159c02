"""What of this machine will work, what will not, and what to do about it."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from harness.model.stack import Artifact

if TYPE_CHECKING:
    from harness.stack.provision.cache import Lack

FIRST_BYTES = 5 * 1024**3
"""Room that the first provisioning takes at its peak (measured: 3.6 GiB, most of it what Go keeps while it builds)."""

RUN_BYTES = 512 * 1024**2
"""Room that a run takes in a cache that is complete: its sandbox, with a database in every lane."""

OLDEST: Mapping[str, tuple[int, ...]] = {"debian": (12,), "ubuntu": (24, 4)}
"""Oldest releases whose own packages are known to work, by the id of os-release."""

_ANSWER_SECONDS = 1.0
_GIB = 1024**3


@dataclass(frozen=True, slots=True)
class Advice:
    """One thing that was looked at: `state` is yes or no; `needed` where no run is possible without it."""

    what: str
    state: str
    seen: str
    needed: bool
    do: str = ""


def _advice(what: str, works: bool, seen: str, do: str, *, needed: bool = True) -> Advice:
    return Advice(what, "yes" if works else "no", seen, needed, "" if works else do)


def _answers(*command: str) -> bool:
    """Whether a program is there and says within a second that all is well."""
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_ANSWER_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def _python() -> Advice:
    found = platform.python_version()
    return _advice("Python 3.11 or newer", sys.version_info >= (3, 11), found, "install python3.11 or newer")


def _system(*, needed: bool) -> Advice:
    try:
        told = platform.freedesktop_os_release()
    except OSError:
        told = {}
    name = told.get("PRETTY_NAME", platform.platform())
    release = tuple(int(part) for part in told.get("VERSION_ID", "").split(".") if part.isdigit())
    too_old = bool(release) and release < OLDEST.get(told.get("ID", ""), ())
    missing = [program for program in ("apt-get", "dpkg-deb") if shutil.which(program) is None]
    seen = name + (", too old" if too_old else "") + "".join(f", no {program}" for program in missing)
    return _advice(
        "packages by apt, unpacked privately", not missing and not too_old, seen,
        "use Debian 12, Ubuntu 24.04 or newer", needed=needed,
    )  # fmt: skip


def _go() -> Advice:
    go = shutil.which("go")
    return Advice("Go toolchain", "yes", go or "none; one is unpacked into the cache when it is needed", needed=False)


def _java() -> Advice:
    missing = [name for name, program in (("JDK", "javac"), ("Maven", "mvn")) if shutil.which(program) is None]
    seen = f"no {' and no '.join(missing)}; unpacked into the cache when it is needed" if missing else "both"
    return Advice("JDK and Maven (for OpenSearch)", "yes", seen, needed=False)


def _pip() -> Advice:
    there = find_spec("pip") is not None
    return _advice("pip (for chdb, which answers as ClickHouse)", there, "there" if there else "none in this Python",
                   "python -m ensurepip; until then ClickHouse's part is unverified", needed=False)  # fmt: skip


def _cache(cache: Path, needed_bytes: int) -> Advice:
    do = f"set TOCSIN_CACHE to a folder of yours with {needed_bytes / _GIB:g} GiB free"
    try:
        existing = next(parent for parent in (cache, *cache.parents) if parent.exists())
        free = shutil.disk_usage(existing).free
    except OSError as error:
        return _advice("cache folder", False, f"{cache}: {error.strerror}", do)
    if not existing.is_dir():
        return _advice("cache folder", False, f"{existing} is no folder", do)
    writable = os.access(existing, os.W_OK | os.X_OK)
    seen = f"{cache}, {free / _GIB:.1f} GiB free" + ("" if writable else ", not writable")
    return _advice("cache folder", writable and free >= needed_bytes, seen, do)


def _components(found: Sequence[Artifact | Lack]) -> Advice:
    lacks = [one for one in found if not isinstance(one, Artifact)]
    missing = ", ".join(f"{one.name} ({one.reason})" if one.reason else one.name for one in lacks)
    there = ", ".join(f"{one.name} {one.version}" for one in found if isinstance(one, Artifact))
    return _advice(
        "real components in the cache", not lacks, f"missing: {missing}" if missing else there,
        "tocsin stack fetch", needed=False,
    )  # fmt: skip


def _cores() -> Advice:
    cores = len(os.sched_getaffinity(0))
    return _advice("two processor cores", cores >= 2, str(cores),
                   "use a larger machine where trials are inconclusive: a starved harness may not judge",
                   needed=False)  # fmt: skip


def _git() -> Advice:
    git = shutil.which("git")
    return _advice("git (to count the runs on a commit)", git is not None, git or "none",
                   "install git; until then every run calls itself the first attempt", needed=False)  # fmt: skip


def _engine() -> Advice:
    works = _answers("docker", "version", "--format", "{{.Server.Version}}")
    return _advice("container engine (for the container runtime)", works, "answers" if works else "none answers",
                   "nothing: the process runtime needs none", needed=False)  # fmt: skip


def examine(cache: Path) -> tuple[Advice, ...]:
    """Looks at this machine, in well under two seconds; starts nothing that stays and asks no registry."""
    from harness.stack.provision.cache import look_up
    from harness.stack.provision.catalog import CATALOG

    found = [look_up(package, cache.absolute()) for package in CATALOG]
    complete = all(isinstance(one, Artifact) for one in found)
    return (
        _python(),
        _system(needed=not complete),
        _go(),
        _java(),
        _pip(),
        _cache(cache, RUN_BYTES if complete else FIRST_BYTES),
        _components(found),
        _cores(),
        _git(),
        _engine(),
    )


def what_to_do(advice: Sequence[Advice]) -> str:
    """The one thing to do next, as a sentence."""
    unmet = [row for row in advice if row.state == "no"]
    for row in unmet:
        if row.needed:
            return f"no run is possible here yet: {row.do}"
    for row in unmet:
        if row.do.startswith("tocsin "):
            return f"next: {row.do}"
    return "next: make slo, or tocsin run"


def as_text(advice: Sequence[Advice]) -> str:
    """A line for each thing that was looked at, what to do about it below, and in the end what to do next."""
    lines = []
    for row in advice:
        lines.append(f"{row.state:<4} {row.what}: {row.seen}")
        if row.do:
            lines.append(f"       -> {row.do}")
    return "\n".join([*lines, "", what_to_do(advice)])


def as_json(advice: Sequence[Advice]) -> str:
    """The same as JSON, schema `tocsin/doctor/1`."""
    told = {"schema": "tocsin/doctor/1", "checks": [asdict(row) for row in advice], "next": what_to_do(advice)}
    return json.dumps(told, indent=2)
