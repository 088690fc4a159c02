"""The one tuple of all success targets that a run can judge."""

from __future__ import annotations

from harness.verdict.targets import TargetJudge
from harness.verdict.targets.alert_delivery_time import ALERT_DELIVERY_TIME
from harness.verdict.targets.alerts_delivered import ALERTS_DELIVERED
from harness.verdict.targets.availability import AVAILABILITY
from harness.verdict.targets.collection_delay import COLLECTION_DELAY
from harness.verdict.targets.logs_collected import LOGS_COLLECTED
from harness.verdict.targets.metrics_collected import METRICS_COLLECTED
from harness.verdict.targets.restore_time import RESTORE_TIME
from harness.verdict.targets.retention import RETENTION

TARGETS: tuple[TargetJudge, ...] = (
    METRICS_COLLECTED,
    LOGS_COLLECTED,
    ALERTS_DELIVERED,
    COLLECTION_DELAY,
    ALERT_DELIVERY_TIME,
    AVAILABILITY,
    RETENTION,
    RESTORE_TIME,
)
