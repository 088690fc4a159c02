"""A stack that ships logs: a store, one Filebeat, and in each lane a small server in whose log folder tests write."""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import yaml
from stack_doubles import server

from harness.errors import StackError
from harness.model.events import Payload
from harness.model.policy import Policies
from harness.model.records import identity
from harness.model.stack import Address, Artifact
from harness.policy.parse.policies import load
from harness.policy.rewire.rewiring import Rewiring, rewire
from harness.stack.components.registry import COMPONENTS
from harness.stack.guard import Guard
from harness.stack.layout import Layout, lay_out
from harness.stack.runtimes.process import ProcessRuntime
from harness.stack.search import Search
from harness.stack.stack import Stack

SHIPPED = Path(__file__).parents[2] / "policies"
PATTERN = "community-platform-*"
SEARCH_PARTS = (
    {
        "name": "elasticsearch",
        "kind": "elasticsearch",
        "addresses": ["elasticsearch:9200"],
        "unit": "units/elasticsearch.service",
    },
    {"name": "filebeat", "kind": "filebeat", "addresses": ["filebeat:5066"], "unit": "units/filebeat.service"},
)
EVERY_FAULT = frozenset(path.stem for path in (SHIPPED.parent / "docs" / "faults").glob("*.md"))
CHANNELS = {
    "email": "email_configs",
    "sms": "sns_configs",
    "slack": "slack_configs",
    "discord": "discord_configs",
    "push": "webhook_configs",
}


def folder_with_search(to: Path, *more: Mapping[str, object]) -> Path:
    """The shipped policies with a store and a shipper among the components, and `more`."""
    root = to / "policies"
    shutil.copytree(SHIPPED, root)
    document = yaml.safe_load((root / "stack.yaml").read_text())
    known = {one["name"] for one in document["components"]}
    document["components"] += [one for one in (*SEARCH_PARTS, *more) if one["name"] not in known]
    (root / "stack.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    return root


def loaded(root: Path) -> Policies:
    """A folder's policies."""
    return load(root, faults=EVERY_FAULT, channels=CHANNELS, components={one.kind for one in COMPONENTS}).policies


class Shipping:
    """A stack that ships logs, up."""

    def __init__(self, stack: Stack, policies: Policies, rewiring: Rewiring, events: list[Payload]) -> None:
        self.stack = stack
        self.policies = policies
        self.layout: Layout = stack.layout
        self.rewiring = rewiring
        self.events = events

    @property
    def store(self) -> Address:
        """The store's own address."""
        return self.layout.site("elasticsearch").address

    def log(self, name: str, lane: str = "lane-1", writer: str = "community-platform") -> Path:
        """A log file of a component in a lane."""
        return Path(self.layout.logs[writer][lane]) / name

    async def found(self, query: Mapping[str, object] | None = None, size: int = 10_000) -> list[dict[str, Any]]:
        """The documents of the pattern, after a refresh."""
        async with Search(self.store) as search:
            await search.ask("POST", f"/{PATTERN}/_refresh")
            body = {"size": size, "query": query or {"match_all": {}}, "track_total_hits": True}
            reply = await search.ask("POST", f"/{PATTERN}/_search", body)
            assert reply.status == 200, reply
            hits: list[dict[str, Any]] = reply.body["hits"]["hits"]
            return hits

    async def count(self) -> int:
        """How many documents of the pattern there are, after a refresh; 0 where nobody answers."""
        try:
            async with Search(self.store) as search:
                await search.ask("POST", f"/{PATTERN}/_refresh")
                reply = await search.ask("GET", f"/{PATTERN}/_count")
        except StackError:
            return 0
        return int(reply.body["count"]) if reply.status == 200 else 0


@asynccontextmanager
async def shipping(
    folder: Path,
    artifacts: Mapping[str, Artifact],
    *,
    lanes: tuple[str, ...] = ("lane-1",),
    edit: tuple[str, str] | None = None,
) -> AsyncIterator[Shipping]:
    """A stack that ships logs; `edit` replaces a text of filebeat.yml."""
    root = folder_with_search(folder)
    if edit is not None:
        text = (root / "filebeat.yml").read_text()
        assert edit[0] in text
        (root / "filebeat.yml").write_text(text.replace(*edit))
    policies = loaded(root)
    parts = [one for one in policies.components if one.kind in {"elasticsearch", "filebeat"}]
    policies = dataclasses.replace(policies, components=(*parts, server("community-platform")))
    async with Guard.open(f"test-{time.monotonic_ns()}", folder) as guard:
        layout = lay_out(
            policies, artifacts, lanes, run=guard.run, sandbox=guard.sandbox, logs=folder / "logs", cache=folder
        )
        events: list[Payload] = []
        async with Stack(layout, ProcessRuntime(guard), events.append) as stack:
            copied = rewire(policies, layout.sandbox(()))
            await stack.up(copied.files, deadline_seconds=120)
            yield Shipping(stack, policies, copied, events)


def record(run: str, sequence: int, level: str = "INFO", **more: object) -> dict[str, object]:
    """A record as the application log has it."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {
        "timestamp": now,
        "level": level,
        "service": "community-platform",
        "component": "posts",
        "userId": None,
        "action": "post.list",
        "duration": 12.0 if sequence % 2 else 3.141,
        "status": 200,
        "ip": "203.0.113.7",
        "userAgent": "Mozilla/5.0 (X11) “é”",
        "metadata": {
            "sessionId": None,
            "requestId": f"r{sequence}",
            "sequence": identity(run, "application.lane-1.1", sequence),
        },
        **more,
    }


def lines(records: Iterable[Mapping[str, object]]) -> bytes:
    """Records as lines of JSON."""
    return b"".join(orjson.dumps(one) + b"\n" for one in records)
