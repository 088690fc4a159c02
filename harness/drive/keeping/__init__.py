"""Keeping: how old a store's data may become, and how long it takes to have it back. One file a kind of store.

`KEEPERS` in `harness/drive/keeping/registry.py` is the one tuple of all; `stage.py` takes them through a run.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

from harness.drive.keeping.ground import Ground
from harness.model.keeping import RestoreDrilled, RetentionProbed
from harness.model.policy import ComponentPolicy


class Sizes(StrEnum):
    """How large the drills are: small enough for every gate, or as large as a night allows."""

    GATE = "gate"
    FULL = "full"

    def of(self, *records: int, full: int) -> tuple[int, ...]:
        """How many records are drilled with: so many in every gate, `full` times as many at night."""
        return tuple(one * (full if self is Sizes.FULL else 1) for one in records)


class Keeper(Protocol):
    """What can be asked of one kind of store. Instances are stateless.

    Every instance of a store is a process of its own in the run's sandbox; the run's live stores are never touched.
    """

    @property
    def kind(self) -> str:
        """The kind of component that it keeps: `prometheus`, `mariadb`, …"""

    @property
    def ages(self) -> bool:
        """Whether data ages out of such a store, so that it has a retention."""

    @property
    def artifacts(self) -> tuple[str, ...]:
        """The provisioner's names of what it needs."""

    def sizes(self, sizes: Sizes) -> tuple[int, ...]:
        """How many records to drill with, three numbers far apart, so that a growth can be fitted."""

    async def retention(self, ground: Ground, component: ComponentPolicy) -> RetentionProbed:
        """Gives a store of its own old data on both sides of 90 days, and asks what of it answers.

        Raises:
            HarnessError: it could not be probed.
        """

    async def restore(self, ground: Ground, component: ComponentPolicy, records: int) -> RestoreDrilled:
        """Fills a store, backs it up, restores it into an empty one, and compares what that answers, record by record.

        What must be there is computed from the same seed as what was written, never read from the first store.

        Raises:
            HarnessError: the drill could not be carried out.
        """
