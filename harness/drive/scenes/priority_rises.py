"""It gets worse: what was high becomes critical, and those who are called for critical alerts hear of it in time."""

from __future__ import annotations

from harness.drive.plan.estimate import FIRE, RESOLVE, window
from harness.drive.scenes import LANE, Cast, Demand, Expectation, ScenePlan, Theatre

_BAD = "comments-unreadable"
_WORSE = "posts-table-missing"


class PriorityRises:
    """A few requests fail, then many: the second alert must not be lost behind the first, which it replaces."""

    id = "priority-rises"
    summary = (
        "An alert of high priority is heard; then it gets worse, and the critical one is heard at all its channels."
    )

    def plan(self, cast: Cast) -> ScenePlan:
        """The two alerts are what the two faults raise.

        Raises:
            NoPart: no drill names one of them.
        """
        bad, worse = cast.raised_by(_BAD), cast.raised_by(_WORSE)
        return ScenePlan(
            id=self.id,
            summary=self.summary,
            lane=LANE,
            may_be_heard=tuple(dict.fromkeys((*bad.may_be_heard, *worse.may_be_heard))),
            expects=(
                Expectation(Demand.HEARD, (bad.name,), bad.channels, since="bad", within=bad.within),
                Expectation(Demand.HEARD, (worse.name,), worse.channels, since="worse", within=worse.within),
            ),
            estimate=bad.alert.hold + worse.alert.hold + window(bad.alert) + window(worse.alert) + 2 * FIRE + RESOLVE,
        )

    async def play(self, theatre: Theatre) -> None:
        """Brings the first about and waits for its message, then the second; mends both, the last one first."""
        high, critical = theatre.plan.expects
        bad, worse = theatre.fault(_BAD), theatre.fault(_WORSE)
        first = await theatre.bring_about(bad, "bad")
        await theatre.hear(high, first.at)
        second = await theatre.bring_about(worse, "worse")
        await theatre.hear(critical, second.at)
        await theatre.take_back(worse, "better")
        await theatre.take_back(bad, "good")
