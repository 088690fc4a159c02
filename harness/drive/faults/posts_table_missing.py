"""Errors from a real cause: the table of posts is gone under its name, as after a bad migration."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiomysql
from prometheus_client.parser import text_string_to_metric_families
from pymysql.err import MySQLError

from harness.drive.faults import APPLICATION, LaneControl, Proof, Reach
from harness.drive.look import Answer, Look, Silence, address_facts, answers, ask, watch
from harness.errors import EffectNotProven, FaultError
from harness.model.stack import Address

_SUBJECT = "community-platform"
_DATABASE = "mysql"
_SECRETS = ("mysql_user", "mysql_password", "mysql_database")
_TABLE = "posts"
_AWAY = "posts_missing"
_POSTS = "/api/posts"
_METRICS = "/api/performance/metrics"
_REQUESTS = "http_requests_total"

_SHARE = 0.05
"""The plan's condition: error ratio at or above 5 %."""
_LEAST_REQUESTS = 5
"""A ratio of fewer requests than these says nothing."""
_WELL_SECONDS = 2.0
_APPLY_SECONDS = 3.0
_READ_PAUSE_SECONDS = 0.05


class PostsTableMissing:
    """`RENAME TABLE posts TO posts_missing`; the database follows foreign keys by itself, both ways."""

    id = "posts-table-missing"
    summary = "The table of posts is renamed away, as by a bad migration, so that requests for posts fail with 5xx."
    signal = "real"
    touches = APPLICATION
    reach = Reach.LANE

    def facts(self, control: LaneControl) -> Mapping[str, str]:
        """The database's own address and credentials: the database may outlive the harness.

        Raises:
            FaultError: the lane does not say how its database is spoken to.
        """
        lacking = [name for name in _SECRETS if name not in control.secrets]
        if lacking:
            raise FaultError(
                f"Lane {control.lane.name} does not say how its database is spoken to",
                expected=f"the secrets {', '.join(_SECRETS)}",
                seen=f"{', '.join(lacking)} not given",
            )
        lane = control.lane
        return {
            **address_facts(lane.behind.get(_DATABASE) or lane.addresses[_DATABASE]),
            **{name: control.secrets[name] for name in _SECRETS},
        }

    async def apply(self, control: LaneControl) -> None:
        """Renames the table, after a look that posts could be read: what failed before proves nothing.

        Raises:
            FaultError: posts could not be read before, or the table cannot be renamed.
        """
        await watch(
            lambda: answers(control.lane.addresses[_SUBJECT], _POSTS),
            _WELL_SECONDS,
            otherwise=FaultError,
            what="Posts could not be read before their table was to be renamed",
            expected=f"GET {_POSTS} answers 200",
        )
        await _rename(self.facts(control), _TABLE, _AWAY, _APPLY_SECONDS)

    async def prove(self, control: LaneControl, deadline_seconds: float) -> Proof:
        """Reads the subject's own counters until the condition itself is there: 5 % of requests since now failed.

        The load makes the traffic. While it has made fewer than 5 requests, each look adds one `GET /api/posts` of
        our own, and the proof says how many those were.

        Raises:
            EffectNotProven: the ratio stayed below.
        """
        subject = control.lane.addresses[_SUBJECT]
        counted = _SinceNow(subject)
        return await watch(
            counted.look,
            deadline_seconds,
            otherwise=EffectNotProven,
            what="The table of posts was renamed and the error ratio did not rise",
            expected=f"at least {_SHARE:.0%} of at least {_LEAST_REQUESTS} requests answered with 5xx",
            pause_seconds=_READ_PAUSE_SECONDS,
        )

    async def undo(self, control: LaneControl, deadline_seconds: float) -> Proof:
        """Renames the table back, if it is away, and waits until posts can be read.

        Raises:
            FaultError: the table could not be renamed back, or posts cannot be read.
        """
        await _rename(self.facts(control), _AWAY, _TABLE, deadline_seconds)
        return await watch(
            lambda: answers(control.lane.addresses[_SUBJECT], _POSTS),
            deadline_seconds,
            otherwise=FaultError,
            what="The table of posts was renamed back and posts cannot be read",
            expected=f"GET {_POSTS} answers 200",
        )

    async def undo_from(self, facts: Mapping[str, str]) -> bool:
        """Renames the table back in a database that outlived the harness; False where that is gone, or was done.

        Raises:
            FaultError: the database is there and the table could not be renamed back.
        """
        try:
            _, writer = await asyncio.open_connection(facts["host"], int(facts["port"]))
        except ConnectionRefusedError:
            return False  # the database died with its sandbox, its table with it
        except OSError as error:
            raise FaultError(
                "The database cannot be reached to rename the table of posts back", seen=str(error)
            ) from error
        writer.close()
        return await _rename(facts, _AWAY, _TABLE, _APPLY_SECONDS)


@dataclass(frozen=True, slots=True)
class _Counted:
    total: float
    failed: float


class _SinceNow:
    """Requests and failures of the subject since the first look, by its own counters."""

    def __init__(self, subject: Address) -> None:
        self._subject = subject
        self._before: _Counted | None = None
        self._own = 0

    async def look(self) -> Look:
        read = await ask(self._subject, _METRICS)
        if isinstance(read, Silence) or read.status != 200:
            why = read.why if isinstance(read, Silence) else f"GET {_METRICS} answered {read.status}"
            return Look(False, why)
        now = _count(read)
        if now is None:
            return Look(False, f"{_METRICS} is no exposition that can be read")
        if self._before is None:
            self._before = now
        if now.total < self._before.total:
            self._before = _Counted(0, 0)  # it was started again and counts from zero
        total, failed = now.total - self._before.total, now.failed - self._before.failed
        if total < _LEAST_REQUESTS:
            await ask(self._subject, _POSTS)
            self._own += 1
        share = failed / total if total else 0.0
        return Look(
            total >= _LEAST_REQUESTS and share >= _SHARE,
            f"{failed:.0f} of {total:.0f} requests failed with 5xx ({share:.0%}) since the table was renamed, "
            f"{self._own} of them our own",
        )


def _count(read: Answer) -> _Counted | None:
    total = failed = 0.0
    try:
        for family in text_string_to_metric_families(read.body):
            for sample in family.samples:
                if sample.name == _REQUESTS:
                    total += sample.value
                    failed += sample.value if sample.labels.get("status", "").startswith("5") else 0.0
    except ValueError:
        return None
    return _Counted(total, failed)


async def _rename(facts: Mapping[str, str], away: str, to: str, seconds: float) -> bool:
    """Renames one table; False where it already bears the other name.

    A rename waits for whoever is reading the table; it gives up a second before the deadline, on the server's side, so
    that it is not carried out after we have looked away.

    Raises:
        FaultError: neither table is there, both are, or the database did not do it.
    """
    try:
        async with asyncio.timeout(seconds), _connected(facts) as cursor:
            await cursor.execute(
                "SELECT table_name FROM information_schema.tables"
                " WHERE table_schema = DATABASE() AND table_name IN (%s, %s)",
                (away, to),
            )
            there = {name for (name,) in await cursor.fetchall()}
            if there == {to}:
                return False
            if there != {away}:
                raise FaultError(
                    f"The table {away} cannot be renamed to {to}",
                    expected="one of the two to be there",
                    seen="both are" if there else "neither is",
                    hint="another program changed the schema meanwhile; this lane's database is not what it was",
                )
            await cursor.execute("SET SESSION lock_wait_timeout = %s", (max(1, int(seconds) - 1),))
            await cursor.execute(f"RENAME TABLE `{away}` TO `{to}`")
            return True
    except (MySQLError, OSError, TimeoutError) as error:
        raise FaultError(
            f"The table {away} could not be renamed to {to}",
            seen=f"{type(error).__name__}: {error}",
            waited_seconds=seconds if isinstance(error, TimeoutError) else None,
        ) from error


@asynccontextmanager
async def _connected(facts: Mapping[str, str]) -> AsyncIterator[aiomysql.Cursor]:
    connection = await aiomysql.connect(
        host=facts["host"],
        port=int(facts["port"]),
        user=facts["mysql_user"],
        password=facts["mysql_password"],
        db=facts["mysql_database"],
        autocommit=True,
    )
    try:
        async with connection.cursor() as cursor:
            yield cursor
    finally:
        connection.close()
