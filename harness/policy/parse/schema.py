"""Our own policy files held against their JSON Schema: every error at once, each where it stands.

jsonschema says what is wrong and at which path; the positioned tree says at which line. Schemas are
`harness/policy/schemas/*.schema.json`, which an editor can use too.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Iterator, Mapping
from importlib import resources
from typing import cast

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from harness.model.findings import Finding, Severity
from harness.policy.parse.reading import describe
from harness.policy.parse.suggest import hint
from harness.policy.parse.yaml import Items, Node, Table, value

_TYPES = {
    "object": "a mapping",
    "array": "a list",
    "string": "a text",
    "number": "a number",
    "integer": "a whole number",
    "boolean": "true or false",
    "null": "nothing",
}


def validate(document: Node, name: str) -> tuple[Finding, ...]:
    """Everything in a document that its schema `name` (drills, targets, stack) does not allow, in the file's order."""
    errors = _validator(name).iter_errors(cast("Mapping[str, object]", value(document)))
    findings = dict.fromkeys(finding for error in errors for finding in _findings(error, document, name))
    return tuple(sorted(findings, key=lambda finding: finding.span))


@functools.cache
def _validator(name: str) -> Draft202012Validator:
    text = resources.files("harness.policy").joinpath("schemas", f"{name}.schema.json").read_text(encoding="utf-8")
    return Draft202012Validator(json.loads(text))


def _findings(error: ValidationError, document: Node, name: str) -> Iterator[Finding]:
    node = _at(document, error.absolute_path)
    where = _path(error.absolute_path)
    schema = error.schema if isinstance(error.schema, Mapping) else {}
    if error.validator == "additionalProperties" and isinstance(node, Table):
        known = list(schema.get("properties", {}))
        for entry in node.entries:
            if entry.key.text not in known:
                summary = f"unknown key {entry.key.text!r}{f' in {where}' if where else ''}"
                yield _finding(f"{name}/unknown-key", entry.key, summary, fix=hint(entry.key.text, known))
    elif "propertyNames" in error.absolute_schema_path and isinstance(node, Table):
        key = str(error.instance)
        summary = f"unknown key {key!r}{f' in {where}' if where else ''}"
        yield _finding(f"{name}/unknown-key", node.key(key) or node, summary, fix=_choice(key, error))
    elif error.validator in {"required", "dependentRequired"}:
        for missing in _missing(error):
            summary = f"{where or 'the file'} has no {missing!r}"
            yield _finding(f"{name}/missing-key", node, summary, details=_meaning(schema, missing))
    else:
        yield _value(error, node, where, name, schema)


def _value(error: ValidationError, node: Node, where: str, name: str, schema: Mapping[str, object]) -> Finding:
    """One value that is not what the schema wants, told in words."""
    wanted = cast("object", error.validator_value)
    expected = str(schema.get("description", ""))
    details = f"expected: {expected}" if expected else ""
    match error.validator:
        case "type":
            names = wanted if isinstance(wanted, list) else [wanted]
            kinds = " or ".join(_TYPES.get(str(name), str(name)) for name in names)
            summary = f"{where or 'the file'} must be {kinds}; here stands {describe(node)}"
        case "enum":
            summary = f"{where} is {describe(node)}, which is unknown"
            return _finding(f"{name}/unknown-value", node, summary, details=details, fix=_choice(error.instance, error))
        case "pattern":
            summary = f"{where} is {describe(node)}, which is not written as it must be"
            details = details or f"expected: text that matches {wanted}"
        case "minItems" | "minProperties" | "minLength":
            summary = f"{where} is too short or empty"
        case "maxItems" | "maxLength":
            summary = f"{where} is too long; at most {wanted}"
        case "uniqueItems":
            summary = f"{where} names something twice"
        case _:
            summary = f"{where or 'the file'}: {error.message}"
    return _finding(f"{name}/value", node, summary, details=details)


def _missing(error: ValidationError) -> Iterator[str]:
    """The keys that are not there; jsonschema reports one error for each, and each yields them all."""
    present = set(cast("Mapping[str, object]", error.instance))
    if error.validator == "dependentRequired":
        dependent = cast("Mapping[str, list[str]]", error.validator_value)
        wanted = [key for given, keys in dependent.items() if given in present for key in keys]
    else:
        wanted = cast("list[str]", error.validator_value)
    return (key for key in wanted if key not in present)


def _choice(word: object, error: ValidationError) -> str:
    return hint(str(word), [str(choice) for choice in cast("list[object]", error.validator_value)])


def _meaning(schema: Mapping[str, object], key: str) -> str:
    properties = schema.get("properties")
    about = properties.get(key) if isinstance(properties, Mapping) else None
    meaning = about.get("description") if isinstance(about, Mapping) else None
    return f"{key}: {meaning}" if meaning else ""


def _at(document: Node, path: Iterable[str | int]) -> Node:
    """The node at jsonschema's path; the nearest one above where a step leads nowhere."""
    node = document
    for step in path:
        inner: Node | None = None
        if isinstance(node, Table):
            inner = node.get(str(step))
        elif isinstance(node, Items) and isinstance(step, int):
            inner = node.items[step]
        if inner is None:
            return node
        node = inner
    return node


def _path(steps: Iterable[str | int]) -> str:
    path = ""
    for step in steps:
        path += f"[{step}]" if isinstance(step, int) else f".{step}" if path else str(step)
    return path


def _finding(ident: str, at: Node, summary: str, *, details: str = "", fix: str = "") -> Finding:
    return Finding(ident, Severity.ERROR, at.span, summary, details=details, fix=fix)
