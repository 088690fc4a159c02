"""Progress while the run goes on: plain lines without a terminal, a live last line with one; never the run's end."""

from __future__ import annotations

import io
import re
from datetime import timedelta
from typing import get_args

import pytest
from ledgers import EPOCH, injection, message, numbered, post, smoke, targets

from harness.model.audit import Fates, RecordsAudited, RecordsNotAudited
from harness.model.collection import CensusTaken, ChangeNotPlanted, ChangePlanted, ChangeSeen, ScrapesCounted
from harness.model.episodes import (
    EpisodeBegan,
    EpisodeEnded,
    EpisodeLeftOut,
    EpisodePlan,
    EpisodePlanned,
    EpisodeProven,
    Promise,
)
from harness.model.events import (
    ComponentExited,
    ComponentReady,
    ComponentRestarted,
    DrillDeclared,
    Event,
    FaultApplying,
    FindingNoted,
    Healed,
    HopSeen,
    HopsRead,
    Injected,
    InjectionClosed,
    InjectionPlanned,
    InjectionUnverified,
    LaneRetired,
    LoadMeasured,
    PathDisturbed,
    PathRestored,
    Payload,
    PlanClosed,
    Progress,
    Rewired,
    RunEnded,
    RunStarted,
    StageEnded,
    StagePlanned,
    StageStarted,
    Starved,
    TargetDeclared,
)
from harness.model.findings import Finding, Severity
from harness.model.keeping import RestoreDrilled, RetentionProbed, StoresDeclared, StoreToKeep
from harness.model.notifications import MessageInterfered, SinkRefused
from harness.model.plan import Control, Stage
from harness.model.scenes import SceneDid, SceneEnded, SceneLeftOut, ScenePlan, ScenePlanned, SceneStarted
from harness.model.searching import ArchiveTried, SearchTried, TailTried
from harness.model.series import SeriesCompared
from harness.model.source import Span
from harness.model.stack import ComponentReport, Difference
from harness.report.live import LiveProgress

REPORT = ComponentReport("mysql", "10.11.14", "process", "apt", 0.41)
STAGE = Stage("alerts", 0.5, timedelta(seconds=60))
EPISODE = EpisodePlan(
    "episode-storm", "storm", "Much.", "real", ("system",), timedelta(0), timedelta(seconds=2), Promise()
)
SCENE = ScenePlan("grouped", "Two at once.", "lane-01", ("ExporterDown",), (), timedelta(seconds=20))
FINDING = Finding("drill/none", Severity.WARNING, Span("f", 1, 1, 1, 1), "s")
NAMED = "server-killed in lane-01 for ServerDown"

SHOWN: list[tuple[Payload, str]] = [
    (
        RunStarted("r1", "0.1.0", "smoke", 7, 2, "abc", "process", 1.0, "policies", 2),
        "run r1: profile smoke, seed 7, attempt 2 on this commit",
    ),
    (ComponentReady(REPORT, "lane-01", "x.log"), "ready  mysql in lane-01 (10.11.14) after 0.41 s"),
    (ComponentReady(REPORT, None, "x.log"), "ready  mysql (10.11.14) after 0.41 s"),
    (ComponentExited("mysql", "lane-01", -9, False), "DIED   mysql in lane-01 with exit code -9"),
    (ComponentExited("mysql", "lane-01", -9, True), ""),
    (ComponentRestarted("redis", None, 1.2), "BACK   redis, restarted by its own unit after 1.2 s"),
    (PlanClosed(8, 54.2, {}), "plan   8 injections, critical path 54 s"),
    (Progress("starting the stack"), "starting the stack"),
    (StageEnded("alerts", "out of time"), "CUT    stage alerts: out of time"),
    (StageEnded("alerts"), ""),
    (Injected("ServerDown-1", 1.0, 2.0, "connection refused"), f"fault  {NAMED}: connection refused"),
    (Injected("unheard-of", 1.0, 2.0, "refused"), "fault  unheard-of: refused"),
    (Healed("ServerDown-1", 1.0, 2.0, "connected"), f"healed {NAMED}: connected"),
    (
        PathDisturbed("ServerDown-1", "receiver-erroring", 1.0, "500"),
        f"path   {NAMED}, although receiver-erroring: 500",
    ),
    (
        PathRestored("ServerDown-1", "receiver-erroring", 1.0, "ok"),
        f"path   {NAMED}, receiver-erroring is over: ok",
    ),
    (InjectionUnverified("ServerDown-1", "no effect"), f"UNVERIFIED {NAMED}: no effect"),
    (HopsRead("ServerDown-1", "timed out"), f"UNREAD hops of {NAMED}: timed out"),
    (HopsRead("ServerDown-1"), ""),
    (message("ServerDown", "lane-01", "slack", EPOCH), "heard  slack: [FIRING] ServerDown (lane-01)"),
    (message("ServerDown", "lane-01", "slack", EPOCH, title="\x1b[31mred\x07\nline\r"), "heard  slack:  [31mred  line"),
    (
        MessageInterfered("slack", "lost", "lane-04"),
        "control lost: a message to slack of lane-04 was spoilt on purpose",
    ),
    (LaneRetired("lane-02", "not healed"), "RETIRED lane-02: not healed"),
    (SinkRefused("email", "no TLS"), "REFUSED by email: no TLS"),
    (Starved("loop-lag", 1.0, 2.0, 0.51, 0.2), "STARVED loop-lag 0.51 (limit 0.2)"),
    (RunEnded(60.0, "prometheus died\n  hint: read its log", 4), "ENDED  prometheus died"),
    (RunEnded(60.0), ""),
    (TargetDeclared(targets()[0]), ""),
    (DrillDeclared("ServerDown", "critical", "server-killed", "real", ("email",), "critical"), ""),
    (FindingNoted(FINDING), ""),
    (Rewired(Difference("f", "p", "a", "b", "w")), ""),
    (StagePlanned(STAGE), ""),
    (StageStarted("alerts"), ""),
    (InjectionPlanned(injection("ServerDown", 2, "lane-01")), ""),
    (FaultApplying("ServerDown-1", "server-killed", "lane-01"), ""),
    (InjectionClosed("ServerDown-1"), ""),
    (HopSeen("ServerDown-1", "ServerDown", "visible", 1.0, "prometheus"), ""),
    (post("ServerDown", "lane-01", EPOCH), ""),
    (LoadMeasured(1, 0, 0.1, 0.1, 0.1), ""),
    (ScrapesCounted("mysql", "127.0.0.1:1", "lane-01", 2.0, EPOCH, 9, 9, 9, (), 2.0), ""),
    (CensusTaken(EPOCH, EPOCH + 20, 1), ""),
    (ChangePlanted("change-001", "lane-01", EPOCH, "redis_db_keys", 1.0), ""),
    (ChangeSeen("change-001", 1.2), ""),
    (ChangeNotPlanted("change-002", "lane-01", EPOCH, "refused"), ""),
    (
        RecordsAudited("application", "OpenSearch 2.19.5", Fates(100, in_time=97, duplicate=1, lost=2)),
        "audit  application: 98 of 100 found in time, 2 lost",
    ),
    (StoresDeclared((StoreToKeep("mysql", "mariadb", ages=False),)), ""),
    (
        RetentionProbed("prometheus", "prometheus", keeps="--storage.tsdb.retention.time=90d", unit="block"),
        "kept  prometheus: its oldest data was asked for (--storage.tsdb.retention.time=90d)",
    ),
    (RetentionProbed("prometheus", "prometheus", error="died\n  seen: x"), "kept  prometheus not probed: died"),
    (
        RestoreDrilled("mysql", "mariadb", 500, 1_048_576, 0.6, 4.01),
        "restored  mysql in 4.0 s: 500 records, 1.0 MiB",
    ),
    (
        RestoreDrilled("mysql", "mariadb", 500, 1_048_576, 0.6, 4.01, missing=2),
        "restored  mysql in 4.0 s: 500 records, 1.0 MiB, 2 missing, 0 changed, 0 foreign",
    ),
    (RestoreDrilled("mysql", "mariadb", error="died\n  seen: x"), "restored  mysql not drilled: died"),
    (RecordsNotAudited("nobody answered\n  seen: x", "error"), "audit  error not audited: nobody answered"),
    (EpisodePlanned(EPISODE), ""),
    (EpisodeLeftOut("long-line", "it is for the night"), ""),
    (EpisodeBegan("episode-storm", "storm"), "record  storm begins"),
    (EpisodeProven("episode-storm", EPOCH, "much"), "record  episode-storm is in place: much"),
    (EpisodeEnded("episode-storm"), "record  episode-storm is over"),
    (EpisodeEnded("episode-storm", "no\n  seen: x"), "record  episode-storm is over: no"),
    (SearchTried("errors", 5, 6, untold=1), "search  errors: 6 found, 5 expected"),
    (
        SearchTried("errors", 5, 5, missing=1, foreign=1, ordered=False),
        "search  errors: 5 found, 5 expected, 1 missing, 1 foreign, not the newest first",
    ),
    (SearchTried("errors", error="died\n  seen: x"), "search  errors not tried: died"),
    (
        ArchiveTried("i-1", "archived-i-1", 9, {"a": 4}, {"a": 3}, archive_seconds=0.51, restore_seconds=1.0),
        "archive  i-1: 9 records put away in 0.5 s, back in 1.0 s; searches found 4 before and 3 after",
    ),
    (ArchiveTried(error="died\n  seen: x"), "archive  not tried: died"),
    (
        TailTried("level=ERROR", 5, 4, missing=1, delay_p50_seconds=0.5, delay_max_seconds=1.25),
        "tail  level=ERROR: 4 of 5 delivered, 0 twice, 0 foreign; delay p50, max 0.50, 1.25 s",
    ),
    (TailTried("all", error="died\n  seen: x"), "tail  all not tried: died"),
    (
        SeriesCompared("metrics", series=250, expected=9, found=7, missing=1, differing=1),
        "series  metrics: 7 of 9 samples of 250 series found, 1 missing, 1 differing",
    ),
    (SeriesCompared("metrics", error="died\n  seen: x"), "series  metrics not compared: died"),
    (ScenePlanned(SCENE), ""),
    (SceneLeftOut("repeated", "no drill"), ""),
    (SceneStarted("grouped", "lane-01"), "scene  grouped begins in lane-01"),
    (SceneDid("grouped", "down", EPOCH, "both are down"), "scene  grouped, down: both are down"),
    (SceneEnded("grouped"), "scene  grouped is over"),
    (SceneEnded("grouped", "not quiet"), "scene  grouped is over: not quiet"),
]


class Terminal(io.StringIO):
    """A stream that says it is a terminal; `screen` is what stands there in the end, as a terminal would show it."""

    def isatty(self) -> bool:
        """Says so."""
        return True

    @property
    def screen(self) -> list[str]:
        """The lines after every carriage return has been obeyed."""
        return [_obeyed(line) for line in self.getvalue().split("\n")]

    @property
    def last(self) -> str:
        """The line that the cursor is in."""
        return _obeyed(self.getvalue().rpartition("\n")[2])


def _obeyed(line: str) -> str:
    shown: list[str] = []
    for piece in line.split("\r"):
        shown[: len(piece)] = piece
    return "".join(shown).rstrip()


def told(payload: Payload, stream: io.StringIO | None = None) -> str:
    """What an event prints, without the seconds before it."""
    stream = stream or io.StringIO()
    progress = LiveProgress(stream)
    for event in numbered([(EPOCH, InjectionPlanned(injection("ServerDown", 1, "lane-01"))), (EPOCH, payload)]):
        progress.show(event)
    return re.sub(r"^ +\d+\.\d s  ", "", stream.getvalue()).removesuffix("\n").rstrip()


@pytest.mark.parametrize(("payload", "line"), SHOWN, ids=lambda value: getattr(value, "kind", ""))
def test_what_is_shown(payload: Payload, line: str) -> None:
    """One line where a person wants to know, nothing otherwise; what other programs wrote moves no cursor."""
    assert told(payload) == line


def test_every_kind_of_event_is_decided_upon() -> None:
    """A new kind of event is shown or silent because somebody said so here."""
    assert {type(payload) for payload, _ in SHOWN} == set(get_args(Payload))


def test_plain_lines_without_a_terminal() -> None:
    """In CI: stamped lines, each whole, no carriage return and no escape code."""
    stream = io.StringIO()
    with LiveProgress(stream) as progress:
        for event in smoke():
            progress.show(event)
    lines = stream.getvalue().splitlines()
    assert len(lines) > 30
    assert all(re.fullmatch(r" {0,3}\s*\d+\.\d s  \S.*", line) for line in lines)
    assert not set("\r\x1b") & set(stream.getvalue())


@pytest.mark.parametrize("environment", [{}, {"NO_COLOR": "1"}, {"TERM": "dumb"}, {"COLUMNS": "40"}])
def test_on_a_terminal_the_last_line_tells_what_is_under_way(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]
) -> None:
    """Lanes and faults that are open, how much is done; one line, never wrapped, without any escape code."""
    monkeypatch.setenv("COLUMNS", "200")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    width = int(environment.get("COLUMNS", "200"))
    stream = Terminal()
    with LiveProgress(stream) as progress:
        for event in smoke():
            progress.show(event)
            assert len(stream.last) < width
            if isinstance(event.payload, FaultApplying) and width == 200:
                assert f"{event.payload.lane}: {event.payload.fault}" in stream.last
        assert stream.last.strip() == "8/8 done"
        progress.say("two\nlines")
        assert stream.screen[-3:] == ["tocsin: two", "lines", "        8/8 done"]
    assert stream.last == ""
    assert "\x1b" not in stream.getvalue()


def test_nothing_is_written_where_nothing_changes() -> None:
    """Hops and messages on their way come by the hundred: the live line is not drawn again for each of them."""
    stream = Terminal()
    progress = LiveProgress(stream)
    hop = HopSeen("ServerDown-1", "ServerDown", "visible", 1.0, "prometheus")
    for event in numbered([(EPOCH, InjectionPlanned(injection("ServerDown", 1, "lane-01"))), (EPOCH, hop)]):
        progress.show(event)
    before = stream.getvalue()
    progress.show(Event(3, EPOCH, 0.0, hop.kind, hop))
    assert stream.getvalue() == before != ""


def test_lines_are_the_same_with_and_without_a_terminal() -> None:
    """The live line leaves nothing behind in what was printed above it."""
    terminal, plain = Terminal(), io.StringIO()
    for stream in (terminal, plain):
        with LiveProgress(stream) as progress:
            for event in smoke():
                progress.show(event)
    shown = [re.sub(r"^ +\d+\.\d s", "", line) for line in terminal.screen]
    assert shown == [re.sub(r"^ +\d+\.\d s", "", line).rstrip() for line in plain.getvalue().split("\n")]


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()])
def test_an_event_that_nobody_knows_does_no_harm(stream: io.StringIO) -> None:
    """A later version's kind, and events of injections that were never planned."""
    progress = LiveProgress(stream)
    progress.show(Event(1, EPOCH, 0.0, "of-tomorrow", None, {"what": "ever"}))
    for payload in (FaultApplying("x", "y", "lane-09"), InjectionClosed("x"), Healed("x", 1.0, 2.0, "well")):
        progress.show(Event(2, EPOCH, 0.0, payload.kind, payload))
    assert "healed x: well" in stream.getvalue()


def test_letters_that_the_stream_does_not_have_are_replaced() -> None:
    """An old locale costs a letter, not the line."""
    raw = io.BytesIO()
    progress = LiveProgress(io.TextIOWrapper(raw, encoding="ascii"))
    progress.show(Event(1, EPOCH, 0.0, "progress", Progress("smoke — done")))
    progress.show(Event(2, EPOCH, 0.0, "progress", Progress("half a pair \ud83d")))
    assert raw.getvalue().decode().splitlines()[0].endswith("smoke ? done")


class Broken(io.StringIO):
    """A pipe whose reader went away; counts how often it was written to."""

    tries = 0

    def write(self, _: str) -> int:
        """Refuses."""
        self.tries += 1
        raise BrokenPipeError


def test_a_reader_that_went_away_ends_the_show_alone() -> None:
    """Nothing is raised into the run, and nobody tries again for every event."""
    stream = Broken()
    with LiveProgress(stream) as progress:
        for event in smoke():
            progress.show(event)
        progress.say("still here")
    assert stream.tries == 1


@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_a_closed_stream_ends_the_show_alone(when: str) -> None:
    """The same for a stream that was closed, before the run or while it goes on."""
    stream = Terminal()
    if when == "before":
        stream.close()
    with LiveProgress(stream) as progress:
        progress.show(smoke()[0])
        stream.close()
        for event in smoke():
            progress.show(event)
        progress.say("still here")


def test_a_control_is_called_one() -> None:
    """Who watches is not frightened by an alert that is lost on purpose."""
    planned = injection("ServerDown", 1, "lane-04", control=Control.LOST)
    stream = io.StringIO()
    progress = LiveProgress(stream)
    lines: list[tuple[float, Payload]] = [
        (EPOCH, InjectionPlanned(planned)),
        (EPOCH, Injected(planned.id, 1.0, 2.0, "gone")),
    ]
    for event in numbered(lines):
        progress.show(event)
    assert "server-killed in lane-04 for ServerDown [control: lost]: gone" in stream.getvalue()
