"""What faults of the monitoring itself share: looks at its parts, and the crash of one that its own unit recovers.

These parts exist once for all lanes, so `control` is that of the shared lane, and nothing else may go on meanwhile.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import ClassVar

from prometheus_client.parser import text_string_to_metric_families

from harness.drive.faults import LaneControl, Proof, Reach
from harness.drive.look import Look, Silence, address_facts, answers, ask, told_as_fault, watch
from harness.errors import EffectNotProven, FaultError
from harness.model.stack import Address

MONITORING = frozenset({"monitoring"})
"""What a fault touches that disturbs the way of every alert."""

WELL_SECONDS = 5.0
"""How long a part may take to show that it is well before anything is done to it."""

_STARTED = "process_start_time_seconds"
# The start of a process is told in whole seconds of the machine's boot: up to one off, and a rounding more.
_CLOCK_SECONDS = 1.5


class CrashedPart:
    """`kill -9` of one part of the monitoring, which its own unit starts again: nobody helps.

    `component` is its name in stack.yaml, `called` what a sentence calls it, `health` a path that it answers with 200
    while it works.
    """

    signal = "real"
    touches = MONITORING
    reach = Reach.ALONE
    component: ClassVar[str]
    called: ClassVar[str]
    health: ClassVar[str]

    def facts(self, control: LaneControl) -> Mapping[str, str]:
        """Where it listens; a killed process leaves nothing else behind."""
        return address_facts(self._address(control))

    async def works(self, address: Address) -> Look:
        """Whether it does its work."""
        return await answers(address, self.health)

    async def apply(self, control: LaneControl) -> None:
        """Kills it, after a look that it worked: what was dead before, or only just started, proves nothing.

        Raises:
            FaultError: it did not work before, or could not be killed.
        """
        await watch(
            lambda: self._settled(self._address(control)),
            WELL_SECONDS,
            otherwise=FaultError,
            what=f"{self.called} did not work before it was to be killed",
            expected=f"GET {self.health} answers 200",
        )
        with told_as_fault(f"{self.called} could not be killed"):
            await control.crash(self.component)

    async def prove(self, control: LaneControl, deadline_seconds: float) -> Proof:
        """A fresh connection is refused or cut; or another process answers, where the unit was quicker than the look.

        Raises:
            EffectNotProven: the same process still answers.
        """
        since = time.time() - _CLOCK_SECONDS
        address = self._address(control)
        return await watch(
            lambda: _gone(address, self.health, since),
            deadline_seconds,
            otherwise=EffectNotProven,
            what=f"{self.called} was killed and the same process still answers",
            expected=f"a fresh connection is refused, or {_STARTED} of another process",
        )

    async def undo(self, control: LaneControl, deadline_seconds: float) -> Proof:
        """Waits until it works again by its own unit.

        Raises:
            FaultError: it does not in time.
        """
        return await watch(
            lambda: self.works(self._address(control)),
            deadline_seconds,
            otherwise=FaultError,
            what=f"{self.called} was killed and its own unit did not bring it back",
            expected=f"it works: GET {self.health} answers 200",
        )

    async def undo_from(self, facts: Mapping[str, str]) -> bool:  # noqa: ARG002 - nothing of them is needed
        """Nothing outlives a crash: the process died with the harness, if not before."""
        return False

    async def _settled(self, address: Address) -> Look:
        """Whether it works, and its process is so old that no other could be taken for it."""
        look = await self.works(address)
        started = await figure(address, _STARTED) if look.there else ""
        if isinstance(started, str):
            return look
        age = time.time() - started
        return look if age > 2 * _CLOCK_SECONDS else Look(False, f"the process at {address} started {age:.1f} s ago")

    def _address(self, control: LaneControl) -> Address:
        return control.lane.addresses[self.component]


async def silenced(address: Address, path: str) -> Look:
    """Whether a fresh connection is refused or cut; a mere time-out may be our own slowness."""
    answer = await ask(address, path)
    if isinstance(answer, Silence):
        return Look(answer.dead, answer.why)
    return Look(False, f"GET {path} at {address} answered {answer.status}")


async def figure(address: Address, name: str) -> float | str:
    """A figure without labels that a component exposes of itself; a clause that says why there is none."""
    answer = await ask(address, "/metrics")
    if isinstance(answer, Silence):
        return answer.why
    try:
        for family in text_string_to_metric_families(answer.body):
            for sample in family.samples:
                if sample.name == name and not sample.labels:
                    return sample.value
    except ValueError as error:
        return f"{address} exposes nothing that can be read: {error}"
    return f"{address} exposes no {name}"


async def shows(address: Address, name: str, value: float) -> Look:
    """Whether a component exposes this figure of itself with this value."""
    seen = await figure(address, name)
    return Look(seen == value, seen if isinstance(seen, str) else f"{address} says {name} {seen:g}")


async def prometheus_works(address: Address) -> Look:
    """Whether Prometheus is ready, has looked at every target, and has an Alertmanager to send to.

    `/-/ready` alone says little: targets and Alertmanagers are found about 5 s after it (Prometheus 2.53,
    discovery/manager.go and scrape/manager.go), and until then it watches nothing and tells nobody.
    """
    ready = await answers(address, "/-/ready")
    if not ready.there:
        return ready
    managers, targets = await _active(address, "alertmanagers"), await _active(address, "targets?state=active")
    if isinstance(managers, str) or isinstance(targets, str):
        return Look(False, f"{managers if isinstance(managers, str) else targets}")
    unknown = sum(target.get("health") == "unknown" for target in targets)
    saw = f"{address} has {len(managers)} Alertmanagers and {len(targets)} targets, {unknown} not looked at yet"
    return Look(bool(managers) and bool(targets) and not unknown, saw)


async def _active(address: Address, what: str) -> list[Mapping[str, object]] | str:
    """What Prometheus has found, a mapping each; a clause where that cannot be told."""
    answer = await ask(address, f"/api/v1/{what}")
    if isinstance(answer, Silence):
        return answer.why
    key = "activeAlertmanagers" if what == "alertmanagers" else "activeTargets"
    try:
        found = json.loads(answer.body)["data"][key]
    except (ValueError, KeyError, TypeError):
        return f"/api/v1/{what} at {address} answered {answer.status} and nothing that can be read"
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


async def _gone(address: Address, health: str, since: float) -> Look:
    look = await silenced(address, health)
    if look.there:
        return look
    started = await figure(address, _STARTED)
    if isinstance(started, str):
        return look
    return Look(started >= since, f"the process at {address} started {time.time() - started:.1f} s ago")
