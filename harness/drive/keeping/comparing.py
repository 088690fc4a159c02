"""Content, compared record by record: what is missing, what is another, what was never written."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass


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
