"""Prometheus crashes and is started again by its own unit."""

from __future__ import annotations

from harness.drive.look import Look
from harness.drive.monitoring import CrashedPart, prometheus_works
from harness.model.stack import Address


class PrometheusCrashed(CrashedPart):
    """`kill -9` of Prometheus; it works again when it has looked at its targets and found its Alertmanager."""

    id = "prometheus-crashed"
    summary = "Prometheus is killed (kill -9) and has to recover by its own unit."
    component = "prometheus"
    called = "Prometheus"
    health = "/-/ready"

    async def works(self, address: Address) -> Look:
        """Whether it is ready, has looked at every target, and has an Alertmanager to send to."""
        return await prometheus_works(address)
