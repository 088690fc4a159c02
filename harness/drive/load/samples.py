"""Raw samples of the load: read from their lines, summed up without interpolation. Pure: bytes in, values out.

A sample is one request, timed from the instant at which it was *meant* to start, so that a stall of the application is
charged for everybody who would have come meanwhile (the harness decides nothing by a load generator's own statistics).
A quantile is an order statistic, a value that was really measured: of n values the one of rank ceil(q n).
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from harness.errors import HarnessError
from harness.model.events import LoadMeasured


@dataclass(frozen=True, slots=True)
class Sample:
    """One request.

    Args:
        intended_at: when it was meant to start, Unix seconds.
        started_at: when it did.
        seconds: from the intended start to the end of its answer, or to the moment it was given up.
        lane: the lane that it went to.
        method: GET, POST, …
        name: the endpoint's template.
        status: the HTTP status; 0 where no answer came.
        error: why it counts as failed, or None.
    """

    intended_at: float
    started_at: float
    seconds: float
    lane: str
    method: str
    name: str
    status: int
    error: str | None


class SampleReader:
    """Takes a file of samples in pieces, as it grows. A last line that is not whole yet waits for the next piece."""

    def __init__(self) -> None:
        self._rest = b""
        self._line = 0

    def feed(self, piece: bytes) -> list[Sample]:
        """The samples that are complete now.

        Raises:
            HarnessError: a whole line is not a sample.
        """
        *lines, self._rest = (self._rest + piece).split(b"\n")
        samples = []
        for line in lines:
            self._line += 1
            samples.append(_sample(line, self._line))
        return samples

    @property
    def unfinished(self) -> bytes:
        """What came after the last end of line: a line that was being written when the writer was killed."""
        return self._rest


def read_samples(data: bytes) -> list[Sample]:
    """All samples of a file; a half-written last line is left out, and only that.

    Raises:
        HarnessError: a whole line is not a sample.
    """
    return SampleReader().feed(data)


def quantile(values: Sequence[float], q: float) -> float:
    """The value of rank ceil(q n) of n values, ranks counted from 1: q=0.5 of an even number is the lower middle.

    Raises:
        ValueError: there are no values, or q is not above 0 and at most 1.
    """
    if not values or not 0 < q <= 1:
        raise ValueError(f"no quantile {q} of {len(values)} values")
    # 0.55 * 100 is 55.00000000000001; a rank must not depend on how a product is rounded.
    rank = math.ceil(round(q * len(values), 9))
    return sorted(values)[rank - 1]


def measure(samples: Iterable[Sample], until: float | None = None) -> LoadMeasured:
    """Load over a run. Without any request its times are not a number, so that no limit is kept by them.

    Args:
        samples: every request.
        until: when the load was ended, Unix seconds; the last sign of life of any lane where None.
    """
    taken = list(samples)
    seconds = [sample.seconds for sample in taken]
    return LoadMeasured(
        requests=len(taken),
        failures=sum(sample.error is not None for sample in taken),
        p50_seconds=quantile(seconds, 0.5) if seconds else math.nan,
        p95_seconds=quantile(seconds, 0.95) if seconds else math.nan,
        max_seconds=max(seconds, default=math.nan),
        by_lane=dict(sorted(Counter(sample.lane for sample in taken).items())),
        longest_gap_seconds=_gaps(taken, until),
    )


def _gaps(samples: Sequence[Sample], until: float | None) -> dict[str, float]:
    """By lane the longest time in which no request began or ended."""
    alive: dict[str, set[float]] = {}
    for sample in samples:
        alive.setdefault(sample.lane, set()).update((sample.started_at, sample.intended_at + sample.seconds))
    end = max((max(instants) for instants in alive.values()), default=0.0) if until is None else until
    return {
        lane: max(after - before for before, after in pairwise([*sorted(instants), max(end, *instants)]))
        for lane, instants in sorted(alive.items())
    }


def _sample(line: bytes, number: int) -> Sample:
    try:
        fields = json.loads(line)
        error = fields["error"]
        return Sample(
            intended_at=float(fields["intended_at"]),
            started_at=float(fields["started_at"]),
            seconds=float(fields["seconds"]),
            lane=str(fields["lane"]),
            method=str(fields["method"]),
            name=str(fields["name"]),
            status=int(fields["status"]),
            error=None if error is None else str(error),
        )
    except (ValueError, KeyError, TypeError) as broken:
        raise HarnessError(
            f"Line {number} of the load's samples is not a sample",
            expected="a JSON object with intended_at, started_at, seconds, lane, method, name, status, error",
            seen=line[:200].decode(errors="replace"),
            hint="the locustfile writes this file; nobody else may",
        ) from broken
