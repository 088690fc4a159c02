"""The dead man's listener: Tocsin's own, in production as in the sandbox (harness/stack/listener)."""

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

_MODULE = "harness.stack.listener"
_PYTHON = "python"


class DeadMansListener:
    """The listener with the rewired copy of dead-man.yaml, reached by everybody through a relay."""

    kind = "dead-mans-listener"
    artifact: str | None = None
    needs: tuple[str, ...] = ()
    relayed = True

    def credentials(self) -> Mapping[str, str]:
        """None: those of its channels stand in its copy of dead-man.yaml."""
        return {}

    async def prepare(self, site: Site) -> None:
        """Nothing: it keeps nothing."""

    def launch(self, site: Site) -> Launch:
        """The unit's listener, run by the Python that runs the harness.

        Raises:
            StackError: the policies do not say what it shall say.
        """
        if site.configuration is None:
            raise StackError(f"{site.title} has nothing to say", expected="a dead-man.yaml in the policies folder")
        ours = Artifact("", __version__, "pypi", "", {_PYTHON: sys.executable}, {})
        command = Command(replace(site, artifact=ours), _PYTHON)
        unit = site.component.unit
        if unit is None or _MODULE not in unit.argv:
            command.first("-m")
            command.first(_MODULE)
        command.put("--config.file", str(site.configuration), "the rewired copy")
        command.put("--web.listen-address", str(site.address), "a free port of loopback")
        return command.launch()

    async def ready(self, site: Site) -> str | None:
        """`/health`; no heartbeat is awaited."""
        return await expect_ok(site.address, "/health")
