"""mysqld_exporter: listens before its database is up, so ready is its sample `mysql_up 1`."""

from __future__ import annotations

from collections.abc import Mapping

from harness.stack.command import Command
from harness.stack.probe import expect_sample
from harness.stack.runtimes import Launch
from harness.stack.site import Site


class MysqldExporter:
    """The exporter of a lane's database, which it reaches through the relay as the subject does.

    Its credentials are in a `.my.cnf`, the one way that every version since 0.14 reads (0.15 dropped
    DATA_SOURCE_NAME, see its changelog) and that shows them to nobody.
    """

    kind = "mysqld-exporter"
    artifact = "mysqld-exporter"
    needs = ("mariadb",)
    relayed = False

    def credentials(self) -> Mapping[str, str]:
        """None."""
        return {}

    async def prepare(self, site: Site) -> None:
        """Writes the exporter's credentials, readable to nobody else."""
        database = site.peer("mariadb")
        settings = site.data / "my.cnf"
        settings.touch(mode=0o600)
        settings.write_text(
            f"[client]\nhost={database.host}\nport={database.port}\n"
            f"user={site.secrets['mysql_exporter_user']}\npassword={site.secrets['mysql_exporter_password']}\n"
        )

    def launch(self, site: Site) -> Launch:
        """The unit's exporter, looking at the lane's database."""
        command = Command(site, "mysqld_exporter")
        command.put("--web.listen-address", str(site.address), "a free port of loopback")
        command.put("--config.my-cnf", str(site.data / "my.cnf"), "the sandbox's database and credentials")
        command.drop("--mysqld.address", "--mysqld.username", why="the sandbox's database and credentials")
        command.drop("--web.config.file", why="nothing but loopback is served")
        command.drop("--web.systemd-socket", why="there is no socket unit here")
        command.forget("DATA_SOURCE_NAME", "MYSQLD_EXPORTER_PASSWORD", why="production's credentials stay there")
        return command.launch()

    async def ready(self, site: Site) -> str | None:
        """`mysql_up 1`."""
        # A filter that no collector passes leaves `mysql_up` alone: a full scrape costs about 20 ms of CPU.
        return await expect_sample(site.address, "/metrics?collect%5B%5D=none", "mysql_up 1")
