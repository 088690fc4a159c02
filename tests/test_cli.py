"""The command as a person calls it: help with examples, sentences instead of tracebacks, exit codes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from harness import __version__
from harness.cli import cache_folder, main


def tocsin(*arguments: str, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "harness", *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent), **environment},
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


@pytest.mark.parametrize("command", [[], ["run"], ["report"], ["stack"], ["doctor"]])
def test_help_has_an_example(command: list[str]) -> None:
    """Every command's help ends with an example that begins with `tocsin`."""
    answer = tocsin(*command, "--help")
    assert answer.returncode == 0
    assert re.search(r"examples?:\n  tocsin ", answer.stdout)
    assert "\x1b" not in answer.stdout


@pytest.mark.parametrize("command", ["check", "budget", "prove", "audit", "mobile", "diff", "history", "init"])
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
