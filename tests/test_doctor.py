"""`tocsin doctor`: what it says of this machine is true, comes quickly, and ends with what to do."""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness import doctor
from harness.cli import main
from harness.doctor import FIRST_BYTES, RUN_BYTES, Advice, as_json, as_text, examine, what_to_do
from harness.model.stack import Artifact
from harness.stack.provision.cache import Lack
from harness.stack.provision.source import Package

DEBIAN = {"ID": "debian", "VERSION_ID": "12", "PRETTY_NAME": "Debian GNU/Linux 12 (bookworm)"}


class Machine:
    """A machine of our choice: what it has is what it is told to have."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.monkeypatch = monkeypatch
        self.programs = {"apt-get", "dpkg-deb", "go", "git"}
        self.system: Mapping[str, str] = DEBIAN
        self.free = 100 * FIRST_BYTES
        self.lacks: dict[str, str | None] = {}
        self.cores = 4
        monkeypatch.setattr(shutil, "which", lambda name: f"/bin/{name}" if name in self.programs else None)
        monkeypatch.setattr(platform, "freedesktop_os_release", lambda: self.system)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=self.free))
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(self.cores)))
        monkeypatch.setattr("harness.stack.provision.cache.look_up", self.look_up)
        monkeypatch.setattr(doctor, "_answers", lambda *command: command[0] in self.programs)

    def look_up(self, package: Package, cache: Path) -> Artifact | Lack:
        """Every component is in the cache but those that are lacking."""
        if package.name in self.lacks:
            return Lack(package.name, self.lacks[package.name])
        return Artifact(package.name, "1.2.3", "apt", str(cache), {}, {})


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine on which everything works."""
    return Machine(monkeypatch)


def row(advice: Sequence[Advice], words: str) -> Advice:
    """The row about something."""
    found = [one for one in advice if words in one.what]
    assert len(found) == 1, f"{words!r} names {len(found)} rows"
    return found[0]


def test_where_all_is_well_it_says_what_to_run(machine: Machine, tmp_path: Path) -> None:
    """Components with their versions; the last line is the command that proves the monitoring."""
    advice = examine(tmp_path)
    assert {one.what for one in advice if one.state == "no"} == {"container engine (for the container runtime)"}
    assert "prometheus 1.2.3" in row(advice, "components").seen
    assert as_text(advice).splitlines()[-1] == "next: make slo, or tocsin run"


def test_missing_components_are_named_with_the_command_that_brings_them(machine: Machine, tmp_path: Path) -> None:
    """No obstacle: a run brings them by itself. What is damaged is told with the reason."""
    machine.lacks = {"redis": None, "mariadb": "it is damaged: a file is missing"}
    advice = examine(tmp_path)
    components = row(advice, "components")
    assert (components.state, components.needed, components.do) == ("no", False, "tocsin stack fetch")
    assert components.seen == "missing: mariadb (it is damaged: a file is missing), redis"
    assert as_text(advice).splitlines()[-1] == "next: tocsin stack fetch"


@pytest.mark.parametrize(
    ("system", "works"),
    [
        (DEBIAN, True),
        ({"ID": "debian", "VERSION_ID": "11"}, False),
        ({"ID": "debian"}, True),
        ({"ID": "ubuntu", "VERSION_ID": "24.04"}, True),
        ({"ID": "ubuntu", "VERSION_ID": "22.04"}, False),
        ({"ID": "ubuntu", "VERSION_ID": "25.10"}, True),
        ({"ID": "linuxmint", "VERSION_ID": "1"}, True),
        ({}, True),
    ],
)
def test_a_release_that_is_known_to_be_too_old_is_called_so(
    machine: Machine, tmp_path: Path, system: Mapping[str, str], works: bool
) -> None:
    """Debian 12 and Ubuntu 24.04 are the oldest; what is not known is not judged by its number."""
    machine.system = system
    assert (row(examine(tmp_path), "apt").state == "yes") is works


def test_without_apt_nothing_can_be_brought_and_what_is_there_still_runs(machine: Machine, tmp_path: Path) -> None:
    """An obstacle only as long as something has to be brought."""
    machine.programs = {"git"}
    assert row(examine(tmp_path), "apt").seen.endswith("no apt-get, no dpkg-deb")
    assert what_to_do(examine(tmp_path)) == "next: make slo, or tocsin run"
    machine.lacks = {"redis": None}
    assert row(examine(tmp_path), "apt").needed
    assert what_to_do(examine(tmp_path)).startswith("no run is possible here yet: use Debian 12")


@pytest.mark.parametrize(
    ("lacks", "free", "works"),
    [
        ({}, RUN_BYTES, True),
        ({}, RUN_BYTES - 1, False),
        ({"redis": None}, RUN_BYTES, False),
        ({"redis": None}, FIRST_BYTES, True),
    ],
)
def test_room_is_what_is_needed_here(
    machine: Machine, tmp_path: Path, lacks: dict[str, str | None], free: int, works: bool
) -> None:
    """Provisioning takes gigabytes once; a run with everything in the cache does not."""
    machine.lacks, machine.free = lacks, free
    cache = row(examine(tmp_path), "cache folder")
    assert ((cache.state == "yes"), cache.needed) == (works, True)
    assert works or "TOCSIN_CACHE" in cache.do


def test_a_cache_that_cannot_be_is_an_obstacle(machine: Machine, tmp_path: Path) -> None:
    """A file in its place."""
    (tmp_path / "file").write_text("x")
    cache = row(examine(tmp_path / "file" / "cache"), "cache folder")
    assert (cache.state, cache.seen) == ("no", f"{tmp_path / 'file'} is no folder")


def test_a_folder_that_must_not_be_looked_into_is_told(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the system says stands in the row, instead of a traceback."""

    def refused(_: object) -> object:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(shutil, "disk_usage", refused)
    assert "Permission denied" in row(examine(tmp_path), "cache folder").seen


def test_what_only_some_things_need_is_no_obstacle(machine: Machine, tmp_path: Path) -> None:
    """One core, no git, no Go, no container engine: told, with what it means; a run is possible."""
    machine.programs, machine.cores = {"apt-get", "dpkg-deb"}, 1
    advice = examine(tmp_path)
    for words in ("cores", "git", "container engine"):
        assert (row(advice, words).state, row(advice, words).needed) == ("no", False)
        assert row(advice, words).do
    assert row(advice, "Go toolchain").state == "yes"
    assert what_to_do(advice) == "next: make slo, or tocsin run"


def test_every_no_says_what_to_do(machine: Machine, tmp_path: Path) -> None:
    """The worst machine: no row leaves the reader alone, and the obstacle comes before the wish."""
    machine.programs, machine.lacks, machine.free, machine.cores = set(), {"redis": None}, 0, 1
    advice = examine(tmp_path)
    assert all(one.do for one in advice if one.state == "no")
    text = as_text(advice)
    assert text.count("->") == sum(one.state == "no" for one in advice) == 6
    assert text.splitlines()[-1].startswith("no run is possible here yet")


@pytest.mark.parametrize(("programs", "code"), [({"apt-get", "dpkg-deb"}, 0), (set[str](), 3)])
def test_the_exit_code_says_whether_a_run_is_possible(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, programs: set[str], code: int
) -> None:
    """3, no evidence can be had here, where something is missing that every run needs."""
    machine.programs, machine.lacks = programs, {"redis": None}
    monkeypatch.setenv("TOCSIN_CACHE", str(tmp_path))
    assert main(["doctor", "--output", str(tmp_path / "out")]) == code


def test_json_says_the_same(machine: Machine, tmp_path: Path) -> None:
    """For a machine that reads it, under a schema of its own."""
    advice = examine(tmp_path)
    told = json.loads(as_json(advice))
    assert (told["schema"], told["next"]) == ("tocsin/doctor/1", what_to_do(advice))
    assert [check["what"] for check in told["checks"]] == [one.what for one in advice]


def test_it_does_not_wait_for_an_engine_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that does not answer within a second is none; on this machine as it is, with an empty cache."""
    engine = tmp_path / "bin" / "docker"
    engine.parent.mkdir()
    engine.write_text("#!/bin/sh\nexec sleep 60\n")
    engine.chmod(0o755)
    monkeypatch.setenv("PATH", f"{engine.parent}{os.pathsep}{os.environ['PATH']}")
    began = time.monotonic()
    advice = examine(tmp_path / "cache")
    assert time.monotonic() - began < 20  # it would sleep for a minute; a busy machine is slow too
    assert row(advice, "container engine").seen == "none answers"
    assert not (tmp_path / "cache").exists()


def test_an_engine_that_answers_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The twin."""
    engine = tmp_path / "docker"
    engine.write_text("#!/bin/sh\necho 27.1\n")
    engine.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert row(examine(tmp_path / "cache"), "container engine").state == "yes"


def test_an_old_python_is_an_obstacle(machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its version is told."""
    monkeypatch.setattr(doctor, "sys", SimpleNamespace(version_info=(3, 10), platform=sys.platform))
    assert row(examine(tmp_path), "Python").state == "no"
