"""The event collector: what it acknowledges is kept and stored once, what it cannot take is said, with the reason."""

from __future__ import annotations

import asyncio
import json
import socket
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from pathlib import Path

import aiohttp
import pytest
from event_doubles import COLLECTOR, DEADLINE_SECONDS, HASTY, SCHEMAS, a_collector, a_store, event, free_port, named
from stack_doubles import until

from harness.errors import UsageError
from harness.stack.collector.__main__ import main
from harness.stack.collector.bodies import NotAnEvent, Unreadable, posted
from harness.stack.collector.commits import GroupCommit
from harness.stack.collector.database import SpoolError
from harness.stack.collector.letters import DeadLetters, LettersFull
from harness.stack.collector.metrics import MOST_SERIES, Metrics
from harness.stack.collector.schemas import Event, Rejected, Schemas
from harness.stack.collector.spool import CLICKHOUSE, Spool

NOWHERE = "http://127.0.0.1:9/"
"""Port 9 is nobody's here: ClickHouse that is down."""


def kept(number: int, kind: str = "user") -> Event:
    """An event as it comes from its schema."""
    return Event(f"run/e/{number}", kind, "view", "lane-01", b'{"n":%d}' % number)


class TestBodies:
    """What a request holds."""

    def test_an_array_or_lines(self) -> None:
        """Both hold the same events; empty lines are none."""
        events = [event(1), event(2)]
        lines = b"\n".join(json.dumps(one).encode() for one in events)
        assert posted(json.dumps(events).encode()) == events == posted(b"\n" + lines + b"\r\n\n")

    def test_a_line_that_is_no_event_spoils_no_other(self) -> None:
        """It is told with its beginning and what is wrong with it, whatever its bytes are."""
        first, bad, number, half, last = posted(b'{"a":1}\n{"b":\n7\n\xff\xfe\n{"c":2}')
        assert (first, last) == ({"a": 1}, {"c": 2})
        assert isinstance(bad, NotAnEvent)
        assert bad.text == '{"b":'
        assert isinstance(number, NotAnEvent)
        assert number.reason == "this is not a JSON object"
        assert isinstance(half, NotAnEvent)
        assert half.text == "\\xff\\xfe"

    @pytest.mark.parametrize(("body", "says"), [(b"", "empty"), (b" \n ", "empty"), (b'[{"a":1}', "is none")])
    def test_a_body_of_which_nothing_can_be_read(self, body: bytes, says: str) -> None:
        """A sentence."""
        with pytest.raises(Unreadable, match=says):
            posted(body)


class TestSchemas:
    """What an event must look like."""

    @pytest.mark.parametrize("kind", ["user", "business", "security", "performance"])
    def test_every_kind_has_a_schema_that_can_refuse(self, kind: str) -> None:
        """A right event is accepted as it is; without any one of its fields it is not."""
        schemas = Schemas(SCHEMAS)
        right = event(1, kind)
        checked = schemas.check(right)
        assert isinstance(checked, Event)
        assert json.loads(checked.record) == right
        assert checked.identity == f"run/{kind}.lane-01.1/1"
        for field in right:
            assert isinstance(schemas.check({name: right[name] for name in right if name != field}), Rejected), field

    @pytest.mark.parametrize(
        ("wrong", "cause", "reason"),
        [
            (event(1, status="200"), "schema", 'status: "200" is not of type "integer"'),
            (event(1, timestamp="yesterday"), "schema", 'timestamp: "yesterday" is not a "date-time"'),
            (event(1, duration=-1), "schema", "duration: -1 is less than the minimum of 0"),
            (event(1, password="secret"), "schema", "the event: Additional properties are not allowed"),
            (event(1, metadata={"sequence": ""}), "schema", "metadata.sequence"),
            (event(1) | {"kind": "weather"}, "kind", 'kind: "weather" is none of business, performance,'),
            ({}, "kind", "kind: null is none of"),
        ],
    )
    def test_the_reason_names_the_field(self, wrong: dict[str, object], cause: str, reason: str) -> None:
        """With what it is and what it should be."""
        found = Schemas(SCHEMAS).check(wrong)
        assert isinstance(found, Rejected)
        assert found.cause == cause
        assert reason in found.reason

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ('{\n  "type": }', r"user.schema.json:2:11: this is not JSON"),
            ('{"type": "objekt"}', r"user.schema.json:1:1: this is not a JSON Schema"),
            ("[]", r"user.schema.json:1:1: this is not a JSON Schema"),
        ],
    )
    def test_a_schema_that_is_none(self, tmp_path: Path, text: str, says: str) -> None:
        """A sentence with its file, line and column."""
        (tmp_path / "user.schema.json").write_text(text)
        with pytest.raises(UsageError, match=says):
            Schemas(tmp_path)

    def test_no_schema_at_all(self, tmp_path: Path) -> None:
        """A collector that knows no kind of event would reject everything."""
        with pytest.raises(UsageError, match="no schema of events"):
            Schemas(tmp_path)


class TestSpool:
    """Events on disk."""

    def test_an_identity_is_kept_once(self, tmp_path: Path) -> None:
        """In one batch, in two batches of a commit, and in two lives; others in the same batch are kept."""
        spool = Spool(tmp_path)
        assert spool.keep([[kept(1), kept(1), kept(2)], [kept(2), kept(3)]]) == [[True, False, True], [False, True]]
        spool.close()
        again = Spool(tmp_path)
        assert again.keep([[kept(3), kept(4)]]) == [[False, True]]
        outlet = again.outlets[CLICKHOUSE]
        assert (outlet.waiting, outlet.waiting_bytes) == (4, 4 * len(b'{"n":1}'))
        again.close()

    def test_a_stretch_that_was_begun_is_the_next_one_again(self, tmp_path: Path) -> None:
        """After a crash the very same events are sent under the same name, though more have come."""
        spool = Spool(tmp_path)
        spool.keep([[kept(number) for number in range(5)]])
        begun = spool.outlets[CLICKHOUSE].next_stretch(3)
        assert begun is not None
        before = spool.outlets[CLICKHOUSE].read(begun)
        spool.keep([[kept(number) for number in range(5, 9)]])
        store = spool.store
        spool.close()
        again = Spool(tmp_path)
        outlet = again.outlets[CLICKHOUSE]
        assert (outlet.next_stretch(100), again.store) == (begun, store)
        assert outlet.read(begun) == before
        outlet.sent(begun, before)
        rest = outlet.next_stretch(100)
        assert rest is not None
        assert len(outlet.read(rest)) == 6 == outlet.waiting
        outlet.sent(rest, outlet.read(rest))
        assert (outlet.next_stretch(100), outlet.waiting, outlet.waiting_bytes, again.held_bytes) == (None, 0, 0, 0)
        assert again.keep([[kept(2)]]) == [[False]]
        again.close()

    def test_what_was_sent_long_ago_makes_room(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Only the newest of what was sent stays; what waits always does."""
        monkeypatch.setattr("harness.stack.collector.spool.REMEMBERED", 10)
        spool = Spool(tmp_path)
        for first in range(0, 100, 20):
            spool.keep([[kept(number) for number in range(first, first + 20)]])
            outlet = spool.outlets[CLICKHOUSE]
            stretch = outlet.next_stretch(1000)
            assert stretch is not None
            outlet.sent(stretch, outlet.read(stretch))
        spool.keep([[kept(number) for number in range(100, 105)]])
        with sqlite3.connect(tmp_path / "events.sqlite3") as database:
            assert database.execute("SELECT count(*) FROM events").fetchone() == (15,)
        assert spool.outlets[CLICKHOUSE].waiting == 5
        spool.close()

    def test_a_commit_that_failed_kept_nothing(self, tmp_path: Path) -> None:
        """Neither the batch that failed nor the one before it in the same commit; the next commit works."""
        spool = Spool(tmp_path)
        broken = Event("run/e/3", None, "view", "lane-01", b"{}")  # type: ignore[arg-type]
        with pytest.raises(SpoolError):
            spool.keep([[kept(1)], [kept(2), broken]])
        assert spool.outlets[CLICKHOUSE].waiting == 0
        assert spool.keep([[kept(1)]]) == [[True]]
        spool.close()

    def test_what_is_no_database_of_ours(self, tmp_path: Path) -> None:
        """A sentence that names the file."""
        (tmp_path / "events.sqlite3").write_bytes(b"no database, but long enough to be looked at" * 100)
        with pytest.raises(SpoolError, match=r"events.sqlite3: file is not a database"):
            Spool(tmp_path)


class TestGroupCommit:
    """Many batches, one fsync."""

    async def test_who_comes_while_the_disk_is_busy_shares_the_next_commit(self) -> None:
        """A hundred batches are few commits, and each is answered with its own flags."""
        commits: list[int] = []

        def keep(batches: Sequence[Sequence[Event]]) -> list[list[bool]]:
            commits.append(len(batches))
            return [[event.identity == "run/e/7"] for batch in batches for event in batch]

        async with GroupCommit(keep) as group:
            answers = await asyncio.gather(*(group.kept([kept(number)]) for number in range(100)))
        assert [number for number, answer in enumerate(answers) if answer == [True]] == [7]
        assert sum(commits) == 100
        assert len(commits) < 10

    async def test_a_disk_that_fails_is_told_to_those_who_wait(self) -> None:
        """To each of them; who comes later finds a disk that works again."""
        broken = [True]

        def keep(batches: Sequence[Sequence[Event]]) -> list[list[bool]]:
            if broken.pop() if broken else False:
                raise SpoolError("database or disk is full")
            return [[True] * len(batch) for batch in batches]

        async with GroupCommit(keep) as group:
            first = await asyncio.gather(*(group.kept([kept(n)]) for n in range(3)), return_exceptions=True)
            assert [type(one) for one in first] == [SpoolError] * 3
            assert await group.kept([kept(4)]) == [True]


class TestLettersAndMetrics:
    """What is bounded besides."""

    def test_dead_letters_have_a_limit(self, tmp_path: Path) -> None:
        """What finds no room is refused whole; what was there counts after a restart too."""
        letter = Rejected("run/e/1", "user", "schema", "why", "x" * 300)
        for _ in range(2):
            letters = DeadLetters(tmp_path, 1000)
            with pytest.raises(LettersFull, match=r"dead-letters.ndjson has no room"):
                letters.write([letter] * 3)
            letters.write([letter])
            letters.close()
        assert len((tmp_path / "dead-letters.ndjson").read_bytes().splitlines()) == 2

    def test_series_are_bounded_whatever_comes(self) -> None:
        """Beyond the limit events are counted all the same, under `other`."""
        metrics = Metrics()
        metrics.accepted(Event(str(n), "user", f"action-{n}", "lane-01", b"") for n in range(MOST_SERIES + 50))
        lines = [line for line in metrics.exposition().decode().splitlines() if "accepted_total{" in line]
        assert len(lines) == MOST_SERIES + 1
        assert 'event_collector_events_accepted_total{action="other",kind="user",origin="other"} 50.0' in lines


class TestCollector:
    """The program, with a ClickHouse of a few lines."""

    async def test_from_a_post_to_its_table(self, tmp_path: Path) -> None:
        """Every kind goes to its own table as it was posted, is counted, and nothing waits in the end."""
        events = [event(n, kind) for kind in ("user", "business", "security", "performance") for n in range(3)]
        async with a_store() as store, a_collector(tmp_path / "store", store.url) as collector:
            answer = await collector.post(events)
            assert (answer.status, answer.body["accepted"]) == (200, 12)
            await collector.emptied()
            samples = await collector.samples()
        assert set(store.records) == {f"community_platform.{e['kind']}_events" for e in events}
        assert [json.loads(one) for one in store.records["community_platform.security_events"]] == events[6:9]
        accepted = 'event_collector_events_accepted_total{action="login_failed",kind="security",origin="lane-01"}'
        assert samples[accepted] == 3
        assert samples['event_collector_events_forwarded_total{kind="security"}'] == 3
        assert samples["event_collector_queue_events"] == 0

    async def test_posting_again_stores_nothing_twice(self, tmp_path: Path) -> None:
        """While it waits and after it was sent; what is new beside it is stored."""
        async with a_store() as store, a_collector(tmp_path / "store", store.url) as collector:
            await collector.post([event(1), event(1), event(2)])
            await collector.emptied()
            answer = await collector.post([event(1), event(2), event(3)])
            assert answer.body == {"accepted": 1, "duplicate": 2, "rejected": 0, "reasons": []}
            await collector.emptied()
            assert (await collector.samples())["event_collector_events_duplicate_total"] == 3
        assert sorted(store.names()) == named(map(event, (1, 2, 3)))

    async def test_what_is_no_event_becomes_a_dead_letter(self, tmp_path: Path) -> None:
        """With the reason, told at once and kept; the others of the batch are stored."""
        wrong = event(2, status="200")
        async with a_store() as store, a_collector(tmp_path / "store", store.url) as collector:
            answer = await collector.post([event(1), wrong, {"kind": "weather"}, 7, event(3)])
            assert [one["index"] for one in answer.body["reasons"]] == [1, 2, 3]
            await collector.emptied()
            rejected = (await collector.samples())[
                'event_collector_events_rejected_total{cause="schema",kind="performance"}'
            ]
            letters = collector.letters()
        assert sorted(store.names()) == named([event(1), event(3)])
        assert rejected == 1
        assert [one["cause"] for one in letters] == ["schema", "kind", "json"]
        assert letters[0]["reason"] == 'status: "200" is not of type "integer"'
        assert (letters[0]["identity"], json.loads(letters[0]["event"])) == (named([wrong])[0], wrong)

    async def test_clickhouse_that_is_down_loses_nothing(self, tmp_path: Path) -> None:
        """Events are acknowledged and wait, through a restart of ours too; then each is stored once."""
        async with a_collector(tmp_path / "store", NOWHERE) as collector:
            assert (await collector.post([event(n) for n in range(50)])).body["accepted"] == 50
            assert await collector.waiting() == 50
        async with a_store("down") as store, a_collector(tmp_path / "store", store.url) as collector:
            assert (await collector.post([event(n) for n in range(40, 90)])).body["accepted"] == 40
            await until(lambda: len(store.tokens) >= 3, DEADLINE_SECONDS)
            assert store.names() == []
            store.mood = "well"
            await collector.emptied()
        assert sorted(store.names()) == sorted(named(map(event, range(90))))

    async def test_an_answer_that_was_lost_stores_nothing_twice(self, tmp_path: Path) -> None:
        """The same batch is sent again under the same name, by which ClickHouse knows it."""
        async with a_store("forgetful") as store, a_collector(tmp_path / "store", store.url) as collector:
            await collector.post([event(n) for n in range(20)])
            await until(lambda: len(store.tokens) >= 2, DEADLINE_SECONDS)
            await collector.kill()
            store.mood = "well"
            async with a_collector(tmp_path / "store", store.url) as again:
                await again.emptied()
        assert len(set(store.tokens)) == 1 < len(store.tokens)
        assert sorted(store.names()) == sorted(named(map(event, range(20))))

    async def test_an_event_that_clickhouse_cannot_hold_stops_no_other(self, tmp_path: Path) -> None:
        """It becomes a dead letter with ClickHouse's own reason."""
        events = [event(n, userAgent="poison" if n == 13 else "test") for n in range(30)]
        async with a_store() as store, a_collector(tmp_path / "store", store.url) as collector:
            await collector.post(events)
            await collector.emptied()
            [letter] = collector.letters()
        assert letter["cause"] == "store"
        assert "poison" in letter["reason"]
        assert json.loads(letter["event"]) == events[13]
        assert sorted(store.names()) == sorted(named(one for one in events if one is not events[13]))

    async def test_a_full_disk_share_is_said_and_ends(self, tmp_path: Path) -> None:
        """429 and nothing of that request kept; whoever posts it again is taken when ClickHouse has emptied it."""
        async with a_store("down") as store, a_collector(tmp_path / "store", store.url, "--limit.disk=10000") as made:
            accepted: list[int] = []
            refused = 0
            for first in range(0, 100, 10):
                answer = await made.post([event(n) for n in range(first, first + 10)])
                assert answer.status in {200, 429}
                if answer.status == 200:
                    accepted.append(first)
                else:
                    refused += 1
                    assert (answer.headers["Retry-After"], list(answer.body)) == ("1", ["error"])
            assert accepted
            assert refused
            assert await made.waiting() == 10 * len(accepted)
            assert (await made.samples())['event_collector_requests_refused_total{status="429"}'] == refused
            store.mood = "well"
            await made.emptied()
            assert (await made.post([event(n) for n in range(90, 100)])).status == 200
            await made.emptied()
        assert sorted(store.names()) == sorted(
            named(map(event, {n for first in (*accepted, 90) for n in range(first, first + 10)}))
        )

    async def test_what_is_too_large_is_refused_whole(self, tmp_path: Path) -> None:
        """413 for a body, told or not, and for too many events; 429 beyond the memory; 400 for what is no JSON."""
        flags = ("--limit.body=100000", "--limit.memory=50000")
        async with a_collector(tmp_path / "store", NOWHERE, *flags) as collector:

            async def chunks() -> AsyncIterator[bytes]:
                yield b"[" + b" " * 200_000

            async with collector.session.post(f"http://127.0.0.1:{collector.port}/events", data=chunks()) as answer:
                assert answer.status == 429
            statuses = [
                (await collector.post(body)).status
                for body in (b" " * 100_001, b" " * 50_001, b"[1", b"", b"[" + b"1," * 10_000 + b"1]")
            ]
            assert statuses == [413, 429, 400, 400, 413]
            assert await collector.waiting() == 0
            assert (await collector.post([event(1)])).status == 200

    async def test_a_body_of_unknown_length_is_bounded_too(self, tmp_path: Path) -> None:
        """It is cut off at the limit."""
        async with a_collector(tmp_path / "store", NOWHERE, "--limit.body=100000") as collector:

            async def chunks() -> AsyncIterator[bytes]:
                for _ in range(300):
                    yield b" " * 1000

            with suppress(aiohttp.ClientConnectionError):
                async with collector.session.post(f"http://127.0.0.1:{collector.port}/events", data=chunks()) as one:
                    assert one.status == 413
            assert (await collector.post([event(1)])).status == 200

    async def test_dead_letters_without_room_are_not_acknowledged(self, tmp_path: Path) -> None:
        """507, and nothing of that request is kept: an event is never thrown away silently."""
        async with a_collector(tmp_path / "store", NOWHERE, "--limit.dead-letters=100") as collector:
            assert (await collector.post([event(1), {"kind": "weather"}])).status == 507
            assert await collector.waiting() == 0
            assert (await collector.post([event(1)])).body["accepted"] == 1


async def acknowledged_until_killed(folder: Path, program: Sequence[str]) -> set[str]:
    """Posts from several sides, kills the collector in the middle of it; the identities that it had acknowledged."""
    acknowledged: set[str] = set()
    async with a_collector(folder, NOWHERE, program=program) as collector:

        async def post(side: int) -> None:
            with suppress(aiohttp.ClientError, OSError):
                for number in range(side * 100_000, (side + 1) * 100_000, 5):
                    batch = [event(n) for n in range(number, number + 5)]
                    if (await collector.post(batch)).status == 200:
                        acknowledged.update(named(batch))

        posting = [asyncio.create_task(post(side)) for side in range(4)]
        await until(lambda: len(acknowledged) >= 500, DEADLINE_SECONDS)
        await collector.kill()
        await asyncio.gather(*posting)
    return acknowledged


async def stored_by_the_next_life(folder: Path) -> list[str]:
    """What a store gets from a collector that is started over what the other one left."""
    async with a_store() as store, a_collector(folder, store.url) as collector:
        await collector.emptied()
    return store.names()


class TestKill:
    """`kill -9` in the middle of a burst."""

    async def test_nothing_acknowledged_is_lost(self, tmp_path: Path) -> None:
        """Every event that was acknowledged is stored, and none twice."""
        acknowledged = await acknowledged_until_killed(tmp_path / "store", COLLECTOR)
        stored = await stored_by_the_next_life(tmp_path / "store")
        assert acknowledged <= set(stored)
        assert len(stored) == len(set(stored))

    async def test_a_collector_that_acknowledges_first_is_found_out(self, tmp_path: Path) -> None:
        """The twin: one that writes after it has acknowledged loses what it promised, and the same look sees it."""
        acknowledged = await acknowledged_until_killed(tmp_path / "store", HASTY)
        stored = await stored_by_the_next_life(tmp_path / "store")
        assert not acknowledged <= set(stored)


class TestStart:
    """What the program says when it cannot begin."""

    def flags(self, tmp_path: Path, **changed: str) -> list[str]:
        """A command line that works, but for what is changed."""
        usual = {
            "web.listen-address": f"127.0.0.1:{free_port()}",
            "store.path": str(tmp_path / "store"),
            "events.schemas": str(SCHEMAS),
            "clickhouse.url": NOWHERE,
        }
        return [f"--{name}={value}" for name, value in (usual | changed).items()]

    @pytest.mark.parametrize(
        ("flag", "value", "says"),
        [
            ("events.schemas", "/nowhere", "There is no schema of events"),
            ("store.path", "/proc/nowhere", "The events of the collector cannot be kept"),
            ("clickhouse.url", "localhost:8123", "not the address of ClickHouse's HTTP interface"),
            ("influxdb.url", "influxdb:8086", "not the address of InfluxDB's HTTP interface"),
            ("influxdb.batch", "many", "'many' is not a positive number"),
            ("clickhouse.database", "a;b", "'a;b' is not the name of a database"),
            ("web.listen-address", "somewhere", "'somewhere' is not HOST:PORT"),
            ("limit.disk", "0", "'0' is not a positive number"),
        ],
    )
    def test_a_wrong_flag_gets_a_sentence(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], flag: str, value: str, says: str
    ) -> None:
        """Code 2, no traceback."""
        try:
            code = main(self.flags(tmp_path, **{flag: value}))
        except SystemExit as ended:
            code = int(str(ended.code))
        told = capsys.readouterr().err
        assert code == 2
        assert says in told
        assert "Traceback" not in told

    def test_a_port_that_is_taken(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """It is named, and nothing of ours stays open."""
        with socket.create_server(("127.0.0.1", 0)) as server:
            address = f"127.0.0.1:{server.getsockname()[1]}"
            assert main(self.flags(tmp_path, **{"web.listen-address": address})) == 4
        assert f"The event collector cannot listen on {address}" in capsys.readouterr().err
