"""The peer of `one_alert.py`: `sonda test`, which writes a signal and asks whether its alert fires.

Sonda (`cargo install sonda`, MIT or Apache-2.0) is built once, into `benchmarks/` of the cache. It is given the same
Prometheus and Alertmanager, with the flags of their units, and the rule file as production has it; what the rule reads
is written by sonda through remote write, one sample a second, since nothing real stands behind it. Alertmanager's only
receiver leads to a port at which nobody listens: no message can arrive, whatever sonda says.
"""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from harness.errors import StackError
from harness.model.policy import Alert, Policies, Unit
from harness.model.stack import Address
from harness.stack.guard import Guard
from harness.stack.layout import artifacts_needed, lay_out
from harness.stack.provision.fetch import fetch
from harness.stack.runtimes.process import ProcessRuntime
from harness.stack.stack import Stack

VERSION = "1.29.0"
SAMPLES = (1, 0, 0, 0, 0, 0, 1, 1)
"""What `up` is from second to second: long enough at 0 for a hold of 2 s, and well again before the end."""

INTERVAL = "1s"
"""How often sonda looks, and its grid: the evaluation interval of the shipped policies (its own default is 5 s)."""

_REMOTE_WRITE = "--web.enable-remote-write-receiver"
_FIRED = re.compile(r" (firing after|fired after|did not fire)|: no verdict")
_RESOLVED = re.compile(r" (resolved after|still firing)|: no resolution verdict")
_DEADLINE_SECONDS = 90.0
_BUILD_SECONDS = 1800.0


@dataclass(frozen=True, slots=True)
class Peers:
    """Prometheus and Alertmanager for sonda, and how long they took to be ready, in seconds."""

    prometheus: Address
    alertmanager: Address
    version: str
    ready_seconds: float


@dataclass(frozen=True, slots=True)
class Tested:
    """A `sonda test` that ended: `fired` and `resolved` are what it says of them, in its own words."""

    seconds: float
    exit_code: int
    fired: str
    resolved: str

    @property
    def passed(self) -> bool:
        """Whether sonda found all that it expected."""
        return self.exit_code == 0


async def program(cache: Path) -> Path:
    """Sonda's program, built where it is not there yet: about three minutes of one core.

    Raises:
        StackError: cargo is missing, or could not build it.
    """
    root = cache / "benchmarks" / f"sonda-{VERSION}"
    found = root / "bin" / "sonda"
    if not found.is_file():
        sys.stderr.write(f"building sonda {VERSION} into {root}, once\n")
        package = ("--locked", "--version", VERSION, "--features", "remote-write", "--root", str(root), "sonda")
        ended = await _run(["nice", "-n", "15", "cargo", "install", *package], within_seconds=_BUILD_SECONDS)
        if ended.exit_code:
            raise StackError("sonda could not be built", seen=ended.said[-500:], hint="it needs cargo and a C compiler")
    return found


def scenario(alert: Alert, labels: dict[str, str], prometheus: Address) -> str:
    """What sonda is to write and to expect, in its own format (version 2)."""
    return yaml.safe_dump(
        {
            "version": 2,
            "kind": "runnable",
            "defaults": {
                "rate": 1,
                "duration": f"{len(SAMPLES)}s",
                "encoder": {"type": "remote_write"},
                "sink": {"type": "remote_write", "url": f"http://{prometheus}/api/v1/write", "batch_size": 1},
            },
            "scenarios": [
                {
                    "id": "up",
                    "signal_type": "metrics",
                    "name": "up",
                    "generator": {"type": "sequence", "values": list(SAMPLES), "repeat": False},
                    "labels": labels,
                }
            ],
            "expect": {
                "alerts": [
                    {
                        "alert": alert.name,
                        "firing_within": f"{len(SAMPLES)}s",
                        "resolves_within": "15s",
                        "labels": {"environment": labels["environment"]},
                    }
                ]
            },
        },
        sort_keys=False,
    )


def bare(policies: Policies) -> Policies:
    """The policies with nothing but Prometheus, which takes samples from outside, and Alertmanager."""
    kept = []
    for component in policies.components:
        unit = component.unit
        if component.kind == "prometheus":
            assert isinstance(unit, Unit)
            kept.append(replace(component, unit=replace(unit, argv=(*unit.argv, _REMOTE_WRITE))))
        elif component.kind == "alertmanager":
            kept.append(component)
    return replace(policies, components=tuple(kept))


def files(policies: Policies, alert: Alert, alertmanager: Address, nowhere: Address) -> dict[str, str]:
    """The configuration: production's rule file and evaluation interval, no targets, a receiver that leads nowhere."""
    rules = next(name for name in policies.documents if str(policies.root / name).endswith(alert.file))
    prometheus = {
        "global": {"evaluation_interval": f"{policies.evaluation_interval.total_seconds():g}s"},
        "rule_files": [rules],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [str(alertmanager)]}]}]},
    }
    nobody = {"name": "nobody", "webhook_configs": [{"url": f"http://{nowhere}/"}]}
    to_nobody = {"route": {"receiver": "nobody", "group_wait": "2s", "group_interval": "5s"}, "receivers": [nobody]}
    return {
        policies.prometheus_file: yaml.safe_dump(prometheus),
        policies.alertmanager_file: yaml.safe_dump(to_nobody),
        rules: policies.documents[rules],
    }


@asynccontextmanager
async def peers(policies: Policies, alert: Alert, cache: Path, logs: Path) -> AsyncIterator[Peers]:
    """Prometheus and Alertmanager, ready for sonda, until the block ends."""
    policies = bare(policies)
    artifacts = await fetch(artifacts_needed(policies), cache, lambda text: print(text, file=sys.stderr))  # noqa: T201
    async with Guard.open(f"bench-{secrets.token_hex(3)}", cache) as guard:
        layout = lay_out(policies, artifacts, [], run=guard.run, sandbox=guard.sandbox, logs=logs, cache=cache)
        async with Stack(layout, ProcessRuntime(guard), lambda _: None) as stack:
            alertmanager = stack.address("alertmanager")
            began = time.monotonic()
            await stack.up(files(policies, alert, alertmanager, layout.nowhere))
            ready = time.monotonic() - began
            yield Peers(stack.address("prometheus"), alertmanager, artifacts["prometheus"].version, ready)


async def test(sonda: Path, written: Path, asked: Sequence[str]) -> Tested:
    """One `sonda test` of a scenario; `asked` names whom it asks, e.g. `--prometheus-url http://127.0.0.1:9090`."""
    began = time.monotonic()
    ended = await _run(
        [str(sonda), "test", str(written), *asked, "--interval", INTERVAL, "--query-step", INTERVAL],
        within_seconds=_DEADLINE_SECONDS,
    )
    return read(ended.said, ended.exit_code, time.monotonic() - began)


def read(said: str, exit_code: int, seconds: float) -> Tested:
    """What a `sonda test` said, e.g. `PASS ServerDown firing after 4s (within 8s)`."""
    lines = [line.strip() for line in said.splitlines()]
    return Tested(
        seconds,
        exit_code,
        fired=next(filter(_FIRED.search, lines), ""),
        resolved=next(filter(_RESOLVED.search, lines), ""),
    )


@dataclass(frozen=True, slots=True)
class _Ended:
    said: str
    exit_code: int


async def _run(command: Sequence[str], within_seconds: float) -> _Ended:
    """A command to its end; what it said on both streams.

    Raises:
        StackError: there is no such program, or it did not end in time.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={**os.environ, "NO_COLOR": "1"},
        )
    except FileNotFoundError:
        raise StackError(f"there is no program {command[0]}", hint="install it, or leave this benchmark out") from None
    try:
        async with asyncio.timeout(within_seconds):
            said, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        raise StackError(f"{command[0]} did not end within {within_seconds:.0f} s") from None
    return _Ended(said.decode(errors="replace"), process.returncode or 0)
