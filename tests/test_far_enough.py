"""How much of the stack a run brings that follows no records: the way of logs where it is drilled, else none of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.drive.faults import RECORDS
from harness.drive.faults.registry import FAULTS
from harness.drive.plan.timetable import plan
from harness.errors import UsageError
from harness.model.plan import Profile, Timetable, Traits
from harness.model.policy import LOG_KINDS, RECORD_KINDS, Policies
from harness.model.stack import SHARED
from harness.run import as_far_as_needed, load_policies

SHIPPED = load_policies(Path(__file__).parents[1] / "policies").policies
TRAITS = {fault.id: Traits(fault.touches, fault.reach) for fault in FAULTS}
OF_LOGS = {fault.id for fault in FAULTS if RECORDS & fault.touches}


def kinds(policies: Policies) -> set[str]:
    """Of what only serves records, the kinds of component that are brought."""
    return {one.kind for one in policies.components} & RECORD_KINDS


def planned(policies: Policies, *only: str, profile: Profile = Profile.SMOKE) -> Timetable:
    """The timetable of a run."""
    alerts = {alert.name: alert for alert in policies.alerts}
    return plan(policies.drills, policies.priorities, alerts, TRAITS, profile=profile, seed=1, only=only)


@pytest.mark.parametrize("only", [("LogsNotCollected",), ("ServerDown", "LogsNotCollected")])
def test_who_asks_for_the_alert_gets_the_way_of_logs(only: tuple[str, ...]) -> None:
    """Shipper, store, its exporter and whoever writes; no store of anything else. It is injected in the shared lane."""
    policies = as_far_as_needed(SHIPPED, only)
    assert kinds(policies) == LOG_KINDS
    injected = [one for one in planned(policies, *only).injections if one.fault in OF_LOGS and one.control is None]
    assert [one.lane for one in injected] == [SHARED] * 2
    assert "influxdb:8086" in policies.left_out
    assert "elasticsearch-exporter:9114" not in policies.left_out


@pytest.mark.parametrize("only", [(), ("ServerDown",)])
def test_who_does_not_gets_nothing_of_it(only: tuple[str, ...]) -> None:
    """Neither component nor scrape job nor drill: what cannot be tried is neither planned nor passed."""
    policies = as_far_as_needed(SHIPPED, only)
    assert kinds(policies) == set()
    assert "elasticsearch-exporter:9114" in policies.left_out
    assert not OF_LOGS & {one.fault for one in planned(policies, *only, profile=Profile.GATE).injections}
    with pytest.raises(UsageError, match="this alert has no drill"):
        planned(policies, "LogsNotCollected")


def test_all_of_it_is_there_where_records_are_followed() -> None:
    """The twin: the same plan over the whole policies injects it twice."""
    injected = [one for one in planned(SHIPPED, profile=Profile.GATE).injections if one.fault in OF_LOGS]
    assert len([one for one in injected if one.control is None]) == 2
