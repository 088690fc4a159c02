"""An audit, whole: manifests and records in files go in, one event a source comes out."""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, Protocol

from harness.errors import UsageError
from harness.model.audit import AuditControl, AuditEvent, FaultWindow, RecordsAudited, RecordsNotAudited
from harness.model.records import RecordSchema
from harness.observe.records.checks import Checker, Seen
from harness.observe.records.control import run_control
from harness.observe.records.fates import Fate
from harness.observe.records.partition import bucket_count, number_of
from harness.observe.records.settings import Settings
from harness.observe.records.tally import Tally
from harness.observe.records.workers import Alone, Labour, Stretch, Workers

STRETCH_BYTES: Final = 16 << 20
"""How much of a file is one task."""

FEW_BYTES: Final = 8 << 20
"""An audit of less than this is done without further processes."""


@dataclass(frozen=True, slots=True)
class Store:
    """What was asked for records: its name and version, for which product it stands in, how long reading it took."""

    name: str = "files"
    stands_in: dict[str, str] = field(default_factory=dict)
    fetch_seconds: float = 0.0


class Bounds(Protocol):
    """Which of the announced records an audit is of, and how it counts them, however a store is looked at."""

    @property
    def since(self) -> float:
        """Only records announced from then on, Unix seconds."""

    @property
    def until(self) -> float:
        """Only records announced before then."""

    @property
    def windows(self) -> tuple[FaultWindow, ...]:
        """The faults by which records are counted apart."""

    @property
    def seed(self) -> int:
        """What the negative control draws by."""


def manifests_in(folder: Path) -> tuple[Path, ...]:
    """The manifests of a folder, in the order of their names.

    Raises:
        UsageError: it cannot be read, or holds none.
    """
    try:
        found = tuple(sorted(path for path in folder.iterdir() if path.suffix == ".tsv" and path.is_file()))
    except OSError as error:
        raise UsageError(
            f"the folder of manifests {folder} cannot be read",
            seen=error.strerror,
            hint="name the folder `manifests` of a run, or any folder with manifests in it",
        ) from error
    if not found:
        raise UsageError(
            f"the folder {folder} holds no manifest",
            expected="files `<source>.<lane>.<life>.tsv`, one line a record that was announced",
            hint="without them nobody can say what should be found; see docs/audit.md",
        )
    return found


def manifests_of(folder: Path, schemas: Iterable[RecordSchema]) -> tuple[Path, ...]:
    """Those of a folder's manifests that announce records of these schemas; the others belong to another store.

    Raises:
        UsageError: it cannot be read, or holds none.
    """
    mine = {schema.source for schema in schemas}
    return tuple(path for path in manifests_in(folder) if path.name.partition(".")[0] in mine)


def settings_for(
    manifests: Iterable[Path], schemas: Sequence[RecordSchema], folder: Path, looked_at: float
) -> Settings:
    """Settings with as many buckets as these manifests need."""
    size = sum(path.stat().st_size for path in manifests)
    return Settings(folder, tuple(schemas), bucket_count(size), looked_at)


def labour(settings: Settings, files: Iterable[Path], jobs: int) -> Alone | Workers:
    """Who audits these files: this process where there is little to do, else so many others.

    Call it from the main thread; what it returns may be used in any one.
    """
    size = sum(path.stat().st_size for path in files)
    return Workers(settings, jobs) if jobs > 1 and size > FEW_BYTES else Alone(settings)


async def audit_read(
    manifests: Sequence[Path],
    schemas: Sequence[RecordSchema],
    read: Path,
    store: Store,
    bounds: Bounds,
    *,
    looked_at: float,
    refresh_seconds: float,
) -> tuple[AuditEvent, ...]:
    """The audit of what was read from a store into a file, in a folder beside that file.

    Args:
        manifests: what was announced.
        schemas: of the sources whose records the store keeps.
        read: the records, NDJSON.
        store: what was asked for them.
        bounds: which records are audited.
        looked_at: when the store was looked at, Unix seconds.
        refresh_seconds: how long after the store took a record in a search may not find it yet.

    Raises:
        HarnessError: as `audit`.
    """
    with TemporaryDirectory(prefix="sorted-", dir=read.parent) as folder:
        settings = replace(
            settings_for(manifests, schemas, Path(folder), looked_at),
            refresh_seconds=refresh_seconds,
            since=bounds.since,
            until=bounds.until,
            windows=bounds.windows,
            seed=bounds.seed,
        )
        with labour(settings, [*manifests, read], os.cpu_count() or 1) as by:
            return await asyncio.to_thread(audit, manifests, [read], settings, by, store)


def audit(
    manifests: Sequence[Path], records: Sequence[Path], settings: Settings, by: Labour, store: Store
) -> tuple[AuditEvent, ...]:
    """What became of every announced record, by source.

    Args:
        manifests: what was announced.
        records: what was found, NDJSON, in the order in which the store has it.
        settings: what records are held to; its folder must be empty.
        by: who does the work, made with the same settings.
        store: what was asked for the records.

    Raises:
        UsageError: a file cannot be read.
        HarnessError: the audit's folder cannot be written.
    """
    began = time.perf_counter()
    epochs: dict[str, str] = {}
    broken: list[str] = []
    for told in by.announcements(list(_stretches(manifests))):
        epochs |= told.epochs
        broken += told.broken
    if not epochs:
        return (RecordsNotAudited("no manifest announces any record"),)
    seen = Seen()
    for part in by.records(list(_stretches(records)), epochs):
        seen.add(part, epochs, settings.draw)
    tallies: dict[str, Tally] = {}
    wanted = _wanted(seen, epochs, settings)
    for bucket in by.joined(wanted):
        for source, tally in bucket.items():
            tallies.setdefault(source, Tally()).add(tally)
    seconds = time.perf_counter() - began
    schemas = {schema.source: schema for schema in settings.schemas}
    strays: Counter[str] = Counter()
    for (_, _, epoch), count in tallies.pop("", Tally()).fates.items():
        strays[epochs.get(epoch, "")] += count
    doubts = tuple(_doubts(seen, strays[""], broken))
    events: list[AuditEvent] = []
    for source in sorted(set(epochs.values())):
        if source not in schemas:
            events.append(
                RecordsNotAudited(
                    f"no schema says what a record of {source!r} looks like, nor what its digest covers", source
                )
            )
        else:
            tally = tallies.get(source, Tally())
            control = _control(schemas[source], seen, tally, epochs, settings)
            event = _event(source, tally, seen, settings, control)
            events.append(
                replace(
                    event,
                    store=store.name,
                    stands_in=store.stands_in,
                    fetch_seconds=store.fetch_seconds,
                    seconds=seconds,
                    doubts=(*event.doubts, *doubts),
                    unannounced=strays[source],
                )
            )
    return tuple(events)


def _stretches(files: Iterable[Path]) -> Iterator[Stretch]:
    for path in files:
        try:
            size = path.stat().st_size
            with path.open("rb"):
                pass
        except OSError as error:
            raise UsageError(f"{path} cannot be read", seen=error.strerror, hint="check the path") from error
        for start in range(0, size, STRETCH_BYTES):
            yield path, start, min(size, start + STRETCH_BYTES)


def _wanted(seen: Seen, epochs: dict[str, str], settings: Settings) -> list[frozenset[str]]:
    """The identities that were drawn for the control, by bucket."""
    wanted: list[set[str]] = [set() for _ in range(settings.buckets)]
    checker = Checker(settings.schemas, epochs)
    for drawn in seen.drawn.values():
        for row in checker.read([line for _, line in drawn])[1]:
            wanted[number_of(row[0]) % settings.buckets].add(row[0])
    return [frozenset(names) for names in wanted]


def _control(
    schema: RecordSchema, seen: Seen, tally: Tally, epochs: dict[str, str], settings: Settings
) -> AuditControl:
    told = {one[0]: one for one in tally.drawn}
    lines = [line for _, line in seen.drawn.get(schema.source, ())]
    rows = [row for line in lines for row in Checker([schema], epochs).read([line])[1]]
    named = {row[0]: line for row, line in zip(rows, lines, strict=True)}
    return run_control(schema, [(told[name], named[name]) for name in sorted(named) if name in told], epochs, settings)


def _event(source: str, tally: Tally, seen: Seen, settings: Settings, control: AuditControl) -> RecordsAudited:
    fates = tally.total()
    doubts = []
    if tally.repeated:
        doubts.append(f"{tally.repeated} records were announced more than once")
    if seen.undated[source]:
        doubts.append(f"{seen.undated[source]} copies do not tell when the store took them (`event.ingested`)")
    bad = {name: tuple(names) for name, names in tally.examples.items() if name != Fate.IN_TIME}
    known = bool(tally.delays)
    return RecordsAudited(
        source=source,
        store="",
        fates=fates,
        found=tally.found,
        surplus=tally.surplus,
        withdrawn=tally.withdrawn,
        undigested=tally.undigested,
        schema_violations=seen.violations[source],
        offending=dict(seen.offending[source].most_common(10)) if source in seen.offending else {},
        delay_p50_seconds=tally.quantile(0.50),
        delay_p99_seconds=tally.quantile(0.99),
        delay_max_seconds=tally.latest if known else None,
        delay_min_seconds=tally.earliest if known else None,
        clock_skew_seconds=tally.skew if tally.skew >= 0 else None,
        order_inversions=seen.inversions[source],
        by_level=tally.by_level(),
        by_lane=tally.by_lane(),
        by_fault=tally.by_window(tuple(one.fault for one in settings.windows)),
        examples=bad,
        control=control,
        allowance_seconds=settings.allowance_seconds,
        doubts=tuple(doubts),
    )


def _doubts(seen: Seen, strays: int, broken: Sequence[str]) -> Iterator[str]:
    """What of an audit's files may make its counts wrong."""
    if broken:
        yield f"{len(broken)} lines of manifests are no announcements, first {broken[0]}"
    if seen.unreadable:
        yield f"{seen.unreadable} lines are no JSON objects"
    if seen.nameless:
        yield f"{seen.nameless} records bear no identity"
    if strays:
        yield f"{strays} records of this run are of writers that announced nothing"
