"""Requests that are announced before they are sent, so that what nginx logs of them can be missed.

The locustfile imports this: no asyncio, no threads, one short `write` a request. A request carries its identity in a
header, which nginx's access log takes over (`policies/nginx/nginx.conf`); what else its record says is nginx's to know.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from harness.stack.manifest import Manifest

SOURCE: Final = "nginx-access"
"""The log whose records these requests become."""

HEADER: Final = "X-Record-Sequence"
"""Where a request carries the identity of its record."""

MANIFESTS: Final = "TOCSIN_MANIFESTS"
"""The variable that names the folder of manifests; without it nothing is announced."""

RUN: Final = "TOCSIN_RUN_ID"
"""The variable with the run's id."""


@dataclass(slots=True)
class Request:
    """One request on its way.

    Args:
        headers: what it must carry.
        reached: whether it may have reached nginx, which then logs it whatever becomes of it.
    """

    headers: dict[str, str] = field(default_factory=dict)
    reached: bool = False

    def ended(self, status: int, error: object) -> None:
        """Takes how it ended: its status (0 without an answer) and what went wrong, an exception or None.

        Whoever is not answered in time has been accepted: nginx logs that its client went away. A connection that was
        refused or reset brought nothing to the end, as far as anybody can know.
        """
        # Locust's client wraps what it has given up trying again.
        self.reached = status != 0 or isinstance(getattr(error, "original", error), TimeoutError)


class AnnouncedRequests:
    """The manifests of a load, one a lane, each opened with its lane's first request.

    Args:
        folder: the run's folder of manifests; None: nothing is announced.
        run: the run's id.
    """

    def __init__(self, folder: Path | None, run: str = "") -> None:
        self._folder = folder
        self._run = run
        self._manifests: dict[str, Manifest] = {}

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> AnnouncedRequests:
        """Reads TOCSIN_MANIFESTS and TOCSIN_RUN_ID.

        Raises:
            ValueError: the first is set and the second is not.
        """
        folder, run = environ.get(MANIFESTS, ""), environ.get(RUN, "")
        if folder and not run:
            raise ValueError(f"{MANIFESTS} is set and {RUN} is not: whose requests are these?")
        return cls(Path(folder) if folder else None, run)

    @contextmanager
    def request(self, lane: str) -> Iterator[Request]:
        """Announces a request; one that does not end as one that may have reached nginx is withdrawn.

        Raises:
            OSError: it cannot be announced, and must not be sent; or it cannot be withdrawn.
        """
        if self._folder is None:
            yield Request()
            return
        manifest = self._manifests.get(lane)
        if manifest is None:
            manifest = self._manifests[lane] = Manifest(self._folder, run=self._run, source=SOURCE, lane=lane)
        name = manifest.next_identity()
        manifest.announce([manifest.announced(name, None, ())])
        request = Request({HEADER: name})
        try:
            yield request
        finally:
            # Also where the load ends in the middle of it: what nginx has seen is found all the same.
            if not request.reached:
                manifest.withdraw(name)
