"""Source kind `go`: commands of a module, built once from what Go itself downloads and verifies.

The user's own settings (module proxy, checksum database, flags, certificates) are honoured, wherever Go keeps them;
only the folders that Go writes to are ours, and they go away with the build.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

from harness.errors import BuildError, ProvisionError
from harness.stack.provision.commands import prove_start, run
from harness.stack.provision.source import Deliver, Delivery, GoMainRecipe, GoRecipe, Package, Say

# The first Go that fetches a newer one by itself where a module asks for it, through the same proxy and checks.
_SWITCHES_ITSELF = (1, 21, 0)
_VERSION = re.compile(r"go(\d+)\.(\d+)(?:\.(\d+))?")
_TELL_EVERY_SECONDS = 15.0
_PLACEHOLDER = "<!doctype html><title>Not built</title><p>The user interface is not part of this build.</p>\n"


class GoSource:
    """Builds what a `GoRecipe` names.

    Args:
        toolchain: unpacks a Go below the folder that it is given and returns its root, the program at `usr/bin/go`;
            called where the host's own Go is absent or too old.
    """

    def __init__(self, toolchain: Callable[[Path], Awaitable[Path]]) -> None:
        self._toolchain = toolchain

    @property
    def name(self) -> str:
        """`go`."""
        return "go"

    async def bring(self, packages: Sequence[Package], workshop: Path, say: Say, deliver: Deliver) -> None:
        """Builds packages, one after the other: each build uses every core by itself.

        Raises:
            Offline: the module proxy cannot be reached.
            DiskFull: no room is left.
            BuildError: a module cannot be had, verified or built.
        """
        environment = _environment(workshop)
        own_go: Path | None = None
        for package in packages:
            recipe = _recipe(package)
            go, settings = await _host_go(recipe.language, environment, workshop)
            if go is None:
                if own_go is None:
                    say("this host has no Go that can build; unpacking one for the build")
                    (workshop / "toolchain").mkdir()
                    own_go = await self._toolchain(workshop / "toolchain") / "usr/bin/go"
                go, settings = own_go, {"GOTOOLCHAIN": "auto"}
            await deliver(await _build(package, recipe, go, {**environment, **settings}, workshop, say))


def _recipe(package: Package) -> GoRecipe:
    if not isinstance(package.recipe, GoRecipe):
        raise TypeError(f"{package.name} is not built by Go")
    return package.recipe


def _environment(workshop: Path) -> dict[str, str]:
    """The user's environment with every folder that Go writes to below the workshop."""
    environment = dict(os.environ)
    configuration = Path(environment.get("XDG_CONFIG_HOME") or Path(environment.get("HOME") or "/") / ".config")
    # The user's settings stay where they are; what Go writes beside them (its telemetry counters) moves to ours.
    environment.setdefault("GOENV", str(configuration / "go" / "env"))
    folders = {
        "XDG_CONFIG_HOME": "config",
        "GOPATH": "path",
        "GOMODCACHE": "modules",
        "GOCACHE": "cache",
        "GOTMPDIR": "tmp",
        "TMPDIR": "tmp",
    }
    for variable, folder in folders.items():
        (workshop / folder).mkdir(exist_ok=True)
        environment[variable] = str(workshop / folder)
    # No C compiler is needed, and the result runs wherever the kernel does.
    environment |= {"CGO_ENABLED": "0", "GO111MODULE": "on", "GOWORK": "off"}
    # A user's settings for other machines must not make a program that does not start on this one.
    for variable in ("GOOS", "GOARCH"):
        environment.pop(variable, None)
    return environment


async def _host_go(
    language: tuple[int, int, int], environment: Mapping[str, str], workshop: Path
) -> tuple[Path | None, dict[str, str]]:
    """The host's Go if it can build a module of this language, and what else to tell it."""
    found = shutil.which("go")
    if found is None:
        return None, {}
    try:
        answer = await run(
            [found, "env", "-json", "GOVERSION", "GOTOOLCHAIN", "GOHOSTOS", "GOHOSTARCH"],
            what="the host's Go does not tell its version",
            directory=workshop,
            environment=environment,
            otherwise=BuildError,
            deadline_seconds=60,
        )
        told = json.loads(answer)
        version = _version(told["GOVERSION"])
        # `auto`, or `go1.22.1+auto`.
        switches = version >= _SWITCHES_ITSELF and told["GOTOOLCHAIN"].rpartition("+")[2] == "auto"
    except (BuildError, ValueError, KeyError):
        # A Go that cannot even speak of itself is as good as none; ours is unpacked, and that is said.
        return None, {}
    if version < language and not switches:
        return None, {}
    return Path(found), {"GOOS": told["GOHOSTOS"], "GOARCH": told["GOHOSTARCH"]}


def _version(text: str) -> tuple[int, int, int]:
    """`go1.26.8` as numbers; zeros where the text names no version."""
    match = _VERSION.search(text)
    return (int(match[1]), int(match[2]), int(match[3] or 0)) if match else (0, 0, 0)


async def _build(
    package: Package, recipe: GoRecipe, go: Path, environment: Mapping[str, str], workshop: Path, say: Say
) -> Delivery:
    """Downloads a module, copies it, builds its commands and starts them once."""
    named = f"{recipe.module}@{recipe.version}"
    # A module of our own, so that no go.mod further up has a say.
    room = workshop / package.name
    room.mkdir()
    (room / "go.mod").write_text("module workshop\n")
    say(f"downloading the module {named}")
    answer = await run(
        [str(go), "mod", "download", "-modcacherw", "-json", named],
        what=f"the module {named} cannot be downloaded",
        directory=room,
        environment=environment,
        otherwise=BuildError,
    )
    source = room / "source"
    downloaded = _folder_of(answer, named)
    if isinstance(recipe, GoMainRecipe):
        _wrap(recipe, downloaded, source)
    else:
        _copy(downloaded, source)
    for placeholder in recipe.placeholders:
        path = source / placeholder
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(_PLACEHOLDER)
    root = room / "root"
    (root / "bin").mkdir(parents=True)
    # The one program of a module of ours is called as the package is, not as the module's folder.
    target = f"{root / 'bin'}/" if not isinstance(recipe, GoMainRecipe) else str(root / "bin" / package.name)
    version = recipe.version.removeprefix("v")
    say(f"building {package.name} {version}, which takes a minute or two")
    await run(
        [
            str(go),
            "build",
            "-v",
            "-mod=mod",
            "-modcacherw",
            "-trimpath",
            # The linker would throw debug information away; not writing it at all halves the room that a build takes.
            "-gcflags=all=-dwarf=false",
            "-ldflags",
            " ".join(["-s -w", *([f"-X {variable}={version}"] if (variable := recipe.version_variable) else [])]),
            "-o",
            target,
            *recipe.commands,
        ],
        what=f"the module {named} does not build",
        directory=source,
        environment=environment,
        otherwise=BuildError,
        watch=_progress(package, say),
    )
    for program in package.proved:
        path = root / package.programs[program]
        if not path.exists():
            raise BuildError(f"the module {named} was built and gave no {program}", expected=str(path))
        await prove_start(path, {}, root, package.asked.get(program, ("--version",)))
    return Delivery(package=package, version=version, source="go", root=root)


def _progress(package: Package, say: Say) -> Callable[[str], None]:
    """Counts the packages that `go build -v` names as it compiles them, and tells from time to time."""
    compiled = 0
    told = time.monotonic()

    def watch(line: str) -> None:
        nonlocal compiled, told
        # `go: downloading …` stands between them.
        compiled += not line.startswith("go: ")
        if time.monotonic() - told >= _TELL_EVERY_SECONDS:
            told = time.monotonic()
            say(f"building {package.name}: {compiled} packages compiled")

    return watch


def _folder_of(answer: str, named: str) -> Path:
    """Where Go put a module, from what `go mod download -json` says."""
    try:
        return Path(json.loads(answer)["Dir"])
    except (ValueError, KeyError) as error:
        raise ProvisionError(f"Go does not tell where it put the module {named}", seen=answer.strip()) from error


def _wrap(recipe: GoMainRecipe, module: Path, target: Path) -> None:
    """A module of ours around another: its requirements, its replacements and its checksums, and our one file."""
    target.mkdir()
    text = re.sub(
        r"^module .*$", "module workshop", (module / "go.mod").read_text(encoding="utf-8"), flags=re.MULTILINE
    )
    (target / "go.mod").write_text(f"{text}\nrequire {recipe.module} {recipe.version}\n")
    (target / "go.sum").write_bytes((module / "go.sum").read_bytes())
    (target / "main.go").write_text(recipe.main)


def _copy(source: Path, target: Path) -> None:
    """Copies a module out of the module cache, where files are read-only, to where they may be changed."""
    shutil.copytree(source, target, copy_function=shutil.copyfile)
    for parent, _, _ in os.walk(target):
        Path(parent).chmod(0o755)
