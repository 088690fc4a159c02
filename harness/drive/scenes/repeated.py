"""Who has heard and done nothing is told again when that is due, and not before."""

from __future__ import annotations

from datetime import timedelta

from harness.drive.notifying import post
from harness.drive.plan.estimate import FIRE
from harness.drive.scenes import LANE, Cast, Demand, Expectation, NoPart, ScenePlan, Theatre
from harness.model.stack import LANE_LABEL

_FAULT = "database-refused"
_SLACK = timedelta(seconds=2)
_PATIENCE = timedelta(seconds=30)
_LASTS_SECONDS = 600.0
"""How long the posted alert says that it fires, in seconds: longer than the scene."""


class Repeated:
    """Shown on a shortened copy, and said so: a second Alertmanager of the same configuration repeats within seconds.

    Alertmanager looks at a group every `group_interval` and repeats at the first look after `repeat_interval` has
    passed. 2.4 group intervals lie between two looks, far from both: due at the third.
    """

    id = "repeated"
    summary = (
        "An alert that goes on firing is told again when its repeat_interval is over (a shortened copy), not before."
    )

    def plan(self, cast: Cast) -> ScenePlan:
        """The alert is what a real fault raises; here it is posted, with its own labels.

        Raises:
            NoPart: no drill names the fault, or the policies' group interval is too long to be watched.
        """
        part = cast.raised_by(_FAULT)
        look = cast.group_interval()
        if look > _PATIENCE:
            raise NoPart(f"a group_interval of {look} is too long to be watched")
        return ScenePlan(
            id=self.id,
            summary=self.summary,
            lane=LANE,
            may_be_heard=(part.name,),
            expects=(
                Expectation(
                    Demand.REPEATED,
                    (part.name,),
                    part.channels,
                    since="posted",
                    until="watched",
                    within=2.4 * look,
                    slack=look + _SLACK,
                ),
            ),
            estimate=2 * FIRE + 3.4 * look + _SLACK,
        )

    async def play(self, theatre: Theatre) -> None:
        """Starts the shortened copy, posts one alert to it and listens until a repetition is late."""
        (repeated,) = theatre.plan.expects
        (name,) = repeated.alerts
        alert = theatre.alert(name)
        labels = {**alert.labels, "alertname": name, LANE_LABEL: theatre.plan.lane}
        # Prometheus would have filled in what their templates ask for.
        told = {key: f"{name} of {theatre.plan.lane}: {key}, posted by a scene" for key in alert.annotations}
        async with theatre.props.repeating(repeated.within) as copy:
            theatre.did(
                "shortened",
                theatre.now(),
                f"shortened copy: a second Alertmanager at {copy} repeats after {repeated.within.total_seconds():g} s",
            )
            posted = theatre.now()
            await post(copy, labels, told, posted, posted + _LASTS_SECONDS)
            theatre.did("posted", posted, f"{name} of {theatre.plan.lane} was posted to the shortened copy")
            await theatre.hear(repeated, posted, within=_PATIENCE, ends=False)
            await theatre.keep((repeated.within + repeated.slack).total_seconds())
            theatre.did("watched", theatre.now(), "a repetition would have been late by now")
