"""The one tuple of all success targets that a run can judge."""

from __future__ import annotations

from harness.verdict.targets import TargetJudge
from harness.verdict.targets.alert_delivery_time import ALERT_DELIVERY_TIME
from harness.verdict.targets.alerts_delivered import ALERTS_DELIVERED

TARGETS: tuple[TargetJudge, ...] = (ALERTS_DELIVERED, ALERT_DELIVERY_TIME)
