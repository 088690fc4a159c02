"""What is in the cache: publication in one step, integrity, and the quick answer without a network.

    <cache>/artifacts/<name>/manifest.json    what it is, and size, time and hash of every file
    <cache>/artifacts/<name>/root/            the private root
    <cache>/work/                             what is being made; swept under the lock by the next who works
    <cache>/provision.lock                    held while somebody works

An artifact appears by one rename and is never changed in place, so readers need no lock and a cache that is complete
may be read-only. A manifest holds no absolute path: a cache may be moved.

This module is on the path of a start with a warm cache, which has 0.2 s for everything: no asyncio here.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import CacheError, DiskFull
from harness.model.stack import Artifact
from harness.stack.provision.catalog import select
from harness.stack.provision.host import this_host
from harness.stack.provision.source import Delivery, Package

_SCHEMA = "tocsin/artifact/1"
_MANIFEST = "manifest.json"
_ROOT = "root"


@dataclass(frozen=True, slots=True)
class Lack:
    """Why the cache cannot serve a package. `reason` is None where it was simply never brought."""

    name: str
    reason: str | None


class _Unfit(Exception):
    """What is in the cache cannot be used; the text says why. Never leaves this module."""


def artifacts_folder(cache: Path) -> Path:
    """Where published artifacts are."""
    return cache / "artifacts"


def work_folder(cache: Path) -> Path:
    """Where artifacts are made, on the same file system as where they are published."""
    return cache / "work"


def storage_error(error: OSError, cache: Path) -> CacheError:
    """What an operating system's refusal to write means for the cache."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return DiskFull(
            f"no room is left on the file system of {cache}",
            seen=str(error),
            hint="make room there, or let TOCSIN_CACHE name a folder on a larger file system, and start again",
        )
    return CacheError(
        f"the cache {cache} cannot be written",
        seen=str(error),
        hint="let TOCSIN_CACHE name a folder that this user may write to",
    )


def cached(names: Sequence[str], cache: Path) -> Mapping[str, Artifact] | None:
    """The artifacts of these names, or None if one of them is missing, outdated or damaged.

    Looks at the size, the time and the mode of every file; reads one whole only where its time changed. Reaches no
    network and takes no lock.

    Raises:
        UsageError: a name that the catalogue does not have.
    """
    found: dict[str, Artifact] = {}
    for package in select(names):
        answer = look_up(package, cache.absolute())
        if isinstance(answer, Lack):
            return None
        found[package.name] = answer
    return found


def verify(names: Sequence[str], cache: Path) -> tuple[Lack, ...]:
    """What the cache cannot serve, every byte of every file read and compared; empty if all is well.

    Raises:
        UsageError: a name that the catalogue does not have.
    """
    answers = (look_up(package, cache.absolute(), every_byte=True) for package in select(names))
    return tuple(answer for answer in answers if isinstance(answer, Lack))


def look_up(package: Package, cache: Path, *, every_byte: bool = False) -> Artifact | Lack:
    """The artifact of one package, or why there is none.

    Args:
        package: the package.
        cache: the cache.
        every_byte: compare the hash of every file, not only of those whose time changed.
    """
    folder = artifacts_folder(cache) / package.name
    root = folder / _ROOT
    try:
        manifest = _read_manifest(folder / _MANIFEST)
        if manifest is None:
            return Lack(package.name, None)
        if _text(manifest, "recipe") != package.identity:
            return Lack(package.name, "it was made by an older recipe")
        if _text(manifest, "host") != str(this_host()):
            return Lack(package.name, f"it was made for another host, {_text(manifest, 'host')}")
        _compare(root, manifest, every_byte=every_byte)
        programs = {name: str(root / path) for name, path in _texts(manifest, "programs").items()}
        _all_executable(programs.values())
        library_path = ":".join(str(root / path) for path in _list(manifest, "library_path"))
        environment = {variable: str(root / path) for variable, path in package.paths.items()}
        return Artifact(
            name=package.name,
            version=_text(manifest, "version"),
            source=_text(manifest, "source"),
            root=str(root),
            programs=programs,
            environment=environment | ({"LD_LIBRARY_PATH": library_path} if library_path else {}),
        )
    except _Unfit as unfit:
        return Lack(package.name, f"it is damaged: {unfit}")
    except OSError as error:
        return Lack(package.name, f"it is damaged: {error}")


def describe(delivery: Delivery) -> str:
    """The manifest of a delivery, as text: every file is read once for it. Only reads, so it may run in a thread.

    Raises:
        OSError: something of it cannot be read.
    """
    files: dict[str, list[int | str]] = {}
    links: dict[str, str] = {}
    for parent, folders, names in os.walk(delivery.root):
        for name in sorted([*folders, *names]):
            path = Path(parent, name)
            status = path.lstat()
            relative = str(path.relative_to(delivery.root))
            if stat.S_ISLNK(status.st_mode):
                links[relative] = str(path.readlink())
            elif stat.S_ISREG(status.st_mode):
                files[relative] = [status.st_size, status.st_mtime_ns, stat.S_IMODE(status.st_mode), _hash(path)]
    manifest = {
        "schema": _SCHEMA,
        "name": delivery.package.name,
        "version": delivery.version,
        "source": delivery.source,
        "recipe": delivery.package.identity,
        "host": str(this_host()),
        "programs": dict(delivery.package.programs),
        "library_path": list(delivery.library_path),
        "files": files,
        "links": links,
    }
    return json.dumps(manifest)


def publish(delivery: Delivery, manifest: str, cache: Path) -> None:
    """Puts a delivery into the cache by one rename; what was there of that name goes away.

    The caller holds the lock, and the delivery's root is on the cache's file system.

    Raises:
        DiskFull: no room is left.
        CacheError: the cache cannot be written.
    """
    target = artifacts_folder(cache) / delivery.package.name
    made = delivery.root.parent / f"{delivery.package.name}.publish"
    try:
        made.mkdir()
        delivery.root.rename(made / _ROOT)
        with (made / _MANIFEST).open("w", encoding="utf-8") as stream:
            stream.write(manifest)
            stream.flush()
            os.fsync(stream.fileno())
        target.parent.mkdir(exist_ok=True)
        if target.exists():
            target.rename(made.with_suffix(".old"))
        made.rename(target)
    except OSError as error:
        raise storage_error(error, cache) from error


def remove_tree(folder: Path) -> None:
    """Removes a folder and everything below it, read-only folders (a module cache's) too.

    Raises:
        OSError: something of it belongs to somebody else, or is still being written.
    """
    try:
        shutil.rmtree(folder)
    except PermissionError:
        for parent, folders, _ in os.walk(folder):
            for name in folders:
                path = Path(parent, name)
                if not path.is_symlink():
                    path.chmod(0o700)
        shutil.rmtree(folder)


def _read_manifest(path: Path) -> Mapping[str, object] | None:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        if path.parent.exists():
            raise _Unfit(f"{path} is missing") from None
        return None
    try:
        manifest = json.loads(text)
    except ValueError as error:
        raise _Unfit(f"{path} cannot be read ({error})") from None
    if not isinstance(manifest, dict) or manifest.get("schema") != _SCHEMA:
        raise _Unfit(f"{path} is not a manifest of ours")
    return manifest


def _compare(root: Path, manifest: Mapping[str, object], *, every_byte: bool) -> None:
    files = manifest.get("files")
    if not isinstance(files, dict) or not files:
        raise _Unfit("its manifest lists no files")
    prefix = f"{root}/"
    for relative, expected in files.items():
        path = prefix + relative
        if not isinstance(expected, list) or len(expected) != 4:
            raise _Unfit(f"its manifest is wrong about {relative}")
        size, mtime_ns, mode, digest = expected
        try:
            status = os.lstat(path)
        except FileNotFoundError:
            raise _Unfit(f"{path} is missing") from None
        if not stat.S_ISREG(status.st_mode) or status.st_size != size:
            raise _Unfit(f"{path} has {status.st_size} bytes instead of {size}")
        if status.st_mode & 0o100 != mode & 0o100:
            raise _Unfit(f"{path} is executable or not, other than when it was brought")
        if (every_byte or status.st_mtime_ns != mtime_ns) and _hash(Path(path)) != digest:
            raise _Unfit(f"the content of {path} changed")
    for relative, target in _texts(manifest, "links").items():
        path = prefix + relative
        try:
            seen = os.readlink(path)  # noqa: PTH115 - a Path for each of a thousand links costs what we do not have
        except OSError as error:
            raise _Unfit(str(error)) from None
        if seen != target:
            raise _Unfit(f"{path} leads to {seen} instead of {target}")


def _all_executable(programs: Iterable[str]) -> None:
    for program in programs:
        if not os.access(program, os.X_OK):
            raise _Unfit(f"{program} cannot be executed")


def _hash(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _text(manifest: Mapping[str, object], key: str) -> str:
    value = manifest.get(key)
    if not isinstance(value, str):
        raise _Unfit(f"its manifest has no {key}")
    return value


def _list(manifest: Mapping[str, object], key: str) -> Sequence[str]:
    value = manifest.get(key)
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise _Unfit(f"its manifest has no {key}")
    return value


def _texts(manifest: Mapping[str, object], key: str) -> Mapping[str, str]:
    value = manifest.get(key)
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise _Unfit(f"its manifest has no {key}")
    return value
