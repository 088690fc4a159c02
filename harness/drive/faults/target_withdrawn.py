"""The server is no longer in what Prometheus discovers: it runs on, unwatched, and no `up == 0` will ever say so."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from harness.drive.faults import APPLICATION, LaneControl, Proof, Reach
from harness.drive.look import Look, Silence, address_facts, ask, told_as_fault, watch
from harness.errors import EffectNotProven, FaultError
from harness.model.stack import Address

_COMPONENT = "community-platform"
_TARGETS = "/api/v1/targets?state=active"
# Longer than a scrape interval after a start; a target that was found is `unknown` until its first scrape.
_WELL_SECONDS = 5.0


class TargetWithdrawn:
    """The lane's target file is replaced by one without the subject, as by deployment tooling that forgot it."""

    id = "target-withdrawn"
    summary = "The application is taken out of the file in which Prometheus discovers it, until the fault is healed."
    signal = "real"
    touches = APPLICATION
    reach = Reach.LANE

    def facts(self, control: LaneControl) -> Mapping[str, str]:
        """Where the subject listens; the file lies in the sandbox, which goes with the harness."""
        return address_facts(_address(control))

    async def apply(self, control: LaneControl) -> None:
        """Withdraws the target, after a look that Prometheus scraped it: what it never found cannot go missing.

        Raises:
            FaultError: Prometheus did not scrape it before, or it cannot be withdrawn.
        """
        await watch(
            lambda: _scraped(control),
            _WELL_SECONDS,
            otherwise=FaultError,
            what="Prometheus did not scrape the server before it was to be withdrawn",
            expected=f"{_address(control)} among Prometheus's active targets, up",
        )
        with told_as_fault("The server could not be withdrawn from what Prometheus discovers"):
            await control.withdraw(_COMPONENT)

    async def prove(self, control: LaneControl, deadline_seconds: float) -> Proof:
        """Prometheus answers and does not list the server any more.

        Its discovery passes changes on each 5 s, its scraping takes them up each 5 s.
        Source: Prometheus 2.53, discovery/manager.go (`updatert`), scrape/manager.go (`DiscoveryReloadInterval`).

        Raises:
            EffectNotProven: it still does.
        """
        return await watch(
            lambda: _missing(control),
            deadline_seconds,
            otherwise=EffectNotProven,
            what="The server was withdrawn and Prometheus still discovers it",
            expected=f"{_address(control)} not among Prometheus's active targets",
        )

    async def undo(self, control: LaneControl, deadline_seconds: float) -> Proof:
        """Puts the target back and waits until Prometheus lists it.

        Raises:
            FaultError: it could not be put back, or is not listed in time.
        """
        with told_as_fault("The server could not be announced to Prometheus again"):
            await control.announce(_COMPONENT)
        return await watch(
            lambda: _listed(control),
            deadline_seconds,
            otherwise=FaultError,
            what="The server was announced again and Prometheus does not discover it",
            expected=f"{_address(control)} among Prometheus's active targets",
        )

    async def undo_from(self, facts: Mapping[str, str]) -> bool:  # noqa: ARG002 - nothing of them is needed
        """Nothing outlives a crash: file and Prometheus were parts of the sandbox."""
        return False


def _address(control: LaneControl) -> Address:
    return control.lane.addresses[_COMPONENT]


@dataclass(frozen=True, slots=True)
class _Seen:
    """What Prometheus says of the server: its health there, None where it is not listed or nothing could be read."""

    health: str | None
    answered: bool
    saw: str


async def _listed(control: LaneControl) -> Look:
    seen = await _look(control)
    return Look(seen.health is not None, seen.saw)


async def _scraped(control: LaneControl) -> Look:
    seen = await _look(control)
    return Look(seen.health == "up", seen.saw)


async def _missing(control: LaneControl) -> Look:
    """A Prometheus that does not answer proves nothing."""
    seen = await _look(control)
    return Look(seen.answered and seen.health is None, seen.saw)


async def _look(control: LaneControl) -> _Seen:
    prometheus, server = control.prometheus, str(_address(control))
    answer = await ask(prometheus, _TARGETS)
    if isinstance(answer, Silence):
        return _Seen(None, False, answer.why)
    try:
        found = {
            target["discoveredLabels"]["__address__"]: str(target["health"])
            for target in json.loads(answer.body)["data"]["activeTargets"]
        }
    except (ValueError, LookupError, TypeError):
        return _Seen(None, False, f"Prometheus at {prometheus} answered {answer.status} and nothing that lists targets")
    if not found:
        # Prometheus lists nothing in its first 5 s; then a target that is missing has not been withdrawn.
        return _Seen(None, False, f"Prometheus at {prometheus} lists no target at all")
    if server not in found:
        return _Seen(None, True, f"Prometheus lists {len(found)} active targets, and {server} is none of them")
    return _Seen(found[server], True, f"Prometheus lists {server}, {found[server]}")
