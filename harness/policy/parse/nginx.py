"""nginx.conf and what it includes, read by crossplane; what cannot work is a finding with its place.

Source: nginx's manual, "Configuration file's structure"; crossplane checks the context and the number of arguments of
every directive that it knows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import crossplane

from harness.model.findings import Finding, Severity, Subject
from harness.model.policy import ComponentPolicy
from harness.model.source import Span
from harness.policy.parse.files import Folder
from harness.policy.parse.suggest import closest

KIND: Final = "nginx"
FILE: Final = "nginx/nginx.conf"
"""Where the policies folder has it; production has it as /etc/nginx/nginx.conf."""


_TABLES: Final = frozenset({"types", "map", "geo", "split_clients", "charset_map"})
"""Blocks whose entries begin with words of the user's."""


def load(folder: Folder, components: Sequence[ComponentPolicy], found: list[Finding]) -> tuple[str, ...]:
    """The files that make up nginx's configuration, nginx.conf first; none where the folder has none.

    That is no mistake unless stack.yaml has a component of kind `nginx`. `found` takes what is wrong.
    """
    if not (folder.root / FILE).exists():
        if any(component.kind == KIND for component in components):
            folder.first((FILE,))
        return ()
    if folder.read(FILE) is None:
        return ()
    payload = crossplane.parse(str(folder.root / FILE), onerror=lambda error: error)
    names: list[str] = []
    for config in payload["config"]:
        name = _within(folder, Path(config["file"]))
        if name is None or folder.read(name) is None:
            continue
        names.append(name)
        found.extend(_odd(folder, name, config["parsed"]))
    found.extend(_finding(folder, error) for error in payload["errors"] if _within(folder, Path(error["file"])))
    return tuple(names)


def _odd(folder: Folder, name: str, directives: Sequence[dict[str, Any]]) -> Iterator[Finding]:
    """What is included from elsewhere, where a copy cannot follow; and what no nginx of ours knows."""
    for directive in directives:
        word = directive["directive"]
        at = _place(folder, name, directive["line"])
        if word not in crossplane.analyzer.DIRECTIVES:
            near = closest(word, crossplane.analyzer.DIRECTIVES)
            yield Finding(
                "nginx/unknown-directive",
                # A newer nginx may know it, or one with another module.
                Severity.WARNING,
                at,
                f"unknown directive {word!r}: an nginx that does not know it does not start",
                fix=f"did you mean {near!r}?" if near is not None else "",
                subject=Subject("file", name),
            )
        elif word == "include" and _within(folder, folder.root / FILE / ".." / directive["args"][0]) is None:
            yield Finding(
                "file/outside",
                Severity.ERROR,
                at,
                f"{directive['args'][0]!r} leads out of the policies folder, where a copy cannot follow",
                fix="put the file beside nginx.conf and write its path relative to that",
                subject=Subject("file", name),
            )
        if word not in _TABLES:
            yield from _odd(folder, name, directive.get("block", ()))


def _finding(folder: Folder, error: dict[str, Any]) -> Finding:
    cause, name = error["callback"], _within(folder, Path(error["file"])) or FILE
    reason = str(getattr(cause, "strerror", None) or cause)
    return Finding(
        "nginx/syntax",
        Severity.ERROR,
        _place(folder, name, error["line"]),
        f"{reason}: nginx does not start with it",
        subject=Subject("file", name),
    )


def _place(folder: Folder, name: str, line: int | None) -> Span:
    """The line from its first character that is no blank: crossplane knows no columns."""
    number = line or 1
    lines = (folder.read(name) or "").splitlines()
    text = lines[number - 1] if number <= len(lines) else ""
    return Span(folder.shown(name), number, len(text) - len(text.lstrip()) + 1, number, len(text) + 1)


def _within(folder: Folder, path: Path) -> str | None:
    """A path relative to the policies folder; None where it is not in it."""
    try:
        return path.resolve().relative_to(folder.root.resolve()).as_posix()
    except (OSError, ValueError):
        return None
