"""Some errors from a real cause: a migration renamed a column that only reading comments asks for."""

from __future__ import annotations

from collections.abc import Mapping

from harness.drive.database import Rename, database_facts, outlived
from harness.drive.faults import APPLICATION, LaneControl, Proof, Reach
from harness.drive.look import answers, ask, watch
from harness.drive.tally import LEAST_REQUESTS, SUBJECT, ErrorRatio
from harness.errors import EffectNotProven, FaultError

_COLUMN = "id"
_AWAY = "comment_id"
_COMMENTS = "/api/posts/1/comments"

_SHARE = 0.05
"""The plan's condition: error ratio at or above 5 %."""
_WELL_SECONDS = 2.0
_APPLY_SECONDS = 3.0
_READ_PAUSE_SECONDS = 0.05

_RENAME = Rename(
    "column",
    "SELECT column_name FROM information_schema.columns"
    " WHERE table_schema = DATABASE() AND table_name = 'comments' AND column_name IN (%s, %s)",
    # Instantly or not at all: the table is not copied, whatever its size.
    "ALTER TABLE comments RENAME COLUMN `{away}` TO `{to}`, ALGORITHM=INSTANT",
)


class CommentsUnreadable:
    """`ALTER TABLE comments RENAME COLUMN id TO comment_id`; whoever writes a comment never names that column."""

    id = "comments-unreadable"
    summary = "A column of the comments is renamed, as by a bad migration: reading them fails with 5xx, all else works."
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
        """Renames the column, after a look that comments could be read: what failed before proves nothing.

        Raises:
            FaultError: comments could not be read before, or the column cannot be renamed.
        """
        await watch(
            lambda: answers(control.lane.addresses[SUBJECT], _COMMENTS),
            _WELL_SECONDS,
            otherwise=FaultError,
            what="Comments could not be read before their column was to be renamed",
            expected=f"GET {_COMMENTS} answers 200",
        )
        await _rename(self.facts(control), _COLUMN, _AWAY, _APPLY_SECONDS)

    async def prove(self, control: LaneControl, deadline_seconds: float) -> Proof:
        """Reads the subject's own counters until the condition itself is there: 5 % of requests since now failed.

        The load makes the traffic. While it has made fewer than 5 requests, each look adds one reading of comments of
        our own, and the proof says how many those were.

        Raises:
            EffectNotProven: the ratio stayed below.
        """
        subject = control.lane.addresses[SUBJECT]
        ratio = ErrorRatio(subject, _SHARE, "the column was renamed", lambda: ask(subject, _COMMENTS))
        return await watch(
            ratio.look,
            deadline_seconds,
            otherwise=EffectNotProven,
            what="The column of the comments was renamed and the error ratio did not rise",
            expected=f"at least {_SHARE:.0%} of at least {LEAST_REQUESTS} requests answered with 5xx",
            pause_seconds=_READ_PAUSE_SECONDS,
        )

    async def undo(self, control: LaneControl, deadline_seconds: float) -> Proof:
        """Renames the column back, if it bears the other name, and waits until comments can be read.

        Raises:
            FaultError: the column could not be renamed back, or comments cannot be read.
        """
        await _rename(self.facts(control), _AWAY, _COLUMN, deadline_seconds)
        return await watch(
            lambda: answers(control.lane.addresses[SUBJECT], _COMMENTS),
            deadline_seconds,
            otherwise=FaultError,
            what="The column of the comments was renamed back and comments cannot be read",
            expected=f"GET {_COMMENTS} answers 200",
        )

    async def undo_from(self, facts: Mapping[str, str]) -> bool:
        """Renames the column back in a database that outlived the harness; False where that is gone, or was done.

        Raises:
            FaultError: the database is there and the column could not be renamed back.
        """
        if not await outlived(facts, "rename the column of the comments back"):
            return False
        return await _rename(facts, _AWAY, _COLUMN, _APPLY_SECONDS)


async def _rename(facts: Mapping[str, str], away: str, to: str, seconds: float) -> bool:
    return await _RENAME.carry_out(facts, away, to, seconds)
