"""The cache's exporter crashes once and its unit starts it again: a restart that somebody should hear of."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from harness.drive.component_fault import ComponentFault
from harness.drive.faults import LaneControl
from harness.drive.look import Look, Silence, ask
from harness.errors import FaultError
from harness.model.stack import Address

_METRICS = "/metrics"
_STARTED = "process_start_time_seconds"
"""When the process began, in Unix seconds with two decimals: every Go and Python client shows it of itself."""


class ExporterCrashed(ComponentFault):
    """`kill -9` of the lane's cache exporter, left to its own restart policy.

    Which process it was before is remembered from `apply` to `undo`, by the exporter's address.
    """

    id = "exporter-crashed"
    summary = "The cache's exporter is killed (kill -9) once, and its own restart policy brings it back."
    component = "redis-exporter"
    what = "the cache's exporter"
    done = "crashed"
    effect = f"another process answers: {_STARTED} is later than before"
    health = f"GET {_METRICS} answers 200 and says {_STARTED}"

    def __init__(self) -> None:
        self._before: dict[Address, float] = {}

    async def disturb(self, control: LaneControl) -> None:
        """Notes which process it is, and crashes it.

        Raises:
            FaultError: it stopped answering in this very moment.
        """
        started = await _started(self.address(control))
        if isinstance(started, str):
            raise FaultError("The cache's exporter could not be crashed", expected=self.health, seen=started)
        await control.crash(self.component)
        self._before[self.address(control)] = started

    async def mend(self, control: LaneControl) -> None:
        """Nothing: its own restart policy does it."""
        self._before.pop(self.address(control), None)

    async def seen(self, control: LaneControl) -> Look:
        """It answers, as another process than before."""
        before = self._before.get(self.address(control))
        if before is None:
            return Look(False, "it was not crashed")
        started = await _started(self.address(control))
        if isinstance(started, str):
            return Look(False, started)
        return Look(started > before, f"{_STARTED} was {before:.2f} before and is {started:.2f}")

    async def well(self, control: LaneControl) -> Look:
        """It answers."""
        started = await _started(self.address(control))
        if isinstance(started, str):
            return Look(False, started)
        return Look(True, f"GET {_METRICS} at {self.address(control)} says {_STARTED} {started:.2f}")


async def _started(address: Address) -> float | str:
    """When the process that answers began, in Unix seconds; a sentence where nobody says."""
    answer = await ask(address, _METRICS)
    if isinstance(answer, Silence):
        return answer.why
    if answer.status != 200:
        return f"GET {_METRICS} at {address} answered {answer.status}"
    try:
        for family in text_string_to_metric_families(answer.body):
            if family.name == _STARTED:
                return float(family.samples[0].value)
    except ValueError:
        return f"{_METRICS} at {address} is no exposition that can be read"
    return f"{_METRICS} at {address} has no {_STARTED}"
