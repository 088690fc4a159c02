"""Two of a kind at once are one message: whoever is called reads of both, and the telephone rings once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import timedelta

from harness.drive.faults.exporter_killed import ExporterKilled
from harness.drive.look import Silence, ask
from harness.drive.plan.estimate import FIRE, RESOLVE
from harness.drive.scenes import LANE, Cast, Demand, Expectation, ScenePlan, Theatre
from harness.errors import FaultError
from harness.model.stack import Address
from harness.model.time import from_rfc3339, parse_duration

_FAULT = "exporter-killed"
_SPARE = timedelta(seconds=2)


class _CacheExporterKilled(ExporterKilled):
    """The same with the cache's exporter; in the undo journal it goes by the same id, and leaves as little behind."""

    component = "redis-exporter"
    what = "the cache's exporter"


_OTHER = _CacheExporterKilled()


class Grouped:
    """The exporters of the database and of the cache are killed together and stay down for two looks at their group.

    Prometheus looks at each target at an instant of its own within the scrape interval. Both are killed in the middle
    of the longer of the two gaps between these instants, so that it misses them one soon after the other: whether
    alerts that begin seconds apart share a message is a matter of `group_wait`, and not of grouping.
    """

    id = "grouped"
    summary = "Two exporters of a lane are down at once: each channel gets one message, and it names both."

    def plan(self, cast: Cast) -> ScenePlan:
        """The alert is what the fault raises; a second message would come one `group_interval` after the first.

        Raises:
            NoPart: no drill names the fault.
        """
        part = cast.raised_by(_FAULT)
        again = cast.group_interval() + _SPARE
        return ScenePlan(
            id=self.id,
            summary=self.summary,
            lane=LANE,
            may_be_heard=part.may_be_heard,
            expects=(
                Expectation(Demand.HEARD, (part.name,), part.channels, since="down", within=part.within),
                Expectation(Demand.TOGETHER, (part.name,), part.channels, since="killed", until="waited", within=again),
            ),
            estimate=part.alert.hold + FIRE + again + RESOLVE,
        )

    async def play(self, theatre: Theatre) -> None:
        """Kills both at a good moment, waits for the message and for the time of a second one, starts both again."""
        heard, together = theatre.plan.expects
        first = theatre.fault(_FAULT)
        lane = theatre.control.lane
        instances = [lane.addresses[ExporterKilled.component], lane.addresses[_OTHER.component]]
        await theatre.keep(await _wait_seconds(theatre.control.prometheus, instances, theatre.now))
        theatre.did("killed", theatre.now(), "both exporters are about to be killed")
        proofs = await asyncio.gather(theatre.bring_about(first, "first"), theatre.bring_about(_OTHER, "second"))
        down = max(proof.at for proof in proofs)
        theatre.did("down", down, "both exporters are down")
        await theatre.hear(heard, down)
        await theatre.keep(together.within.total_seconds())
        theatre.did("waited", theatre.now(), f"both were down for {together.within.total_seconds():g} s more")
        await theatre.take_back(_OTHER, "second-up")
        await theatre.take_back(first, "first-up")


async def _wait_seconds(prometheus: Address, instances: list[Address], now: Callable[[], float]) -> float:
    """How long to wait for the good moment.

    Raises:
        FaultError: Prometheus does not say when it looks at the two.
    """
    what = "Prometheus does not say when it looks at the exporters"
    answer = await ask(prometheus, "/api/v1/targets?state=active")
    if isinstance(answer, Silence):
        raise FaultError(what, seen=answer.why)
    wanted = [str(instance) for instance in instances]
    try:
        targets = {
            target["labels"]["instance"]: (from_rfc3339(target["lastScrape"]), parse_duration(target["scrapeInterval"]))
            for target in json.loads(answer.body)["data"]["activeTargets"]
            if target["labels"].get("instance") in wanted
        }
        (first, interval), (second, _) = (targets[instance] for instance in wanted)
    except (ValueError, KeyError, TypeError) as error:
        raise FaultError(
            what, expected=f"targets at {' and '.join(wanted)}", seen=f"{answer.status}: {answer.body[:200]}"
        ) from error
    return until_middle(first, second, interval.total_seconds(), now())


def until_middle(first: float, second: float, interval: float, now: float) -> float:
    """In how many seconds the next middle of the longer gap between two rhythms of one interval is.

    Args:
        first: an instant of the first rhythm, in Unix seconds.
        second: one of the second.
        interval: what lies between two instants of a rhythm, in seconds.
        now: this moment.
    """
    apart = (second - first) % interval
    middle = first + apart / 2 if apart >= interval / 2 else second + (interval - apart) / 2
    return (middle - now) % interval
