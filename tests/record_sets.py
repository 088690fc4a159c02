"""Records for audits: announced in manifests, found in files, with whatever went wrong in between."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from harness.model.audit import AuditEvent, RecordsAudited
from harness.model.records import Announced, RecordSchema, digest_of, identity, line_of
from harness.observe.records.auditing import Store, audit
from harness.observe.records.settings import Settings
from harness.observe.records.workers import Alone

RUN = "20261130T040000Z-abcd"
BEGAN = 1_800_000_000.0

DOCUMENT: Mapping[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "required": ["timestamp", "level", "service", "component", "action", "duration", "status", "metadata"],
    "properties": {
        "timestamp": {"type": "string", "format": "date-time"},
        "level": {"enum": ["DEBUG", "INFO", "WARN", "ERROR"]},
        "service": {"type": "string"},
        "component": {"type": "string"},
        "userId": {"type": "string"},
        "action": {"type": "string"},
        "duration": {"type": "number", "minimum": 0},
        "status": {"type": "integer"},
        "ip": {"type": "string"},
        "userAgent": {"type": "string"},
        "metadata": {
            "type": "object",
            "required": ["sequence"],
            "properties": {
                "sequence": {"type": "string"},
                "sessionId": {"type": "string"},
                "requestId": {"type": "string"},
            },
        },
    },
}
SCHEMA = RecordSchema("application", "logs/application.schema.json", dict(DOCUMENT))


def instant(at: float) -> str:
    """As records and stores write it."""
    return datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")


def record(number: int, lane: str = "lane-01", at: float | None = None) -> dict[str, Any]:
    """A record of the application."""
    return {
        "timestamp": instant(BEGAN + number if at is None else at),
        "level": "ERROR" if number % 10 == 0 else "INFO",
        "service": "community-platform",
        "component": "posts",
        "userId": f"user-{number % 50}",
        "action": "view",
        "duration": 12.0 + number % 7 / 4,
        "status": 200,
        "ip": "127.0.0.1",
        "userAgent": "Mozilla/5.0",
        "metadata": {
            "sequence": identity(RUN, f"application.{lane}.1", number),
            "sessionId": f"s{number % 50}",
            "requestId": f"{number:032x}",
        },
    }


def announced(one: Mapping[str, Any], at: float, lane: str = "lane-01", source: str = "application") -> Announced:
    """What its writer announces of a record."""
    return Announced(one["metadata"]["sequence"], at, source, lane, one["level"], digest_of(one, SCHEMA.fields))


def stored(one: Mapping[str, Any], at: float | None) -> bytes:
    """A record as the store has it: with what a shipper and a pipeline add."""
    extra: dict[str, Any] = {"host": {"name": "vm"}, "tags": ["x"]}
    if at is not None:
        extra["event"] = {"ingested": instant(at)}
    return orjson.dumps({**one, **extra})


def write_manifest(folder: Path, records: Iterable[Announced], name: str = "application.lane-01.1") -> Path:
    """A manifest in a folder."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.tsv"
    path.write_bytes(b"".join(map(line_of, records)))
    return path


def write_lines(path: Path, lines: Iterable[bytes]) -> Path:
    """An NDJSON file."""
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return path


def audited(
    folder: Path, records: Sequence[Announced], lines: Sequence[bytes], *, buckets: int = 3, **settings: Any
) -> tuple[AuditEvent, ...]:
    """The audit of such records in a fresh folder."""
    manifest = write_manifest(folder / "manifests", records)
    found = write_lines(folder / "found.ndjson", lines)
    work = folder / "work"
    work.mkdir()
    given = {"looked_at": BEGAN + 1e6, **settings}
    whole = Settings(work, given.pop("schemas", (SCHEMA,)), buckets, **given)
    with Alone(whole) as by:
        return audit([manifest], [found], whole, by, Store())


def of_source(events: Iterable[AuditEvent], source: str = "application") -> RecordsAudited:
    """The audit of one source."""
    return next(one for one in events if isinstance(one, RecordsAudited) and one.source == source)
