"""Samples compared and identities counted: every kind of difference; a control counts exactly what it spoilt."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.model.series import SeriesControl
from harness.observe.series.book import Book
from harness.observe.series.comparing import ADDED, CHANGED, FEWEST, NANOSECONDS, WITHHELD, Tally, controlled, judged
from harness.observe.series.influx import named, quoted, tagged

SECOND = NANOSECONDS
NAN = float("nan")
WANTED = [(number * SECOND, float(number)) for number in range(10)]


def tally(wanted: list[tuple[int, float]], got: list[tuple[int, float]]) -> Tally:
    """One series, compared."""
    told = Tally()
    told.take("up", wanted, got)
    return told


def figures(told: Tally) -> tuple[int, int, int, int, int, int]:
    """Expected, found, missing, differing, foreign, twice."""
    return told.expected, told.found, told.missing, told.differing, told.foreign, told.twice


@pytest.mark.parametrize(
    ("got", "counted"),
    [
        (WANTED, (10, 10, 0, 0, 0, 0)),
        (WANTED[:-1], (10, 9, 1, 0, 0, 0)),
        ([], (10, 0, 10, 0, 0, 0)),
        ([*WANTED[:-1], (9 * SECOND, 9.5)], (10, 9, 0, 1, 0, 0)),
        ([*WANTED[:-1], (9 * SECOND + 1, 9.0)], (10, 9, 1, 0, 1, 0)),
        ([*WANTED, WANTED[0]], (10, 10, 0, 0, 0, 1)),
        ([*WANTED, (10 * SECOND, 10.0)], (10, 10, 0, 0, 1, 0)),
    ],
)
def test_what_is_not_as_it_was_written_is_counted(
    got: list[tuple[int, float]], counted: tuple[int, int, int, int, int, int]
) -> None:
    """By a nanosecond, by a digit, once too often or not at all; the order does not matter."""
    assert figures(tally(WANTED, got)) == counted
    assert figures(tally(WANTED, got[::-1])) == counted


def test_what_is_no_number_must_not_be_there() -> None:
    """A NaN is not missed where it is not, and foreign where it is."""
    wanted = [(0, 1.0), (SECOND, NAN), (2 * SECOND, float("inf"))]
    told = tally(wanted, [(0, 1.0)])
    assert (figures(told), told.unwritable) == ((1, 1, 0, 0, 0, 0), 2)
    assert tally(wanted, [(0, 1.0), (SECOND, 0.0)]).foreign == 1


def test_gaps_say_when_and_never_grow_beyond_a_hundred() -> None:
    """Seconds next to each other are one gap; none of the missing is left out, however many gaps there were."""
    missing = {3, 4, 8}
    told = tally(WANTED, [one for one in WANTED if one[1] not in missing])
    assert [(gap.from_at, gap.to_at, gap.missing) for gap in told.gaps()] == [(3, 5, 2), (8, 9, 1)]
    many = tally([(number * 10 * SECOND, 1.0) for number in range(1000)], []).gaps()
    assert len(many) <= 100
    assert sum(gap.missing for gap in many) == 1000


@given(
    st.dictionaries(st.integers(0, 60), st.floats(-9, 9) | st.just(NAN), max_size=30),
    st.lists(st.tuples(st.integers(0, 60), st.floats(-9, 9)), max_size=30),
    st.integers(0, 99),
)
def test_every_sample_has_one_fate_and_the_control_is_exact(
    wanted: dict[int, float], got: list[tuple[int, float]], seed: int
) -> None:
    """Whatever is wrong already: expected ones are found, differing or missing, and spoilt ones come on top exactly."""
    must = list(wanted.items())
    told = tally(must, got)
    assert told.found + told.differing + told.missing == told.expected
    assert told.found + told.differing + told.twice + told.foreign == len(got)
    control = controlled("up", must, got, Random(seed))
    assert control is None or control == SeriesControl(WITHHELD, CHANGED, ADDED)


def test_a_series_with_enough_right_samples_has_a_control_and_a_smaller_has_none() -> None:
    """Four are spoilt; of three nobody can take four."""
    assert controlled("up", WANTED[:FEWEST], WANTED, Random(1)) is not None
    assert controlled("up", WANTED[: FEWEST - 1], WANTED, Random(1)) is None
    assert controlled("up", WANTED, [(at, value + 1) for at, value in WANTED], Random(1)) is None


def test_a_control_that_counts_something_else_says_so() -> None:
    """The twin: a comparison that sees only one of two withheld samples may not be believed."""
    told = judged((1, 2, 1), (2, 2, 1))
    assert not told.exact
    assert told.told.startswith("counted 1 missing, 2 differing and 1 foreign where 2 were withheld")
    assert judged((2, 2, 1), (2, 2, 1)).exact
    assert not judged((0, 0, 0), (0, 0, 0)).exact


def test_identities_are_counted_by_what_became_of_them() -> None:
    """Found, missing, twice, foreign; one that was taken back, one of before the window, one with an odd name."""
    book = Book()
    for number in range(1, 8):
        book.announce(f"run/user.lane-01.1/{number}", due=number > 1)
    book.announce("odd", due=True)
    book.take_back("run/user.lane-01.1/7")
    for name in ("run/user.lane-01.1/1", "run/user.lane-01.1/2", "run/user.lane-01.1/3", "odd"):
        book.find(name)
    book.find("run/user.lane-01.1/3")
    book.find("run/nobody/5")
    told = book.counts()
    # 2 to 6 and the odd one; 7 was taken back and is not there.
    assert (told.expected, told.found, told.missing, told.twice, told.foreign) == (6, 3, 3, 1, 1)
    assert list(book.missing(9)) == [f"run/user.lane-01.1/{number}" for number in (4, 5, 6)]
    assert list(book.missing(1)) == ["run/user.lane-01.1/4"]
    assert (list(book.twice(9)), list(book.foreign(9))) == (["run/user.lane-01.1/3"], ["run/nobody/5"])
    assert (book.due("run/user.lane-01.1/7"), book.due("odd"), book.known("run/nobody/5")) == (False, True, False)


@pytest.mark.parametrize("name", ["a/b", "", "r/e/-1", "r/e/007", "r/e/99999999999", "r/e/٣", "r//4"])
def test_odd_identities_are_told_apart(name: str) -> None:
    """What is not written as our own identities are is kept as it is, and found as itself alone."""
    book = Book()
    book.announce(name, due=True)
    book.find(f"{name}0")
    assert (book.counts().missing, book.counts().foreign) == (1, 1)
    book.find(name)
    assert (book.counts().missing, book.counts().found) == (0, 1)


def test_a_million_identities_take_a_byte_each() -> None:
    """Memory is bounded by the highest sequence, counted in no time."""
    book = Book()
    book.announce("run/user.lane-01.1/1000000", due=True)
    assert (book.counts().expected, book.counts().missing) == (1, 1)


def test_names_and_texts_cannot_end_their_quotes() -> None:
    """A label's value is anything; as InfluxQL it is that value and no more."""
    assert named('a"b') == '"a\\"b"'
    assert quoted("a'b\\c") == "'a\\'b\\\\c'"
    assert tagged({"b": "2", "a": "1"}) == "\"a\" = '1' AND \"b\" = '2'"
