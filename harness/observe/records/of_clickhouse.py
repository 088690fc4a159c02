"""The audit of events that ClickHouse keeps: waits for what was announced last, reads the rows, audits them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from harness.errors import HarnessError, in_a_line
from harness.model.audit import AuditEvent, FaultWindow, RecordsNotAudited
from harness.model.records import RecordSchema
from harness.model.stack import Address
from harness.observe.records.auditing import Store, audit_read, manifests_of
from harness.observe.records.settings import NEVER
from harness.observe.records.store import announced_in
from harness.observe.records.tables import COMMIT_SECONDS, Rows, await_rows, check_tables, read_rows
from harness.stack.clickhouse.client import Connection
from harness.stack.search import Credentials, Product

LIBRARY: Final = "ClickHouse's engine as a library (chdb)"
"""What answers in the place of a server."""


@dataclass(frozen=True, slots=True)
class Look:
    """How a ClickHouse is looked at.

    Args:
        rows: which rows are read.
        since: only events announced from then on are audited, Unix seconds.
        until: only events announced before then.
        windows: the faults by which events are counted apart.
        credentials: who asks.
        seed: what the negative control draws by.
        wait: whether to wait for events that were announced shortly before.
        work: where a folder may be made while the audit goes on; the system's own place where None.
    """

    rows: Rows
    since: float = 0.0
    until: float = NEVER
    windows: tuple[FaultWindow, ...] = ()
    credentials: Credentials | None = None
    seed: int = 0
    wait: bool = True
    work: Path | None = None


async def audit_events(
    address: Address,
    schemas: Sequence[RecordSchema],
    manifests_folder: Path,
    *,
    database: str,
    since: float,
    until: float,
    run: str,
    windows: Sequence[FaultWindow] = (),
    seed: int = 0,
) -> tuple[AuditEvent, ...]:
    """The audit of a run's events: one event for each source that has a schema here, or why there is none.

    Call it from the main thread's event loop. Manifests of sources without a schema here belong to another store.

    Args:
        address: where ClickHouse's HTTP interface listens.
        schemas: of the sources whose events go there.
        manifests_folder: the run's manifests.
        database: the database that holds them.
        since: only events announced from then on are audited, Unix seconds.
        until: only events announced before then.
        run: the run's id.
        windows: the faults by which events are counted apart.
        seed: what the negative control draws by.
    """
    look = Look(Rows(database, run), since, until, tuple(windows), seed=seed, work=manifests_folder.parent)
    try:
        return await look_into(address, schemas, manifests_of(manifests_folder, schemas), look)
    except (HarnessError, OSError) as error:
        return (RecordsNotAudited(f"events: {in_a_line(error)}"),)


async def look_into(
    address: Address, schemas: Sequence[RecordSchema], manifests: Sequence[Path], look: Look
) -> tuple[AuditEvent, ...]:
    """As `audit_events`, with whatever goes wrong as an error.

    Raises:
        UsageError: the database or its tables are not there, or not what is needed.
        StackError: ClickHouse does not answer, is something else, or refuses who asks.
    """
    with TemporaryDirectory(prefix="audit-", dir=look.work) as temporary:
        spool = Path(temporary) / "found.ndjson"
        async with Connection(address, credentials=look.credentials) as connection:
            product = await connection.product()
            await check_tables(connection, look.rows)
            if look.wait:
                expected, last_at = await asyncio.to_thread(announced_in, manifests)
                await await_rows(connection, look.rows, expected, min(last_at, time.time()))
            read = await read_rows(connection, look.rows, spool)
        return await audit_read(
            manifests,
            schemas,
            spool,
            store_of(product, read.seconds),
            look,
            looked_at=read.opened_at,
            refresh_seconds=COMMIT_SECONDS,
        )


def store_of(product: Product, seconds: float) -> Store:
    """What was asked: a server by its name, the library by what it is and for what it stands in."""
    if product.name == "clickhouse":
        return Store(f"ClickHouse {product.version}", fetch_seconds=seconds)
    return Store(f"{LIBRARY} {product.version}", {"for": "ClickHouse", "is": LIBRARY}, seconds)
