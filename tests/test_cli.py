"""The command as a person calls it: help with examples, sentences instead of tracebacks, exit codes."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
from ledgers import CHANNELS, Play, smoke
from recorded_runs import write_run

from harness import __version__
from harness.cli import cache_folder, main
from harness.errors import HarnessError, LedgerError, Offline, UsageError
from harness.model.events import Event
from harness.model.stack import Artifact
from harness.run import Options

HEARD = smoke()
SILENT = smoke({"ServerDown": Play(deaf=CHANNELS)})
CUT = HEARD[:3]
"""A run that ended before it had planned anything: unverified, and judged without any statistics to import."""


def surroundings(**more: str) -> dict[str, str]:
    """The environment with the harness and its tests to be imported; output buffered, as it is where nobody asks."""
    ordinary = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    here = Path(__file__).parent
    return {**ordinary, "PYTHONPATH": os.pathsep.join((str(here.parent), str(here))), **more}


def tocsin(*arguments: str, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "harness", *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=surroundings(**environment),
        check=False,
        timeout=60,
    )


def test_version_is_told() -> None:
    """`--version` prints the version and nothing else."""
    answer = tocsin("--version")
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, f"tocsin {__version__}\n", "")


def test_version_imports_nothing_heavy() -> None:
    """What takes long to import is imported by the commands that need it."""
    heavy = "aiohttp, scipy, rich, yaml, jsonschema, promql_parser, asyncio, prometheus_client, jinja2"
    code = f"import sys, harness.cli as c; c._parser(); print([m for m in '{heavy}'.split(', ') if m in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


@pytest.mark.parametrize("command", [[], ["run"], ["report"], ["stack"], ["audit"], ["doctor"]])
def test_help_has_an_example(command: list[str]) -> None:
    """Every command's help ends with an example that begins with `tocsin`."""
    answer = tocsin(*command, "--help")
    assert answer.returncode == 0
    assert re.search(r"examples?:\n  tocsin ", answer.stdout)
    assert "\x1b" not in answer.stdout


@pytest.mark.parametrize("command", ["check", "budget", "prove", "mobile", "diff", "history", "init"])
def test_what_is_not_there_is_not_in_the_help(command: str) -> None:
    """No stub stands for a command that does not exist yet."""
    assert tocsin(command).returncode == 2
    assert not re.search(rf"^\s+{command}\s", tocsin("--help").stdout, re.MULTILINE)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["run", "--policies", "nowhere"], "nowhere"),
        (["run", "--policies", __file__], "test_cli.py"),
        (["report", "nowhere"], "not the folder of a run"),
    ],
)
def test_a_path_that_cannot_be_read_is_a_sentence_with_a_hint(arguments: list[str], sentence: str) -> None:
    """Exit 2, the path is named, a hint is given, and no traceback."""
    answer = tocsin(*arguments)
    assert answer.returncode == 2
    assert sentence in answer.stderr
    assert "hint:" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_a_defect_of_ours_is_exit_4_and_never_looks_like_a_failed_alert(monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception that nobody foresaw is a harness error: exit 4, not Python's 1, which means that alerts failed."""
    monkeypatch.setattr("harness.cli._doctor", lambda _: 1 / 0)
    assert main(["doctor"]) == 4


def test_an_interrupt_is_exit_4(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C ends the command with a sentence."""

    def interrupted(_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("harness.cli._doctor", interrupted)
    assert main(["doctor"]) == 4


def test_the_cache_is_where_the_user_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """TOCSIN_CACHE first, then XDG_CACHE_HOME, then the home folder."""
    monkeypatch.setenv("TOCSIN_CACHE", str(tmp_path / "mine"))
    assert cache_folder() == tmp_path / "mine"
    monkeypatch.delenv("TOCSIN_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "tocsin"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "tocsin"


def test_output_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    """`--output` into a folder that is not there: exit 2 and the reason."""
    answer = tocsin("doctor", "--output", str(tmp_path / "no" / "file"))
    assert answer.returncode == 2
    assert "cannot write" in answer.stderr


def test_a_result_that_could_not_be_written_is_refused_before_the_work(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nobody waits a minute for a run whose result has no place."""
    monkeypatch.setattr("harness.cli._run", lambda _: pytest.fail("it was run"))
    assert main(["run", "--output", str(tmp_path)]) == 2
    assert main(["run", "--output", str(tmp_path / "no" / "file")]) == 2


def executed(
    monkeypatch: pytest.MonkeyPatch, folder: Path, events: Sequence[Event], error: HarnessError | None = None
) -> list[Options]:
    """Has `tocsin run` leave a synthetic ledger, or fail; the list tells what it was asked for."""
    calls: list[Options] = []

    def execute(options: Options, show: Callable[[Event], None], say: Callable[[str], None]) -> Path:
        calls.append(options)
        say("bringing nothing")
        for event in events:
            show(event)
        if error is not None:
            raise error
        return write_run(folder / "r1", events)

    monkeypatch.setattr("harness.run.execute", execute)
    return calls


@pytest.mark.parametrize(
    ("events", "code", "verdict"),
    [
        (HEARD, 0, "PASS"),
        (SILENT, 1, "FAIL"),
        (HEARD[:-3], 3, "UNVERIFIED"),
        (smoke(error="prometheus died"), 4, "ERROR"),
    ],
    ids=["pass", "fail", "unverified", "error"],
)
def test_the_verdict_of_a_run_is_its_exit_code(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    events: Sequence[Event],
    code: int,
    verdict: str,
) -> None:
    """The report on standard output, its last line the headline; progress and the folder on standard error."""
    executed(monkeypatch, tmp_path, events)
    assert main(["run"]) == code
    said = capsys.readouterr()
    assert said.out.splitlines()[-1].startswith(f"smoke: {verdict}")
    assert "tocsin: bringing nothing\n" in said.err
    assert "fault  server-killed in lane-01" in said.err
    assert said.err.splitlines()[-1] == f"tocsin: files of this run: {tmp_path / 'r1'}"
    assert "\x1b" not in said.out + said.err


@pytest.mark.parametrize(
    ("error", "code"),
    [(UsageError("no alert is called so"), 2), (Offline("no network"), 3), (LedgerError("the disk is full"), 4)],
)
def test_a_run_that_could_not_take_place_has_the_code_of_its_error(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    error: HarnessError,
    code: int,
) -> None:
    """The sentence on standard error, nothing on standard output."""
    executed(monkeypatch, tmp_path, (), error)
    assert main(["run"]) == code
    said = capsys.readouterr()
    assert f"tocsin: {error.what}" in said.err
    assert said.out == ""


def test_options_reach_the_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What was asked for is what is done."""
    calls = executed(monkeypatch, tmp_path, HEARD)
    monkeypatch.setenv("TOCSIN_CACHE", str(tmp_path / "cache"))
    main(["run", "--only", "A", "--only", "B", "--seed", "7", "--out", "o", "--policies", "p"])
    assert calls == [
        Options(Path("p"), tmp_path / "cache", Path("o"), profile="smoke", only=("A", "B"), seed=7, runtime="process")
    ]


def test_a_report_is_made_in_every_form(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same ledger as a page, as JSON, as JUnit; exit 0 though the run failed: the report could be made."""
    folder = str(write_run(tmp_path / "r1", SILENT))
    told = {}
    for form in ("terminal", "json", "junit"):
        assert main(["report", folder, "--format", form]) == 0
        told[form] = capsys.readouterr().out
    assert told["terminal"].splitlines()[-1].startswith("smoke: FAIL")
    assert json.loads(told["json"])["verdict"] == "fail"
    assert ET.fromstring(told["junit"]).find("testsuite") is not None  # noqa: S314 - we have just written it


@pytest.mark.parametrize("form", ["terminal", "json", "junit"])
def test_a_report_into_a_file_is_the_same_report(tmp_path: Path, capsys: pytest.CaptureFixture[str], form: str) -> None:
    """`--output` takes the whole result, and standard output stays silent."""
    folder = str(write_run(tmp_path / "r1", SILENT))
    assert main(["report", folder, "--format", form]) == 0
    shown = capsys.readouterr().out
    assert main(["report", folder, "--format", form, "--output", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out == ""
    assert (tmp_path / "out").read_text(encoding="utf-8") == shown


class Terminal(io.StringIO):
    """Standard output that says it is a terminal."""

    def isatty(self) -> bool:
        """Says so."""
        return True


@pytest.mark.parametrize(
    ("terminal", "environment", "file", "coloured"),
    [
        (True, {}, False, True),
        (True, {"NO_COLOR": "1"}, False, False),
        (False, {}, False, False),
        (True, {}, True, False),
    ],
)
def test_colour_is_for_terminals_alone(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    terminal: bool,
    environment: dict[str, str],
    file: bool,
    coloured: bool,
) -> None:
    """Never in a pipe or a file, never where NO_COLOR is set."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    out = Terminal() if terminal else io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    arguments = ["report", str(write_run(tmp_path / "r1", HEARD))]
    assert main([*arguments, "--output", str(tmp_path / "out")] if file else arguments) == 0
    text = (tmp_path / "out").read_text() if file else out.getvalue()
    assert "PASS" in text
    assert ("\x1b[" in text) is coloured


def test_a_damaged_ledger_is_a_sentence_with_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 4, file and line number, what to do; no traceback and no half report."""
    ledger = write_run(tmp_path / "r1", HEARD) / "ledger.jsonl"
    lines = ledger.read_text().splitlines(keepends=True)
    ledger.write_text("".join([*lines[:6], "garbage\n", *lines[7:]]))
    assert main(["report", str(ledger.parent)]) == 4
    said = capsys.readouterr()
    assert f"{ledger}:7: " in said.err
    assert "hint:" in said.err
    assert said.out == ""


def piped(arguments: list[str], *, closed: str, code: str = "") -> tuple[int | None, str]:
    """The command with a pipe for an output whose reader is gone before it begins; exit code and the other output."""
    begin = "import sys; sys.stdin.read(); from harness.cli import main; "
    with subprocess.Popen(
        [sys.executable, "-c", f"{begin}{code}\nraise SystemExit(main({arguments!r}))"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=surroundings(),
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        gone, other = (process.stdout, process.stderr) if closed == "stdout" else (process.stderr, process.stdout)
        gone.close()
        process.stdin.close()
        return process.wait(60), other.read()


def test_a_reader_that_has_enough_is_no_error(tmp_path: Path) -> None:
    """`tocsin report … | head`: exit 0, and nothing on standard error, not even from Python's own end."""
    folder = write_run(tmp_path / "r1", CUT)
    assert piped(["report", str(folder)], closed="stdout") == (0, "")


@pytest.mark.parametrize("closed", ["stdout", "stderr"])
def test_a_red_run_stays_red_though_nobody_reads_it(tmp_path: Path, closed: str) -> None:
    """A pipe that breaks never turns the verdict's exit code into 0, nor into Python's 120."""
    code = f"""
import harness.run
from pathlib import Path
from ledgers import smoke
from recorded_runs import write_run
def execute(options, show, say):
    say("begun")
    for event in smoke(): show(event)
    return write_run(Path({str(tmp_path)!r}) / "r1", smoke()[:3])
harness.run.execute = execute
"""
    exit_code, other = piped(["run"], closed=closed, code=code)
    assert exit_code == 3
    assert ("UNVERIFIED" if closed == "stderr" else "tocsin: begun") in other
    assert "Traceback" not in other


def test_output_that_a_full_disk_refuses_is_a_sentence(tmp_path: Path) -> None:
    """`tocsin report … > file` on a full disk is not taken for a reader that had enough."""
    if not Path("/dev/full").exists():
        pytest.fail("there is no /dev/full here")
    folder = write_run(tmp_path / "r1", CUT)
    with Path("/dev/full").open("w") as full:
        answer = subprocess.run(
            [sys.executable, "-m", "harness", "report", str(folder)],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env=surroundings(),
            check=False,
        )
    assert answer.returncode == 2
    assert "cannot write to standard output" in answer.stderr
    assert "No space left" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_a_letter_that_the_terminal_does_not_have_is_replaced(tmp_path: Path) -> None:
    """The dash of the headline is no reason for exit 4 under an old locale."""
    folder = write_run(tmp_path / "r1", CUT)
    answer = tocsin("report", str(folder), PYTHONIOENCODING="ascii")
    assert answer.returncode == 0
    assert answer.stdout.splitlines()[-1].startswith("smoke: UNVERIFIED ? ")


@pytest.mark.parametrize("closed", ["1", "2"])
def test_an_output_that_was_closed_from_the_start_is_none(tmp_path: Path, closed: str) -> None:
    """`tocsin report … >&-`, as some services start their children: the exit code is still the right one."""
    folder = write_run(tmp_path / "r1", CUT)
    command = f'exec "$0" -m harness report "$1" {closed}>&-'
    answer = subprocess.run(
        ["sh", "-c", command, sys.executable, str(folder)],
        capture_output=True,
        text=True,
        env=surroundings(),
        check=False,
    )
    assert (answer.returncode, answer.stderr) == (0, "")


@pytest.mark.parametrize("form", ["terminal", "json"])
def test_stack_fetch_tells_what_the_cache_holds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    """Everything is there: its names, versions and sources, and nothing is brought."""
    found = {"redis": Artifact("redis", "7.0.15", "apt", "/cache/redis", {}, {})}
    monkeypatch.setattr("harness.stack.provision.cache.cached", lambda *_: found)
    monkeypatch.setattr("harness.stack.provision.fetch.bring", lambda *_: pytest.fail("it was brought again"))
    assert main(["stack", "fetch", "--format", form]) == 0
    out = capsys.readouterr().out
    if form == "json":
        row = {"name": "redis", "version": "7.0.15", "source": "apt", "root": "/cache/redis"}
        assert json.loads(out) == {"schema": "tocsin/components/1", "components": [row]}
    else:
        assert out.split() == ["redis", "7.0.15", "apt"]


def test_stack_fetch_brings_only_what_was_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The names as they were given (the twin: all of them where none was), and an unknown one is a wrong call."""
    asked: list[Sequence[str]] = []

    def cached(names: Sequence[str], _: Path) -> Mapping[str, Artifact]:
        asked.append(names)
        return {}

    monkeypatch.setattr("harness.stack.provision.cache.cached", cached)
    assert main(["stack", "fetch", "opensearch", "filebeat"]) == 0
    assert main(["stack", "fetch"]) == 0
    assert asked[0] == ("opensearch", "filebeat")
    assert {"prometheus", "opensearch", "chdb"} <= set(asked[1])
    monkeypatch.undo()
    assert main(["stack", "fetch", "opensaerch"]) == 2


def test_stack_fetch_brings_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The twin: with progress on standard error; an error has its own exit code."""

    def bring(names: Sequence[str], cache: Path, say: Callable[[str], None]) -> None:
        say(f"bringing {len(names)}")
        raise Offline("no network", hint="connect once")

    monkeypatch.setattr("harness.stack.provision.cache.cached", lambda *_: None)
    monkeypatch.setattr("harness.stack.provision.fetch.bring", bring)
    assert main(["stack", "fetch"]) == 3
    said = capsys.readouterr()
    assert re.match(r"tocsin: bringing \d+\ntocsin: no network\n  hint: connect once\n", said.err)
    assert said.out == ""
