"""redis_exporter: listens before Redis is up, so ready is its sample `redis_up 1`."""

from __future__ import annotations

from collections.abc import Mapping

from harness.stack.command import Command
from harness.stack.probe import expect_sample
from harness.stack.runtimes import Launch
from harness.stack.site import Site


class RedisExporter:
    """The exporter of a lane's cache, which it reaches through the relay as the subject does."""

    kind = "redis-exporter"
    artifact = "redis-exporter"
    needs = ("redis",)
    relayed = False

    def credentials(self) -> Mapping[str, str]:
        """None."""
        return {}

    async def prepare(self, site: Site) -> None:
        """Nothing."""

    def launch(self, site: Site) -> Launch:
        """The unit's exporter, looking at the lane's cache."""
        command = Command(site, "redis_exporter")
        command.put("--web.listen-address", str(site.address), "a free port of loopback")
        command.put("--redis.addr", f"redis://{site.peer('redis')}", "the sandbox's cache")
        command.drop("--redis.password", "--redis.user", why="the sandbox's cache asks for none", secret=True)
        command.drop("--redis.password-file", why="the sandbox's cache asks for none")
        command.forget(
            "REDIS_ADDR",
            "REDIS_USER",
            "REDIS_PASSWORD",
            "REDIS_PASSWORD_FILE",
            why="production's credentials stay there",
        )
        return command.launch()

    async def ready(self, site: Site) -> str | None:
        """`redis_up 1`."""
        return await expect_sample(site.address, "/metrics", "redis_up 1")
