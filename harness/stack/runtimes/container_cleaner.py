"""The process that outlives the harness by a moment: it removes the containers and networks of a run.

Run as `python -P container_cleaner.py LABEL`. `ContainerRuntime` starts it, holds the far end of its standard input and
says `end` there when it closes in order. At `end` or at end of file (the harness is gone, however that came) everything
that carries the label is removed. The engine is found as the runtime found it, from the same variables.

Exit codes: 0 nothing is left, 1 something is left and the engine does not let it go.
"""

from __future__ import annotations

import signal
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from testcontainers.core.docker_client import DockerClient

PATIENCE_SECONDS = 30.0
"""How long an engine that does not answer, or does not let go, is asked again."""
QUIET_SECONDS = 0.3
"""After a harness that died: how long nothing may turn up before we believe that nothing will. What it asked of the
engine with its last breath is still carried out."""
SCAN_SECONDS = 0.02


def remove(engine: DockerClient, label: str) -> bool:
    """Removes what carries the label, containers first; whether there was anything."""
    containers = engine.client.containers.list(all=True, ignore_removed=True, filters={"label": label})
    for container in containers:
        container.remove(force=True, v=True)
    networks = engine.client.networks.list(filters={"label": label})
    for network in networks:
        network.remove()
    return bool(containers or networks)


def clear(engine: DockerClient, label: str, quiet_seconds: float) -> bool:
    """Removes what carries the label until nothing turned up for a while; whether that was reached."""
    from docker.errors import DockerException  # type: ignore[import-untyped]  # noqa: PLC0415 - as testcontainers, late

    deadline = time.monotonic() + PATIENCE_SECONDS
    quiet_since = time.monotonic()
    while (now := time.monotonic()) < deadline:
        try:
            found = remove(engine, label)
        except (DockerException, OSError):  # the engine is busy with the same thing, or restarts: it is asked again
            found = True
        if found:
            quiet_since = time.monotonic()
        elif now - quiet_since >= quiet_seconds:
            return True
        time.sleep(SCAN_SECONDS)
    return False


def main(label: str) -> int:
    """Listens until the harness ends, then clears up after it."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    # Imported before it is needed: importing takes longer than removing.
    from testcontainers.core.docker_client import DockerClient  # noqa: PLC0415 - optional; the signals come first

    engine = DockerClient()
    in_order = b"end" in sys.stdin.buffer.read().split()
    return 0 if clear(engine, label, 0.0 if in_order else QUIET_SECONDS) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
