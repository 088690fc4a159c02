"""The faults from real causes inside the application and its stores, in a lane of doubles."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable
from itertools import pairwise

import pytest
from cause_doubles import WELL, CauseLane

from harness.drive import database, migration
from harness.drive.component_fault import ComponentFault
from harness.drive.faults import (
    APPLICATION,
    Fault,
    Proof,
    Reach,
    cache_cold,
    login_burst,
    posts_index_missing,
    posts_locked,
)
from harness.drive.faults.cache_cold import CacheCold
from harness.drive.faults.comments_unreadable import CommentsUnreadable
from harness.drive.faults.connections_exhausted import LEAST_FREE, ConnectionsExhausted
from harness.drive.faults.heap_filled import HeapFilled
from harness.drive.faults.login_burst import LoginBurst
from harness.drive.faults.posts_index_missing import PostsIndexMissing
from harness.drive.faults.posts_locked import PostsLocked
from harness.drive.lasting import Turns
from harness.drive.tally import Counted, Tally
from harness.errors import EffectNotProven, FaultError
from harness.model.stack import Lane

CASES: dict[str, Callable[[], Fault]] = {
    "connections-exhausted": ConnectionsExhausted,
    "posts-locked": PostsLocked,
    "posts-index-missing": PostsIndexMissing,
    "comments-unreadable": CommentsUnreadable,
    "cache-cold": CacheCold,
    "heap-filled": HeapFilled,
    "login-burst": LoginBurst,
}
every_fault = pytest.mark.parametrize("name", CASES)
MIGRATIONS = {"comments-unreadable", "posts-index-missing"}
lasting_faults = pytest.mark.parametrize("name", [name for name in CASES if name not in MIGRATIONS])


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Locks, pauses and patience of a tenth of the real ones."""
    monkeypatch.setattr(posts_locked, "LOCKED_SECONDS", 0.3)
    monkeypatch.setattr(posts_locked, "_WAIT_SECONDS", 0.1)
    monkeypatch.setattr(posts_locked, "_QUICK_SECONDS", 0.05)
    monkeypatch.setattr(posts_locked, "_AGAIN_SECONDS", 0.01)
    monkeypatch.setattr(posts_index_missing, "ROWS", (0, 100_000))
    monkeypatch.setattr(cache_cold, "PAUSE_SECONDS", 0.005)
    monkeypatch.setattr(login_burst, "PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(ComponentFault, "well_seconds", 0.2)
    monkeypatch.setattr(migration, "_WELL_SECONDS", 0.2)


@pytest.fixture
async def lane(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[CauseLane]:
    """A lane that is well."""
    lane = CauseLane()
    await lane.open()
    monkeypatch.setattr("aiomysql.connect", lane.database.connect)
    yield lane
    await lane.close()


async def until(true: Callable[[], bool]) -> None:
    """Waits until something is so, at most 3 s."""
    give_up = time.monotonic() + 3
    while not true():
        assert time.monotonic() < give_up
        await asyncio.sleep(0.002)


@every_fault
async def test_a_fault_proves_itself_and_is_undone(lane: CauseLane, name: str) -> None:
    """Applied, proven with an instant after it was applied, undone with proof, twice; nothing stays or goes on."""
    fault = CASES[name]()
    assert (fault.id, fault.touches, fault.reach, fault.signal) == (name, APPLICATION, Reach.LANE, "real")
    for _ in range(2):
        begun = time.time()
        await fault.apply(lane)
        proof = await fault.prove(lane, 3)
        assert begun < proof.at <= time.time()
        healed = await fault.undo(lane, 3)
        assert healed.at > proof.at
        await fault.undo(lane, 3)
        assert lane.traces == WELL
        before = (lane.cache.clearings, lane.application.guesses, len(lane.database.said))
        await asyncio.sleep(0.05)
        assert (lane.cache.clearings, lane.application.guesses, len(lane.database.said)) == before


@every_fault
async def test_a_fault_that_was_not_applied_cannot_prove_itself(lane: CauseLane, name: str) -> None:
    """The twin: in a lane that is well there is nothing to be seen, and that is EffectNotProven, in time."""
    begun = time.monotonic()
    with pytest.raises(EffectNotProven) as told:
        await CASES[name]().prove(lane, 0.2)
    assert time.monotonic() - begun < 2
    assert told.value.seen
    assert told.value.expected


@pytest.mark.parametrize("name", [name for name in CASES if name != "heap-filled"])  # that one tells it when applied
async def test_a_fault_that_does_nothing_cannot_prove_itself(lane: CauseLane, name: str) -> None:
    """It was done and the world did not change: the effect is proven, not believed."""
    lane.be_deaf()
    fault = CASES[name]()
    await fault.apply(lane)
    with pytest.raises(EffectNotProven):
        await fault.prove(lane, 0.4)
    await fault.undo(lane, 3)


@every_fault
async def test_a_lane_that_is_not_well_is_not_touched(lane: CauseLane, name: str) -> None:
    """What is broken before would be a proof of nothing: FaultError, and nothing was done."""
    await lane.fail()
    with pytest.raises(FaultError, match="before") as told:
        await CASES[name]().apply(lane)
    assert told.value.seen
    assert lane.database.said == []
    assert (lane.cache.clearings, lane.application.guesses) == (0, 0)


@every_fault
async def test_a_fault_may_be_undone_that_was_never_applied(lane: CauseLane, name: str) -> None:
    """After an `apply` that failed half-way nobody knows what was done: undoing what was not is no error."""
    assert isinstance(await CASES[name]().undo(lane, 1), Proof)


@every_fault
async def test_nothing_is_left_where_the_sandbox_is_gone(lane: CauseLane, name: str) -> None:
    """The journal gets strings, and undoing from them finds nothing to do once everything has died."""
    fault = CASES[name]()
    facts = fault.facts(lane)
    assert {"host", "port"} <= set(facts)
    assert all(isinstance(text, str) for pair in facts.items() for text in pair)
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        assert await fault.undo_from({**facts, "port": str(nobody.getsockname()[1])}) is False


@lasting_faults
async def test_what_goes_on_is_not_begun_again(lane: CauseLane, name: str) -> None:
    """A second injection before the first was undone: FaultError, and the first one can still be undone."""
    fault = CASES[name]()
    assert isinstance(fault, ComponentFault)
    await fault.apply(lane)
    with pytest.raises(FaultError, match="goes on already"):
        await fault.disturb(lane)
    await fault.undo(lane, 3)
    assert lane.traces == WELL


@pytest.mark.parametrize("name", ["connections-exhausted", "posts-locked", "heap-filled", *sorted(MIGRATIONS)])
async def test_an_undo_that_does_nothing_is_noticed(lane: CauseLane, name: str) -> None:
    """It was taken back and the world did not change: undoing is proven, not believed."""
    fault = CASES[name]()
    await fault.apply(lane)
    await fault.prove(lane, 3)
    if name == "posts-locked":
        await until(lambda: not lane.database.free.is_set())
    lane.be_deaf()
    with pytest.raises(FaultError) as told:
        await fault.undo(lane, 0.3)
    assert not isinstance(told.value, EffectNotProven)
    lane.database.free.set()


@pytest.mark.parametrize("name", ["connections-exhausted", "posts-locked", *sorted(MIGRATIONS)])
async def test_a_lane_that_hides_its_account_is_told(lane: CauseLane, name: str) -> None:
    """Without an account of the database there is nothing to do, and that is said before anything is done."""
    lane.secrets = {"mysql_user": "app"}
    with pytest.raises(FaultError, match="does not say how its database is spoken to") as told:
        CASES[name]().facts(lane)
    assert told.value.seen == "mysql_password, mysql_database not given"


# --- connections -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("allowed", "filled"), [(151, 133), (100, 88), (60, 52)])
async def test_as_many_connections_as_wanted_and_some_stay_free(lane: CauseLane, allowed: int, filled: int) -> None:
    """88 % of what the server allows, and never its last eight."""
    lane.database.allowed = allowed
    fault = ConnectionsExhausted()
    await fault.apply(lane)
    assert len(lane.database.connections) == filled
    assert allowed - filled >= LEAST_FREE
    proof = await fault.prove(lane, 1)
    assert f"{filled} of {allowed} connections in use" in proof.saw
    await fault.undo(lane, 1)


async def test_connections_of_others_count(lane: CauseLane) -> None:
    """What the application holds already need not be opened."""
    for _ in range(40):
        await lane.database.connect(password="pass")
    await ConnectionsExhausted().apply(lane)
    assert len(lane.database.connections) == 88


async def test_a_server_of_few_connections_is_not_filled(lane: CauseLane) -> None:
    """Where 85 % and eight free ones do not both fit: FaultError, and none was opened."""
    lane.database.allowed = 53
    with pytest.raises(FaultError, match="too few connections"):
        await ConnectionsExhausted().apply(lane)
    assert lane.traces == WELL


async def test_connections_that_were_opened_are_closed_where_the_rest_cannot_be(lane: CauseLane) -> None:
    """The server, or our own descriptors, give out half-way: FaultError, and undoing closes those that there are."""
    lane.database.most = 50
    fault = ConnectionsExhausted()
    with pytest.raises(FaultError, match="could not all be opened") as told:
        await fault.apply(lane)
    assert "Too many connections" in str(told.value.seen)
    assert lane.database.connections
    lane.database.most = None
    await fault.undo(lane, 1)
    assert lane.traces == WELL


# --- locks -------------------------------------------------------------------------------------------------------


async def test_whoever_waited_goes_before_the_next_lock(lane: CauseLane) -> None:
    """As long as somebody waits the lock is not taken again."""
    lane.database.waiting = [3, 2, 1]
    fault = PostsLocked()
    await fault.apply(lane)
    await until(lambda: sum(said.startswith("LOCK") for said in lane.database.said) >= 3)
    await fault.undo(lane, 3)
    words = [said.split()[0] for said in lane.database.said]
    first = words.index("UNLOCK")
    assert words[first + 1 : first + 5] == ["SELECT"] * 4
    assert ("UNLOCK", "LOCK") not in pairwise(words)


async def test_a_lost_connection_does_not_end_the_fault(lane: CauseLane) -> None:
    """The database drops us once: the locks go on over a new connection until it is healed."""
    fault = PostsLocked()
    await fault.apply(lane)
    await until(lambda: not lane.database.free.is_set())
    lane.database.down = True
    await until(lane.database.free.is_set)
    lane.database.down = False
    await until(lambda: not lane.database.free.is_set())
    await fault.undo(lane, 3)
    assert lane.traces == WELL


async def test_a_slow_mean_without_a_lock_of_ours_proves_nothing(
    lane: CauseLane, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests are slow and our own statement is quick: somebody else is to blame."""

    async def quick(*_: object) -> float:
        return 0.01

    fault = PostsLocked()
    await fault.apply(lane)
    with monkeypatch.context() as patch:
        patch.setattr(posts_locked, "_read", quick)
        with pytest.raises(EffectNotProven) as told:
            await fault.prove(lane, 0.3)
    assert "a statement of our own waited 0.01 s" in str(told.value.seen)
    assert "took 2." in str(told.value.seen)
    await fault.undo(lane, 3)


async def test_a_lock_that_few_requests_feel_proves_nothing(lane: CauseLane, monkeypatch: pytest.MonkeyPatch) -> None:
    """Our own statement waits and the mean of all requests stays below 1 s: that is not the condition."""
    monkeypatch.setattr("cause_doubles.LOCKED_ANSWER_SECONDS", 0.9)
    fault = PostsLocked()
    await fault.apply(lane)
    with pytest.raises(EffectNotProven) as told:
        await fault.prove(lane, 1.0)
    assert "a statement of our own waited 0." in str(told.value.seen)
    assert "waited 0.00" not in str(told.value.seen)
    await fault.undo(lane, 3)


# --- comments ----------------------------------------------------------------------------------------------------


async def test_some_requests_fail_and_the_others_do_not(lane: CauseLane) -> None:
    """A quarter of the double's requests reads comments, and as many fail."""
    fault = CommentsUnreadable()
    await fault.apply(lane)
    proof = await fault.prove(lane, 3)
    assert (
        "2 of 5 requests failed with 5xx (40%) since the column of the comments was renamed, 1 of them our own"
        in proof.saw
    )
    await fault.undo(lane, 1)


async def test_a_column_of_both_names_is_nobody_s_to_merge(lane: CauseLane) -> None:
    """Somebody added a column of the old name meanwhile: FaultError, and neither is touched."""
    lane.database.columns = {"id", "comment_id"}
    with pytest.raises(FaultError, match="cannot be renamed") as told:
        await CommentsUnreadable().undo(lane, 1)
    assert told.value.seen == "both are"
    assert not [said for said in lane.database.said if said.startswith("ALTER")]


# --- the index ---------------------------------------------------------------------------------------------------


async def test_a_slow_mean_with_the_index_in_its_place_proves_nothing(
    lane: CauseLane, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The application's queries are slow and the server finds comments by their index: something else is to blame."""
    monkeypatch.setattr("cause_doubles.QUICK_MEAN_SECONDS", 0.08)
    with pytest.raises(EffectNotProven) as told:
        await PostsIndexMissing().prove(lane, 0.3)
    assert "says ref by comments_post" in str(told.value.seen)
    assert "took 0.080 s on average" in str(told.value.seen)


async def test_a_missing_index_that_few_queries_feel_proves_nothing(
    lane: CauseLane, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server reads all comments and counts us as slow, and the mean of all queries stays below the limit."""
    monkeypatch.setattr("cause_doubles.SCANNED_MEAN_SECONDS", 0.04)
    fault = PostsIndexMissing()
    await fault.apply(lane)
    with pytest.raises(EffectNotProven) as told:
        await fault.prove(lane, 0.6)
    assert "says index by PRIMARY" in str(told.value.seen)
    assert "took 0.040 s on average" in str(told.value.seen)
    await fault.undo(lane, 1)


async def test_a_table_of_the_new_one_s_name_is_not_touched(lane: CauseLane) -> None:
    """Somebody's own migration is under way: FaultError that names its table, and nothing was made or dropped."""
    lane.database.tables = {"comments", "comments_migrated"}
    with pytest.raises(FaultError, match="cannot be made anew") as told:
        await PostsIndexMissing().apply(lane)
    assert told.value.seen == "comments, comments_migrated"
    assert lane.database.tables == {"comments", "comments_migrated"}


async def test_what_no_step_leaves_behind_is_nobody_s_to_mend(lane: CauseLane) -> None:
    """All three tables are there: FaultError, and each of them stays."""
    lane.database.tables = {"comments", "comments_migrated", "comments_before_migration"}
    with pytest.raises(FaultError, match="cannot be swapped back"):
        await PostsIndexMissing().undo(lane, 1)
    assert len(lane.database.tables) == 3


async def test_a_machine_that_is_quick_gets_more_rows_and_a_busy_one_fewer(
    lane: CauseLane, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At least so many rows, then until reading them takes long enough, never more than the most, never too long."""

    async def pieces(scan_seconds: float, rows: tuple[int, int] = (200_000, 500_000)) -> int:
        async def scan(_: object) -> float:
            return scan_seconds * sum(said.startswith("INSERT INTO comments_migrated") for said in lane.database.said)

        monkeypatch.setattr(posts_index_missing, "_scan", scan)
        monkeypatch.setattr(posts_index_missing, "ROWS", rows)
        lane.database.said.clear()
        await PostsIndexMissing().apply(lane)
        await PostsIndexMissing().undo(lane, 1)
        return sum(said.startswith("INSERT INTO comments_migrated") for said in lane.database.said)

    assert await pieces(posts_index_missing.SCAN_SECONDS) == 4
    assert await pieces(posts_index_missing.SCAN_SECONDS / 6) == 6
    assert await pieces(0.0) == 10
    monkeypatch.setattr(posts_index_missing, "FILL_SECONDS", 0.0)
    assert await pieces(0.0) == 0


# --- the cache ---------------------------------------------------------------------------------------------------


async def test_without_look_ups_a_cold_cache_is_not_proven(lane: CauseLane) -> None:
    """No load, no ratio: it is cleared, and nobody is seen to miss anything."""
    lane.application.load = False
    fault = CacheCold()
    await fault.apply(lane)
    with pytest.raises(EffectNotProven) as told:
        await fault.prove(lane, 0.2)
    assert "0 of 0 look-ups were hits" in str(told.value.seen)
    await fault.undo(lane, 1)


async def test_a_cache_that_cannot_be_cleared_is_told(lane: CauseLane) -> None:
    """Its connection is cut: the look says why it is not colder, and the undo that it does not answer."""
    fault = CacheCold()
    await fault.apply(lane)
    await until(lambda: lane.cache.clearings > 0)
    await lane.cache.end()
    lane.application.load = False
    with pytest.raises(EffectNotProven) as told:
        await fault.prove(lane, 0.3)
    assert "clearing it failed: ConnectionError" in str(told.value.seen)
    with pytest.raises(FaultError, match="taken back and all is not well"):
        await fault.undo(lane, 0.2)


# --- the heap ----------------------------------------------------------------------------------------------------


async def test_as_many_previews_as_are_missing(lane: CauseLane) -> None:
    """From 38 of 96 MB to 88 %: 47 of a million bytes each."""
    fault = HeapFilled()
    await fault.apply(lane)
    assert lane.application.held == 47_000_000
    assert "(89%)" in (await fault.prove(lane, 1)).saw
    await fault.undo(lane, 1)


async def test_an_application_that_does_not_fill_is_told(lane: CauseLane) -> None:
    """It keeps nothing of what it is sent: FaultError after as many as it should have taken, and it is logged out."""
    lane.application.deaf = True
    fault = HeapFilled()
    with pytest.raises(FaultError, match="does not fill"):
        await fault.apply(lane)
    assert isinstance(await fault.undo(lane, 1), Proof)


async def test_an_upload_that_is_refused_is_told_and_what_was_uploaded_is_dropped(lane: CauseLane) -> None:
    """FaultError with the status; undoing gives back what was taken."""
    lane.application.most = 5_000_000
    fault = HeapFilled()
    with pytest.raises(FaultError, match="POST /api/previews was not done") as told:
        await fault.apply(lane)
    assert (told.value.seen, lane.application.held) == ("413", 5_000_000)
    await fault.undo(lane, 1)
    assert lane.traces == WELL


async def test_an_application_without_a_heap_is_told(lane: CauseLane) -> None:
    """No such series: not well, and nothing was uploaded."""
    lane.application.text = "up 1\n"
    with pytest.raises(FaultError, match="before") as told:
        await HeapFilled().apply(lane)
    assert "has no nodejs_memory_usage_bytes" in str(told.value.seen)


# --- log-ins -----------------------------------------------------------------------------------------------------


async def test_a_guess_that_is_not_refused_is_told(lane: CauseLane) -> None:
    """503 instead of 401 is no failed log-in, and the look says so."""
    lane.application.login_status = 503
    lane.application.deaf = True
    fault = LoginBurst()
    await fault.apply(lane)
    await until(lambda: lane.application.guesses >= 2)
    with pytest.raises(EffectNotProven) as told:
        await fault.prove(lane, 0.2)
    assert "counted 0 failed log-ins" in str(told.value.seen)
    assert "A wrong password was not refused" in str(told.value.seen)
    await fault.undo(lane, 1)


async def test_four_failed_log_ins_are_not_five(lane: CauseLane, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proof needs half of the condition, and no less."""
    monkeypatch.setattr(login_burst, "PAUSE_SECONDS", 60.0)
    fault = LoginBurst()
    await fault.apply(lane)
    await until(lambda: lane.application.guesses == 1)
    lane.application.counted["logins"] = 4
    with pytest.raises(EffectNotProven):
        await fault.prove(lane, 0.1)
    lane.application.counted["logins"] = 5
    assert "5 failed log-ins" in (await fault.prove(lane, 0.1)).saw
    begun = time.monotonic()
    await fault.undo(lane, 1)
    assert time.monotonic() - begun < 5, "a pause is broken off"


# --- what they share ---------------------------------------------------------------------------------------------


async def test_a_turn_is_never_broken_off() -> None:
    """Told to end in the middle of a turn: that one is brought to its end, and no other begins."""
    steps: list[str] = []
    go_on = asyncio.Event()

    async def turn() -> None:
        steps.append("begun")
        await go_on.wait()
        steps.append("ended")

    turns = Turns(turn, 0.0, (), "a test")
    await until(lambda: steps == ["begun"])
    ending = asyncio.create_task(turns.end())
    await asyncio.sleep(0.02)
    assert not ending.done()
    go_on.set()
    await ending
    assert (steps, turns.taken) == (["begun", "ended"], 1)


async def test_an_error_that_may_pass_is_tried_again_and_another_is_not_hidden() -> None:
    """The failure is told while it lasts; a mistake of ours comes out at the end."""
    errors: list[Exception | None] = [OSError("gone"), None, ZeroDivisionError()]

    async def turn() -> None:
        error = errors.pop(0)
        if error is not None:
            raise error

    seen: list[tuple[str, int]] = []
    turns = Turns(turn, 0.01, (OSError,), "a test")
    while errors:
        seen.append((turns.failure, turns.taken))
        await asyncio.sleep(0.002)
    assert {("OSError: gone", 0), ("", 1)} <= set(seen)
    with pytest.raises(ZeroDivisionError):
        await turns.end()


async def test_what_is_counted_is_counted_since_the_first_reading(lane: CauseLane) -> None:
    """And from zero where the subject was started again; a counter that cannot be read is a sentence."""
    lane.application.load = False
    counted = lane.application.counted
    counted.update(ok=40, failed=3, seconds=7.0, hits=5, misses=1, logins=2)
    tally = Tally(lane.application.address)
    assert await tally.read() == Counted()
    counted.update(ok=45, failed=5, seconds=9.0, hits=6, misses=4, logins=3)
    assert await tally.read() == Counted(7, 2, 7, 2.0, 1, 3, 1)
    counted.update(ok=6, failed=1, seconds=1.0, hits=1, misses=1, logins=0)
    assert await tally.read() == Counted(7, 1, 7, 1.0, 1, 1, 0)
    lane.application.text = "{"
    assert "no exposition" in str(await tally.read())
    lane.application.metrics_status = 503
    assert "answered 503" in str(await tally.read())
    await lane.application.end()
    assert "refused" in str(await tally.read())


async def test_the_database_behind_the_relay_is_the_one_that_is_spoken_to(lane: CauseLane) -> None:
    """A relay that refuses would keep us from healing."""
    own = lane.lane.addresses["mysql"]
    relayed = Lane("a", {**lane.lane.addresses, "mysql": lane.lane.addresses["redis"]}, {"mysql": own})
    lane._lane = relayed
    assert database.database_facts(lane)["port"] == str(own.port)
