"""Known records: the few whose whole content is known beforehand, so that a search for it can be held.

They are announced like any others, in manifests of the run, and given to the store itself, with all that a shipper
adds: how records get there is the audit's matter.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import orjson

from harness.errors import HarnessError, StackError
from harness.model.logs import RUN_MARK, SearchPolicy
from harness.model.records import RecordSchema
from harness.model.time import from_rfc3339
from harness.stack.manifest import Manifest
from harness.stack.search import Search
from harness.stack.search_setup import owners

LANE: Final = "searches"
"""The lane of known records: no lane of a run is called so."""

_STEP: Final = timedelta(milliseconds=20)


@dataclass(frozen=True, slots=True)
class Known:
    """Known records in a store, by identity, and what stands in them that somebody may look for."""

    documents: Mapping[str, Mapping[str, Any]]
    request_id: str
    user: str
    text: str

    @property
    def parameters(self) -> dict[str, str]:
        """What a saved query's parameters are called, and what they are here."""
        instants = [from_rfc3339(str(one["timestamp"])) for one in self.documents.values()]
        return {
            "request_id": self.request_id,
            "user": self.user,
            "text": self.text,
            "lane": LANE,
            "identity": next(iter(self.documents), ""),
            "since": _written(datetime.fromtimestamp(min(instants, default=0.0) - 1, UTC)),
            "until": _written(datetime.fromtimestamp(max(instants, default=0.0) + 1, UTC)),
        }


async def plant(
    search: Search,
    policy: SearchPolicy,
    schemas: Sequence[RecordSchema],
    manifests: Path,
    *,
    run: str,
    day: datetime | None = None,
    count: int = 1,
    refresh: bool = True,
) -> Known:
    """Announces known records and has the store take them in.

    Args:
        search: the store.
        policy: its indices.
        schemas: what records look like: those of sources that have none are not made.
        manifests: the run's folder of manifests.
        run: the run's id.
        day: the instant of the first record (aware); a second ago where None.
        count: how many of each kind there are besides the two that are searched for.
        refresh: whether they can be found when this returns; else when the store's own refresh comes.

    Raises:
        StackError: an index there is not this run's, or the store did not take them.
        HarnessError: they could not be announced.
    """
    began = datetime.now(UTC) - timedelta(seconds=1) if day is None else day
    index = index_of(policy, began)
    await refuse_foreign(search, policy, run)
    known = schemas_of(schemas)
    token = hashlib.sha256(f"{run}{time.time_ns()}".encode()).hexdigest()[:12]
    request, user, text = f"known-{token}", f"u{token}", f"deadlock found by known{token}"
    made: dict[str, Mapping[str, Any]] = {}
    try:
        with ExitStack() as opened:
            writers = {
                source: opened.enter_context(Manifest(manifests, run=run, source=source, lane=LANE)) for source in known
            }
            for number in range(2 + count):
                ours = number < 2  # the others differ in all that is asked for
                at = began + 3 * number * _STEP
                stem = {
                    "application": _application(at, number, request if ours else f"{request}-{number}", user, ours),
                    "error": _error(at + _STEP, text if ours else f"known{token} found a deadlock no more", ours),
                    "nginx-access": _access(at + 2 * _STEP, request if ours else f"{request}-{number}"),
                }
                for source, writer in writers.items():
                    name = writer.next_identity()
                    record = stem[source]
                    record["metadata"] = {**record.get("metadata", {}), "sequence": name}
                    writer.announce([writer.announced(name, record, known[source].fields, level=str(record["level"]))])
                    made[name] = _shipped(record, source)
    except OSError as error:
        raise HarnessError("Known records cannot be announced", seen=str(error)) from error
    await take_in(search, index, made, refresh=refresh)
    return Known(made, request, user, text)


def schemas_of(schemas: Sequence[RecordSchema]) -> dict[str, RecordSchema]:
    """The schemas of the sources whose known records can be made, where they carry identities as these do."""
    usable = ("application", "error", "nginx-access")
    return {one.source: one for one in schemas if one.source in usable and one.identity_field == "metadata.sequence"}


def index_of(policy: SearchPolicy, at: datetime) -> str:
    """The daily index that holds the records of an instant."""
    if policy.retention is not None:
        return policy.retention.index_of(at.date())
    return policy.pattern.replace("*", f"{at:%Y.%m.%d}", 1)


async def refuse_foreign(search: Search, policy: SearchPolicy, run: str) -> None:
    """Looks whether all indices of a policy's pattern, and its template, are this run's.

    Raises:
        StackError: one is not; nothing was touched.
    """
    found = await owners(search, policy.pattern)
    told = await search.ask("GET", f"/_index_template/{policy.name}")
    templates = told.body.get("index_templates", []) if isinstance(told.body, dict) else []
    for one in templates:
        template = one.get("index_template", {}).get("template", {})
        found[f"the template {policy.name}"] = template.get("mappings", {}).get("_meta", {}).get(RUN_MARK, "")
    others = [f"{name} of {owner or 'somebody else'}" for name, owner in found.items() if owner != run]
    if others or not templates:
        raise StackError(
            f"The store at {search.address} is not this run's: nothing is written into it",
            expected=f"a template {policy.name} and indices that bear the mark of the run {run}",
            seen=", ".join(others[:5]) or f"no template {policy.name}",
        )


async def take_in(
    search: Search, index: str, documents: Mapping[str, Mapping[str, Any]], *, refresh: bool = True
) -> None:
    """Gives the store documents by identity; with `refresh` they can be found when this returns.

    Raises:
        StackError: it did not take one of them.
    """
    lines = [
        line
        for name, document in documents.items()
        for line in (
            orjson.dumps({"index": {"_index": index, "_id": hashlib.sha256(name.encode()).hexdigest()}}),
            orjson.dumps(document),
        )
    ]
    reply = await search.ask("POST", f"/_bulk?refresh={str(refresh).lower()}", lines=b"\n".join((*lines, b"")))
    if reply.status != 200 or not isinstance(reply.body, dict) or reply.body.get("errors", True):
        raise StackError(f"The store at {search.address} did not take in known records", seen=reply.reason)


def _written(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _application(at: datetime, number: int, request: str, user: str, ours: bool) -> dict[str, Any]:
    return {
        "timestamp": _written(at),
        "level": "ERROR" if ours else "INFO",
        "service": "community-platform",
        "component": "posts",
        "userId": user if ours else None,
        "action": "post.create",
        "duration": 12.5 + number,
        "status": 500 if ours else 201,
        "ip": "203.0.113.7",
        "userAgent": "known/1.0",
        "metadata": {"sessionId": None, "requestId": request},
    }


def _error(at: datetime, text: str, ours: bool) -> dict[str, Any]:
    return {
        "timestamp": _written(at),
        "level": "ERROR",
        "service": "community-platform",
        "component": "posts" if ours else "comments",
        "error": {"name": "StorageError", "message": text, "stack": "Traceback: known", "code": "1213"},
        "context": {"query": "UPDATE posts SET title = %s", "parameters": ["***"], "duration": 3.5},
    }


def _access(at: datetime, request: str) -> dict[str, Any]:
    return {
        "timestamp": _written(at),
        "level": "WARN",
        "service": "community-platform",
        "component": "nginx",
        "method": "POST",
        "path": "/posts",
        "protocol": "HTTP/1.1",
        "status": 404,
        "bytes": 12,
        "duration": 14,
        "ip": "203.0.113.7",
        "userAgent": "known/1.0",
        "metadata": {"requestId": request},
    }


def _shipped(record: Mapping[str, Any], source: str) -> dict[str, Any]:
    """A record with what a shipper adds."""
    return {
        **record,
        "@timestamp": record["timestamp"],
        "tags": ["error"] if record["level"] == "ERROR" else [],
        "fields": {"log": source, "service": record["service"], "environment": LANE},
        "host": {"name": "known"},
    }
