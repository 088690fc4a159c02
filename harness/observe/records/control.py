"""The negative control of an audit: found records are withheld, damaged and doubled, and must be counted so exactly.

Which ones is drawn by the audit's seed from what was found. Their lines go through the ordinary checks and the ordinary
join, beside others that are left as they are; nothing here decides a fate.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import orjson

from harness.model.audit import AuditControl
from harness.model.records import UNKNOWN_DIGEST, Announced, RecordSchema, line_of
from harness.observe.records.booking import Booked, of_one_writer
from harness.observe.records.checks import Checker
from harness.observe.records.fates import Fate
from harness.observe.records.reading import Reader
from harness.observe.records.settings import NEVER, Settings
from harness.observe.records.tally import Drawn

FEWEST: Final = 3
"""With fewer records than these, not one of each kind can be spoilt."""


def run_control(
    schema: RecordSchema, drawn: Sequence[tuple[Drawn, bytes]], sources: Mapping[str, str], settings: Settings
) -> AuditControl:
    """Spoils some of the drawn records and counts them.

    Args:
        schema: of the source that they belong to.
        drawn: what was announced of each, and its line as it was found.
        sources: the source of every epoch.
        settings: those of the audit.
    """
    from harness.observe.records.blocks import joined  # noqa: PLC0415 - what it needs is slow to load

    usable = [(told, line) for told, line in drawn if told[5] == 1 and told[4] in {Fate.IN_TIME, Fate.LATE}]
    if len(usable) < FEWEST:
        return AuditControl(0, 0, 0, f"only {len(usable)} whole records could be drawn for it")
    chance = random.Random(settings.seed)
    chance.shuffle(usable)
    each = max(1, len(usable) // 4)
    lines: list[bytes] = []
    expected: Counter[str] = Counter()
    for number, (told, line) in enumerate(usable):
        fate = told[4]
        if number < each:
            expected[Fate.LOST] += 1
        elif number < 2 * each:
            lines.append(damaged(line, schema, chance, unknown=told[2] == UNKNOWN_DIGEST))
            expected[Fate.CORRUPT] += 1
        elif number < 3 * each:
            lines += [line, line]
            expected[Fate.DUPLICATE if fate == Fate.IN_TIME else fate] += 1
        else:
            lines.append(line)
            expected[fate] += 1
    chance.shuffle(lines)
    announced = [
        line_of(Announced(name, at, schema.source, "", level, digest)) for (name, at, digest, level, _, _), _ in usable
    ]
    checker = Checker([schema], sources, refresh_seconds=settings.refresh_seconds)
    reader = Reader(checker, [schema], refresh_seconds=settings.refresh_seconds)
    _, found = reader.read(b"\n".join(lines))
    whole = replace(settings, looked_at=NEVER, since=0.0, until=NEVER, windows=())
    counted: Counter[str] = Counter()
    for tally in joined(_announced(announced), found.parts(), whole).values():
        for (fate, _, _), count in tally.fates.items():
            counted[fate] += count
    return AuditControl(each, each, each, told_of(counted, expected))


def _announced(lines: Iterable[bytes]) -> list[bytes | Booked]:
    """Manifest lines as an audit sorts them."""
    by_epoch: dict[bytes, bytes] = {}
    for line in lines:
        name = line.partition(b"\t")[0]
        epoch = name[: name.rfind(b"/") + 1]
        by_epoch[epoch] = by_epoch.get(epoch, b"") + line
    found: list[bytes | Booked] = []
    for epoch, text in by_epoch.items():
        alike = of_one_writer(epoch, text)
        found += [text] if alike is None else [part for _, part in alike[1]]
    return found


def told_of(counted: Mapping[str, int], expected: Mapping[str, int]) -> str:
    """What was counted instead of what was spoilt; empty where that is the same."""
    return "" if counted == expected else f"counted {_told(counted)} where it spoilt {_told(expected)}"


def damaged(line: bytes, schema: RecordSchema, chance: random.Random, *, unknown: bool) -> bytes:
    """A line whose record is no longer what was written, and still bears its identity.

    A text loses its end, or a field goes missing. Where no digest is known a required field goes, for that is all
    that shows.
    """
    stamp, record = _taken_apart(line)
    kept = schema.identity_field.partition(".")[0]
    fields = sorted(name for name in record if name in schema.fields and name != kept)
    required = [name for name in schema.document.get("required", ()) if name in record and name != kept]
    texts = [name for name in fields if isinstance(record[name], str) and record[name]]
    if unknown and required:
        del record[chance.choice(required)]
    elif texts and chance.random() < 0.5:
        name = chance.choice(texts)
        record[name] = record[name][:-1]
    elif fields:
        del record[chance.choice(fields)]
    return stamp + orjson.dumps(record)


def _taken_apart(line: bytes) -> tuple[bytes, dict[str, Any]]:
    stamp, tab, rest = (b"", b"", line) if line.startswith(b"{") else line.partition(b"\t")
    record = orjson.loads(rest)
    return stamp + tab, record.get("_source", record)


def _told(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {fate}" for fate, count in sorted(counts.items()) if count) or "nothing"
