"""Reading shapes from a positioned tree: what is asked for, or a finding that says what was expected and what is there.

Native files are not held to a schema: Prometheus and Alertmanager check their own files and grow new settings with
every release. Only what is read must have the right shape.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Generic, TypeVar

from harness.model.findings import Finding, Severity, Subject
from harness.model.source import Span
from harness.model.time import parse_duration
from harness.policy.parse.yaml import Items, Node, Scalar, Table, compose

T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Parsed(Generic[T_co]):
    """What a file says, as far as it could be read, and what is wrong with it."""

    value: T_co
    findings: tuple[Finding, ...]


class Reading:
    """Reads one file and collects what is wrong with it; `area` is the first word of its findings' ids."""

    def __init__(self, area: str, file: str) -> None:
        self.area = area
        self.file = file
        self.findings: list[Finding] = []

    def error(
        self, name: str, span: Span, summary: str, *, details: str = "", fix: str = "", about: Subject | None = None
    ) -> None:
        """Notes that something cannot work."""
        self._note(name, Severity.ERROR, span, summary, details, fix, about)

    def warning(
        self, name: str, span: Span, summary: str, *, details: str = "", fix: str = "", about: Subject | None = None
    ) -> None:
        """Notes something that works and is most likely not meant."""
        self._note(name, Severity.WARNING, span, summary, details, fix, about)

    def _note(
        self, name: str, severity: Severity, span: Span, summary: str, details: str, fix: str, about: Subject | None
    ) -> None:
        self.findings.append(Finding(f"{self.area}/{name}", severity, span, summary, details, fix, about))

    def start(self) -> Span:
        """The first character of the file: where something stands that is not there."""
        return Span(self.file, 1, 1, 1, 1)

    def document(self, text: str) -> Table | None:
        """The one mapping that the file must hold."""
        composed = compose(text, self.file)
        self.findings.extend(composed.findings)
        if not composed.documents:
            if not composed.findings:
                self.error("empty", self.start(), "the file is empty")
            return None
        if len(composed.documents) > 1:
            self.error("documents", composed.documents[1].span, "a second YAML document begins here; one is read")
        return self.table(composed.documents[0], "the file")

    def table(self, node: Node | None, what: str) -> Table | None:
        """A mapping; None where there is nothing or something else (then with a finding)."""
        if isinstance(node, Table):
            return node
        self._wrong_shape(node, what, "a mapping")
        return None

    def items(self, node: Node | None, what: str) -> tuple[Node, ...]:
        """The entries of a list; none where there is nothing or something else."""
        if isinstance(node, Items):
            return node.items
        self._wrong_shape(node, what, "a list")
        return ()

    def tables(self, node: Node | None, what: str) -> Iterator[Table]:
        """The mappings in a list."""
        for item in self.items(node, what):
            table = self.table(item, f"an entry of {what}")
            if table is not None:
                yield table

    def scalars(self, node: Node | None, what: str) -> Iterator[Scalar]:
        """The single values in a list."""
        for item in self.items(node, what):
            scalar = self.scalar(item, f"an entry of {what}")
            if scalar is not None:
                yield scalar

    def scalar(self, node: Node | None, what: str) -> Scalar | None:
        """A single value as it is written, whatever type YAML would give it."""
        if isinstance(node, Scalar) and node.tag != "null":
            return node
        self._wrong_shape(node, what, "a single value")
        return None

    def duration(self, node: Node | None, what: str, default: timedelta) -> timedelta:
        """A duration in Prometheus's spelling; the default where there is none or it cannot be read."""
        scalar = self.scalar(node, what)
        if scalar is None:
            return default
        try:
            return parse_duration(scalar.text)
        except (ValueError, OverflowError):
            self.error(
                "duration",
                scalar.span,
                f"{what} is {scalar.text!r}, which is not a duration",
                fix="write whole numbers with units, e.g. 30s, 1m30s or 250ms",
            )
            return default

    def strings(self, node: Node | None, what: str) -> dict[str, str]:
        """A mapping of names to single values, as written."""
        if node is None or _is_null(node):
            return {}
        table = self.table(node, what)
        found: dict[str, str] = {}
        for entry in table.entries if table else ():
            text = self.scalar(entry.value, f"{what}.{entry.key.text}")
            found[entry.key.text] = text.text if text else ""
        return found

    def _wrong_shape(self, node: Node | None, what: str, wanted: str) -> None:
        if node is None or _is_null(node):
            return
        self.error("shape", node.span, f"{what} must be {wanted}; here stands {describe(node)}")


def describe(node: Node) -> str:
    """What stands there, in words."""
    if isinstance(node, Table):
        return "a mapping"
    if isinstance(node, Items):
        return "a list"
    if node.tag == "null":
        return "nothing"
    shown = node.text if len(node.text) <= 40 else node.text[:39] + "…"
    return repr(shown)


def _is_null(node: Node) -> bool:
    return isinstance(node, Scalar) and node.tag == "null"
