"""Stand-ins for apt, dpkg, Go, Java, Maven and pip: they do as the real ones do, without a network, and can misbehave.

Each writes a line into `calls` for everything it is asked; a file in `moods` makes it fail in a given way.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

APT_GET = """
config=$2; shift 2
suites=$(sed -n 's/^Suites: //p' "$(dirname "$config")/own.sources" | tr '\\n' ' ')
echo "apt-get $1 $suites" >> "$FAKES/calls"
mood() { [ ! -e "$FAKES/moods/$1" ] || { cat "$FAKES/moods/$1" >&2; exit 100; }; }
case $1 in
update)
  mood apt-update; mood "apt-update-${suites%% *}"
  if [ -e "$FAKES/moods/apt-hangs" ]; then
    sleep 120 & echo $! >> "$FAKES/pids"; echo $$ >> "$FAKES/pids"; wait
  fi ;;
--simulate)
  for one in 'libc6 (2.36-9' 'perl (5.36' 'libperl5.36 (5.36' 'libfake1 (1:1.0-1'; do
    echo "Inst $one X:12 [amd64])"
  done ;;
download) shift; mood apt-download
  for one in "$@"; do
    version=$(printf %s "${one#*=}" | sed 's/:/%3a/g'); echo "${suites%% *}" > "${one%%=*}_${version}_amd64.deb"
  done ;;
esac
"""

APT_CACHE = """
config=$2; shift 3
suite=$(sed -n 's/^Suites: //p' "$(dirname "$config")/own.sources" | head -1)
for name in "$@"; do
  [ "$name $suite" != "promtool bookworm" ] || continue
  case $suite in trixie) version='2:2.53.3+ds1-2';; *) version='1:1.5.0-1+b6';; esac
  printf '%s:\\n  Installed: (none)\\n  Candidate: %s\\n' "$name" "$version"
  printf '  Version table:\\n     %s 500\\n' "$version"
done
"""

DPKG_DEB = """
[ ! -e "$FAKES/moods/dpkg-deb" ] || { cat "$FAKES/moods/dpkg-deb" >&2; exit 2; }
name=$(basename "$2"); name=${name%%_*}; suite=$(cat "$2"); root=$3; libraries=$root/usr/lib/x86_64-linux-gnu
program() {
  mkdir -p "$root/usr/bin" "$root/usr/sbin"
  { printf '#!/bin/sh\\n'; cat "$FAKES/moods/program-$suite" 2>/dev/null
    echo "echo $name, version from $suite"
    head -c "${FAKE_BYTES:-100}" /dev/zero | tr '\\0' '#'; } > "$root/$1" && chmod 755 "$root/$1"
}
case $name in
prometheus) program usr/bin/prometheus || exit 2; [ "$suite" = trixie ] || program usr/bin/promtool ;;
mariadb-server-core)
  program usr/sbin/mariadbd; program usr/bin/mariadb-install-db; ln -s mariadbd "$root/usr/sbin/mysqld" ;;
mariadb-client-core) program usr/bin/mariadb ;;
mariadb-client) program usr/bin/mariadb-dump ;;
nginx) program usr/sbin/nginx ;;
influxdb) program usr/bin/influxd ;;
influxdb-client) program usr/bin/influx ;;
default-jdk-headless)
  mkdir -p "$root/usr/lib/jvm/java-17/bin" "$root/usr/lib/jvm/java-17/jmods"
  cp "$FAKES/own-jdk/"* "$root/usr/lib/jvm/java-17/bin/" ;;
maven) mkdir -p "$root/usr/share/maven/bin"; cp "$FAKES/own-mvn" "$root/usr/share/maven/bin/mvn" ;;
redis-server) mkdir -p "$root/usr/bin"; ln -s /usr/bin/redis-check-rdb "$root/usr/bin/redis-server" ;;
redis-tools) program usr/bin/redis-check-rdb; program usr/bin/redis-cli ;;
libfake1)
  mkdir -p "$libraries" "$root/usr/share/doc/x"
  echo > "$libraries/libfake.so.1"; echo > "$root/usr/share/doc/x/y" ;;
golang-go) mkdir -p "$root/usr/bin"; cp "$FAKES/own-go" "$root/usr/bin/go" ;;
*) program "usr/bin/$name" || exit 2 ;;
esac
"""

GO = """
echo "go $1 ${GOTOOLCHAIN:-}" >> "$FAKES/calls"
mood() { [ ! -e "$FAKES/moods/$1" ] || { cat "$FAKES/moods/$1" >&2; exit 1; }; }
case $1 in
env)
  printf '{"GOVERSION": "%s", "GOTOOLCHAIN": "%s"' "$(cat "$FAKES/go-version")" "$(cat "$FAKES/go-toolchain")"
  printf ', "GOHOSTOS": "linux", "GOHOSTARCH": "amd64"}' ;;
mod) mood go-download
  module="$GOMODCACHE/module"; mkdir -p "$module/ui"; echo m > "$module/ui/web.go"
  printf 'module upstream\nrequire x v1\nreplace x => y v2\n' > "$module/go.mod"; echo sum > "$module/go.sum"
  chmod 444 "$module/ui/web.go"; chmod 555 "$module" "$module/ui"
  printf '{"Dir": "%s"}' "$module" ;;
build) mood go-build
  [ -e ui/app/dist/index.html ] || [ -e main.go ] || { echo 'pattern app/dist: no matching files found' >&2; exit 1; }
  env > "$FAKES/go-environment"; echo "$*" > "$FAKES/go-arguments"
  if [ -e "$FAKES/moods/go-hangs" ]; then
    sleep 120 & echo $! >> "$FAKES/pids"; echo $$ >> "$FAKES/pids"; wait
  fi
  while [ "$1" != -o ]; do shift; done
  if [ -e main.go ]; then
    cp go.mod "$FAKES/go-mod"; printf '#!/bin/sh\necho filebeat $1\n' > "$2"; chmod 755 "$2"; exit 0
  fi
  for one in alertmanager amtool; do
    printf '#!/bin/sh\\necho %s 0.34.2\\n' $one > "$2$one"; chmod 755 "$2$one"
  done ;;
esac
"""

# Everything of a JDK in one: which program it is, it sees by its name.
JAVA = """
home=$(cd "$(dirname "$0")/.." && pwd)
mood() { [ ! -e "$FAKES/moods/$1" ] || { cat "$FAKES/moods/$1" >&2; exit 1; }; }
case $(basename "$0") in
javac) mood javac
  echo "javac" >> "$FAKES/calls"
  while [ "$1" != -d ]; do shift; done; mkdir -p "$2"; echo class > "$2/OpenSearchNode.class" ;;
jlink) mood jlink
  while [ "$1" != --output ]; do shift; done; mkdir -p "$2/bin"
  { echo '#!/bin/sh'; cat "$FAKES/runtime"; } > "$2/bin/java"; chmod 755 "$2/bin/java" ;;
java)
  printf '    java.home = %s\n    java.specification.version = %s\n' "$home" "$(cat "$FAKES/java-version")" >&2 ;;
esac
"""

# The runtime that is linked: asked to record, it writes an archive and the arguments that it had.
RUNTIME = """
for word in "$@"; do
  case $word in
  -XX:ArchiveClassesAtExit=*)
    echo "$*" > "$FAKES/rehearsed"
    [ ! -e "$FAKES/moods/rehearsal" ] || { cat "$FAKES/moods/rehearsal" >&2; exit 1; }
    [ -e "$FAKES/moods/no-archive" ] || echo archive > "${word#*=}" ;;
  esac
done
echo "openjdk 17.0.15 in $(pwd)"; echo "$*"
"""

MVN = """
echo "mvn" >> "$FAKES/calls"; env > "$FAKES/mvn-environment"; echo "$*" > "$FAKES/mvn-arguments"
[ ! -e "$FAKES/moods/mvn" ] || { cat "$FAKES/moods/mvn"; exit 1; }
if [ -e "$FAKES/moods/mvn-hangs" ]; then
  sleep 120 & echo $! >> "$FAKES/pids"; echo $$ >> "$FAKES/pids"; wait
fi
for word in "$@"; do
  case $word in -DoutputDirectory=*) lib=${word#*=} ;; esac
done
cp "$FAKES/jars/"*.jar "$lib/"
"""

PYTHON = """
[ "$1" = -c ] && exit 0
echo "pip $3" >> "$FAKES/calls"
[ "$3" = install ] || exit 0
[ ! -e "$FAKES/moods/pip" ] || { cat "$FAKES/moods/pip" >&2; exit 1; }
while [ "$1" != --target ]; do shift; done
mkdir -p "$2/chdb"; echo > "$2/chdb/__init__.py"
"""

SOURCES = """\
Types: deb
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: https://third.example/node
Suites: nodistro
Components: main
"""


@dataclass(frozen=True)
class FakeRegistry:
    """A folder of fake programs, and what they were asked."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to meet the fakes instead of the real programs."""
        return {**os.environ, "PATH": f"{self.folder}/bin:/usr/bin:/bin", "FAKES": str(self.folder)}

    @property
    def calls(self) -> list[str]:
        """Everything that was asked so far, in order."""
        path = self.folder / "calls"
        return path.read_text().splitlines() if path.exists() else []

    @property
    def pids(self) -> list[int]:
        """The processes that hang because they were told to, their children too."""
        path = self.folder / "pids"
        return [int(line) for line in path.read_text().split()] if path.exists() else []

    def mood(self, name: str, says: str = "") -> None:
        """Makes a fake fail (or hang) from now on, saying this."""
        (self.folder / "moods" / name).write_text(says)

    def calm(self, name: str) -> None:
        """Makes it work again."""
        (self.folder / "moods" / name).unlink()

    def go_is(self, version: str, toolchain: str = "local") -> None:
        """The host's Go, as `go env` tells it."""
        (self.folder / "go-version").write_text(version)
        (self.folder / "go-toolchain").write_text(toolchain)

    def without_go(self) -> None:
        """A host without Go; the one that is unpacked for the build stays."""
        (self.folder / "bin/go").unlink()

    def java_is(self, version: str) -> None:
        """The age of the host's Java, as it tells it."""
        (self.folder / "java-version").write_text(version)


def alive(pid: int) -> bool:
    """Whether a process still runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def eventually(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Waits until a condition holds of something outside of this process, which can set no event here."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


def silent(_: str) -> None:
    """Nobody listens to the progress."""


def output_of(*argv: str, environment: Mapping[str, str] | None = None) -> str:
    """What a program writes, on both streams; it must end well."""
    done = subprocess.run(
        argv, check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    )
    return done.stdout


def start(*argv: str, environment: Mapping[str, str], directory: Path | None = None) -> subprocess.Popen[str]:
    """A process that goes on while a test goes on."""
    return subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=environment, cwd=directory)


def build(folder: Path) -> FakeRegistry:
    """Writes the fakes below a folder."""
    for part in ("bin", "moods", "etc/sources.list.d"):
        (folder / part).mkdir(parents=True)
    (folder / "etc/sources.list.d/debian.sources").write_text(SOURCES)
    (folder / "os-release").write_text('ID=debian\nVERSION_CODENAME="bookworm"\n')
    config = f"LIST='{folder}/etc/sources.list'\nPARTS='{folder}/etc/sources.list.d/'\n"
    programs = {
        "apt-get": APT_GET,
        "apt-cache": APT_CACHE,
        "apt-config": f"cat <<'END'\n{config}END\n",
        "dpkg": "echo amd64\n",
        "dpkg-deb": DPKG_DEB,
        "go": GO,
        "mvn": MVN,
        "python": PYTHON,
    }
    for name, text in programs.items():
        path = folder / "bin" / name
        path.write_text(f"#!/bin/sh\n{text}")
        path.chmod(0o755)
    (folder / "own-go").write_text(f"#!/bin/sh\n{GO}")
    (folder / "own-go").chmod(0o755)
    fakes = FakeRegistry(folder)
    fakes.go_is("go1.26.8")
    _build_java(folder)
    fakes.java_is("17")
    return fakes


def _build_java(folder: Path) -> None:
    """A JDK, what is unpacked where there is none, and two jars with their sums."""
    for part in ("jdk/bin", "jdk/jmods", "own-jdk", "jars", "beside"):
        (folder / part).mkdir(parents=True)
    for path in [folder / where / name for where in ("jdk/bin", "own-jdk") for name in ("java", "javac", "jlink")]:
        path.write_text(f"#!/bin/sh\n{JAVA}")
        path.chmod(0o755)
    (folder / "jdk/jmods/java.base.jmod").touch()
    (folder / "bin/java").write_text(f'#!/bin/sh\nexec {folder}/jdk/bin/java "$@"\n')
    (folder / "bin/java").chmod(0o755)
    (folder / "own-mvn").write_text(f"#!/bin/sh\n{MVN}")
    (folder / "own-mvn").chmod(0o755)
    (folder / "runtime").write_text(f"FAKES={folder}\n{RUNTIME}")
    (folder / "beside/OpenSearchNode.java").write_text("class OpenSearchNode {}\n")
    sums = []
    for name in ("one-1.0.jar", "two-2.0.jar"):
        (folder / "jars" / name).write_text(name * 10)
        sums.append(f"{hashlib.sha256((name * 10).encode()).hexdigest()}  {name}\n")
    (folder / "beside/opensearch.sha256").write_text("".join(sums))


def script(fakes: FakeRegistry, cache: Path, *names: str) -> list[str]:
    """The command line of a process of its own that fetches from the fakes and prints what it says."""
    code = (
        "import asyncio, json, pathlib, sys\n"
        "from harness.stack.provision import host, maven, pypi\n"
        "from harness.stack.provision.fetch import bring\n"
        f"host.OS_RELEASE = pathlib.Path({json.dumps(str(fakes.folder / 'os-release'))})\n"
        f"maven.BESIDE = pathlib.Path({json.dumps(str(fakes.folder / 'beside'))})\n"
        f"pypi.PYTHON = {json.dumps(str(fakes.folder / 'bin/python'))}\n"
        f"bring({list(names)!r}, pathlib.Path({json.dumps(str(cache))}), lambda text: print(text, flush=True))\n"
    )
    return [sys.executable, "-c", code]
