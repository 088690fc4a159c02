"""nginx.conf, pointed at one lane of the sandbox: addresses, logs and what nginx writes beside them.

The copy in the sandbox is that of production, word for word, for all lanes; each lane's nginx gets one file of its own
made from it, with what it includes put in its place.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

import crossplane

from harness.errors import StackError
from harness.model.stack import Address, Difference

LOGS: Final = "/var/log"
"""Where production's components log, each in a folder of its name."""

_TEMPORARY: Final = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
"""What nginx keeps on disk while a request lasts: `<name>_temp_path`."""

_HERE: Final = "what it writes stays in the sandbox"
_PASSING: Final = frozenset({"proxy_pass", "fastcgi_pass", "uwsgi_pass", "scgi_pass", "grpc_pass"})
_LEFT_OUT: Final = frozenset({"daemon", "user", "pid", "lock_file", "resolver"})
_WHY: Final = {
    "access_log": _HERE,
    "error_log": "told with the rest of its output",
    "worker_processes": "many lanes stand on one machine",
    "listen": "a free port of loopback",
}

Directive = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Place:
    """Where one nginx stands.

    Args:
        name: its name in the policy, after which its folder below /var/log is called.
        listen: where it listens.
        logs: the folder that stands for /var/log/<name>.
        folder: its own folder.
        production: addresses of production, and where it reaches them.
        nowhere: where an address leads that is of no known component.
        user: whose processes its workers are, where it must be told.
    """

    name: str
    listen: Address
    logs: Path
    folder: Path
    production: Mapping[str, Address]
    nowhere: Address
    user: str | None = None


@dataclass(frozen=True, slots=True)
class Configured:
    """The text for one lane, and how it differs from production's."""

    text: str
    differences: tuple[Difference, ...]


def configured(file: Path, shown: str, place: Place) -> Configured:
    """Makes the configuration of one nginx from its copy in the sandbox.

    Args:
        file: nginx.conf in the copy.
        shown: what differences call the file.
        place: where this nginx stands.

    Raises:
        StackError: it cannot be read, or no server in it listens without TLS.
    """
    payload = crossplane.parse(str(file), combine=True, check_ctx=False, check_args=False)
    if payload["status"] != "ok":
        first = payload["errors"][0]
        raise StackError(
            f"{shown}:{first['line'] or 1}: nginx's configuration cannot be read", seen=str(first["error"])
        )
    edits = _Edits(shown, place, frozenset(_upstreams(payload["config"][0]["parsed"])))
    top = edits.block(payload["config"][0]["parsed"], ())
    if not edits.listening:
        raise StackError(
            f"{shown}: no server of {place.name} can be reached",
            expected="a `listen` without `ssl`: the sandbox has none of production's certificates",
        )
    own = [
        _directive("daemon", "off"),
        _directive("pid", str(place.folder / "nginx.pid")),
        *([_directive("user", *place.user.split())] if place.user else []),
    ]
    return Configured(crossplane.build([*own, *top]) + "\n", tuple(edits.differences))


class _Edits:
    """The walk through the directives, with what was changed on it."""

    def __init__(self, shown: str, place: Place, upstreams: frozenset[str]) -> None:
        self._shown = shown
        self._place = place
        self._upstreams = upstreams
        self.differences: list[Difference] = []
        self.listening = 0

    def block(self, directives: list[Directive], path: tuple[str, ...]) -> list[Directive]:
        """The directives of a block as the sandbox needs them."""
        kept: list[Directive] = []
        for directive in directives:
            name, args = directive["directive"], directive["args"]
            if path == ("http",) and name == "server":
                kept.extend(self._server(directive, path))
                continue
            new = self._edited(name, args, path)
            self._note(directive, path, new)
            if new is not None:
                inner = directive.get("block")
                blocks = {} if inner is None else {"block": self.block(inner, (*path, name))}
                kept.append({**directive, "args": new, **blocks})
        if path == ("http",):
            if not any(one["directive"] == "access_log" for one in directives):
                # Else nginx opens the log that it was built with, though nothing is written there.
                kept.append(_directive("access_log", self._log(f"{LOGS}/{self._place.name}/access.log")))
            kept += [
                _directive(f"{name}_temp_path", str(self._place.folder / "temporary" / name)) for name in _TEMPORARY
            ]
        return kept

    def _server(self, server: Directive, path: tuple[str, ...]) -> Iterator[Directive]:
        """A server at the one address that we have, once; one that speaks nothing but TLS is left out."""
        within = (*path, "server")
        listens = [one for one in server["block"] if one["directive"] == "listen"]
        plain = [one for one in listens if not {"ssl", "quic"} & set(one["args"])]
        if listens and not plain:
            self._note(server, path, None)
            return
        default = ["default_server"] if not self.listening else []
        self.listening += 1
        for one in listens:
            self._note(one, within, [str(self._place.listen)] if one is plain[0] else None)
        rest = [one for one in server["block"] if one["directive"] != "listen"]
        listen = _directive("listen", str(self._place.listen), *default)
        yield {**server, "block": [listen, *self.block(rest, within)]}

    def _edited(self, name: str, args: list[str], path: tuple[str, ...]) -> list[str] | None:
        """The arguments that a directive has here; None where it is left out."""
        if name in _LEFT_OUT or name.endswith("_temp_path") or name.startswith("ssl_"):
            return None
        if name == "worker_processes":
            return ["1"]
        if name == "error_log":
            return ["stderr", *args[1:]]
        if name == "access_log" and args[0] != "off":
            return [self._log(args[0]), *args[1:]]
        if name == "server" and path[-1:] == ("upstream",):
            return [str(self._reached(args[0])), *args[1:]]
        if name in _PASSING:
            return [self._passed(args[0]), *args[1:]]
        return args

    def _log(self, path: str) -> str:
        """Where a log goes: below the folder that stands for /var/log/<name>, whatever it is called there."""
        production = PurePosixPath(path)
        within = PurePosixPath(LOGS, self._place.name)
        below = production.relative_to(within) if production.is_relative_to(within) else PurePosixPath(production.name)
        return str(self._place.logs / below)

    def _reached(self, address: str) -> Address:
        """Where an address of production is served; one without a port is at 80, as nginx has it."""
        whole = address if ":" in address else f"{address}:80"
        return self._place.production.get(whole, self._place.nowhere)

    def _passed(self, target: str) -> str:
        """Where a request is passed on to; the name of an upstream stays, and so does what a variable decides."""
        scheme, found, rest = target.rpartition("://")
        host, slash, path = rest.partition("/")
        if host in self._upstreams or "$" in host:
            return target
        return f"{scheme}{found}{self._reached(host)}{slash}{path}"

    def _note(self, directive: Directive, path: tuple[str, ...], after: list[str] | None) -> None:
        name, before = directive["directive"], directive["args"]
        if after == before:
            return
        why = "there is nothing of the kind here" if after is None else _WHY.get(name, "the sandbox's own address")
        self.differences.append(
            Difference(self._shown, ".".join((*path, name)), " ".join(before), " ".join(after or ()), why)
        )


def _upstreams(directives: list[Directive]) -> Iterator[str]:
    """The names of all groups of servers."""
    for directive in directives:
        if directive["directive"] == "upstream":
            yield directive["args"][0]
        yield from _upstreams(directive.get("block", []))


def _directive(name: str, *args: str) -> Directive:
    return {"directive": name, "args": list(args)}
