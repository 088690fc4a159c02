"""The door of `tocsin audit`: of a run from its ledger, of a running store, or of files."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final
from urllib.parse import urlsplit

from harness.errors import PolicyError, UsageError
from harness.model.audit import AuditEvent, RecordsAudited, RecordsNotAudited
from harness.model.findings import Finding, Severity
from harness.model.records import RecordSchema
from harness.model.stack import Address
from harness.model.verdicts import Verdict
from harness.observe.records import in_sql as counting
from harness.observe.records import of_clickhouse
from harness.observe.records.auditing import Store, audit, labour, manifests_in, settings_for
from harness.observe.records.of_store import Look, look_at
from harness.observe.records.tables import Rows
from harness.policy.parse import records, targets
from harness.policy.parse.files import Folder
from harness.report.recorded import read_run
from harness.stack.search import Credentials
from harness.verdict.record import record
from harness.verdict.targets.logs_collected import LOGS_COLLECTED, judge_audits

_LOGS: Final = "logs/"
_EVENTS: Final = "events/"

OBJECTIVE: Final = 0.99
"""The share that must be collected where targets.yaml does not say."""


@dataclass(frozen=True, slots=True)
class Audited:
    """What an audit found, and what it amounts to."""

    audits: tuple[RecordsAudited, ...]
    gaps: tuple[RecordsNotAudited, ...]
    verdict: Verdict
    claim: str

    @property
    def exit_code(self) -> int:
        """0 pass, 1 fail, 3 unverified."""
        return self.verdict.exit_code


def audit_run(folder: Path, policies: Path) -> Audited:
    """The audit that a run made of its own stores, from its ledger.

    Raises:
        UsageError: that is no run.
        LedgerError: its ledger cannot be read.
    """
    told = record(read_run(folder).events)
    declared = next((target.objective for target in told.targets if target.id == LOGS_COLLECTED.id), None)
    return _judged((*told.audits, *told.not_audited), _objective(policies) if declared is None else declared)


def audit_store_at(
    url: str, manifests: Path, policies: Path, *, index: str, user: str | None, password_file: Path | None, work: Path
) -> Audited:
    """The audit of a running store against a folder of manifests; nothing is written to the store.

    Raises:
        UsageError: the URL, a file or the index is not what is needed.
        PolicyError: a schema of the policies is none.
        StackError: the store does not answer, is another product, or refuses who asks.
    """
    address = _address(url)
    credentials = _credentials(user, password_file)
    schemas, found = _kept(_LOGS, _schemas(policies), manifests_in(manifests))
    look = Look(index, credentials=credentials, work=_made(work))
    return _judged(asyncio.run(look_at(address, schemas, found, look)), _objective(policies))


def audit_clickhouse_at(
    url: str,
    manifests: Path,
    policies: Path,
    *,
    database: str,
    in_sql: bool,
    user: str | None,
    password_file: Path | None,
    work: Path,
) -> Audited:
    """The audit of events in a running ClickHouse; nothing is written to their database.

    With `in_sql` ClickHouse counts by itself, in a database of the audit's own that is dropped at the end.

    Raises:
        UsageError: the URL, a file, the database or its tables are not what is needed.
        PolicyError: a schema of the policies is none.
        StackError: ClickHouse does not answer, is something else, or refuses who asks.
    """
    address = _address(url, 8123)
    schemas, found = _kept(_EVENTS, _schemas(policies), manifests_in(manifests))
    look = of_clickhouse.Look(Rows(database), credentials=_credentials(user, password_file), work=_made(work))
    way = counting.count_events if in_sql else of_clickhouse.look_into
    return _judged(asyncio.run(way(address, schemas, found, look)), _objective(policies))


def audit_files(files: Sequence[Path], manifests: Path, policies: Path, *, work: Path) -> Audited:
    """The audit of NDJSON files against a folder of manifests.

    Raises:
        UsageError: a file cannot be read.
        PolicyError: a schema of the policies is none.
    """
    schemas, announced = _schemas(policies), manifests_in(manifests)
    with TemporaryDirectory(prefix="audit-", dir=_made(work)) as temporary:
        settings = settings_for(announced, schemas, Path(temporary), time.time())
        with labour(settings, [*announced, *(file for file in files if file.is_file())], os.cpu_count() or 1) as by:
            events = audit(announced, files, settings, by, Store())
    return _judged(events, _objective(policies))


def _credentials(user: str | None, password_file: Path | None) -> Credentials | None:
    if user is None:
        return None
    if password_file is None:
        raise UsageError("--user needs a password", hint="name a file that holds it with --password-file")
    return Credentials(user, _text(password_file).strip())


def _kept(
    folder: str, schemas: Sequence[RecordSchema], manifests: Sequence[Path]
) -> tuple[Sequence[RecordSchema], Sequence[Path]]:
    """What goes to a store of logs, or of events; a run announces both in one folder, and each misses only its own."""
    others = {schema.source for schema in schemas if not schema.file.startswith(folder)}
    mine = tuple(schema for schema in schemas if schema.source not in others)
    if not mine:
        return schemas, manifests
    return mine, tuple(path for path in manifests if path.name.partition(".")[0] not in others)


def _judged(events: Sequence[AuditEvent], objective: float) -> Audited:
    audits = tuple(one for one in events if isinstance(one, RecordsAudited))
    gaps = tuple(one for one in events if isinstance(one, RecordsNotAudited))
    return Audited(audits, gaps, *judge_audits(audits, gaps, objective))


def _schemas(policies: Path) -> tuple[RecordSchema, ...]:
    found: list[Finding] = []
    folder = Folder(policies)
    schemas = records.load(folder, found)
    found = [*folder.findings, *found]
    if any(finding.severity is Severity.ERROR for finding in found):
        raise PolicyError(f"the schemas of records in {policies} cannot be used", found)
    if not schemas:
        raise UsageError(
            f"{policies} says of no record what it looks like",
            expected=" or ".join(records.PATTERNS),
            hint="without a schema nobody knows what a record has lost; see docs/audit.md",
        )
    return schemas


def _objective(policies: Path) -> float:
    """What targets.yaml promises, where there is one that does."""
    path = next((policies / name for name in ("targets.yaml", "targets.yml") if (policies / name).is_file()), None)
    if path is None:
        return OBJECTIVE
    declared = targets.parse(_text(path), str(path)).value or ()
    return next((target.objective for target in declared if target.id == LOGS_COLLECTED.id), OBJECTIVE)


def _address(url: str, usual_port: int = 9200) -> Address:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise UsageError(f"{url!r} is no URL", seen=str(error), hint="e.g. --store http://127.0.0.1:9200") from error
    if parts.scheme != "http" or not parts.hostname or parts.username is not None:
        raise UsageError(
            "the URL of the store cannot be used",
            expected="http://HOST:PORT, without credentials in it",
            seen=f"the scheme {parts.scheme!r}" if parts.scheme != "http" else "another form",
            hint="name credentials with --user and --password-file; for TLS put a tunnel before it",
        )
    return Address(parts.hostname, usual_port if port is None else port)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read", seen=str(error), hint="check the path") from error


def _made(work: Path) -> Path:
    try:
        work.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"the folder {work} cannot be made", seen=error.strerror, hint="set TOCSIN_CACHE") from error
    return work
