"""Every fault applies, proves by its own observation, and undoes: one suite over all of them, then each one's own."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path

import pytest
from aiohttp import web
from lane_doubles import UntouchedLane

from harness.drive import migration
from harness.drive.database import Rename
from harness.drive.faults import Fault, Proof
from harness.drive.faults.database_refused import DatabaseRefused
from harness.drive.faults.posts_table_missing import PostsTableMissing
from harness.drive.faults.registry import FAULTS
from harness.drive.faults.server_killed import ServerKilled
from harness.drive.migration import BadMigration
from harness.errors import EffectNotProven, FaultError, StackError
from harness.model.stack import Address, Lane
from harness.stack.relay import Relay

ROOT = Path(__file__).parent.parent.parent


class _Subject:
    """A small application on one port: /health, /api/posts, and its counters."""

    def __init__(self) -> None:
        self.address = Address("127.0.0.1", 0)
        self.requests: dict[str, int] = {"200": 40, "500": 0}
        self.posts_status = 200
        self.metrics: Callable[[], web.Response] = self._exposition
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listens, on the same port as before."""
        app = web.Application()
        app.router.add_get("/health", self._healthy)
        app.router.add_get("/api/posts", self._posts)
        app.router.add_get("/api/performance/metrics", self._metrics)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self.address.host, self.address.port, reuse_address=True)
        await site.start()
        self.address = Address(*self._runner.addresses[0])

    async def end(self) -> None:
        """Ends as a killed process does: the port is closed."""
        if self._runner is not None:
            runner, self._runner = self._runner, None
            await runner.cleanup()

    async def _healthy(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "alive"})

    async def _posts(self, _: web.Request) -> web.Response:
        self.requests[str(self.posts_status)] = self.requests.get(str(self.posts_status), 0) + 1
        return web.json_response([], status=self.posts_status)

    async def _metrics(self, _: web.Request) -> web.Response:
        return self.metrics()

    def _exposition(self) -> web.Response:
        lines = ["# TYPE http_requests_total counter"]
        lines += [f'http_requests_total{{method="GET",status="{status}"}} {n}' for status, n in self.requests.items()]
        return web.Response(text="\n".join([*lines, "# TYPE up gauge", "up 1", ""]))


class _LaneControl(UntouchedLane):
    """A lane of one subject and a server that greets as MariaDB does, behind a relay."""

    def __init__(self, subject: _Subject, relay: Relay, secrets: Mapping[str, str] | None = None) -> None:
        super().__init__(Lane("lane-1", {}, {}), secrets)
        self.subject = subject
        self.relay = relay
        self.broken = False
        self.deaf = False

    @property
    def lane(self) -> Lane:
        """The lane with the addresses that its parts have now."""
        return Lane(
            "lane-1",
            {"community-platform": self.subject.address, "mysql": self.relay.address},
            {"mysql": self.relay.upstream},
        )

    async def _do(self, doing: Callable[[], Awaitable[None]]) -> None:
        if self.broken:
            raise StackError("The supervisor does not answer", output=("last line",))
        if not self.deaf:
            await doing()

    async def hold_down(self, component: str) -> None:
        """Ends the subject."""
        assert component == "community-platform"
        await self._do(self.subject.end)

    async def let_up(self, component: str) -> None:
        """Starts it again, if it was ended."""
        assert component == "community-platform"
        if self.subject._runner is None:
            await self._do(self.subject.start)

    async def refuse(self, component: str) -> None:
        """Refuses in the path of the database."""
        assert component == "mysql"
        await self._do(self.relay.refuse)

    async def restore(self, component: str) -> None:
        """Lets through again."""
        assert component == "mysql"
        await self._do(self.relay.restore)


@pytest.fixture
async def control() -> AsyncIterator[_LaneControl]:
    """A lane that is well."""

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\x4a\0\0\0\x0a5.5.5-10.11.19-MariaDB\0")
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    relay = await Relay.open(Address(*server.sockets[0].getsockname()))
    subject = _Subject()
    await subject.start()
    try:
        yield _LaneControl(subject, relay)
    finally:
        await subject.end()
        await relay.close()
        server.close()


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch, control: _LaneControl) -> list[str]:
    """A database of one table, for tests of all that is not SQL; its only element is the table's name."""
    table = ["posts"]

    async def rename(_: Rename, facts: Mapping[str, str], away: str, to: str, seconds: float) -> bool:
        assert facts["mysql_password"] == "pass"
        assert seconds > 0
        if table == [to]:
            return False
        table[:] = [to]
        control.subject.posts_status = 200 if to == "posts" else 500
        return True

    monkeypatch.setattr(Rename, "carry_out", rename)
    control.secrets = {"mysql_user": "app", "mysql_password": "pass", "mysql_database": "app"}
    return table


CASES: Mapping[str, Fault] = {
    "server-killed": ServerKilled(),
    "database-refused": DatabaseRefused(),
    "posts-table-missing": PostsTableMissing(),
}
every_fault = pytest.mark.parametrize("fault", CASES.values(), ids=CASES)


def test_id_file_page_and_cases_belong_together() -> None:
    """Every fault of the registry has a file, a page under its name and cases in a test, and there are no others."""
    ids = [fault.id for fault in FAULTS]
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*fault*.py"))
    assert [name for name in ids if f'"{name}"' not in tests] == []
    assert set(CASES) <= set(ids)
    files = {path.stem for path in (ROOT / "harness/drive/faults").glob("*.py")} - {"__init__", "registry"}
    assert files == {name.replace("-", "_") for name in ids}
    assert {path.stem for path in (ROOT / "docs/faults").glob("*.md")} == set(ids)
    for fault in FAULTS:
        assert type(fault).__module__ == f"harness.drive.faults.{fault.id.replace('-', '_')}"
        page = (ROOT / f"docs/faults/{fault.id}.md").read_text()
        assert page.startswith(f"# {fault.id}\n")
        assert fault.summary in page
        assert re.findall(r"^## (.+)$", page, re.MULTILINE) == [
            "What it does",
            "How it proves itself",
            "How it is undone",
            "What it does not show",
        ]
        assert fault.signal in {"real", "simulated"}


@every_fault
async def test_a_fault_proves_itself_and_is_undone(control: _LaneControl, table: list[str], fault: Fault) -> None:
    """Applied, proven with an instant after it was applied, undone with proof, twice, and ready to be used again."""
    for _ in range(2):
        begun = time.time()
        await fault.apply(control)
        proof = await fault.prove(control, 3)
        assert begun < proof.at <= time.time()
        assert proof.saw
        healed = await fault.undo(control, 3)
        assert healed.at > proof.at
        await fault.undo(control, 3)
        assert (control.relay.refusing, table, control.subject.posts_status) == (False, ["posts"], 200)


@every_fault
async def test_a_fault_that_was_not_applied_cannot_prove_itself(
    control: _LaneControl, table: list[str], fault: Fault
) -> None:
    """The twin: with a lane that is well there is nothing to be seen, and that is EffectNotProven, in time."""
    begun = time.monotonic()
    with pytest.raises(EffectNotProven) as told:
        await fault.prove(control, 0.3)
    assert time.monotonic() - begun < 2
    assert told.value.seen
    assert told.value.expected


@every_fault
async def test_a_lane_that_is_not_well_is_not_touched(
    control: _LaneControl, table: list[str], fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is broken before would be a proof of nothing: FaultError, and nothing was applied."""
    where = migration if isinstance(fault, BadMigration) else sys.modules[type(fault).__module__]
    monkeypatch.setattr(where, "_WELL_SECONDS", 0.1)
    control.subject.posts_status = 503
    await control.subject.end()
    await control.relay.refuse()
    control.broken = True
    with pytest.raises(FaultError, match="before"):
        await fault.apply(control)
    assert table == ["posts"]


@every_fault
async def test_a_fault_may_be_undone_that_was_never_applied(
    control: _LaneControl, table: list[str], fault: Fault
) -> None:
    """After an `apply` that failed half-way nobody knows what was done: undoing what was not is no error."""
    assert isinstance(await fault.undo(control, 1), Proof)


@every_fault
async def test_what_the_journal_gets_is_enough_and_is_strings(
    control: _LaneControl, table: list[str], fault: Fault
) -> None:
    """Facts are strings to strings, and undoing from them never fails where the sandbox is gone."""
    facts = fault.facts(control)
    assert all(isinstance(text, str) for pair in facts.items() for text in pair)
    await control.subject.end()
    await control.relay.close()
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        assert await fault.undo_from({**facts, "port": str(nobody.getsockname()[1])}) is False


@pytest.mark.parametrize("fault", [ServerKilled(), DatabaseRefused()], ids=lambda fault: str(fault.id))
async def test_what_the_stack_cannot_do_is_told_as_the_fault_s_own_failure(control: _LaneControl, fault: Fault) -> None:
    """A FaultError with what the stack said, for applying and for undoing."""
    control.broken = True
    with pytest.raises(FaultError, match="could not be") as told:
        await fault.apply(control)
    assert told.value.seen == "The supervisor does not answer"
    assert told.value.output == ("last line",)
    await control.subject.end()
    with pytest.raises(FaultError, match="could not be"):
        await fault.undo(control, 0.1)


@pytest.mark.parametrize("fault", [ServerKilled(), DatabaseRefused()], ids=lambda fault: str(fault.id))
async def test_an_undo_that_does_nothing_is_noticed(control: _LaneControl, fault: Fault) -> None:
    """The stack says that it did it and the world did not change: undoing is proven, not believed."""
    await fault.apply(control)
    control.deaf = True
    with pytest.raises(FaultError) as told:
        await fault.undo(control, 0.2)
    assert not isinstance(told.value, EffectNotProven)


async def test_a_server_that_only_hangs_is_not_dead(monkeypatch: pytest.MonkeyPatch, control: _LaneControl) -> None:
    """No answer in time may be our own slowness: only a refused or cut connection proves that the server is gone."""
    monkeypatch.setattr("harness.drive.look.ask.__defaults__", (0.1,))
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        control.subject.address = Address(*silent.getsockname())
        with pytest.raises(EffectNotProven, match="still responds") as told:
            await ServerKilled().prove(control, 0.3)
    assert "no answer" in str(told.value)


async def test_a_connection_that_is_cut_proves_a_dead_server(control: _LaneControl) -> None:
    """Where something in the path accepts and has nobody to hand on to, the cut is the refusal."""

    async def cut(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    async with await asyncio.start_server(cut, "127.0.0.1", 0) as server:
        control.subject.address = Address(*server.sockets[0].getsockname())
        proof = await ServerKilled().prove(control, 1)
    assert "cut" in proof.saw


async def test_a_database_that_greets_with_an_error_is_not_restored(control: _LaneControl) -> None:
    """`Too many connections` begins with 255: that is no greeting."""

    async def refuse(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\x17\0\0\0\xff\x10\x04Too many connections")
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        relay = await Relay.open(Address(*server.sockets[0].getsockname()))
        try:
            with pytest.raises(FaultError, match="restored") as told:
                await DatabaseRefused().undo(_LaneControl(control.subject, relay), 0.1)
        finally:
            await relay.close()
    assert "255" in str(told.value)


async def test_the_error_ratio_needs_its_quarter(control: _LaneControl, table: list[str]) -> None:
    """Five failures in 21 requests since then are 23.8 % and prove nothing; five in 20 are the condition."""
    for healthy, there in ((16, False), (15, True)):
        counts = iter([{"200": 40, "500": 3}, {"200": 40 + healthy, "500": 8}])

        def exposition(counts: object = counts) -> web.Response:
            control.subject.requests = next(counts, control.subject.requests)  # type: ignore[call-overload]
            return control.subject._exposition()

        control.subject.metrics = exposition
        if there:
            proof = await PostsTableMissing().prove(control, 1)
            assert proof.saw.startswith("5 of 20 requests failed with 5xx (25%)")
        else:
            with pytest.raises(EffectNotProven, match="did not rise") as told:
                await PostsTableMissing().prove(control, 0.3)
            assert "5 of 21 requests" in str(told.value)


async def test_four_failures_are_not_enough_requests_and_our_own_are_told(
    control: _LaneControl, table: list[str]
) -> None:
    """Without load each look adds one request of our own, until there are five; the proof says that they were ours."""
    control.subject.posts_status = 500
    proof = await PostsTableMissing().prove(control, 3)
    assert proof.saw.startswith("5 of 5 requests failed with 5xx (100%)")
    assert "5 of them our own" in proof.saw
    assert control.subject.requests["500"] == 5


async def test_a_subject_that_was_started_again_counts_from_zero(control: _LaneControl, table: list[str]) -> None:
    """Counters that fall are a restart, not a negative number of requests."""
    counts = iter([{"200": 40, "500": 3}, {"200": 6, "500": 2}])

    def exposition() -> web.Response:
        control.subject.requests = next(counts, control.subject.requests)
        return control.subject._exposition()

    control.subject.metrics = exposition
    assert (await PostsTableMissing().prove(control, 1)).saw.startswith("2 of 8 requests")


@pytest.mark.parametrize("answer", ["# nothing that {can be read", "", "<html>"], ids=["broken", "empty", "html"])
async def test_an_exposition_that_cannot_be_read_proves_nothing(
    control: _LaneControl, table: list[str], answer: str
) -> None:
    """EffectNotProven, not an exception of the parser."""
    control.subject.posts_status = 500
    control.subject.metrics = lambda: web.Response(text=answer)
    with pytest.raises(EffectNotProven):
        await PostsTableMissing().prove(control, 0.2)


async def test_a_lane_without_credentials_is_told(control: _LaneControl) -> None:
    """Before anything is applied, with the names of what is needed."""
    control.secrets = {"mysql_user": "app"}
    with pytest.raises(FaultError, match="does not say how its database is spoken to") as told:
        PostsTableMissing().facts(control)
    assert told.value.seen == "mysql_password, mysql_database not given"
