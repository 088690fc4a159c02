"""The faults of processes and paths, in a lane of doubles: one suite over all of them, then each one's own."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from itertools import count

import pytest
from lane_doubles import UntouchedLane

from harness.drive.component_fault import ComponentFault
from harness.drive.faults import APPLICATION, Proof, Reach, database_slow, scrapes_lost, server_frozen
from harness.drive.faults.cache_killed import CacheKilled
from harness.drive.faults.database_half_open import DatabaseHalfOpen
from harness.drive.faults.database_killed import DatabaseKilled
from harness.drive.faults.database_reset import DatabaseReset
from harness.drive.faults.database_slow import DatabaseSlow
from harness.drive.faults.exporter_crashed import ExporterCrashed
from harness.drive.faults.exporter_killed import ExporterKilled
from harness.drive.faults.registry import FAULTS
from harness.drive.faults.scrapes_lost import ScrapesLost
from harness.drive.faults.server_frozen import ServerFrozen
from harness.drive.newcomer import ASK, PING, Met, greeted, meet, ponged
from harness.errors import EffectNotProven, FaultError, StackError
from harness.model.stack import Address, Lane
from harness.stack.relay import Relay

CASES: dict[str, Callable[[], ComponentFault]] = {
    "server-frozen": ServerFrozen,
    "database-killed": DatabaseKilled,
    "database-half-open": DatabaseHalfOpen,
    "database-reset": DatabaseReset,
    "database-slow": DatabaseSlow,
    "cache-killed": CacheKilled,
    "exporter-killed": ExporterKilled,
    "exporter-crashed": ExporterCrashed,
    "scrapes-lost": ScrapesLost,
}
every_fault = pytest.mark.parametrize("name", CASES)
GREETING = b"\x4a\0\0\0\x0a5.5.5-10.11.19-MariaDB\0"
SECRETS = {"mysql_user": "app", "mysql_password": "pass", "mysql_database": "app"}
_LIVES = count(1)


class _Part:
    """A component on a port of its own, which can be ended, started again and frozen."""

    def __init__(self, greeting: bytes = b"") -> None:
        self.address = Address("127.0.0.1", 0)
        self.frozen = False
        self.life = 0
        self._greeting = greeting
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def up(self) -> bool:
        """Whether it listens."""
        return self._server is not None

    async def start(self) -> None:
        """Listens, on the same port as before, as another process."""
        if self._server is None:
            self.life = next(_LIVES)
            self._server = await asyncio.start_server(self._serve, self.address.host, self.address.port)
            self.address = Address(*self._server.sockets[0].getsockname())

    async def end(self) -> None:
        """Ends as a killed process does."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
            for writer in self._writers:
                writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while not self.frozen:
                if self._greeting:
                    writer.write(self._greeting)
                said = await reader.readline()
                if self.frozen or not said:
                    break
                if said == PING:
                    writer.write(b"+PONG\r\n")
                if said.startswith(b"GET"):
                    body = f"# TYPE process_start_time_seconds gauge\nprocess_start_time_seconds {self.life}\n"
                    writer.write(f"HTTP/1.0 200 OK\r\n\r\n{body}".encode())
                    break
            if self.frozen:
                await reader.read()
        except ConnectionError:
            pass
        finally:
            self._writers.discard(writer)
            writer.close()


class _Control(UntouchedLane):
    """A lane of such components, with real relays before its database and its cache."""

    def __init__(self, name: str = "a") -> None:
        super().__init__(Lane(name, {}, {}), SECRETS)
        self.parts = {
            "community-platform": _Part(),
            "mysql": _Part(GREETING),
            "redis": _Part(),
            "mysql-exporter": _Part(),
            "redis-exporter": _Part(),
        }
        self.relays: dict[str, Relay] = {}
        self.asked: list[str] = []
        self.broken = False
        self.deaf = False
        self.delay_seconds = 0.0

    async def open(self) -> None:
        """Starts everything."""
        for part in self.parts.values():
            await part.start()
        for name in ("mysql", "redis"):
            self.relays[name] = await Relay.open(self.parts[name].address)
        addresses = {name: part.address for name, part in self.parts.items()}
        reached = {name: relay.address for name, relay in self.relays.items()}
        self._lane = Lane(self._lane.name, addresses | reached, {name: addresses[name] for name in reached})

    async def close(self) -> None:
        """Ends everything."""
        for relay in self.relays.values():
            await relay.close()
        for part in self.parts.values():
            await part.end()

    async def _do(self, what: str, doing: Callable[[], Awaitable[None]]) -> None:
        if self.broken:
            raise StackError("The supervisor does not answer", output=("last line",))
        self.asked.append(what)
        if not self.deaf:
            await doing()

    async def hold_down(self, component: str) -> None:
        """Ends it."""
        await self._do("hold_down", self.parts[component].end)

    async def let_up(self, component: str) -> None:
        """Starts it where it is down."""
        await self._do("let_up", self.parts[component].start)

    async def crash(self, component: str) -> None:
        """Ends it and starts it again."""

        async def crashed() -> None:
            await self.parts[component].end()
            await self.parts[component].start()

        await self._do("crash", crashed)

    async def freeze(self, component: str) -> None:
        """Answers nobody from now on."""
        await self._do("freeze", lambda: self._freeze(component, True))

    async def thaw(self, component: str) -> None:
        """Answers again."""
        await self._do("thaw", lambda: self._freeze(component, False))

    async def _freeze(self, component: str, frozen: bool) -> None:
        self.parts[component].frozen = frozen

    async def reset(self, component: str) -> None:
        """In the path."""
        await self._do("reset", self.relays[component].reset)

    async def half_open(self, component: str) -> None:
        """In the path."""
        await self._do("half_open", self.relays[component].half_open)

    async def delay(self, component: str, delay: timedelta) -> None:
        """In the path."""

        async def slow() -> None:
            assert component == "mysql"
            self.delay_seconds = delay.total_seconds()

        await self._do("delay", slow)

    async def restore(self, component: str) -> None:
        """In the path."""
        self.delay_seconds = 0.0 if not self.deaf and not self.broken else self.delay_seconds
        await self._do("restore", self.relays[component].restore)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Silences, gaps and patience shorter than the real ones, yet long enough for a busy machine."""
    monkeypatch.setattr(server_frozen, "_SILENT_SECONDS", 0.3)
    monkeypatch.setattr(meet, "__kwdefaults__", {"within_seconds": 0.3})
    monkeypatch.setattr(scrapes_lost, "DOWN_SECONDS", 0.16)
    monkeypatch.setattr(scrapes_lost, "UP_SECONDS", 0.21)
    monkeypatch.setattr(ScrapesLost, "looks_apart_seconds", 0.01)
    monkeypatch.setattr(ComponentFault, "well_seconds", 1.0)


@pytest.fixture(autouse=True)
def statement(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """How long SELECT 1 takes on a machine that is so slow by itself: there is no SQL in these doubles."""
    machine = {"seconds": 0.001}

    async def timed(address: Address, control: _Control) -> float | str:
        if not (await greeted(address)).there:
            return f"SELECT 1 at {address} failed"
        through = address == control.lane.addresses["mysql"]
        return machine["seconds"] + (control.delay_seconds if through else 0.0)

    monkeypatch.setattr(database_slow, "_timed", timed)
    return machine


@pytest.fixture
async def control() -> AsyncIterator[_Control]:
    """A lane that is well."""
    control = _Control()
    await control.open()
    yield control
    await control.close()


@every_fault
async def test_a_fault_proves_itself_and_is_undone(control: _Control, name: str) -> None:
    """Applied, proven with an instant after it was applied, undone with proof, twice, and ready to be used again."""
    fault = CASES[name]()
    assert (fault.touches, fault.reach, fault.signal) == (APPLICATION, Reach.LANE, "real")
    for _ in range(2):
        begun = time.time()
        await fault.apply(control)
        proof = await fault.prove(control, 3)
        assert begun < proof.at <= time.time()
        healed = await fault.undo(control, 3)
        assert healed.at > proof.at
        await fault.undo(control, 3)
        assert all(part.up and not part.frozen for part in control.parts.values())
        assert (await greeted(control.lane.addresses["mysql"])).there
        assert (await ponged(control.lane.addresses["redis"])).there
        assert control.delay_seconds == 0


@every_fault
async def test_a_fault_that_was_not_applied_cannot_prove_itself(control: _Control, name: str) -> None:
    """The twin: in a lane that is well there is nothing to be seen, and that is EffectNotProven, in time."""
    begun = time.monotonic()
    with pytest.raises(EffectNotProven) as told:
        await CASES[name]().prove(control, 0.3)
    assert time.monotonic() - begun < 2
    assert told.value.seen
    assert told.value.expected


@every_fault
async def test_a_fault_that_does_nothing_cannot_prove_itself(control: _Control, name: str) -> None:
    """The stack says that it did it and the world did not change: the effect is proven, not believed."""
    fault = CASES[name]()
    control.deaf = True
    await fault.apply(control)
    with pytest.raises(EffectNotProven):
        await fault.prove(control, 0.6)
    await fault.undo(control, 3)


@every_fault
async def test_a_lane_that_is_not_well_is_not_touched(control: _Control, name: str) -> None:
    """What is broken before would be a proof of nothing: FaultError, and the stack was asked for nothing."""
    for part in control.parts.values():
        await part.end()
    with pytest.raises(FaultError, match="All was not well before") as told:
        await CASES[name]().apply(control)
    assert told.value.seen
    assert control.asked == []


@every_fault
async def test_a_fault_may_be_undone_that_was_never_applied(control: _Control, name: str) -> None:
    """After an `apply` that failed half-way nobody knows what was done: undoing what was not is no error."""
    assert isinstance(await CASES[name]().undo(control, 1), Proof)


@every_fault
async def test_the_journal_gets_the_address_and_nothing_is_undone_from_it(control: _Control, name: str) -> None:
    """Processes and relays die with the harness, and so does what was done to them."""
    fault = CASES[name]()
    facts = fault.facts(control)
    assert facts == {"host": "127.0.0.1", "port": str(control.lane.addresses[fault.component].port)}
    assert await fault.undo_from(facts) is False


@pytest.mark.parametrize("name", [name for name in CASES if name != "scrapes-lost"])
async def test_what_the_stack_cannot_do_is_told_as_the_fault_s_own_failure(control: _Control, name: str) -> None:
    """A FaultError with what the stack said, for applying and for undoing."""
    control.broken = True
    with pytest.raises(FaultError, match="could not be") as told:
        await CASES[name]().apply(control)
    assert told.value.seen == "The supervisor does not answer"
    assert told.value.output == ("last line",)
    if name != "exporter-crashed":  # nothing is to be done there
        with pytest.raises(FaultError, match="could not be taken back"):
            await CASES[name]().undo(control, 0.1)


@pytest.mark.parametrize("name", [name for name in CASES if name != "exporter-crashed"])
async def test_an_undo_that_does_nothing_is_noticed(control: _Control, name: str) -> None:
    """The stack says that it did it and the world did not change: undoing is proven, not believed."""
    fault = CASES[name]()
    await fault.apply(control)
    await fault.prove(control, 3)
    if name == "scrapes-lost":
        await until(lambda: not control.parts["redis-exporter"].up)
    control.deaf = True
    with pytest.raises(FaultError, match="taken back and all is not well") as told:
        await fault.undo(control, 0.2)
    assert not isinstance(told.value, EffectNotProven)


async def until(true: Callable[[], bool]) -> None:
    """Waits until something is so, at most 3 s."""
    give_up = time.monotonic() + 3
    while not true():
        assert time.monotonic() < give_up
        await asyncio.sleep(0.005)


# --- what a newcomer meets ---------------------------------------------------------------------------------------


async def test_a_newcomer_tells_apart_what_it_meets(control: _Control) -> None:
    """Answered, silent, reset, refused; each in words that say which."""
    relay, server = control.relays["mysql"], control.lane.addresses["mysql"]
    seen = [await meet(server)]
    await relay.half_open()
    seen.append(await meet(server))
    await relay.reset()
    seen.append(await meet(server))
    await relay.refuse()
    seen.append(await meet(server))
    assert [one.met for one in seen] == [Met.ANSWER, Met.SILENCE, Met.RESET, Met.REFUSED]
    assert [one.dead for one in seen] == [False, False, True, True]
    assert seen[0].said == GREETING[:5]
    assert "heard nothing within 0.3 s" in seen[1].saw
    assert [one.look(True).since is None for one in seen] == [True, False, True, True]


async def test_a_connection_that_ends_without_a_word_is_dead(control: _Control) -> None:
    """A polite end before a word is no answer."""

    async def end(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with await asyncio.start_server(end, "127.0.0.1", 0) as server:
        meeting = await meet(Address(*server.sockets[0].getsockname()))
    assert (meeting.met, meeting.dead) == (Met.ENDED, True)


async def test_a_handshake_that_waits_is_no_silence() -> None:
    """Nobody took the connection, so nobody can be said to be silent: that may be our own slowness."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = Address(*full.getsockname())
        with socket.create_connection((address.host, address.port)):
            meeting = await meet(address)
            assert (meeting.met, meeting.dead) == (Met.UNMADE, False)


async def test_neither_another_server_nor_an_error_is_a_greeting(control: _Control) -> None:
    """`Too many connections` begins with 255; a web server does not answer PING with PONG."""
    control.parts["mysql"]._greeting = b"\x17\0\0\0\xff\x10\x04Too many connections"
    look = await greeted(control.lane.addresses["mysql"])
    assert not look.there
    assert "255" in look.saw

    async def http(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.0 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(http, "127.0.0.1", 0) as server:
        look = await ponged(Address(*server.sockets[0].getsockname()))
    assert not look.there
    assert "'HTTP/'" in look.saw


# --- each one's own ----------------------------------------------------------------------------------------------


async def test_a_silence_began_when_its_connection_did(control: _Control) -> None:
    """t0 of a frozen server is not the end of the look that heard nothing, but its beginning."""
    fault = ServerFrozen()
    await fault.apply(control)
    proof = await fault.prove(control, 2)
    assert time.time() - proof.at >= server_frozen._SILENT_SECONDS
    await fault.undo(control, 2)


@pytest.mark.parametrize("name", ["database-killed", "cache-killed", "exporter-killed"])
async def test_silence_is_no_proof_that_somebody_is_dead(control: _Control, name: str) -> None:
    """No answer in time may be our own slowness."""
    fault = CASES[name]()
    control.parts[fault.component].frozen = True
    with pytest.raises(EffectNotProven) as told:
        await fault.prove(control, 0.3)
    assert "heard nothing" in str(told.value.seen)


async def test_a_dead_server_is_not_frozen(control: _Control) -> None:
    """A refused connection proves another fault."""
    await control.parts["community-platform"].end()
    with pytest.raises(EffectNotProven, match="was frozen and nothing is seen") as told:
        await ServerFrozen().prove(control, 0.3)
    assert "was refused" in str(told.value.seen)


async def test_a_path_is_not_blamed_for_a_database_that_is_silent_itself(control: _Control) -> None:
    """Silence in the path counts only while the database greets behind it."""
    await control.relays["mysql"].half_open()
    control.parts["mysql"].frozen = True
    with pytest.raises(EffectNotProven) as told:
        await DatabaseHalfOpen().prove(control, 0.3)
    assert str(told.value.seen).count("heard nothing") == 2


async def test_a_refused_path_is_not_reset(control: _Control) -> None:
    """A refused connection proves another fault."""
    await control.relays["mysql"].refuse()
    with pytest.raises(EffectNotProven) as told:
        await DatabaseReset().prove(control, 0.3)
    assert "was refused" in str(told.value.seen)


async def test_a_slow_machine_is_not_a_slow_path(control: _Control, statement: dict[str, float]) -> None:
    """Where the statement is slow past the relay too nothing is proven; nor is all well then."""
    statement["seconds"] = 0.3
    with pytest.raises(EffectNotProven) as told:
        await DatabaseSlow().prove(control, 0.2)
    assert told.value.seen == "SELECT 1 took 0.300 s through the path and 0.300 s past it"
    with pytest.raises(FaultError, match="not well before"):
        await DatabaseSlow().apply(control)
    assert control.asked == []


async def test_a_lane_without_credentials_is_told(control: _Control) -> None:
    """Before anything is applied, with the names of what is needed."""
    control.secrets = {"mysql_user": "app"}
    with pytest.raises(FaultError, match="does not say how its database is spoken to") as told:
        DatabaseSlow().facts(control)
    assert told.value.seen == "mysql_password, mysql_database not given"


async def test_the_process_before_is_remembered_for_each_lane_apart(control: _Control) -> None:
    """One fault object serves every lane: crashed in one, it proves nothing in the other."""
    other = _Control("b")
    await other.open()
    try:
        fault = ExporterCrashed()
        await fault.apply(control)
        with pytest.raises(EffectNotProven, match="crashed") as told:
            await fault.prove(other, 0.2)
        assert told.value.seen == "it was not crashed"
        await fault.prove(control, 2)
    finally:
        await other.close()


async def test_an_exposition_without_a_start_time_proves_nothing(control: _Control) -> None:
    """Who does not say when it began cannot be told apart from another process: it is not touched."""

    async def http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"HTTP/1.0 200 OK\r\n\r\nup 1\n")
        writer.close()

    async with await asyncio.start_server(http, "127.0.0.1", 0) as server:
        there = Address(*server.sockets[0].getsockname())
        control._lane = Lane("a", {**control.lane.addresses, "redis-exporter": there}, control.lane.behind)
        with pytest.raises(FaultError, match="before") as told:
            await ExporterCrashed().apply(control)
    assert "has no process_start_time_seconds" in str(told.value.seen)
    assert control.asked == []


async def test_two_lanes_lose_scrapes_at_the_same_time(control: _Control) -> None:
    """One fault object serves every lane: undone in one, it goes on in the other."""
    other = _Control("b")
    await other.open()
    try:
        fault = ScrapesLost()
        await asyncio.gather(fault.apply(control), fault.apply(other))
        await asyncio.gather(fault.prove(control, 3), fault.prove(other, 3))
        await fault.undo(control, 2)
        asked = len(control.asked)
        await until(lambda: other.asked.count("hold_down") >= 4)
        assert len(control.asked) == asked
        await fault.undo(other, 2)
    finally:
        await other.close()


async def test_gaps_and_pauses_are_as_long_as_they_should_be(control: _Control) -> None:
    """Down for less than a scrape interval, up for more than one, again and again."""
    exporter = control.parts["redis-exporter"]
    changes: list[float] = []
    fault = ScrapesLost()
    await fault.apply(control)
    was_up, give_up = True, time.monotonic() + 5
    while len(changes) < 5:
        assert time.monotonic() < give_up
        if exporter.up != was_up:
            was_up = exporter.up
            changes.append(time.monotonic())
        await asyncio.sleep(0.002)
    await fault.undo(control, 2)
    gaps = [changes[1] - changes[0], changes[3] - changes[2]]
    pauses = [changes[2] - changes[1], changes[4] - changes[3]]
    assert all(0.15 <= gap < 0.4 for gap in gaps), gaps
    assert all(0.2 <= pause < 0.6 for pause in pauses), pauses


def test_the_real_gaps_and_pauses_fit_the_scrape_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    """2 s: a gap with a start of 0.1 s is shorter, with as much to spare again; a pause is longer."""
    monkeypatch.undo()
    assert scrapes_lost.DOWN_SECONDS + 2 * 0.1 < 2.0 < scrapes_lost.UP_SECONDS


async def test_one_gap_is_no_series(control: _Control, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exporter that went down and stayed there was refused once, however often we look."""
    monkeypatch.setattr(scrapes_lost, "DOWN_SECONDS", 3600.0)
    fault = ScrapesLost()
    await fault.apply(control)
    with pytest.raises(EffectNotProven) as told:
        await fault.prove(control, 0.4)
    assert "it was down once" in str(told.value.seen)
    await fault.undo(control, 2)


async def test_it_is_not_begun_twice(control: _Control) -> None:
    """A second application in the same lane is refused, and the first goes on to be undone."""
    fault = ScrapesLost()
    await fault.apply(control)
    await until(lambda: "let_up" in control.asked)
    with pytest.raises(FaultError, match="already"):
        await fault.apply(control)
    await fault.undo(control, 2)


async def test_undoing_in_a_gap_does_not_wait_for_its_end(control: _Control, monkeypatch: pytest.MonkeyPatch) -> None:
    """A gap of an hour is over at once when it is undone, and nobody is left who takes the exporter down."""
    monkeypatch.setattr(scrapes_lost, "DOWN_SECONDS", 3600.0)
    tasks = asyncio.all_tasks()
    fault = ScrapesLost()
    await fault.apply(control)
    await until(lambda: not control.parts["redis-exporter"].up)
    begun = time.monotonic()
    await fault.undo(control, 2)
    assert time.monotonic() - begun < 0.5
    assert asyncio.all_tasks() <= tasks


async def test_a_stack_that_fails_meanwhile_is_told_at_the_undo(control: _Control) -> None:
    """Whoever took it down could not go on: the undo says so, and lets the exporter up all the same if it can."""
    fault = ScrapesLost()
    await fault.apply(control)
    await until(lambda: not control.parts["redis-exporter"].up)
    control.broken = True
    await asyncio.sleep(scrapes_lost.DOWN_SECONDS * 1.5)  # until it would have been let up
    control.broken = False
    with pytest.raises(FaultError, match="could not be taken back") as told:
        await fault.undo(control, 2)
    assert told.value.seen == "The supervisor does not answer"
    assert control.parts["redis-exporter"].up
    assert isinstance(await fault.undo(control, 2), Proof)


def test_they_are_registered_once_each() -> None:
    """Every case here is a fault of the registry."""
    ids = [fault.id for fault in FAULTS]
    assert [name for name in CASES if ids.count(name) != 1] == []
    assert {name: make().id for name, make in CASES.items()} == {name: name for name in CASES}
    assert ASK.startswith(b"GET / ")
