"""The run must be able to go red: two alerts are spoilt on purpose, and the ordinary judge has to say so."""

from harness.pytest_plugin import JudgedRun


def test_an_alert_that_is_lost_is_called_lost(slo: JudgedRun) -> None:
    """Messages of one alert are thrown away at the far end of the real path."""
    slo.control("lost")


def test_an_alert_that_is_late_is_called_late(slo: JudgedRun) -> None:
    """Messages of one alert are held back until 31 s after they were due."""
    slo.control("late")


def test_the_run_as_a_whole_is_green(slo: JudgedRun) -> None:
    """Nothing that this run saw is red or without evidence, including what no single test asks for."""
    slo.verdict()
