"""Hops come from Prometheus's raw samples: the first after t0, of the right lane, and no exception when it is down."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import promql_parser
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from harness.model.stack import Address
from harness.observe import hops
from harness.observe.hops import HopReading, NotASelector, in_lane, read_hops, wait_quiet

T0 = 1_760_000_000.4567
UP = 'up{environment="lane-1",job="app"}'
PENDING = 'ALERTS{alertname="ServerDown",alertstate="pending",environment="lane-1"}'
FIRING = 'ALERTS{alertname="ServerDown",alertstate="firing",environment="lane-1"}'


def matrix(*series: Sequence[float], kind: str = "values") -> dict[str, object]:
    """Prometheus's answer to a range vector: the timestamps of each series."""
    result = [{"metric": {}, kind: [[stamp, "1"] for stamp in stamps]} for stamps in series]
    return {"status": "success", "data": {"resultType": "matrix", "result": result}}


@dataclass
class Fake:
    """A Prometheus that answers from a table of selectors; what is not in it has no samples."""

    table: dict[str, object] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    hang: asyncio.Event | None = None

    async def handle(self, request: web.Request) -> web.Response:
        """Answers one instant query."""
        form = await request.post()
        query = str(form["query"])
        self.asked.append((query, str(form.get("time", ""))))
        if self.hang is not None:
            await self.hang.wait()
        answer = self.table.get(canonical(query.rsplit("[", 1)[0]), matrix())
        return web.Response(text=answer if isinstance(answer, str) else json.dumps(answer), status=200)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[Address]:
        """Listens on loopback until it is left."""
        app = web.Application()
        app.router.add_post("/api/v1/query", self.handle)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            yield Address("127.0.0.1", runner.addresses[0][1])
        finally:
            await runner.cleanup()


def canonical(selector: str) -> str:
    """A selector with its matchers in the order of their names."""
    name, _, matchers = selector.rstrip("}").partition("{")
    return f"{name}{{{','.join(sorted(matchers.split(',')))}}}"


async def reading(prometheus: Address, selectors: Sequence[str] = ('up{job="app"}',)) -> HopReading:
    """What is read of one injection that lasted 20 s."""
    return await read_hops(
        prometheus,
        injection="i-1",
        alert="ServerDown",
        lane="lane-1",
        selectors=selectors,
        since_wall=T0,
        until_wall=T0 + 20,
    )


def seen(found: HopReading) -> dict[str, float]:
    """The hops of a reading and when they were."""
    return {hop.hop: hop.at for hop in found.hops}


async def test_each_hop_is_the_first_sample_after_t0() -> None:
    """Samples before t0 do not count, neither does one of t0's own millisecond; the earliest of all series does."""
    fake = Fake(
        {
            UP: matrix([T0 - 2, 1_760_000_000.456, T0 + 2, T0 + 4], [T0 + 1.5]),
            PENDING: matrix([T0 + 2.1, T0 + 3.1]),
            FIRING: matrix([T0 + 4.1]),
        }
    )
    async with fake.listening() as prometheus:
        found = await reading(prometheus)
    assert [canonical(hop.source.removeprefix("prometheus: ")) for hop in found.hops] == [UP, PENDING, FIRING]
    assert seen(found) == {"visible": T0 + 1.5, "pending": T0 + 2.1, "firing": T0 + 4.1}
    assert all((hop.injection, hop.subject, hop.family) == ("i-1", "ServerDown", "alert") for hop in found.hops)
    assert found.error == ""


async def test_the_whole_window_is_asked_for_once() -> None:
    """One instant query a source, at the end of the window and a little longer than it."""
    fake = Fake({UP: matrix([T0 + 1]), PENDING: matrix([T0 + 1]), FIRING: matrix([T0 + 1])})
    async with fake.listening() as prometheus:
        await reading(prometheus)
    assert sorted(canonical(query.rsplit("[", 1)[0]) for query, _ in fake.asked) == sorted([UP, PENDING, FIRING])
    assert {query.rsplit("[", 1)[1] for query, _ in fake.asked} == {"21000ms]"}
    assert {at for _, at in fake.asked} == {f"{T0 + 20:.3f}"}


async def test_a_hop_that_was_not_passed_is_not_there() -> None:
    """An alert that never fired has no firing hop; that is no error."""
    fake = Fake({UP: matrix([T0 + 1]), PENDING: matrix([T0 - 0.5])})
    async with fake.listening() as prometheus:
        found = await reading(prometheus)
    assert seen(found) == {"visible": T0 + 1}
    assert found.error == ""


async def test_the_earliest_of_all_selectors_is_visible() -> None:
    """A rule that reads two metrics can see its condition with the first of them; histograms are samples too."""
    fake = Fake(
        {
            'a{environment="lane-1"}': matrix([T0 + 3]),
            'b{environment="lane-1"}': matrix([T0 + 2], kind="histograms"),
        }
    )
    async with fake.listening() as prometheus:
        assert seen(await reading(prometheus, ["a", "b", "a"])) == {"visible": T0 + 2}
    assert len([query for query, _ in fake.asked if query.startswith("a")]) == 1


async def test_series_without_a_lane_count_where_the_lane_has_none() -> None:
    """A rule over what all lanes share is seen in the series that have no lane at all."""
    fake = Fake({'up{environment="",job="app"}': matrix([T0 + 1]), FIRING.replace("lane-1", ""): matrix([T0 + 2])})
    async with fake.listening() as prometheus:
        assert seen(await reading(prometheus)) == {"visible": T0 + 1, "firing": T0 + 2}


async def test_a_lane_that_fell_silent_is_not_excused_by_others() -> None:
    """The twin: where the lane has series, those without one say nothing of it."""
    fake = Fake({UP: matrix([T0 - 0.5]), 'up{environment="",job="app"}': matrix([T0 + 1])})
    async with fake.listening() as prometheus:
        assert seen(await reading(prometheus)) == {}


async def test_a_prometheus_that_is_gone_is_an_error_and_no_exception() -> None:
    """The injection's hops are unknown then, with the reason; told once, not once a query."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = Address("127.0.0.1", free.getsockname()[1])
    found = await reading(address, ["a", "b"])
    assert found.hops == ()
    assert found.error.startswith(f"Prometheus at {address}: cannot be asked")
    assert found.error.count("cannot be asked") == 1


async def test_a_lane_is_quiet_when_no_alert_of_it_is_left() -> None:
    """Waited for as long as Prometheus holds one as pending or firing, or cannot be asked; then those are named."""
    left = {"status": "success", "data": {"result": [{"metric": {"alertname": "B"}}, {"metric": {"alertname": "A"}}]}}
    fake = Fake({canonical('ALERTS{environment="lane-01"}'): left})
    async with fake.listening() as prometheus:
        assert await wait_quiet(prometheus, "lane-02", 5) == ()
        assert await wait_quiet(prometheus, "lane-01", 0.3) == ("A", "B")
        asyncio.get_running_loop().call_later(0.2, fake.table.clear)
        assert await wait_quiet(prometheus, "lane-01", 5) == ()
    assert await wait_quiet(prometheus, "lane-01", 0.2) == (), "nobody is there to ask"


async def test_a_prometheus_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The run goes on; the reason is told."""
    monkeypatch.setattr(hops, "ANSWER_SECONDS", 0.2)
    fake = Fake(hang=asyncio.Event())
    async with fake.listening() as prometheus:
        found = await reading(prometheus)
        assert fake.hang is not None
        fake.hang.set()
    assert found == HopReading((), f"Prometheus at {prometheus} did not answer within 0.2 s")


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ({"status": "error", "errorType": "execution", "error": "too many samples"}, "refused .*: too many samples"),
        ("<html>", "answered 200 and no JSON to up"),
        ({"status": "success"}, "answered 200 and no series to up"),
        ({"status": "success", "data": {"result": [{"values": [["x"]]}]}}, "answered with no range vector to up"),
        ([], "answered 200 and no series to up"),
    ],
)
async def test_one_bad_answer_leaves_the_others(answer: object, sentence: str) -> None:
    """What could be read is kept, and what could not is told."""
    fake = Fake({UP: answer, PENDING: matrix([T0 + 2])})
    async with fake.listening() as prometheus:
        found = await reading(prometheus)
    assert seen(found) == {"pending": T0 + 2}
    assert re.search(sentence, found.error)


async def test_a_selector_that_cannot_be_asked_for_is_told() -> None:
    """The others are asked for all the same."""
    fake = Fake({UP: matrix([T0 + 1])})
    async with fake.listening() as prometheus:
        found = await reading(prometheus, ["rate(up[5m])", 'up{job="app"}'])
    assert seen(found) == {"visible": T0 + 1}
    assert found.error == "the selector rate(up[5m]) cannot be asked for: it is no vector selector"


@pytest.mark.parametrize(
    ("selector", "narrowed"),
    [
        ("up", 'up{environment="lane-1"}'),
        ('up{job=~"a|b.\\\\d",x!="",y!~"z"}', 'up{environment="lane-1",job=~"a|b.\\\\d",x!="",y!~"z"}'),
        ("up offset 5m", 'up{environment="lane-1"}'),
        ("up @ 5", 'up{environment="lane-1"}'),
        ("up[5m]", 'up{environment="lane-1"}'),
        ('{__name__=~"a.*"}', '{__name__=~"a.*",environment="lane-1"}'),
        ('up{environment=~"lane-.*"}', 'up{environment="lane-1",environment=~"lane-.*"}'),
    ],
)
def test_a_selector_is_narrowed_to_the_lane(selector: str, narrowed: str) -> None:
    """Its own matchers stay, ranges and offsets go: asked for is when the sample was taken."""
    assert canonical(in_lane(selector, "lane-1")) == narrowed


@given(value=st.text(), lane=st.text())
def test_quotes_and_escapes_survive(value: str, lane: str) -> None:
    """Whatever a label's value is, the printed selector asks for that value."""
    quoted = json.dumps(value, ensure_ascii=False) if value.isprintable() else '"x"'
    parsed = promql_parser.parse(in_lane(f"up{{job={quoted}}}", lane))
    assert isinstance(parsed, promql_parser.VectorSelector)
    values = {matcher.name: matcher.value for matcher in parsed.matchers.matchers}
    assert values == {"job": value if value.isprintable() else "x", "environment": lane}


@pytest.mark.parametrize("text", ["", "1", "up{", "rate(up[5m])", "a or b", 'up{a="1" or b="2"}'])
def test_what_is_no_selector_is_refused(text: str) -> None:
    """A text that is not one series selector of Prometheus is not turned into a query."""
    with pytest.raises(NotASelector):
        in_lane(text, "lane-1")
