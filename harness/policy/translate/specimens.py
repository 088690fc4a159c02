"""Records that a schema allows, made without chance: what a translated pipeline is tried on first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import jsonschema_rs

from harness.model.records import RecordSchema

_COUNT: Final = 12
_TEXTS: Final = ("plain", "two words, “é”", 'a "quoted" {one}', "", "%{not} a {{{template}}}", "lines\n\tand tabs \\ /")
_TIMES: Final = ("2026-11-30T04:52:56.123Z", "2026-11-30T13:52:56.007+09:00", "2026-02-28T23:59:59.999Z")
_DEEPEST: Final = 16


def specimens(schema: RecordSchema) -> tuple[dict[str, Any], ...]:
    """Some records that the schema allows, none where none could be made: each value takes its turns."""
    validator = jsonschema_rs.validator_for(dict(schema.document))
    made = [_value(schema.document, turn, 0) for turn in range(_COUNT)]
    return tuple(one for one in made if isinstance(one, dict) and validator.is_valid(one))


def _value(schema: Any, turn: int, depth: int) -> Any:
    """A value that most likely fits; who calls throws away what does not."""
    if not isinstance(schema, Mapping) or depth > _DEEPEST:
        return None
    if "const" in schema:
        return schema["const"]
    for name in ("enum", "examples"):
        if schema.get(name):
            return schema[name][turn % len(schema[name])]
    for name in ("anyOf", "oneOf"):
        if schema.get(name):
            return _value(schema[name][turn % len(schema[name])], turn, depth + 1)
    kinds = schema.get("type", "object" if "properties" in schema else "string")
    kind = kinds[turn % len(kinds)] if isinstance(kinds, list) else kinds
    match kind:
        case "object":
            return dict(_members(schema, turn, depth))
        case "array":
            least = max(int(schema.get("minItems", 0)), turn % 3)
            return [_value(schema.get("items", {}), turn + number, depth + 1) for number in range(least)]
        case "integer" | "number":
            return _number(schema, turn, fraction=kind == "number")
        case "boolean":
            return turn % 2 == 0
        case "null":
            return None
    return _text(schema, turn)


def _members(schema: Mapping[str, Any], turn: int, depth: int) -> Iterator[tuple[str, Any]]:
    required = schema.get("required", ())
    for place, (name, inner) in enumerate(schema.get("properties", {}).items()):
        # Each value has had its turn after six; then they are shifted, so that they do not come all together.
        if name in required or turn % 2 == 0:
            yield name, _value(inner, turn + place * (turn // 6), depth + 1)


def _number(schema: Mapping[str, Any], turn: int, *, fraction: bool) -> float:
    least = schema.get("minimum", schema.get("exclusiveMinimum", -1) + 1)
    most = schema.get("maximum", max(least, 0) + 5_000_000_000)
    found = (least, most, (least + most) // 2)[turn % 3]
    return float(found) + 0.125 if fraction and turn % 3 != 1 else found


def _text(schema: Mapping[str, Any], turn: int) -> str:
    if schema.get("format") == "date-time":
        return _TIMES[turn % len(_TIMES)]
    text = _TEXTS[turn % len(_TEXTS)]
    return text.ljust(int(schema.get("minLength", 0)), "x")[: int(schema.get("maxLength", 10_000))]
