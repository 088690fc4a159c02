"""Settings as Beats read them: `output.elasticsearch.hosts` and its parts nested in any way are the same setting."""

from __future__ import annotations

from collections.abc import Iterator

from harness.policy.parse.yaml import Node, Scalar, Table


def find(table: Table, path: str) -> Node | None:
    """The value of a setting, however its name is split; None where there is none."""
    for entry in table.entries:
        name = entry.key.text
        if name == path:
            return entry.value
        if path.startswith(name + ".") and isinstance(entry.value, Table):
            inner = find(entry.value, path.removeprefix(name + "."))
            if inner is not None:
                return inner
    return None


def below(table: Table, path: str) -> Iterator[tuple[str, Scalar]]:
    """The first part of the name of each setting below `path`, with the key that it stands in: outputs of `output`."""
    for entry in table.entries:
        name = entry.key.text
        if name.startswith(path + "."):
            yield name.removeprefix(path + ".").partition(".")[0], entry.key
        elif name == path and isinstance(entry.value, Table):
            yield from ((inner.key.text.partition(".")[0], inner.key) for inner in entry.value.entries)
        elif path.startswith(name + ".") and isinstance(entry.value, Table):
            yield from below(entry.value, path.removeprefix(name + "."))
