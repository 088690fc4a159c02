"""Target files: what a job's `file_sd_configs` name, YAML or JSON, one list of target groups each."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Final

from harness.model.findings import Finding, Severity
from harness.model.source import Span
from harness.policy.parse.reading import Parsed, Reading
from harness.policy.parse.yaml import Scalar, compose

DISCOVERY: Final = "file_sd_configs"
"""The key of a job under which its target files are named."""

# Source: Prometheus's manual, "Configuration", `<file_sd_config>`: the last path segment may contain a single `*`.
_NAME = re.compile(r"[^*]*(\*[^/]*)?\.(json|yml|yaml|JSON|YML|YAML)")
_SETTINGS: Final = ("targets", "labels")


def is_name(pattern: str) -> bool:
    """Whether Prometheus takes this as the name of target files; with any other it does not start."""
    return _NAME.fullmatch(pattern) is not None


def named(patterns: Iterable[str], files: Iterable[str]) -> tuple[str, ...]:
    """Those of some files (paths relative to prometheus.yml) that patterns name, each once, in the patterns' order."""
    known = [(PurePosixPath(name), name) for name in files]
    found: dict[str, None] = {}
    for pattern in patterns:
        wanted = PurePosixPath(pattern)
        same_depth = (one for one in known if len(one[0].parts) == len(wanted.parts))
        # Go's Glob, which Prometheus uses, does not descend: `**` means no more than `*`.
        matching = sorted(name for path, name in same_depth if path.match(re.sub(r"\*+", "*", str(wanted))))
        found.update(dict.fromkeys(matching))
    return tuple(found)


def parse(text: str, file: str) -> Parsed[tuple[Scalar, ...]]:
    """Reads a target file: the addresses in it, as written.

    Prometheus refuses a file with an unknown setting or an empty group as a whole, and goes on with what the file said
    before; at its start that is nothing.
    """
    reading = Reading("discovery", file)
    if file.lower().endswith(".json") and (broken := _not_json(text, file)):
        return Parsed((), (broken,))
    composed = compose(text, file)
    reading.findings.extend(composed.findings)
    if composed.findings:
        return Parsed((), tuple(reading.findings))
    targets: list[Scalar] = []
    for group in reading.items(composed.documents[0], "a target file") if composed.documents else ():
        table = reading.table(group, "a target group")
        if table is None:
            if isinstance(group, Scalar) and group.tag == "null":
                reading.error("empty-group", group.span, "a target group is empty: Prometheus refuses the whole file")
            continue
        for entry in table.entries:
            if entry.key.text not in _SETTINGS:
                reading.error(
                    "unknown-setting",
                    entry.key.span,
                    f"a target group has no setting {entry.key.text!r}: Prometheus refuses the whole file",
                    details=f"expected: {' and '.join(_SETTINGS)}",
                )
        targets.extend(reading.scalars(table.get("targets"), "targets"))
        reading.strings(table.get("labels"), "labels")
    if not targets and not reading.findings:
        reading.warning("no-targets", reading.start(), "the file names no target: nothing is scraped by it")
    return Parsed(tuple(targets), tuple(reading.findings))


def _not_json(text: str, file: str) -> Finding | None:
    """Where a file that Prometheus reads as JSON is none; what is JSON is read as YAML afterwards, for its spans."""
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        at = Span(file, error.lineno, error.colno, error.lineno, error.colno + 1)
        return Finding("discovery/json", Severity.ERROR, at, f"not JSON: {error.msg[:1].lower()}{error.msg[1:]}")
    except RecursionError:
        return Finding("discovery/json", Severity.ERROR, Span(file, 1, 1, 1, 2), "not JSON: nested too deeply")
    return None
