"""Records counted together amount to what they amount to one by one, whatever became of them."""

from __future__ import annotations

import marshal
from array import array
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from record_sets import BEGAN, RUN, announced, audited, of_source, record, stored

from harness.model.audit import FaultWindow
from harness.observe.records import blocks, tally
from harness.observe.records.blocks import joined
from harness.observe.records.booking import Booked, of_one_writer
from harness.observe.records.fates import CopyRow
from harness.observe.records.joining import join
from harness.observe.records.partition import BLOCK, Packed, Sorted, number_of
from harness.observe.records.settings import NEVER, Settings
from harness.observe.records.tally import Tally

EPOCHS = (f"{RUN}/application.lane-01.1", f"{RUN}/other.lane-02.1")
DIGESTS = ("00000000000000aa", "ffffffffffffffff", "0123456789abcdef")
WINDOWS = (FaultWindow("nap", "", BEGAN, BEGAN + 3), FaultWindow("hang", "lane-02", BEGAN + 1, BEGAN + 9))
HELD = Settings(Path(), (), 1, BEGAN + 90, since=BEGAN + 1, until=BEGAN + 500, windows=WINDOWS)

sequences = st.integers(0, 9) | st.sampled_from([BLOCK - 1, BLOCK, BLOCK + 1, 10**14])
instants = st.sampled_from([BEGAN, BEGAN + 1, BEGAN + 2.125, BEGAN + 60.5, BEGAN + 61, BEGAN + 400, BEGAN + 800])
stamps = instants.map(lambda at: f"{at:.6f}") | st.sampled_from(["nan", "inf", "never", "-inf"])
kinds = st.sampled_from(
    [("application", "lane-01", "INFO")] * 4
    + [("application", "lane-02", "ERROR"), ("other", "lane-02", ""), ("application", "lane-01", "withdrawn")]
)
told_digests = st.sampled_from([*DIGESTS[:1] * 9, *DIGESTS, "-", DIGESTS[0].upper(), ""])
lines = st.builds(
    lambda epoch, number, stamp, kind, digest: "\t".join([f"{epoch}/{number}", stamp, *kind, digest]) + "\n",
    st.sampled_from(EPOCHS),
    sequences.map(str) | st.sampled_from(["007", "x", "1" * 16]),
    stamps,
    kinds,
    told_digests,
)
copies = st.tuples(
    st.sampled_from([*EPOCHS, f"{RUN}/silent.lane-01.1"]),
    sequences,
    instants,
    st.sampled_from(DIGESTS[:1] * 5 + DIGESTS),
    instants,
)
rows = st.builds(
    lambda epoch, number, at, digest, valid, stamp: (f"{epoch}/{number}", at, digest, valid, stamp),
    st.sampled_from(EPOCHS),
    sequences.map(str) | st.sampled_from(["007", "x", "²"]),
    st.none() | instants,
    st.sampled_from([*DIGESTS, "?"]),
    st.booleans(),
    st.none() | instants,
)


def manifest(count: int, epoch: str = EPOCHS[0]) -> str:
    """Announcements of one writer, as it counts."""
    kind = "application\tlane-01\tINFO"
    return "".join(f"{epoch}/{number}\t{BEGAN + 2:.6f}\t{kind}\t{DIGESTS[0]}\n" for number in range(1, count + 1))


def packed(found: Iterable[tuple[str, int, float, str, float]], *, dated: bool) -> list[Packed]:
    """Copies as a reader packs them, those of an epoch together."""
    by_epoch: dict[str, list[Any]] = {}
    for one in found:
        by_epoch.setdefault(one[0], []).append(one)
    sorted_ = Sorted()
    for epoch, some in by_epoch.items():
        _, numbers, searchable, digests, stamped = zip(*some, strict=True)
        columns = (np.array(column).tolist() if dated else [] for column in (searchable, stamped))
        sorted_.add(_pack(epoch, numbers, "".join(digests), *columns))
    return [part for _, part in sorted_.packed]


def _pack(epoch: str, numbers: Iterable[int], digests: str, searchable: list[float], stamped: list[float]) -> Packed:
    return Packed(epoch, array("q", numbers), array("d", searchable), digests, array("d", stamped))


def booked(parts: Iterable[str]) -> list[bytes | Booked]:
    """Parts of manifests as an audit sorts them."""
    found: list[bytes | Booked] = []
    for text in parts:
        alike = of_one_writer(text[: text.find("\t")].rpartition("/")[0].encode() + b"/", text.encode())
        found += [text.encode()] if alike is None else [part for _, part in alike[1]]
    return found


def told(tallies: dict[str, Tally]) -> dict[str, Any]:
    """What was counted, in an order of its own; counts of nought left out."""
    return {
        source: {
            name: sorted(map(repr, part.items() if isinstance(part, dict) else part))
            if isinstance(part := getattr(one, name), dict | list)
            else part
            for name in Tally.__slots__
            if name != "examples"
        }
        | {fate: sorted(names) for fate, names in one.examples.items()}
        for source, one in tallies.items()
        if one != Tally()
    }


@settings(max_examples=400, deadline=None)
@given(
    parts=st.lists(st.lists(lines, max_size=5).map("".join) | st.integers(1, 9).map(manifest), max_size=3),
    found=st.lists(copies, max_size=12),
    others=st.lists(rows, max_size=3),
    dated=st.booleans(),
)
def test_together_they_are_counted_as_one_by_one(
    parts: list[str], found: list[tuple[str, int, float, str, float]], others: list[CopyRow], dated: bool
) -> None:
    """Twice announced, taken back, found twice, by nobody, in another spelling, at no known time: every answer."""
    parts = [part for part in parts if part]
    together = packed(found, dated=dated)
    wanted = frozenset({f"{EPOCHS[0]}/3", f"{EPOCHS[0]}/007", f"{EPOCHS[1]}/x"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tally, "EXAMPLES", 99)  # which few of many are named depends on who is looked at first
        expected = join([one.encode() for one in parts], [*(one.rows() for one in together), others], HELD, wanted)
        counted = joined(booked(parts), [*together, others], HELD, wanted)
    assert told(counted) == told(expected)


def test_what_is_alike_is_counted_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a thousand the damaged and the missing one alone are looked at: that is what makes an audit quick."""
    handed: list[tuple[int, int]] = []

    def counted(some: list[bytes], rows: list[list[CopyRow]], *others: Any) -> Any:
        handed.append((b"".join(some).count(b"\n"), sum(map(len, rows))))
        return join(some, rows, *others)

    monkeypatch.setattr(blocks, "join", counted)
    found = [(EPOCHS[0], at, BEGAN + 3, DIGESTS[at == 7], BEGAN + 2) for at in range(1, 1001) if at != 9]
    tallies = joined(booked([manifest(1000)]), packed(found, dated=True), HELD)
    assert handed == [(2, 1)]
    assert tallies["application"].fates == {
        ("in_time", "lane-01", "INFO"): 998,
        ("corrupt", "lane-01", "INFO"): 1,
        ("lost", "lane-01", "INFO"): 1,
    }


def test_counting_that_takes_everything_for_whole_fails_its_control(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The twin: the control goes through the same counting, and tells that damaged records passed for whole."""
    records = [record(number, "lane-01", BEGAN + 0.125) for number in range(1, 201)]
    announcements = [announced(one, BEGAN + at / 100) for at, one in enumerate(records)]
    found = [stored(one, BEGAN + at / 100 + 1.5) for at, one in enumerate(records)]
    assert of_source(audited(tmp_path, announcements, found)).control.exact
    monkeypatch.setattr(blocks, "plainly_in_time", lambda ats, *_, **__: np.ones(len(ats), np.bool_))
    again = tmp_path / "again"
    again.mkdir()
    event = of_source(audited(again, announcements, found))
    assert "12 in_time, 7 lost where it spoilt 7 corrupt, 7 duplicate, 9 in_time, 7 lost" in event.control.told


def test_announcements_are_sorted_by_the_number_of_their_identities() -> None:
    """Over the end of a block, and in another order than a writer counts: else they would not meet their copies."""
    for numbers in (range(BLOCK - 2, BLOCK + 3), [5, BLOCK, 4, 2 * BLOCK, 3]):
        text = "".join(f"{EPOCHS[0]}/{at}\t{at}.5\ts\tl\tI\t{at:016x}\n" for at in numbers)
        alike = of_one_writer(EPOCHS[0].encode() + b"/", text.encode())
        assert alike is not None
        again = [(number, Booked.read(_loaded(part))) for number, part in alike[1]]
        found = [(number, part.line(at)) for number, part in again for at in range(len(part.sequences))]
        assert sorted(line for _, line in found) == sorted(text.encode().splitlines(keepends=True))
        assert all(number == number_of(line.partition(b"\t")[0].decode()) for number, line in found)
        assert alike[0] == len(found)


def _loaded(part: Booked) -> Any:
    return marshal.loads(part.written())  # noqa: S302 - of our own making


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        ("/5\t", "/05\t"),
        ("/5\t", "/5\t\t"),
        ("/5\t", "/5\n"),
        ("\tINFO\t", "\tIN\nFO\t"),
        ("\tINFO\t", "\twithdrawn\t"),
        (DIGESTS[0], "-"),
        (DIGESTS[0], DIGESTS[0].upper()),
        (f"{BEGAN + 2:.6f}", "never"),
        (EPOCHS[0], EPOCHS[1]),
        (EPOCHS[0], "x" + EPOCHS[0]),
    ],
)
def test_one_line_of_another_kind_leaves_all_as_they_are(was: str, becomes: str) -> None:
    """What cannot be written by column stays text; the same lines without it are taken together."""
    one = manifest(9).splitlines(keepends=True)
    assert of_one_writer(EPOCHS[0].encode() + b"/", "".join(one).encode()) is not None
    one[4] = one[4].replace(was, becomes)
    assert of_one_writer(EPOCHS[0].encode() + b"/", "".join(one).encode()) is None


def test_no_instant_is_ever_reached_by_what_has_none() -> None:
    """Copies that do not tell when they could be found are no proof of time, however long the allowance."""
    found = packed([(EPOCHS[0], 1, 0.0, DIGESTS[0], 0.0)], dated=False)
    held = Settings(Path(), (), 1, NEVER, allowance_seconds=1e17)
    tallies = joined(booked([manifest(1)]), found, held)
    assert tallies["application"].fates == {("unverified", "lane-01", "INFO"): 1}
