"""The audit of a running store: waits for what was announced last, reads the store in pages, audits what was read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from harness.errors import HarnessError, in_a_line
from harness.model.audit import AuditEvent, FaultWindow, RecordsNotAudited
from harness.model.records import RecordSchema
from harness.model.stack import Address
from harness.observe.records.auditing import Store, audit_read, manifests_of
from harness.observe.records.awaiting import await_all
from harness.observe.records.settings import NEVER
from harness.observe.records.store import question, read_pages
from harness.stack.search import Credentials, Search

_PRODUCTS = {"opensearch": "OpenSearch", "elasticsearch": "Elasticsearch"}


@dataclass(frozen=True, slots=True)
class Look:
    """How a store is looked at.

    Args:
        index_pattern: the indices that hold the records (`community-platform-*`).
        run: only records of this run are read; "" for whatever bears an identity.
        since: only records announced from then on are audited, Unix seconds.
        until: only records announced before then.
        windows: the faults by which records are counted apart.
        means: which product the policy means; another one is told as a stand-in.
        credentials: who asks.
        seed: what the negative control draws by.
        wait: whether to wait for records that were announced shortly before.
        work: where a folder may be made while the audit goes on; the system's own place where None.
    """

    index_pattern: str
    run: str = ""
    since: float = 0.0
    until: float = NEVER
    windows: tuple[FaultWindow, ...] = ()
    means: str = ""
    credentials: Credentials | None = None
    seed: int = 0
    wait: bool = True
    work: Path | None = None


async def audit_store(
    address: Address,
    schemas: Sequence[RecordSchema],
    manifests_folder: Path,
    *,
    index_pattern: str,
    since: float,
    until: float,
    run: str,
    windows: Sequence[FaultWindow] = (),
    seed: int = 0,
    means: str = "elasticsearch",
) -> tuple[AuditEvent, ...]:
    """The audit of a run's store: one event for each source that has a schema here, or why there is none.

    Call it from the main thread's event loop. Manifests of sources without a schema here belong to another store.

    Args:
        address: where the store listens.
        schemas: of the sources whose records go there.
        manifests_folder: the run's manifests.
        index_pattern: the indices that hold the records.
        since: only records announced from then on are audited, Unix seconds.
        until: only records announced before then.
        run: the run's id.
        windows: the faults by which records are counted apart.
        seed: what the negative control draws by.
        means: the product that the policy means.
    """
    look = Look(index_pattern, run, since, until, tuple(windows), means, seed=seed, work=manifests_folder.parent)
    try:
        return await look_at(address, schemas, manifests_of(manifests_folder, schemas), look)
    except (HarnessError, OSError) as error:
        return (RecordsNotAudited(in_a_line(error)),)


async def look_at(
    address: Address, schemas: Sequence[RecordSchema], manifests: Sequence[Path], look: Look
) -> tuple[AuditEvent, ...]:
    """As `audit_store`, with whatever goes wrong as an error.

    Raises:
        UsageError: the indices are not there, or their records cannot be found by identity.
        StackError: the store does not answer, is another product, or refuses who asks.
    """
    with TemporaryDirectory(prefix="audit-", dir=look.work) as temporary:
        spool = Path(temporary) / "found.ndjson"
        async with Search(address, credentials=look.credentials) as search:
            await search.product()
            asked = await question(search, look.index_pattern, schemas, look.run)
            if look.wait:
                await await_all(search, asked, manifests)
            read = await read_pages(search, asked, schemas, spool)
        product = _PRODUCTS[read.product.name]
        stands_in = {"for": _PRODUCTS.get(look.means, look.means), "is": product}
        store = Store(
            f"{product} {read.product.version}",
            stands_in if look.means and look.means != read.product.name else {},
            read.seconds,
        )
        return await audit_read(
            manifests,
            schemas,
            spool,
            store,
            look,
            looked_at=read.opened_at,
            refresh_seconds=read.refresh_seconds,
        )
