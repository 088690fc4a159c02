"""The census puts every sample into its slot, counts what is missing, and says so where it cannot."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from harness.model.collection import CensusTaken, ScrapesCounted
from harness.model.stack import Address
from harness.observe import census
from harness.observe.census import Sample, count_slots, take_census

SINCE = 1_760_000_000.0
UNTIL = SINCE + 60
INTERVAL = 2.0
PHASE = 0.7
EXPECTED = 29
"""Slots at 0.7, 2.7, … 56.7: the one at 58.7 may still be under way."""


def samples(lost: Sequence[int] = (), *, down: Sequence[int] = (), late: float = 0.0) -> list[Sample]:
    """Samples of `up` from one interval before the window on, without those of some slots."""
    return [
        (SINCE + PHASE + number * INTERVAL + late * (number % 2), 0.0 if number in down else 1.0)
        for number in range(-1, 30)
        if number not in lost
    ]


def test_a_whole_window_has_every_slot() -> None:
    """The phase is that of the samples; what is before the window, or not over at its end, is not expected."""
    found = count_slots(samples(), INTERVAL, SINCE, UNTIL)
    assert (found.expected, found.stored, found.lost) == (EXPECTED, EXPECTED, ())
    assert found.first_at == pytest.approx(SINCE + PHASE)
    assert found.longest_gap_seconds == pytest.approx(INTERVAL)


def test_what_is_not_stored_is_lost_and_what_failed_is_stored() -> None:
    """A scrape that failed leaves a sample that says 0: stored, and not good."""
    found = count_slots(samples([0, 10, 11], down=[20]), INTERVAL, SINCE, UNTIL)
    assert (found.expected, found.stored, found.lost) == (EXPECTED, EXPECTED - 3, (0, 10, 11, 20))
    assert found.longest_gap_seconds == pytest.approx(3 * INTERVAL)


def test_without_any_sample_everything_is_lost() -> None:
    """A target that was never scraped is as good as none: its grid begins with the window."""
    found = count_slots([], INTERVAL, SINCE, UNTIL)
    assert (found.first_at, found.expected, found.stored) == (SINCE, 30, 0)
    assert found.lost == tuple(range(30))
    assert found.longest_gap_seconds == pytest.approx(58)


def test_a_window_shorter_than_an_interval_expects_nothing() -> None:
    """No slot of it is over."""
    assert count_slots([], INTERVAL, SINCE, SINCE + 1.9).expected == 0


@pytest.mark.parametrize("late", [0.01, 0.4, 0.9])
def test_a_late_scrape_is_no_lost_one(late: float) -> None:
    """On a busy machine every second scrape is late, by less than half of the interval."""
    assert count_slots(samples(late=late), INTERVAL, SINCE, UNTIL).lost == ()


@pytest.mark.parametrize(("late", "lost"), [(1.4, ()), (1.6, (9,))])
def test_one_very_late_scrape(late: float, lost: tuple[int, ...]) -> None:
    """By less than three quarters of the interval it belongs to its slot, by more it is the next one's."""
    stamps = samples()
    stamps[10] = (stamps[10][0] + late, 1.0)
    assert count_slots(stamps, INTERVAL, SINCE, UNTIL).lost == lost


def test_one_late_first_sample_does_not_shift_the_grid() -> None:
    """The others know better."""
    stamps = samples()
    stamps[0] = (stamps[0][0] + 0.9, 1.0)
    found = count_slots(stamps, INTERVAL, SINCE, UNTIL)
    assert found.first_at == pytest.approx(SINCE + PHASE)
    assert found.lost == ()


@given(
    st.floats(0, 1.999),
    st.sampled_from([0.25, 1.0, 2.0, 15.0]),
    st.integers(20, 200),
    st.data(),
)
def test_exactly_what_is_left_out_is_lost(phase: float, interval: float, count: int, data: st.DataObject) -> None:
    """For every phase, interval and jitter: the slots without a good sample, and no others."""
    lost = data.draw(st.sets(st.integers(0, count - 1), max_size=count // 3))
    jitter = data.draw(st.lists(st.floats(0, 0.2), min_size=count + 1, max_size=count + 1))
    stamps = [
        (SINCE + (phase / 2 + number + jitter[number]) * interval, 1.0)
        for number in range(-1, count)
        if number not in lost
    ]
    found = count_slots(stamps, interval, SINCE, SINCE + (count + 1) * interval)
    shifted = round((found.first_at - SINCE - phase / 2 * interval) / interval)
    inside = {number - shifted for number in lost if 0 <= number - shifted < found.expected}
    beyond = {number for number in range(found.expected) if number + shifted >= count}
    assert set(found.lost) == inside | beyond
    assert found.stored + len(found.lost) == found.expected


@dataclass
class Fake:
    """A Prometheus with targets and samples."""

    targets: list[object] = field(default_factory=list)
    series: list[object] = field(default_factory=list)
    asked: list[tuple[str, str]] = field(default_factory=list)
    hang: asyncio.Event | None = None

    async def list_targets(self, request: web.Request) -> web.Response:
        """`GET /api/v1/targets?state=active`."""
        assert request.query["state"] == "active"
        return web.Response(text=json.dumps({"status": "success", "data": {"activeTargets": self.targets}}))

    async def query(self, request: web.Request) -> web.Response:
        """One instant query."""
        form = await request.post()
        self.asked.append((str(form["query"]), str(form["time"])))
        if self.hang is not None:
            await self.hang.wait()
        return web.Response(text=json.dumps({"status": "success", "data": {"result": self.series}}))

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[Address]:
        """Listens on loopback until it is left."""
        app = web.Application()
        app.router.add_get("/api/v1/targets", self.list_targets)
        app.router.add_post("/api/v1/query", self.query)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            yield Address("127.0.0.1", runner.addresses[0][1])
        finally:
            await runner.cleanup()


def labels(job: str = "mysql", lane: str = "lane-01") -> dict[str, str]:
    """A target's labels."""
    return {"job": job, "instance": "127.0.0.1:9104", **({"environment": lane} if lane else {})}


def target(interval: str = "2s", **of: str) -> dict[str, object]:
    """A target as Prometheus lists it."""
    return {"labels": labels(**of), "scrapeInterval": interval, "discoveredLabels": {}}


def series(stamps: Sequence[Sample], **of: str) -> dict[str, object]:
    """Its samples as a range vector has them."""
    return {"metric": {"__name__": "up", **labels(**of)}, "values": [[at, str(int(value))] for at, value in stamps]}


async def taken(fake: Fake) -> tuple[list[ScrapesCounted], CensusTaken]:
    """The census of that Prometheus."""
    async with fake.listening() as prometheus:
        *counted, census = await take_census(prometheus, since_wall=SINCE, until_wall=UNTIL)
    assert isinstance(census, CensusTaken)
    return [one for one in counted if isinstance(one, ScrapesCounted)], census


async def test_every_target_is_counted_by_its_lane() -> None:
    """One event a target, with its own interval, from one query over the window and a little more."""
    fake = Fake(
        [target(), target("1s", job="prometheus", lane="")],
        [series(samples([3]))],
    )
    counted, census = await taken(fake)
    assert census == CensusTaken(SINCE, UNTIL, 2)
    assert {(one.job, one.lane, one.interval_seconds, one.expected, one.good) for one in counted} == {
        ("mysql", "lane-01", 2.0, EXPECTED, EXPECTED - 1),
        ("prometheus", "", 1.0, 60, 0),
    }
    assert next(one for one in counted if one.job == "mysql").lost == (3,)
    assert fake.asked == [("up[64000ms]", f"{UNTIL:.3f}")]


async def test_a_target_that_is_scraped_no_more_is_counted() -> None:
    """It has samples in the window, and the interval of its job; else nobody knows, and that is told."""
    fake = Fake([target()], [series(samples()), series(samples(range(10, 30)), lane="lane-02")])
    counted, census = await taken(fake)
    assert {one.lane: one.good for one in counted} == {"lane-01": EXPECTED, "lane-02": 10}
    assert (census.targets, census.error) == (2, "")
    counted, census = await taken(Fake([target()], [series(samples(), job="redis")]))
    assert [one.job for one in counted] == ["mysql"]
    assert (census.targets, census.error) == (2, "nobody knows how often redis at 127.0.0.1:9104 is scraped")


async def test_an_older_prometheus_tells_the_interval_among_discovered_labels() -> None:
    """`scrapeInterval` is younger than `__scrape_interval__`."""
    old = {"labels": labels(), "discoveredLabels": {"__scrape_interval__": "2s"}}
    counted, _ = await taken(Fake([old], [series(samples())]))
    assert [one.good for one in counted] == [EXPECTED]


async def test_a_prometheus_without_targets_is_told() -> None:
    """A census of nothing is none."""
    assert await taken(Fake()) == ([], CensusTaken(SINCE, UNTIL, 0, "Prometheus scrapes nothing"))


async def test_a_prometheus_that_cannot_be_asked_is_told() -> None:
    """No exception: the run goes on, and its target is without evidence."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = Address("127.0.0.1", free.getsockname()[1])
    (found,) = await take_census(address, since_wall=SINCE, until_wall=UNTIL)
    assert isinstance(found, CensusTaken)
    assert found.error.startswith(f"Prometheus at {address}: cannot be asked")


async def test_a_prometheus_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason is told."""
    monkeypatch.setattr(census, "ANSWER_SECONDS", 0.2)
    fake = Fake([target()], hang=asyncio.Event())
    async with fake.listening() as prometheus:
        found = await take_census(prometheus, since_wall=SINCE, until_wall=UNTIL)
        assert fake.hang is not None
        fake.hang.set()
    assert found == (CensusTaken(SINCE, UNTIL, 0, f"Prometheus at {prometheus} did not answer within 0.2 s"),)


@pytest.mark.parametrize(
    ("fake", "sentence"),
    [
        (Fake([{"labels": 1}]), "lists its targets in a form that we do not know"),
        (Fake([target()], [{"metric": {}}]), "answered with no range vector to up"),
    ],
    ids=["targets", "samples"],
)
async def test_an_answer_in_another_form_is_told(fake: Fake, sentence: str) -> None:
    """Nothing is guessed."""
    counted, found = await taken(fake)
    assert counted == []
    assert sentence in found.error
