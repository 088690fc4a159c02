"""What faults by a bad migration share: a name in the database is changed, and requests that need it fail."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from harness.drive.database import Rename, database_facts, outlived
from harness.drive.faults import APPLICATION, LaneControl, Proof, Reach
from harness.drive.look import answers, ask, watch
from harness.drive.tally import LEAST_REQUESTS, SUBJECT, ErrorRatio
from harness.errors import EffectNotProven, FaultError

_WELL_SECONDS = 2.0
_APPLY_SECONDS = 3.0
_READ_PAUSE_SECONDS = 0.05


class BadMigration:
    """A renaming that the application does not know of.

    `rename` is how `name` becomes `away`; `path` answers 200 as long as it has not; `called` is what a sentence calls
    the thing (`the table of posts`); `share` is the share of requests, 0 to 1, that must fail for the condition of its
    alert to be there.
    """

    signal = "real"
    touches = APPLICATION
    reach = Reach.LANE
    rename: ClassVar[Rename]
    name: ClassVar[str]
    away: ClassVar[str]
    path: ClassVar[str]
    called: ClassVar[str]
    share: ClassVar[float]

    def facts(self, control: LaneControl) -> Mapping[str, str]:
        """The database's own address and credentials: the database may outlive the harness.

        Raises:
            FaultError: the lane does not say how its database is spoken to.
        """
        return database_facts(control)

    async def apply(self, control: LaneControl) -> None:
        """Renames, after a look that requests for it were answered: what failed before proves nothing.

        Raises:
            FaultError: they were not, or it cannot be renamed.
        """
        await watch(
            lambda: answers(control.lane.addresses[SUBJECT], self.path),
            _WELL_SECONDS,
            otherwise=FaultError,
            what=f"All was not well before {self.called} was to be renamed",
            expected=f"GET {self.path} answers 200",
        )
        await self.rename.carry_out(self.facts(control), self.name, self.away, _APPLY_SECONDS)

    async def prove(self, control: LaneControl, deadline_seconds: float) -> Proof:
        """Reads the subject's own counters until the condition itself is there: so many requests since now failed.

        The load makes the traffic. While it has made fewer than 5 requests, each look adds one of our own, and the
        proof says how many those were.

        Raises:
            EffectNotProven: the ratio stayed below.
        """
        subject = control.lane.addresses[SUBJECT]
        ratio = ErrorRatio(subject, self.share, f"{self.called} was renamed", lambda: ask(subject, self.path))
        return await watch(
            ratio.look,
            deadline_seconds,
            otherwise=EffectNotProven,
            what=f"{self._called} was renamed and the error ratio did not rise",
            expected=f"at least {self.share:.0%} of at least {LEAST_REQUESTS} requests answered with 5xx",
            pause_seconds=_READ_PAUSE_SECONDS,
        )

    async def undo(self, control: LaneControl, deadline_seconds: float) -> Proof:
        """Renames back, where it bears the other name, and waits until requests for it are answered.

        Raises:
            FaultError: it could not be renamed back, or they are not.
        """
        await self.rename.carry_out(self.facts(control), self.away, self.name, deadline_seconds)
        return await watch(
            lambda: answers(control.lane.addresses[SUBJECT], self.path),
            deadline_seconds,
            otherwise=FaultError,
            what=f"{self._called} was renamed back and all is not well",
            expected=f"GET {self.path} answers 200",
        )

    async def undo_from(self, facts: Mapping[str, str]) -> bool:
        """Renames back in a database that outlived the harness; False where that is gone, or was done.

        Raises:
            FaultError: the database is there and it could not be renamed back.
        """
        if not await outlived(facts, f"rename {self.called} back"):
            return False
        return await self.rename.carry_out(facts, self.away, self.name, _APPLY_SECONDS)

    @property
    def _called(self) -> str:
        return self.called[0].upper() + self.called[1:]
