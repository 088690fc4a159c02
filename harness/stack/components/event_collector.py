"""The event collector: Tocsin's own, in production as in the sandbox (harness/stack/collector)."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace

from harness import __version__
from harness.errors import StackError
from harness.model.stack import Artifact
from harness.stack.command import Command
from harness.stack.probe import expect_ok
from harness.stack.runtimes import Launch
from harness.stack.site import Site

_MODULE = "harness.stack.collector"
_PYTHON = "python"
_INFLUXDB = "--influxdb.url"


class EventCollector:
    """The collector with the team's schemas, which sends to the ClickHouse of its lane or the one that all share.

    It needs neither ClickHouse nor InfluxDB to be ready: what comes before waits on its disk.
    """

    kind = "event-collector"
    artifact: str | None = None
    needs: tuple[str, ...] = ()
    relayed = False

    def credentials(self) -> Mapping[str, str]:
        """None: nothing but loopback is served."""
        return {}

    async def prepare(self, site: Site) -> None:
        """Nothing: it makes its own folder."""

    def launch(self, site: Site) -> Launch:
        """The unit's collector, run by the Python that runs the harness.

        Raises:
            StackError: there is no schema of events, or neither a ClickHouse nor a place where none is.
        """
        if site.configuration is None:
            raise StackError(
                f"{site.title} does not know what an event looks like",
                expected="the folder events/ with <kind>.schema.json in the policies folder",
            )
        ours = Artifact("", __version__, "pypi", "", {_PYTHON: sys.executable}, {})
        command = Command(replace(site, artifact=ours), _PYTHON)
        unit = site.component.unit
        if unit is None or _MODULE not in unit.argv:
            command.first("-m")
            command.first(_MODULE)
        command.put("--web.listen-address", str(site.address), "a free port of loopback")
        command.put("--store.path", str(site.data / "store"), "data stays in the sandbox")
        command.put("--events.schemas", str(site.configuration), "the copy of the policies")
        if "clickhouse" not in site.peers and site.nowhere is not None:
            # A run that follows no records has none; events wait on the collector's disk, and are counted all the same.
            command.put("--clickhouse.url", f"http://{site.nowhere}/", "this run keeps no events")
        else:
            command.put("--clickhouse.url", f"http://{site.peer('clickhouse')}/", "the sandbox's ClickHouse")
        influxdb = site.peers.get("influxdb")
        if influxdb is None:
            # Not nowhere: what nobody will ever take would fill the disk's share, and the collector refuse events.
            command.drop(_INFLUXDB, why="this run keeps no time series of events")
        elif unit is not None and any(word.partition("=")[0] == _INFLUXDB for word in unit.argv):
            command.put(_INFLUXDB, f"http://{influxdb}/", "the sandbox's InfluxDB")
        return command.launch()

    async def ready(self, site: Site) -> str | None:
        """`/health`."""
        return await expect_ok(site.address, "/health")
