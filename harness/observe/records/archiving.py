"""The archive, tried: records older than the store keeps are put away, aged out, brought back, and searched again."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from harness.errors import HarnessError, StackError, in_a_line
from harness.model.logs import LogPolicy, Retention, SearchPolicy
from harness.model.policy import Policies
from harness.model.records import RecordSchema
from harness.model.searching import ArchiveTried, SearchTried
from harness.model.stack import Address
from harness.observe.records.announcements import Announcements
from harness.observe.records.planted import Known, index_of, plant
from harness.observe.records.searching import LOGS, SECONDS, Trying
from harness.stack.search import Search
from harness.stack.search_archive import Archive
from harness.stack.search_retention import age_out

RECORDS: Final = 200
"""Of each source, besides the two that are searched for."""

_BEYOND_DAYS: Final = 2
"""How much older than the store keeps its indices the drill's own is."""


async def try_archive(address: Address, policies: Policies, work: Path, *, run: str) -> tuple[ArchiveTried, ...]:
    """Archives an index of the run's own that is older than the store keeps; nothing of it stays.

    Args:
        address: where the store listens.
        policies: of the run; where they say nothing of an archive, of ages or of queries nothing is tried.
        work: where a folder may be made meanwhile.
        run: the run's id.
    """
    logs = policies.logs
    search_policy = logs.search if logs is not None else None
    if logs is None or search_policy is None or search_policy.snapshots is None or search_policy.retention is None:
        return ()
    if not search_policy.queries:
        return ()
    schemas = [one for one in policies.records if one.file.startswith(LOGS)]
    try:
        async with Search(address, within_seconds=SECONDS) as search:
            archive = Archive(search, search_policy.snapshots, run)
            with TemporaryDirectory(prefix="archive-", dir=work) as temporary:
                return (await _drill(archive, logs, search_policy, search_policy.retention, schemas, Path(temporary)),)
    except (HarnessError, OSError) as error:
        return (ArchiveTried(error=in_a_line(error)),)


async def _drill(
    archive: Archive,
    logs: LogPolicy,
    policy: SearchPolicy,
    kept: Retention,
    schemas: list[RecordSchema],
    manifests: Path,
) -> ArchiveTried:
    """One index through its whole life.

    Raises:
        HarnessError: a step of it could not be made.
    """
    now = datetime.now(UTC)
    day = now - timedelta(days=kept.keep_days + _BEYOND_DAYS)
    day = day.replace(hour=12, minute=0, second=0, microsecond=0)
    index = index_of(policy, day)
    if (await archive.search.ask("GET", f"/{index}/_settings")).status != 404:
        raise StackError(f"There is an index {index} already", hint="nothing of it was touched")
    try:
        known = await plant(archive.search, policy, schemas, manifests, run=archive.run, day=day, count=RECORDS)
        told = Announcements.of(manifests, [one.source for one in schemas], logs)
        before = await _searched(archive.search, replace(policy, pattern=index), told, known)
        began = time.perf_counter()
        await archive.put_away(index)
        archive_seconds = time.perf_counter() - began
        aged = await age_out(archive.search.address, kept, now, run=archive.run)
        counted = await archive.search.done(
            "GET", f"/{index}/_count?ignore_unavailable=true", what=f"The store does not count {index}"
        )
        began = time.perf_counter()
        name = await archive.bring_back(index)
        restore_seconds = time.perf_counter() - began
        after = await _searched(archive.search, replace(policy, pattern=name), told, known)
    finally:
        await archive.remove(index)
    return ArchiveTried(
        index=index,
        back_as=name,
        records=len(known.documents),
        before={one.query: one.found for one in before},
        after={one.query: one.found for one in after},
        missing=sum(one.missing for one in after),
        foreign=sum(one.foreign for one in after),
        left=int(counted["count"]) if index in aged.deleted else len(known.documents),
        archive_seconds=archive_seconds,
        restore_seconds=restore_seconds,
        error=next((f"{one.query}: {one.error}" for one in (*before, *after) if one.error), ""),
    )


async def _searched(search: Search, policy: SearchPolicy, told: Announcements, known: Known) -> tuple[SearchTried, ...]:
    """Every saved query over one index; each is asked for the time of the known records."""
    trying = Trying(search, policy, told, known, since=0.0, until=time.time(), deadline=0.0)
    values: Mapping[str, str] = known.parameters
    return tuple([await trying.one(query, values) for query in policy.queries])
