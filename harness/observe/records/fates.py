"""The fate of one record: pure, and the only place that decides it."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from harness.model.records import UNKNOWN_DIGEST

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Fate(StrEnum):
    """What became of a record that was announced."""

    IN_TIME = "in_time"
    LATE = "late"
    DUPLICATE = "duplicate"
    CORRUPT = "corrupt"
    LOST = "lost"
    UNVERIFIED = "unverified"


class Copy(NamedTuple):
    """What is kept of one found copy of a record.

    `searchable_at` is the instant from which a search could find it and `stamped_at` what its own timestamp says, both
    in Unix seconds, None where it does not tell. `digest` is that of what was found; `valid` whether its schema allows
    it.
    """

    identity: str
    searchable_at: float | None
    digest: str
    valid: bool
    stamped_at: float | None


CopyRow: TypeAlias = "tuple[str, float | None, str, bool, float | None]"
"""A `Copy` as it stands in a bucket: a plain tuple, for these are made by the hundred thousand a second."""

Judged: TypeAlias = "tuple[Fate, float | None]"
"""A fate, and the delay in seconds of the first whole copy where it is known."""

_LOST: Final = (Fate.LOST, None)


def is_whole(announced_digest: str, digest: str, valid: bool) -> bool:
    """Whether a copy is what was written: by its digest, or by its schema where nobody could announce a digest."""
    return valid if announced_digest == UNKNOWN_DIGEST else digest == announced_digest


def fate_of(
    announced_at: float, announced_digest: str, copies: Sequence[CopyRow], *, looked_at: float, allowance: float
) -> Judged:
    """What became of an announced record.

    A missing record is lost once somebody looked after its allowance was over; before that nobody knows. Of whole
    copies the first one decides; one of which nobody knows since when it can be found proves no time, and no lateness.

    Args:
        announced_at: when it was announced, Unix seconds.
        announced_digest: its digest, or `UNKNOWN_DIGEST`.
        copies: everything that was found under its identity.
        looked_at: the instant up to which somebody looked, Unix seconds.
        allowance: how many seconds it may take.
    """
    if not copies:
        return _LOST if looked_at - announced_at >= allowance else (Fate.UNVERIFIED, None)
    first, whole, known = None, 0, True
    for _, searchable_at, digest, valid, _ in copies:
        if not is_whole(announced_digest, digest, valid):
            continue
        whole += 1
        if searchable_at is None:
            known = False
        elif first is None or searchable_at < first:
            first = searchable_at
    if not whole:
        return Fate.CORRUPT, None
    delay = None if first is None else first - announced_at
    if delay is not None and delay <= allowance:
        return (Fate.IN_TIME if len(copies) == 1 else Fate.DUPLICATE), delay
    return (Fate.LATE if known else Fate.UNVERIFIED), delay


def plainly_in_time(
    announced_at: NDArray[np.float64],
    announced_digests: NDArray[np.uint64],
    searchable_at: NDArray[np.float64],
    digests: NDArray[np.uint64],
    *,
    allowance: float,
) -> NDArray[np.bool_]:
    """Of many records, each with the one copy that was found of it: for which `fate_of` says in time, by the digest.

    It says no where `fate_of` has more to look at. An instant that nobody knows is no number.
    """
    whole: NDArray[np.bool_] = digests == announced_digests
    return whole & (searchable_at - announced_at <= allowance)
