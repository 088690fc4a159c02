"""What a team's Logstash does between the shipper and the store, as far as the rest of the house needs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class LogstashPolicy:
    """logstash.conf.

    Args:
        file: relative to the policies folder.
        ports: where its `beats` inputs listen.
        hosts: the addresses (`host:port`) of the stores that it writes to, as production knows them.
        indices: the indices that it writes to, as the file has them (`community-platform-%{+YYYY.MM.dd}`).
        processors: its filters, translated into the processors of an ingest pipeline.
        schemas: the files that say what its records look like, relative to the policies folder.
    """

    file: str
    ports: tuple[int, ...]
    hosts: tuple[str, ...]
    indices: tuple[str, ...]
    processors: tuple[Mapping[str, Any], ...]
    schemas: tuple[str, ...] = ()
