"""`pytest slo/` over runs that never took place: what is run, what is shown, and what can never be green.

The suites in `slo/` are the shipped ones; `harness.run.execute` is replaced by one that leaves a synthetic ledger.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import yaml
from ledgers import CHANNELS, Play, smoke, targets
from recorded_runs import write_run

from harness.errors import HarnessError, LedgerError, UsageError
from harness.model.events import Event, TargetDeclared
from harness.model.hops import Hop
from harness.policy.parse.targets import TARGET_IDS
from harness.report import registry
from harness.run import Options
from harness.verdict import statistics

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[1]
EVERY_CELL = {
    f"{alert}-{channel}" for alert in ("ServerDown", "DatabaseUnreachable", "HighErrorRatio") for channel in CHANNELS
}
DRILLS = (
    ("ServerDown", "critical", "server-killed"),
    ("DatabaseUnreachable", "critical", "database-refused"),
    ("HighErrorRatio", "high", "posts-table-missing"),
)
PLUGIN = 'pytest_plugins = ["harness.pytest_plugin"]\n'
LOG = "".join(f"line {number} of alertmanager\n" for number in range(1, 21))


# pytester forgets every module that a session inside it was the first to import, and numpy cannot be imported twice.
assert registry.FORMS
assert statistics.upper_bound(1, 2) < 1


def ledger(plays: Mapping[str, Play] | None = None, error: str = "") -> tuple[Event, ...]:
    """A whole run over the nine targets of the plan; what the synthetic ledger does not have is set aside."""
    known = {target.id: target for target in targets()}
    more = [replace(known["retention"], id=name) for name in TARGET_IDS if name not in known]
    return smoke(plays, error=error, extra=[(-9.0, TargetDeclared(target)) for target in more])


@dataclass
class Execution:
    """Stands in for `harness.run.execute`: shows a ledger's events and leaves its folder, or could not."""

    events: Sequence[Event]
    error: HarnessError | None = None
    logs: Mapping[str, str] = field(default_factory=lambda: {"alertmanager.log": LOG})
    calls: list[Options] = field(default_factory=list)

    def __call__(self, options: Options, show: Callable[[Event], None], say: Callable[[str], None]) -> Path:
        """Takes what `execute` takes."""
        self.calls.append(options)
        say("fetching nothing")
        for event in self.events:
            show(event)
        if self.error is not None:
            raise self.error
        return write_run(options.out / "r1", self.events, self.logs)


@dataclass
class Project:
    """A folder with `slo/` and policies, in which pytest is called."""

    pytester: pytest.Pytester
    monkeypatch: pytest.MonkeyPatch

    def run(self, execution: Execution, *arguments: str, folder: str = "slo") -> pytest.RunResult:
        """Calls pytest over `slo/`, with that run behind it."""
        self.monkeypatch.setattr("harness.run.execute", execution)
        return self.pytester.runpytest_inprocess(folder, "-p", "no:cacheprovider", "--assert=plain", *arguments)


@pytest.fixture(scope="module")
def policies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped policies, with the names, drills and channels of the synthetic ledger."""
    root = tmp_path_factory.mktemp("project") / "policies"
    shutil.copytree(ROOT / "policies", root)
    for path in filter(Path.is_file, root.rglob("*")):
        path.write_text(path.read_text().replace("DatabaseDown", "DatabaseUnreachable"))
    (root / "conditions.yaml").unlink(missing_ok=True)
    drills = yaml.safe_load((root / "drills.yaml").read_text())
    alerts = [one["alert"] for one in (*drills["drills"], *drills["not_drilled"])]
    promise = {"channels": [*CHANNELS], "deadline": "30s"}
    whole = {
        "priorities": dict.fromkeys(("critical", "high", "medium", "low"), promise),
        "drills": [{"alert": alert, "priority": priority, "fault": fault} for alert, priority, fault in DRILLS],
        "not_drilled": [
            {"alert": alert, "why": "The synthetic ledger does not know it."}
            for alert in alerts
            if alert not in {name for name, _, _ in DRILLS}
        ],
    }
    (root / "drills.yaml").write_text(yaml.safe_dump(whole))
    return root


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, policies: Path) -> Project:
    """A project as a user has it."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # others' plugins have no part in this, and take time
    pytester.makeconftest(PLUGIN)
    pytester.makeini("[pytest]\n")
    shutil.copytree(ROOT / "slo", pytester.path / "slo", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(policies, pytester.path / "policies")
    return Project(pytester, monkeypatch)


def outcomes(result: pytest.RunResult, word: str) -> set[str]:
    """Names of the tests that ended so, as `-rA` tells them, without their files."""
    return {line.split("::")[1].split(" - ")[0] for line in result.outlines if line.startswith(f"{word} slo/")}


def test_a_healthy_run_is_one_run_for_all_tests(project: Project) -> None:
    """One stack and one schedule a session: every cell passes, and what smoke does not claim is skipped."""
    execution = Execution(ledger())
    result = project.run(execution, "-rA")
    assert result.ret == pytest.ExitCode.OK
    assert len(execution.calls) == 1
    assert execution.calls[0].only == ()
    assert {f"test_alert_is_heard[{cell}]" for cell in EVERY_CELL} <= outcomes(result, "PASSED")
    assert outcomes(result, "FAILED") == set()


def test_options_reach_the_run(project: Project, policies: Path) -> None:
    """Folders are those that were named, seen from where pytest was called; the seed is the one that was asked for."""
    execution = Execution(ledger())
    project.run(execution, "--policies", str(policies), "--slo-out", "elsewhere", "--slo-seed", "7", "-k", "ServerDown")
    asked = execution.calls[0]
    assert (asked.policies, asked.out, asked.seed) == (policies, project.pytester.path / "elsewhere", 7)


@pytest.mark.parametrize(
    ("select", "only"),
    [
        ("ServerDown", ("ServerDown",)),
        ("slack and not HighErrorRatio", ("DatabaseUnreachable", "ServerDown")),
        ("ServerDown or delivered_at_least", ()),
        ("lost", ()),
    ],
)
def test_a_selection_of_cells_restricts_what_is_drilled(project: Project, select: str, only: tuple[str, ...]) -> None:
    """`-k ServerDown` drills that alert alone; a target or a control is about all of them."""
    execution = Execution(ledger())
    project.run(execution, "-k", select)
    assert [options.only for options in execution.calls] == [only]


def test_a_test_that_is_parametrized_by_something_else_is_about_all_alerts(project: Project) -> None:
    """Only a cell says which alert a test is about."""
    project.pytester.makepyfile(
        **{"slo/test_more": "import pytest\n@pytest.mark.parametrize('n', [1])\ndef test_more(slo, n): slo.quiet()\n"}
    )
    execution = Execution(ledger())
    project.run(execution, "-k", "ServerDown or more")
    assert [options.only for options in execution.calls] == [()]


def test_an_argument_called_cell_is_nobodys_business_without_the_run(project: Project) -> None:
    """The plugin is loaded for other suites too: their own `cell` stays theirs, and starts nothing."""
    own = "import pytest\n@pytest.mark.parametrize('cell', [1, 2])\ndef test_own(cell): assert cell\n"
    project.pytester.makepyfile(**{"tests/test_own": own})
    execution = Execution(ledger())
    result = project.run(execution, folder="tests")
    result.assert_outcomes(passed=2)
    assert execution.calls == []


def test_progress_is_seen_while_the_run_goes_on(project: Project) -> None:
    """Though pytest captures output, a line is read by somebody else before the run is over: the run waits for that."""
    project.pytester.makeconftest(
        PLUGIN
        + """
import time
from pathlib import Path
import harness.run
from harness.errors import LedgerError
from ledgers import smoke

def execute(options, show, say):
    show(smoke()[0])
    deadline = time.monotonic() + 60
    while not Path("seen").exists():
        assert time.monotonic() < deadline, "nobody saw the progress"
        time.sleep(0.01)
    raise LedgerError("the run was over after it had been seen")

harness.run.execute = execute
"""
    )
    with subprocess.Popen(
        [sys.executable, "-m", "pytest", "slo", "-k", "ServerDown", "-p", "no:cacheprovider"],
        cwd=project.pytester.path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "tests")))},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        assert process.stdout is not None
        watch = threading.Timer(120, process.kill)
        watch.start()
        for line in process.stderr:
            if "run r1: profile smoke, seed 7" in line:
                (project.pytester.path / "seen").touch()
        told = process.stdout.read()
        watch.cancel()
    assert "the run was over after it had been seen" in told
    assert process.returncode == pytest.ExitCode.TESTS_FAILED


def test_a_cell_that_is_not_heard_fails_its_own_test_and_shows_the_trail(project: Project) -> None:
    """The hops that were reached, the next part to blame, and the last lines of the component that is guilty."""
    result = project.run(Execution(ledger({"ServerDown": Play(deaf=("slack",))})), "-rA")
    assert outcomes(result, "FAILED") == {"test_alert_is_heard[ServerDown-slack]", "test_the_run_as_a_whole_is_green"}
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [
            "ServerDown at slack: broken",
            "ServerDown at slack, injection ServerDown-1 (server-killed in lane-01): lost",
            "  received*+3.905 s",
            "*next to blame: alertmanager (route, receiver) or the channel",
            "ServerDown at slack, injection ServerDown-2*",
            "last lines of alertmanager (logs/alertmanager.log):",
            "line 13 of alertmanager",
            "line 20 of alertmanager",
        ],
        consecutive=False,
    )
    told = result.stdout.str()
    assert "line 12 of alertmanager" not in told
    # The short summary, which pytest prints whole where CI is set, says it again: only the failure itself counts.
    failure = told.partition("= FAILURES =")[2].partition("= PASSES =")[0]
    assert failure.count("line 20 of alertmanager") == 1, "two trials end at the same log: it is shown once"


def test_targets_without_a_verdict_are_skipped_with_their_reason(project: Project) -> None:
    """What targets.yaml sets aside, and what a smoke run cannot judge; never a silent pass."""
    result = project.run(Execution(ledger()), "-rs")
    result.stdout.fnmatch_lines_random(
        [
            "SKIPPED*set aside in targets.yaml: no store is drilled yet",
            "SKIPPED*inconclusive: *a smoke run claims no rate*",
        ]
    )
    passed = project.run(Execution(ledger()), "-rA", "-k", "kept_90_days or delivered_at_least", "--slo-out", "b")
    passed.assert_outcomes(skipped=2, deselected=17)


def test_a_target_that_the_policies_do_not_have_fails(project: Project) -> None:
    """A suite that asks for a target which nobody declared does not pass."""
    result = project.run(Execution(smoke()), "-k", "dashboards")
    result.assert_outcomes(failed=1, deselected=18)
    result.stdout.fnmatch_lines(["no target is called 'dashboard-load': targets.yaml does not have it"])


def test_a_control_that_passes_fails_its_test(project: Project) -> None:
    """A judge that calls a lost alert heard proves nothing."""
    played = {"control-lost-1": Play(also_at=("email", "slack"))}
    result = project.run(Execution(ledger(played)), "-k", "is_called")
    result.assert_outcomes(passed=1, failed=1, deselected=17)
    result.stdout.fnmatch_lines(["the negative control 'lost' did not fail as it was meant to*proves nothing"])


def test_a_message_that_nobody_should_have_had_fails(project: Project) -> None:
    """An alert at a channel that its priority does not name."""
    result = project.run(Execution(ledger({"ServerDown-1": Play(also_at=("sms",))})), "-k", "hears")
    result.assert_outcomes(failed=1, deselected=18)
    result.stdout.fnmatch_lines(["messages that nobody should have had:", "ServerDown-1 (ServerDown): *sms*"])


def test_a_run_that_could_not_work_is_red_everywhere(project: Project) -> None:
    """A harness error is in every cell's test and in the summary; nothing passes for want of evidence."""
    result = project.run(Execution(ledger(error="prometheus did not become ready")[:30]), "-rA", "-k", "is_heard")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert outcomes(result, "PASSED") == set()
    assert len(outcomes(result, "FAILED")) == len(EVERY_CELL)


def test_an_error_of_ours_is_told_in_the_cells_that_it_leaves_without_evidence(project: Project) -> None:
    """The test of a cell says why there is nothing: the sentence of the harness error."""
    events = ledger({"ServerDown": Play(mute="the run ended first")}, error="prometheus did not become ready")
    result = project.run(Execution(events), "-k", "ServerDown-email")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["ServerDown at email: unverified", "  the run ended first", "*did not become ready*"])


def test_an_error_that_leaves_no_run_fails_every_test_with_its_sentence(project: Project) -> None:
    """Where not even a ledger could be written there is nothing to judge, and no traceback."""
    execution = Execution(ledger()[:1], LedgerError("the ledger cannot be written", hint="make room"))
    result = project.run(execution)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert result.parseoutcomes() == {"errors": 19}
    told = result.stdout.str()
    assert "the ledger cannot be written\n  hint: make room" in told
    assert "Traceback" not in told


def test_wrong_usage_is_a_sentence_and_ends_the_session(project: Project) -> None:
    """What the run refuses before it begins is pytest's usage error."""
    result = project.run(Execution((), UsageError("no alert is called 'X'", hint="did you mean 'Y'?")))
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: no alert is called 'X'", "  hint: did you mean 'Y'?"])
    assert "Traceback" not in result.stdout.str() + result.stderr.str()


@pytest.mark.parametrize("arguments", [[], ["--collect-only"], ["--continue-on-collection-errors"]])
def test_policies_that_cannot_be_run_are_a_sentence(project: Project, arguments: list[str]) -> None:
    """Every finding with its place, no traceback, and nothing is started."""
    drills = project.pytester.path / "policies" / "drills.yaml"
    drills.write_text(drills.read_text().replace("alert: ServerDown", "alert: SrverDown"))
    execution = Execution(ledger())
    result = project.run(execution, *arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert execution.calls == []
    result.stderr.fnmatch_lines(["ERROR: the policies in * cannot be run: *", "*drills.yaml:*:*: error: *SrverDown*"])
    assert "Traceback" not in result.stdout.str() + result.stderr.str()


def test_policies_that_are_not_there_are_a_sentence(project: Project) -> None:
    """The folder is named."""
    result = project.run(Execution(ledger()), "--policies", "nowhere")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: *nowhere*"])


@pytest.mark.parametrize("select", ["kept_90_days", "ServerDown"])
def test_no_selection_of_tests_hides_a_red_run(project: Project, select: str) -> None:
    """Where all selected tests pass or are skipped and the run did not pass, pytest does not either, and says so."""
    red = Execution(ledger({"HighErrorRatio": Play(deaf=CHANNELS)}))
    result = project.run(red, "-k", select)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert "failed" not in result.parseoutcomes()
    result.stdout.fnmatch_lines(["every selected test passed or was skipped, the run did not pass: exit code 1"])


def test_the_session_of_a_green_run_stays_green(project: Project) -> None:
    """The twin: the same selection over a run that passed."""
    result = project.run(Execution(ledger()), "-k", "ServerDown")
    assert result.ret == pytest.ExitCode.OK
    assert "exit code 1" not in result.stdout.str()


def test_workers_are_refused(project: Project) -> None:
    """pytest-xdist would start one stack a worker: a sentence, and nothing is started."""
    project.pytester.makeconftest(f"{PLUGIN}\ndef pytest_configure(config): config.option.numprocesses = 2\n")
    execution = Execution(ledger())
    result = project.run(execution)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert execution.calls == []
    result.stderr.fnmatch_lines(["ERROR: *cannot be split over workers", "  hint: leave out -n*"])


def test_a_worker_says_so_in_every_test(project: Project) -> None:
    """The coordinating process of pytest-xdist sees no tests, so that its workers have to refuse."""
    project.pytester.makeconftest(f"{PLUGIN}\ndef pytest_configure(config): config.workerinput = {{}}\n")
    execution = Execution(ledger())
    result = project.run(execution, "-k", "ServerDown")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert execution.calls == []
    assert result.parseoutcomes()["errors"] == 2
    assert "cannot be split over workers" in result.stdout.str()


@pytest.mark.parametrize("option", ["--collect-only", "--setup-plan"])
def test_who_only_looks_starts_nothing(project: Project, option: str) -> None:
    """A list of the tests costs no run."""
    execution = Execution(ledger())
    result = project.run(execution, option)
    assert (result.ret, execution.calls) == (pytest.ExitCode.OK, [])


def test_nothing_is_started_where_a_suite_cannot_be_read(project: Project) -> None:
    """A minute of drills is not spent on a session that ends before its first test."""
    project.pytester.makepyfile(**{"slo/test_broken": "import there_is_no_such_module\n"})
    execution = Execution(ledger())
    result = project.run(execution)
    assert (result.ret, execution.calls) == (pytest.ExitCode.INTERRUPTED, [])


def test_no_tests_is_not_green(project: Project) -> None:
    """A selection that selects nothing: pytest's own exit code 5, and no run."""
    execution = Execution(ledger())
    result = project.run(execution, "-k", "nothing_is_called_so")
    assert (result.ret, execution.calls) == (pytest.ExitCode.NO_TESTS_COLLECTED, [])


def test_a_suite_that_asks_for_the_run_too_late_is_told_so(project: Project) -> None:
    """A fixture that is fetched from inside a test cannot start a run; it does not pass either."""
    project.pytester.makepyfile(**{"slo/test_late": "def test_late(request): request.getfixturevalue('slo')\n"})
    result = project.run(Execution(ledger()), "-k", "test_late")
    result.assert_outcomes(failed=1, deselected=19)
    result.stdout.fnmatch_lines(["*no run took place*"])


def test_the_summary_ends_with_headline_and_folder(project: Project) -> None:
    """After pytest's own lines: the tables, one honest headline, where the files are; no escape code in a pipe."""
    result = project.run(Execution(ledger()))
    result.stdout.fnmatch_lines(
        ["*= tocsin =*", "smoke: PASS*", f"files of this run: {project.pytester.path}/runs/r1"], consecutive=False
    )
    assert "\x1b" not in result.stdout.str() + result.stderr.str()
    result.stderr.fnmatch_lines(["tocsin: fetching nothing", "*run r1: profile smoke*"])


@pytest.mark.parametrize("missing", ["no:capture", "no:terminal"])
def test_it_works_without_pytests_own_plugins(project: Project, missing: str) -> None:
    """Neither capture nor the terminal reporter has to be there."""
    execution = Execution(ledger())
    result = project.run(execution, "-p", missing)
    assert (result.ret, len(execution.calls)) == (pytest.ExitCode.OK, 1)


def test_pytests_own_junit_has_every_test(project: Project) -> None:
    """`--junitxml` tells the trail as the message of the failure."""
    project.run(Execution(ledger({"ServerDown": Play(reaches=Hop.FIRING)})), "--junitxml", "out.xml")
    root = ET.parse(project.pytester.path / "out.xml").getroot()  # noqa: S314 - we have just written it
    suite = root.find("testsuite")
    assert suite is not None
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("19", "3", "0")
    failures = [failure.get("message") or "" for failure in root.iter("failure")]
    assert any("next to blame: prometheus (sending to Alertmanager)" in message for message in failures)
