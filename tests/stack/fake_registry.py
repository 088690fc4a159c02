"""Stand-ins for apt, dpkg and Go: programs on PATH that do as the real ones do, without a network, and can misbehave.

Each writes a line into `calls` for everything it is asked; a file in `moods` makes it fail in a given way.
"""

from __future__ import annotations

import asyncio
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
  chmod 444 "$module/ui/web.go"; chmod 555 "$module" "$module/ui"
  printf '{"Dir": "%s"}' "$module" ;;
build) mood go-build
  [ -e ui/app/dist/index.html ] || { echo 'pattern app/dist: no matching files found' >&2; exit 1; }
  env > "$FAKES/go-environment"; echo "$*" > "$FAKES/go-arguments"
  if [ -e "$FAKES/moods/go-hangs" ]; then
    sleep 120 & echo $! >> "$FAKES/pids"; echo $$ >> "$FAKES/pids"; wait
  fi
  while [ "$1" != -o ]; do shift; done
  for one in alertmanager amtool; do
    printf '#!/bin/sh\\necho %s 0.34.2\\n' $one > "$2$one"; chmod 755 "$2$one"
  done ;;
esac
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
    }
    for name, text in programs.items():
        path = folder / "bin" / name
        path.write_text(f"#!/bin/sh\n{text}")
        path.chmod(0o755)
    (folder / "own-go").write_text(f"#!/bin/sh\n{GO}")
    (folder / "own-go").chmod(0o755)
    fakes = FakeRegistry(folder)
    fakes.go_is("go1.26.8")
    return fakes


def script(fakes: FakeRegistry, cache: Path, *names: str) -> list[str]:
    """The command line of a process of its own that fetches from the fakes and prints what it says."""
    code = (
        "import asyncio, json, pathlib, sys\n"
        "from harness.stack.provision import host\n"
        "from harness.stack.provision.fetch import bring\n"
        f"host.OS_RELEASE = pathlib.Path({json.dumps(str(fakes.folder / 'os-release'))})\n"
        f"bring({list(names)!r}, pathlib.Path({json.dumps(str(cache))}), lambda text: print(text, flush=True))\n"
    )
    return [sys.executable, "-c", code]
