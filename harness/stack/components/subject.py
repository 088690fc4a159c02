"""The subject: the shipped stand-in, or a team's own application in its place."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping

from harness import __version__
from harness.errors import StackError
from harness.model.stack import SHARED, Difference
from harness.stack.command import base_environment
from harness.stack.probe import expect_ok
from harness.stack.runtimes import Launch
from harness.stack.site import Site


class Subject:
    """The application under watch. Its whole configuration is in its environment, the stand-in's and a team's alike.

    LISTEN, DATABASE_URL, REDIS_URL (each where the policy has such a component), LOG_DIR, ENVIRONMENT (the lane) and
    INSTANCE_ID; EVENT_COLLECTOR_URL where there is a collector; MANIFEST_DIR, RUN_ID and LANE where the run follows
    records. It is ready when `GET /health` answers 200. A team's own command is started in the folder that holds the
    policies, finds its program through PATH, and keeps the variables that its unit sets.
    """

    kind = "subject"
    artifact: str | None = None
    needs = ("mariadb", "redis")
    relayed = False

    def credentials(self) -> Mapping[str, str]:
        """None."""
        return {}

    async def prepare(self, site: Site) -> None:
        """Makes the folder of its logs."""
        (site.data / "logs").mkdir(exist_ok=True)

    def launch(self, site: Site) -> Launch:
        """The stand-in, or the team's own command, with the variables above."""
        own = site.component.command
        unit = site.component.unit
        argv = (_program(site, own[0]), *own[1:]) if own else (sys.executable, "-m", "harness.stack.subject")
        differences = []
        if unit is not None and unit.argv != argv:
            why = "the team's own command" if own else "the stand-in plays the application"
            differences.append(Difference(unit.file, "ExecStart", " ".join(unit.argv), " ".join(own or argv[1:]), why))
        return Launch(
            name=site.name,
            lane=site.lane,
            argv=argv,
            environment={
                **base_environment(site),
                **({"PATH": os.environ["PATH"]} if own and "PATH" in os.environ else {}),
                **(unit.environment if unit else {}),
                **_settings(site),
                **site.environment,
            },
            directory=site.project if own else site.data,
            log=site.log,
            address=site.address,
            version="" if own else __version__,
            differences=tuple(differences),
        )

    async def ready(self, site: Site) -> str | None:
        """`/health`."""
        return await expect_ok(site.address, "/health")


def _settings(site: Site) -> dict[str, str]:
    """The variables that configure the subject."""
    settings = {
        "LISTEN": str(site.address),
        "LOG_DIR": str(site.data / "logs"),
        "ENVIRONMENT": site.lane or "production",
        "INSTANCE_ID": f"{site.name}-{site.lane}" if site.lane else site.name,
    }
    if (database := site.peers.get("mariadb")) is not None:
        user, password = site.secrets["mysql_user"], site.secrets["mysql_password"]
        settings["DATABASE_URL"] = f"mysql://{user}:{password}@{database}/{site.secrets['mysql_database']}"
    if (cache := site.peers.get("redis")) is not None:
        settings["REDIS_URL"] = f"redis://{cache}/0"
    if (collector := site.peers.get("event-collector")) is not None:
        settings["EVENT_COLLECTOR_URL"] = f"http://{collector}"
    if site.manifests is not None:
        settings |= {"MANIFEST_DIR": str(site.manifests), "RUN_ID": site.run, "LANE": site.lane or SHARED}
    return settings


def _program(site: Site, name: str) -> str:
    """The absolute path of the program that a team's command names."""
    path = str(site.project / name) if "/" in name else shutil.which(name)
    if path is None or not os.access(path, os.X_OK):
        raise StackError(
            f"The command of {site.title} cannot be run: {name} is not a program",
            expected="the name of a program on PATH, or a path from the folder that holds the policies",
            hint=f"the command stands at {site.component.span}",
        )
    return path
