"""The audit of records: what became of every record that was announced, and why of some nothing can be said.

Its events are kinds of the ledger like those in `harness/model/events.py`, whose union names them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Final, TypeAlias

ALLOWANCE_SECONDS: Final = 60.0
"""How long after its announcement a record may take until a search finds it."""


@dataclass(frozen=True, slots=True)
class FaultWindow:
    """A fault while it was in place, from when it was applied to when it was healed (Unix seconds).

    `lane` is "" where it reaches every lane.
    """

    fault: str
    lane: str
    from_at: float
    until_at: float

    def covers(self, lane: str, at: float) -> bool:
        """Whether it was in place in a lane at an instant."""
        return self.lane in {"", lane} and self.from_at <= at <= self.until_at


@dataclass(frozen=True, slots=True)
class Fates:
    """What became of so many records; every one that was written has exactly one fate, so the others sum to `written`.

    `in_time`: found whole, once, within the allowance. `late`: found whole, after it. `duplicate`: found whole and in
    time, more than once. `corrupt`: found, and no copy of it is whole. `lost`: not found. `unverified`: nobody can say,
    because nobody looked long enough or what was found does not tell since when.
    """

    written: int = 0
    in_time: int = 0
    late: int = 0
    duplicate: int = 0
    corrupt: int = 0
    lost: int = 0
    unverified: int = 0

    def __add__(self, other: Fates) -> Fates:
        """Both together."""
        return Fates(
            self.written + other.written,
            self.in_time + other.in_time,
            self.late + other.late,
            self.duplicate + other.duplicate,
            self.corrupt + other.corrupt,
            self.lost + other.lost,
            self.unverified + other.unverified,
        )

    @property
    def collected(self) -> int:
        """How many were collected as promised: whole and in time, a second copy is no loss."""
        return self.in_time + self.duplicate


@dataclass(frozen=True, slots=True)
class AuditControl:
    """The negative control of an audit: records that were found, withheld, damaged and doubled on purpose.

    The ordinary classification must count exactly these; `told` says what it counted instead, empty where it did.
    """

    withheld: int
    damaged: int
    doubled: int
    told: str = ""

    @property
    def exact(self) -> bool:
        """Whether at least one of each was tried and all were counted."""
        return not self.told and min(self.withheld, self.damaged, self.doubled) > 0


@dataclass(frozen=True, slots=True)
class RecordsAudited:
    """Every announced record of one source, held against what a store has of it.

    `store` is what was asked (`OpenSearch 2.19.5`, `files`), `stands_in` says for which product where it is not the
    policy's own. `found` counts the copies that bear an announced identity, `surplus` those beyond the first of a
    record, `unannounced` those of this run that nobody announced, `withdrawn` records that were taken back and not
    found. `undigested` are found records of which nobody announced a digest: only their schema says that they are
    whole. `schema_violations` are copies that their schema does not allow, `offending` counts them by field.

    A delay goes from the announcement to the instant at which a search could find the record; `delay_min_seconds` is
    negative where the store's clock is behind the writer's. `clock_skew_seconds` is the largest distance of a record's
    own timestamp from its announcement. `order_inversions` counts records that stand, in the order of the store, behind
    a later one of the same writer. `examples` name some identities of each bad fate. Counts by fault are of the records
    that were announced while it was in place.
    """

    kind: ClassVar[str] = "records-audited"
    source: str
    store: str
    fates: Fates
    found: int = 0
    surplus: int = 0
    withdrawn: int = 0
    unannounced: int = 0
    undigested: int = 0
    schema_violations: int = 0
    offending: Mapping[str, int] = field(default_factory=dict)
    delay_p50_seconds: float | None = None
    delay_p99_seconds: float | None = None
    delay_max_seconds: float | None = None
    delay_min_seconds: float | None = None
    clock_skew_seconds: float | None = None
    order_inversions: int = 0
    by_level: Mapping[str, Fates] = field(default_factory=dict)
    by_lane: Mapping[str, Fates] = field(default_factory=dict)
    by_fault: Mapping[str, Fates] = field(default_factory=dict)
    examples: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    control: AuditControl = AuditControl(0, 0, 0)
    stands_in: Mapping[str, str] = field(default_factory=dict)
    allowance_seconds: float = ALLOWANCE_SECONDS
    seconds: float = 0.0
    fetch_seconds: float = 0.0
    doubts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RecordsNotAudited:
    """Records could not be held against their store, and why; `source` is empty where that concerns all of them."""

    kind: ClassVar[str] = "records-not-audited"
    why: str
    source: str = ""


AuditEvent: TypeAlias = RecordsAudited | RecordsNotAudited
"""What an audit says of one source."""
