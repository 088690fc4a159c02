"""What a run writes into InfluxDB, class by class: who writes it, where, and what became of it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harness.model.policy import Policies
from harness.model.series import EVENT_CLASSES, METRICS, SeriesCompared
from harness.model.stack import Address
from harness.observe.series.of_events import Events, compare_events
from harness.observe.series.of_prometheus import Metrics, compare_metrics
from harness.policy.parse.prometheus import RemoteWrite, parse

STORE: Final = "influxdb"
"""The kind of component that keeps time series."""

_COLLECTOR: Final = "event-collector"
_FLAG: Final = "--influxdb.url"


@dataclass(frozen=True, slots=True)
class Ends:
    """What is asked, by the kind of the component; a kind that is not there is not in it.

    Args:
        addresses: where the components of a kind listen that all lanes share.
        why_not: why InfluxDB is not there, where it should be.
        database: ClickHouse's database of events.
        manifests: where events were announced; None where nobody announces.
        run: the run's id.
        since: where the window begins, Unix seconds.
        until: where it ends.
        seed: what is drawn by.
    """

    addresses: Mapping[str, Address]
    why_not: str
    database: str
    manifests: Path | None
    run: str
    since: float
    until: float
    seed: int


async def compare_series(asked: Policies, ends: Ends) -> AsyncIterator[SeriesCompared]:
    """One event for each class that the policies have written into an InfluxDB of theirs; none where they have none.

    Args:
        asked: the policies as the run was asked to rehearse them, with what could not be had.
        ends: what stands, and what is compared.
    """
    stores = [one for one in asked.components if one.kind == STORE]
    if not stores:
        return
    owned = {address for one in stores for address in one.addresses}
    config = parse(asked.documents[asked.prometheus_file], asked.prometheus_file).value
    influxdb = ends.addresses.get(STORE)
    for remote in config.remote_writes:
        if remote.address in owned:
            yield await _metrics(asked, remote, config.external_labels, ends)
    for collector in asked.components:
        argv = () if collector.kind != _COLLECTOR or collector.unit is None else collector.unit.argv
        if not any(word.partition("=")[0] == _FLAG for word in argv):
            continue
        for of_class in EVENT_CLASSES:
            if influxdb is None or ends.manifests is None or _COLLECTOR not in ends.addresses:
                why = ends.why_not or "nobody announced events in this run"
                yield SeriesCompared(of_class, writer=collector.name, error=why)
                continue
            yield await compare_events(
                Events(
                    of_class,
                    influxdb,
                    ends.addresses.get("clickhouse"),
                    ends.database,
                    collector.name,
                    ends.manifests,
                    ends.run,
                    ends.since,
                    ends.until,
                    ends.seed,
                )
            )


async def _metrics(asked: Policies, remote: RemoteWrite, external: Mapping[str, str], ends: Ends) -> SeriesCompared:
    writer = next((one.name for one in asked.components if one.kind == "prometheus"), "prometheus")
    prometheus, influxdb = ends.addresses.get("prometheus"), ends.addresses.get(STORE)
    if prometheus is None or influxdb is None:
        return SeriesCompared(METRICS, writer=writer, error=ends.why_not or "no InfluxDB stands in this run")
    until = min(ends.until, time.time())
    return await compare_metrics(Metrics(prometheus, influxdb, writer, remote, external, ends.since, until, ends.seed))
