"""The pytest plugin behind `pytest slo/`: one stack and one schedule a session, judged test by test.

The run takes place once, between collection and the first test, so that its progress is seen live and that the
alerts selected by `-k` are the only ones that are drilled. What a test then asks is answered from the run's ledger.

Fixtures: `slo` (the judged run), `cell` (an alert at one of its channels; a test with both runs once for every cell
of the policies).
"""

from __future__ import annotations

import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.errors import HarnessError, UsageError
from harness.model.plan import Profile
from harness.model.verdicts import CellStatus, Outcome, Verdict

if TYPE_CHECKING:
    from harness.model.verdicts import TargetVerdict
    from harness.report.recorded import Recorded

_CELLS = pytest.StashKey["tuple[CellName, ...]"]()
_REFUSED = pytest.StashKey[HarnessError]()
_RECORDED = pytest.StashKey["Recorded"]()
_BROKEN = pytest.StashKey[HarnessError]()

_NOT_SPLIT = UsageError(
    "pytest slo/ runs one stack and one schedule for all its tests and cannot be split over workers",
    hint="leave out -n (pytest-xdist); the faults run side by side in lanes already",
)


@dataclass(frozen=True, slots=True)
class CellName:
    """An alert at one of the channels that its priority demands."""

    alert: str
    channel: str

    def __str__(self) -> str:
        """`Alert-channel`, which `-k` selects by."""
        return f"{self.alert}-{self.channel}"


def pytest_addoption(parser: pytest.Parser) -> None:
    """The same choices as `tocsin run` has."""
    group = parser.getgroup("tocsin", "the live run behind pytest slo/")
    group.addoption("--policies", metavar="DIR", help="the policies folder (default: policies below the rootdir)")
    group.addoption(
        "--slo-profile",
        default=Profile.GATE.value,
        choices=[profile.value for profile in Profile],
        help="how much is tried: each priority once, every alert with a bound, every fault (default: gate)",
    )
    group.addoption("--slo-seed", type=int, default=None, metavar="N", help="fixes every random instant of the run")
    group.addoption("--slo-out", metavar="DIR", help="folder of the runs (default: runs below the rootdir)")


def _folder(config: pytest.Config, option: str, default: str) -> Path:
    """A folder that somebody named where pytest was called, or the default of the project."""
    named = config.getoption(option)
    return config.rootpath / default if named is None else config.invocation_params.dir / str(named)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that asks for `cell` of `slo` runs once for every required cell of the policies."""
    if {"cell", "slo"} <= set(metafunc.fixturenames):
        metafunc.parametrize("cell", _cells(metafunc.config), ids=str)


def _cells(config: pytest.Config) -> tuple[CellName, ...]:
    """Every required cell; policies that are refused give none, and the session is refused after collection."""
    if _CELLS not in config.stash:
        from harness.run import load_policies

        config.stash[_CELLS] = ()
        try:
            policies = load_policies(_folder(config, "--policies", "policies")).policies
        except HarnessError as error:
            config.stash[_REFUSED] = error
        else:
            config.stash[_CELLS] = tuple(
                CellName(drill.alert, channel) for drill in policies.drills for channel in policies.channels_of(drill)
            )
    return config.stash[_CELLS]


def pytest_collection_modifyitems(config: pytest.Config) -> None:
    """Policies that cannot be run are wrong usage: a sentence with every finding, and no test at all.

    Raises:
        pytest.UsageError: the policies were refused. pytest would show it as a traceback were it raised any earlier.
    """
    if _REFUSED in config.stash:
        raise pytest.UsageError(str(config.stash[_REFUSED]))


def _needs_run(item: pytest.Item) -> bool:
    return "slo" in getattr(item, "fixturenames", ())


def _selected_alerts(session: pytest.Session) -> tuple[str, ...]:
    """The alerts that the selected tests are about; empty means all of them."""
    selected: set[str] = set()
    for item in filter(_needs_run, session.items):
        cell = item.callspec.params.get("cell") if hasattr(item, "callspec") else None
        if not isinstance(cell, CellName):
            return ()
        selected.add(cell.alert)
    return tuple(sorted(selected))


def _is_to_run(session: pytest.Session) -> bool:
    """Whether tests are about to be carried out, and one of them asks for the run."""
    option = session.config.option
    only_looked_at = option.collectonly or getattr(option, "setupplan", False)
    stopped = session.testsfailed and not option.continue_on_collection_errors
    return not only_looked_at and not stopped and any(map(_needs_run, session.items))


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> None:
    """Runs the schedule once, before the first test, where any selected test needs it.

    Raises:
        pytest.UsageError: the session cannot be run as it was asked for.
    """
    config = session.config
    if not _is_to_run(session):
        return
    if hasattr(config, "workerinput"):
        # A worker cannot end the session: its tests say why there was no run.
        config.stash[_BROKEN] = _NOT_SPLIT
        return
    if getattr(config.option, "numprocesses", None):
        raise pytest.UsageError(str(_NOT_SPLIT))
    try:
        config.stash[_RECORDED] = _carry_out(session)
    except UsageError as error:
        raise pytest.UsageError(str(error)) from None
    except HarnessError as error:
        config.stash[_BROKEN] = error


def _carry_out(session: pytest.Session) -> Recorded:
    from harness.cli import cache_folder
    from harness.report.live import LiveProgress
    from harness.report.recorded import read_run
    from harness.run import Options, execute

    config = session.config
    options = Options(
        policies=_folder(config, "--policies", "policies"),
        cache=cache_folder(),
        out=_folder(config, "--slo-out", "runs"),
        profile=str(config.getoption("--slo-profile")),
        only=_selected_alerts(session),
        seed=config.getoption("--slo-seed"),
    )
    reporter = config.pluginmanager.getplugin("terminalreporter")
    if reporter is not None:
        reporter.flush()  # what pytest has said until now stands before what the run says
    # pytest captures what tests say; here, before the first of them, standard error is the real one.
    with LiveProgress(sys.stderr) as progress:
        return read_run(execute(options, progress.show, progress.say))


class JudgedRun:
    """The run as the tests of `slo/` question it; what does not hold fails the test with the trail of every hop."""

    def __init__(self, recorded: Recorded) -> None:
        self.recorded = recorded

    def heard(self, cell: CellName) -> None:
        """The alert reached the channel in every trial, in time, with the right content, and its end did too."""
        for alert in self.recorded.judgement.alerts:
            for found in alert.cells:
                if (alert.alert, found.channel) == (cell.alert, cell.channel):
                    if found.status is CellStatus.FLAKY and self.recorded.profile != Profile.SMOKE:
                        # One failure among many injections is what the targets allow: shown by name, not red by itself.
                        warnings.warn(f"{cell.alert} at {cell.channel} is flaky: {found.complaints}", stacklevel=2)
                    elif found.status is not CellStatus.HEARD:
                        lines = [f"{cell.alert} at {cell.channel}: {found.status}", *self._trails(cell)]
                        pytest.fail("\n".join(lines), pytrace=False)
                    return
        if self.recorded.profile == Profile.SMOKE:
            pytest.skip(f"{cell.alert} is not part of a smoke run, which drills each priority once")
        pytest.fail(f"{cell.alert} at {cell.channel} was never planned: nothing is known of it", pytrace=False)

    def target(self, name: str) -> None:
        """The success target holds; one that is set aside or that this profile cannot judge is shown as skipped."""
        found = next((row for row in self.recorded.judgement.targets if row.id == name), None)
        if found is None:
            pytest.fail(f"no target is called {name!r}: targets.yaml does not have it", pytrace=False)
        if found.excluded:
            pytest.skip(f"set aside in targets.yaml: {found.excluded}")
        if found.verdict is Verdict.INCONCLUSIVE and self.recorded.profile == Profile.SMOKE:
            pytest.skip(f"inconclusive: {found.claim}")
        if found.verdict is not Verdict.PASS:
            pytest.fail(_sentence(found), pytrace=False)

    def control(self, name: str) -> None:
        """The negative control went red, as it must; otherwise nothing that this run says can be trusted."""
        found = next((row for row in self.recorded.judgement.controls if row.name == name), None)
        if found is None:
            pytest.fail(f"the negative control {name!r} was not run: this run proves nothing", pytrace=False)
        if not found.as_expected:
            pytest.fail(
                f"the negative control {name!r} did not fail as it was meant to ({found.trials} trials, judged "
                f"{found.verdict}): this run proves nothing",
                pytrace=False,
            )

    def quiet(self) -> None:
        """Nobody heard what they should not: no other alert, no wrong channel, no end before the end."""
        unexpected = [
            f"{row.injection} ({row.alert}): {line}"
            for row in self.recorded.judgement.injections
            for line in row.unexpected
        ]
        if unexpected:
            pytest.fail("\n".join(["messages that nobody should have had:", *unexpected]), pytrace=False)

    def verdict(self) -> None:
        """The run as a whole is green; its reasons are shown where it is not."""
        judgement = self.recorded.judgement
        if judgement.verdict is not Verdict.PASS:
            pytest.fail("\n".join([judgement.headline, *judgement.reasons]), pytrace=False)

    def _trails(self, cell: CellName) -> list[str]:
        """Hop by hop every trial of a cell that was not heard, and what the guilty component wrote last."""
        from harness.report.recorded import guilty_output
        from harness.report.timeline import trail

        told: list[str] = []
        output: dict[tuple[str, ...], None] = {}
        for injection in self.recorded.judgement.injections:
            if injection.alert != cell.alert or injection.control:
                continue
            for trial in injection.trials:
                if trial.channel == cell.channel and trial.outcome is not Outcome.HEARD:
                    told += trail(trial, self.recorded.planned.get(injection.injection))
                    # Trials that end at the same component have the same last lines: shown once.
                    output[guilty_output(self.recorded, injection, trial)] = None
        if self.recorded.judgement.verdict is Verdict.ERROR:
            told.append(self.recorded.judgement.headline)
        return [*told, *(line for lines in output for line in lines)]


def _sentence(target: TargetVerdict) -> str:
    observed = "nothing observed" if target.observed is None else f"observed {target.observed:.3g}"
    return f"{target.id}: {target.verdict}; target {target.target:g} {target.unit}, {observed}, {target.claim}"


@pytest.fixture(scope="session")
def slo(pytestconfig: pytest.Config) -> JudgedRun:
    """The run of this session, judged."""
    broken = pytestconfig.stash.get(_BROKEN, None)
    if broken is not None:
        pytest.fail(str(broken), pytrace=False)
    recorded = pytestconfig.stash.get(_RECORDED, None)
    if recorded is None:
        pytest.fail("no run took place: a test asks for `slo` in its own arguments, or none is made", pytrace=False)
    return JudgedRun(recorded)


@pytest.fixture
def cell(request: pytest.FixtureRequest) -> CellName:
    """The cell that this test is about; given by `pytest_generate_tests`."""
    name: CellName = request.param
    return name


def _hidden(config: pytest.Config, exitstatus: int) -> bool:
    """Whether a run that is not green would be hidden by a selection of tests that all passed or were skipped."""
    if exitstatus != pytest.ExitCode.OK:
        return False
    recorded = config.stash.get(_RECORDED, None)
    return _BROKEN in config.stash or (recorded is not None and recorded.judgement.verdict is not Verdict.PASS)


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, exitstatus: int, config: pytest.Config) -> None:
    """The run's own summary after pytest's: cells, controls, targets, headline, and where the files are."""
    recorded = config.stash.get(_RECORDED, None)
    if recorded is None:
        return
    from harness.report.registry import render

    terminalreporter.section("tocsin")
    terminalreporter.write(render("terminal", recorded, colour=terminalreporter.hasmarkup))
    terminalreporter.write_line(f"files of this run: {recorded.folder}")
    if _hidden(config, exitstatus):
        terminalreporter.write_line(
            "every selected test passed or was skipped, the run did not pass: exit code 1", red=True
        )


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """A session is green only where its run is: no selection of tests may hide a red verdict."""
    if _hidden(session.config, exitstatus):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
