"""Bad days, live: what breaks is named with what to do, the exit code is right, nothing is left, nobody sees green."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from ledgers import smoke
from live_run import PROJECT, LiveRun, Traces, judged, last_words, pause, remains, start

from harness.cli import main
from harness.drive.journal import Journal
from harness.model.events import ComponentExited
from harness.model.verdicts import Verdict
from harness.verdict.judge import judge

NO_NETWORK = ("unshare", "--user", "--map-root-user", "--net")
"""A network namespace of its own has no way out, and not even loopback."""
REFUSING = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
ORDINARY = ("setpriv", "--bounding-set=-dac_override,-dac_read_search", "--")
"""Root without the right to pass over permissions, as everybody else."""
SMALL_DISK = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c")
"""A mount namespace: what is mounted there goes with its last process."""
ON_A_SMALL_DISK = """
size="$1" disk="$2" kept="$3"; shift 3
mount -t tmpfs -o size="$size" tmpfs "$disk" || exit
"$@"; code=$?
cp -r "$disk"/. "$kept"; exit $code
"""


def works(*command: str) -> bool:
    """Whether this machine lets us run a command so."""
    return (
        shutil.which(command[0]) is not None
        and not subprocess.run(command, capture_output=True, check=False).returncode
    )


def changed(folder: Path, file: str, before: str, after: str) -> Path:
    """A copy of the policies with one change."""
    policies = folder / "policies"
    shutil.copytree(PROJECT / "policies", policies)
    (folder / "loadtests").symlink_to(PROJECT / "loadtests")
    text = (policies / file).read_text()
    assert before in text
    (policies / file).write_text(text.replace(before, after, 1))
    return policies


def borrowed(cache: Path, folder: Path) -> Path:
    """A cache of the test's own, whose artifacts are those of the ordinary one; to be damaged only after `own`."""
    mine = folder / "cache"
    (mine / "artifacts").mkdir(parents=True)
    for artifact in (cache / "artifacts").iterdir():
        (mine / "artifacts" / artifact.name).symlink_to(artifact)
    (mine / "templates").symlink_to(cache / "templates")
    return mine


def own(cache: Path, artifact: str) -> Path:
    """Makes one artifact of a borrowed cache a copy; its root."""
    link = cache / "artifacts" / artifact
    original = link.resolve()
    link.unlink()
    shutil.copytree(original, link, symlinks=True)
    return link / "root"


def ended(run: LiveRun, code: int, *sentences: str, verdict: str = "error") -> None:
    """A run that could not do its work ended in order: exit code, sentences, files, ledger, and nothing left."""
    with run:
        traces = run.traces()
        found = run.end(60)
        left = remains(run, traces)
        judgement = judged(run)
    assert found == code, run.stderr[-3000:]
    for sentence in sentences:
        assert sentence in run.stderr
    assert "Traceback" not in run.stderr
    assert left == []
    assert judgement is not None
    assert (judgement.verdict, judgement.exit_code) == (verdict, code)
    summary, junit = last_words(run)
    assert (summary["verdict"], summary["exit_code"]) == (verdict, code)
    assert "<testsuite" in junit


@pytest.mark.stack
@pytest.mark.usefixtures("artifacts")
class TestAtTheStart:
    """What keeps a run from beginning."""

    def test_a_component_that_dies_is_named_with_its_last_lines(self, tmp_path: Path) -> None:
        """A unit with a flag that its program does not know: exit 4, who it was, what it said, where its log is."""
        flag = "--web.listen-address=:9090"
        policies = changed(tmp_path, "units/prometheus.service", flag, f"{flag} --no-such-flag")
        run = start(tmp_path, policies=policies)
        ended(run, 4, "prometheus ended with code", "before it was ready", "  | ", "no-such-flag", "  hint: ")

    @pytest.mark.parametrize(
        ("place", "sentence"),
        [
            ('[layout.site("redis", lane.name).address for lane in layout.lanes]', "redis of lane lane-0"),
            ('[lane.addresses["mysql"] for lane in layout.lanes]', "cannot listen at"),
            ('[layout.site("alertmanager").address]', "alertmanager cannot listen at"),
        ],
        ids=["lanes", "relays", "shared"],
    )
    def test_a_port_that_a_stranger_took_is_told(self, place: str, sentence: str, tmp_path: Path) -> None:
        """A stranger at a port of every lane, or of what they share, before it is used: exit 4, by name."""
        script = INTRUDER.replace("PLACE", place)
        run = start(tmp_path, program=(sys.executable, "-c", script))
        ended(run, 4, sentence, "listens there", "  hint: ")

    def test_a_defect_of_ours_takes_the_stack_down_too(self, tmp_path: Path) -> None:
        """An exception that nobody foresaw, with the whole stack standing: exit 4, its place, nothing left running."""
        run = start(tmp_path, program=(sys.executable, "-c", DEFECT))
        with run:
            run.wait_for("component-ready")
            traces = run.traces()
            assert len(traces.processes) > 5, "the twin: there was something to leave behind"
            ended(
                run, 4, "this is a defect of tocsin, not of your monitoring: ZeroDivisionError", "in wait_first_scrape"
            )

    def test_what_dead_runs_left_is_taken_back_and_removed(self, tmp_path: Path, cache: Path) -> None:
        """Faults that dead runs left are undone before their sandboxes go; what cannot be is told and kept."""
        mine = borrowed(cache, tmp_path)
        for name in ("dead", "broken"):
            (mine / "sandboxes" / name).mkdir(parents=True)
        with Journal.open(mine / "sandboxes" / "dead" / "undo.jsonl") as journal:
            journal.record("database-refused", "DatabaseDown-1", {"host": "127.0.0.1", "port": "1"})
        (mine / "sandboxes" / "broken" / "undo.jsonl").write_text("not a journal\n")
        policies = changed(tmp_path, "units/redis.service", "--maxmemory 256mb", "--maxmemory nonsense")
        run = start(tmp_path, policies=policies, cache=mine)
        ended(
            run,
            4,
            "redis of lane lane-0",
            "dead died with database-refused of DatabaseDown-1 in place: nothing of it was left to take back",
            "the sandbox of dead, a run that died, is removed",
            "broken died, and what it left in place is not known; its sandbox is kept",
        )
        assert {path.name for path in (mine / "sandboxes").iterdir()} == {"broken", "broken.lock"}


DEFECT = """
import sys
import harness.cli as cli, harness.stack.stack as stack

async def wait_first_scrape(self, deadline_seconds=0.0):
    return 1 / 0

stack.Stack.wait_first_scrape = wait_first_scrape
raise SystemExit(cli.main(sys.argv[1:]))
"""

INTRUDER = """
import socket, sys
import harness.cli as cli, harness.rehearsal as rehearsal

chosen, kept = rehearsal.lay_out, []

def taken(*arguments, **named):
    layout = chosen(*arguments, **named)
    kept.extend(socket.create_server((address.host, address.port)) for address in PLACE)
    return layout

rehearsal.lay_out = taken
raise SystemExit(cli.main(sys.argv[1:]))
"""


BROKEN_LANE = """
import sys
from dataclasses import replace
import harness.cli as cli
from harness.stack.components.mariadb import MariaDB

launch = MariaDB.launch

def broken(self, site):
    made = launch(self, site)
    return replace(made, argv=(*made.argv, "--no-such-flag")) if site.lane == "lane-02" else made

MariaDB.launch = broken
raise SystemExit(cli.main(sys.argv[1:]))
"""


@pytest.mark.stack
@pytest.mark.nightly
@pytest.mark.usefixtures("artifacts")
class TestALane:
    """One lane of several does not come up."""

    def test_a_lane_whose_database_cannot_start_is_given_up(self, tmp_path: Path) -> None:
        """Named with its last lines; nothing of it stays or is told; the others are tried and judged; never green."""
        program = (sys.executable, "-c", BROKEN_LANE)
        run = start(tmp_path, "--only", "ServerDown", "--only", "CacheDown", "--seed", "3", program=program)
        with run:
            run.wait_for("stage-started")
            assert not [line for line in Path("/proc").glob("[0-9]*/cwd") if leads_into(line, run.id, ".lane-02")]
            traces = run.traces()
            code = run.end(300)
            left = remains(run, traces)
            judgement = judged(run)
        assert left == []
        assert code in {1, 3}, run.stderr[-3000:]
        assert judgement is not None
        lines = run.lines()
        assert lines[-1]["error"] == ""
        (gone,) = [line for line in lines if line["kind"] == "lane-retired"]
        assert (gone["lane"], gone["came_up"]) == ("lane-02", False)
        assert "no-such-flag" in str(gone["why"])
        planned = {line["injection"]["id"]: line["injection"]["lane"] for line in lines if line["kind"] == "planned"}  # type: ignore[index]
        untried = {line["injection"] for line in lines if line["kind"] == "injection-unverified"}
        assert untried >= {name for name, lane in planned.items() if lane == "lane-02"} != set()
        assert {line["lane"] for line in lines if line["kind"] == "fault-applying"} == {*planned.values()} - {"lane-02"}
        scraped = {line["lane"] for line in lines if line["kind"] == "scrapes-counted"}
        assert "lane-01" in scraped, "the twin: the census does count lanes"
        assert "lane-02" not in scraped
        assert not [line for line in lines if line["kind"] == "message-arrived" and "lane-02" in json.dumps(line)]
        (load,) = [line for line in lines if line["kind"] == "load-measured"]
        assert "lane-02" not in json.dumps(load)
        assert any(reason.startswith("lane-02 did not come up: mysql of lane") for reason in judgement.reasons)
        assert [one.as_expected for one in judgement.controls if one.name == "lost"] == [True]


def leads_into(link: Path, *words: str) -> bool:
    """Whether a link of the kernel's leads to a path with these words in it."""
    try:
        target = link.readlink()
    except OSError:
        return False
    return all(word in str(target) for word in words)


@pytest.mark.stack
@pytest.mark.usefixtures("artifacts")
class TestTheCache:
    """A cache that is damaged, empty or closed, and no network to help."""

    def test_a_truncated_program_is_found_before_it_is_started(self, tmp_path: Path, cache: Path) -> None:
        """It would be brought again; without a network that is exit 3, with the file that is damaged."""
        mine = borrowed(cache, tmp_path)
        program = own(mine, "alertmanager") / "bin/alertmanager"
        os.truncate(program, program.stat().st_size // 2)
        run = offline(tmp_path, mine)
        ended(run, 3, f"alertmanager is brought again: it is damaged: {program} has", "  hint: ", verdict="unverified")

    def test_a_program_with_other_bytes_dies_by_name(self, tmp_path: Path, cache: Path) -> None:
        """Same size, same time, other content: what a quick look cannot see ends the start, with its last lines."""
        mine = borrowed(cache, tmp_path)
        program = own(mine, "redis-exporter") / "usr/bin/prometheus-redis-exporter"
        before = program.stat()
        with program.open("r+b") as file:
            file.write(bytes(4096))
        os.utime(program, ns=(before.st_atime_ns, before.st_mtime_ns))
        run = start(tmp_path, cache=mine)
        ended(run, 4, "redis-exporter of lane lane-0", "before it was ready", "  | ", "  hint: ")

    def test_no_network_at_the_first_start(self, tmp_path: Path) -> None:
        """Nothing in the cache and no registry: exit 3 within seconds, what to do, and a red summary."""
        run = offline(tmp_path, tmp_path / "empty")
        ended(run, 3, "the registry cannot be reached", "  hint: connect this machine", verdict="unverified")
        assert run.lines()[-1]["wall_seconds"] < 20  # type: ignore[operator]
        assert not list((tmp_path / "empty").glob("work/*"))


def offline(folder: Path, cache: Path) -> LiveRun:
    """A run without a network: none at all where namespaces are open to us, else proxies that refuse."""
    if works(*NO_NETWORK, "true"):
        return start(folder, cache=cache, wrapper=NO_NETWORK, environment=dict.fromkeys(REFUSING, ""))
    return start(folder, cache=cache, environment=REFUSING)


@pytest.mark.stack
@pytest.mark.usefixtures("artifacts")
class TestTheRunsFolder:
    """A folder of runs that is full, closed or no folder."""

    @pytest.mark.parametrize("size", ["8k", "200k"], ids=["at once", "in the middle"])
    def test_a_full_disk_is_a_sentence(self, size: str, tmp_path: Path) -> None:
        """No room for the ledger: exit 4, what is full, what to do; what was written can be read; nothing runs on."""
        disk, kept = tmp_path / "disk", tmp_path / "kept"
        disk.mkdir()
        kept.mkdir()
        if not works(*SMALL_DISK, 'mount -t tmpfs tmpfs "$0"', str(disk)):
            pytest.skip("this machine lets us mount no small file system")
        run = start(tmp_path, out=disk, wrapper=(*SMALL_DISK, ON_A_SMALL_DISK, "sh", size, str(disk), str(kept)))
        with run:
            code = run.end(60)
            run.out = kept
            assert remains(run, Traces({}, frozenset())) == []
        assert code == 4, run.stderr[-3000:]
        assert "cannot be written" in run.stderr
        assert "No space left on device" in run.stderr or "bytes were taken" in run.stderr
        assert "  hint: make room" in run.stderr
        assert "Traceback" not in run.stderr
        judged(run)

    def test_a_folder_that_we_may_not_write_is_a_sentence(self, tmp_path: Path) -> None:
        """Runs in a folder of somebody else's: exit 2 before anything is started, with the folder and `--out`."""
        runs = tmp_path / "runs"
        runs.mkdir(mode=0o555)
        wrapper = ORDINARY if os.geteuid() == 0 else ()
        with start(tmp_path, out=runs, wrapper=wrapper) as run:
            assert run.end() == 2
        assert f"the folder of this run cannot be made at {runs}" in run.stderr
        assert "Permission denied" in run.stderr
        assert "hint: choose a folder of yours by --out" in run.stderr

    def test_a_file_in_its_place_is_a_sentence(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """`--out` names a file: exit 2."""
        (tmp_path / "runs").write_text("")
        code = main(["run", "--policies", str(PROJECT / "policies"), "--out", str(tmp_path / "runs")])
        assert (code, "cannot be made" in capsys.readouterr().err) == (2, True)


OWN_FILES = ("prometheus.yml", "alertmanager.yml", "drills.yaml", "targets.yaml", "stack.yaml")


class TestThePolicies:
    """Policies that cannot be run: exit 2, place, what to do, and no run."""

    @pytest.mark.parametrize(
        ("file", "before", "after", "sentence"),
        [
            ("drills.yaml", "alert: ServerDown", "alert: ServrDown", "ServerDown"),
            ("drills.yaml", "fault: server-killed", "fault: server-kiled", "server-killed"),
            ("drills.yaml", "drills:", "drills: [", "drills.yaml:"),
            ("alerts/availability.rules.yml", "- alert: ServerDown", "- alert: ServerGone", "ServerGone"),
            ("alertmanager.yml", "slack_configs", "pagerduty_configs", "alertmanager.yml:"),
            ("prometheus.yml", "rule_files", "rule_file", "prometheus.yml:"),
        ],
    )
    def test_a_mistake_is_told_with_its_place(
        self, file: str, before: str, after: str, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Every mistake is told with file, line and column before anything is started."""
        policies = changed(tmp_path, file, before, after)
        assert main(["run", "--policies", str(policies), "--out", str(tmp_path / "runs")]) == 2
        said = capsys.readouterr().err
        assert sentence in said
        assert re.search(r"\.ya?ml:\d+:\d+: error: ", said), said
        assert not (tmp_path / "runs").exists(), "no run was begun"

    @pytest.mark.parametrize(
        "file", ["prometheus.yml", "alertmanager.yml", "drills.yaml", "targets.yaml", "stack.yaml"]
    )
    def test_a_file_that_is_missing_is_named(
        self, file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Each of the folder's own files is needed."""
        policies = tmp_path / "policies"
        shutil.copytree(PROJECT / "policies", policies)
        (policies / file).unlink()
        assert main(["run", "--policies", str(policies), "--out", str(tmp_path / "runs")]) == 2
        assert file in capsys.readouterr().err

    def test_no_folder_and_an_empty_one(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """Nothing is there, or nothing is in it: exit 2, and how to name another."""
        for folder in (tmp_path / "nowhere", tmp_path):
            assert main(["run", "--policies", str(folder), "--out", str(tmp_path / "runs")]) == 2
            said = capsys.readouterr().err
            assert str(folder) in said
            assert "hint: name the folder with --policies DIR" in said

    def test_an_unknown_alert_is_answered_with_the_nearest(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """`--only` with a slip: exit 2 and "did you mean"."""
        arguments = ["--policies", str(PROJECT / "policies"), "--out", str(tmp_path / "runs"), "--only", "ServrDown"]
        assert main(["run", *arguments]) == 2
        said = capsys.readouterr().err
        assert "--only ServrDown: there is no such alert" in said
        assert "did you mean" in said
        assert "ServerDown" in said


def of_the_run(run: LiveRun, *words: str, lane: str = "") -> psutil.Process:
    """The process of a run whose command line has these words."""
    for one in psutil.Process(run.process.pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            command = " ".join(one.cmdline())
            if all(word in command for word in words) and lane in (one.cwd() if lane else ""):
                return one
    raise AssertionError(f"no process of the run has {words} in its command line")


VICTIMS: Mapping[str, tuple[tuple[str, ...], str]] = {
    "prometheus": (("--storage.tsdb.path",), ""),
    "alertmanager": (("--storage.path",), ""),
    "mysql": (("mariadbd",), "mysql.lane-01"),
}


@pytest.mark.stack
@pytest.mark.usefixtures("artifacts")
class TestInMidRun:
    """Somebody from outside kills what the run needs."""

    def test_a_component_is_named_and_restarted_and_the_load_ends_the_run(self, tmp_path: Path) -> None:
        """Components come back by their units' policy and are named; without load nothing can be judged: exit 4."""
        with start(tmp_path) as run:
            run.wait_until_it_stands()
            traces = run.traces()
            nobody_else_can_have(traces.ports)
            run.wait_for("stage-started")
            for words, lane in VICTIMS.values():
                of_the_run(run, *words, lane=lane).kill()
            gone = run.wait_for("component-exited", len(VICTIMS), where=lambda line: not line["expected"])
            assert {line["name"] for line in gone} >= set(VICTIMS)
            assert {line["code"] for line in gone} == {-signal.SIGKILL}
            run.wait_for("component-restarted", len(VICTIMS), where=lambda line: line["name"] in VICTIMS)
            of_the_run(run, "locust").kill()
            code = run.end()
            left = remains(run, traces)
            judgement = judged(run)
        assert left == []
        assert code == 4, run.stderr[-3000:]
        assert "tocsin: The load ended by itself with code -9" in run.stderr
        assert judgement is not None
        for name in ("prometheus", "alertmanager", "mysql in lane-01"):
            assert any(f"{name} ended by signal 9" in reason for reason in judgement.reasons), judgement.reasons

    @pytest.mark.nightly
    @pytest.mark.parametrize("victim", VICTIMS)
    def test_a_component_killed_from_outside_is_never_green(self, victim: str, tmp_path: Path) -> None:
        """The run goes on after one kill; whatever was heard, it is not green, and the victim is in the reasons."""
        words, lane = VICTIMS[victim]
        with start(tmp_path) as run:
            run.wait_for("injected", 3)
            pause(2)
            of_the_run(run, *words, lane=lane).kill()
            code = run.end(200)
            judgement = judged(run)
        assert code in {1, 3}, run.stderr[-3000:]
        assert judgement is not None
        assert any(f"{victim} " in reason and "ended by signal 9" in reason for reason in judgement.reasons)

    @pytest.mark.nightly
    def test_two_runs_at_the_same_time_do_not_disturb_each_other(self, tmp_path: Path) -> None:
        """Side by side they have ports, sandboxes and messages of their own; neither sweeps the other."""
        (tmp_path / "one").mkdir()
        (tmp_path / "two").mkdir()
        with start(tmp_path / "one", "--only", "ServerDown") as one, start(tmp_path / "two") as two:
            one.wait_for("stage-started")
            two.wait_for("stage-started")
            traces = one.traces(), two.traces()
            codes = one.end(300), two.end(300)
        assert not traces[0].ports & traces[1].ports
        for run, trace, code in zip((one, two), traces, codes, strict=True):
            assert code != 4, run.stderr[-3000:]
            assert run.lines()[-1]["error"] == ""
            assert not [line for line in run.lines() if line["kind"] == "component-exited" and not line["expected"]]
            assert remains(run, trace) == []
            summary, _ = last_words(run)
            assert summary["exit_code"] == code
            assert "nobody" not in json.dumps(summary["findings"])


def nobody_else_can_have(ports: Iterable[int]) -> None:
    """Every port that a run listens at refuses a second owner, one that shares addresses (SO_REUSEADDR) too."""
    assert ports
    for port in ports:
        for shares in (0, 1):
            with socket.socket() as intruder:
                intruder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, shares)
                with pytest.raises(OSError, match="in use"):
                    intruder.bind(("127.0.0.1", port))


def test_an_exit_that_nobody_planned_is_never_green() -> None:
    """A healthy ledger with one unexpected end of a component is unverified; an expected end changes nothing."""
    healthy = smoke()
    assert judge(healthy).verdict is Verdict.PASS
    for expected, verdict in ((True, Verdict.PASS), (False, Verdict.UNVERIFIED)):
        gone = ComponentExited("prometheus", None, -9, expected, ("level=info last words",))
        judgement = judge(smoke(extra=((2.0, gone),)))
        assert judgement.verdict is verdict
        assert any("prometheus ended by signal 9" in reason for reason in judgement.reasons) is not expected
