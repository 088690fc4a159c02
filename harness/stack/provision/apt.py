"""Source kind `apt`: packages of the distribution, in a private root, as any user.

apt itself resolves, downloads and verifies (signatures of the lists, hashes of the packages); only its folders are
ours, so nothing of the system is written and nothing of it counts as installed. The user's own settings (proxies,
certificates, credentials of mirrors) are read as always; hooks that run after an update are not run, because they are
written for the system's own folders.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import CacheError, ProvisionError
from harness.stack.provision.commands import prove_start, run
from harness.stack.provision.host import this_host
from harness.stack.provision.repositories import (
    Repository,
    newest_release,
    of_release,
    own_repositories,
)
from harness.stack.provision.source import AptRecipe, Deliver, Delivery, Package, Say, listed

_ORIGINS: Mapping[str, str] = {"debian": "Debian", "ubuntu": "Ubuntu"}

# `Inst mariadb-common (1:10.11.14-0+deb12u2 Debian:12.12/stable [all])`
_SIMULATED = re.compile(r"^Inst (?P<name>\S+) (?:\[\S+\] )?\((?P<version>\S+) ", re.MULTILINE)
_CANDIDATE = re.compile(r"^(?P<name>[a-z0-9][a-z0-9.+-]*):\n(?:  .*\n)*?  Candidate: (?P<version>\S+)$", re.MULTILINE)
# The host's own libc and loader must win: two of them in one process do not go together. What else is left out belongs
# to a system and its set-up, not to a program that runs: interpreters, account tools and their parts.
_HOSTS_OWN = re.compile(
    r"libc6(:.*)?|libc-bin|lib(perl|pam|semanage|sepol|audit|debconf)[0-9a-z.-]*|lib.*-(perl|common|bin)"
)
_LIBRARY = re.compile(r"lib.+\.so(\.\d+)*")
_NOT_NEEDED = ("usr/share/doc", "usr/share/man", "usr/share/lintian", "usr/share/bash-completion", "usr/share/gdb")
_UPSTREAM = re.compile(r"^(?:\d+:)?(?P<upstream>[0-9][0-9a-z.]*)")


@dataclass(frozen=True, slots=True)
class _Shelf:
    """A release of the distribution as apt sees it through folders of ours."""

    release: str
    folder: Path

    async def ask(self, program: str, *arguments: str, what: str, directory: Path | None = None) -> str:
        """Runs one of apt's programs on this shelf and returns what it says."""
        return await run(
            [program, "--config-file", str(self.folder / "apt.conf"), *arguments],
            what=what,
            directory=directory or self.folder,
            # Messages are read by us, so they must be in the one language that we know.
            environment={**os.environ, "LC_ALL": "C", "LANGUAGE": "C", "TMPDIR": str(self.folder / "tmp")},
        )


class AptSource:
    """Brings what an `AptRecipe` names."""

    @property
    def name(self) -> str:
        """`apt`."""
        return "apt"

    async def bring(self, packages: Sequence[Package], workshop: Path, say: Say, deliver: Deliver) -> None:
        """Brings packages, those of the host's own release and those of the newest one side by side.

        Where the newest release cannot be had (not on the mirror, not verifiable with the host's keys, or its programs
        do not start here), the host's own serves instead, and a sentence says so.

        Raises:
            Offline: the mirror cannot be reached.
            DiskFull: no room is left.
            ProvisionError: the host has no apt, or its own release cannot serve.
        """
        if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
            raise ProvisionError(
                "components come from Debian's or Ubuntu's packages, and this host has no apt",
                expected="the programs apt-get, apt-cache, apt-config, dpkg and dpkg-deb on PATH",
            )
        host = this_host()
        codename = host.codename
        repositories = own_repositories(await _source_lists(workshop), codename)
        if not codename or not repositories:
            raise ProvisionError(
                "apt has no source of this host's own distribution",
                expected=f"an entry for {codename or 'the VERSION_CODENAME of os-release, which names none'}",
                seen="only entries of others, or none that this user may read",
                hint="see sources.list(5); suites that are named `stable` or `testing` are not followed",
            )
        newest = newest_release(host)
        own = _Shelf(codename, workshop / "own")
        ahead = _Shelf(newest, workshop / "newest")
        from_newest = [package for package in packages if newest != codename and _recipe(package).newest]
        from_own = [package for package in packages if package not in from_newest]

        async def serve(shelf: _Shelf, wanted: Sequence[Package]) -> list[Delivery]:
            entries = of_release(repositories, codename, shelf.release)
            await _stock(shelf, entries, _ORIGINS.get(host.distribution))
            return await _take(shelf, wanted, say)

        async def serve_own() -> None:
            for delivery in await serve(own, from_own) if from_own else ():
                await deliver(delivery)

        async def serve_newest() -> list[Package]:
            try:
                for delivery in await serve(ahead, from_newest) if from_newest else ():
                    await deliver(delivery)
            except CacheError:
                raise
            except ProvisionError as error:
                names = listed([package.name for package in from_newest])
                verb, them = ("comes", "it") if len(from_newest) == 1 else ("come", "them")
                say(f"{names} {verb} from {codename}, because {newest} cannot serve {them}: {error.what}")
                return from_newest
            return []

        async with asyncio.TaskGroup() as group:
            group.create_task(serve_own())
            left = group.create_task(serve_newest())
        if left.result():
            for delivery in await serve(_Shelf(codename, workshop / "instead"), left.result()):
                await deliver(delivery)


def _recipe(package: Package) -> AptRecipe:
    if not isinstance(package.recipe, AptRecipe):
        raise TypeError(f"{package.name} is not brought by apt")
    return package.recipe


async def _source_lists(workshop: Path) -> list[Path]:
    """The files that hold the host's sources, in apt's own order."""
    answer = await run(
        ["apt-config", "shell", "LIST", "Dir::Etc::sourcelist/f", "PARTS", "Dir::Etc::sourceparts/d"],
        what="apt does not tell where its sources are",
        directory=workshop,
        environment=os.environ,
    )
    values = dict(re.findall(r"^(\w+)='(.*)'$", answer, re.MULTILINE))
    lists = [Path(values["LIST"])] if "LIST" in values else []
    if "PARTS" in values:
        parts = Path(values["PARTS"])
        lists += sorted(path for path in parts.glob("*") if path.suffix in {".list", ".sources"})
    return lists


async def _stock(shelf: _Shelf, repositories: Sequence[Repository], origin: str | None) -> None:
    """Gives a shelf folders, sources and settings of its own and has apt fetch and verify the lists of packages."""
    folder = shelf.folder
    for part in ("state/lists/partial", "cache/archives/partial", "log", "tmp", "packages"):
        (folder / part).mkdir(parents=True)
    (folder / "state/status").touch()
    architecture = (
        await run(
            ["dpkg", "--print-architecture"],
            what="dpkg does not tell this host's architecture",
            directory=folder,
            environment=os.environ,
        )
    ).strip()
    (folder / "own.sources").write_text("\n".join(entry.stanza(architecture) for entry in repositories))
    # Whoever the distribution itself is wins, should an entry of somebody else have passed for the distribution's.
    pin = f"Package: *\nPin: release o={origin}\nPin-Priority: 1001\n" if origin else ""
    (folder / "preferences").write_text(pin)
    (folder / "apt.conf").write_text(private_settings(folder))
    await shelf.ask("apt-get", "update", what=f"the package lists of {shelf.release} cannot be fetched")


def private_settings(folder: Path) -> str:
    """The settings that make apt work in a folder of ours, to be read after the host's own.

    Raises:
        CacheError: the folder's name cannot be written into apt's settings, or into a library path.
    """
    if re.search(r'["\n\\;{}:]', str(folder)):
        raise CacheError(
            f"components cannot be brought into a folder of the name {folder}",
            expected="a name that apt's settings and the loader's library path can hold",
            hint="let TOCSIN_CACHE name a folder without quotation marks, braces, colons, semicolons and backslashes",
        )
    values = {
        "Dir::State": f"{folder}/state",
        "Dir::State::lists": "lists/",
        "Dir::State::status": f"{folder}/state/status",
        "Dir::Cache": f"{folder}/cache",
        "Dir::Cache::archives": "archives/",
        "Dir::Cache::pkgcache": "pkgcache.bin",
        "Dir::Cache::srcpkgcache": "srcpkgcache.bin",
        "Dir::Log": f"{folder}/log",
        "Dir::Etc::sourcelist": f"{folder}/own.sources",
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::Etc::preferences": f"{folder}/preferences",
        "Dir::Etc::preferencesparts": "/dev/null",
        "Debug::NoLocking": "1",
        # root may not be able to write as apt's own user into a folder of ours, and nobody else has one.
        "APT::Sandbox::User": "root",
        "APT::Install-Recommends": "0",
        "APT::Install-Suggests": "0",
        "APT::Update::Error-Mode": "any",
        "APT::Default-Release": "",
        "Acquire::Languages": "none",
        "Acquire::GzipIndexes": "0",
    }
    hooks = (
        "APT::Update::Pre-Invoke",
        "APT::Update::Post-Invoke",
        "APT::Update::Post-Invoke-Success",
        "APT::Update::Post-Invoke-Stats",
        "AptCli::Hooks",
        "Binary::apt-get::AptCli::Hooks",
        "DPkg::Pre-Invoke",
        "DPkg::Post-Invoke",
        "DPkg::Pre-Install-Pkgs",
    )
    return "".join(f"#clear {hook};\n" for hook in hooks) + "".join(
        f'{name} "{value}";\n' for name, value in values.items()
    )


async def _take(shelf: _Shelf, wanted: Sequence[Package], say: Say) -> list[Delivery]:
    """Resolves, downloads and unpacks packages; every program was started once when this returns."""
    names = sorted({name for package in wanted for name in (*_recipe(package).packages, *_recipe(package).optional)})
    what = f"the packages of {shelf.release} cannot be resolved"
    candidates = dict(_CANDIDATE.findall(await shelf.ask("apt-cache", "policy", *names, what=what)))
    selections: dict[str, dict[str, str]] = {}
    for package in wanted:
        recipe = _recipe(package)
        missing = [name for name in recipe.packages if candidates.get(name, "(none)") == "(none)"]
        if missing:
            raise ProvisionError(
                f"{shelf.release} does not offer {', '.join(missing)}",
                hint="see that the host's sources name the components `main` and, on Ubuntu, `universe`",
            )
        present = [name for name in recipe.optional if candidates.get(name, "(none)") != "(none)"]
        selections[package.name] = {name: candidates[name] for name in (*recipe.packages, *present)}
        if recipe.libraries:
            simulated = await shelf.ask("apt-get", "--simulate", "install", *recipe.packages, what=what)
            selections[package.name] |= {
                name: version
                for name, version in _SIMULATED.findall(simulated)
                if name.startswith(recipe.libraries) and not _HOSTS_OWN.fullmatch(name)
            }
    downloads = sorted({f"{name}={version}" for chosen in selections.values() for name, version in chosen.items()})
    say(f"downloading {len(downloads)} package{'s' if len(downloads) > 1 else ''} of {shelf.release}")
    store = shelf.folder / "packages"
    await shelf.ask(
        "apt-get",
        "download",
        *downloads,
        what=f"packages of {shelf.release} cannot be downloaded",
        directory=store,
    )
    deliveries = [await _unpack(shelf, package, selections[package.name]) for package in wanted]
    # The lists and archives would otherwise take their room until the longest build is done.
    for part in ("state", "cache", "packages"):
        shutil.rmtree(shelf.folder / part)
    return deliveries


async def _unpack(shelf: _Shelf, package: Package, chosen: Mapping[str, str]) -> Delivery:
    """Unpacks one package and what came along into a root of its own, and starts its programs."""
    root = shelf.folder / "roots" / package.name
    root.mkdir(parents=True)
    store = shelf.folder / "packages"
    for name, version in chosen.items():
        # apt escapes the colon of an epoch in the file's name.
        archives = list(store.glob(f"{name}_{version.replace(':', '%3a')}_*.deb"))
        if not archives:
            raise ProvisionError(f"apt downloaded {name} {version} and its file is not in {store}")
        await run(
            ["dpkg-deb", "--extract", str(archives[0]), str(root)],
            what=f"{archives[0].name} cannot be unpacked",
            directory=root,
            environment={**os.environ, "LC_ALL": "C", "TMPDIR": str(shelf.folder / "tmp")},
        )
    for path in _NOT_NEEDED:
        shutil.rmtree(root / path, ignore_errors=True)
    _repoint_links(root)
    library_path = _library_path(root)
    environment = {"LD_LIBRARY_PATH": ":".join(str(root / path) for path in library_path)} if library_path else {}
    for program, path in package.programs.items():
        if not os.access(root / path, os.X_OK):
            raise ProvisionError(f"{package.name} of {shelf.release} has no {program}", expected=f"the program {path}")
        if program in package.proved:
            await prove_start(root / path, environment, root, package.asked.get(program, ("--version",)))
    return Delivery(
        package=package,
        version=upstream_version(chosen[_recipe(package).packages[0]]),
        source="apt",
        root=root,
        library_path=library_path,
    )


def upstream_version(version: str) -> str:
    """Upstream's part of a Debian version: `1:10.11.14-0+deb12u2` is 10.11.14, `2.53.3+ds1-2` is 2.53.3."""
    match = _UPSTREAM.match(version)
    return match["upstream"] if match else version


def _repoint_links(root: Path) -> None:
    """Makes absolute links lead into the private root, by a relative path, so that the root may be moved."""
    for parent, folders, names in os.walk(root):
        for name in (*folders, *names):
            path = Path(parent, name)
            if path.is_symlink() and path.readlink().is_absolute():
                inside = root / path.readlink().relative_to("/")
                path.unlink()
                if os.path.lexists(inside):
                    path.symlink_to(os.path.relpath(inside, parent))


def _library_path(root: Path) -> tuple[str, ...]:
    """The folders below a root that hold shared libraries, for the loader."""
    folders: list[str] = []
    for base in ("usr/lib", "lib"):
        for parent, _, names in os.walk(root / base):
            if any(_LIBRARY.fullmatch(name) for name in names):
                folders.append(str(Path(parent).relative_to(root)))
    return tuple(folders)
