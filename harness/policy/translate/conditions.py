"""Conditions of Logstash as expressions of Painless, which mean the same of every record.

Source: Logstash's documentation, "Accessing event data and fields", and its Java `EventCondition`: a field that is not
there equals nothing and is in nothing, only texts match a regular expression, "" and "false" are not true.
"""

from __future__ import annotations

from harness.policy.parse.logstash_nodes import (
    Compared,
    Condition,
    Contained,
    Field,
    Joined,
    Listed,
    Matched,
    Not,
    Operand,
    Regexp,
    Truthy,
    Word,
)
from harness.policy.parse.reading import Reading
from harness.policy.translate.emitting import quoted, value_at
from harness.policy.translate.patterns import Untranslatable, literal

_IMPOSSIBLE = "false"
"""Stands for what a finding says cannot be translated."""


def expression(reading: Reading, condition: Condition) -> str:
    """A condition as an expression; what cannot be said is a finding."""
    match condition:
        case Not(inner):
            return f"!({expression(reading, inner)})"
        case Joined("and" | "or" as operator, parts):
            sign = " && " if operator == "and" else " || "
            return sign.join(f"({expression(reading, part)})" for part in parts)
        case Joined(operator, parts):
            left, right = (expression(reading, part) for part in parts[:2])
            return f"({left}) != ({right})" if operator == "xor" else f"!(({left}) && ({right}))"
        case Truthy(operand):
            return f"truthy({_operand(reading, operand)})"
        case Contained(left, right):
            return f"within({_operand(reading, left)}, {_operand(reading, right)})"
        case Matched(left, pattern):
            return _matched(reading, left, pattern)
        case Compared(operator, left, right):
            first, second = _operand(reading, left), _operand(reading, right)
            if operator in {"==", "!="}:
                return f"{'!' if operator == '!=' else ''}same({first}, {second})"
            if operator in {">", ">="}:
                first, second = second, first
            return f"less({first}, {second}, {'true' if operator.endswith('=') else 'false'})"


def _matched(reading: Reading, left: Operand, pattern: Regexp) -> str:
    value = _operand(reading, left)
    try:
        return f"{value} instanceof String && {value} =~ {literal(pattern.pattern)}"
    except Untranslatable as why:
        reading.error("untranslated", pattern.span, f"/{pattern.pattern}/ cannot be translated: {why}")
        return _IMPOSSIBLE


def _operand(reading: Reading, operand: Operand) -> str:
    if isinstance(operand, Field):
        if operand.path[0] == "@metadata":
            _metadata(reading, operand)
        dotted = next((name for name in operand.path if "." in name), None)
        if dotted is not None:
            reading.error(
                "untranslated",
                operand.span,
                f"[{dotted}] names one field with a dot in it, which a store takes for a nested one",
                fix=f"write {''.join(f'[{part}]' for name in operand.path for part in name.split('.'))}",
            )
        return value_at(operand.path)
    if isinstance(operand, Word):
        if operand.kind == "number":
            return operand.text.rstrip(".") + ("" if "." in operand.text.rstrip(".") else "L")
        return quoted(operand.text)
    if isinstance(operand, Listed) and all(isinstance(item, Word) for item in operand.items):
        return f"[{', '.join(_operand(reading, item) for item in operand.items if isinstance(item, Word))}]"
    what = "a regular expression by itself" if isinstance(operand, Regexp) else "a list of anything but single values"
    reading.error("untranslated", operand.span, f"{what} cannot be translated: Logstash does not start with it either")
    return _IMPOSSIBLE


def _metadata(reading: Reading, field: Field) -> None:
    """What Beats tells Logstash beside a record is not in the record that a store is given."""
    if field.path[1:2] in {("beat",), ("version",), ("type",), ("_id",), ("pipeline",), ("ip_address",), ("input",)}:
        reading.error(
            "untranslated",
            field.span,
            f"[{']['.join(field.path)}] cannot be translated: Beats tells it to Logstash alone",
            fix="ask for a field of the record itself, e.g. [fields][log]",
        )
