"""node_exporter: the host that everything runs on, once for all lanes."""

from __future__ import annotations

from collections.abc import Mapping

from harness.stack.command import Command
from harness.stack.probe import expect_ok
from harness.stack.runtimes import Launch
from harness.stack.site import Site


class NodeExporter:
    """The exporter of the machine itself."""

    kind = "node-exporter"
    artifact = "node-exporter"
    needs: tuple[str, ...] = ()
    relayed = False

    def credentials(self) -> Mapping[str, str]:
        """None."""
        return {}

    async def prepare(self, site: Site) -> None:
        """Nothing."""

    def launch(self, site: Site) -> Launch:
        """The unit's exporter."""
        command = Command(site, "node_exporter")
        command.put("--web.listen-address", str(site.address), "a free port of loopback")
        command.drop("--web.config.file", why="nothing but loopback is served")
        command.drop("--web.systemd-socket", why="there is no socket unit here")
        return command.launch()

    async def ready(self, site: Site) -> str | None:
        """Its front page."""
        # Its front page: a whole exposition costs a scrape's time and says no more about being ready.
        return await expect_ok(site.address, "/")
