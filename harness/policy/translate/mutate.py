"""The filter mutate: its changes in the order in which Logstash makes them, whatever the order in which they stand.

Source: logstash-filter-mutate 3.5, `filter`: coerce, rename, update, replace, convert, gsub, uppercase, capitalize,
lowercase, strip, split, join, merge, copy; then what every filter does.
"""

from __future__ import annotations

from typing import Final

from harness.policy.parse.logstash_nodes import Word
from harness.policy.translate.emitting import Emitter, both, tagging, value_at
from harness.policy.translate.patterns import Untranslatable, java, replacement
from harness.policy.translate.settings import Settings
from harness.policy.translate.texts import template

_TYPES: Final = {"integer": "long", "float": "double", "string": "string", "boolean": "boolean"}
"""Types of mutate, and those of the store that hold the same."""


def mutate(settings: Settings, emitter: Emitter, guard: str) -> str:
    """Translates one mutate; every record is one that it matched."""
    failed = [one.text for one in settings.words("tag_on_failure")] or ["_mutate_error"]
    for key, word in settings.word_pairs("rename"):
        source, target = settings.path(key), settings.path(word)
        if source and target and source != target:
            _rename(emitter, source, target, guard)
    for name in ("update", "replace"):
        for key, word in settings.word_pairs(name):
            path = settings.path(key)
            if path is None:
                continue
            held = both(guard, f"{value_at(path)} != null") if name == "update" else guard
            text = template(settings, emitter, word, held)
            emitter.emit("set", {"field": ".".join(path), "value": text}, held)
    for key, word in settings.word_pairs("convert"):
        path = settings.path(key)
        if path is not None:
            _convert(settings, emitter, path, word, guard, failed)
    _gsub(settings, emitter, guard)
    for name, kind in (("uppercase", "uppercase"), ("lowercase", "lowercase"), ("strip", "trim")):
        for path in settings.paths(name):
            # What is no text stays as it is, as in Logstash.
            emitter.emit(kind, {"field": ".".join(path), "ignore_missing": True}, guard, lenient=True)
    for key, word in settings.word_pairs("split"):
        path = settings.path(key)
        if path is not None:
            _split(emitter, ".".join(path), word.text, guard)
    for key, word in settings.word_pairs("join"):
        path = settings.path(key)
        if path is not None:
            held = both(guard, f"{value_at(path)} instanceof List")
            emitter.emit("join", {"field": ".".join(path), "separator": word.text}, held)
    for key, word in settings.word_pairs("copy"):
        source, target = settings.path(key), settings.path(word)
        if source and target:
            body = {"source_field": ".".join(source), "target_field": ".".join(target), "override_target": True}
            emitter.emit("copy", body, both(guard, f"{value_at(source)} != null"))
    return guard


def _rename(emitter: Emitter, source: tuple[str, ...], target: tuple[str, ...], guard: str) -> None:
    """A field of the new name gives way; the store refuses to rename onto one that is there."""
    there = f"{value_at(source)} != null"
    if target[: len(source)] != source:
        emitter.emit("remove", {"field": ".".join(target), "ignore_missing": True}, both(guard, there))
    emitter.emit("rename", {"field": ".".join(source), "target_field": ".".join(target)}, both(guard, there))


def _convert(
    settings: Settings, emitter: Emitter, path: tuple[str, ...], word: Word, guard: str, failed: list[str]
) -> None:
    kind = _TYPES.get(word.text.lower())
    if kind is None:
        known = ", ".join(_TYPES)
        settings.refuse(word.span, f"the store converts nothing to {word.text!r}", f"known are: {known}")
        return
    body = {"field": ".".join(path), "type": kind}
    emitter.emit("convert", body, both(guard, f"{value_at(path)} != null"), failing=[tagging(failed)])


def _gsub(settings: Settings, emitter: Emitter, guard: str) -> None:
    words = settings.words("gsub")
    if len(words) % 3:
        settings.refuse(words[-1].span, "`gsub` must hold a field, a pattern and a replacement by turns")
        return
    for field, pattern, put in zip(words[::3], words[1::3], words[2::3], strict=True):
        path = settings.path(field)
        try:
            body = {"pattern": f"(?m){java(pattern.text)}", "replacement": replacement(put.text)}
        except Untranslatable as why:
            settings.refuse(pattern.span, str(why))
            continue
        if path is not None:
            body = {"field": ".".join(path), **body, "ignore_missing": True}  # type: ignore[dict-item]
            emitter.emit("gsub", body, guard, lenient=True)


def _split(emitter: Emitter, field: str, separator: str, guard: str) -> None:
    """A text is split at the separator itself; at a blank, Ruby splits at each stretch of blanks but the first."""
    guard = emitter.remember(guard) if separator == " " else guard
    if separator == " ":
        emitter.emit("trim", {"field": field, "ignore_missing": True}, guard, lenient=True)
    pattern = r"\s+" if separator == " " else f"\\Q{separator}\\E"
    emitter.emit("split", {"field": field, "separator": pattern, "ignore_missing": True}, guard, lenient=True)
