"""The package repositories of this host that are the distribution's own, as the host's administrator set them up.

Mirrors, components, keyrings and options are kept; repositories of third parties are left out, because what we run
must not depend on what else somebody installed. Both notations of `sources.list(5)` are read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.stack.provision.host import Host

# The suites of a release, by what follows its code name: the release, what changed since, and what is urgent. Not
# backports, and not what third parties name after a release (`bookworm-pgdg`).
_SUFFIXES = ("", "-updates", "-security")
_COMPONENTS = frozenset({"main", "contrib", "non-free", "non-free-firmware", "universe", "restricted", "multiverse"})
# What we choose ourselves, whatever an entry says.
_CHOSEN = frozenset({"types", "uris", "suites", "components", "architectures", "languages", "targets", "enabled"})
_NEXT_RELEASE: Mapping[str, str] = {"bookworm": "trixie"}
_ONE_LINE = re.compile(r"^deb\s+(?:\[(?P<options>[^\]]*)\]\s+)?(?P<uri>\S+)\s+(?P<suite>\S+)\s+(?P<components>.+)$")


@dataclass(frozen=True, slots=True)
class Repository:
    """One entry: where, which suite, which components, and the options that were set on it, as they were written."""

    uris: str
    suite: str
    components: str
    options: tuple[tuple[str, str], ...] = ()

    def stanza(self, architecture: str) -> str:
        """The entry in the deb822 notation; package lists of one architecture and nothing else are fetched by it."""
        lines = [
            "Types: deb",
            f"URIs: {self.uris}",
            f"Suites: {self.suite}",
            f"Components: {self.components}",
            f"Architectures: {architecture}",
            "Targets: Packages",
            *(f"{name}:{value}" for name, value in self.options),
        ]
        return "\n".join(lines) + "\n"


def newest_release(host: Host) -> str:
    """The newest stable release whose programs may run on this one: Debian 12 takes Debian 13's, all others their own.

    An explicit table and not the alias `stable`: what is brought changes when this project changes, not when a
    distribution releases.
    """
    return _NEXT_RELEASE.get(host.codename, host.codename) if host.distribution == "debian" else host.codename


def own_repositories(lists: Iterable[Path], codename: str) -> tuple[Repository, ...]:
    """The distribution's own entries among the host's source lists, in the order in which they stand there.

    Args:
        lists: the host's files, `.list` or `.sources`; one that this user may not read is passed over.
        codename: the code name of the host's release.
    """
    found: list[Repository] = []
    for path in lists:
        try:
            text = path.read_text(encoding="utf-8", errors="replace")
        except (FileNotFoundError, PermissionError):
            continue
        entries = _deb822(text) if path.suffix == ".sources" else _one_line(text)
        found.extend(entry for entry in entries if _is_own(entry, codename) and entry not in found)
    return tuple(found)


def of_release(repositories: Sequence[Repository], codename: str, release: str) -> tuple[Repository, ...]:
    """The same mirrors and keys, asked for another release."""
    return tuple(replace(entry, suite=release + entry.suite.removeprefix(codename)) for entry in repositories)


def _is_own(entry: Repository, codename: str) -> bool:
    return (
        entry.suite in {codename + suffix for suffix in _SUFFIXES}
        and bool(entry.components)
        and set(entry.components.split()) <= _COMPONENTS
        and not entry.uris.startswith("cdrom:")
    )


def _one_line(text: str) -> Iterable[Repository]:
    for raw in text.splitlines():
        match = _ONE_LINE.match(raw.partition("#")[0].strip())
        if match is None:
            continue
        options = [option.partition("=") for option in (match["options"] or "").split()]
        yield Repository(
            uris=match["uri"],
            suite=match["suite"],
            components=" ".join(match["components"].split()),
            # A list of values is separated by commas in this notation, and by blanks in the other.
            options=tuple(
                (_field(name), " " + value.replace(",", " "))
                for name, _, value in options
                if _field(name).lower() not in _CHOSEN
            ),
        )


def _field(option: str) -> str:
    """The name of a one-line option as the other notation has it."""
    return {"arch": "Architectures", "lang": "Languages", "target": "Targets"}.get(option, option)


def _deb822(text: str) -> Iterable[Repository]:
    for stanza in re.split(r"\n\s*\n", "\n".join(line for line in text.splitlines() if not line.startswith("#"))):
        fields: dict[str, str] = {}
        last = ""
        for line in stanza.splitlines():
            if line[:1].isspace() and last:
                fields[last] += "\n" + line
            elif ":" in line:
                last, _, value = line.partition(":")
                last = last.strip()
                fields[last] = value
        by_name = {name.lower(): value for name, value in fields.items()}
        if by_name.get("enabled", "yes").strip().lower() in {"no", "false", "0", "off", "without", "disable"}:
            continue
        if "deb" not in by_name.get("types", "").split():
            continue
        options = tuple((name, value) for name, value in fields.items() if name.lower() not in _CHOSEN)
        for suite in by_name.get("suites", "").split():
            yield Repository(
                uris=" ".join(by_name.get("uris", "").split()),
                suite=suite,
                components=" ".join(by_name.get("components", "").split()),
                options=options,
            )
