"""logstash.conf as the sandbox has it: its filters alone, at their places.

Inputs and outputs are carried out by nobody here, and hold production's addresses and passwords.
"""

from __future__ import annotations

from harness.model.stack import Difference
from harness.policy.parse import logstash

_NOBODY = "Logstash is not here: Filebeat writes to the store, which is told the filters"


def rewire(text: str, file: str) -> tuple[str, tuple[Difference, ...]]:
    """The text that the copy has, and how it differs; the file parsed when the policies were loaded."""
    pipeline = logstash.parse(text, file).value
    sections = pipeline.sections if pipeline is not None else ()
    lines = text.split("\n")
    kept = [""] * len(lines)
    for at in (section.span for section in sections if section.kind == "filter"):
        for number in range(at.line, at.end_line + 1):
            begin = at.column - 1 if number == at.line else 0
            end = at.end_column - 1 if number == at.end_line else None
            line = kept[number - 1].ljust(begin)
            kept[number - 1] = line + lines[number - 1][begin:end]
    gone = dict.fromkeys(section.kind for section in sections if section.kind != "filter")
    return "\n".join(kept), tuple(Difference(file, kind, f"{kind} {{ … }}", "", _NOBODY) for kind in gone)
