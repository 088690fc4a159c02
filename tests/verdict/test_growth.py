"""How a restore grows with its size: the line, its bound, and what is said of an hour."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.verdict.growth import fit

MB = 1e6


def test_a_straight_line_is_found() -> None:
    """One second, and one more for every ten megabytes: an hour is 35.99 GB."""
    growth = fit([(10 * MB, 2.0), (20 * MB, 3.0), (40 * MB, 5.0)])
    assert growth is not None
    assert growth.fixed_seconds == pytest.approx(1.0)
    assert growth.seconds_per_byte == pytest.approx(1e-7)
    assert growth.bytes_within(3600) == pytest.approx(35.99e9)
    assert growth.certain_bytes_within(3600) == pytest.approx(35.99e9)


def test_the_bound_is_the_textbooks() -> None:
    """Held against scipy's own standard error of the slope; the bound allows less than the line does."""
    from scipy.stats import linregress, t

    sizes, seconds = [10.0, 40.0, 120.0], [1.0, 1.6, 2.7]
    growth = fit(list(zip(sizes, seconds, strict=True)))
    other = linregress(sizes, seconds)
    assert growth is not None
    assert growth.seconds_per_byte == pytest.approx(float(other.slope))
    assert growth.slowest_seconds_per_byte == pytest.approx(float(other.slope + t.ppf(0.95, 1) * other.stderr))
    line, certain = growth.bytes_within(3600), growth.certain_bytes_within(3600)
    assert line is not None
    assert certain is not None
    assert certain < line


def test_one_size_is_no_growth() -> None:
    """Nothing can be fitted through one point, however often it was measured."""
    assert fit([]) is None
    assert fit([(10.0, 1.0)]) is None
    assert fit([(10.0, 1.0), (10.0, 2.0)]) is None


def test_two_points_have_a_line_and_no_bound() -> None:
    """No degree of freedom is left, and it is not made up."""
    growth = fit([(10 * MB, 2.0), (20 * MB, 3.0)])
    assert growth is not None
    assert math.isinf(growth.slowest_seconds_per_byte)
    assert growth.certain_bytes_within(3600) is None
    assert "cannot be told from noise" in growth.told(3600, "1 h")


def test_what_does_not_rise_says_nothing() -> None:
    """A larger restore that was quicker is noise, and no promise of any size."""
    growth = fit([(10 * MB, 3.0), (20 * MB, 2.0), (40 * MB, 1.0)])
    assert growth is not None
    assert growth.bytes_within(3600) is None
    assert growth.told(3600, "1 h").startswith("no growth can be read from 3 drills of 10 MB to 40 MB")


def test_what_takes_an_hour_empty_leaves_no_room() -> None:
    """The fixed part alone is longer than what is allowed."""
    growth = fit([(10 * MB, 4000.0), (20 * MB, 4001.0), (40 * MB, 4003.0)])
    assert growth is not None
    assert growth.bytes_within(3600) is None


def test_a_far_extrapolation_is_called_one() -> None:
    """And one that stays close is not; a slope that is noise is called noise."""
    far = fit([(10 * MB, 2.0), (20 * MB, 3.01), (40 * MB, 5.0)])
    assert far is not None
    assert "up to 36 GB in 1 h by a straight line through 3 drills of 10 MB to 40 MB" in far.told(3600, "1 h")
    assert "that is 900 times the largest drill" in far.told(3600, "1 h")
    assert "at least 3" in far.told(3600, "1 h")
    near = far.told(12, "12 s")
    assert "times the largest" not in near
    noisy = fit([(10 * MB, 0.5), (20 * MB, 0.3), (40 * MB, 0.6)])
    assert noisy is not None
    assert not noisy.told_from_noise
    assert "whose slope cannot be told from noise" in noisy.told(3600, "1 h")


@given(st.lists(st.tuples(st.floats(1, 1e12), st.floats(0.001, 1e5)), min_size=2, max_size=6))
def test_nothing_breaks_it(measured: list[tuple[float, float]]) -> None:
    """Whatever was measured there is a sentence, and the bound never promises more than the line."""
    growth = fit(measured)
    if growth is None:
        return
    assert growth.told(3600, "1 h")
    line, certain = growth.bytes_within(3600), growth.certain_bytes_within(3600)
    if line is not None and certain is not None:
        assert certain <= line * (1 + 1e-9)
