"""Who is at work on it asks for silence and gets it; whoever forgets is told again when the silence is over."""

from __future__ import annotations

from datetime import timedelta

from harness.drive.notifying import SILENCED, silenced
from harness.drive.plan.estimate import FIRE, RESOLVE
from harness.drive.scenes import LANE, Cast, Demand, Expectation, ScenePlan, Theatre
from harness.model.stack import LANE_LABEL

_FAULT = "database-refused"
_BEYOND = timedelta(seconds=15)
"""How long the silence outlasts the alert's own hold: a scrape, an evaluation, the group's wait and more."""
_HEARD_WITHIN = timedelta(seconds=30)
"""How soon after the silence the alert must be heard: the plan's promise, counted from the silence's end."""


class SilenceHonoured:
    """A silence of Alertmanager's for one alert in one lane; then the fault, which outlasts it."""

    id = "silence-honoured"
    summary = "A silenced alert is heard nowhere while its silence lasts, and everywhere within 30 s of its end."

    def plan(self, cast: Cast) -> ScenePlan:
        """The alert is what the fault raises.

        Raises:
            NoPart: no drill names the fault.
        """
        part = cast.raised_by(_FAULT)
        return ScenePlan(
            id=self.id,
            summary=self.summary,
            lane=LANE,
            may_be_heard=part.may_be_heard,
            expects=(
                Expectation(Demand.SILENT, (part.name,), (), since="silenced", until="silence-over", given="held-back"),
                Expectation(
                    Demand.HEARD,
                    (part.name,),
                    part.channels,
                    since="silence-over",
                    within=_HEARD_WITHIN,
                    given="held-back",
                ),
            ),
            estimate=part.alert.hold + _BEYOND + FIRE + RESOLVE,
        )

    async def play(self, theatre: Theatre) -> None:
        """Silences, brings the fault about, sees the alert held back, waits for the end and for the message."""
        _, heard = theatre.plan.expects
        (name,) = heard.alerts
        fault = theatre.fault(_FAULT)
        lasts = (theatre.alert(name).hold + _BEYOND).total_seconds()
        labels = {"alertname": name, LANE_LABEL: theatre.plan.lane}
        since = theatre.now()
        until = since + lasts
        async with silenced(theatre.alertmanager, labels, since, until) as silence:
            theatre.did("silenced", since, f"{name} of {theatre.plan.lane} is silenced for {lasts:g} s: {silence}")
            await theatre.bring_about(fault, "refused")
            await theatre.held_back((name,), SILENCED, "held-back", until - theatre.now())
            await theatre.keep(until - theatre.now())
            theatre.did("silence-over", until, "the silence ended, the fault did not")
            await theatre.hear(heard, until)
        await theatre.take_back(fault, "back")
