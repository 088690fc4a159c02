"""The database is slow: whatever it answers is held back in its path, every statement and every log-in."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from datetime import timedelta

import aiomysql
from pymysql.err import MySQLError

from harness.drive.component_fault import ComponentFault
from harness.drive.faults import LaneControl
from harness.drive.look import Look
from harness.errors import FaultError
from harness.model.stack import Address

_SECRETS = ("mysql_user", "mysql_password", "mysql_database")
_LOOK_SECONDS = 2.0
"""Longer than other looks: logging in takes three round trips before the one that is timed."""

DELAY = timedelta(milliseconds=100)
"""What mysqld_exporter bears: a scrape by Debian 13's (0.17) takes 11 times the delay and 0.07 s, and it gives up
0.25 s before Prometheus's 2 s. At 100 ms it answers whole after 1.17 s, at 150 ms after 1.72 s, at 200 ms in part."""


class DatabaseSlow(ComponentFault):
    """The relay in the database's path holds back each answer; the database itself is as quick as ever."""

    id = "database-slow"
    summary = f"Every answer of the database is held back by {DELAY.microseconds // 1000} ms until the fault is healed."
    component = "mysql"
    what = "the path to the database"
    done = "slowed down"
    effect = f"SELECT 1 takes {DELAY.total_seconds():g} s or more through the path, and less past it"
    health = f"SELECT 1 takes less than {DELAY.total_seconds() / 2:g} s through the path"

    def facts(self, control: LaneControl) -> Mapping[str, str]:
        """Where the relay listens; it lives in the harness and dies with it.

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
        return super().facts(control)

    async def disturb(self, control: LaneControl) -> None:
        """Holds answers back."""
        await control.delay(self.component, DELAY)

    async def mend(self, control: LaneControl) -> None:
        """Lets them through at once."""
        await control.restore(self.component)

    async def seen(self, control: LaneControl) -> Look:
        """The same statement by both ways: where it is slow past the relay too, it is the machine that is slow."""
        through, past = await asyncio.gather(
            _timed(self.address(control), control), _timed(control.lane.behind[self.component], control)
        )
        if isinstance(through, str) or isinstance(past, str):
            return Look(False, through if isinstance(through, str) else str(past))
        return Look(
            through >= DELAY.total_seconds() > past,
            f"SELECT 1 took {through:.3f} s through the path and {past:.3f} s past it",
        )

    async def well(self, control: LaneControl) -> Look:
        """The statement is quick."""
        through = await _timed(self.address(control), control)
        if isinstance(through, str):
            return Look(False, through)
        return Look(through < DELAY.total_seconds() / 2, f"SELECT 1 took {through:.3f} s through the path")


async def _timed(address: Address, control: LaneControl) -> float | str:
    """How many seconds a statement took on a fresh connection, log-in not counted; a sentence where it failed."""
    try:
        async with asyncio.timeout(_LOOK_SECONDS):
            connection = await aiomysql.connect(
                host=address.host,
                port=address.port,
                user=control.secrets["mysql_user"],
                password=control.secrets["mysql_password"],
                db=control.secrets["mysql_database"],
            )
            try:
                async with connection.cursor() as cursor:
                    begun = time.monotonic()
                    await cursor.execute("SELECT 1")
                    return time.monotonic() - begun
            finally:
                connection.close()
    except (MySQLError, OSError, asyncio.IncompleteReadError) as error:
        # TimeoutError is an OSError.
        return f"SELECT 1 at {address} failed: {type(error).__name__}{f': {error}' if str(error) else ''}"
