"""Events as points, and two destinations of one collector: neither waits for the other, and neither loses anything."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from pathlib import Path

import pytest
from event_doubles import DEADLINE_SECONDS, Collector, a_collector, a_store, event, named
from influx_doubles import health, some_points, waiting_for_influxdb, written
from stack_doubles import until

from harness.stack.collector.outlets import Kept, Outlet
from harness.stack.collector.points import SERIES, NoPoint, nanoseconds, point
from harness.stack.collector.schemas import Event
from harness.stack.collector.spool import CLICKHOUSE, INFLUXDB, Kinds, Spool

BOTH: dict[str, Kinds] = {CLICKHOUSE: None, INFLUXDB: frozenset(SERIES)}
PERFORMANCE = SERIES["performance"]


def line(kind: str = "performance", **changed: object) -> str:
    """The point of an event."""
    return point(SERIES[kind], json.dumps(event(7, kind, **changed)).encode()).decode()


class TestPoints:
    """An event in InfluxDB's line protocol."""

    def test_what_docs_say(self) -> None:
        """Tags in the order of their names, the figure as a float, the identity, and the event's own instant."""
        assert line() == (
            'performance,endpoint=/api/posts,environment=lane-01 duration=7.5,sequence="run/performance.lane-01.1/7" '
            "1795428000000000000"
        )
        assert line("user", timestamp="2026-11-23T10:00:00.001Z") == (
            'user_activity,action=view,environment=lane-01 sequence="run/user.lane-01.1/7" 1795428000001000000'
        )
        assert " duration=3.0," in line(duration=3)

    def test_nothing_in_an_event_ends_a_point(self) -> None:
        """Commas, spaces, equals signs, quotes and line breaks stay inside their value."""
        text = line(endpoint="/a b,c=d", metadata={"sequence": 'a "b" \\\nc', "sessionId": None, "requestId": "r"})
        assert text.startswith("performance,endpoint=/a\\ b\\,c\\=d,environment=lane-01 ")
        assert 'sequence="a \\"b\\" \\\\\nc" ' in text

    @pytest.mark.parametrize(
        ("timestamp", "expected"),
        [
            ("1970-01-01T00:00:00Z", 0),
            ("2026-11-23T10:00:00.123456789Z", 1_795_428_000_123_456_789),
            ("2026-11-23t11:30:00.5+01:30", 1_795_428_000_500_000_000),
            ("1969-12-31T23:59:59.999Z", -1_000_000),
        ],
    )
    def test_an_instant_is_exact(self, timestamp: str, expected: int) -> None:
        """To the nanosecond, in whatever zone it is told."""
        assert nanoseconds(timestamp) == expected

    @pytest.mark.parametrize(
        ("changed", "says"),
        [
            ({"endpoint": "/a\nuser_activity,action=view"}, "endpoint: a tag of InfluxDB holds no backslash"),
            ({"endpoint": "/a\\"}, "endpoint: a tag of InfluxDB holds no backslash"),
            ({"timestamp": "2026-06-30T23:59:60Z"}, "timestamp: '2026-06-30T23:59:60Z'"),
            ({"timestamp": "yesterday"}, "no instant of RFC 3339"),
            ({"duration": "long"}, "this can be no point"),
            ({"metadata": {}}, "sequence: a point needs it"),
        ],
    )
    def test_what_can_be_no_point(self, changed: dict[str, object], says: str) -> None:
        """A sentence that names the field; never a line that says something else."""
        with pytest.raises(NoPoint, match=says):
            line("performance", **changed)


def kept(first: int, last: int, kind: str = "user") -> list[Event]:
    """Events as they come from their schema."""
    return [Event(f"run/{kind}/{n}", kind, "view", "lane-01", b"%04d" % n) for n in range(first, last)]


def taken(outlet: Outlet, events: int = 1000) -> list[Kept]:
    """Sends the next stretch: the events of it that the destination takes."""
    stretch = outlet.next_stretch(events)
    assert stretch is not None
    found = outlet.read(stretch)
    outlet.sent(stretch, found)
    return [one for one in found if outlet.takes(one.kind)]


class TestOutlets:
    """Two destinations, one spool."""

    def test_each_has_a_place_of_its_own(self, tmp_path: Path) -> None:
        """One that has everything leaves the other's share as it was, through a restart in the middle too."""
        spool = Spool(tmp_path, BOTH)
        spool.keep([[*kept(0, 6), *kept(0, 4, "security")]])
        assert len(taken(spool.outlets[CLICKHOUSE])) == 10
        assert len(taken(spool.outlets[INFLUXDB], 4)) == 4
        begun = spool.outlets[INFLUXDB].next_stretch(3)
        spool.close()
        again = Spool(tmp_path, BOTH)
        clickhouse, influxdb = again.outlets[CLICKHOUSE], again.outlets[INFLUXDB]
        assert (clickhouse.waiting, clickhouse.behind_bytes, clickhouse.next_stretch(1)) == (0, 0, None)
        assert (influxdb.waiting, influxdb.waiting_bytes, influxdb.behind_bytes) == (2, 8, 24)
        assert influxdb.next_stretch(1000) == begun
        assert [one.record for one in taken(influxdb)] == [b"0004", b"0005"]
        assert (influxdb.waiting, influxdb.behind_bytes) == (0, 12)
        assert taken(influxdb) == []
        assert again.held_bytes == 0
        again.close()

    @pytest.mark.parametrize("lagging", [CLICKHOUSE, INFLUXDB])
    def test_an_event_is_forgotten_once_both_have_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lagging: str
    ) -> None:
        """Whichever of them is down: its events stay, and count as held; then only the newest stay."""
        monkeypatch.setattr("harness.stack.collector.spool.REMEMBERED", 10)
        spool = Spool(tmp_path, BOTH)
        ahead = spool.outlets[INFLUXDB if lagging == CLICKHOUSE else CLICKHOUSE]
        for first in range(0, 100, 20):
            spool.keep([kept(first, first + 20)])
            taken(ahead)
        assert (spool.held_bytes, spool.slowest, ahead.behind_bytes) == (400, lagging, 0)
        assert len(taken(spool.outlets[lagging])) == 100
        with sqlite3.connect(tmp_path / "events.sqlite3") as database:
            assert database.execute("SELECT count(*) FROM events").fetchone() == (10,)
        spool.close()

    def test_one_that_is_named_later_begins_with_what_waits(self, tmp_path: Path) -> None:
        """And one that is not named any more holds nothing back, and goes on where it stood."""
        spool = Spool(tmp_path)
        spool.keep([kept(0, 5)])
        taken(spool.outlets[CLICKHOUSE], 3)
        spool.close()
        spool = Spool(tmp_path, BOTH)
        assert spool.outlets[INFLUXDB].waiting == 2 == spool.outlets[CLICKHOUSE].waiting
        spool.close()
        spool = Spool(tmp_path)
        spool.keep([kept(5, 8)])
        assert len(taken(spool.outlets[CLICKHOUSE])) == 5
        assert spool.held_bytes == 0
        spool.close()
        spool = Spool(tmp_path, BOTH)
        assert [one.record for one in taken(spool.outlets[INFLUXDB])] == [b"%04d" % n for n in range(3, 8)]
        spool.close()

    def test_a_database_of_before_goes_on_where_it_stood(self, tmp_path: Path) -> None:
        """With the stretch that was begun, which ClickHouse may know by its name."""
        Spool(tmp_path).close()
        with sqlite3.connect(tmp_path / "events.sqlite3") as database:
            rows = [(n, f"run/user/{n}", "user", b"%04d" % n) for n in range(1, 10)]
            database.executemany("INSERT INTO events VALUES (?, ?, ?, ?)", rows)
            database.execute("UPDATE progress SET sent = 4, sending = 7")
            database.execute("DROP TABLE outlets")
        database.close()
        spool = Spool(tmp_path, BOTH)
        assert [one.position for one in taken(spool.outlets[CLICKHOUSE])] == [5, 6, 7]
        assert [one.position for one in taken(spool.outlets[INFLUXDB])] == [5, 6, 7, 8, 9]
        spool.close()


def both(store: str, points: str) -> tuple[str, str]:
    """The flags of a collector with two destinations: the address of the first, and the flag of the second."""
    return store, f"--influxdb.url={points}"


async def refused_beyond_the_share(collector: Collector) -> tuple[int, str]:
    """Posts until the collector takes no more; how many events it took, and what it said then."""
    for first in range(0, 1000, 10):
        answer = await collector.post([event(n, "user") for n in range(first, first + 10)])
        if answer.status == 429:
            return first, str(answer.body["error"])
    raise AssertionError("the collector took everything")


class TestCollector:
    """The program, with a ClickHouse and an InfluxDB of a few lines."""

    async def test_two_of_four_kinds_are_points(self, tmp_path: Path) -> None:
        """Each in its own database; ClickHouse has all four. What was sent is counted for each destination."""
        events = [
            event(n, kind, endpoint=f"/{n}") for kind in ("user", "business", "security", "performance") for n in (1, 2)
        ]
        users = [one for one in events if one["kind"] == "user"]
        for number, one in enumerate(users):
            one["action"] = ("view", "login")[number]
        async with (
            a_store() as store,
            some_points() as points,
            a_collector(tmp_path / "store", *both(store.url, points.url)) as collector,
        ):
            await collector.post(events)
            await collector.emptied()
            await written(collector)
            samples = await collector.samples()
        assert sorted(store.names()) == sorted(named(events))
        assert {database: len(found) for database, found in points.lines.items()} == {
            "performance": 2,
            "user_activity": 2,
        }
        assert points.names() == sorted(named(one for one in events if one["kind"] in {"user", "performance"}))
        sent = {series: figure for series, figure in samples.items() if "influxdb_events_forwarded" in series}
        assert sent == {
            'event_collector_influxdb_events_forwarded_total{kind="performance"}': 2,
            'event_collector_influxdb_events_forwarded_total{kind="user"}': 2,
        }
        assert samples["event_collector_influxdb_queue_events"] == 0

    async def test_without_its_address_nothing_speaks_of_influxdb(self, tmp_path: Path) -> None:
        """Neither health nor metrics."""
        async with a_store() as store, a_collector(tmp_path / "store", store.url) as collector:
            await collector.post([event(1)])
            await collector.emptied()
            assert not [series for series in await collector.samples() if "influxdb" in series]
            assert "influxdb" not in json.dumps(await health(collector))

    @pytest.mark.parametrize("down", [CLICKHOUSE, INFLUXDB])
    async def test_one_that_is_down_holds_up_no_other(self, tmp_path: Path, down: str) -> None:
        """The other gets everything meanwhile; the one that was down gets it afterwards, and is said to be down."""
        events = [event(n, endpoint=f"/{n}") for n in range(40)]
        async with (
            a_store("down" if down == CLICKHOUSE else "well") as store,
            some_points("down" if down == INFLUXDB else "well") as points,
            a_collector(tmp_path / "store", *both(store.url, points.url)) as collector,
        ):
            await collector.post(events)
            stands, lags = (store, points) if down == INFLUXDB else (points, store)
            await until(lambda: len(stands.names()) == 40, DEADLINE_SECONDS)
            assert lags.names() == []
            async with asyncio.timeout(DEADLINE_SECONDS):
                while "answers 503" not in (told := await health(collector))[down]:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            assert told["waiting_by_destination"][down] == 40
            store.mood = points.mood = "well"
            await collector.emptied()
            await written(collector)
        assert sorted(store.names()) == points.names() == sorted(named(events))

    async def test_the_disk_stays_bounded_while_influxdb_is_down(self, tmp_path: Path) -> None:
        """429 that names InfluxDB though ClickHouse has everything; it ends when InfluxDB is well."""
        async with (
            a_store() as store,
            some_points("down") as points,
            a_collector(tmp_path / "store", *both(store.url, points.url), "--limit.disk=10000") as collector,
        ):
            took, said = await refused_beyond_the_share(collector)
            assert took > 0
            assert "the disk's share is full" in said
            await collector.emptied()
            assert len(store.names()) == took == await waiting_for_influxdb(collector)
            answer = await collector.post([event(n) for n in range(1000, 1010)])
            assert (answer.status, answer.headers["Retry-After"]) == (429, "1")
            assert "InfluxDB does not take events fast enough" in answer.body["error"]
            points.mood = "well"
            await written(collector)
            assert (await collector.post([event(n) for n in range(1000, 1010)])).status == 200

    async def test_points_that_are_refused_stop_no_other(self, tmp_path: Path) -> None:
        """Each is a dead letter with InfluxDB's reason; the rest of its batch stands, and ClickHouse has all."""
        events = [event(n, endpoint=f"/old/{n}" if n in {0, 13, 14, 29} else f"/{n}") for n in range(30)]
        events.append(event(30, endpoint="/back\\slash"))
        async with (
            a_store() as store,
            some_points() as points,
            a_collector(tmp_path / "store", *both(store.url, points.url)) as collector,
        ):
            await collector.post(events)
            await collector.emptied()
            await written(collector)
            letters = collector.letters()
            samples = await collector.samples()
        bad = [*(events[n] for n in (0, 13, 14, 29)), events[30]]
        assert [one["identity"] for one in letters] == named(bad)
        assert [json.loads(one["event"]) for one in letters] == bad
        assert {one["cause"] for one in letters} == {"influxdb"}
        assert "partial write: points beyond retention policy" in letters[0]["reason"]
        assert "endpoint: a tag of InfluxDB holds no backslash" in letters[4]["reason"]
        assert points.names() == sorted(named(one for one in events if one not in bad))
        assert samples['event_collector_events_rejected_total{cause="influxdb",kind="performance"}'] == 5
        assert samples['event_collector_influxdb_events_forwarded_total{kind="performance"}'] == 26
        assert sorted(store.names()) == sorted(named(events))

    async def test_a_batch_that_is_refused_whole_is_asked_once(self, tmp_path: Path) -> None:
        """Not halved down to every single point: a backlog that is too old would otherwise take for ever."""
        async with (
            a_store() as store,
            some_points() as points,
            a_collector(tmp_path / "store", *both(store.url, points.url)) as collector,
        ):
            await collector.post([event(n, endpoint=f"/old/{n}") for n in range(500)])
            await written(collector)
            assert len(collector.letters()) == 500
        assert points.writes == [("performance", 500)]

    async def test_without_room_for_dead_letters_they_wait(self, tmp_path: Path) -> None:
        """Nothing is thrown away, the program lives, and ClickHouse has what it is to have."""
        events = [event(1, endpoint="/old"), event(2, "user")]
        async with (
            a_store() as store,
            some_points() as points,
            a_collector(tmp_path / "store", *both(store.url, points.url), "--limit.dead-letters=100") as collector,
        ):
            await collector.post(events)
            await collector.emptied()
            await until(lambda: len(points.writes) >= 3, DEADLINE_SECONDS)
            assert "no dead letter can be kept" in (await health(collector))["influxdb"]
            assert await waiting_for_influxdb(collector) == 2
            assert collector.process.returncode is None
        async with a_store() as store, a_collector(tmp_path / "store", *both(store.url, points.url)) as collector:
            assert await waiting_for_influxdb(collector) == 2
