"""ClickHouse: its engine behind its own HTTP interface (harness/stack/clickhouse), ready with the policy's tables."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace

from harness.errors import StackError
from harness.stack.clickhouse.setting_up import set_up
from harness.stack.command import Command
from harness.stack.probe import expect_ok
from harness.stack.runtimes import Launch
from harness.stack.site import Site

_MODULE = "harness.stack.clickhouse"
_PYTHON = "python"
_HERE = "data stays in the sandbox"


class ClickHouse:
    """ClickHouse over a folder of its own; the SQL files of the policies are run whenever it has started."""

    kind = "clickhouse"
    artifact: str | None = "chdb"
    needs: tuple[str, ...] = ()
    relayed = True

    def credentials(self) -> Mapping[str, str]:
        """None: nothing but loopback is served."""
        return {}

    async def prepare(self, site: Site) -> None:
        """Nothing: it makes its own folders."""

    def launch(self, site: Site) -> Launch:
        """The engine in the place of the unit's server, run by the Python that runs the harness.

        Raises:
            StackError: the engine was not provisioned.
        """
        if site.artifact is None:
            raise StackError(
                f"The engine of {site.title} was not provisioned",
                hint="`tocsin stack fetch` brings every component into the cache",
            )
        brought = replace(site.artifact, programs={**site.artifact.programs, _PYTHON: sys.executable})
        command = Command(replace(site, artifact=brought), _PYTHON)
        command.first("-m")
        command.first(_MODULE)
        command.drop_positional("production's settings that follow `--` are the server's")
        command.drop("--config-file", "--config", "-C", why="production's config.xml is not here")
        command.drop("--pid-file", "--log-file", "--errorlog-file", "--daemon", why="the supervisor holds it")
        command.put("--path", str(site.data / "data"), _HERE)
        command.put("--backups", str(site.data / "backups"), _HERE)
        command.put("--listen_host", site.address.host, "loopback only")
        command.put("--http_port", str(site.address.port), "a free port")
        return command.launch()

    async def ready(self, site: Site) -> str | None:
        """It answers, and every statement of the policies was run.

        Raises:
            PolicyError: ClickHouse refuses one of them.
        """
        missing = await expect_ok(site.address, "/ping")
        if missing is not None or site.configuration is None:
            return missing
        return await set_up(site.address, site.configuration)
