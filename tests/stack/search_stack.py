"""A store of logs, up, and records that were announced and that it holds: what searches are tried on."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from log_stack import folder_with_search, loaded

from harness.model.policy import Policies
from harness.model.records import Announced, digest_of
from harness.model.stack import Address, Artifact
from harness.observe.records.planted import index_of, take_in
from harness.policy.rewire.rewiring import rewire
from harness.stack.guard import Guard
from harness.stack.layout import lay_out
from harness.stack.manifest import Manifest
from harness.stack.runtimes.process import ProcessRuntime
from harness.stack.search import Search
from harness.stack.stack import Stack


@dataclasses.dataclass(frozen=True)
class Searchable:
    """A store and a run's manifests beside it."""

    address: Address
    policies: Policies
    manifests: Path
    run: str
    began: float

    async def written(self, source: str, lane: str, records: Iterable[Mapping[str, Any]]) -> list[str]:
        """Announces records and has the store take them in; their identities."""
        documents: dict[str, Mapping[str, Any]] = {}
        schema = next(one for one in self.policies.records if one.source == source)
        with Manifest(self.manifests, run=self.run, source=source, lane=lane) as manifest:
            for one in records:
                name = manifest.next_identity()
                whole = {**one, "metadata": {**one.get("metadata", {}), "sequence": name}}
                # Nobody can announce the level of an access log's record.
                level = "" if source == "nginx-access" else str(one["level"])
                digest = "-" if source == "nginx-access" else digest_of(whole, schema.fields)
                manifest.announce([Announced(name, time.time(), source, lane, level, digest)])
                documents[name] = shipped(whole, source, lane)
        await self.stored(documents)
        return list(documents)

    async def stored(self, documents: Mapping[str, Mapping[str, Any]]) -> None:
        """Has the store take in documents that somebody, or nobody, has announced."""
        from datetime import UTC, datetime

        assert self.policies.logs is not None
        assert self.policies.logs.search is not None
        async with Search(self.address, within_seconds=120) as search:
            await take_in(search, index_of(self.policies.logs.search, datetime.now(UTC)), documents)

    async def deleted(self, name: str) -> None:
        """Takes a record out of the store."""
        async with Search(self.address, within_seconds=120) as search:
            told = await search.done(
                "POST",
                "/community-platform-*/_delete_by_query?refresh=true",
                {"query": {"term": {"metadata.sequence": name}}},
                what="nothing was deleted",
            )
        assert told["deleted"] == 1


def shipped(record: Mapping[str, Any], source: str, lane: str) -> dict[str, Any]:
    """A record with what Filebeat adds."""
    return {**record, "@timestamp": record["timestamp"], "fields": {"log": source, "environment": lane}}


@asynccontextmanager
async def searchable(folder: Path, artifacts: Mapping[str, Artifact]) -> AsyncIterator[Searchable]:
    """A store with the shipped policies' template, pipeline and queries."""
    policies = loaded(folder_with_search(folder))
    parts = tuple(one for one in policies.components if one.kind == "elasticsearch")
    policies = dataclasses.replace(policies, components=parts)
    async with Guard.open(f"test-{time.monotonic_ns()}", folder) as guard:
        layout = lay_out(
            policies, artifacts, ("lane-1",), run=guard.run, sandbox=guard.sandbox, logs=folder / "logs", cache=folder
        )
        async with Stack(layout, ProcessRuntime(guard), lambda _: None) as stack:
            await stack.up(rewire(policies, layout.sandbox(())).files, deadline_seconds=480)
            site = layout.site("elasticsearch")
            yield Searchable(site.address, policies, folder / "manifests", site.run, time.time() - 5)
