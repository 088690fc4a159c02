"""Prometheus: ready when it says so; its first scrape comes about 5 s later (see `Stack.wait_first_scrape`)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from harness.stack.command import Command
from harness.stack.probe import expect_ok
from harness.stack.runtimes import Launch
from harness.stack.site import Site


class Prometheus:
    """Prometheus with the rewired copy of the team's configuration."""

    kind = "prometheus"
    artifact = "prometheus"
    needs: tuple[str, ...] = ()
    relayed = False

    def credentials(self) -> Mapping[str, str]:
        """None."""
        return {}

    async def prepare(self, site: Site) -> None:
        """Nothing: it makes its own database."""

    def launch(self, site: Site) -> Launch:
        """The unit's Prometheus, with the lifecycle API on."""
        command = Command(site, "prometheus")
        command.put("--config.file", str(site.configuration), "the rewired copy")
        command.put("--storage.tsdb.path", str(database_of(site.data)), "data stays in the sandbox")
        command.put("--web.listen-address", str(site.address), "a free port of loopback")
        command.default("--web.enable-lifecycle", None, "rules are loaded when the first samples are there")
        # An external URL with a path would move every endpoint below it; links in messages keep the URL.
        command.default("--web.route-prefix", "/", "endpoints stay where the harness asks")
        command.drop("--web.config.file", why="nothing but loopback is served")
        command.drop("--web.console.templates", "--web.console.libraries", why="production's folders are not here")
        return command.launch()

    async def ready(self, site: Site) -> str | None:
        """`/-/ready`."""
        return await expect_ok(site.address, "/-/ready")


def database_of(data: Path) -> Path:
    """Where a Prometheus whose own folder is `data` keeps what it has seen."""
    return data / "tsdb"
