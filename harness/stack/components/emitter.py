"""The emitter: what the machine and its services say, with mishaps on command (harness/stack/emitter)."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from harness import __version__
from harness.model.stack import SHARED, Difference
from harness.stack.command import base_environment
from harness.stack.probe import expect_ok
from harness.stack.runtimes import Launch
from harness.stack.site import Site


class SystemEmitter:
    """A stand-in for the services that write to /var/log/<name>; all of it is configured by its environment."""

    kind = "emitter"
    artifact: str | None = None
    needs: tuple[str, ...] = ()
    relayed = False

    def credentials(self) -> Mapping[str, str]:
        """None."""
        return {}

    async def prepare(self, site: Site) -> None:
        """Makes the folder of its log."""
        (site.data / "logs").mkdir(exist_ok=True)

    def launch(self, site: Site) -> Launch:
        """The emitter, run by the Python that runs the harness; a rate that the unit sets is kept."""
        unit = site.component.unit
        argv = (sys.executable, "-m", "harness.stack.emitter")
        differences: tuple[Difference, ...] = ()
        if unit is not None and unit.argv != argv:
            why = "the emitter plays the machine's services"
            differences = (Difference(unit.file, "ExecStart", " ".join(unit.argv), " ".join(argv[1:]), why),)
        settings = {"LISTEN": str(site.address), "LOG_DIR": str(site.data / "logs")}
        if site.manifests is not None:
            settings |= {"MANIFEST_DIR": str(site.manifests), "RUN_ID": site.run, "LANE": site.lane or SHARED}
        return Launch(
            name=site.name,
            lane=site.lane,
            argv=argv,
            environment={
                **base_environment(site),
                **(unit.environment if unit else {}),
                **settings,
                **site.environment,
            },
            directory=site.data,
            log=site.log,
            address=site.address,
            version=__version__,
            differences=differences,
        )

    async def ready(self, site: Site) -> str | None:
        """`/health`."""
        return await expect_ok(site.address, "/health")
