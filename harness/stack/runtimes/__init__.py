"""How a component is run: as a process today; in a container, or attached to what already runs, by the same seam.

Callers know `Runtime` and `Running` alone; `tests/stack/test_runtimes.py` runs one suite over every runtime.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from harness.model.stack import Address, Difference


@dataclass(frozen=True, slots=True)
class Launch:
    """Everything that is needed to run one component once.

    Args:
        name: the component's name in the policy, for messages.
        lane: the lane that it belongs to, or None.
        argv: the program (absolute path) and its arguments.
        environment: the whole environment of the process; nothing of the harness's own leaks in.
        directory: its working folder, inside the sandbox.
        log: where standard output and standard error go, appended.
        address: where it will listen.
        version: the version of the program, for a runtime that chooses an image by it.
        differences: how this differs from the unit that production runs.
    """

    name: str
    lane: str | None
    argv: tuple[str, ...]
    environment: Mapping[str, str]
    directory: Path
    log: Path
    address: Address
    version: str = ""
    differences: tuple[Difference, ...] = field(default_factory=tuple)


class Running(Protocol):
    """One component that was started."""

    @property
    def launch(self) -> Launch:
        """What it was started from."""

    @property
    def alive(self) -> bool:
        """Whether it still runs, as far as the runtime knows without asking anybody."""

    @property
    def pid(self) -> int | None:
        """Its process on this host, where the runtime has one."""

    async def wait(self) -> int:
        """Waits until it ended; its exit code, negative for a signal."""

    async def kill(self) -> None:
        """Ends it as `kill -9` does and returns when it is gone."""

    async def stop(self, grace_seconds: float = 0.3) -> None:
        """Asks it to end, and after the grace ends it by force; returns when it is gone. May be called twice."""

    async def signal(self, number: int) -> None:
        """Sends a signal to it (SIGHUP, SIGSTOP, …)."""

    def tail(self, lines: int = 20) -> Sequence[str]:
        """The last lines that it wrote, oldest first."""


class Runtime(Protocol):
    """A way to run components."""

    @property
    def name(self) -> str:
        """`process`, `container` or `attached`, as reports write it."""

    async def start(self, launch: Launch) -> Running:
        """Starts a component; returns as soon as it exists, ready or not.

        Raises:
            StackError: it could not be started at all.
        """

    async def close(self) -> None:
        """Ends everything that this runtime started and still runs."""
