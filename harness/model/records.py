"""Records of logs and events: who a record is, what was announced of it before it was written, whether it is whole.

A record's identity is `run/epoch/sequence`: an epoch is one life of one writer (`application.lane-01.3`), a sequence
counts its records from 1. The identity stands in the record itself, at a place that its schema declares
(`metadata.sequence` unless the schema says otherwise), and in the writer's manifest, one line a record, **before** the
record is written. What should be found is never derived from what was found.

A writer that learns afterwards that a record cannot have been written (the request for it reached nobody, so that no
access log knows of it) *withdraws* it: a second line of the same identity, with the level `withdrawn`. A withdrawn
record is not missed where it is not found; where it is found all the same, it counts like any other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

IDENTITY_FIELD: Final = "metadata.sequence"
"""Where a record carries its identity, unless its schema says otherwise."""

MANIFESTS: Final = "manifests"
"""The folder of a run that holds its writers' manifests, one file a writer: `<source>.<lane>.<life>.tsv`."""

UNKNOWN_DIGEST: Final = "-"
"""In place of a digest where the writer cannot know the whole record beforehand (an access log of nginx)."""

WITHDRAWN: Final = "withdrawn"
"""The level in a line that takes back what an earlier line of the same identity announced."""


@dataclass(frozen=True, slots=True)
class Announced:
    """A record as its manifest has it.

    Args:
        identity: `run/epoch/sequence`.
        at: the instant at which it was announced, just before it was written, in Unix seconds.
        source: which log or event stream it belongs to: the stem of its schema (`application`, `error`,
            `nginx-access`, `system`, `security`, …).
        lane: in whose lane, or `shared`.
        level: its level as its record says (`INFO`, `ERROR`), "" where it has none, or `WITHDRAWN`.
        digest: `digest_of` its record, or `UNKNOWN_DIGEST`.
    """

    identity: str
    at: float
    source: str
    lane: str
    level: str
    digest: str

    @property
    def is_withdrawal(self) -> bool:
        """Whether it takes back an earlier announcement instead of making one."""
        return self.level == WITHDRAWN


def identity(run: str, epoch: str, sequence: int) -> str:
    """Who a record is."""
    return f"{run}/{epoch}/{sequence}"


def digest_of(record: Mapping[str, Any], fields: Collection[str]) -> str:
    """16 hexadecimal digits over those top-level `fields` of a record that it has (BLAKE2b, keys sorted).

    Both ends compute it over the fields that the schema declares, so that what a shipper or a store adds does not
    matter, and what it loses or changes does. Numbers must survive JSON in other languages: a float without a fraction
    counts as the integer (Go writes 12.0 as 12).
    """
    declared = {name: record[name] for name in fields if name in record}
    return hashlib.blake2b(orjson.dumps(_plain(declared), option=orjson.OPT_SORT_KEYS), digest_size=8).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return value


def line_of(announced: Announced) -> bytes:
    """A manifest's line: identity, instant, source, lane, level, digest, with tabs between and a newline at its end."""
    return (
        f"{announced.identity}\t{announced.at:.6f}\t{announced.source}\t{announced.lane}\t{announced.level}"
        f"\t{announced.digest}\n"
    ).encode()


def announced_from(line: bytes) -> Announced | None:
    """The record that a manifest's line announces; None for a line that its writer did not finish."""
    if not line.endswith(b"\n"):
        return None
    parts = line[:-1].decode(errors="replace").split("\t")
    if len(parts) != 6:
        return None
    try:
        return Announced(parts[0], float(parts[1]), *parts[2:])
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class RecordSchema:
    """What a log's or an event stream's records must look like, as `policies/logs/` or `policies/events/` states it.

    Args:
        source: the stem of the file's name: `application` of `logs/application.schema.json`.
        file: its path relative to the policies folder.
        document: the JSON Schema (2020-12).
        identity_field: where a record carries its identity, with dots between (`x-tocsin-identity` in the document).
    """

    source: str
    file: str
    document: Mapping[str, Any]
    identity_field: str = IDENTITY_FIELD

    @property
    def fields(self) -> frozenset[str]:
        """The top-level fields that it declares: those over which `digest_of` is computed."""
        return frozenset(self.document.get("properties", ()))
