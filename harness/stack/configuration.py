"""A component's own configuration file, broken by a slip of somebody's hand, and mended.

The files alone hold the state: while one is spoilt, what it said before stands beside it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from harness.errors import FaultError
from harness.stack.probe import Answer, ask
from harness.stack.site import Site

RELOADING: Final = frozenset({"prometheus", "alertmanager"})
"""Kinds that load their file again at POST /-/reload, and go on by the old one where the new one is wrong.

Source: Prometheus's manual, "Management API"; Alertmanager's, "Management API".
"""

_SLIP = "\nnot finished: [\n"
"""What makes no YAML of any file."""

_GOOD = ".good"
_RELOAD_SECONDS = 10.0


async def spoil(site: Site) -> None:
    """Breaks a component's file and asks it to reload, which must fail; nothing else about it changes.

    Raises:
        FaultError: it has no file that it reloads, the file cannot be written, or it took what is no configuration.
    """
    path = _file(site)
    good = path.with_name(path.name + _GOOD)
    try:
        if not good.exists():
            _write(good, path.read_text(encoding="utf-8"))
        _write(path, good.read_text(encoding="utf-8") + _SLIP)
    except OSError as error:
        raise _unwritable(site, error) from error
    answer = await _reload(site)
    if not isinstance(answer, Answer) or answer.status == 200:
        raise FaultError(
            f"{site.title} did not refuse a configuration that cannot be read",
            expected="POST /-/reload is answered with an error",
            seen=answer if isinstance(answer, str) else f"it was answered {answer.status}",
        )


async def mend(site: Site) -> None:
    """Puts the file back as it was and asks for a reload, which must succeed; nothing if it was not spoilt.

    Raises:
        FaultError: the file cannot be written, or the component did not take it.
    """
    path = _file(site)
    good = path.with_name(path.name + _GOOD)
    try:
        if not good.exists():
            return
        _write(path, good.read_text(encoding="utf-8"))
    except OSError as error:
        raise _unwritable(site, error) from error
    answer = await _reload(site)
    if not isinstance(answer, Answer) or answer.status != 200:
        raise FaultError(
            f"{site.title} did not load its own configuration again",
            expected="POST /-/reload answers 200",
            seen=answer if isinstance(answer, str) else f"{answer.status}: {answer.body.strip()}",
        )
    # Last: who is told to mend again after a reload that failed must find something to do.
    good.unlink(missing_ok=True)


def _file(site: Site) -> Path:
    if site.component.kind not in RELOADING or site.configuration is None:
        raise FaultError(
            f"{site.title} has no configuration that it loads again when it is told to",
            expected=f"a component of kind {' or '.join(sorted(RELOADING))}",
        )
    return site.configuration


async def _reload(site: Site) -> Answer | str:
    return await ask(site.address, "/-/reload", method="POST", within_seconds=_RELOAD_SECONDS)


def _write(path: Path, text: str) -> None:
    """Replaces a file in one step, readable by nobody else: it holds the sandbox's credentials."""
    new = path.with_name(path.name + ".new")
    new.touch(mode=0o600)
    new.write_text(text, encoding="utf-8")
    new.replace(path)


def _unwritable(site: Site, error: OSError) -> FaultError:
    return FaultError(f"The configuration of {site.title} cannot be written", seen=str(error))
