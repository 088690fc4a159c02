"""What is in the cache: found quickly, checked, published in one step, never half."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_registry import silent

from harness.errors import CacheError, DiskFull, UsageError
from harness.model.stack import Artifact
from harness.stack.provision import host
from harness.stack.provision.cache import (
    Lack,
    artifacts_folder,
    cached,
    describe,
    look_up,
    publish,
    remove_tree,
    storage_error,
    verify,
    work_folder,
)
from harness.stack.provision.catalog import select
from harness.stack.provision.lock import exclusive
from harness.stack.provision.source import Delivery, Package

(REDIS,) = select(["redis"])


def put(cache: Path, package: Package, extra_files: int = 3) -> Path:
    """Publishes a package made of nothing; its root in the cache."""
    root = work_folder(cache) / f"making-{package.name}"
    (root / "usr/share").mkdir(parents=True)
    for program in package.programs.values():
        (root / program).parent.mkdir(parents=True, exist_ok=True)
        (root / program).write_text("#!/bin/sh\n")
        (root / program).chmod(0o755)
    for number in range(extra_files):
        (root / f"usr/share/{number}").write_text(str(number))
    (root / "usr/lib").symlink_to("share")
    delivery = Delivery(package=package, version="7.0", source="apt", root=root, library_path=("usr/lib",))
    publish(delivery, describe(delivery), cache)
    return artifacts_folder(cache) / package.name / "root"


def test_what_was_published_is_found_with_absolute_paths(tmp_path: Path) -> None:
    """Programs, library path and root are absolute; version and source are the delivery's."""
    root = put(tmp_path, REDIS)
    found = cached(["redis"], tmp_path)
    assert found == {
        "redis": Artifact(
            name="redis",
            version="7.0",
            source="apt",
            root=str(root),
            programs={"redis-server": f"{root}/usr/bin/redis-server", "redis-cli": f"{root}/usr/bin/redis-cli"},
            environment={"LD_LIBRARY_PATH": f"{root}/usr/lib"},
        )
    }


def test_a_relative_cache_gives_absolute_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A component may run in another folder than the one the cache was named from."""
    put(tmp_path, REDIS)
    monkeypatch.chdir(tmp_path.parent)
    found = cached(["redis"], Path(tmp_path.name))
    assert found is not None
    assert found["redis"].programs["redis-cli"].startswith("/")


def test_a_moved_cache_still_serves(tmp_path: Path) -> None:
    """No absolute path stands in a manifest."""
    put(tmp_path / "old", REDIS)
    (tmp_path / "old").rename(tmp_path / "new")
    found = cached(["redis"], tmp_path / "new")
    assert found is not None
    assert found["redis"].root == str(tmp_path / "new/artifacts/redis/root")


def test_one_that_is_missing_makes_the_whole_answer_none(tmp_path: Path) -> None:
    """A half answer would start a half stack."""
    put(tmp_path, REDIS)
    assert cached(["redis", "mariadb"], tmp_path) is None
    assert look_up(select(["mariadb"])[0], tmp_path) == Lack("mariadb", None)


def test_an_unknown_name_is_told_with_the_known_ones(tmp_path: Path) -> None:
    """A misspelt component is the caller's mistake, not a missing one."""
    with pytest.raises(UsageError, match="promtheus") as caught:
        cached(["promtheus"], tmp_path)
    assert "node-exporter" in str(caught.value)


def _cut(root: Path) -> None:
    (root / "usr/bin/redis-cli").write_text("#!")


def _change(root: Path) -> None:
    (root / "usr/share/1").write_text("x")


def _remove(root: Path) -> None:
    (root / "usr/share/2").unlink()


def _forbid(root: Path) -> None:
    (root / "usr/bin/redis-server").chmod(0o644)


def _mislead(root: Path) -> None:
    (root / "usr/lib").unlink()
    (root / "usr/lib").symlink_to("bin")


def _cut_manifest(root: Path) -> None:
    path = root.parent / "manifest.json"
    path.write_text(path.read_text()[:100])


def _empty_manifest(root: Path) -> None:
    (root.parent / "manifest.json").write_text("{}")


def _lose_manifest(root: Path) -> None:
    (root.parent / "manifest.json").unlink()


def _lose_root(root: Path) -> None:
    remove_tree(root)


@pytest.mark.parametrize(
    "damage",
    [_cut, _change, _remove, _forbid, _mislead, _cut_manifest, _empty_manifest, _lose_manifest, _lose_root],
)
def test_damage_is_seen_by_the_quick_check(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    """A damaged artifact is as good as none, and the reason names what was found."""
    root = put(tmp_path, REDIS)
    damage(root)
    assert cached(["redis"], tmp_path) is None
    lack = look_up(REDIS, tmp_path)
    assert isinstance(lack, Lack)
    assert lack.reason is not None
    assert lack.reason.startswith("it is damaged: ")


def test_a_flipped_byte_that_hides_its_time_is_seen_by_verify_alone(tmp_path: Path) -> None:
    """The quick check trusts size and time; `verify` reads every byte."""
    path = put(tmp_path, REDIS) / "usr/share/1"
    status = path.stat()
    path.write_text("7")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert cached(["redis"], tmp_path) is not None
    (lack,) = verify(["redis"], tmp_path)
    assert lack.reason is not None
    assert "usr/share/1" in lack.reason


def test_a_copied_cache_serves_although_all_times_changed(tmp_path: Path) -> None:
    """Where the time of a file changed, its content decides."""
    root = put(tmp_path, REDIS)
    for path in root.rglob("*"):
        if not path.is_symlink():
            os.utime(path)
    assert cached(["redis"], tmp_path) is not None
    assert verify(["redis"], tmp_path) == ()


def test_what_was_made_for_another_host_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home folder that two machines share does not give one of them the other's programs."""
    put(tmp_path, REDIS)
    (tmp_path / "os-release").write_text("ID=debian\nVERSION_CODENAME=forky\n")
    monkeypatch.setattr(host, "OS_RELEASE", tmp_path / "os-release")
    lack = look_up(REDIS, tmp_path)
    assert isinstance(lack, Lack)
    assert "another host" in str(lack.reason)


def test_an_older_recipe_is_not_used(tmp_path: Path) -> None:
    """When the catalogue asks for another version, the cached one is outdated."""
    manifest = put(tmp_path, REDIS).parent / "manifest.json"
    content = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**content, "recipe": "something else"}))
    assert look_up(REDIS, tmp_path) == Lack("redis", "it was made by an older recipe")


def test_publication_replaces_what_was_damaged(tmp_path: Path) -> None:
    """The new one stands where the old one stood, and nothing of the old one is mixed in."""
    root = put(tmp_path, REDIS)
    (root / "stray").write_text("x")
    _cut(root)
    put(tmp_path, REDIS)
    assert cached(["redis"], tmp_path) is not None
    assert not (root / "stray").exists()


def test_a_failure_before_the_rename_publishes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fills up while the manifest is written leaves no artifact, and is told as what it is."""

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskFull, match="no room is left"):
        put(tmp_path, REDIS)
    assert not (artifacts_folder(tmp_path) / "redis").exists()


def test_a_read_only_cache_that_is_complete_serves(tmp_path: Path) -> None:
    """Asking takes no lock and writes nothing."""
    put(tmp_path, REDIS)
    before = sorted(path.name for path in tmp_path.iterdir())
    assert cached(["redis"], tmp_path) is not None
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_refusals_to_write_are_told_apart() -> None:
    """A full disk is not a missing permission."""
    assert type(storage_error(OSError(errno.ENOSPC, "x"), Path("/c"))) is DiskFull
    assert type(storage_error(OSError(errno.EROFS, "Read-only file system"), Path("/c"))) is CacheError


def test_read_only_folders_are_removed(tmp_path: Path) -> None:
    """A module cache is read-only on purpose; removing needs no root."""
    inner = tmp_path / "work/modules/a"
    inner.mkdir(parents=True)
    (inner / "go.mod").write_text("x")
    inner.chmod(0o500)
    inner.parent.chmod(0o500)
    remove_tree(tmp_path / "work")
    assert not (tmp_path / "work").exists()


async def test_the_lock_lets_one_in_at_a_time(tmp_path: Path) -> None:
    """The second says that it waits, and enters when the first is done."""
    said: list[str] = []
    order: list[str] = []
    inside = asyncio.Event()
    leave = asyncio.Event()

    async def first() -> None:
        async with exclusive(tmp_path, said.append):
            inside.set()
            await leave.wait()
            order.append("first")

    def hear(text: str) -> None:
        said.append(text)
        leave.set()

    async def second() -> None:
        await inside.wait()
        async with exclusive(tmp_path, hear):
            order.append("second")

    async with asyncio.timeout(5):
        await asyncio.gather(first(), second())
    assert order == ["first", "second"]
    assert len(said) == 1
    assert "waiting" in said[0]


async def test_a_lock_that_is_never_freed_is_told(tmp_path: Path) -> None:
    """Waiting ends with a sentence about how long it was and how to find the holder."""
    async with exclusive(tmp_path, silent):
        with pytest.raises(CacheError, match="stayed locked") as caught:
            async with exclusive(tmp_path, silent, deadline_seconds=0.15):
                pass
    assert caught.value.waited_seconds == 0.15


async def test_a_cache_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    """A file where the folder should be: a sentence that names TOCSIN_CACHE."""
    (tmp_path / "file").write_text("")
    with pytest.raises(CacheError, match="cannot be written") as caught:
        async with exclusive(tmp_path / "file/cache", silent):
            pass
    assert "TOCSIN_CACHE" in str(caught.value.hint)


def test_asking_imports_nothing_heavy() -> None:
    """Why a warm start is quick (`benchmarks/startup.py`): no event loop, no network, no library of others at all."""
    code = (
        "import sys; before = set(sys.modules); import harness.stack.provision.cache\n"
        "print(*sorted({name.split('.')[0] for name in set(sys.modules) - before}))"
    )
    loaded = set(subprocess.check_output([sys.executable, "-c", code], text=True).split())
    assert "harness" in loaded
    assert not loaded & {"asyncio", "ssl", "aiohttp", "yaml", "rich", "scipy", "subprocess", "socket"}
