"""What happened in a run is in its ledger, whole, in order, and readable whatever became of the run."""

from __future__ import annotations

import errno
import json
import logging
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import fields
from itertools import pairwise
from pathlib import Path
from textwrap import dedent

import pytest

from harness.errors import LedgerError
from harness.model.events import ComponentExited, Event, HopSeen, InjectionClosed, PlanClosed, Progress, RunEnded
from harness.model.notifications import MessageArrived, Notification, RawMessage, Status
from harness.model.time import Instant, from_rfc3339
from harness.observe.codec import KINDS
from harness.observe.ledger import SCHEMA, Ledger, read
from harness.observe.redaction import REDACTED, Redactor

DOCUMENT = Path(__file__).parents[2] / "docs" / "ledger.md"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a ledger of the test is."""
    return tmp_path / "ledger.jsonl"


def some(path: Path, count: int = 3) -> list[Event]:
    """A closed ledger with this many notes."""
    with Ledger.create(path) as ledger:
        return [ledger.write(Progress(f"note {number}")) for number in range(1, count + 1)]


def hop(number: int = 1) -> HopSeen:
    """A hop, the commonest event."""
    return HopSeen(f"i-{number}", "ServerDown", "visible", 1_760_000_000.123, 'prometheus: up{environment="lane-1"}')


def test_what_was_written_is_read(path: Path) -> None:
    """Reading gives the very events that writing returned, in their order, and no half line."""
    with Ledger.create(path) as ledger:
        written = [
            ledger.write(hop()),
            ledger.write(PlanClosed(2, 30.5, {"ServerDown": 2})),
            ledger.write(ComponentExited("mysql", None, -9, True, ("two\nlines", "Übung 한국"))),
            ledger.write(RunEnded(1.5)),
        ]
    reading = read(path)
    assert list(reading) == written
    assert not reading.truncated
    assert [event.seq for event in written] == [1, 2, 3, 4]


def test_a_line_says_when_on_both_clocks(path: Path) -> None:
    """The wall clock is RFC 3339 in UTC with microseconds, the monotonic one seconds; the schema is told once."""
    before = Instant.now()
    some(path, 2)
    after = Instant.now()
    first, second = (json.loads(line) for line in path.read_text().splitlines())
    assert list(first) == ["schema", "seq", "wall", "monotonic", "kind", "text"]
    assert first["schema"] == SCHEMA == "tocsin/ledger/1"
    assert "schema" not in second
    assert first["wall"].endswith("Z")
    assert len(first["wall"]) == len("2026-11-23T10:00:00.123456Z")
    assert before.wall - 1e-5 <= from_rfc3339(first["wall"]) <= from_rfc3339(second["wall"]) <= after.wall + 1e-5
    assert before.monotonic - 1e-5 <= first["monotonic"] <= second["monotonic"] <= after.monotonic + 1e-5


def test_an_event_is_in_the_file_before_anybody_is_told(path: Path) -> None:
    """Whoever acts on an event can rely on its line; nothing waits in a buffer."""
    lines: list[int] = []
    with Ledger.create(path) as ledger:
        ledger.subscribe(lambda _: lines.append(len(path.read_bytes().splitlines())))
        for number in range(3):
            ledger.write(hop(number))
    assert lines == [1, 2, 3]


def test_a_listener_that_fails_costs_nothing_but_itself(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The line is written, the other listeners hear it, the failure is logged once."""
    heard: list[int] = []

    def broken(event: Event) -> None:
        raise BrokenPipeError(errno.EPIPE, "the terminal is gone")

    with Ledger.create(path) as ledger, caplog.at_level(logging.ERROR):
        ledger.subscribe(broken)
        ledger.subscribe(lambda event: heard.append(event.seq))
        ledger.write(hop())
        ledger.write(hop())
    assert heard == [1, 2]
    assert len(list(read(path))) == 2
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "event 1 (hop)" in caplog.text


def test_a_listener_may_write_and_everybody_hears_in_order(path: Path) -> None:
    """An event that answers an event comes after it, for every listener."""
    heard: list[tuple[int, str]] = []

    def answer(event: Event) -> None:
        if event.kind == "hop":
            ledger.write(Progress("seen"))

    with Ledger.create(path) as ledger:
        ledger.subscribe(answer)
        ledger.subscribe(lambda event: heard.append((event.seq, event.kind)))
        ledger.write(hop())
        ledger.write(InjectionClosed("i-1"))
    assert heard == [(1, "hop"), (2, "progress"), (3, "injection-closed")]


def test_a_ledger_is_never_written_over(path: Path) -> None:
    """Evidence is not replaced: a second run in the same folder is refused in a sentence."""
    some(path)
    before = path.read_bytes()
    with pytest.raises(LedgerError, match="exists already"):
        Ledger.create(path)
    assert path.read_bytes() == before


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    """A ledger that cannot be created is a harness error with the system's reason."""
    with pytest.raises(LedgerError, match="cannot be created") as caught:
        Ledger.create(tmp_path / "nowhere" / "ledger.jsonl")
    assert caught.value.seen == "No such file or directory"


def test_nothing_is_written_after_the_end(path: Path) -> None:
    """A write after close is an error with the kind of the event; closing twice is none."""
    with Ledger.create(path) as ledger:
        ledger.write(hop())
    ledger.close()
    with pytest.raises(LedgerError, match="is closed") as caught:
        ledger.write(InjectionClosed("i-1"))
    assert caught.value.seen == "an event of kind injection-closed"
    assert len(list(read(path))) == 1


def test_a_full_disk_is_a_sentence_and_leaves_whole_lines(path: Path) -> None:
    """Where the disk takes only a part of a line it is taken back: what is there stays a ledger, and room mends it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    blocked = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with Ledger.create(path) as ledger:
        ledger.write(hop())
        size = path.stat().st_size
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, hard))
            with pytest.raises(LedgerError, match="cannot be written") as half:
                ledger.write(hop())
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
            with pytest.raises(LedgerError, match="cannot be written") as none:
                ledger.write(hop())
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            signal.signal(signal.SIGXFSZ, blocked)
        assert "only 20 of" in str(half.value)
        assert "File too large" in str(none.value)
        assert [event.seq for event in read(path)] == [1]
        assert ledger.write(RunEnded(1.0, "the disk was full")).seq == 2
    assert [event.kind for event in read(path)] == ["hop", "run-ended"]


def test_what_decides_survives_the_machine(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The closed plan and the end are forced to the disk, ordinary events are not."""
    synced: list[int] = []
    real = os.fsync

    def spy(descriptor: int) -> None:
        synced.append(path.read_bytes().count(b"\n"))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", spy)
    with Ledger.create(path) as ledger:
        ledger.write(hop())
        ledger.write(PlanClosed(1, 1.0, {}))
        ledger.write(hop())
        ledger.write(RunEnded(1.0))
    assert synced == [2, 4, 4]


@pytest.mark.parametrize("half", [b"{", b'{"seq":4,"wall":"2026', b'{"seq":4}'[:-1], b"\x00\x00", b'"\xc3'])
def test_a_half_line_at_the_end_is_tolerated_and_told(path: Path, half: bytes) -> None:
    """A run that was killed while it wrote has a readable ledger that says so."""
    written = some(path)
    with path.open("ab") as file:
        file.write(half)
    reading = read(path)
    assert list(reading) == written
    assert reading.truncated


def test_every_cut_of_a_ledger_is_a_ledger(path: Path, tmp_path: Path) -> None:
    """Wherever the last write was cut, all whole lines are read and nothing else is made up."""
    written = some(path, 2)
    content = path.read_bytes()
    first = content.index(b"\n") + 1
    cut = tmp_path / "cut.jsonl"
    for length in range(first, len(content) + 1):
        cut.write_bytes(content[:length])
        reading = read(cut)
        whole = length >= len(content) - 1  # only the newline is missing: nothing of the event is
        assert list(reading) == (written if whole else written[:1])
        assert reading.truncated == (not whole and length > first)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda lines: [lines[0], b"oops\n", lines[2]], ":2: a line that is no JSON"),
        (lambda lines: [lines[0], lines[1][:20] + b"\n", lines[2]], ":2: a line that is no JSON"),
        (lambda lines: [*lines, b"{\n"], ":4: a line that is no JSON"),
        (lambda lines: [lines[0], b"\n", *lines[1:]], ":2: a line that is no JSON"),
        (lambda lines: [lines[0], lines[2]], ":2: seq 3 where 2 must stand"),
        (lambda lines: [lines[0], lines[0], *lines[1:]], ":2: seq 1 where 2 must stand"),
        (lambda lines: [lines[0], b"[]\n", lines[2]], ":2: a line that is no object"),
        (lambda lines: [lines[0], b'{"seq":2}\n', lines[2]], ":2: a line without wall, monotonic or kind"),
        (lambda lines: [lines[0], lines[1].replace(b"text", b"txt"), lines[2]], ":2: an event of kind progress"),
        (lambda lines: [lines[0], lines[1].replace(b"Z", b"z!"), lines[2]], ":2: an event of kind progress"),
    ],
)
def test_anything_else_that_is_broken_is_an_error_with_its_line(
    path: Path, change: Callable[[list[bytes]], list[bytes]], complaint: str
) -> None:
    """Evidence that was changed, cut in the middle or put together anew is refused where it is wrong."""
    some(path)
    path.write_bytes(b"".join(change(path.read_bytes().splitlines(keepends=True))))
    with pytest.raises(LedgerError) as caught:
        list(read(path))
    assert f"{path}{complaint}" in caught.value.what
    assert caught.value.hint


@pytest.mark.parametrize(
    ("first", "seen"),
    [
        (b'{"schema":"tocsin/ledger/2","seq":1}\n', "the schema tocsin/ledger/2"),
        (b'{"seq":1,"kind":"progress"}\n', "a first line without a schema"),
    ],
)
def test_another_schema_is_not_guessed_at(path: Path, first: bytes, seen: str) -> None:
    """A ledger of another version is refused and the reader is told how to read it."""
    path.write_bytes(first)
    with pytest.raises(LedgerError, match="not a ledger that this version can read") as caught:
        list(read(path))
    assert caught.value.seen == seen


@pytest.mark.parametrize("content", [b"", b'{"schema":"toc'])
def test_a_ledger_without_a_line_is_no_evidence(path: Path, content: bytes) -> None:
    """A run that died before its first line is not read as a run in which nothing happened."""
    path.write_bytes(content)
    with pytest.raises(LedgerError, match="is empty"):
        list(read(path))


def test_a_missing_ledger_is_told(tmp_path: Path) -> None:
    """A path that is no ledger gives a sentence, not an OSError."""
    with pytest.raises(LedgerError, match="cannot be read") as caught:
        list(read(tmp_path))
    assert caught.value.seen == "Is a directory"


def test_a_running_ledger_can_be_read(path: Path) -> None:
    """Who looks in the middle of a run sees all that happened until then."""
    with Ledger.create(path) as ledger:
        ledger.write(hop())
        assert [event.kind for event in read(path)] == ["hop"]
        ledger.write(RunEnded(1.0))


def test_other_families_of_hops_pass_through(path: Path) -> None:
    """A log record's hops are written and read without the ledger knowing their names."""
    with Ledger.create(path) as ledger:
        written = ledger.write(HopSeen("run/1/7", "access.log", "searchable", 5.0, "opensearch", family="record"))
    assert list(read(path)) == [written]


def test_kinds_of_a_later_version_keep_their_fields(path: Path) -> None:
    """What this version does not know is carried, not dropped, so that a report can count it."""
    some(path, 1)
    line = {
        "seq": 2,
        "wall": "2026-11-23T10:00:00.000001Z",
        "monotonic": 7,
        "kind": "page-loaded",
        "seconds": 1.5,
        "who": {},
    }
    with path.open("a") as file:
        file.write(json.dumps(line) + "\n")
    event = list(read(path))[1]
    assert event == Event(2, 1795428000.000001, 7.0, "page-loaded", None, {"seconds": 1.5, "who": {}})


def test_no_secret_is_written_nor_told(path: Path) -> None:
    """Listeners and readers get the same redacted event; the file does not hold the secret in any spelling."""
    heard: list[Event] = []
    with Ledger.create(path, Redactor(['sec"ret'])) as ledger:
        ledger.subscribe(heard.append)
        ledger.redactor.learn(["lane-password"])
        envelope = {"Authorization": "Opaque xyzzy", "path": "/services/T1/B2/xyzzy"}
        body = 'it is sec"ret, http://u:xyzzy@host/ and lane-password'
        raw = RawMessage("m-1", "slack", "team", Instant(1.0, 2.0), envelope, body)
        read_as = Notification("m-1", "slack", "team", Instant(1.0, 2.0), Status.FIRING, "t", "x", {})
        returned = ledger.write(MessageArrived(raw, read_as))
    content = path.read_text()
    assert "xyzzy" not in content
    assert "lane-password" not in content
    assert 'sec\\"ret' not in content
    assert [returned] == heard == list(read(path))
    assert isinstance(returned.payload, MessageArrived)
    assert returned.payload.raw.body == f"it is {REDACTED}, http://{REDACTED}@host/ and {REDACTED}"


def test_broken_unicode_of_a_message_is_kept(path: Path) -> None:
    """A body that was no valid UTF-8 is written with escapes and comes back as it was."""
    with Ledger.create(path) as ledger:
        written = ledger.write(Progress("caf\udce9 한"))
    assert list(read(path)) == [written]


def test_a_kill_at_any_moment_leaves_a_readable_ledger(path: Path) -> None:
    """A kill -9 in the middle of thousands of writes: every line but perhaps the last is whole and in sequence."""
    program = dedent(
        f"""
        from pathlib import Path
        from harness.model.events import Progress
        from harness.observe.ledger import Ledger
        ledger = Ledger.create(Path({str(path)!r}))
        while True:
            event = ledger.write(Progress("x" * 3000))
            if event.seq == 200:
                print("on", flush=True)
        """
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "on\n"
        writer.kill()
    events = list(read(path))
    assert len(events) >= 200
    assert all(after.seq == before.seq + 1 for before, after in pairwise(events))


def test_each_line_is_one_write(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel is handed a line whole, so no other process ever sees a half of it while the writer lives."""
    writes: list[bytes] = []
    real = os.write

    def spy(descriptor: int, data: bytes) -> int:
        if threading.current_thread() is threading.main_thread() and data.endswith(b"\n"):
            writes.append(data)
        return real(descriptor, data)

    monkeypatch.setattr(os, "write", spy)
    some(path, 3)
    assert writes == path.read_bytes().splitlines(keepends=True)


def test_the_example_of_the_documentation_is_a_ledger(path: Path) -> None:
    """What docs/ledger.md shows can be read, ends like a run, and holds what its text says of it."""
    example = DOCUMENT.read_text().split("```jsonl\n")[1].split("```")[0]
    path.write_text(example)
    events = list(read(path))
    assert events[0].kind == "run-started"
    assert events[-1].kind == "run-ended"
    assert all(event.payload is not None for event in events)
    assert {"planned", "plan-closed", "injected", "hop", "alert-received", "message-arrived"} <= {
        e.kind for e in events
    }


def test_the_documentation_lists_every_kind_with_its_fields() -> None:
    """A new event, or a new field, is in the table of docs/ledger.md before it is in a ledger."""
    rows = [line.split("|")[1:4] for line in DOCUMENT.read_text().splitlines() if line.startswith("| `")]
    told = {kind.strip(" `"): [name.strip(" `") for name in names.split(",")] for kind, names, _ in rows}
    assert told == {kind: [field.name for field in fields(payload)] for kind, payload in KINDS.items()}
