"""Source kind `maven`: a Java program of ours among the jars that Maven brings, with a Java runtime of its own.

The user's own settings (mirrors, proxies, credentials in `~/.m2/settings.xml`, `MAVEN_OPTS`) are honoured; only the
local repository is ours, and goes away with the work. Maven compares its own checksums strictly, and every jar is
compared with a SHA-256 of ours afterwards. The runtime is linked from the JDK (`jlink`), so that what is published
goes on working when the host's Java is updated or removed.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import shutil
import zipfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

from harness.errors import BuildError, ProvisionError
from harness.stack.provision.class_data import launcher, record
from harness.stack.provision.commands import prove_start, run
from harness.stack.provision.source import Deliver, Delivery, MavenRecipe, Package, Say
from harness.stack.provision.trust import trust_store

BESIDE = Path(__file__).parent
"""Where programs of ours and lists of sums are."""

_JAR = "node.jar"
# A plugin of a fixed version: what is asked of the repository changes when this project changes.
_COPY = "org.apache.maven.plugins:maven-dependency-plugin:2.8:copy-dependencies"
_HOME = re.compile(r"^\s*java\.home = (?P<home>.+)$", re.MULTILINE)
_VERSION = re.compile(r"^\s*java\.specification\.version = (?P<version>\d+)$", re.MULTILINE)
_MODULES = (
    "java.se,jdk.unsupported,jdk.management,jdk.net,jdk.zipfs,jdk.charsets,jdk.crypto.ec,jdk.naming.dns,jdk.localedata"
)
# Analysers want to know how Thai is cut into words.
_LOCALES = "en,ko,th"
_CORRUPT = re.compile(r"Checksum validation failed|ChecksumFailure|Premature end of Content-Length|zip END header")


@dataclass(frozen=True, slots=True)
class _Tools:
    """A JDK by its home, and Maven's program."""

    jdk: Path
    maven: Path
    options: tuple[str, ...] = ()


class MavenSource:
    """Makes what a `MavenRecipe` names.

    Args:
        toolchain: unpacks a JDK and Maven below the folder that it is given and returns their root, as Debian lays
            them out; called where the host lacks one of them, or has a Java of another age.
    """

    def __init__(self, toolchain: Callable[[Path], Awaitable[Path]]) -> None:
        self._toolchain = toolchain

    @property
    def name(self) -> str:
        """`maven`."""
        return "maven"

    async def bring(self, packages: Sequence[Package], workshop: Path, say: Say, deliver: Deliver) -> None:
        """Makes packages one after the other.

        Raises:
            Offline: the repository cannot be reached.
            DiskFull: no room is left.
            BuildError: the program does not compile, or does not run to its end once.
            ProvisionError: a jar cannot be had or is not the one that it should be, or no JDK can be had.
        """
        unpacked: Path | None = None
        for package in packages:
            recipe = _recipe(package)
            room = workshop / package.name
            (room / "tmp").mkdir(parents=True)
            jdk, maven = await _host_jdk(recipe.java, room), shutil.which("mvn")
            options: tuple[str, ...] = ()
            if (jdk is None or maven is None) and unpacked is None:
                say(f"this host has no {'JDK' if jdk is None else 'Maven'} that can build; unpacking one for the build")
                (workshop / "toolchain").mkdir()
                unpacked = await self._toolchain(workshop / "toolchain")
            if jdk is None and unpacked is not None:
                jdk = _unpacked_jdk(unpacked)
                options = await asyncio.to_thread(_trust, workshop / "trust.jks")
            if maven is None and unpacked is not None:
                maven = str(unpacked / "usr/share/maven/bin/mvn")
            if jdk is None or maven is None:
                raise ProvisionError("neither the host nor its packages have a JDK and Maven")
            await deliver(await _make(package, recipe, _Tools(jdk, Path(maven), options), room, say))


def _recipe(package: Package) -> MavenRecipe:
    if not isinstance(package.recipe, MavenRecipe):
        raise TypeError(f"{package.name} is not made of jars")
    return package.recipe


async def _host_jdk(ages: tuple[int, int], room: Path) -> Path | None:
    """The home of the host's JDK, if it is complete and of the right age."""
    home = os.environ.get("JAVA_HOME")
    found = f"{home}/bin/java" if home and os.access(f"{home}/bin/java", os.X_OK) else shutil.which("java")
    if found is None:
        return None
    try:
        told = await run(
            # Settings are told on standard error, all of which is kept by a shell's redirection alone.
            ["/bin/sh", "-c", 'exec "$0" -XshowSettings:properties -version 2>&1', found],
            what="the host's Java does not tell its version",
            directory=room,
            environment=os.environ,
            deadline_seconds=60,
        )
    except ProvisionError:
        # A Java that cannot even speak of itself is as good as none; ours is unpacked, and that is said.
        return None
    where, version = _HOME.search(told), _VERSION.search(told)
    if where is None or version is None or not ages[0] <= int(version["version"]) <= ages[1]:
        return None
    jdk = Path(where["home"].strip())
    complete = all((jdk / part).exists() for part in ("bin/javac", "bin/jlink", "jmods/java.base.jmod"))
    return jdk if complete else None


def _unpacked_jdk(root: Path) -> Path:
    """The home of a JDK that was unpacked from the distribution's packages."""
    for compiler in sorted((root / "usr/lib/jvm").glob("java-*/bin/javac")):
        if not compiler.parent.parent.is_symlink():
            return compiler.parent.parent
    raise ProvisionError("the distribution's JDK was unpacked and has no javac", expected=f"{root}/usr/lib/jvm/*/bin")


def _trust(store: Path) -> tuple[str, ...]:
    """Java's options for the host's certificates: what Debian's JDK trusts is made by a script that never runs here."""
    password = trust_store(store)
    return (f"-Djavax.net.ssl.trustStore={store}", f"-Djavax.net.ssl.trustStorePassword={password}")


async def _make(package: Package, recipe: MavenRecipe, tools: _Tools, room: Path, say: Say) -> Delivery:
    """Brings the jars, compiles the program, links the runtime and records the classes."""
    root = room / "root"
    (root / "lib").mkdir(parents=True)
    (root / "bin").mkdir()
    async with asyncio.TaskGroup() as group:
        group.create_task(_link(tools, root, room))
        group.create_task(_download(package, recipe, tools, room, say))
    await asyncio.to_thread(_compare, root / "lib", _sums(recipe), recipe.version)
    main = Path(recipe.main).stem
    say(f"compiling {recipe.main} and recording the classes of {package.name} {recipe.version}")
    classes = room / "classes"
    await run(
        [str(tools.jdk / "bin/javac"), "-proc:none", "-cp", f"{root}/lib/*", "-d", str(classes), _beside(recipe.main)],
        what=f"{recipe.main} does not compile",
        directory=room,
        environment=_environment(tools, room),
        otherwise=BuildError,
    )
    _pack(classes, root, main)
    await record(root, _JAR, main, recipe.rehearsal, room / "tmp")
    script = root / "bin" / package.name
    script.write_text(launcher(_JAR, main))
    script.chmod(0o755)
    for program in package.proved:
        await prove_start(root / package.programs[program], {}, root, package.asked.get(program, ("--version",)))
    return Delivery(package=package, version=recipe.version, source="maven", root=root)


async def _link(tools: _Tools, root: Path, room: Path) -> None:
    """Links a runtime from the JDK, and the archive of Java's own classes into it."""
    runtime = root / "java"
    linking = [str(tools.jdk / "bin/jlink"), "--module-path", str(tools.jdk / "jmods"), "--add-modules", _MODULES]
    options = [
        f"--include-locales={_LOCALES}",
        "--strip-java-debug-attributes",
        "--no-header-files",
        "--no-man-pages",
        "--output",
        str(runtime),
    ]
    for argv in ([*linking, *options], [str(runtime / "bin/java"), "-Xshare:dump", "-Xlog:disable"]):
        await run(
            argv,
            what="the JDK does not link a runtime",
            directory=room,
            environment=_environment(tools, room),
            otherwise=BuildError,
        )


async def _download(package: Package, recipe: MavenRecipe, tools: _Tools, room: Path, say: Say) -> None:
    """Has Maven resolve, download and check the closure, and copies it into `lib/` of the root."""
    (room / "pom.xml").write_text(_pom(recipe))
    say(f"downloading the jars of {package.name} {recipe.version}")
    try:
        await run(
            [
                str(tools.maven),
                "--batch-mode",
                "--strict-checksums",
                "--file",
                str(room / "pom.xml"),
                f"-Dmaven.repo.local={room / 'repository'}",
                f"-DoutputDirectory={room / 'root' / 'lib'}",
                "-DincludeScope=runtime",
                _COPY,
            ],
            what=f"the jars of {package.name} {recipe.version} cannot be brought",
            directory=room,
            environment=_environment(tools, room),
        )
    except ProvisionError as error:
        if not _CORRUPT.search("\n".join(error.output)):
            raise
        raise ProvisionError(
            f"a jar of {package.name} {recipe.version} arrived damaged",
            expected="the checksum that the repository tells",
            output=error.output,
            hint="start again; where it happens again, a proxy or mirror on the way is to blame",
        ) from error


def _pom(recipe: MavenRecipe) -> str:
    """A project that only depends."""
    dependencies = "".join(
        "<dependency><groupId>{}</groupId><artifactId>{}</artifactId><version>{}</version></dependency>".format(
            *map(escape, artifact.split(":"))
        )
        for artifact in recipe.artifacts
    )
    return (
        '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>'
        "<groupId>tocsin</groupId><artifactId>node</artifactId><version>1</version><packaging>pom</packaging>"
        f"<dependencies>{dependencies}</dependencies></project>\n"
    )


def _beside(name: str) -> str:
    return str(BESIDE / name)


def _sums(recipe: MavenRecipe) -> Mapping[str, str]:
    """Name of a jar -> its SHA-256."""
    lines = Path(_beside(recipe.sums)).read_text(encoding="utf-8").splitlines()
    return {name: digest for digest, name in (line.split() for line in lines if line.strip())}


def _compare(folder: Path, sums: Mapping[str, str], version: str) -> None:
    """Compares jars with the list of ours: all of them, no others, every byte."""
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    wrong = sorted(name for name in found.keys() | sums.keys() if found.get(name) != sums.get(name))
    if wrong:
        name = wrong[0]
        raise ProvisionError(
            f"the jars that Maven brought are not those of {version}: {', '.join(wrong)}",
            expected=f"{name} with the SHA-256 {sums[name]}" if name in sums else f"no {name}",
            seen=found.get(name, "no such file"),
            hint="a mirror or a local setting of Maven's serves another file; nothing of it was kept",
        )


def _pack(classes: Path, root: Path, main: str) -> None:
    """Packs classes into a jar whose own class path names the others, relative to itself."""
    path = " ".join(f"lib/{jar.name}" for jar in sorted((root / "lib").iterdir()))
    line = f"Class-Path: {path}"
    # A line of a manifest has at most 72 bytes; it goes on where the next one begins with a blank.
    folded = [line[:70], *(f" {line[start : start + 69]}" for start in range(70, len(line), 69))]
    manifest = "\r\n".join(["Manifest-Version: 1.0", f"Main-Class: {main}", *folded, "", ""])
    with zipfile.ZipFile(root / _JAR, "w", zipfile.ZIP_DEFLATED) as jar:
        jar.writestr("META-INF/MANIFEST.MF", manifest)
        for compiled in sorted(classes.rglob("*.class")):
            jar.write(compiled, compiled.relative_to(classes))


def _environment(tools: _Tools, room: Path) -> dict[str, str]:
    """The user's environment; the JDK that was chosen, and temporary files in a folder of ours."""
    options = (os.environ.get("MAVEN_OPTS", ""), *tools.options, f"-Djava.io.tmpdir={room / 'tmp'}", "-XX:-UsePerfData")
    kept = {name: value for name, value in os.environ.items() if name not in {"CLASSPATH", "M2_HOME", "MAVEN_HOME"}}
    return kept | {
        "JAVA_HOME": str(tools.jdk),
        "MAVEN_OPTS": " ".join(option for option in options if option),
        "TMPDIR": str(room / "tmp"),
    }
