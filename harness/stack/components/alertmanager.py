"""Alertmanager: one instance, clustering off (left on it waits about 10 s before its first notification)."""

from __future__ import annotations

from collections.abc import Mapping

from harness.stack.command import Command
from harness.stack.probe import expect_ok
from harness.stack.runtimes import Launch
from harness.stack.site import Site


class Alertmanager:
    """Alertmanager with the rewired copy of the team's configuration."""

    kind = "alertmanager"
    artifact = "alertmanager"
    needs: tuple[str, ...] = ()
    relayed = False

    def credentials(self) -> Mapping[str, str]:
        """None."""
        return {}

    async def prepare(self, site: Site) -> None:
        """Nothing: it makes its own folder."""

    def launch(self, site: Site) -> Launch:
        """The unit's Alertmanager, without peers."""
        command = Command(site, "alertmanager")
        command.put("--config.file", str(site.configuration), "the rewired copy")
        command.put("--storage.path", str(site.data / "data"), "data stays in the sandbox")
        command.put("--web.listen-address", str(site.address), "a free port of loopback")
        command.put("--cluster.listen-address", "", "one instance runs; it has no peers to wait for")
        command.drop("--cluster.peer", "--cluster.advertise-address", why="one instance runs")
        command.default("--web.route-prefix", "/", "endpoints stay where the harness asks")
        command.drop("--web.config.file", why="nothing but loopback is served")
        return command.launch()

    async def ready(self, site: Site) -> str | None:
        """`/-/ready`."""
        return await expect_ok(site.address, "/-/ready")
