"""Filters of Logstash, each as the processors of a store that do the same; one function a filter, and a table of them.

A translator returns the guard of the records that its filter matched: only those get what `add_field`, `add_tag` and
their like say.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from harness.policy.parse.logstash_nodes import Hash, Listed, Word
from harness.policy.translate.emitting import Emitter, both, tagging, value_at
from harness.policy.translate.mutate import mutate
from harness.policy.translate.patterns import Untranslatable, dissect, grok, time_format
from harness.policy.translate.settings import Settings

Translator = Callable[[Settings, Emitter, str], str]

NOBODY: Final = "false"
"""The guard of no record: what could not be translated matched none."""


def _tags(settings: Settings, default: str) -> list[str]:
    """The tags of a record at which the filter failed; an empty list is meant."""
    given = settings.has("tag_on_failure")
    found = settings.words("tag_on_failure")
    for word in found:
        if "%{" in word.text:
            settings.refuse(word.span, "the tag of a failure depends on the record")
    return [word.text for word in found] if given else [default]


def _there(path: tuple[str, ...]) -> str:
    return f"{value_at(path)} != null"


def _grok(settings: Settings, emitter: Emitter, guard: str) -> str:
    tags = _tags(settings, "_grokparsefailure")
    for name in ("timeout_millis", "tag_on_timeout", "timeout_scope"):
        settings.has(name)  # the store has a limit of its own, and tags what runs into it like any other failure
    for name in ("named_captures_only", "break_on_match"):
        settings.expect(name, "true")
    settings.expect("keep_empty_captures", "false")
    definitions = {key.text: word.text for key, word in settings.word_pairs("pattern_definitions")}
    overwritten = settings.paths("overwrite")
    found = settings.pairs("match")
    if len(found) != 1:
        at = found[1][0].span if found else settings.plugin.span
        settings.refuse(at, "`match` must name one field", "write one grok for each field")
        return NOBODY
    key, value = found[0]
    source = settings.path(key)
    patterns = []
    for item in value.items if isinstance(value, Listed) else (value,):
        if not isinstance(item, Word):
            settings.refuse(item.span, "a pattern must be a single value")
            continue
        try:
            made, names = grok(item.text)
        except Untranslatable as why:
            settings.refuse(item.span, str(why))
            continue
        patterns.append(made)
        if source is not None and ".".join(source) in names and source not in overwritten:
            fix = f'add `overwrite => ["{key.text}"]`'
            settings.refuse(item.span, f"without `overwrite` Logstash makes a list of {key.text!r}", fix)
    if source is None or not patterns:
        return NOBODY
    body: dict[str, Any] = {"field": ".".join(source), "patterns": patterns}
    if definitions:
        body["pattern_definitions"] = definitions
    return emitter.attempt("grok", body, guard, tags)


def _json(settings: Settings, emitter: Emitter, guard: str) -> str:
    source = settings.field("source", "message")
    if settings.flag("skip_on_invalid_json", False):
        settings.has("tag_on_failure")
        tags = []
    else:
        tags = _tags(settings, "_jsonparsefailure")
    body: dict[str, Any] = {"field": ".".join(source)}
    if settings.has("target"):
        body["target_field"] = ".".join(settings.field("target", ""))
    else:
        body["add_to_root"] = True
    if not settings.has("source"):
        settings.refuse(settings.plugin.span, "it names no `source`: Logstash does not start", "add `source`")
    return emitter.attempt("json", body, both(guard, _there(source)), tags)


def _date(settings: Settings, emitter: Emitter, guard: str) -> str:
    tags = _tags(settings, "_dateparsefailure")
    words = settings.words("match")
    if len(words) < 2:
        settings.refuse(settings.plugin.span, "`match` must name a field and a format", 'e.g. ["timestamp", "ISO8601"]')
        return NOBODY
    source = settings.path(words[0])
    formats = []
    for word in words[1:]:
        try:
            formats.append(time_format(word.text))
        except Untranslatable as why:
            settings.refuse(word.span, str(why))
    target = ".".join(settings.field("target", "@timestamp"))
    if source is None or not formats:
        return NOBODY
    body: dict[str, Any] = {"field": ".".join(source), "formats": formats, "target_field": target}
    for name in ("timezone", "locale"):
        given = settings.word(name)
        if given is not None and "%{" in given.text:
            settings.refuse(given.span, f"the `{name}` depends on the record")
        elif given is not None:
            body[name] = given.text
    return emitter.attempt("date", body, both(guard, _there(source)), tags)


def _kv(settings: Settings, emitter: Emitter, guard: str) -> str:
    source = settings.field("source", "message")
    tags = _tags(settings, "_kv_filter_error")
    for name, values in (
        ("whitespace", ("lenient", "strict")), ("include_brackets", ("true",)), ("recursive", ("false",)),
        ("transform_key", ()), ("transform_value", ()), ("allow_duplicate_values", ("true",)),
        ("allow_empty_values", ("false",)),
    ):  # fmt: skip
        settings.expect(name, *values)
    # Of a copy: Logstash passes over separators before the first pair, at which the store fails.
    copied = emitter.name()
    body: dict[str, Any] = {"field": copied, "strip_brackets": True}
    for name, default in (("field_split", " "), ("value_split", "=")):
        pattern, written = settings.word(f"{name}_pattern"), settings.text(name, default)
        one_of = "".join(f"\\{sign}" if sign in r"\^-[]&" else sign for sign in re.sub(r"\\(.)", r"\1", written))
        body[name] = pattern.text if pattern is not None else f"[{one_of}]" + ("+" if name == "field_split" else "")
    if settings.has("target"):
        body["target_field"] = ".".join(settings.field("target", ""))
    for name in ("prefix", "trim_key", "trim_value"):
        if (word := settings.word(name)) is not None:
            body[name] = word.text
            if "%{" in word.text:
                settings.refuse(word.span, f"`{name}` depends on the record")
    for name in ("include_keys", "exclude_keys"):
        if keys := settings.words(name):
            body[name] = [word.text for word in keys]
    present = both(guard, f"{value_at(source)} instanceof String")
    emitter.emit("copy", {"source_field": ".".join(source), "target_field": copied}, present)
    begin = {"field": copied, "pattern": f"^(?:{body['field_split']})+", "replacement": "", "ignore_missing": True}
    emitter.emit("gsub", begin, present)
    return emitter.attempt("kv", body, present, tags)


def _dissect(settings: Settings, emitter: Emitter, guard: str) -> str:
    tags = _tags(settings, "_dissectfailure")
    matched = []
    for key, word in settings.word_pairs("mapping"):
        source = settings.path(key)
        try:
            pattern = dissect(word.text)
        except Untranslatable as why:
            settings.refuse(word.span, str(why))
            continue
        if source is not None:
            body = {"field": ".".join(source), "pattern": pattern}
            matched.append(emitter.attempt("dissect", body, both(guard, _there(source)), tags))
    for key, word in settings.word_pairs("convert_datatype"):
        path, kind = settings.path(key), {"int": "long", "float": "double"}.get(word.text)
        if kind is None:
            settings.refuse(word.span, f"the store converts nothing to {word.text!r}", "known are: int, float")
        elif path is not None:
            body = {"field": ".".join(path), "type": kind}
            failing = [tagging([f"_dataconversionuncoercible_{path[-1]}_{word.text}"])]
            emitter.emit("convert", body, both(guard, _there(path)), failing=failing)
    return " || ".join(matched) or NOBODY


def _drop(settings: Settings, emitter: Emitter, guard: str) -> str:
    settings.expect("percentage", "100")
    emitter.emit("drop", {}, guard)
    return NOBODY


def _mutate(settings: Settings, emitter: Emitter, guard: str) -> str:
    for name in ("rename", "update", "replace", "convert", "split", "join", "copy"):
        for value in (one.value for one in settings.plugin.attributes if one.name.text == name):
            if isinstance(value, Hash) and not value.pairs:
                settings.refuse(value.span, f"`{name}` is empty")
    return mutate(settings, emitter, guard)


FILTERS: Final[Mapping[str, Translator]] = MappingProxyType(
    {
        "date": _date,
        "dissect": _dissect,
        "drop": _drop,
        "grok": _grok,
        "json": _json,
        "kv": _kv,
        "mutate": _mutate,
    }
)
"""Every filter that is translated, by its name."""
