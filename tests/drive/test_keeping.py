"""Keeping without a store: what is compared, what a unit says, and a stage in which things go wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.drive.keeping import Sizes
from harness.drive.keeping.back_fill import WINDOW_SECONDS, Shape, open_metrics, values
from harness.drive.keeping.comparing import Comparison, blame
from harness.drive.keeping.ground import Ground
from harness.drive.keeping.prometheus import declared
from harness.drive.keeping.registry import KEEPERS
from harness.drive.keeping.stage import keep, stores
from harness.errors import StackError
from harness.model.events import FindingNoted, Payload
from harness.model.keeping import AgedData, RestoreDrilled, RetentionProbed, StoresDeclared
from harness.model.policy import ComponentPolicy, RestartPolicy, Unit
from harness.model.source import Span
from harness.run import load_policies
from harness.stack.guard import Guard
from harness.stack.runtimes.process import ProcessRuntime

ROOT = Path(__file__).parents[2]
HERE = Span("policies/units/prometheus.service", 1, 1, 1, 1)
RECORDS = [(number, f"value {number}", number * 2) for number in range(20)]


def test_equal_content_is_equal_and_nothing_is_not() -> None:
    """In whatever order it comes; a comparison of nothing proves nothing."""
    assert not Comparison().equal
    found = Comparison()
    found.take(RECORDS, RECORDS)
    found.take(RECORDS, list(reversed(RECORDS)))
    found.take(RECORDS, [list(record) for record in RECORDS])
    assert found.equal
    assert found.records == 60


@given(st.integers(0, 19), st.sampled_from(["missing", "changed", "foreign", "twice"]))
def test_one_record_in_any_place_is_seen(place: int, what: str) -> None:
    """One that is gone, another, new, or there twice."""
    other: list[tuple[int, str, int]] = list(RECORDS)
    match what:
        case "missing":
            del other[place]
        case "changed":
            other[place] = (place, "another value", place * 2)
        case "foreign":
            other.insert(place, (100, "new", 1))
        case _:
            other.insert(place, RECORDS[place])
    found = Comparison()
    found.take(RECORDS, other)
    assert not found.equal
    expected = {"missing": (1, 0, 0), "changed": (0, 1, 0)}.get(what, (0, 0, 1))
    assert (found.missing, found.changed, found.foreign) == expected


@pytest.mark.parametrize("written", [RECORDS, RECORDS[:-1]], ids=["all were written", "one was never written"])
async def test_a_restore_is_not_blamed_for_what_was_never_there(written: list[tuple[int, str, int]]) -> None:
    """The first store is asked only where a record is missing; what it does not hold either is no loss of a restore."""
    whole, restored, origin = Comparison(), Comparison(), Comparison()
    whole.take(RECORDS, RECORDS)
    restored.take(RECORDS, RECORDS[:-1])
    origin.take(RECORDS, written)
    asked = []

    async def first() -> Comparison:
        asked.append(1)
        return origin

    store = ComponentPolicy("mysql", "mariadb", ("mysql:3306",), None, False, HERE)
    await blame(store, whole, first)
    assert asked == []
    if written == RECORDS:
        await blame(store, restored, first)
        told = restored.drilled(store, size=7, backup_seconds=1.0, restore_seconds=2.0)
        assert (told.store, told.of_kind, told.records, told.missing) == ("mysql", "mariadb", 20, 1)
    else:
        with pytest.raises(StackError, match="mysql does not hold what was written into it"):
            await blame(store, restored, first)
    assert asked == [1]


def test_a_window_follows_from_its_number_alone() -> None:
    """The same samples whenever they are asked for, others in another window and another series, at its own step."""
    shape = Shape(series=2, step_seconds=600)
    first = values(shape, 100, 0)
    assert first == values(shape, 100, 0)
    assert len(first) * 2 == shape.samples
    assert first[0][0] == 100 * WINDOW_SECONDS
    assert first[-1][0] == 101 * WINDOW_SECONDS - 600
    assert [value for _, value in first] != [value for _, value in values(shape, 100, 1)]
    assert [value for _, value in first] != [value for _, value in values(shape, 101, 0)]
    text = list(open_metrics("m", [('{a="b"}', first[:2])]))
    assert text[0] == "# TYPE m gauge\n"
    assert text[1] == f'm{{a="b"}} {first[0][1]} {first[0][0]}\n'
    assert text[-1] == "# EOF\n"


@pytest.mark.parametrize(
    ("words", "keeps", "days"),
    [
        (["--storage.tsdb.retention.time=90d"], "--storage.tsdb.retention.time=90d", 90),
        (["--storage.tsdb.retention.time", "2w"], "--storage.tsdb.retention.time=2w", 14),
        ([], "no --storage.tsdb.retention.time, so 15d", 15),
    ],
)
def test_what_a_unit_says_of_retention(words: Sequence[str], keeps: str, days: float) -> None:
    """In both spellings of a flag; Prometheus's own default where it says nothing."""
    unit = Unit(HERE.file, ("/usr/bin/prometheus", *words), {}, RestartPolicy(), HERE)
    component = ComponentPolicy("prometheus", "prometheus", ("prometheus:9090",), unit, False, HERE)
    assert declared(component) == (keeps, days)


def test_every_size_is_three_far_apart() -> None:
    """A line wants points that are not on one heap; the night's are larger."""
    for keeper in KEEPERS:
        for sizes in Sizes:
            small, middle, large = keeper.sizes(sizes)
            assert small * 2 <= middle
            assert middle * 2 <= large
        assert keeper.sizes(Sizes.FULL)[-1] >= 10 * keeper.sizes(Sizes.GATE)[-1]


class Double:
    """A keeper of the shipped Prometheus, as good as it is told to be."""

    kind = "prometheus"
    ages = True
    artifacts: tuple[str, ...] = ()

    def __init__(self, *, fails: bool = False, costs: bool = False) -> None:
        self.fails, self.costs = fails, costs

    def sizes(self, sizes: Sizes) -> tuple[int, ...]:  # noqa: ARG002 - a double
        """Three."""
        return (1, 10, 100)

    async def retention(self, ground: Ground, component: ComponentPolicy) -> RetentionProbed:
        """Leaves a file behind."""
        (ground.folder / "left").mkdir()
        if self.fails:
            raise StackError("promtool ended with code 1", seen="no space")
        aged = (AgedData(1, 89.9, 10, 10), AgedData(92, 92.1, 10, 10 * self.costs))
        return RetentionProbed(component.name, self.kind, unit="block", unit_days=1, aged=aged)

    async def restore(self, ground: Ground, component: ComponentPolicy, records: int) -> RestoreDrilled:  # noqa: ARG002
        """Only the smallest fails."""
        if self.fails and records == 1:
            raise StackError("prometheus-restored-3 ended with signal 9")
        return RestoreDrilled(component.name, self.kind, records=records, bytes=records)


async def staged(tmp_path: Path, keeper: Double) -> list[Payload]:
    """The events of a stage with a double in it."""
    policies = load_policies(ROOT / "policies").policies
    events: list[Payload] = []
    async with Guard.open("keeping-double", tmp_path / "cache") as guard:
        runtime = ProcessRuntime(guard)
        await keep(policies, {}, tmp_path, runtime, guard, events.append, cache=tmp_path, keepers=[keeper])
        assert list((guard.sandbox / "keeping").iterdir()) == []
    return events


async def test_what_is_declared_comes_first(tmp_path: Path) -> None:
    """Before anything is looked at; then the probe and three drills."""
    events = await staged(tmp_path, Double())
    assert isinstance(events[0], StoresDeclared)
    assert [one.store for one in events[0].stores] == ["prometheus"]
    assert [type(one) for one in events if isinstance(one, RetentionProbed | RestoreDrilled)] == [
        RetentionProbed,
        *[RestoreDrilled] * 3,
    ]
    assert not [one for one in events if isinstance(one, FindingNoted)]


async def test_what_fails_is_told_and_the_rest_goes_on(tmp_path: Path) -> None:
    """A store that cannot be probed is no end of the stage; its events say why."""
    events = await staged(tmp_path, Double(fails=True))
    probed = next(one for one in events if isinstance(one, RetentionProbed))
    assert probed.error.startswith("promtool ended with code 1")
    assert "seen: no space" in probed.error
    drilled = [one for one in events if isinstance(one, RestoreDrilled)]
    assert [bool(one.error) for one in drilled] == [True, False, False]


async def test_what_is_kept_too_long_is_a_finding(tmp_path: Path) -> None:
    """At the place of the policy that says how long; it costs, and is no failure."""
    events = await staged(tmp_path, Double(costs=True))
    found = [one.finding for one in events if isinstance(one, FindingNoted)]
    assert [one.id for one in found] == ["retention/keeps-longer"]
    assert found[0].span.file.endswith("units/prometheus.service")
    assert "data of 92.0 days still answers" in found[0].summary


def test_stores_are_those_that_the_policies_declare() -> None:
    """By their kinds; a kind that nobody can keep is none."""
    policies = load_policies(ROOT / "policies").policies
    kept = {component.name for component, _ in stores(policies)}
    assert {"prometheus", "mysql"} <= kept
    assert "redis" not in kept
    only = replace(policies, components=tuple(one for one in policies.components if one.kind == "redis"))
    assert stores(only) == ()
