"""The audit of records: whatever was withheld, doubled, damaged or late is counted exactly, and memory stays flat."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from record_sets import BEGAN, DOCUMENT, RUN, SCHEMA, announced, audited, of_source, record, stored, write_lines

from harness.errors import UsageError
from harness.model.audit import Fates, FaultWindow, RecordsAudited, RecordsNotAudited
from harness.model.records import UNKNOWN_DIGEST, WITHDRAWN, Announced, RecordSchema, digest_of
from harness.observe.records import auditing, control
from harness.observe.records.auditing import Store, audit, manifests_in
from harness.observe.records.digests import UNREADABLE, digester
from harness.observe.records.fates import Fate, fate_of
from harness.observe.records.partition import bucket_count, chunks
from harness.observe.records.settings import Settings
from harness.observe.records.workers import Alone, Workers

KINDS = ("whole", "withheld", "damaged", "doubled", "late", "late and doubled", "one copy damaged", "undated")
EXPECTED = {
    "whole": Fate.IN_TIME,
    "withheld": Fate.LOST,
    "damaged": Fate.CORRUPT,
    "doubled": Fate.DUPLICATE,
    "late": Fate.LATE,
    "late and doubled": Fate.LATE,
    "one copy damaged": Fate.DUPLICATE,
    "undated": Fate.UNVERIFIED,
}


def spoilt(kind: str, one: dict[str, Any], at: float) -> list[bytes]:
    """What a store has of a record to which this happened."""
    whole, late = stored(one, at + 1), stored(one, at + 61)
    damaged = stored({**one, "action": "vie"}, at + 1)
    return {
        "whole": [whole],
        "withheld": [],
        "damaged": [damaged],
        "doubled": [whole, whole],
        "late": [late],
        "late and doubled": [late, stored(one, at + 70)],
        "one copy damaged": [damaged, whole],
        "undated": [stored(one, None)],
    }[kind]


def fates(event: RecordsAudited) -> dict[str, int]:
    """The counts that are not nought."""
    return {fate.value: count for fate in Fate if (count := getattr(event.fates, fate.value))}


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    kinds=st.lists(st.sampled_from(KINDS), min_size=1, max_size=60),
    shuffled=st.randoms(use_true_random=False),
    buckets=st.integers(1, 5),
)
def test_any_mix_is_counted_exactly(kinds: list[str], shuffled: Any, buckets: int) -> None:
    """Withheld, doubled, damaged and late in any order and any number: each record has its one fate."""
    records = [record(number) for number in range(1, len(kinds) + 1)]
    told = [announced(one, BEGAN + at) for at, one in enumerate(records)]
    lines = [
        line
        for at, (kind, one) in enumerate(zip(kinds, records, strict=True))
        for line in spoilt(kind, one, BEGAN + at)
    ]
    shuffled.shuffle(lines)
    with TemporaryDirectory() as folder:
        event = of_source(audited(Path(folder), told, lines, buckets=buckets))
    expected = Counter(EXPECTED[kind].value for kind in kinds)
    assert fates(event) == dict(expected)
    assert event.fates.written == len(kinds)
    assert event.found == len(lines)
    assert event.surplus == len(lines) - (len(kinds) - expected["lost"])
    assert event.by_lane["lane-01"] == event.fates
    assert sum(event.by_level.values(), Fates()) == event.fates


def many(count: int) -> tuple[list[Announced], list[bytes]]:
    """So many records, all found whole after a second."""
    records = [record(number) for number in range(1, count + 1)]
    told = [announced(one, BEGAN + at / 100) for at, one in enumerate(records)]
    return told, [stored(one, BEGAN + at / 100 + 1) for at, one in enumerate(records)]


def test_the_control_finds_what_it_spoilt(tmp_path: Path) -> None:
    """On whole records the ordinary classification counts every withheld, damaged and doubled one."""
    event = of_source(audited(tmp_path, *many(200)))
    assert event.control.exact
    assert (event.control.withheld, event.control.damaged, event.control.doubled) == (7, 7, 7)
    assert event.fates == Fates(written=200, in_time=200)


@pytest.mark.parametrize("blind", ["digest", "copies", "missing"])
def test_a_blind_classification_fails_its_control(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, blind: str) -> None:
    """The twin: one that takes damaged for whole, two for one, or missing for found is told by the control."""

    def judged(at: float, digest: str, copies: Any, **held: Any) -> Any:
        if blind == "digest" and copies:
            copies = [(name, when, digest, True, stamp) for name, when, _, _, stamp in copies]
        if blind == "copies":
            copies = copies[:1]
        if blind == "missing" and not copies:
            return Fate.IN_TIME, 0.0
        return fate_of(at, digest, copies, **held)

    monkeypatch.setattr("harness.observe.records.joining.fate_of", judged)
    event = of_source(audited(tmp_path, *many(200)))
    assert not event.control.exact
    assert "where it spoilt 7 corrupt, 7 duplicate, 9 in_time, 7 lost" in event.control.told


def test_a_control_without_records_is_not_exact(tmp_path: Path) -> None:
    """Nothing was found, so nothing could be spoilt: that proves nothing."""
    told, _ = many(5)
    event = of_source(audited(tmp_path, told, []))
    assert event.fates == Fates(written=5, lost=5)
    assert not event.control.exact
    assert "only 0 whole records" in event.control.told


def test_what_nobody_looked_for_long_enough_is_not_lost(tmp_path: Path) -> None:
    """A record that was announced less than the allowance before the look is unverified where it is missing."""
    told, _ = many(2)
    event = of_source(audited(tmp_path, told, [], looked_at=BEGAN + 60.005))
    assert event.fates == Fates(written=2, lost=1, unverified=1)


def test_a_record_that_was_taken_back_is_not_missed(tmp_path: Path) -> None:
    """Withdrawn and not found is not written; withdrawn and found all the same counts like any other."""
    told, lines = many(3)
    taken_back = [Announced(one.identity, one.at, one.source, one.lane, WITHDRAWN, UNKNOWN_DIGEST) for one in told[:2]]
    event = of_source(audited(tmp_path, [*told, *taken_back], lines[1:]))
    assert event.fates == Fates(written=2, in_time=2)
    assert event.withdrawn == 1


def test_without_a_digest_the_schema_decides(tmp_path: Path) -> None:
    """An access log cannot announce digests: what its schema does not allow is not whole."""
    told, lines = many(40)
    told = [Announced(one.identity, one.at, one.source, one.lane, one.level, UNKNOWN_DIGEST) for one in told]
    lines[3] = lines[3].replace(b'"status":200', b'"status":"200"')
    event = of_source(audited(tmp_path, told, lines))
    assert event.fates == Fates(written=40, in_time=39, corrupt=1)
    assert event.undigested == 40
    assert (event.schema_violations, event.offending) == (1, {"status: type": 1})
    assert event.control.exact


def test_a_record_that_was_written_wrong_violates_its_schema_and_is_no_loss(tmp_path: Path) -> None:
    """It arrived as it was written; the fields that offend are named."""
    wrong = record(1)
    del wrong["action"]
    wrong |= {"duration": -1.0, "metadata": {**wrong["metadata"], "requestId": 7}}
    event = of_source(audited(tmp_path, [announced(wrong, BEGAN)], [stored(wrong, BEGAN + 1)]))
    assert event.fates == Fates(written=1, in_time=1)
    assert event.schema_violations == 1
    assert event.offending == {"action: required": 1, "duration: minimum": 1, "metadata.requestId: type": 1}


def test_what_nobody_announced_is_told_and_what_is_not_ours_is_passed_over(tmp_path: Path) -> None:
    """Of this run but of no announcement; of a writer that announced nothing; of another run; of nobody; no JSON."""
    told, lines = many(10)
    stranger = record(99)
    nobody = record(1, lane="lane-77")
    foreign = {**record(1), "metadata": {"sequence": "another-run/application.lane-01.1/1"}}
    lines += [stored(stranger, BEGAN), stored(nobody, BEGAN), stored(foreign, BEGAN), b'{"message":"hello"}', b"{oops"]
    event = of_source(audited(tmp_path, told, lines))
    assert event.fates == Fates(written=10, in_time=10)
    assert event.unannounced == 1
    assert event.doubts == (
        "1 lines are no JSON objects",
        "1 records bear no identity",
        "1 records of this run are of writers that announced nothing",
    )


def test_records_are_counted_by_the_fault_that_was_in_place(tmp_path: Path) -> None:
    """By the instant of their announcement, in the lane that the fault reaches."""
    told, lines = many(100)
    windows = (
        FaultWindow("store-down", "", BEGAN + 0.095, BEGAN + 0.195),
        FaultWindow("shipper-killed", "lane-02", BEGAN, BEGAN + 9),
    )
    event = of_source(audited(tmp_path, told, lines[:12] + lines[15:], windows=windows))
    assert event.by_fault == {"store-down": Fates(written=10, in_time=7, lost=3)}


def test_order_and_clocks_are_told(tmp_path: Path) -> None:
    """A record behind a later one of its writer; a timestamp far from its announcement; a store's slow clock."""
    one, two, three = (record(number, at=BEGAN + number) for number in (1, 2, 3))
    two["timestamp"] = record(2, at=BEGAN + 3600)["timestamp"]
    told = [announced(each, BEGAN + number) for number, each in enumerate((one, two, three), start=1)]
    lines = [stored(one, BEGAN + 0.5), stored(three, BEGAN + 4), stored(two, BEGAN + 5)]
    event = of_source(audited(tmp_path, told, lines))
    assert event.order_inversions == 1
    assert event.clock_skew_seconds == pytest.approx(3598)
    assert event.delay_min_seconds == pytest.approx(-0.5)
    assert event.delay_max_seconds == pytest.approx(3)


def test_a_search_that_found_it_earlier_counts(tmp_path: Path) -> None:
    """`event.ingested` plus the refresh interval is an upper bound; an instant at which it was found is better."""
    one = record(1)
    line = stored(one, BEGAN + 50)
    found = audited(tmp_path, [announced(one, BEGAN)], [line], refresh_seconds=20.0)
    assert of_source(found).fates == Fates(written=1, late=1)
    (tmp_path / "again").mkdir()
    seen = audited(
        tmp_path / "again", [announced(one, BEGAN)], [b"%.3f\t%s" % (BEGAN + 55, line)], refresh_seconds=20.0
    )
    assert of_source(seen).fates == Fates(written=1, in_time=1)
    assert of_source(seen).delay_max_seconds == pytest.approx(55)


def test_records_of_no_schema_are_not_audited(tmp_path: Path) -> None:
    """Nobody knows what their digest covers: that is told, not guessed."""
    told, lines = many(3)
    (event,) = audited(tmp_path, told, lines, schemas=())
    assert isinstance(event, RecordsNotAudited)
    assert "no schema says what a record of 'application' looks like" in event.why


def test_half_a_manifest_line_announces_nothing_and_a_broken_one_is_told(tmp_path: Path) -> None:
    """A writer that was killed leaves a half line; what else is no announcement may have been one."""
    told, lines = many(3)
    manifest = tmp_path / "m.tsv"
    whole = b"".join(f"{one.identity}\t{one.at}\t{one.source}\tl\tI\t{one.digest}\n".encode() for one in told)
    manifest.write_bytes(b"nonsense\n" + whole + f"{RUN}/application.lane-01.1/4\t18".encode())
    work = tmp_path / "work"
    work.mkdir()
    held = Settings(work, (SCHEMA,), 2, BEGAN + 1e6)
    with Alone(held) as by:
        events = audit([manifest], [write_lines(tmp_path / "f", lines)], held, by, Store())
    assert of_source(events).fates.written == 3
    assert of_source(events).doubts == ("1 lines of manifests are no announcements, first m.tsv: 'nonsense'",)


def test_two_processes_count_what_one_does(tmp_path: Path) -> None:
    """Stretches of files, buckets, order across stretches, drawn records: nothing depends on who did what."""
    told, lines = many(3000)
    lines = [*lines[:700], lines[650], *lines[720:], stored({**record(30), "action": "x"}, BEGAN)]
    alone = of_source(audited(tmp_path, told, lines))
    work = tmp_path / "again"
    work.mkdir()
    held = Settings(work, (SCHEMA,), 4, BEGAN + 1e6)
    manifest = tmp_path / "manifests" / "application.lane-01.1.tsv"
    with pytest.MonkeyPatch.context() as patch, Workers(held, 2) as by:
        patch.setattr(auditing, "STRETCH_BYTES", 100_000)
        together = of_source(audit([manifest], [tmp_path / "found.ndjson"], held, by, Store()))
    assert together.fates == alone.fates == Fates(3000, 2978, 0, 2, 0, 20)
    assert together.order_inversions == alone.order_inversions
    assert together.delay_p99_seconds == alone.delay_p99_seconds
    assert together.examples == alone.examples
    assert together.control == alone.control
    assert together.control.exact


def test_workers_end_with_who_started_them() -> None:
    """A worker whose standard input ends is gone: an audit that was killed leaves nobody behind."""
    worker = subprocess.run(
        [sys.executable, "-m", "harness.observe.records.worker"],
        input=b"",
        capture_output=True,
        check=False,
        timeout=30,
    )
    assert worker.stdout == b""


def test_a_file_that_cannot_be_read_is_a_sentence(tmp_path: Path) -> None:
    """No folder, no manifest in it, no records: what is missing is named."""
    with pytest.raises(UsageError, match="cannot be read"):
        manifests_in(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="holds no manifest"):
        manifests_in(tmp_path)
    held = Settings(tmp_path, (SCHEMA,), 1, BEGAN)
    with Alone(held) as by, pytest.raises(UsageError, match=r"nowhere\.tsv cannot be read"):
        audit([tmp_path / "nowhere.tsv"], [], held, by, Store())


@pytest.mark.parametrize("size", [1, 7, 40, 1000])
def test_every_line_is_in_one_stretch(tmp_path: Path, size: int) -> None:
    """Wherever a file is cut, each of its lines is read once, the last one without a line break too."""
    path = tmp_path / "lines"
    lines = [b"x" * (number % 13) for number in range(60)] + [b"end"]
    path.write_bytes(b"\n".join(lines))
    whole = path.stat().st_size
    found = b"".join(
        chunk for start in range(0, whole, size) for chunk in chunks(path, start, min(whole, start + size))
    )
    assert found == path.read_bytes()


numbers = st.one_of(st.integers(-(2**60), 2**60), st.floats(allow_nan=False, allow_infinity=False, width=32))
values = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, st.text(max_size=5)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
TYPED = RecordSchema(
    "typed",
    "logs/typed.schema.json",
    {
        "properties": {
            "text": {"type": "string"},
            "word": {"enum": ["a", "b"]},
            "number": {"type": ["number", "null"]},
            "whole": {"type": "integer"},
            "any": {},
            "object": {"type": "object"},
        }
    },
)


@settings(max_examples=200, deadline=None)
@given(
    one=st.fixed_dictionaries(
        {},
        optional={
            "text": st.text(max_size=5),
            "word": st.sampled_from(["a", "b"]),
            "number": st.none() | numbers,
            "whole": st.integers(-9, 9) | st.integers(-9, 9).map(float),
            "any": values,
            "object": st.dictionaries(st.text(max_size=3), values, max_size=3),
            "more": values,
        },
    )
)
def test_the_fast_digest_is_the_digest(one: dict[str, Any]) -> None:
    """Whatever a valid record holds, and after a way through JSON in which 12.0 became 12."""
    try:
        expected = digest_of(one, TYPED.fields)
    except TypeError:
        expected = UNREADABLE
    declared = {name: value for name, value in one.items() if name in TYPED.fields}
    digest = digester(TYPED)
    assert digest(orjson.loads(orjson.dumps(declared)), True) == expected
    assert digest(declared, True) == expected


def test_an_invalid_record_has_its_digest_too() -> None:
    """A number where the schema wants a text: only the slow way looks there."""
    one = {"text": 12.0}
    assert digester(TYPED)(one, False) == digest_of({"text": 12}, TYPED.fields)


def test_references_within_a_schema_hold() -> None:
    """A schema with `$defs` and `$ref` is held against many records at once as against one."""
    document = {**DOCUMENT, "$defs": {"level": {"enum": ["INFO", "ERROR"]}}}
    document["properties"] = {**DOCUMENT["properties"], "level": {"$ref": "#/$defs/level"}}
    schema = RecordSchema("application", "f", document)
    with TemporaryDirectory() as folder:
        told, lines = many(20)
        lines[3] = lines[3].replace(b'"INFO"', b'"WARN"')
        event = of_source(audited(Path(folder), told, lines, schemas=(schema,)))
    assert (event.schema_violations, event.offending) == (1, {"level: enum": 1})
    assert event.fates == Fates(written=20, in_time=19, corrupt=1)


def test_buckets_grow_with_manifests() -> None:
    """So that each fits in memory, however many there are."""
    assert [bucket_count(size) for size in (0, 1, 1_000_001, 10**12)] == [1, 1, 2, 100_000]


def test_a_damaged_record_is_never_what_it_was(tmp_path: Path) -> None:
    """The control's own hand: each of its damages changes the digest and keeps the identity."""
    import random

    line = stored(record(1), BEGAN)
    for seed in range(50):
        spoilt_line = orjson.loads(control.damaged(line, SCHEMA, random.Random(seed), unknown=seed % 2 == 0))
        assert spoilt_line["metadata"] == record(1)["metadata"]
        assert digest_of(spoilt_line, SCHEMA.fields) != digest_of(record(1), SCHEMA.fields)
