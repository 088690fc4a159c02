"""The command line of the collector, read once and checked."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from harness.stack.collector.clickhouse import ClickHouse
from harness.stack.collector.influxdb import InfluxDB
from harness.stack.collector.intake import Limits

POINTS: Final = 5_000
"""What InfluxDB's makers advise to write at once."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Settings:
    """The whole configuration of one collector.

    Args:
        host: where to listen.
        port: the port to listen on.
        store: the folder of events that wait, and of dead letters.
        schemas: the folder of `<kind>.schema.json`.
        clickhouse: where events go.
        batch_events: how many are sent to ClickHouse together at most.
        influxdb: where those go that are time series; None: nowhere.
        batch_points: how many events are looked through for InfluxDB together at most.
        limits: what is held at most.
    """

    host: str
    port: int
    store: Path
    schemas: Path
    clickhouse: ClickHouse
    batch_events: int
    influxdb: InfluxDB | None
    batch_points: int
    limits: Limits


def read(parser: argparse.ArgumentParser, arguments: Sequence[str] | None) -> Settings:
    """The settings of a command line; a wrong one ends the program, as argparse does, with a sentence."""
    usual = Limits()
    parser.add_argument("--web.listen-address", dest="address", type=_address, default=("", 8088), metavar="HOST:PORT")
    parser.add_argument("--store.path", dest="store", type=Path, required=True, metavar="DIR")
    parser.add_argument("--events.schemas", dest="schemas", type=Path, required=True, metavar="DIR")
    parser.add_argument("--clickhouse.url", dest="url", type=_clickhouse, required=True, metavar="URL")
    parser.add_argument("--clickhouse.database", dest="database", type=_name, default="community_platform")
    parser.add_argument("--clickhouse.batch", dest="batch", type=_count, default=10_000, metavar="EVENTS")
    parser.add_argument("--influxdb.url", dest="influxdb", type=_influxdb, default=None, metavar="URL")
    parser.add_argument("--influxdb.batch", dest="points", type=_count, default=POINTS, metavar="EVENTS")
    parser.add_argument("--limit.body", dest="body", type=_count, default=usual.body, metavar="BYTES")
    parser.add_argument("--limit.memory", dest="memory", type=_count, default=usual.in_memory, metavar="BYTES")
    parser.add_argument("--limit.disk", dest="disk", type=_count, default=usual.on_disk, metavar="BYTES")
    parser.add_argument("--limit.dead-letters", dest="letters", type=_count, default=usual.letters, metavar="BYTES")
    options = parser.parse_args(arguments)
    host, port = options.address
    return Settings(
        host=host,
        port=port,
        store=options.store,
        schemas=options.schemas,
        clickhouse=ClickHouse(options.url, options.database),
        batch_events=options.batch,
        influxdb=InfluxDB(options.influxdb) if options.influxdb else None,
        batch_points=options.points,
        limits=Limits(options.body, options.memory, options.disk, options.letters),
    )


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not port.isdecimal() or int(port) >= 65536:
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT")
    return host, int(port)


def _clickhouse(text: str) -> str:
    return _url(text, "ClickHouse's HTTP interface, http://HOST:8123/")


def _influxdb(text: str) -> str:
    return _url(text, "InfluxDB's HTTP interface, http://HOST:8086/")


def _url(text: str, wanted: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise argparse.ArgumentTypeError(f"this is not the address of {wanted}")
    return text


def _name(text: str) -> str:
    if _NAME.fullmatch(text) is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not the name of a database")
    return text


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return int(text)
