"""Bringing components, with apt and Go played by fakes: good days and bad ones."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import fake_registry
import pytest
from fake_registry import FakeRegistry, alive, eventually, output_of, silent, start

from harness.errors import BuildError, CacheError, DiskFull, Offline, ProvisionError
from harness.stack.provision import host, maven, pypi
from harness.stack.provision.cache import cached, work_folder
from harness.stack.provision.catalog import CATALOG, NAMES
from harness.stack.provision.fetch import fetch
from harness.stack.provision.source import AptRecipe

APT_NAMES = tuple(package.name for package in CATALOG if isinstance(package.recipe, AptRecipe))


@pytest.fixture
def fakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeRegistry:
    """Fake apt, dpkg and Go on PATH, on a fake Debian 12."""
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


async def until_hanging(fakes: FakeRegistry) -> list[int]:
    """The processes that hang on purpose, a fake and its child, once they both do."""
    await eventually(lambda: len(fakes.pids) >= 2)
    return fakes.pids


async def until_gone(pids: list[int]) -> None:
    """Waits until none of them runs."""
    await eventually(lambda: not any(alive(pid) for pid in pids))


def lines_until_ready(process: subprocess.Popen[str], names: set[str]) -> list[str]:
    """What a fetching process says, up to the sentence that the last of these is ready."""
    assert process.stdout is not None
    lines: list[str] = []
    for line in process.stdout:
        lines.append(line)
        names = names - ({line.split()[0]} if " is ready, from " in line else set())
        if not names:
            return lines
    raise AssertionError(f"it ended before {names} were ready: {lines}")


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A real file system of 2 MB; where none can be mounted the test is skipped, with the reason."""
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


async def test_everything_is_brought_and_nothing_half_made_is_left(fakes: FakeRegistry, cache: Path) -> None:
    """Every name of the catalogue has its programs, each starts, and the work folder is gone."""
    said: list[str] = []
    found = await fetch(NAMES, cache, said.append)
    assert set(found) == set(NAMES)
    for package in CATALOG:
        assert set(found[package.name].programs) == set(package.programs)
        assert all(os.access(path, os.X_OK) for path in found[package.name].programs.values())
    assert not work_folder(cache).exists()
    assert sorted(path.name for path in cache.iterdir()) == ["artifacts", "provision.lock"]
    for name in NAMES:
        assert any(line.startswith(f"{name} ") and " is ready, from " in line for line in said), name


async def test_static_programs_come_from_the_newer_release_and_the_rest_from_the_hosts_own(
    fakes: FakeRegistry, cache: Path
) -> None:
    """Prometheus and exporters need only libc; MariaDB and Redis need libraries that match it."""
    found = await fetch(["prometheus", "redis"], cache, silent)
    for name, program, release in (("prometheus", "promtool", "trixie"), ("redis", "redis-cli", "bookworm")):
        assert release in output_of(found[name].programs[program])
    assert found["prometheus"].version == "2.53.3"
    assert found["prometheus"].environment == {}
    assert found["redis"].version == "1.5.0"


async def test_libraries_come_along_and_the_hosts_libc_does_not(fakes: FakeRegistry, cache: Path) -> None:
    """Of the closure only libraries are taken, never libc and no interpreter; documentation is dropped."""
    found = await fetch(["redis"], cache, silent)
    root = Path(found["redis"].root)
    assert found["redis"].environment == {"LD_LIBRARY_PATH": f"{root}/usr/lib/x86_64-linux-gnu"}
    assert sorted(path.name for path in (root / "usr/lib/x86_64-linux-gnu").iterdir()) == ["libfake.so.1"]
    assert not (root / "usr/share/doc").exists()


async def test_absolute_links_lead_into_the_private_root(fakes: FakeRegistry, cache: Path) -> None:
    """A link to /usr/bin/… of the package must not reach the host's own /usr/bin."""
    found = await fetch(["redis"], cache, silent)
    server = Path(found["redis"].programs["redis-server"])
    assert not server.readlink().is_absolute()
    assert server.resolve() == Path(found["redis"].root, "usr/bin/redis-check-rdb")


async def test_third_parties_are_never_asked(fakes: FakeRegistry, cache: Path) -> None:
    """Only suites of the host's own distribution are in the private list of sources."""
    await fetch(APT_NAMES, cache, silent)
    updates = {line for line in fakes.calls if line.startswith("apt-get update")}
    assert updates == {"apt-get update bookworm bookworm-updates ", "apt-get update trixie trixie-updates "}


async def test_the_second_call_asks_nobody(fakes: FakeRegistry, cache: Path) -> None:
    """A complete cache is answered from; with no program on PATH at all it is still complete."""
    first = await fetch(NAMES, cache, silent)
    before = fakes.calls
    said: list[str] = []
    assert await fetch(NAMES, cache, said.append) == first
    assert await fetch(NAMES, cache, said.append, offline=True) == first
    assert cached(NAMES, cache) == first
    assert fakes.calls == before
    assert said == []


async def test_two_at_once_bring_it_once(fakes: FakeRegistry, cache: Path) -> None:
    """The second waits, says so, and then finds it ready."""
    said: tuple[list[str], list[str]] = ([], [])
    results = await asyncio.gather(*(fetch(NAMES, cache, one.append) for one in said))
    assert results[0] == results[1]
    assert len([line for line in fakes.calls if line.startswith("apt-get download")]) == 2  # one for each release
    assert len([line for line in fakes.calls if line.startswith("go build")]) == 2
    assert sum("waiting for it" in line for one in said for line in one) == 1


async def test_two_processes_at_once_bring_it_once(fakes: FakeRegistry, cache: Path) -> None:
    """The lock holds between processes too."""
    processes = [
        await asyncio.create_subprocess_exec(*fake_registry.script(fakes, cache, *NAMES), env=fakes.environment)
        for _ in range(2)
    ]
    assert [await process.wait() for process in processes] == [0, 0]
    assert len([line for line in fakes.calls if line.startswith("go build")]) == 2
    assert cached(NAMES, cache) is not None


async def test_killed_half_way_the_next_start_sweeps_and_finishes(fakes: FakeRegistry, cache: Path) -> None:
    """A kill -9 leaves no child running and no half artifact; what was ready stays, the rest is brought."""
    fakes.mood("go-hangs")
    with start(*fake_registry.script(fakes, cache, *NAMES), environment=fakes.environment) as harness:
        pids = await until_hanging(fakes)
        lines_until_ready(harness, set(APT_NAMES))
        assert all(alive(pid) for pid in pids)
        harness.kill()
    await until_gone(pids)
    assert work_folder(cache).exists()
    assert cached(APT_NAMES, cache) is not None
    assert cached(["alertmanager"], cache) is None

    fakes.calm("go-hangs")
    downloads = [line for line in fakes.calls if line.startswith("apt-get download")]
    found = await fetch(NAMES, cache, silent)
    assert set(found) == set(NAMES)
    assert not work_folder(cache).exists()
    assert [line for line in fakes.calls if line.startswith("apt-get download")] == downloads


async def test_cancelled_half_way_nothing_is_left(fakes: FakeRegistry, cache: Path) -> None:
    """Ctrl-C ends the children and removes what was half made before it returns."""
    fakes.mood("apt-hangs")
    task = asyncio.create_task(fetch(["redis"], cache, silent))
    pids = await until_hanging(fakes)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until_gone(pids)
    assert not work_folder(cache).exists()
    fakes.calm("apt-hangs")
    assert set(await fetch(["redis"], cache, silent)) == {"redis"}


async def test_one_failure_ends_the_others(fakes: FakeRegistry, cache: Path) -> None:
    """When the build fails, apt is not left running, and the one error is the build's."""
    fakes.mood("apt-hangs")
    fakes.mood("go-build", "ui/web.go:31:12: syntax error")
    with pytest.raises(BuildError, match="does not build") as caught:
        await fetch(["alertmanager", "redis"], cache, silent)
    assert "syntax error" in caught.value.output[-1]
    await until_gone(fakes.pids)


@pytest.mark.parametrize(
    ("mood", "names", "said", "expected"),
    [
        ("apt-update", ["redis"], "W: Failed to fetch http://m  Temporary failure resolving 'm'", Offline),
        ("apt-update", ["prometheus"], "E: Could not connect to 127.0.0.1:9", Offline),
        ("go-download", ["alertmanager"], 'Get "https://p": dial tcp: lookup p: no such host', Offline),
        ("go-download", ["alertmanager"], "verifying module: checksum mismatch", BuildError),
        ("apt-update", ["redis"], "E: The repository is not signed.", ProvisionError),
        ("apt-download", ["redis"], "E: Write error - write (28: No space left on device)", DiskFull),
        ("dpkg-deb", ["redis"], "tar: x: Cannot write: No space left on device", DiskFull),
        ("go-build", ["alertmanager"], "link: writing output: no space left on device", DiskFull),
    ],
)
async def test_a_bad_day_is_told_as_what_it_is(
    fakes: FakeRegistry, cache: Path, mood: str, names: list[str], said: str, expected: type[ProvisionError]
) -> None:
    """No network, no room, no trust: one error each, nothing half made left, and a good day afterwards works."""
    fakes.mood(mood, said + "\n")
    with pytest.raises(ProvisionError) as caught:
        await fetch(names, cache, silent)
    assert type(caught.value) is expected
    assert said in caught.value.output
    assert cached(names, cache) is None
    assert not work_folder(cache).exists()
    if expected in {Offline, DiskFull}:
        assert caught.value.hint
    fakes.calm(mood)
    assert set(await fetch(names, cache, silent)) == set(names)


async def test_offline_on_request_reaches_for_nothing(fakes: FakeRegistry, cache: Path) -> None:
    """What is missing is named, with the command that brings it."""
    with pytest.raises(Offline, match="redis") as caught:
        await fetch(["redis"], cache, silent, offline=True)
    assert "tocsin stack fetch" in str(caught.value.hint)
    assert fakes.calls == []
    assert not cache.exists()


@pytest.mark.parametrize(
    "says",
    [
        "E: The repository 'http://m trixie InRelease' is not signed.",
        "E: The repository 'http://m trixie Release' does not have a Release file.",
        "W: Failed to fetch http://m/trixie  Connection timed out",
    ],
)
async def test_a_newer_release_that_cannot_serve_is_replaced_by_the_hosts_own(
    fakes: FakeRegistry, cache: Path, says: str
) -> None:
    """Not on the mirror, not verifiable, not reachable: the host's own release serves, and a sentence says so."""
    fakes.mood("apt-update-trixie", says)
    said: list[str] = []
    found = await fetch(["prometheus", "node-exporter", "redis"], cache, said.append)
    assert found["prometheus"].version == "1.5.0"
    assert set(found) == {"prometheus", "node-exporter", "redis"}
    assert any(
        "prometheus and node-exporter come from bookworm, because trixie cannot serve them" in line for line in said
    )


async def test_programs_of_a_newer_release_that_do_not_start_are_replaced(fakes: FakeRegistry, cache: Path) -> None:
    """A libc that is too old is found by starting the program once, before it is published."""
    fakes.mood("program-trixie", "echo \"version 'GLIBC_2.99' not found\" >&2; exit 1\n")
    found = await fetch(["node-exporter"], cache, silent)
    assert found["node-exporter"].version == "1.5.0"


async def test_a_damaged_artifact_is_brought_again_with_a_sentence(fakes: FakeRegistry, cache: Path) -> None:
    """Only the damaged one, and it says why."""
    found = await fetch(["redis", "node-exporter"], cache, silent)
    Path(found["redis"].programs["redis-cli"]).write_text("")
    said: list[str] = []
    again = await fetch(["redis", "node-exporter"], cache, said.append)
    assert said[0].startswith("redis is brought again: it is damaged: ")
    assert not any("node-exporter" in line for line in said)
    assert Path(again["redis"].programs["redis-cli"]).read_text()


async def test_hidden_damage_is_repaired_when_every_byte_is_asked_for(fakes: FakeRegistry, cache: Path) -> None:
    """What the quick check trusts, the full one reads."""
    path = Path((await fetch(["redis"], cache, silent))["redis"].programs["redis-cli"])
    good, status = path.read_text(), path.stat()
    path.write_text(good.replace("echo", "ohce"))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    await fetch(["redis"], cache, silent)
    assert path.read_text() != good
    await fetch(["redis"], cache, silent, every_byte=True)
    assert path.read_text() == good


async def test_a_host_without_go_builds_with_an_unpacked_one(
    fakes: FakeRegistry, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Go comes from apt for the build, may bring the toolchain that the module asks for, and is not kept."""
    monkeypatch.setenv("GOOS", "plan9")
    fakes.without_go()
    found = await fetch(["alertmanager"], cache, silent)
    assert found["alertmanager"].version == "0.34.2"
    assert "go build auto" in fakes.calls
    assert "GOOS=plan9" not in (fakes.folder / "go-environment").read_text()
    assert sorted(path.name for path in (cache / "artifacts").iterdir()) == ["alertmanager"]


@pytest.mark.parametrize(
    ("version", "toolchain", "unpacked"),
    [
        ("go1.26.0", "local", False),
        ("go1.27rc1", "local", False),
        ("go1.25.9", "local", True),
        ("go1.25.9", "auto", False),
        ("go1.22.2", "go1.22.2+auto", False),
        ("go1.19.8", "auto", True),
        ("nonsense", "local", True),
    ],
)
async def test_the_hosts_go_is_used_where_it_can_build(
    fakes: FakeRegistry, cache: Path, version: str, toolchain: str, unpacked: bool
) -> None:
    """New enough, or able and allowed to fetch a newer one; otherwise one is unpacked."""
    fakes.go_is(version, toolchain)
    await fetch(["alertmanager"], cache, silent)
    assert any(line.startswith("apt-get download") for line in fakes.calls) is unpacked


async def test_go_keeps_the_users_settings_and_writes_only_into_the_cache(
    fakes: FakeRegistry, cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Proxy, flags and certificates pass through; every folder that Go writes to is below the cache."""
    theirs = {
        "GOPROXY": "https://mirror.example",
        "GOFLAGS": "-buildvcs=false",
        "SSL_CERT_FILE": "/etc/own.pem",
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "HOME": str(tmp_path / "home"),
    }
    for name, value in {**theirs, "GOOS": "plan9", "GOARCH": "mips"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("GOENV", raising=False)
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    await fetch(["alertmanager"], cache, silent)
    seen = dict(line.partition("=")[::2] for line in (fakes.folder / "go-environment").read_text().splitlines())
    assert theirs.items() <= seen.items()
    assert seen["GOENV"] == f"{tmp_path}/home/.config/go/env"
    for name in ("GOPATH", "GOMODCACHE", "GOCACHE", "GOTMPDIR", "TMPDIR", "XDG_CONFIG_HOME"):
        assert seen[name].startswith(f"{cache}/"), name
    assert (seen["GOOS"], seen["GOARCH"]) == ("linux", "amd64")
    arguments = (fakes.folder / "go-arguments").read_text()
    assert "-trimpath" in arguments
    assert "-X github.com/prometheus/common/version.Version=0.34.2" in arguments


async def test_a_host_without_apt_is_told(cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What is needed is named."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ProvisionError, match="no apt"):
        await fetch(["redis"], cache, silent)


async def test_a_host_whose_sources_are_all_of_others_is_told(fakes: FakeRegistry, cache: Path) -> None:
    """Third parties are not fallen back to."""
    (fakes.folder / "etc/sources.list.d/debian.sources").write_text("")
    with pytest.raises(ProvisionError, match="no source of this host's own distribution"):
        await fetch(["redis"], cache, silent)


async def test_a_cache_that_cannot_be_written_is_told(fakes: FakeRegistry, tmp_path: Path) -> None:
    """No registry is asked for what could not be kept."""
    (tmp_path / "file").write_text("")
    with pytest.raises(CacheError, match="cannot be written"):
        await fetch(["redis"], tmp_path / "file/cache", silent)
    assert fakes.calls == []


async def test_a_cache_folder_that_apt_cannot_name_is_told(fakes: FakeRegistry, tmp_path: Path) -> None:
    """A blank is fine, a colon would cut the library path in two."""
    assert set(await fetch(["redis"], tmp_path / "my cache", silent)) == {"redis"}
    with pytest.raises(CacheError, match="cannot be brought into a folder of the name"):
        await fetch(["redis"], tmp_path / "a:b", silent)


async def test_a_disk_that_is_really_full_is_told(
    fakes: FakeRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real file system of 2 MB and a program of 8: told, swept, and a smaller one fits afterwards."""
    with small_disk(tmp_path / "small") as disk:
        monkeypatch.setenv("FAKE_BYTES", "8000000")
        with pytest.raises(DiskFull, match="no room is left on the file system of"):
            await fetch(["node-exporter"], disk / "cache", silent)
        assert not work_folder(disk / "cache").exists()
        monkeypatch.delenv("FAKE_BYTES")
        assert set(await fetch(["node-exporter"], disk / "cache", silent)) == {"node-exporter"}
