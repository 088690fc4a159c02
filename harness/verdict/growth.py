"""How a time grows with a size: a straight line through what was measured, and how far it may be trusted.

Ordinary least squares with its own confidence (Montgomery, Peck and Vining, Introduction to Linear Regression
Analysis, 2.2 to 2.5). Three drills leave one degree of freedom: the bound is wide, and it is told.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from harness.verdict.statistics import CONFIDENCE

FAR = 10.0
"""An extrapolation to more than so many times the largest size that was measured is called one."""

_GIGABYTE = 1e9
_MEGABYTE = 1e6


@dataclass(frozen=True, slots=True)
class Growth:
    """A line through (size, seconds).

    Args:
        fixed_seconds: what nothing takes: the intercept.
        seconds_per_byte: the slope.
        slowest_seconds_per_byte: the slope's one-sided 95 % upper bound; infinite where there are but two points.
        smallest: the smallest size that was measured, in bytes.
        largest: the largest one.
        points: how many were measured.
    """

    fixed_seconds: float
    seconds_per_byte: float
    slowest_seconds_per_byte: float
    smallest: float
    largest: float
    points: int

    @property
    def told_from_noise(self) -> bool:
        """Whether time grows with size for certain: the slope's lower bound is above zero too."""
        half_width = self.slowest_seconds_per_byte - self.seconds_per_byte
        return self.seconds_per_byte > 0 and self.seconds_per_byte > half_width

    def bytes_within(self, seconds: float) -> float | None:
        """How many bytes fit into a time by the line; None where the line does not rise, or nothing fits."""
        return self._within(seconds, self.seconds_per_byte)

    def certain_bytes_within(self, seconds: float) -> float | None:
        """The same by the steepest line that the drills allow with 95 % confidence; None where nothing fits."""
        return self._within(seconds, self.slowest_seconds_per_byte)

    def _within(self, seconds: float, slope: float) -> float | None:
        # A negative intercept would promise more than the slope does.
        left = seconds - max(self.fixed_seconds, 0.0)
        if slope <= 0 or left <= 0 or math.isinf(slope):
            return None
        return left / slope

    def told(self, seconds: float, within: str) -> str:
        """What the fit says of a time (`within` is its name: `1 h`), with what it does not say."""
        measured = f"{self.points} drills of {_size(self.smallest)} to {_size(self.largest)}"
        most = self.bytes_within(seconds)
        if most is None:
            return f"no growth can be read from {measured}: nothing is said of larger sizes"
        text = f"up to {_size(most)} in {within} by a straight line through {measured}"
        certain = self.certain_bytes_within(seconds)
        if not self.told_from_noise or certain is None:
            text += ", whose slope cannot be told from noise"
        else:
            text += f", at least {_size(certain)} by the slope's one-sided 95 % bound"
        times = most / self.largest
        if times > FAR:
            text += f"; that is {_round(times)} times the largest drill, where disks and networks may have other limits"
        return text


def fit(measured: Sequence[tuple[float, float]]) -> Growth | None:
    """The line through (bytes, seconds); None where fewer than two sizes were measured."""
    n = len(measured)
    if len({size for size, _ in measured}) < 2:
        return None
    mean_size = math.fsum(size for size, _ in measured) / n
    mean_time = math.fsum(time for _, time in measured) / n
    spread = math.fsum((size - mean_size) ** 2 for size, _ in measured)
    slope = math.fsum((size - mean_size) * (time - mean_time) for size, time in measured) / spread
    fixed = mean_time - slope * mean_size
    slowest = math.inf
    if n > 2:
        from scipy.stats import t  # noqa: PLC0415 - slow to load, as in statistics.py

        left = math.fsum((time - fixed - slope * size) ** 2 for size, time in measured)
        slowest = slope + float(t.ppf(CONFIDENCE, n - 2)) * math.sqrt(left / (n - 2) / spread)
    sizes = [size for size, _ in measured]
    return Growth(fixed, slope, slowest, min(sizes), max(sizes), n)


def _size(size: float) -> str:
    """A size that nobody takes for more exact than it is."""
    if size >= _GIGABYTE:
        return f"{_round(size / _GIGABYTE)} GB"
    return f"{_round(size / _MEGABYTE)} MB"


def _round(number: float) -> str:
    """Two digits that count."""
    if number <= 0:
        return "0"
    digits = 1 - math.floor(math.log10(number))
    return f"{round(number, digits):,.{max(digits, 0)}f}"
