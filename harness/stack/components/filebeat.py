"""Filebeat: one for all lanes, with the rewired copy of the team's filebeat.yml."""

from __future__ import annotations

from collections.abc import Mapping

from harness.errors import StackError
from harness.stack.command import Command
from harness.stack.probe import expect_ok
from harness.stack.runtimes import Launch
from harness.stack.site import Site

_HERE = "data and logs stay in the sandbox"


class Filebeat:
    """Filebeat; how far it has read each file is in its registry in the sandbox, and outlives it."""

    kind = "filebeat"
    artifact = "filebeat"
    needs = ("elasticsearch",)
    relayed = False

    def credentials(self) -> Mapping[str, str]:
        """None."""
        return {}

    async def prepare(self, site: Site) -> None:
        """Makes the folder of its own logs."""
        (site.data / "logs").mkdir(exist_ok=True)

    def launch(self, site: Site) -> Launch:
        """The unit's Filebeat over the rewired copy.

        Raises:
            StackError: the policies do not say what it shall read.
        """
        if site.configuration is None:
            raise StackError(f"{site.title} has nothing to read", expected="a filebeat.yml in the policies folder")
        command = Command(site, "filebeat", spaced=True)
        command.put("-c", str(site.configuration), "the rewired copy")
        command.put("--path.home", str(site.data), _HERE)
        command.put("--path.config", str(site.configuration.parent), _HERE)
        command.put("--path.data", str(site.data / "registry"), _HERE)
        command.put("--path.logs", str(site.data / "logs"), _HERE)
        command.default("-e", None, "what it says goes into the run's own log of it")
        # Who runs the harness owns the copy, and nobody else may read it.
        command.default("--strict.perms=false", None, "the copy belongs to whoever runs the harness")
        return command.launch()

    async def ready(self, site: Site) -> str | None:
        """It tells of itself: its inputs are up."""
        return await expect_ok(site.address, "/stats")
