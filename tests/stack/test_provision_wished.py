"""What is needed and what is wished: a registry that fails one's wish leaves the rest alone, and is told."""

from __future__ import annotations

from pathlib import Path

import fake_registry
import pytest
from fake_registry import FakeRegistry, silent

from harness.errors import BuildError, Offline, UsageError
from harness.stack.provision import host, maven, pypi
from harness.stack.provision.cache import work_folder
from harness.stack.provision.fetch import fetch_what_can

NEEDED = ("redis",)
WISHED = ("opensearch", "filebeat", "chdb", "nginx", "influxdb")


@pytest.fixture
def fakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeRegistry:
    """Every fake on PATH, on a fake Debian 12."""
    found = fake_registry.build(tmp_path / "fakes")
    monkeypatch.setenv("PATH", found.environment["PATH"])
    monkeypatch.setenv("FAKES", str(found.folder))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setattr(host, "OS_RELEASE", found.folder / "os-release")
    monkeypatch.setattr(maven, "BESIDE", found.folder / "beside")
    monkeypatch.setattr(pypi, "PYTHON", str(found.folder / "bin/python"))
    return found


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """An empty cache."""
    return tmp_path / "cache"


async def test_on_a_good_day_every_wish_comes_true(fakes: FakeRegistry, cache: Path) -> None:
    """All of it is there, nothing is to be explained, and the second call asks nobody."""
    found, why = await fetch_what_can(NEEDED, (*WISHED, "redis"), cache, silent)
    assert set(found) == {*NEEDED, *WISHED}
    assert why == {}
    before = fakes.calls
    assert await fetch_what_can(NEEDED, WISHED, cache, silent, offline=True) == (found, {})
    assert fakes.calls == before


@pytest.mark.parametrize(
    ("mood", "says", "lost", "sentence"),
    [
        ("mvn", "[ERROR] Unknown host repo.example", "opensearch", "Unknown host repo.example"),
        ("javac", "error: ';' expected", "opensearch", "does not compile"),
        ("go-download", "dial tcp: no such host", "filebeat", "the registry cannot be reached"),
        ("go-build", "main.go:9: syntax error", "filebeat", "syntax error"),
        ("pip", "No space left on device", "chdb", "no room is left"),
    ],
)
async def test_one_wish_that_fails_is_explained_and_the_others_come_true(
    fakes: FakeRegistry, cache: Path, mood: str, says: str, lost: str, sentence: str
) -> None:
    """The sentence names what happened; nothing half made is left; the next day it is brought."""
    fakes.mood(mood, says + "\n")
    found, why = await fetch_what_can(NEEDED, WISHED, cache, silent)
    assert set(found) == {*NEEDED, *WISHED} - {lost}
    assert set(why) == {lost}
    assert sentence in why[lost]
    assert "\n" not in why[lost]
    assert not work_folder(cache).exists()
    fakes.calm(mood)
    assert (await fetch_what_can(NEEDED, WISHED, cache, silent))[1] == {}


async def test_one_of_a_kind_that_fails_does_not_take_its_siblings_along(fakes: FakeRegistry, cache: Path) -> None:
    """All or nothing comes by apt; then each is tried by itself."""
    (fakes.folder / "bin/apt-cache").write_text(
        (fakes.folder / "bin/apt-cache")
        .read_text()
        .replace("shift 3\n", 'shift 3; set -- $(echo "$@" | sed s/nginx//)\n')
    )
    found, why = await fetch_what_can((), ("nginx", "influxdb", "mariadb-client"), cache, silent)
    assert set(found) == {"influxdb", "mariadb-client"}
    assert "does not offer nginx" in why["nginx"]


async def test_what_is_needed_is_never_forgiven(fakes: FakeRegistry, cache: Path) -> None:
    """The twin: the same failures of something needed are errors."""
    fakes.mood("go-build", "syntax error\n")
    with pytest.raises(BuildError):
        await fetch_what_can(("filebeat",), ("redis",), cache, silent)
    fakes.mood("apt-update", "Temporary failure resolving\n")
    with pytest.raises(Offline):
        await fetch_what_can(("redis",), (), cache, silent)


async def test_offline_what_is_wished_is_explained(fakes: FakeRegistry, cache: Path) -> None:
    """What is there serves, the rest has a reason, and nobody is asked."""
    await fetch_what_can(NEEDED, ("nginx",), cache, silent)
    before = fakes.calls
    found, why = await fetch_what_can(NEEDED, ("nginx", "chdb"), cache, silent, offline=True)
    assert set(found) == {"redis", "nginx"}
    assert why == {"chdb": "chdb is not in the cache, and no network may be used"}
    assert fakes.calls == before


async def test_a_name_that_nobody_knows_is_an_error_of_the_caller(fakes: FakeRegistry, cache: Path) -> None:
    """A wish that the catalogue does not have is no bad luck."""
    with pytest.raises(UsageError, match="opensaerch"):
        await fetch_what_can((), ("opensaerch",), cache, silent)
