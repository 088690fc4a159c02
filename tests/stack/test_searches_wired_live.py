"""What a run does about searches: once its records are audited they are searched, archived and followed, for real."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from log_stack import lines, record, shipping

from harness.bookkeeping import Bookkeeping, Provided
from harness.model.audit import RecordsAudited
from harness.model.events import Payload
from harness.model.records import MANIFESTS
from harness.model.searching import ArchiveTried, SearchTried, TailTried
from harness.model.stack import Artifact
from harness.stack.manifest import Manifest

pytestmark = [pytest.mark.stack, pytest.mark.nightly]

RECORDS = 3000
DEADLINE_SECONDS = 240.0


async def test_a_run_s_records_are_searched_after_they_are_audited(
    tmp_path: Path, artifacts: Mapping[str, Artifact]
) -> None:
    """3,000 records through Filebeat; the searches find what its manifest says, by level and by lane and time."""
    async with shipping(tmp_path, artifacts) as made:
        site = made.layout.site("elasticsearch")
        told: list[Payload] = []
        parts = tuple(one for one in made.policies.components if one.kind in {"elasticsearch", "filebeat"})
        writer = dataclasses.replace(parts[0], name="community-platform", kind="subject")
        policies = dataclasses.replace(made.policies, components=(*parts, writer))
        books = Bookkeeping(site.run, tmp_path, policies, Provided(policies, artifacts, {}), told.append, 1)
        schema = next(one for one in policies.records if one.source == "application")
        with Manifest(tmp_path / MANIFESTS, run=site.run, source="application", lane="lane-1") as manifest:
            for start in range(0, RECORDS, 100):
                written = []
                for number in range(start, start + 100):
                    level = "ERROR" if number % 20 == 0 else "INFO"
                    name = manifest.next_identity()
                    metadata = {"sessionId": None, "requestId": f"r{number}", "sequence": name}
                    written.append(record(site.run, number, level, metadata=metadata))
                    manifest.announce([manifest.announced(name, written[-1], schema.fields, level=level)])
                with made.log("application.log").open("ab") as log:
                    log.write(lines(written))
                await asyncio.sleep(0.02)
        ends = time.monotonic() + DEADLINE_SECONDS
        while not await made.count() and time.monotonic() < ends:  # noqa: ASYNC110 - the store tells nobody
            await asyncio.sleep(0.2)
        await books.audit(made.stack)

    print(*told, sep="\n")  # noqa: T201 - the figures, for who runs it with -s
    [audit] = [one for one in told if isinstance(one, RecordsAudited)]
    assert audit.fates.written == audit.fates.collected == RECORDS
    assert audit.store == f"OpenSearch {artifacts['opensearch'].version}"  # it greets Filebeat as another
    searches = {one.query: one for one in told if isinstance(one, SearchTried)}
    assert {(one.error, one.missing, one.foreign, one.ordered) for one in searches.values()} == {("", 0, 0, True)}
    # Besides, the known ones: two of the application log, three of the error log.
    assert searches["errors-of-the-last-hour"].expected == RECORDS // 20 + 5
    assert searches["logs-of-an-alert"].expected == RECORDS
    [archive] = [one for one in told if isinstance(one, ArchiveTried)]
    assert (archive.error, archive.missing, archive.left) == ("", 0, 0)
    tails = [one for one in told if isinstance(one, TailTried)]
    assert [(one.error, one.missing, one.twice, one.foreign) for one in tails] == [("", 0, 0, 0)] * 2
