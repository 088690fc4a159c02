"""What the negative control of an audit in SQL spoils: drawn records are withheld, damaged and doubled. Pure."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from harness.model.audit import AuditControl
from harness.model.records import UNKNOWN_DIGEST, Announced, RecordSchema, line_of
from harness.observe.records.control import FEWEST, damaged, told_of
from harness.observe.records.fates import Fate


class Drawn(NamedTuple):
    """A record that was found whole and once: what was announced of it, its fate, its row."""

    identity: str
    at: float
    source: str
    level: str
    digest: str
    fate: str
    record: str
    ingested: str


@dataclass(slots=True)
class Spoilt:
    """What is to be counted: announcements, rows (`record`, `sequence`, `ingested`), and how many of which fate."""

    announced: list[bytes] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    each: dict[str, int] = field(default_factory=dict)
    drawn: Counter[str] = field(default_factory=Counter)
    expected: dict[str, Counter[str]] = field(default_factory=dict)

    def judged(self, source: str, counted: Counter[str]) -> AuditControl:
        """What the control of a source amounts to, where so many were counted of each fate."""
        each = self.each.get(source, 0)
        if not each:
            return AuditControl(0, 0, 0, f"only {self.drawn[source]} whole records could be drawn for it")
        return AuditControl(each, each, each, told_of(counted, self.expected[source]))


def spoilt(drawn: Sequence[Drawn], schemas: Mapping[str, RecordSchema], seed: int) -> Spoilt:
    """Spoils a quarter of the records of each source in each of three ways, and leaves the others as they are."""
    made = Spoilt()
    for source, schema in schemas.items():
        chance = random.Random(seed)
        mine = sorted(one for one in drawn if one.source == source)
        made.drawn[source] = len(mine)
        if len(mine) < FEWEST:
            continue
        chance.shuffle(mine)
        each = made.each[source] = max(1, len(mine) // 4)
        expected = made.expected[source] = Counter()
        for number, one in enumerate(mine):
            made.announced.append(line_of(Announced(one.identity, one.at, source, "", one.level, one.digest)))
            row = [one.record, one.identity, one.ingested]
            if number < each:
                expected[Fate.LOST] += 1
            elif number < 2 * each:
                text = one.record.replace("\n", " ").lstrip().encode()
                worse = damaged(text, schema, chance, unknown=one.digest == UNKNOWN_DIGEST)
                made.rows.append([worse.decode(), *row[1:]])
                expected[Fate.CORRUPT] += 1
            elif number < 3 * each:
                made.rows += [row, row]
                expected[Fate.DUPLICATE if one.fate == Fate.IN_TIME else one.fate] += 1
            else:
                made.rows.append(row)
                expected[one.fate] += 1
    return made
