"""JSON as a positioned tree: JSON's own grammar decides what is right, YAML's reader says where each thing stands."""

from __future__ import annotations

import json

from harness.model.source import Span
from harness.policy.parse.reading import Reading
from harness.policy.parse.yaml import Table, compose


def read(reading: Reading, text: str) -> Table | None:
    """The one object that the file must hold, or a finding and None."""
    try:
        found = json.loads(text, parse_constant=_refuse)
    except json.JSONDecodeError as error:
        at = Span(reading.file, error.lineno, error.colno, error.lineno, error.colno + 1)
        reading.error(
            "not-json", at, f"this is no JSON: {error.msg}", fix="JSON knows no comments, and no comma at the end"
        )
        return None
    except (ValueError, RecursionError) as error:
        reading.error("not-json", reading.start(), f"this is no JSON: {error}")
        return None
    if not isinstance(found, dict):
        reading.error("shape", reading.start(), "the file must hold one JSON object")
        return None
    composed = compose(text, reading.file)
    reading.findings.extend(composed.findings)
    return reading.table(composed.documents[0], "the file") if composed.documents else None


def _refuse(word: str) -> object:
    raise ValueError(f"{word} is no number in JSON")
