"""A copy of alertmanager.yml that repeats its messages sooner: an hour cannot be waited for. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from harness.model.stack import Difference
from harness.model.time import format_duration, parse_duration
from harness.policy.parse.yaml import Table, compose
from harness.policy.rewire.document import Edits, Value, dump, entries, settings, text_of, values

_REPEAT = "repeat_interval"
_WHY = "shortened copy: what repeats after {was} in production repeats after {now} here, so that it can be waited for"
_DEFAULT = timedelta(hours=4)
"""Alertmanager's own `repeat_interval` where no route states one (its manual, "Configuration", `route`)."""


def shortened(text: str, file: str, repeat: timedelta) -> tuple[str, tuple[Difference, ...]]:
    """The configuration with every longer `repeat_interval` cut to this one; and how it differs.

    Args:
        text: the copy that runs, whose routes are production's.
        file: what it is called in what is listed.
        repeat: how soon a message is repeated.

    Returns:
        The text of the shortened copy, and its differences.
    """
    document = compose(text, file).documents[0]
    assert isinstance(document, Table)
    tree = settings(values(document))
    edits = Edits(file)
    root = settings(tree.get("route"))
    for path, route in _routes(root, "route"):
        stated = text_of(route.get(_REPEAT))
        was = parse_duration(stated) if stated else _DEFAULT
        if (stated or route is root) and was > repeat:
            now = format_duration(repeat)
            edits.put(route, path, _REPEAT, now, _WHY.format(was=stated or format_duration(was), now=now))
    return dump(tree), tuple(edits.differences)


def _routes(route: dict[str, Value], path: str) -> Iterator[tuple[str, dict[str, Value]]]:
    """A route and all below it, each with where it stands."""
    yield path, route
    for number, child in enumerate(entries(route.get("routes"))):
        yield from _routes(settings(child), f"{path}.routes[{number}]")
