"""A YAML file while it is being pointed elsewhere: its values, every edit with its reason, and the text at the end.

What is not edited keeps the spelling of the original (`5m`, `0x1f`, `yes` stay as they were written). Comments, anchors
and the order of nothing else are lost with the copy; the user's file is never touched.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import yaml

from harness.model.stack import Difference
from harness.policy.parse.yaml import Items, Node, Scalar

Value = Scalar | str | bool | list["Value"] | dict[str, "Value"]
"""A value: one of the original's scalars, something that we wrote, or a collection of values."""

REDACTED = "<redacted>"
NOTHING = "(nothing)"

_TAG_PREFIX = "tag:yaml.org,2002:"
_SECRET = re.compile(
    r"passw|secret|token|credential|bearer|(api|app|routing|service|user|access|integration)_?key|api_url|webhook_url"
    r"|^url$|^authorization$|^(http_)?headers$",
    re.IGNORECASE,
)
_IN_URL = re.compile(r"(?<=://)[^/@\s]+@")
_LONGEST = 160
_RARE_BREAKS = "\x85\u2028\u2029\ufeff"


def values(node: Node) -> Value:
    """The values of a tree; collections are new, so that an edit at one place is at no other."""
    if isinstance(node, Scalar):
        return node
    if isinstance(node, Items):
        return [values(item) for item in node.items]
    return {entry.key.text: values(entry.value) for entry in node.entries}


def text_of(value: Value | None) -> str:
    """A scalar's text, and nothing for anything else."""
    if isinstance(value, Scalar):
        return value.text
    return value if isinstance(value, str) else ""


def entries(value: Value | None) -> list[Value]:
    """A list's entries; none for anything else."""
    return value if isinstance(value, list) else []


def settings(value: Value | None) -> dict[str, Value]:
    """A mapping's settings; none for anything else."""
    return value if isinstance(value, dict) else {}


def dump(value: Value) -> str:
    """The values as YAML, in the characters that they were written in."""
    node = _node(value)
    text: str = yaml.serialize(node, Dumper=yaml.SafeDumper, allow_unicode=True, width=10_000)
    if any(mark in text for mark in _RARE_BREAKS):
        # PyYAML writes Unicode's own line breaks as they are, and reads them as blanks: escape everything instead.
        text = yaml.serialize(node, Dumper=yaml.SafeDumper, width=10_000)
    return text


def shown(value: Value | None, name: str = "") -> str:
    """A value as a report may show it: short, on one line, without secrets. `name` is the setting that holds it."""
    text = " ".join(_IN_URL.sub(f"{REDACTED}@", _flat(value, name)).split())
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def is_secret(name: str) -> bool:
    """Whether a setting of this name holds a secret; one that ends in `_file` holds a path."""
    return not name.endswith("_file") and _SECRET.search(name) is not None


class Edits:
    """The edits of one file. A path is that of the original: where its owner finds what was changed."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.differences: list[Difference] = []

    def note(self, path: str, before: str, after: str, why: str) -> None:
        """Lists a difference; nothing where there is none."""
        if before != after:
            self.differences.append(Difference(self.file, path, before, after, why))

    def put(
        self, owner: dict[str, Value], path: str, name: str, value: Value, why: str, *, secret: bool = False
    ) -> None:
        """Writes a setting."""
        hidden = secret or is_secret(name)
        before = owner.get(name)
        if isinstance(before, Scalar) and text_of(value) == before.text:
            return
        owner[name] = value
        was = NOTHING if before is None else REDACTED if hidden else shown(before, name)
        # The sandbox's own secrets stay out of reports too: nobody who is handed one should have to look twice.
        now = f"{REDACTED} (the sandbox's)" if hidden else shown(value, name)
        self.note(_below(path, name), was, now, why)

    def drop(self, owner: dict[str, Value], path: str, names: Sequence[str], why: str) -> None:
        """Removes settings, those that are there."""
        for name in names:
            if name in owner:
                self.note(_below(path, name), shown(owner.pop(name), name), NOTHING, why)


def _below(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _flat(value: Value | None, name: str) -> str:
    if value is None:
        return NOTHING
    if is_secret(name):
        return REDACTED
    if isinstance(value, list):
        return "[" + ", ".join(_flat(item, name) for item in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_flat(item, key)}" for key, item in value.items()) + "}"
    if isinstance(value, bool):
        return str(value).lower()
    return text_of(value)


def _node(value: Value) -> yaml.Node:
    if isinstance(value, list):
        return yaml.SequenceNode(_TAG_PREFIX + "seq", [_node(item) for item in value], flow_style=False)
    if isinstance(value, dict):
        pairs = [(_plain(key, "str"), _node(item)) for key, item in value.items()]
        return yaml.MappingNode(_TAG_PREFIX + "map", pairs, flow_style=False)
    if isinstance(value, Scalar):
        tag = value.tag if value.tag.startswith("!") else _TAG_PREFIX + value.tag
        return yaml.ScalarNode(tag, value.text, style=value.style or None)
    if isinstance(value, bool):
        return _plain(str(value).lower(), "bool")
    return _plain(value, "str")


def _plain(text: str, tag: str) -> yaml.ScalarNode:
    return yaml.ScalarNode(_TAG_PREFIX + tag, text)
