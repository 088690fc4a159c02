"""Content, compared record by record: what is missing, what is another, what was never written."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass

from harness.errors import StackError
from harness.model.keeping import RestoreDrilled
from harness.model.policy import ComponentPolicy


@dataclass(slots=True)
class Comparison:
    """What is known of restored content so far; it is taken in pieces, so that nothing is in memory as a whole."""

    records: int = 0
    missing: int = 0
    changed: int = 0
    foreign: int = 0

    @property
    def equal(self) -> bool:
        """Whether every record is there as it was written, and no other; nothing is equal to nothing."""
        return self.records > 0 and not (self.missing or self.changed or self.foreign)

    def take(self, expected: Sequence[Sequence[Hashable]], found: Sequence[Sequence[Hashable]]) -> None:
        """Compares one piece. The first member of a record is what it is known by within its piece.

        Args:
            expected: the records that were written.
            found: the records that answered; one that answers twice counts as foreign.
        """
        self.records += len(expected)
        if expected == found:
            return
        written = {record[0]: tuple(record[1:]) for record in expected}
        seen: set[Hashable] = set()
        for record in found:
            name = record[0]
            if name not in written or name in seen:
                self.foreign += 1
            elif written[name] != tuple(record[1:]):
                self.changed += 1
            seen.add(name)
        self.missing += len(written.keys() - seen)

    def drilled(
        self,
        component: ComponentPolicy,
        *,
        size: int,
        backup_seconds: float,
        restore_seconds: float,
        evidence: str = "real",
    ) -> RestoreDrilled:
        """What a drill tells of a store that was restored and compared so."""
        return RestoreDrilled(
            store=component.name,
            of_kind=component.kind,
            records=self.records,
            bytes=size,
            backup_seconds=backup_seconds,
            restore_seconds=restore_seconds,
            missing=self.missing,
            changed=self.changed,
            foreign=self.foreign,
            evidence=evidence,
        )


async def blame(component: ComponentPolicy, restored: Comparison, origin: Callable[[], Awaitable[Comparison]]) -> None:
    """Holds nothing against a restore that the first store did not hold either.

    Args:
        component: the store.
        restored: what is known of the restored content.
        origin: compares the content of the first store; asked only where the restored one is not equal.

    Raises:
        StackError: the first store does not hold what was written into it.
    """
    if not restored.equal and not (await origin()).equal:
        raise StackError(f"{component.name} does not hold what was written into it before it was backed up")
