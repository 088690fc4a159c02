"""What of this machine will work, what will not, and what to do about it."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

NEEDED_BYTES = 3 * 1024**3
"""Room that the first provisioning takes at its peak (measured: modules and build cache of Alertmanager)."""


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


def _runs(*command: str) -> bool:
    try:
        return subprocess.run(command, capture_output=True, timeout=10, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _python() -> Advice:
    found = platform.python_version()
    return _advice("Python 3.11 or newer", sys.version_info >= (3, 11), found, "install python3.11 or newer")


def _system() -> Advice:
    try:
        name = platform.freedesktop_os_release().get("PRETTY_NAME", "unknown Linux")
    except OSError:
        name = platform.platform()
    apt = shutil.which("apt-get") is not None and shutil.which("dpkg") is not None
    return _advice("packages by apt, unpacked privately", apt, name, "use Debian 12, Ubuntu 24.04 or newer")


def _go() -> Advice:
    go = shutil.which("go")
    return Advice("Go toolchain", "yes", go or "none; one is unpacked into the cache when it is needed", needed=False)


def _cache(cache: Path) -> Advice:
    existing = next(parent for parent in (cache, *cache.parents) if parent.exists())
    writable = os.access(existing, os.W_OK)
    free = shutil.disk_usage(existing).free
    seen = f"{cache}, {free / 1024**3:.0f} GiB free" + ("" if writable else ", not writable")
    return _advice(
        "cache folder", writable and free >= NEEDED_BYTES, seen, "set TOCSIN_CACHE to a folder of yours with 3 GiB free"
    )


def _components(cache: Path) -> Advice:
    from harness.stack.provision.cache import cached
    from harness.stack.provision.catalog import CATALOG

    found = cached(tuple(package.name for package in CATALOG), cache)
    if found is None:
        return _advice("real components in the cache", False, "not all there", "tocsin stack fetch", needed=False)
    versions = ", ".join(f"{artifact.name} {artifact.version}" for artifact in found.values())
    return _advice("real components in the cache", True, versions, "", needed=False)


def _death() -> Advice:
    works = shutil.which("setpriv") is not None
    return _advice("processes that die with the harness", works, "setpriv" if works else "no setpriv",
                   "install util-linux; until then the guard process alone cleans up", needed=False)  # fmt: skip


def _namespaces() -> Advice:
    works = _runs("unshare", "-Urm", "true")
    return _advice("user namespaces (for faults of disk and host)", works, "open" if works else "closed",
                   "faults that need them will be unverified here", needed=False)  # fmt: skip


def _engine() -> Advice:
    works = _runs("docker", "info")
    return _advice("container engine (for the container runtime)", works, "answers" if works else "none answers",
                   "nothing: the process runtime needs none", needed=False)  # fmt: skip


def examine(cache: Path) -> tuple[Advice, ...]:
    """Looks at this machine; starts nothing that stays and asks no registry."""
    return (
        _python(), _system(), _go(), _cache(cache), _components(cache), _death(), _namespaces(), _engine(),
    )  # fmt: skip


def as_text(advice: tuple[Advice, ...]) -> str:
    """A line for each thing that was looked at, and below it what to do."""
    lines = []
    for row in advice:
        lines.append(f"{row.state:<4} {row.what}: {row.seen}")
        if row.do:
            lines.append(f"       -> {row.do}")
    return "\n".join(lines)


def as_json(advice: tuple[Advice, ...]) -> str:
    """The same as JSON, schema `tocsin/doctor/1`."""
    return json.dumps({"schema": "tocsin/doctor/1", "checks": [asdict(row) for row in advice]}, indent=2)
