"""The seam between what is wanted and how a kind of source brings it.

A source kind reads its own kind of recipe, works in a folder that is given to it, and hands over deliveries. It never
sees the cache: `harness.stack.provision.fetch` publishes what is delivered. Siblings never import each other; what one
kind needs of another (a compiler, to build with) is given to it as a function.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class AptRecipe:
    """Packages of the distribution, resolved, downloaded and verified by apt, unpacked into a private root.

    Args:
        packages: the packages that hold the programs.
        optional: packages to take where the suite has them (a program that newer releases split off).
        libraries: which packages of the closure come along, by the beginning of their name. None: the programs are
            static but for libc, which is the host's own, and no closure is resolved.
        newest: take them from the newest suite that the host's mirror offers, not from the host's own. Only for
            programs that need nothing but libc.
    """

    packages: tuple[str, ...]
    optional: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ()
    newest: bool = False


@dataclass(frozen=True, slots=True)
class GoRecipe:
    """Commands of a Go module, built once.

    Args:
        module: path of the module.
        version: its version, with the leading `v`.
        commands: packages to build, relative to the module.
        language: the Go version that its go.mod asks for.
        version_variable: the linker symbol that takes the version, so that `--version` tells it.
        placeholders: files that upstream's release process generates and an `embed` directive insists on.
    """

    module: str
    version: str
    commands: tuple[str, ...]
    language: tuple[int, int, int]
    version_variable: str
    placeholders: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GoMainRecipe(GoRecipe):
    """A program of our own around a Go module that cannot be built where it stands.

    What is built is a module of ours with one file; its go.mod is the module's own under another name, because the
    `replace` lines of a module that is only required do not count.

    Args:
        main: the whole Go file.
    """

    main: str = ""


@dataclass(frozen=True, slots=True)
class MavenRecipe:
    """A Java program of ours among the jars that Maven resolves, with a Java runtime of its own.

    Args:
        artifacts: what to depend on, as `group:artifact:version`; their closure comes along.
        version: the version that the delivery is known by.
        sums: the file beside the source kind that names every jar of the closure with its SHA-256.
        main: the Java file beside the source kind that holds the program; its name is the class's.
        java: the oldest and the newest Java that can build and run it.
        rehearsal: how the program is started once, to record which classes it loads: its arguments, with `{home}` for
            an empty folder; it ends by itself.
    """

    artifacts: tuple[str, ...]
    version: str
    sums: str
    main: str
    java: tuple[int, int]
    rehearsal: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PypiRecipe:
    """A wheel of the Python package index, without what it depends on.

    Args:
        requirement: name and version, as `name==version`.
        sums: the SHA-256 of each wheel that will do, one a platform.
        module: the module that must be importable.
    """

    requirement: str
    sums: tuple[str, ...]
    module: str


Recipe = AptRecipe | GoRecipe | MavenRecipe | PypiRecipe


@dataclass(frozen=True, slots=True)
class Package:
    """Something that the catalogue offers.

    Args:
        name: its name in the catalogue.
        recipe: how it is brought; its type says which source kind reads it.
        programs: name of a program -> its path below the root that is delivered.
        proved: the programs that are started before anything is published, to see that they start here.
        asked: how such a program is asked for its version, where that is not by `--version`.
        paths: variable that its programs need -> the folder below the root that it shall name.
    """

    name: str
    recipe: Recipe
    programs: Mapping[str, str]
    proved: tuple[str, ...]
    asked: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    paths: Mapping[str, str] = field(default_factory=dict)

    @property
    def identity(self) -> str:
        """What makes a cached copy the right one: it was made by this very recipe."""
        paths = f" {sorted(self.paths.items())!r}" if self.paths else ""
        return f"{self.recipe!r} {sorted(self.programs.items())!r}{paths}"


@dataclass(frozen=True, slots=True)
class Delivery:
    """What a source kind made: a root with the programs in it, complete and started once.

    `version` is upstream's. `library_path` holds folders below `root`, for the loader.
    """

    package: Package
    version: str
    source: str
    root: Path
    library_path: tuple[str, ...] = field(default=())


Say = Callable[[str], None]
Deliver = Callable[[Delivery], Awaitable[None]]


def listed(names: Sequence[str]) -> str:
    """Names in a sentence: `a, b and c`."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


class SourceKind(Protocol):
    """A kind of place that components come from."""

    @property
    def name(self) -> str:
        """`apt`, `go`, …, as reports write it."""

    async def bring(self, packages: Sequence[Package], workshop: Path, say: Say, deliver: Deliver) -> None:
        """Brings packages whose recipes are of this kind.

        Everything is written below `workshop`, an empty folder on the cache's file system; each package is handed to
        `deliver` as soon as it is complete, which moves its root away.

        Raises:
            Offline: the registry cannot be reached.
            DiskFull: no room is left.
            ProvisionError: anything else that kept a package from being brought.
        """
