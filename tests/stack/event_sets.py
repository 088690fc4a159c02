"""Events announced in manifests and kept in a ClickHouse, with whatever went wrong in between."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import orjson
from event_doubles import DEADLINE_SECONDS, event, free_port

from harness.model.findings import Finding
from harness.model.records import Announced, RecordSchema, digest_of
from harness.model.stack import Address, Artifact
from harness.policy.parse import records
from harness.policy.parse.files import Folder
from harness.stack.clickhouse.client import Connection
from harness.stack.clickhouse.statements import statements

POLICIES = Path(__file__).parents[2] / "policies"
KINDS = ("user", "security", "performance")
RUN = "run"


def event_schemas() -> tuple[RecordSchema, ...]:
    """Those of the shipped policies."""
    found: list[Finding] = []
    return tuple(one for one in records.load(Folder(POLICIES), found) if one.file.startswith("events/"))


SCHEMAS = {schema.source: schema for schema in event_schemas()}


@contextmanager
def an_engine(chdb: Artifact, folder: Path) -> Iterator[Address]:
    """ClickHouse's engine over a folder, from when it answers; killed at the end."""
    at = Address("127.0.0.1", free_port())
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "harness.stack.clickhouse", f"--path={folder}/data", f"--http_port={at.port}"],
            env=os.environ | dict(chdb.environment), stderr=log,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while True:
            try:
                urlopen(f"http://{at}/ping").close()
                break
            except OSError:
                assert process.poll() is None, (folder / "log").read_text()
                assert time.monotonic() < deadline, (folder / "log").read_text()
                time.sleep(0.05)
        yield at
    finally:
        process.kill()
        process.wait()


@dataclass
class Kept:
    """What a database is to hold: rows by kind, and what was announced of them beforehand."""

    announced: list[Announced] = field(default_factory=list)
    rows: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def write(self, folder: Path) -> tuple[Path, ...]:
        """The manifests, one a kind."""
        from harness.model.records import line_of

        folder.mkdir(exist_ok=True)
        for kind in {one.source for one in self.announced}:
            lines = [line_of(one) for one in self.announced if one.source == kind]
            (folder / f"{kind}.lane-01.1.tsv").write_bytes(b"".join(lines))
        return tuple(sorted(folder.glob("*.tsv")))

    def keep(self, one: Mapping[str, Any], ingested_at: float, kind: str = "") -> None:
        """One row."""
        row = {"record": orjson.dumps(one).decode(), "ingested": f"{ingested_at:.3f}"}
        self.rows.setdefault(kind or one["kind"], []).append(row)


Change = Callable[[Kept, dict[str, Any], float], None]
"""What became of an event on its way: the rows that it keeps of it, given the instant of its announcement."""


def odd(number: int) -> str:
    """A text with what JSON has to escape in it, and what it need not."""
    return f'"ü/\\\t\x1b {number}'


def a_set(
    count: int,
    changes: Mapping[tuple[str, int], Change] | None = None,
    *,
    ago: float = 100.0,
    agent: Callable[[int], str] = odd,
) -> Kept:
    """So many events of each kind, announced so long ago and kept half a second later, but for the changes."""
    kept, began = Kept(), time.time() - ago
    for kind in KINDS:
        for number in range(1, count + 1):
            stamp = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(began))
            one = event(number, kind, timestamp=stamp, userAgent=agent(number))
            at = began + number / 1000
            level = "" if number % 2 else "notice"
            digest = digest_of(one, SCHEMAS[kind].fields)
            kept.announced.append(Announced(one["metadata"]["sequence"], at, kind, "lane-01", level, digest))
            change = (changes or {}).get((kind, number))
            if change is None:
                kept.keep(one, at + 0.5)
            else:
                change(kept, one, at)
    return kept


async def fill(at: Address, database: str, kept: Kept) -> None:
    """A database of this name with the tables of the policies, and these rows in them."""
    text = (POLICIES / "clickhouse" / "01-events.sql").read_text().replace("community_platform", database)
    async with Connection(at) as connection:
        for statement in statements(text):
            await connection.run(statement.text, what="the tables")
        for kind, rows in kept.rows.items():
            # The tables keep one row of an identity at each insert and merge; copies come apart and stay so.
            await connection.run(f"SYSTEM STOP MERGES {database}.{kind}_events", what="no merges")
            for some in _rounds(rows):
                await connection.run(
                    f"INSERT INTO {database}.{kind}_events (record, ingested) FORMAT JSONEachRow",
                    what="the rows",
                    data=_lines(some),
                )


def _rounds(rows: Iterable[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """The rows, in so many parts that no part has two of one identity."""
    rounds: list[list[dict[str, Any]]] = []
    seen: Counter[str] = Counter()
    for row in rows:
        name = orjson.loads(row["record"]).get("metadata", {}).get("sequence", "")
        if seen[name] == len(rounds):
            rounds.append([])
        rounds[seen[name]].append(row)
        seen[name] += 1
    return rounds


async def _lines(rows: Iterable[Mapping[str, Any]]) -> AsyncIterator[bytes]:
    for row in rows:
        yield orjson.dumps(row) + b"\n"


def lost(_kept: Kept, _one: dict[str, Any], _at: float) -> None:
    """It never arrives."""


def doubled(kept: Kept, one: dict[str, Any], at: float) -> None:
    """It arrives three times, in two inserts."""
    kept.keep(one, at + 0.5)
    kept.keep(one, at + 0.5)
    kept.keep(one, at + 2)


def late(kept: Kept, one: dict[str, Any], at: float) -> None:
    """It arrives after its allowance."""
    kept.keep(one, at + 65)


def damaged(kept: Kept, one: dict[str, Any], at: float) -> None:
    """A text has lost its end."""
    kept.keep({**one, "userAgent": one["userAgent"][:-1]}, at + 0.5)


def mended(kept: Kept, one: dict[str, Any], at: float) -> None:
    """It arrives damaged, and whole after that; a number that is written in another way is the same."""
    damaged(kept, one, at)
    kept.keep({**one, "status": float(one["status"]), "shipper": {"added": 1}}, at + 1)
