"""What the provisioner can bring: one explicit tuple."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType

from harness.errors import UsageError
from harness.stack.provision.source import AptRecipe, GoRecipe, Package

_LIBRARIES = ("lib", "zlib")


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
