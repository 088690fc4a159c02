"""The store of logs: an OpenSearch node stands in for Elasticsearch, told what the team's files say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from harness.model.stack import Difference
from harness.stack import search_setup
from harness.stack.command import base_environment
from harness.stack.ports import LOOPBACK
from harness.stack.probe import ask
from harness.stack.runtimes import Launch
from harness.stack.site import Site

_HERE = "data, snapshots and logs stay in the sandbox"
_PROGRAM = "opensearch"
_OPTIONS: Final = ("ES_JAVA_OPTS", "OPENSEARCH_JAVA_OPTS")
_HEAP: Final = "-Xms512m -Xmx512m -XX:+UseG1GC -XX:InitiatingHeapOccupancyPercent=30"

# Settings of a unit that name what only production has.
_DROPPED: Final = (
    "discovery.",
    "cluster.initial_",
    "xpack.",
    "plugins.",
    "network.publish_host",
    "bootstrap.",
    "http.ssl",
)


class Elasticsearch:
    """One node; ready when it answers, is yellow or green, and knows the team's template and pipeline."""

    kind = "elasticsearch"
    artifact = "opensearch"
    needs: tuple[str, ...] = ()
    relayed = True

    def credentials(self) -> Mapping[str, str]:
        """None: it listens on loopback only and holds nothing of anybody's."""
        return {}

    async def prepare(self, site: Site) -> None:
        """Makes its folders."""
        for folder in ("data", "logs", "snapshots"):
            (site.data / folder).mkdir(exist_ok=True)

    def launch(self, site: Site) -> Launch:
        """The unit's settings and heap, with addresses and folders of the sandbox."""
        unit = site.component.unit
        file = unit.file if unit else site.component.span.file
        production = _settings(unit.argv[1:]) if unit else {}
        ours = {
            "http.port": (str(site.address.port), "a free port"),
            "transport.port": ("0", "one node has nobody to talk to"),
            "network.host": (LOOPBACK, "loopback only"),
            "path.data": (str(site.data / "data"), _HERE),
            "path.logs": (str(site.data / "logs"), _HERE),
            "path.repo": (str(site.data / "snapshots"), _HERE),
            "discovery.type": ("single-node", "one node runs"),
            "compatibility.override_main_response_version": (
                "true",
                "Filebeat takes it for the Elasticsearch it plays",
            ),
            # A machine whose disk is nearly full is no reason to refuse the few megabytes of a run.
            "cluster.routing.allocation.disk.threshold_enabled": (
                "false",
                "the sandbox's own disk is watched elsewhere",
            ),
        }
        settings, differences = {}, []
        for name, value in production.items():
            if name in ours or not name.startswith(_DROPPED):
                settings[name] = value
            else:
                differences.append(Difference(file, f"ExecStart -E{name}", value, "", "one node runs, on loopback"))
        for name, (value, why) in ours.items():
            if settings.get(name) != value:
                differences.append(Difference(file, f"ExecStart -E{name}", settings.get(name, ""), value, why))
            settings[name] = value
        program = site.program(_PROGRAM)
        if unit and unit.argv:
            why = "OpenSearch stands in for Elasticsearch, and comes from the cache"
            differences.insert(0, Difference(file, "ExecStart", unit.argv[0], program, why))
        environment = dict(unit.environment) if unit else {}
        heap = next((environment.pop(name) for name in _OPTIONS if name in environment), _HEAP)
        return Launch(
            name=site.name,
            lane=site.lane,
            argv=(program, str(site.data), *(f"{name}={value}" for name, value in settings.items())),
            environment={
                **base_environment(site),
                **(site.artifact.environment if site.artifact else {}),
                **environment,
                "OPENSEARCH_JAVA_OPTS": heap,
                **site.environment,
            },
            directory=site.data,
            log=site.log,
            address=site.address,
            version=site.artifact.version if site.artifact else "",
            differences=(*differences, *search_setup.differences(site)),
        )

    async def ready(self, site: Site) -> str | None:
        """Cluster health, then the team's template and pipeline, installed as soon as it is up.

        Raises:
            StackError: it is no store that this can be done to, or did not take what it was told.
        """
        answer = await ask(site.address, "/_cluster/health")
        if isinstance(answer, str):
            return answer
        if answer.status != 200 or '"status":"red"' in answer.body:
            return f"its health is {answer.status}: {answer.body[:120]}"
        await search_setup.install(site)
        return None


def _settings(words: tuple[str, ...]) -> dict[str, str]:
    """The settings of a unit: `-Ename=value`, or `-E name=value`."""
    joined = " ".join(words)
    found = {}
    for part in f" {joined}".split(" -E")[1:]:
        name, given, value = part.strip().partition("=")
        if given:
            found[name] = value.split(" ")[0]
    return found
