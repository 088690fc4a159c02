"""Events of keeping: which stores there are to keep, what of their oldest data answers, what a restore brings back.

They are kinds of the ledger like those in `harness/model/events.py`, whose union names them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class StoreToKeep:
    """A store that the policies declare: `ages` says whether its data ages out, so that retention is asked of it."""

    store: str
    of_kind: str
    ages: bool


@dataclass(frozen=True, slots=True)
class StoresDeclared:
    """Every store whose data must be kept, written before any of them is looked at."""

    kind: ClassVar[str] = "stores-declared"
    stores: tuple[StoreToKeep, ...]


@dataclass(frozen=True, slots=True)
class AgedData:
    """Data between two ages in days: how many of its records the store had been given, how many answered.

    `part` names the part of the store that it is in (a database, a table), "" where the store has but one.
    """

    newest_days: float
    oldest_days: float
    written: int
    answered: int
    part: str = ""


@dataclass(frozen=True, slots=True)
class RetentionProbed:
    """What a store with old data in it still answers, under production's own retention.

    Args:
        store: its name in the policy.
        of_kind: which kind of store it is.
        keeps: where the policy says how long, in its own words (`--storage.tsdb.retention.time=90d`).
        unit: what the store drops as a whole: `block`, `shard group`, `partition`, `index`.
        unit_days: the longest time that one of them spans in this probe.
        told: what else is to be known, e.g. how long the units of production are.
        aged: the data that it was given, by age.
        evidence: real, or stand-in where another product than the policy's was asked.
        error: why it could not be probed; empty where it was.
    """

    kind: ClassVar[str] = "retention-probed"
    store: str
    of_kind: str
    keeps: str = ""
    unit: str = ""
    unit_days: float = 0.0
    told: str = ""
    aged: tuple[AgedData, ...] = ()
    evidence: str = "real"
    error: str = ""


@dataclass(frozen=True, slots=True)
class RestoreDrilled:
    """A store that was filled, backed up, and restored into an empty instance, whose content was compared.

    Args:
        store: its name in the policy.
        of_kind: which kind of store it is.
        records: records (samples, points, rows, documents) that it was filled with.
        bytes: size of the backup.
        backup_seconds: how long the backup took.
        restore_seconds: from the start of the restore until the empty instance answered.
        missing: records that are not in the restored store.
        changed: records that are there with another content.
        foreign: records that are there and were never written.
        evidence: real, or stand-in where another product than the policy's was restored.
        error: why the drill could not be carried out; empty where it was.
    """

    kind: ClassVar[str] = "restore-drilled"
    store: str
    of_kind: str
    records: int = 0
    bytes: int = 0
    backup_seconds: float = 0.0
    restore_seconds: float = 0.0
    missing: int = 0
    changed: int = 0
    foreign: int = 0
    evidence: str = "real"
    error: str = ""

    @property
    def equal(self) -> bool:
        """Whether the restored content is what was written, record by record; nothing is equal to nothing."""
        return self.records > 0 and not (self.error or self.missing or self.changed or self.foreign)
