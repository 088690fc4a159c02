"""The pytest plugin behind `pytest slo/`: one stack and one schedule a session, judged test by test.

The run takes place once, between collection and the first test, so that its progress is seen live and that the
alerts selected by `-k` are the only ones that are drilled. What a test then asks is answered from the run's ledger.

Fixtures: `slo` (the judged run), `cell` (an alert at one of its channels; a test with it runs once for every cell of
the policies).
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.errors import HarnessError
from harness.model.verdicts import CellStatus, Verdict

if TYPE_CHECKING:
    from harness.model.verdicts import TargetVerdict
    from harness.report.recorded import Recorded

_RECORDED = pytest.StashKey["Recorded"]()
_BROKEN = pytest.StashKey[HarnessError]()


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
    group.addoption("--policies", default="policies", metavar="DIR", help="the policies folder (default: policies)")
    group.addoption("--slo-profile", default="smoke", choices=("smoke",), help="how much is tried (default: smoke)")
    group.addoption("--slo-seed", type=int, default=None, metavar="N", help="fixes every random instant of the run")
    group.addoption("--slo-out", default="runs", metavar="DIR", help="folder of the runs (default: runs)")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that asks for `cell` runs once for every required cell of the policies."""
    if "cell" not in metafunc.fixturenames:
        return
    from harness.run import load_policies

    try:
        policies = load_policies(_folder(metafunc.config)).policies
    except HarnessError as error:
        raise pytest.UsageError(str(error)) from error
    cells = [
        CellName(drill.alert, channel)
        for drill in policies.drills
        for channel in policies.priorities[drill.priority].channels
    ]
    metafunc.parametrize("cell", cells, ids=str)


def _folder(config: pytest.Config) -> Path:
    return config.rootpath / str(config.getoption("--policies"))


def _needs_run(item: pytest.Item) -> bool:
    return "slo" in getattr(item, "fixturenames", ())


def _selected_alerts(session: pytest.Session) -> tuple[str, ...]:
    """The alerts that the selected tests are about; empty means all of them."""
    needing = [item for item in session.items if _needs_run(item)]
    cells = [item.callspec.params.get("cell") for item in needing if hasattr(item, "callspec")]
    named = {cell.alert for cell in cells if isinstance(cell, CellName)}
    only_cells = len(cells) == len(needing)
    return tuple(sorted(named)) if only_cells else ()


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> None:
    """Runs the schedule once, before the first test, where any selected test needs it."""
    config = session.config
    if config.option.collectonly or not any(map(_needs_run, session.items)):
        return
    if hasattr(config, "workerinput") or getattr(config.option, "numprocesses", None):
        raise pytest.UsageError(
            "pytest slo/ runs one stack and one schedule for all its tests and cannot be split over workers: "
            "leave out -n (pytest-xdist); the faults already run side by side in lanes"
        )
    from harness.cli import cache_folder
    from harness.report.live import LiveProgress
    from harness.report.recorded import read_run
    from harness.run import Options, execute

    options = Options(
        policies=_folder(config),
        cache=cache_folder(),
        out=config.rootpath / str(config.getoption("--slo-out")),
        profile=str(config.getoption("--slo-profile")),
        only=_selected_alerts(session),
        seed=config.getoption("--slo-seed"),
    )
    capture = config.pluginmanager.getplugin("capturemanager")
    reporter = config.pluginmanager.getplugin("terminalreporter")
    with capture.global_and_fixture_disabled(), LiveProgress(sys.stderr) as progress:
        try:
            folder = execute(options, progress.show, lambda text: reporter.write_line(f"tocsin: {text}"))
            config.stash[_RECORDED] = read_run(folder)
        except HarnessError as error:
            config.stash[_BROKEN] = error


class JudgedRun:
    """The run as the tests of `slo/` question it; what does not hold fails the test with the trail of every hop."""

    def __init__(self, recorded: Recorded) -> None:
        self.recorded = recorded

    def heard(self, cell: CellName) -> None:
        """The alert reached the channel in every trial, in time, with the right content, and its end did too."""
        for alert in self.recorded.judgement.alerts:
            for found in alert.cells:
                if (alert.alert, found.channel) == (cell.alert, cell.channel):
                    if found.status is not CellStatus.HEARD:
                        self._fail(f"{cell.alert} at {cell.channel}: {found.status}", cell.alert, cell.channel)
                    return
        pytest.fail(f"{cell.alert} at {cell.channel} was never planned: nothing is known of it", pytrace=False)

    def target(self, name: str) -> None:
        """The success target holds; one that is set aside or that this profile cannot judge is shown as skipped."""
        found = next((row for row in self.recorded.judgement.targets if row.id == name), None)
        if found is None:
            pytest.fail(f"no target is called {name!r}: targets.yaml does not have it", pytrace=False)
        if found.excluded:
            pytest.skip(f"set aside in targets.yaml: {found.excluded}")
        if found.verdict is Verdict.INCONCLUSIVE and self._is_smoke():
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
                f"the negative control {name!r} was judged {found.verdict} over {found.trials} trials instead of fail: "
                "this run proves nothing",
                pytrace=False,
            )

    def quiet(self) -> None:
        """Nobody heard what they should not: no message without a fault, no alert at the wrong channel."""
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

    def _is_smoke(self) -> bool:
        return self.recorded.profile == "smoke"

    def _fail(self, what: str, alert: str, channel: str) -> None:
        from harness.report.recorded import guilty_output
        from harness.report.timeline import trail

        lines = [what]
        for injection in self.recorded.judgement.injections:
            if injection.alert != alert or injection.control:
                continue
            if injection.why:
                lines.append(f"{injection.injection}: {injection.why}")
            for trial in injection.trials:
                if trial.channel == channel and trial.outcome != "heard":
                    lines.extend(trail(trial))
                    lines.extend(f"  | {line}" for line in guilty_output(self.recorded, injection, trial))
        pytest.fail("\n".join(lines), pytrace=False)


def _sentence(target: TargetVerdict) -> str:
    bound = target.lower_bound if target.lower_bound is not None else target.upper_bound
    return (
        f"{target.id}: {target.verdict}; target {target.target:g} {target.unit}, observed {target.observed}, "
        f"bound {bound}, n {target.n}\n{target.claim}"
    )


@pytest.fixture(scope="session")
def slo(request: pytest.FixtureRequest) -> JudgedRun:
    """The run of this session, judged."""
    broken = request.config.stash.get(_BROKEN, None)
    if broken is not None:
        pytest.fail(str(broken), pytrace=False)
    return JudgedRun(request.config.stash[_RECORDED])


@pytest.fixture
def cell(request: pytest.FixtureRequest) -> CellName:
    """The cell that this test is about; given by `pytest_generate_tests`."""
    name: CellName = request.param
    return name


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """The run's own summary after pytest's: cells, controls, targets, headline, and where the files are."""
    recorded = config.stash.get(_RECORDED, None)
    if recorded is None:
        return
    from harness.report.registry import render

    terminalreporter.section("tocsin")
    terminalreporter.write(render("terminal", recorded, colour=terminalreporter.hasmarkup))
    terminalreporter.write_line(f"report: {recorded.folder}")


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """A session over the whole policy is green only where the run is: no selection of tests may hide a red verdict."""
    recorded = session.config.stash.get(_RECORDED, None)
    if recorded is not None and exitstatus == pytest.ExitCode.OK and recorded.judgement.verdict is not Verdict.PASS:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_unconfigure(config: pytest.Config) -> None:
    """Nothing is kept over sessions."""
    if _RECORDED in config.stash:
        del config.stash[_RECORDED]
    if _BROKEN in config.stash:
        del config.stash[_BROKEN]
