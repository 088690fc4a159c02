"""The environment variables of the subject, read once and checked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from harness.errors import UsageError

HEAP_LIMIT_MIB = 96
"""Default of HEAP_LIMIT_MIB: about two and a half times what the process holds (38 MiB idle, 41 under load)."""


@dataclass(frozen=True, slots=True)
class DatabaseAddress:
    """Where the database is and how to log in to it; the password is not shown by `repr`."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    database: str


@dataclass(frozen=True, slots=True)
class Announcing:
    """Where every record is announced before it is written, and as whose.

    Args:
        folder: the run's folder of manifests.
        run: the run's id.
        lane: whose records they are.
    """

    folder: Path
    run: str
    lane: str


@dataclass(frozen=True, slots=True)
class Settings:
    """The whole configuration of one instance.

    Args:
        host: where to listen.
        port: the port to listen on.
        database: where users, posts and comments are.
        redis_url: where sessions and cached posts are; may hold a password and is not shown by `repr`.
        log_directory: where `application.log` and `error.log` go; made when missing.
        environment: the lane that this instance belongs to.
        instance: this instance's name.
        heap_limit_bytes: the memory that this instance is meant to need at most (see `metrics`).
        announcing: where records are announced, or None: then they have no identity.
        collector: the event collector's `http://HOST:PORT`, or None: then nobody hears of events.
    """

    host: str
    port: int
    database: DatabaseAddress
    redis_url: str = field(repr=False)
    log_directory: Path
    environment: str
    instance: str
    heap_limit_bytes: int
    announcing: Announcing | None = None
    collector: str | None = None

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Settings:
        """Reads LISTEN, DATABASE_URL, REDIS_URL, LOG_DIR, ENVIRONMENT, INSTANCE_ID and, if set, HEAP_LIMIT_MIB.

        Where MANIFEST_DIR is set it must come with RUN_ID and LANE. EVENT_COLLECTOR_URL says where events go.

        Raises:
            UsageError: one is missing or is not what it should be.
        """
        host, port = _listen(_needed(environ, "LISTEN"))
        return cls(
            host=host,
            port=port,
            database=_database(_needed(environ, "DATABASE_URL")),
            redis_url=_redis(_needed(environ, "REDIS_URL")),
            log_directory=Path(_needed(environ, "LOG_DIR")),
            environment=_needed(environ, "ENVIRONMENT"),
            instance=_needed(environ, "INSTANCE_ID"),
            heap_limit_bytes=_mebibytes(environ.get("HEAP_LIMIT_MIB", str(HEAP_LIMIT_MIB))),
            announcing=_announcing(environ),
            collector=_collector(environ.get("EVENT_COLLECTOR_URL", "").strip()),
        )


def _collector(url: str) -> str | None:
    parts = urlsplit(url)
    if url and (parts.scheme not in {"http", "https"} or not parts.hostname):
        raise UsageError("EVENT_COLLECTOR_URL does not name a collector", expected="http://host:port")
    return url or None


def _needed(environ: Mapping[str, str], name: str) -> str:
    value = environ.get(name, "").strip()
    if not value:
        raise UsageError(
            f"The environment variable {name} is not set",
            hint="the subject needs LISTEN, DATABASE_URL, REDIS_URL, LOG_DIR, ENVIRONMENT and INSTANCE_ID, "
            "and with MANIFEST_DIR also RUN_ID and LANE",
        )
    return value


def _announcing(environ: Mapping[str, str]) -> Announcing | None:
    folder = environ.get("MANIFEST_DIR", "").strip()
    return Announcing(Path(folder), _needed(environ, "RUN_ID"), _needed(environ, "LANE")) if folder else None


def _listen(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 <= int(port) < 65536:
        raise UsageError("LISTEN is not an address", expected="HOST:PORT, e.g. 127.0.0.1:5000", seen=text)
    return host, int(port)


def _database(url: str) -> DatabaseAddress:
    # The URL holds a password: a message about it tells what is missing and never quotes it.
    expected = "mysql://user:password@host:port/database"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or 3306
    except ValueError as error:
        raise UsageError("DATABASE_URL is not a URL", expected=expected) from error
    database = parts.path.strip("/")
    if parts.scheme != "mysql" or not host or not parts.username or not database:
        raise UsageError("DATABASE_URL does not name a database", expected=expected)
    return DatabaseAddress(host, port, unquote(parts.username), unquote(parts.password or ""), database)


def _redis(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in {"redis", "rediss"} or not parts.hostname:
        raise UsageError("REDIS_URL does not name a Redis", expected="redis://host:port/0")
    return url


def _mebibytes(text: str) -> int:
    try:
        mebibytes = float(text)
    except ValueError:
        mebibytes = math.nan
    if not 1 <= mebibytes < math.inf:
        raise UsageError("HEAP_LIMIT_MIB is not a size", expected="a number of MiB, at least 1", seen=text)
    return int(mebibytes * 1024 * 1024)
