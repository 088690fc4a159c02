"""YAML as a positioned tree: every key and value knows its file, line and column.

libyaml parses; the tree is built here from its events and without recursion. The ready-made composer recurses in C and
takes the whole process down on a few thousand nested brackets, refuses an anchor that is defined twice (Prometheus and
Alertmanager do not), and loses duplicate keys. Aliases and merge keys (`<<`) are expanded, so a reader never meets
them; what would expand without end is a finding.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Protocol

import yaml
from yaml.reader import Reader as _YamlReader

from harness.model.findings import Finding, Severity
from harness.model.source import Span

MAX_DEPTH: Final = 100
"""Deeper nesting than this is no monitoring configuration; it keeps every walk over a tree far from the stack's end."""

MAX_NODES: Final = 1_000_000
"""Nodes after aliases are expanded: a few lines of aliases can stand for billions of them."""

_TAG_PREFIX = "tag:yaml.org,2002:"
_MERGE = "merge"

_Place = tuple[int, int]
"""Line and column from 1."""


class _Mark(Protocol):
    """What libyaml's marks and those of PyYAML's own parser have in common."""

    @property
    def line(self) -> int: ...

    @property
    def column(self) -> int: ...


_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class Scalar:
    """A single value as it is written. `tag` is YAML 1.1's type of it: str, int, float, bool, null, timestamp, …

    `style` is how it was quoted: empty for plain, else `'`, `"`, `|` or `>`.
    """

    text: str
    tag: str
    style: str
    span: Span


@dataclass(frozen=True, slots=True)
class Items:
    """A list."""

    items: tuple[Node, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Entry:
    """One key of a mapping with its value."""

    key: Scalar
    value: Node


@dataclass(frozen=True, slots=True)
class Table:
    """A mapping in the order of the file; a key occurs once (a second one was a finding)."""

    entries: tuple[Entry, ...]
    span: Span

    def get(self, name: str) -> Node | None:
        """The value under a key, or None."""
        for entry in self.entries:
            if entry.key.text == name:
                return entry.value
        return None

    def key(self, name: str) -> Scalar | None:
        """The key itself, for its position."""
        for entry in self.entries:
            if entry.key.text == name:
                return entry.key
        return None


Node = Scalar | Items | Table


@dataclass(frozen=True, slots=True)
class Composed:
    """The documents of a file and what is wrong with its YAML; an empty document is a null scalar."""

    documents: tuple[Node, ...]
    findings: tuple[Finding, ...]


@dataclass(slots=True)
class _Open:
    """A collection that is being built. `keys` and `children` of a mapping alternate; a key stands in `key`."""

    mapping: bool
    flow: bool
    start: _Place
    anchor: str | None
    children: list[Node] = field(default_factory=list)
    entries: dict[str, Entry] = field(default_factory=dict)
    merges: list[Node] = field(default_factory=list)
    key: Scalar | None = None
    skip_value: bool = False
    size: int = 1
    depth: int = 1
    end: _Place | None = None


class _Stop(Exception):
    """The rest of the file cannot be read; carries the finding."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.summary)
        self.finding = finding


class _Composer:
    """Builds the trees of one file from libyaml's events."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.findings: list[Finding] = []
        self.documents: list[Node] = []
        self.stack: list[_Open] = []
        self.anchors: dict[str, tuple[Node, int, int]] = {}

    def run(self, text: str) -> None:
        loader = _Loader(text)
        try:
            while loader.check_event():
                event = loader.get_event()
                if isinstance(event, yaml.ScalarEvent):
                    self._scalar(event, loader)
                elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
                    self._open(event)
                elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
                    self._close(event)
                elif isinstance(event, yaml.AliasEvent):
                    self._alias(event)
                elif isinstance(event, yaml.DocumentStartEvent):
                    self.anchors.clear()
        finally:
            loader.dispose()

    def _span(self, event: yaml.Event) -> Span:
        return Span(self.file, *_place(event.start_mark), *_place(event.end_mark))

    def _scalar(self, event: yaml.ScalarEvent, loader: yaml.SafeLoader) -> None:
        tag = event.tag
        if tag is None or tag == "!":
            tag = str(loader.resolve(yaml.ScalarNode, event.value, event.implicit))  # type: ignore[no-untyped-call]
        node = Scalar(event.value, tag.removeprefix(_TAG_PREFIX), event.style or "", self._span(event))
        if event.anchor:
            self.anchors[event.anchor] = (node, 1, 0)
        self._add(node, 1, 0)

    def _open(self, event: yaml.CollectionStartEvent) -> None:
        if len(self.stack) >= MAX_DEPTH:
            raise _Stop(_finding("yaml/too-deep", self._span(event), f"nested more than {MAX_DEPTH} levels deep"))
        mapping = isinstance(event, yaml.MappingStartEvent)
        self.stack.append(_Open(mapping, bool(event.flow_style), _place(event.start_mark), event.anchor))

    def _close(self, event: yaml.CollectionEndEvent) -> None:
        done = self.stack.pop()
        # A block collection ends, for libyaml, where the next thing begins: its last child says where it really does.
        end = _place(event.end_mark) if done.flow or done.end is None else done.end
        span = Span(self.file, *done.start, *end)
        node: Node = Table(tuple(self._merged(done)), span) if done.mapping else Items(tuple(done.children), span)
        if done.anchor:
            self.anchors[done.anchor] = (node, done.size, done.depth)
        self._add(node, done.size, done.depth)

    def _alias(self, event: yaml.AliasEvent) -> None:
        span = self._span(event)
        known = self.anchors.get(str(event.anchor))
        if known is None:
            inside = any(collection.anchor == event.anchor for collection in self.stack)
            why = "contains itself" if inside else "is defined nowhere before"
            raise _Stop(_finding("yaml/alias", span, f"alias *{event.anchor}: its anchor {why}"))
        node, size, depth = known
        if len(self.stack) + depth > MAX_DEPTH:
            raise _Stop(_finding("yaml/too-deep", span, f"nested more than {MAX_DEPTH} levels deep by its aliases"))
        self._add(node, size, depth, end=_place(event.end_mark))

    def _add(self, node: Node, size: int, depth: int, end: _Place | None = None) -> None:
        if not self.stack:
            self.documents.append(node)
            return
        parent = self.stack[-1]
        parent.size += size
        parent.depth = max(parent.depth, depth + 1)
        parent.end = end or (node.span.end_line, node.span.end_column)
        if parent.size > MAX_NODES:
            raise _Stop(
                _finding("yaml/too-large", node.span, f"more than {MAX_NODES} values once aliases are expanded")
            )
        if not parent.mapping:
            parent.children.append(node)
        elif parent.skip_value:
            parent.skip_value = False
        elif parent.key is None:
            self._key(parent, node)
        else:
            key, parent.key = parent.key, None
            if key.tag == _MERGE:
                parent.merges.append(node)
            else:
                parent.entries[key.text] = Entry(key, node)

    def _key(self, parent: _Open, node: Node) -> None:
        if not isinstance(node, Scalar):
            self.findings.append(
                _finding("yaml/key", node.span, "a key must be a single value, not a list or a mapping")
            )
            parent.skip_value = True
        elif node.text in parent.entries:
            first = parent.entries[node.text].key.span
            self.findings.append(
                _finding(
                    "yaml/duplicate-key",
                    node.span,
                    f"key {node.text!r} stands here a second time",
                    details=f"it stands first at {first}",
                    fix="remove one of the two",
                )
            )
            parent.skip_value = True
        else:
            parent.key = node

    def _merged(self, done: _Open) -> Iterator[Entry]:
        """Own entries first in rank and place, then what `<<` brings and they do not have."""
        seen = set(done.entries)
        yield from done.entries.values()
        for merge in done.merges:
            sources = merge.items if isinstance(merge, Items) else (merge,)
            for source in sources:
                if not isinstance(source, Table):
                    self.findings.append(_finding("yaml/merge", source.span, "`<<` takes a mapping or a list of them"))
                    continue
                for entry in source.entries:
                    if entry.key.text not in seen:
                        seen.add(entry.key.text)
                        yield entry


def _place(mark: _Mark | None) -> _Place:
    """A mark of libyaml, which counts from 0, as line and column from 1."""
    return (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)


def compose(text: str, file: str) -> Composed:
    """The positioned trees of every document of a YAML file; never raises on any text.

    Where the YAML is broken the documents before that place are kept and the findings say where it broke.
    """
    composer = _Composer(file)
    try:
        composer.run(text)
    except _Stop as stop:
        composer.findings.append(stop.finding)
    except yaml.MarkedYAMLError as error:
        composer.findings.append(_syntax(error, text, file))
    except (yaml.reader.ReaderError, UnicodeEncodeError):
        composer.findings.append(_unreadable(text, file))
    return Composed(tuple(composer.documents), tuple(composer.findings))


def value(node: Node) -> object:
    """The node as plain Python data: what a JSON Schema is held against. A timestamp stays text."""
    if isinstance(node, Scalar):
        return _scalar_value(node)
    if isinstance(node, Items):
        return [value(item) for item in node.items]
    return {entry.key.text: value(entry.value) for entry in node.entries}


_constructor = yaml.constructor.SafeConstructor()


def _scalar_value(node: Scalar) -> object:
    if node.tag == "null":
        return None
    if node.tag == "bool":
        return node.text.lower() in {"yes", "true", "on"}
    if node.tag in {"int", "float"}:
        plain = yaml.ScalarNode(_TAG_PREFIX + node.tag, node.text)
        try:
            if node.tag == "int":
                return _constructor.construct_yaml_int(plain)
            return _constructor.construct_yaml_float(plain)
        except (ValueError, IndexError):  # an explicit tag on other text, `0b_`, or too many digits for Python
            return node.text
    return node.text


def _finding(ident: str, span: Span, summary: str, *, details: str = "", fix: str = "") -> Finding:
    return Finding(ident, Severity.ERROR, span, summary, details=details, fix=fix)


def _syntax(error: yaml.MarkedYAMLError, text: str, file: str) -> Finding:
    line, column = _place(error.problem_mark or error.context_mark)
    problem = error.problem or error.context or "it cannot be read"
    context = f"{error.context} that began at line {error.context_mark.line + 1}" if error.context_mark else ""
    fix = "indent with spaces: YAML allows no tab there" if _begins_with_tab(text, line) else ""
    return _finding(
        "yaml/syntax", Span(file, line, column, line, column + 1), f"not YAML: {problem}", details=context, fix=fix
    )


def _begins_with_tab(text: str, line: int) -> bool:
    lines = text.splitlines()
    return line <= len(lines) and "\t" in lines[line - 1][: len(lines[line - 1]) - len(lines[line - 1].lstrip())]


def _unreadable(text: str, file: str) -> Finding:
    """The reader names the offending byte, not the line: the character is found again here."""
    match = _YamlReader.NON_PRINTABLE.search(text)
    offset = match.start() if match else next((i for i, c in enumerate(text) if "\ud800" <= c <= "\udfff"), 0)
    line = text.count("\n", 0, offset) + 1
    column = offset - (text.rfind("\n", 0, offset) + 1) + 1
    shown = f"U+{ord(text[offset]):04X}" if text else "nothing"
    return _finding(
        "yaml/character", Span(file, line, column, line, column + 1), f"character {shown} is not allowed in YAML"
    )
