"""What an audit holds records to: schemas, windows, instants. It goes to workers as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Self

import orjson

from harness.model.audit import ALLOWANCE_SECONDS, FaultWindow
from harness.model.records import RecordSchema

NEVER: Final = 1e18
"""An instant that does not come, in Unix seconds."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What is the same for every part of one audit.

    Args:
        folder: an empty folder of the audit's own, for what is sorted into buckets.
        schemas: what records must look like, one a source; records of other sources are not checked against any.
        buckets: into how many parts records are sorted: the larger, the less memory each takes.
        looked_at: the instant up to which the store was read, Unix seconds.
        refresh_seconds: how long after `event.ingested` a record may be hidden from a search: an upper bound, the
            refresh interval of the store.
        allowance_seconds: how long a record may take until it can be found.
        since: only records announced from then on are audited, Unix seconds.
        until: only records announced before then.
        windows: the faults by which records are counted apart.
        seed: what the negative control draws by.
        draw: how many records it draws, at least, where there are enough.
    """

    folder: Path
    schemas: tuple[RecordSchema, ...]
    buckets: int
    looked_at: float
    refresh_seconds: float = 0.0
    allowance_seconds: float = ALLOWANCE_SECONDS
    since: float = 0.0
    until: float = NEVER
    windows: tuple[FaultWindow, ...] = ()
    seed: int = 0
    draw: int = 30

    def as_json(self) -> bytes:
        """All of it, for `from_json`."""
        plain = {**asdict(self), "folder": str(self.folder), "refresh_seconds": min(self.refresh_seconds, NEVER)}
        plain["windows"] = [{**one, "until_at": min(one["until_at"], NEVER)} for one in plain["windows"]]
        return orjson.dumps(plain, default=dict)  # which has no word for infinity

    @classmethod
    def from_json(cls, text: bytes) -> Self:
        """What `as_json` wrote."""
        read: Any = orjson.loads(text)
        read["folder"] = Path(read["folder"])
        read["schemas"] = tuple(RecordSchema(**one) for one in read["schemas"])
        read["windows"] = tuple(FaultWindow(**one) for one in read["windows"])
        return cls(**read)
