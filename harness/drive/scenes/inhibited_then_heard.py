"""What a cause kept quiet is heard when the cause is over and it is not: two outages at once, and one is mended."""

from __future__ import annotations

from datetime import timedelta

from harness.drive.notifying import INHIBITED
from harness.drive.plan.estimate import FIRE, RESOLVE, window
from harness.drive.scenes import LANE, Cast, Demand, Expectation, ScenePlan, Theatre

_CAUSE = "database-refused"
_LEFT = "posts-table-missing"
_PROMISE = timedelta(seconds=30)


class InhibitedThenHeard:
    """A bad migration and an unreachable database; the database comes back, the table does not."""

    id = "inhibited-then-heard"
    summary = "A symptom that its cause kept quiet is heard when the cause is over and the symptom is not."

    def plan(self, cast: Cast) -> ScenePlan:
        """The cause inhibits what the missing table raises, and is remembered for a while: that long comes on top.

        Raises:
            NoPart: no drill names one of the two faults.
        """
        cause, left = cast.raised_by(_CAUSE), cast.raised_by(_LEFT)
        within = _PROMISE + cast.memory()
        return ScenePlan(
            id=self.id,
            summary=self.summary,
            lane=LANE,
            may_be_heard=tuple(dict.fromkeys((*cause.may_be_heard, *left.may_be_heard))),
            expects=(
                Expectation(Demand.HEARD, (cause.name,), cause.channels, since="refused", within=cause.within),
                Expectation(Demand.SILENT, (left.name,), (), since="missing", until="back", given="held-back"),
                Expectation(Demand.HEARD, (left.name,), left.channels, since="back", within=within, given="held-back"),
            ),
            estimate=left.alert.hold + window(left.alert) + cast.memory() + 2 * FIRE + RESOLVE,
        )

    async def play(self, theatre: Theatre) -> None:
        """Takes the table away and refuses the database at once; lets the database back; waits for the other alert."""
        caused, silent, heard = theatre.plan.expects
        cause, left = theatre.fault(_CAUSE), theatre.fault(_LEFT)
        await theatre.bring_about(left, "missing")
        refused = await theatre.bring_about(cause, "refused")
        await theatre.hear(caused, refused.at)
        await theatre.held_back(silent.alerts, INHIBITED, "held-back", _PROMISE.total_seconds())
        back = await theatre.take_back(cause, "back")
        await theatre.hear(heard, back.at)
        await theatre.take_back(left, "mended")
