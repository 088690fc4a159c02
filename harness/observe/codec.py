"""Typed events as JSON and back, derived from the type hints of `harness.model.events`.

An event is added by writing its dataclass: nothing here knows a kind or a field by name. In JSON

- a dataclass is an object of its fields, an enum its value, a path a string, a tuple an array,
- a frozenset is an array in sorted order, so that the same run writes the same bytes,
- a timedelta is a number of seconds, exact to the microsecond,
- a number that JSON has no word for is one of the strings "Infinity", "-Infinity" and "NaN" (as in the JSON mapping
  of protocol buffers): `null` would be taken for "not known".

Reading is lenient where a later version may have added something (unknown fields are passed over, missing ones take
their default) and strict everywhere else.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any, Protocol, TypeAlias, Union, cast

from harness.model.events import Payload

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
"""What JSON can say."""

KINDS: Mapping[str, type[Payload]] = {payload.kind: payload for payload in typing.get_args(Payload)}
"""Every kind of event that this version knows, by its name in the ledger."""

_BEYOND_JSON = {"Infinity": math.inf, "-Infinity": -math.inf, "NaN": math.nan}
_SECOND = timedelta(seconds=1)


class Strings(Protocol):
    """What happens to strings on their way into JSON; `harness.observe.redaction.Redactor` is one."""

    def text(self, value: str) -> str:
        """A string that a person or a component wrote."""

    def entry(self, key: str, value: str) -> str:
        """A string under a key of a mapping."""


class AsTheyAre:
    """Leaves strings alone."""

    def text(self, value: str) -> str:
        """The string."""
        return value

    def entry(self, key: str, value: str) -> str:  # noqa: ARG002 - the key is for those who care
        """The string."""
        return value


AS_THEY_ARE = AsTheyAre()


@dataclass(frozen=True, slots=True)
class _Form:
    """How one type is written and read. `decode` takes the place of the value in its event, for messages."""

    encode: Callable[[object, Strings], Json]
    decode: Callable[[Json, str], object]


def encode(payload: Payload, strings: Strings = AS_THEY_ARE) -> dict[str, Json]:
    """The fields of an event as JSON.

    Raises:
        TypeError: a field holds what its type hint does not allow; nobody could read that back.
    """
    return cast("dict[str, Json]", _form(cast("Any", type(payload))).encode(payload, strings))


def decode(kind: str, fields: Mapping[str, Json]) -> Payload | None:
    """The event that these fields tell of, or None for a kind that this version does not know.

    Raises:
        ValueError: a field is missing or is not what the kind says; a sentence that names the field.
    """
    payload = KINDS.get(kind)
    return None if payload is None else cast("Payload", _form(cast("Any", payload)).decode(dict(fields), kind))


@cache
def _form(hint: Any) -> _Form:
    """The form of a type hint.

    Raises:
        TypeError: the codec has no form for it; add one, or choose another type for the field.
    """
    if isinstance(hint, type):
        if hint in _PLAIN:
            return _PLAIN[hint]
        if issubclass(hint, Enum):
            return _enum(hint)
        if dataclasses.is_dataclass(hint):
            return _dataclass(hint)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in {Union, types.UnionType} and len(arguments) == 2 and type(None) in arguments:
        return _optional(_form(next(argument for argument in arguments if argument is not type(None))))
    if origin is tuple and len(arguments) == 2 and arguments[1] is Ellipsis:
        return _tuple(_form(arguments[0]))
    if origin is frozenset:
        return _frozenset(_form(arguments[0]))
    if origin in {Mapping, dict}:
        return _mapping(_form(arguments[0]), _form(arguments[1]), of_strings=arguments[1] is str)
    raise TypeError(f"the ledger has no form for a field of type {hint}")


def _unreadable(place: str, expected: str, seen: Json) -> ValueError:
    text = repr(seen)
    return ValueError(f"{place} must be {expected} and is {text if len(text) <= 60 else text[:57] + '...'}")


def _unwritable(expected: str, seen: object) -> TypeError:
    return TypeError(f"{expected} must be written here, not {seen!r}")


def _encode_str(value: object, strings: Strings) -> Json:
    if not isinstance(value, str):
        raise _unwritable("a string", value)
    return strings.text(str(value))


def _decode_str(value: Json, place: str) -> object:
    if not isinstance(value, str):
        raise _unreadable(place, "a string", value)
    return value


def _encode_bool(value: object, _: Strings) -> Json:
    if not isinstance(value, bool):
        raise _unwritable("true or false", value)
    return value


def _decode_bool(value: Json, place: str) -> object:
    if not isinstance(value, bool):
        raise _unreadable(place, "true or false", value)
    return value


def _encode_int(value: object, _: Strings) -> Json:
    if not isinstance(value, int) or isinstance(value, bool):
        raise _unwritable("a whole number", value)
    return value


def _decode_int(value: Json, place: str) -> object:
    if not isinstance(value, int) or isinstance(value, bool):
        raise _unreadable(place, "a whole number", value)
    return value


def _encode_float(value: object, _: Strings) -> Json:
    if not isinstance(value, float | int) or isinstance(value, bool):
        raise _unwritable("a number", value)
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _decode_float(value: Json, place: str) -> object:
    if isinstance(value, str) and value in _BEYOND_JSON:
        return _BEYOND_JSON[value]
    if not isinstance(value, float | int) or isinstance(value, bool):
        raise _unreadable(place, "a number", value)
    return float(value)


def _encode_timedelta(value: object, _: Strings) -> Json:
    if not isinstance(value, timedelta):
        raise _unwritable("a duration", value)
    return value / _SECOND


def _decode_timedelta(value: Json, place: str) -> object:
    if not isinstance(value, float | int) or isinstance(value, bool):
        raise _unreadable(place, "a number of seconds", value)
    return timedelta(seconds=value)


def _encode_path(value: object, strings: Strings) -> Json:
    if not isinstance(value, Path):
        raise _unwritable("a path", value)
    return strings.text(str(value))


def _decode_path(value: Json, place: str) -> object:
    if not isinstance(value, str):
        raise _unreadable(place, "a path", value)
    return Path(value)


_PLAIN: Mapping[object, _Form] = {
    str: _Form(_encode_str, _decode_str),
    bool: _Form(_encode_bool, _decode_bool),
    int: _Form(_encode_int, _decode_int),
    float: _Form(_encode_float, _decode_float),
    timedelta: _Form(_encode_timedelta, _decode_timedelta),
    Path: _Form(_encode_path, _decode_path),
}


def _enum(enum: type[Enum]) -> _Form:
    members: Mapping[object, Enum] = {member.value: member for member in enum}
    known = ", ".join(str(value) for value in members)

    def write(value: object, _: Strings) -> Json:
        if not isinstance(value, enum):
            raise _unwritable(f"one of {known}", value)
        return cast("Json", value.value)

    def read(value: Json, place: str) -> object:
        if not isinstance(value, str | int) or value not in members:
            raise _unreadable(place, f"one of {known}", value)
        return members[value]

    return _Form(write, read)


def _dataclass(cls: type) -> _Form:
    hints = typing.get_type_hints(cls)
    fields = dataclasses.fields(cls)
    forms = {field.name: _form(hints[field.name]) for field in fields}
    required = frozenset(
        field.name
        for field in fields
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    )

    def write(value: object, strings: Strings) -> Json:
        if not isinstance(value, cls):
            raise _unwritable(f"a {cls.__name__}", value)
        return {name: form.encode(getattr(value, name), strings) for name, form in forms.items()}

    def read(value: Json, place: str) -> object:
        if not isinstance(value, dict):
            raise _unreadable(place, "an object", value)
        missing = sorted(required - value.keys())
        if missing:
            raise ValueError(f"{place} lacks {', '.join(missing)}")
        return cls(
            **{name: form.decode(value[name], f"{place}.{name}") for name, form in forms.items() if name in value}
        )

    return _Form(write, read)


def _optional(form: _Form) -> _Form:
    return _Form(
        lambda value, strings: None if value is None else form.encode(value, strings),
        lambda value, place: None if value is None else form.decode(value, place),
    )


def _tuple(form: _Form) -> _Form:
    def write(value: object, strings: Strings) -> Json:
        if not isinstance(value, tuple | list):
            raise _unwritable("a sequence", value)
        return [form.encode(item, strings) for item in value]

    def read(value: Json, place: str) -> object:
        if not isinstance(value, list):
            raise _unreadable(place, "an array", value)
        return tuple(form.decode(item, f"{place}[{number}]") for number, item in enumerate(value))

    return _Form(write, read)


def _frozenset(form: _Form) -> _Form:
    def write(value: object, strings: Strings) -> Json:
        if not isinstance(value, frozenset | set):
            raise _unwritable("a set", value)
        return sorted((form.encode(item, strings) for item in value), key=repr)

    def read(value: Json, place: str) -> object:
        if not isinstance(value, list):
            raise _unreadable(place, "an array", value)
        return frozenset(form.decode(item, f"{place}[{number}]") for number, item in enumerate(value))

    return _Form(write, read)


def _mapping(keys: _Form, values: _Form, *, of_strings: bool) -> _Form:
    def write(value: object, strings: Strings) -> Json:
        if not isinstance(value, Mapping):
            raise _unwritable("a mapping", value)
        written: dict[str, Json] = {}
        for key, item in value.items():
            # Keys are names (of labels, headers, channels): they tell what a value is and are never secret themselves.
            name = keys.encode(key, AS_THEY_ARE)
            if not isinstance(name, str):
                raise _unwritable("a string as key", key)
            written[name] = (
                strings.entry(name, item) if of_strings and isinstance(item, str) else values.encode(item, strings)
            )
        return written

    def read(value: Json, place: str) -> object:
        if not isinstance(value, dict):
            raise _unreadable(place, "an object", value)
        return {
            keys.decode(name, f"a key of {place}"): values.decode(item, f"{place}.{name}")
            for name, item in value.items()
        }

    return _Form(write, read)
