"""nginx: in each lane the way to the subject, with production's own configuration and its access log."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace

from harness.errors import StackError
from harness.stack.command import Command
from harness.stack.nginx_conf import Configured, Place, configured
from harness.stack.probe import expect_ok
from harness.stack.runtimes import Launch
from harness.stack.site import Site

_OWN = "one file for each lane, made from the copy"


class Nginx:
    """A real nginx before the subject. It works when the subject's `/health` answers through it."""

    kind = "nginx"
    artifact = "nginx"
    needs = ("subject",)
    relayed = False

    def credentials(self) -> Mapping[str, str]:
        """None."""
        return {}

    async def prepare(self, site: Site) -> None:
        """Writes its configuration, and makes the folders of its logs and of what it keeps meanwhile.

        Raises:
            StackError: there is no configuration, it cannot be read, or something cannot be written.
        """
        try:
            for folder in (site.data / "logs", site.data / "temporary"):
                folder.mkdir(exist_ok=True)
            (site.data / "nginx.conf").write_text(_configured(site).text, encoding="utf-8")
        except OSError as error:
            raise StackError(f"{site.title} cannot be prepared at {site.data}", seen=str(error)) from error

    def launch(self, site: Site) -> Launch:
        """The unit's nginx, in the foreground."""
        command = Command(site, "nginx", spaced=True)
        command.drop("-g", why="what it says stands in the configuration")
        command.put("-c", str(site.data / "nginx.conf"), _OWN)
        command.put("-p", str(site.data), "its own folder")
        command.put("-e", "stderr", "told with the rest of its output")
        launch = command.launch()
        return replace(launch, differences=(*launch.differences, *_configured(site).differences))

    async def ready(self, site: Site) -> str | None:
        """The subject's `/health`, through it."""
        return await expect_ok(site.address, "/health")


def _configured(site: Site) -> Configured:
    """The configuration of one lane's nginx.

    Raises:
        StackError: there is none in the copy, or it cannot be read.
    """
    if site.configuration is None or site.nowhere is None:
        raise StackError(f"{site.title} has no configuration", expected="an nginx/nginx.conf in the policies folder")
    place = Place(
        name=site.name,
        listen=site.address,
        logs=site.data / "logs",
        folder=site.data,
        production=site.production,
        nowhere=site.nowhere,
        # Whoever is root is asked for somebody else to work as; in the sandbox that somebody could read nothing.
        user="root root" if os.geteuid() == 0 else None,
    )
    return configured(site.configuration, "nginx/nginx.conf", place)
