"""Errors from a real cause: the table of posts is gone under its name, as after a bad migration."""

from __future__ import annotations

from collections.abc import Mapping

from harness.drive.database import Rename, database_facts, outlived
from harness.drive.faults import APPLICATION, LaneControl, Proof, Reach
from harness.drive.look import answers, ask, watch
from harness.drive.tally import LEAST_REQUESTS, SUBJECT, ErrorRatio
from harness.errors import EffectNotProven, FaultError

_TABLE = "posts"
_AWAY = "posts_missing"
_POSTS = "/api/posts"

_SHARE = 0.05
"""The plan's condition: error ratio at or above 5 %."""
_WELL_SECONDS = 2.0
_APPLY_SECONDS = 3.0
_READ_PAUSE_SECONDS = 0.05

_RENAME = Rename(
    "table",
    "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name IN (%s, %s)",
    "RENAME TABLE `{away}` TO `{to}`",
)


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
        return database_facts(control)

    async def apply(self, control: LaneControl) -> None:
        """Renames the table, after a look that posts could be read: what failed before proves nothing.

        Raises:
            FaultError: posts could not be read before, or the table cannot be renamed.
        """
        await watch(
            lambda: answers(control.lane.addresses[SUBJECT], _POSTS),
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
        subject = control.lane.addresses[SUBJECT]
        ratio = ErrorRatio(subject, _SHARE, "the table was renamed", lambda: ask(subject, _POSTS))
        return await watch(
            ratio.look,
            deadline_seconds,
            otherwise=EffectNotProven,
            what="The table of posts was renamed and the error ratio did not rise",
            expected=f"at least {_SHARE:.0%} of at least {LEAST_REQUESTS} requests answered with 5xx",
            pause_seconds=_READ_PAUSE_SECONDS,
        )

    async def undo(self, control: LaneControl, deadline_seconds: float) -> Proof:
        """Renames the table back, if it is away, and waits until posts can be read.

        Raises:
            FaultError: the table could not be renamed back, or posts cannot be read.
        """
        await _rename(self.facts(control), _AWAY, _TABLE, deadline_seconds)
        return await watch(
            lambda: answers(control.lane.addresses[SUBJECT], _POSTS),
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
        if not await outlived(facts, "rename the table of posts back"):
            return False
        return await _rename(facts, _AWAY, _TABLE, _APPLY_SECONDS)


async def _rename(facts: Mapping[str, str], away: str, to: str, seconds: float) -> bool:
    return await _RENAME.carry_out(facts, away, to, seconds)
