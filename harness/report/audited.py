"""The audit of records as reports tell it: the shape `tocsin/audit/1`, and the rows of a table."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, TypeAlias

from harness.model.audit import Fates, RecordsAudited, RecordsNotAudited

SCHEMA: Final = "tocsin/audit/1"

COLUMNS: Final = (
    "source", "written", "in time", "late", "double", "corrupt", "lost", "unverified", "violations",
    "delay p50, p99, max",
)  # fmt: skip
"""The columns of the table of sources."""

FAULT_COLUMNS: Final = ("source", "while", "written", "late", "double", "corrupt", "lost", "unverified")
"""The columns of the table of what faults cost."""

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
"""What JSON can say."""


def audit_json(audits: Sequence[RecordsAudited], gaps: Sequence[RecordsNotAudited]) -> dict[str, Json]:
    """Audits in the shape of the outside contract.

    The delays of all sources together are those of the slowest source: no quantile of all records is above that.
    """
    total = sum((one.fates for one in audits), Fates())
    seconds = max((one.seconds for one in audits), default=0.0)
    return {
        "schema": SCHEMA,
        **_fates(total),
        "schema_violations": sum(one.schema_violations for one in audits),
        "delay_seconds": {
            "p50": _slowest(one.delay_p50_seconds for one in audits),
            "p99": _slowest(one.delay_p99_seconds for one in audits),
            "max": _slowest(one.delay_max_seconds for one in audits),
        },
        "records_per_second": round(total.written / seconds) if seconds else 0,
        "seconds": _number(seconds),
        "fetch_seconds": _number(max((one.fetch_seconds for one in audits), default=0.0)),
        "by_source": [_source(one) for one in audits],
        "not_audited": [{"source": one.source or None, "why": one.why} for one in gaps],
    }


def rows(audits: Iterable[RecordsAudited]) -> list[tuple[str, ...]]:
    """The table of sources, in the order of `COLUMNS`."""
    return [
        (
            one.source,
            str(one.fates.written),
            str(one.fates.in_time),
            *_bad(one.fates),
            str(one.schema_violations),
            _delays(one),
        )
        for one in audits
    ]


def fault_rows(audits: Iterable[RecordsAudited]) -> list[tuple[str, ...]]:
    """What faults cost, in the order of `FAULT_COLUMNS`; those that cost nothing are left out."""
    return [
        (one.source, fault, str(fates.written), *_bad(fates))
        for one in audits
        for fault, fates in one.by_fault.items()
        if fates.in_time < fates.written
    ]


def remarks(audits: Iterable[RecordsAudited], gaps: Iterable[RecordsNotAudited]) -> list[str]:
    """What is to be said besides: doubts, offending fields, identities, what was not audited."""
    told = []
    for one in audits:
        doubts = list(one.doubts)
        if one.offending:
            doubts.append("offending fields: " + ", ".join(f"{name} {count}" for name, count in one.offending.items()))
        if one.unannounced:
            doubts.append(f"{one.unannounced} were found that nobody announced")
        if one.order_inversions:
            doubts.append(f"{one.order_inversions} stand behind a later one of their writer")
        doubts += [f"{fate}: {', '.join(names)}" for fate, names in one.examples.items() if fate != "duplicate"]
        told += [f"{one.source}: {doubt}" for doubt in doubts]
    return told + [f"not audited: {f'{gap.source}: ' if gap.source else ''}{gap.why}" for gap in gaps]


def _source(one: RecordsAudited) -> Json:
    return {
        "source": one.source,
        "store": one.store,
        "stands_in": dict(one.stands_in) or None,
        **_fates(one.fates),
        "found": one.found,
        "surplus": one.surplus,
        "withdrawn": one.withdrawn,
        "unannounced": one.unannounced,
        "undigested": one.undigested,
        "schema_violations": one.schema_violations,
        "offending": dict(one.offending),
        "delay_seconds": {
            "min": _number(one.delay_min_seconds),
            "p50": _number(one.delay_p50_seconds),
            "p99": _number(one.delay_p99_seconds),
            "max": _number(one.delay_max_seconds),
        },
        "clock_skew_seconds": _number(one.clock_skew_seconds),
        "order_inversions": one.order_inversions,
        "by_level": _by(one.by_level),
        "by_lane": _by(one.by_lane),
        "by_fault": _by(one.by_fault),
        "examples": {fate: list(names) for fate, names in one.examples.items()},
        "control": {
            "withheld": one.control.withheld,
            "damaged": one.control.damaged,
            "doubled": one.control.doubled,
            "exact": one.control.exact,
            "told": one.control.told,
        },
        "doubts": list(one.doubts),
    }


def _fates(fates: Fates) -> dict[str, Json]:
    return {
        "written": fates.written,
        "in_time": fates.in_time,
        "late": fates.late,
        "duplicate": fates.duplicate,
        "corrupt": fates.corrupt,
        "lost": fates.lost,
        "unverified": fates.unverified,
    }


def _by(apart: Mapping[str, Fates]) -> Json:
    return {name: _fates(fates) for name, fates in apart.items()}


def _bad(fates: Fates) -> tuple[str, ...]:
    return tuple(map(str, (fates.late, fates.duplicate, fates.corrupt, fates.lost, fates.unverified)))


def _delays(one: RecordsAudited) -> str:
    known = (one.delay_p50_seconds, one.delay_p99_seconds, one.delay_max_seconds)
    return ", ".join("-" if seconds is None else f"{seconds:.1f}" for seconds in known) + " s"


def _slowest(seconds: Iterable[float | None]) -> float | None:
    return _number(max((one for one in seconds if one is not None), default=None))


def _number(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else round(value, 6)


def text(audits: Sequence[RecordsAudited], gaps: Sequence[RecordsNotAudited], verdict: str, claim: str) -> str:
    """Audits for a person; the last line is the verdict."""
    lines = [*_aligned(COLUMNS, rows(audits)), *_aligned(FAULT_COLUMNS, fault_rows(audits))]
    lines += [f"- {remark}" for remark in remarks(audits, gaps)]
    stores = dict.fromkeys(
        f"{one.store} (for {one.stands_in['for']})" if one.stands_in else one.store for one in audits
    )
    if stores:
        seconds, fetched = max(one.seconds for one in audits), max(one.fetch_seconds for one in audits)
        lines.append(f"asked: {', '.join(stores)}; read in {fetched:.1f} s, audited in {seconds:.1f} s")
    return "\n".join([*lines, f"{verdict.upper()} — {claim}"]) + "\n"


def _aligned(columns: Sequence[str], table: Sequence[Sequence[str]]) -> list[str]:
    if not table:
        return []
    widths = [max(map(len, column)) for column in zip(columns, *table, strict=True)]
    told = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (columns, *table)
    ]
    return [*told, ""]
