"""What an event of each kind must look like, as `events/<kind>.schema.json` states it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import jsonschema_rs
import orjson

from harness.errors import UsageError

SUFFIX = ".schema.json"
_LONGEST_REASON = 500


@dataclass(frozen=True, slots=True)
class Event:
    """An event that is what its schema wants.

    Args:
        identity: its `metadata.sequence`.
        kind: the stem of its schema.
        action: what happened.
        origin: its `environment`.
        record: the whole event as JSON, on one line.
    """

    identity: str
    kind: str
    action: str
    origin: str
    record: bytes


@dataclass(frozen=True, slots=True)
class Rejected:
    """An event that is not; `cause` is short and one of few, `reason` a sentence that names the field."""

    identity: str | None
    kind: str
    cause: str
    reason: str
    text: str


class Schemas:
    """The schemas of a folder, compiled.

    Args:
        folder: holds `<kind>.schema.json` for every kind of event.

    Raises:
        UsageError: there is none, or one of them is no schema.
    """

    def __init__(self, folder: Path) -> None:
        self._validators = {path.name.removesuffix(SUFFIX): _compiled(path) for path in _files(folder)}

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of event that there are."""
        return tuple(self._validators)

    def check(self, event: Mapping[str, object]) -> Event | Rejected:
        """An event, checked against the schema of the kind that it says it is of."""
        kind, identity = event.get("kind"), _identity(event)
        validator = self._validators.get(kind) if isinstance(kind, str) else None
        if validator is None or not isinstance(kind, str):
            kinds = ", ".join(self._validators)
            reason = f"kind: {_short(kind)} is none of {kinds}"
            return Rejected(identity, "unknown", "kind", reason, _text(event))
        if not validator.is_valid(event):
            return Rejected(identity, kind, "schema", _complaint(validator, event), _text(event))
        if not identity:
            return Rejected(None, kind, "identity", "metadata.sequence: an event needs an identity", _text(event))
        origin, action = event.get("environment"), event.get("action")
        return Event(
            identity,
            kind,
            action if isinstance(action, str) else "",
            origin if isinstance(origin, str) else "",
            orjson.dumps(event),
        )


def _files(folder: Path) -> list[Path]:
    files = sorted(folder.glob(f"*{SUFFIX}"))
    if not files:
        raise UsageError(
            "There is no schema of events", expected=f"<kind>{SUFFIX} for every kind of event", seen=str(folder)
        )
    return files


def _compiled(path: Path) -> jsonschema_rs.Draft202012Validator:
    try:
        document = orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError as error:
        raise UsageError(f"{path}:{error.lineno}:{error.colno}: this is not JSON", seen=error.msg) from None
    except OSError as error:
        raise UsageError(f"The schema {path} cannot be read", seen=error.strerror) from error
    if not isinstance(document, dict):
        raise UsageError(f"{path}:1:1: this is not a JSON Schema", expected="an object")
    try:
        return jsonschema_rs.Draft202012Validator(document, validate_formats=True)
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as error:
        raise UsageError(f"{path}:1:1: this is not a JSON Schema", seen=str(error).splitlines()[0]) from None


def identity_of(record: bytes) -> str | None:
    """The identity of an event that was accepted, from its record."""
    return _identity(orjson.loads(record))


def _identity(event: Mapping[str, object]) -> str | None:
    metadata = event.get("metadata")
    sequence = metadata.get("sequence") if isinstance(metadata, dict) else None
    return sequence if isinstance(sequence, str) else None


def _complaint(validator: jsonschema_rs.Draft202012Validator, event: Mapping[str, object]) -> str:
    """Every field that offends, with what offends."""
    reasons = [
        f"{'.'.join(map(str, error.instance_path)) or 'the event'}: {error.message}"
        for error in validator.iter_errors(event)
    ]
    return _cut("; ".join(reasons))


def _short(value: object) -> str:
    return _cut(orjson.dumps(value).decode(errors="replace"))


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_REASON else text[:_LONGEST_REASON] + "…"


def _text(event: Mapping[str, object]) -> str:
    return orjson.dumps(event).decode(errors="replace")
