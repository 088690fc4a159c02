"""A production command line, changed only where the sandbox makes it necessary; every change is a difference.

The flags of a unit are policy (`--rules.alert.resend-delay`, `--max-connections`) and stay as they are. Addresses,
folders and credentials are replaced, and each replacement is listed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.model.stack import Difference
from harness.stack.runtimes import Launch
from harness.stack.site import Site

REDACTED = "***"
_CREDENTIALS = re.compile(r"//[^/@\s]+@")
"""What a URL may hold before its host: an account and its password."""
_FLAG = re.compile(r"--?[A-Za-z]")


@dataclass(frozen=True, slots=True)
class _Word:
    """A flag with its values, in the unit's own spelling; a positional argument has no name."""

    name: str | None
    spelling: str
    values: tuple[str, ...]
    joined: bool

    @property
    def words(self) -> tuple[str, ...]:
        if self.name is None:
            return self.values
        return (f"{self.spelling}={self.values[0]}",) if self.joined else (self.spelling, *self.values)


class Command:
    """The command line of one component, on its way from production to the sandbox.

    Args:
        site: where the component will stand; its unit is where the command line starts from.
        program: the name of the program in the provisioner's artifact.
        spaced: whether a flag that is added has its value as the next word (`--port 6379`) and not behind `=`.
    """

    def __init__(self, site: Site, program: str, *, spaced: bool = False) -> None:
        unit = site.component.unit
        self._site = site
        self._joined = not spaced
        self._file = unit.file if unit else site.component.span.file
        self._differences: list[Difference] = []
        self._first: list[str] = []
        self._words = _parse(unit.argv[1:]) if unit else []
        self._environment = dict(unit.environment) if unit else {}
        self._program = site.program(program)
        if unit and unit.argv:
            self._differ(
                "ExecStart", unit.argv[0], self._program, "the program comes from the cache, not from the system"
            )

    def put(self, flag: str, value: str, why: str) -> None:
        """Gives a flag this value, whatever the unit says; a flag that the unit repeats stays once."""
        name = _normal(flag)
        places = [index for index, word in enumerate(self._words) if word.name == name]
        before = [" ".join(self._words[index].values) for index in places]
        if before == [value]:
            return
        if places:
            old = self._words[places[0]]
            self._words[places[0]] = _Word(name, old.spelling, (value,), old.joined or not old.values)
            for index in reversed(places[1:]):
                del self._words[index]
        else:
            self._words.append(_Word(name, flag, (value,), self._joined))
        self._differ(f"ExecStart {flag}", ", ".join(before), value, why)

    def default(self, flag: str, value: str | None, why: str) -> None:
        """Adds a flag unless the unit has it; a value of None makes it a switch."""
        name = _normal(flag)
        if any(word.name in {name, f"no-{name}"} for word in self._words):
            return
        values = () if value is None else (value,)
        self._words.append(_Word(name, flag, values, self._joined and value is not None))
        self._differ(f"ExecStart {flag}", "", value if value is not None else "on", why)

    def drop(self, *flags: str, why: str, secret: bool = False) -> None:
        """Takes flags away; the value of a secret one is not told."""
        for flag in flags:
            name = _normal(flag)
            for word in [word for word in self._words if word.name == name]:
                self._words.remove(word)
                self._differ(f"ExecStart {flag}", REDACTED if secret else " ".join(word.values), "", why)

    def drop_positional(self, why: str) -> None:
        """Takes away every argument that belongs to no flag (a configuration file of production's)."""
        for word in [word for word in self._words if word.name is None]:
            self._words.remove(word)
            self._differ("ExecStart", word.values[0], "", why)

    def first(self, word: str) -> None:
        """A word that the program wants to see before all others (`--no-defaults`)."""
        self._first.append(word)

    def forget(self, *variables: str, why: str) -> None:
        """Takes variables out of the unit's environment; what they held is not told."""
        for variable in variables:
            if variable in self._environment:
                del self._environment[variable]
                self._differ(f"Environment {variable}", REDACTED, "", why)

    def launch(self, environment: Mapping[str, str] | None = None) -> Launch:
        """The launch that this command line has become; `environment` is what the component itself needs."""
        site = self._site
        artifact = site.artifact
        argv = (self._program, *self._first, *(part for word in self._words for part in word.words))
        return Launch(
            name=site.name,
            lane=site.lane,
            argv=argv,
            environment={
                **base_environment(site),
                **(artifact.environment if artifact else {}),
                **self._environment,
                **(environment or {}),
                **site.environment,
            },
            directory=site.data,
            log=site.log,
            address=site.address,
            version=artifact.version if artifact else "",
            differences=tuple(self._differences),
        )

    def _differ(self, path: str, before: str, after: str, why: str) -> None:
        self._differences.append(Difference(self._file, path, _CREDENTIALS.sub(f"//{REDACTED}@", before), after, why))


def base_environment(site: Site) -> dict[str, str]:
    """What a program needs of an environment; its home and its temporary files are in the sandbox."""
    folder = str(site.data)
    return {"HOME": folder, "TMPDIR": folder, "PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}


def _normal(flag: str) -> str:
    """`--exporter.lock_wait_timeout` and `-Exporter.lock-wait-timeout` are one flag to every program that we start."""
    return flag.lstrip("-").replace("_", "-").lower()


def _parse(arguments: Sequence[str]) -> list[_Word]:
    """The words of a unit as flags. A flag without `=` takes the words up to the next flag as its values."""
    words: list[_Word] = []
    for argument in arguments:
        if _FLAG.match(argument):
            spelling, joined, value = argument.partition("=")
            words.append(_Word(_normal(spelling), spelling, (value,) if joined else (), bool(joined)))
        elif words and words[-1].name is not None and not words[-1].joined:
            last = words[-1]
            words[-1] = _Word(last.name, last.spelling, (*last.values, argument), joined=False)
        else:
            words.append(_Word(None, "", (argument,), joined=False))
    return words
