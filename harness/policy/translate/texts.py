"""Texts with `%{field}` in them: what a record says is put in place; without it the words stay as they are."""

from __future__ import annotations

from harness.policy.parse.logstash_nodes import Listed, Value, Word
from harness.policy.translate.emitting import Emitter, both, quoted, value_at
from harness.policy.translate.patterns import REFERENCE, Untranslatable, path_of
from harness.policy.translate.settings import Settings


def template(settings: Settings, emitter: Emitter, word: Word, guard: str) -> str:
    """A text as a template of the store; what it asks for is laid ready in the scratch just before.

    A store puts nothing in place of a field that is not there, Logstash leaves `%{field}` as it stands: so that a
    field that is missing is laid ready as these words.
    """
    if "{{" in word.text:
        settings.refuse(word.span, "`{{` in a text is the beginning of a template to the store")
        return ""
    made, end = [], 0
    for found in REFERENCE.finditer(word.text):
        made.append(word.text[end : found.start()])
        end = found.end()
        made.append(_laid_ready(settings, emitter, word, found[1], guard))
    return "".join([*made, word.text[end:]])


def _laid_ready(settings: Settings, emitter: Emitter, word: Word, reference: str, guard: str) -> str:
    if reference.startswith(("+", "{")):
        settings.refuse(word.span, f"%{{{reference}}} writes the record's time, for which the store has no word")
        return ""
    try:
        path = path_of(reference)
    except Untranslatable as why:
        settings.refuse(word.span, str(why))
        return ""
    name = emitter.name()
    there = f"{value_at(path)} != null"
    emitter.emit("set", {"field": name, "value": f"{{{{{{{'.'.join(path)}}}}}}}"}, both(guard, there))
    emitter.emit("set", {"field": name, "value": f"%{{{reference}}}"}, both(guard, f"!({there})"))
    return f"{{{{{{{name}}}}}}}"


def decorate(settings: Settings, emitter: Emitter, guard: str) -> None:
    """What every filter does to a record that it matched: fields added, fields removed, tags added, tags removed."""
    for key, value in settings.pairs("add_field"):
        path = settings.path(key)
        for word in _each(settings, value):
            if path is not None:
                _add(settings, emitter, path, word, guard)
    removed = settings.paths("remove_field")
    if removed:
        emitter.emit("remove", {"field": [".".join(path) for path in removed], "ignore_missing": True}, guard)
    tags = [template(settings, emitter, word, guard) for word in settings.words("add_tag")]
    if tags:
        emitter.emit("append", {"field": "tags", "value": tags, "allow_duplicates": False}, guard)
    gone = settings.words("remove_tag")
    for word in gone:
        if "%{" in word.text:
            settings.refuse(word.span, "which tag is removed depends on the record")
    if gone:
        _untag(emitter, [word.text for word in gone], guard)


def _each(settings: Settings, value: Value) -> list[Word]:
    found = [item for item in (value.items if isinstance(value, Listed) else (value,)) if isinstance(item, Word)]
    if len(found) < (len(value.items) if isinstance(value, Listed) else 1):
        settings.refuse(value.span, "only single values and lists of them can be added")
    return found


def _add(settings: Settings, emitter: Emitter, path: tuple[str, ...], word: Word, guard: str) -> None:
    """A field that is there already becomes a list of what it held and of what is added."""
    text = template(settings, emitter, word, guard)
    field = ".".join(path)
    emitter.emit("append", {"field": field, "value": [text]}, both(guard, f"{value_at(path)} != null"))
    # Not where something was just added to what was there: `override` looks whether there is anything.
    emitter.emit("set", {"field": field, "value": text, "override": False}, guard)


_SEPARATOR = "\u0001"


def _untag(emitter: Emitter, tags: list[str], guard: str) -> None:
    """The store has no processor that takes a value out of a list: it is joined, cut, and split again."""
    any_of = " || ".join(f"within({quoted(tag)}, ctx.tags)" for tag in tags)
    guard = emitter.remember(both(guard, "ctx.tags instanceof List", any_of))
    one_of = "|".join(f"\\Q{tag}\\E" for tag in tags)
    emitter.emit("join", {"field": "tags", "separator": _SEPARATOR}, guard)
    cut = f"(?:^|{_SEPARATOR})(?:{one_of})(?={_SEPARATOR}|$)"
    emitter.emit("gsub", {"field": "tags", "pattern": cut, "replacement": ""}, guard)
    emitter.emit("gsub", {"field": "tags", "pattern": f"^{_SEPARATOR}", "replacement": ""}, guard)
    emitter.emit("split", {"field": "tags", "separator": _SEPARATOR}, guard)
    emitter.emit("set", {"field": "tags", "value": []}, both(guard, "ctx.tags.size() == 1 && ctx.tags[0] == ''"))
