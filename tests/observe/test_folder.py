"""The folder of a run: its name, the link to the newest, and how often a commit was tried."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from ledgers import EPOCH, numbered
from recorded_runs import lines

from harness.errors import LedgerError, UsageError
from harness.model.events import Progress, RunStarted
from harness.observe.folder import attempt, commit_of, new_folder, point_latest


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A folder in which nothing can be made; root may write anywhere, so that a file stands in for it there."""
    path = tmp_path / "sealed"
    if os.geteuid() == 0:
        path.write_text("not a folder")
        yield path
    else:
        path.mkdir(mode=0o500)
        yield path
        path.chmod(0o700)


def ran(out: Path, name: str, commit: str) -> Path:
    """A run on a commit, as far as its first line."""
    path = out / name
    path.mkdir(parents=True)
    first = RunStarted(name, "0.1.0", "smoke", 7, 1, commit, "process", 1.0, "policies", 2)
    (path / "ledger.jsonl").write_text(lines(numbered([(EPOCH, first), (EPOCH, Progress("on"))])))
    return path


def test_a_new_folder_is_named_by_its_instant(tmp_path: Path) -> None:
    """Names sort by time and never meet; the folder for logs is there."""
    names = [new_folder(tmp_path / "runs") for _ in range(20)]
    assert len({name for name, _ in names}) == 20
    for name, path in names:
        assert re.fullmatch(r"\d{8}T\d{6}Z-[0-9a-f]{4}", name)
        assert path == tmp_path / "runs" / name
        assert (path / "logs").is_dir()


def test_a_name_that_is_taken_is_drawn_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two runs that begin in the same second and draw the same digits have folders of their own."""
    drawn = iter(["aaaa", "aaaa", "aaaa", "bbbb"])
    monkeypatch.setattr("secrets.token_hex", lambda _: next(drawn))
    now = datetime(2026, 11, 25, 12, 0, 0, tzinfo=UTC)
    monkeypatch.setattr("harness.observe.folder.datetime", SimpleNamespace(now=lambda _: now))
    names = [new_folder(tmp_path / "runs")[0] for _ in range(2)]
    assert names == ["20261125T120000Z-aaaa", "20261125T120000Z-bbbb"]


def test_a_relative_folder_becomes_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Components are started elsewhere: their logs must not follow them."""
    monkeypatch.chdir(tmp_path)
    assert new_folder(Path("runs"))[1].is_absolute()


def test_a_folder_that_cannot_be_made_is_a_sentence(read_only: Path) -> None:
    """Named, with the reason and the option that helps."""
    with pytest.raises(UsageError, match="cannot be made") as caught:
        new_folder(read_only / "runs")
    assert str(read_only) in str(caught.value)
    assert "--out" in str(caught.value)


def test_latest_leads_to_the_newest(tmp_path: Path) -> None:
    """It is relative, so that `runs/` may be moved, and it replaces the one before it."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        point_latest(tmp_path, tmp_path / name)
        assert (tmp_path / "latest").readlink() == Path(name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "latest"]


def test_latest_replaces_a_link_that_leads_nowhere(tmp_path: Path) -> None:
    """Somebody removed the run that it led to."""
    (tmp_path / "latest").symlink_to("gone")
    (tmp_path / "a").mkdir()
    point_latest(tmp_path, tmp_path / "a")
    assert (tmp_path / "latest").resolve() == tmp_path / "a"


def test_a_folder_called_latest_is_left_alone(tmp_path: Path) -> None:
    """It is not ours: a sentence that says that the run itself is whole, and no half made link stays."""
    (tmp_path / "latest" / "precious").mkdir(parents=True)
    (tmp_path / "a").mkdir()
    with pytest.raises(LedgerError, match="cannot be made to lead") as caught:
        point_latest(tmp_path, tmp_path / "a")
    assert f"tocsin report {tmp_path / 'a'}" in str(caught.value)
    assert (tmp_path / "latest" / "precious").is_dir()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "latest"]


def test_attempts_on_a_commit_are_counted(tmp_path: Path) -> None:
    """Every run on the same commit counts, through the link to the newest only once; other commits do not."""
    assert attempt(tmp_path, "c1") == 1
    ran(tmp_path, "a", "c1")
    ran(tmp_path, "b", "c2")
    ran(tmp_path, "c", "c1")
    (tmp_path / "latest").symlink_to("c")
    assert attempt(tmp_path, "c1") == 3
    assert attempt(tmp_path, "c2") == 2
    assert attempt(tmp_path, "c3") == 1
    assert attempt(tmp_path / "nowhere", "c1") == 1


def test_without_a_commit_every_run_is_the_first(tmp_path: Path) -> None:
    """Runs outside of a repository have nothing in common."""
    ran(tmp_path, "a", "")
    assert attempt(tmp_path, "") == 1


@pytest.mark.parametrize("damage", ["", "half a li", '{"schema": "of/another/9"}\n', "[]\n"])
def test_a_ledger_that_cannot_be_read_counts_for_nothing(tmp_path: Path, damage: str) -> None:
    """The run that begins now has just made its own, empty; older ones may be damaged."""
    ran(tmp_path, "a", "c1")
    (ran(tmp_path, "b", "c1") / "ledger.jsonl").write_text(damage)
    assert attempt(tmp_path, "c1") == 2


def test_the_commit_is_the_one_that_is_checked_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Git's own answer for the folder of the policies."""
    if shutil.which("git") is None:
        pytest.fail("git is needed to build the harness's own repository; install it")
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "policies").mkdir()
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    assert commit_of(tmp_path / "policies") == ""
    subprocess.run(["git", "-C", str(tmp_path), *who, "commit", "-q", "--allow-empty", "-m", "x"], check=True)
    assert re.fullmatch(r"[0-9a-f]{40}", commit_of(tmp_path / "policies"))


def test_without_a_repository_or_git_there_is_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run needs neither."""
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    assert commit_of(tmp_path) == ""
    assert commit_of(tmp_path / "nowhere") == ""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert commit_of(Path(__file__).parent) == ""
