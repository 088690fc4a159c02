"""elasticsearch_exporter: ready when it has figures of its store, for it may listen before that answers."""

from __future__ import annotations

from collections.abc import Mapping

from harness.stack.command import Command
from harness.stack.probe import expect_sample
from harness.stack.runtimes import Launch
from harness.stack.site import Site


class ElasticsearchExporter:
    """The exporter of the store of logs, which it reaches through the relay as the shipper does."""

    kind = "elasticsearch-exporter"
    artifact = "elasticsearch-exporter"
    needs = ("elasticsearch",)
    relayed = False

    def credentials(self) -> Mapping[str, str]:
        """None."""
        return {}

    async def prepare(self, site: Site) -> None:
        """Nothing."""

    def launch(self, site: Site) -> Launch:
        """The unit's exporter, looking at the sandbox's store."""
        command = Command(site, "elasticsearch_exporter")
        command.put("--web.listen-address", str(site.address), "a free port of loopback")
        command.put("--es.uri", f"http://{site.peer('elasticsearch')}", "the sandbox's store")
        command.drop("--es.ca", "--es.client-cert", "--es.client-private-key", why="the sandbox serves plain HTTP")
        command.drop("--aws.region", why="nothing leaves the machine")
        command.forget("ES_USERNAME", "ES_PASSWORD", "ES_API_KEY", why="production's credentials stay there")
        return command.launch()

    async def ready(self, site: Site) -> str | None:
        """The store answered it."""
        return await expect_sample(site.address, "/metrics", 'elasticsearch_scrape_success{collector="cluster-info"} 1')
