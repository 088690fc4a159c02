"""Prometheus hangs: it holds its port and its connections, and does nothing any more."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

from harness.drive.faults import LaneControl, Proof, Reach
from harness.drive.look import Answer, Look, Silence, address_facts, ask, told_as_fault, watch
from harness.drive.monitoring import MONITORING, WELL_SECONDS, prometheus_works
from harness.errors import EffectNotProven, FaultError
from harness.model.stack import Address

_COMPONENT = "prometheus"
_WITNESS = "alertmanager"
_HEALTH = "/-/healthy"


class PrometheusFrozen:
    """SIGSTOP of Prometheus: no restart policy notices, for nothing has ended."""

    id = "prometheus-frozen"
    summary = "Prometheus is stopped where it is (SIGSTOP): it answers nobody until the fault is healed."
    signal = "real"
    touches = MONITORING
    reach = Reach.ALONE

    def facts(self, control: LaneControl) -> Mapping[str, str]:
        """Where Prometheus listens; a frozen process is killed with the harness like any other."""
        return address_facts(_address(control))

    async def apply(self, control: LaneControl) -> None:
        """Freezes it, after a look that it worked: what hung before proves nothing.

        Raises:
            FaultError: it did not work before, or could not be frozen.
        """
        await watch(
            lambda: prometheus_works(_address(control)),
            WELL_SECONDS,
            otherwise=FaultError,
            what="Prometheus did not work before it was to be frozen",
            expected="it is ready, has looked at its targets and has an Alertmanager",
        )
        with told_as_fault("Prometheus could not be frozen"):
            await control.freeze(_COMPONENT)

    async def prove(self, control: LaneControl, deadline_seconds: float) -> Proof:
        """Prometheus takes a connection and does not answer, while Alertmanager does: so it is not we who are slow.

        The instant is that at which it was asked and not that at which we gave up: it did not work then already.

        Raises:
            EffectNotProven: it still answers, or nobody does.
        """
        asked = time.time()

        async def look() -> Look:
            nonlocal asked
            asked = time.time()
            return await _hangs(_address(control), control.lane.addresses[_WITNESS])

        seen = await watch(
            look,
            deadline_seconds,
            otherwise=EffectNotProven,
            what="Prometheus was frozen and still answers",
            expected=f"no answer to GET {_HEALTH}, while Alertmanager answers the same at the same time",
        )
        return Proof(asked, seen.saw)

    async def undo(self, control: LaneControl, deadline_seconds: float) -> Proof:
        """Lets it go on and waits until it works.

        Raises:
            FaultError: it cannot go on, or does not work in time.
        """
        with told_as_fault("Prometheus could not be let go on"):
            await control.thaw(_COMPONENT)
        return await watch(
            lambda: prometheus_works(_address(control)),
            deadline_seconds,
            otherwise=FaultError,
            what="Prometheus was let go on and does not work",
            expected="it is ready, has looked at its targets and has an Alertmanager",
        )

    async def undo_from(self, facts: Mapping[str, str]) -> bool:  # noqa: ARG002 - nothing of them is needed
        """Nothing outlives a crash: SIGKILL ends a frozen process too, and it died with the harness."""
        return False


def _address(control: LaneControl) -> Address:
    return control.lane.addresses[_COMPONENT]


async def _hangs(address: Address, witness: Address) -> Look:
    answer, other = await asyncio.gather(ask(address, _HEALTH), ask(witness, _HEALTH))
    if isinstance(answer, Answer):
        return Look(False, f"GET {_HEALTH} at {address} answered {answer.status}")
    if isinstance(other, Silence):
        return Look(False, f"{answer.why}, and {other.why} either")
    return Look(not answer.dead, f"{answer.why}, while {witness} answered {other.status}")
