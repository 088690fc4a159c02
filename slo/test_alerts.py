"""Every alert of the plan reaches every channel that its priority demands, and so does its end."""

from harness.pytest_plugin import CellName, JudgedRun


def test_alert_is_heard(slo: JudgedRun, cell: CellName) -> None:
    """A real fault raises the alert; its message arrives complete and in time, and is taken back in the end."""
    slo.heard(cell)


def test_nobody_hears_what_they_should_not(slo: JudgedRun) -> None:
    """No message without a fault, none at a channel that the priority does not name, no flood of symptoms."""
    slo.quiet()
