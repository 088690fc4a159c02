"""What the provisioner can bring: one explicit tuple."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType

from harness.errors import UsageError
from harness.stack.provision.source import AptRecipe, GoMainRecipe, GoRecipe, MavenRecipe, Package, PypiRecipe

_LIBRARIES = ("lib", "zlib")
_OPENSEARCH = "2.19.5"
_OPENSEARCH_PARTS = (
    ":opensearch",
    ".plugin:transport-netty4-client",
    ".plugin:analysis-common",
    ".plugin:ingest-common",
    ".plugin:ingest-user-agent",
    ".plugin:lang-painless",
    ".plugin:lang-mustache-client",
    ".plugin:reindex-client",
    ".plugin:mapper-extras-client",
    ".plugin:aggs-matrix-stats-client",
)
_FILEBEAT = """package main

import (
\t"os"

\t"github.com/elastic/beats/v7/filebeat/cmd"
\tinputs "github.com/elastic/beats/v7/filebeat/input/default-inputs"
)

func main() {
\tif err := cmd.Filebeat(inputs.Init, cmd.FilebeatSettings()).Execute(); err != nil {
\t\tos.Exit(1)
\t}
}
"""


def _exporter(name: str, program: str) -> Package:
    """An exporter as Debian packages it; known to us by the name that its upstream gives the program."""
    return Package(
        name=name,
        recipe=AptRecipe(packages=(f"prometheus-{name}",), newest=True),
        programs=MappingProxyType({program: f"usr/bin/prometheus-{name}"}),
        proved=(program,),
    )


CATALOG: tuple[Package, ...] = (
    Package(
        name="prometheus",
        # promtool is a package of its own from Debian 13 on, and part of prometheus before.
        recipe=AptRecipe(packages=("prometheus",), optional=("promtool",), newest=True),
        programs=MappingProxyType({"prometheus": "usr/bin/prometheus", "promtool": "usr/bin/promtool"}),
        proved=("prometheus", "promtool"),
    ),
    Package(
        name="alertmanager",
        # The distribution's Alertmanager opens /usr/share/prometheus/alertmanager/default.tmpl and does not start
        # where that is not installed; upstream embeds its templates.
        recipe=GoRecipe(
            module="github.com/prometheus/alertmanager",
            version="v0.34.2",
            commands=("./cmd/alertmanager", "./cmd/amtool"),
            language=(1, 26, 0),
            version_variable="github.com/prometheus/common/version.Version",
            placeholders=("ui/app/dist/index.html",),
        ),
        programs=MappingProxyType({"alertmanager": "bin/alertmanager", "amtool": "bin/amtool"}),
        proved=("alertmanager", "amtool"),
    ),
    _exporter("node-exporter", "node_exporter"),
    _exporter("mysqld-exporter", "mysqld_exporter"),
    _exporter("redis-exporter", "redis_exporter"),
    _exporter("elasticsearch-exporter", "elasticsearch_exporter"),
    _exporter("blackbox-exporter", "blackbox_exporter"),
    Package(
        name="mariadb",
        recipe=AptRecipe(packages=("mariadb-server-core", "mariadb-client-core"), libraries=_LIBRARIES),
        programs=MappingProxyType(
            {
                "mariadbd": "usr/sbin/mariadbd",
                "mariadb-install-db": "usr/bin/mariadb-install-db",
                "mariadb": "usr/bin/mariadb",
            }
        ),
        proved=("mariadbd", "mariadb"),
    ),
    Package(
        name="redis",
        recipe=AptRecipe(packages=("redis-server", "redis-tools"), libraries=_LIBRARIES),
        programs=MappingProxyType({"redis-server": "usr/bin/redis-server", "redis-cli": "usr/bin/redis-cli"}),
        proved=("redis-server", "redis-cli"),
    ),
    Package(
        name="mariadb-client",
        recipe=AptRecipe(packages=("mariadb-client", "mariadb-client-core"), libraries=_LIBRARIES),
        programs=MappingProxyType({"mariadb-dump": "usr/bin/mariadb-dump", "mariadb": "usr/bin/mariadb"}),
        proved=("mariadb-dump", "mariadb"),
    ),
    Package(
        name="nginx",
        recipe=AptRecipe(packages=("nginx",), libraries=_LIBRARIES),
        programs=MappingProxyType({"nginx": "usr/sbin/nginx"}),
        proved=("nginx",),
        asked=MappingProxyType({"nginx": ("-v",)}),
    ),
    Package(
        name="influxdb",
        recipe=AptRecipe(packages=("influxdb", "influxdb-client")),
        programs=MappingProxyType({"influxd": "usr/bin/influxd", "influx": "usr/bin/influx"}),
        proved=("influxd", "influx"),
        asked=MappingProxyType({"influxd": ("version",), "influx": ("-version",)}),
    ),
    Package(
        name="filebeat",
        # The last version that takes OpenSearch for what it stands in for; later ones look for a licence.
        recipe=GoMainRecipe(
            module="github.com/elastic/beats/v7",
            version="v7.12.1",
            commands=(".",),
            language=(1, 15, 0),
            version_variable="",
            main=_FILEBEAT,
        ),
        programs=MappingProxyType({"filebeat": "bin/filebeat"}),
        proved=("filebeat",),
        asked=MappingProxyType({"filebeat": ("version",)}),
    ),
    Package(
        name="opensearch",
        recipe=MavenRecipe(
            artifacts=(
                *(f"org.opensearch{part}:{_OPENSEARCH}" for part in _OPENSEARCH_PARTS),
                "org.apache.logging.log4j:log4j-core:2.25.3",
            ),
            version=_OPENSEARCH,
            sums="opensearch.sha256",
            main="OpenSearchNode.java",
            java=(17, 23),
            rehearsal=("--rehearse", "{home}"),
        ),
        programs=MappingProxyType({"opensearch": "bin/opensearch", "java": "java/bin/java"}),
        proved=("java",),
    ),
    Package(
        name="chdb",
        # The engine alone: `chdb` itself adds data frames, agents and their tests.
        recipe=PypiRecipe(
            requirement="chdb-core==26.9.0",
            sums=(
                "707e2ec3fe0f7953bac97942eaeb7a1ed1d66b1e56ecef3f0aa2130f61f6e735",  # x86_64
                "46148d3fc1edd6d6f701922be0f18e2aa6e60349e418b430e69bbb87ab6b95a9",  # aarch64
            ),
            module="chdb",
        ),
        programs=MappingProxyType({}),
        proved=(),
        paths=MappingProxyType({"PYTHONPATH": "site"}),
    ),
)

NAMES: tuple[str, ...] = tuple(package.name for package in CATALOG)

# Not a component: what a Go module is built with where the host has no Go, or one that is too old. It is unpacked for
# the build and thrown away with it.
GO_TOOLCHAIN = Package(
    name="go-toolchain",
    recipe=AptRecipe(packages=("golang-go",), libraries=("golang-",), newest=True),
    programs=MappingProxyType({"go": "usr/bin/go"}),
    proved=(),
)

# What a Java program is compiled with, and given a runtime from, where the host has no JDK or no Maven; as above.
JAVA_TOOLCHAIN = Package(
    name="java-toolchain",
    recipe=AptRecipe(
        packages=("default-jdk-headless", "maven"), libraries=("default-", "openjdk-", "lib", "maven", "zlib")
    ),
    programs=MappingProxyType({"mvn": "usr/share/maven/bin/mvn"}),
    proved=(),
)


def select(names: Sequence[str]) -> tuple[Package, ...]:
    """The packages of these names, each once, in the order of the catalogue.

    Raises:
        UsageError: a name that the catalogue does not have.
    """
    unknown = sorted(set(names) - set(NAMES))
    if unknown:
        raise UsageError(
            f"no component is called {', '.join(unknown)}",
            expected=f"one of {', '.join(NAMES)}",
        )
    return tuple(package for package in CATALOG if package.name in names)
