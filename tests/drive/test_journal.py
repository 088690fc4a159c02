"""The undo journal: written before, read after a crash at any byte."""

from __future__ import annotations

import json
import os
import resource
import signal
import stat
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.drive.faults import APPLICATION, LaneControl, Proof, Reach
from harness.drive.journal import Journal, Outstanding, Replayed, TakenBack, replay, take_back
from harness.errors import FaultError, LedgerError

FACTS = {"host": "127.0.0.1", "port": "3306", "mysql_password": "geheim 비밀"}


@dataclass
class _Remembering:
    """A fault that remembers what it was asked to undo."""

    id: str = "break"
    summary: str = "Something breaks."
    signal: str = "real"
    touches: frozenset[str] = APPLICATION
    reach: Reach = Reach.LANE
    left: bool = True
    fails: bool = False
    undone: list[Mapping[str, str]] = field(default_factory=list)

    def facts(self, control: LaneControl) -> Mapping[str, str]:
        raise AssertionError(control)

    async def apply(self, control: LaneControl) -> None:
        raise AssertionError(control)

    async def prove(self, control: LaneControl, deadline_seconds: float) -> Proof:
        raise AssertionError(control, deadline_seconds)

    async def undo(self, control: LaneControl, deadline_seconds: float) -> Proof:
        raise AssertionError(control, deadline_seconds)

    async def undo_from(self, facts: Mapping[str, str]) -> bool:
        if self.fails:
            raise FaultError("The database does not let us in")
        self.undone.append(facts)
        return self.left


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the journal is."""
    return tmp_path / "undo.jsonl"


def written(path: Path) -> None:
    """Three faults recorded, the second of them undone."""
    with Journal.open(path) as journal:
        journal.record("break", "one", FACTS)
        journal.record("break", "two", {})
        journal.done("two")
        journal.record("break", "three", {"table": "posts\nand a line"})


def test_what_was_recorded_and_not_undone_is_outstanding(path: Path) -> None:
    """In the order of recording, for who wrote it and for who reads it later."""
    written(path)
    with Journal.open(path) as journal:
        assert journal.outstanding() == (
            Outstanding("break", "one", FACTS),
            Outstanding("break", "three", {"table": "posts\nand a line"}),
        )
        journal.done("one")
        assert [left.injection for left in journal.outstanding()] == ["three"]


def test_only_its_owner_can_read_it_and_no_repr_shows_its_secrets(path: Path) -> None:
    """Mode 0600 whatever the umask and whatever it was before; `repr` leaves the facts out."""
    path.touch(mode=0o644)
    before = os.umask(0)
    try:
        written(path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with Journal.open(path) as journal:
        assert "geheim" not in repr(journal.outstanding())


def test_a_record_is_on_the_disk_when_the_call_returns(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every line is synchronised after it was written, before anybody could act on it."""
    synchronised: list[bytes] = []
    monkeypatch.setattr(os, "fdatasync", lambda _: synchronised.append(path.read_bytes()))
    with Journal.open(path) as journal:
        journal.record("break", "one", {})
        assert len(synchronised) == 1
        assert synchronised[0].endswith(b"\n")
        journal.done("one")
    assert len(synchronised) == 2


@given(cut=st.integers(min_value=0))
def test_a_journal_that_was_cut_at_any_byte_can_be_read_and_continued(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    """What is left is what its whole lines say, and the next line is not glued to the half one."""
    path = tmp_path_factory.mktemp("cut") / "undo.jsonl"
    written(path)
    content = path.read_bytes()
    cut %= len(content) + 1
    path.write_bytes(content[:cut])
    whole = content[:cut].count(b"\n")
    expected = [set(), {"one"}, {"one", "two"}, {"one"}, {"one", "three"}][whole]
    with Journal.open(path) as journal:
        assert {left.injection for left in journal.outstanding()} == expected
        journal.record("break", "four", {})
    with Journal.open(path) as journal:
        assert {left.injection for left in journal.outstanding()} == {*expected, "four"}


@pytest.mark.parametrize(
    "line",
    [
        b"half a li\n",
        b'{"schema": "tocsin/undo/9", "entry": "undone", "injection": "one"}\n',
        b'{"schema": "tocsin/undo/1", "entry": "applying", "fault": "break", "injection": "x"}\n',
        b'{"schema": "tocsin/undo/1", "entry": "applying", "fault": "b", "injection": "x", "facts": {"port": 1}}\n',
        b"[]\n",
        b"\xff\xfe\n",
    ],
)
def test_a_broken_line_in_the_middle_is_told_with_its_number(path: Path, line: bytes) -> None:
    """No crash of ours leaves that: a fault may be in place that we cannot see, so nobody goes on silently."""
    written(path)
    path.write_bytes(path.read_bytes() + line)
    with pytest.raises(LedgerError, match=r"undo\.jsonl:5: ") as told:
        Journal.open(path)
    assert told.value.hint


def test_a_folder_that_is_not_there_is_a_ledger_error(tmp_path: Path) -> None:
    """Nothing of the operating system's own errors leaves the journal."""
    with pytest.raises(LedgerError, match="cannot be written"):
        Journal.open(tmp_path / "nowhere" / "undo.jsonl")


def test_a_full_disk_leaves_no_half_line(path: Path) -> None:
    """A write that was cut short is taken back: the error is told, and what was there stays readable."""
    with Journal.open(path) as journal:
        journal.record("break", "one", {})
        size = path.stat().st_size
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, limits[1]))
        try:
            with pytest.raises(LedgerError, match="cannot be written"):
                journal.record("break", "two", {})
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            signal.signal(signal.SIGXFSZ, handler)
        assert path.stat().st_size == size
        assert [left.injection for left in journal.outstanding()] == ["one"]
        journal.record("break", "three", {})
    with Journal.open(path) as journal:
        assert [left.injection for left in journal.outstanding()] == ["one", "three"]


async def test_replay_undoes_newest_first_and_only_once(path: Path) -> None:
    """Each fault gets its own facts; a second replay finds nothing."""
    written(path)
    fault = _Remembering()
    results = await replay(path, {"break": fault})
    assert results == [Replayed("break", "three", undone=True), Replayed("break", "one", undone=True)]
    assert fault.undone == [{"table": "posts\nand a line"}, FACTS]
    assert await replay(path, {"break": fault}) == []


async def test_replay_of_what_is_gone_already_says_so(path: Path) -> None:
    """A fault that finds nothing left to undo is done with, and not reported as undone."""
    written(path)
    results = await replay(path, {"break": _Remembering(left=False)})
    assert [(result.undone, result.error) for result in results] == [(False, ""), (False, "")]
    assert await replay(path, {"break": _Remembering()}) == []


async def test_replay_keeps_what_cannot_be_undone_for_the_next_time(path: Path) -> None:
    """The error is told; the next replay tries again."""
    written(path)
    failing, faults = _Remembering(fails=True), {"break": _Remembering()}
    results = await replay(path, {"break": failing})
    assert [result.error for result in results] == ["The database does not let us in"] * 2
    assert not any(result.undone for result in results)
    assert [result.undone for result in await replay(path, faults)] == [True, True]


async def test_replay_names_a_fault_that_it_does_not_know(path: Path) -> None:
    """A journal of another version: told, and kept."""
    written(path)
    results = await replay(path, {})
    assert [result.error for result in results] == ["there is no fault break"] * 2
    assert len(await replay(path, {"break": _Remembering()})) == 2


async def test_replay_without_a_journal_makes_none(path: Path) -> None:
    """No run died here: nothing is done and nothing is written."""
    assert await replay(path, {}) == []
    assert not path.exists()


WRITER = """
import os, signal, sys
from pathlib import Path
from harness.drive.journal import Journal
journal = Journal.open(Path(sys.argv[1]))
number = 0
while True:
    journal.record("break", f"injection-{number}", {"number": str(number) * 50})
    print(number, flush=True)
    number += 1
"""


def test_a_writer_that_is_killed_leaves_what_it_said_it_had_written(path: Path) -> None:
    """Killed (kill -9) in the middle of writing: every record that returned is there, and the journal can be read."""
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        said = [int(writer.stdout.readline()) for _ in range(20)]
        writer.kill()
        said += [int(line) for line in writer.stdout if line.endswith("\n")]
    with Journal.open(path) as journal:
        there = [left.injection for left in journal.outstanding()]
    assert there[: len(said)] == [f"injection-{number}" for number in said]
    assert len(there) - len(said) <= 1
    assert all(json.loads(line)["schema"] == "tocsin/undo/1" for line in path.read_text().splitlines())


async def test_facts_of_another_version_are_told_and_kept(path: Path) -> None:
    """A fault whose facts are not what it writes today cannot be taken back; that blocks no other one, nor the run."""

    class Strict(_Remembering):
        async def undo_from(self, facts: Mapping[str, str]) -> bool:
            return bool(facts["socket"])

    recorded(path, ("break", "A-1"), ("strict", "A-2"))
    faults = {"break": _Remembering(), "strict": Strict()}
    left, other = await replay(path, faults)
    assert other == Replayed("break", "A-1", True)
    assert (left.injection, left.undone) == ("A-2", False)
    assert "'socket'" in left.error


@pytest.mark.parametrize(
    ("fault", "sentence", "whole"),
    [
        (_Remembering(), "run-1 died with break of A-1 in place: it was taken back", True),
        (_Remembering(left=False), "run-1 died with break of A-1 in place: nothing of it was left", True),
        (_Remembering(fails=True), "could not be taken back; its sandbox is kept", False),
    ],
)
async def test_what_became_of_a_dead_runs_fault_is_a_sentence(
    fault: _Remembering, sentence: str, whole: bool, path: Path
) -> None:
    """Undone, nothing left to undo, or not undone: a person is told, and only the last keeps the sandbox."""
    recorded(path, ("break", "A-1"))
    back = await take_back("run-1", path, {"break": fault})
    assert back.whole is whole
    (told,) = back.told
    assert sentence in told


async def test_a_journal_that_cannot_be_read_keeps_its_sandbox(path: Path) -> None:
    """What is no journal may hide a fault: it is told, kept, and never an error of the run that finds it."""
    path.write_text("not a journal\n")
    back = await take_back("run-1", path, {})
    assert not back.whole
    assert "its sandbox is kept" in back.told[0]


async def test_a_sandbox_without_a_journal_is_whole(path: Path) -> None:
    """A run that died before its first fault left nothing in place, and there is nothing to tell."""
    assert await take_back("run-1", path, {}) == TakenBack((), True)


def recorded(path: Path, *faults: tuple[str, str]) -> None:
    """The journal of a run that died with these faults in place."""
    with Journal.open(path) as journal:
        for fault, injection in faults:
            journal.record(fault, injection, FACTS)
