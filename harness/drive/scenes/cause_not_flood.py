"""An outage calls people once for its cause, and not once more for each of its symptoms."""

from __future__ import annotations

from datetime import timedelta

from harness.drive.notifying import INHIBITED
from harness.drive.plan.estimate import RESOLVE, window
from harness.drive.scenes import LANE, Cast, Demand, Expectation, ScenePlan, Theatre

_FAULT = "database-refused"
_AFTER = timedelta(seconds=20)
"""How long after the database is back no symptom may speak: windows of 10 s are still full of errors then."""
_ROUND = timedelta(seconds=5)
"""For a scrape, an evaluation and a group's wait beyond a symptom's own hold and window."""


class CauseNotFlood:
    """Nobody can reach the database while users go on using the platform: errors, slow answers, slow queries.

    It stays so until the slowest symptom has been firing long enough for a message of its own.
    """

    id = "cause-not-flood"
    summary = "The database is refused under load: its alert is heard at all its channels, and none of its symptoms is."

    def plan(self, cast: Cast) -> ScenePlan:
        """The cause is what the fault raises; symptoms are all that anybody inhibits.

        Raises:
            NoPart: no drill names the fault, or nothing is ever inhibited.
        """
        cause = cast.raised_by(_FAULT)
        symptoms = tuple(alert for alert in cast.inhibited() if alert.name != cause.name)
        outlast = max(alert.hold + window(alert) for alert in symptoms) + _ROUND
        return ScenePlan(
            id=self.id,
            summary=self.summary,
            lane=LANE,
            may_be_heard=cause.may_be_heard,
            expects=(
                Expectation(Demand.HEARD, (cause.name,), cause.channels, since="refused", within=cause.within),
                Expectation(
                    Demand.SILENT,
                    tuple(alert.name for alert in symptoms),
                    (),
                    since="refused",
                    until="back",
                    within=_AFTER,
                    given="outlasted",
                ),
            ),
            estimate=outlast + _AFTER + RESOLVE,
        )

    async def play(self, theatre: Theatre) -> None:
        """Refuses the database, waits for the cause and for every symptom's time, lets it back, and listens on."""
        heard, silent = theatre.plan.expects
        fault = theatre.fault(_FAULT)
        refused = await theatre.bring_about(fault, "refused")
        await theatre.hear(heard, refused.at)
        symptoms = [theatre.alert(name) for name in silent.alerts]
        outlast = (max(alert.hold + window(alert) for alert in symptoms) + _ROUND).total_seconds()
        await theatre.held_back(silent.alerts, INHIBITED, "held-back", outlast)
        await theatre.keep(refused.at + outlast - theatre.now())
        theatre.did("outlasted", theatre.now(), f"a symptom was held back, and all had {outlast:g} s to speak")
        back = await theatre.take_back(fault, "back")
        await theatre.keep(back.at + _AFTER.total_seconds() - theatre.now())
