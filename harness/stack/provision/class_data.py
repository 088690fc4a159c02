"""The record of which classes a Java program loads (an AppCDS archive), made once, for starts in a third of the time.

Java trusts such an archive only where the class path reads as it did when it was made, so everything is named relative
to the root, and the program starts there: the root may be moved afterwards. Where the archive does not fit after all,
Java goes on without it, only slower.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from harness.errors import BuildError
from harness.stack.provision.commands import run

ARCHIVE = "classes.jsa"
"""The archive, in the root."""

_JAVA = "java/bin/java"


async def record(root: Path, jar: str, main: str, rehearsal: Sequence[str], room: Path) -> None:
    """Starts a program once to its end and writes down what it loaded, as `classes.jsa` in its root.

    Args:
        root: the program's root: `java/` is its runtime.
        jar: the jar below the root whose own class path names the others.
        main: the class of the program.
        rehearsal: its arguments, `{home}` for an empty folder; it must end by itself.
        room: where that folder and temporary files may be.

    Raises:
        BuildError: the program failed, or no archive came of it.
    """
    home = room / "rehearsal"
    home.mkdir()
    await run(
        [
            _JAVA,
            f"-XX:ArchiveClassesAtExit={ARCHIVE}",
            # It names every class that it leaves out.
            "-Xlog:disable",
            "-Xlog:all=error:stderr",
            "-XX:TieredStopAtLevel=1",
            "-XX:-UsePerfData",
            "-Xmx512m",
            f"-Djava.io.tmpdir={room}",
            "-cp",
            jar,
            main,
            *(word.format(home=home) for word in rehearsal),
        ],
        what=f"{main} cannot be started to record its classes",
        directory=root,
        environment={"PATH": os.defpath, "HOME": str(home), "LANG": "C.UTF-8"},
        otherwise=BuildError,
        deadline_seconds=300,
    )
    shutil.rmtree(home)
    if not (root / ARCHIVE).exists():
        raise BuildError(f"{main} was started and no record of its classes came of it", expected=str(root / ARCHIVE))


def launcher(jar: str, main: str) -> str:
    """A program for `bin/` that starts the main class with the record, by whatever name and from wherever it is called.

    It becomes Java (`exec`), so that signals and deaths are the program's own. Java's options (`-Xmx…`) are taken from
    `<NAME>_JAVA_OPTS`, where NAME is the file's own in capitals, as upstream's scripts do; a crash report and
    temporary files go to `TMPDIR`, never into the root. Paths in its arguments must be absolute.
    """
    return f"""#!/bin/sh
name=$(basename "$0" | tr 'a-z-' 'A-Z_')
eval "options=\\${{${{name}}_JAVA_OPTS:-}}"
cd "$(dirname "$0")/.." || exit 1
exec {_JAVA} -XX:SharedArchiveFile={ARCHIVE} -Xshare:auto -Xlog:cds=off -Xlog:cds+dynamic=off \\
  -XX:TieredStopAtLevel=1 -XX:-UsePerfData \\
  "-Djava.io.tmpdir=${{TMPDIR:-/tmp}}" "-XX:ErrorFile=${{TMPDIR:-/tmp}}/hs_err_%p.log" \\
  -XX:+ExitOnOutOfMemoryError -Dlog4j2.level=WARN $options -cp {jar} {main} "$@"
"""
