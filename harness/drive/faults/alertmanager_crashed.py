"""Alertmanager crashes and is started again by its own unit."""

from __future__ import annotations

from harness.drive.monitoring import CrashedPart


class AlertmanagerCrashed(CrashedPart):
    """`kill -9` of Alertmanager."""

    id = "alertmanager-crashed"
    summary = "Alertmanager is killed (kill -9) and has to recover by its own unit."
    component = "alertmanager"
    called = "Alertmanager"
    health = "/-/ready"
