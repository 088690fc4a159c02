"""Components: one file each. What a component needs before it starts, and how it is known to be ready.

`COMPONENTS` in `harness/stack/components/registry.py` is the one tuple of all that there are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from harness.stack.runtimes import Launch
from harness.stack.site import Site


class Component(Protocol):
    """A kind of component. Instances are stateless; everything that differs from place to place is in the site."""

    @property
    def kind(self) -> str:
        """What the policy calls this kind: `prometheus`, `mariadb`, …"""

    @property
    def artifact(self) -> str | None:
        """The provisioner's name of what it needs; None where the harness brings it itself."""

    @property
    def needs(self) -> tuple[str, ...]:
        """The kinds that must be ready before it can be; it is started beside them all the same."""

    @property
    def relayed(self) -> bool:
        """Whether a relay stands in the path to it, so that its connections can be refused."""

    def credentials(self) -> Mapping[str, str]:
        """Fresh credentials that it will accept, by name (`mysql_password`); called once a place and run."""

    async def prepare(self, site: Site) -> None:
        """Writes what it needs before its first start.

        Raises:
            StackError: that could not be done.
        """

    def launch(self, site: Site) -> Launch:
        """Its program with the unit's own flags, only addresses and paths replaced, each listed as a difference.

        Raises:
            StackError: a program or a peer is missing.
        """

    async def ready(self, site: Site) -> str | None:
        """One look: None when it works, else what is still missing."""
