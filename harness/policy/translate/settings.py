"""The settings of one plugin, read as Logstash merges them; what nobody read cannot have been translated."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from harness.model.findings import Subject
from harness.model.source import Span
from harness.policy.parse.logstash_nodes import Hash, Listed, Plugin, Value, Word
from harness.policy.parse.reading import Reading
from harness.policy.translate.patterns import Untranslatable, path_of

_ENVIRONMENT: Final = re.compile(r"\$\{[A-Za-z_]\w*(?::[^}]*)?\}")
_WITHOUT_EFFECT: Final = frozenset({"id", "enable_metric", "periodic_flush"})
"""Settings that change no record. Source: Logstash's reference, "Common options" of its filters."""


class Settings:
    """Reads a plugin's settings; `finish` tells what was not read."""

    def __init__(self, reading: Reading, plugin: Plugin) -> None:
        self.reading = reading
        self.plugin = plugin
        self._read: set[str] = set(_WITHOUT_EFFECT)
        for attribute in plugin.attributes:
            for word in _words(attribute.value):
                if _ENVIRONMENT.search(word.text):
                    self.refuse(word.span, "what Logstash's own environment says is not known here", "write the value")

    def refuse(self, at: Span, why: str, fix: str = "") -> None:
        """Notes that something cannot be translated."""
        name = self.plugin.name.text
        summary = f"`{name}` cannot be translated here: {why}"
        self.reading.error("untranslated", at, summary, fix=fix, about=Subject("filter", name))

    def _values(self, name: str) -> list[Value]:
        self._read.add(name)
        return [one.value for one in self.plugin.attributes if one.name.text == name]

    def has(self, name: str) -> bool:
        """Whether a setting stands there; it is read with that."""
        return bool(self._values(name))

    def words(self, name: str) -> list[Word]:
        """The values of a list, or the single one; several settings of one name follow each other."""
        found: list[Word] = []
        for value in self._values(name):
            for item in value.items if isinstance(value, Listed) else (value,):
                if isinstance(item, Word):
                    found.append(item)
                else:
                    self.refuse(item.span, f"`{name}` must hold single values")
        return found

    def word(self, name: str) -> Word | None:
        """A single value."""
        found = self.words(name)
        if len(found) > 1:
            self.refuse(found[1].span, f"`{name}` must be one value")
        return found[0] if found else None

    def text(self, name: str, default: str) -> str:
        """A single value's text."""
        word = self.word(name)
        return default if word is None else word.text

    def flag(self, name: str, default: bool) -> bool:
        """Whether a setting is `true`."""
        return self.text(name, "true" if default else "false").lower() == "true"

    def expect(self, name: str, *values: str) -> None:
        """A setting that is translated only with one of these values."""
        word = self.word(name)
        if word is not None and word.text.lower() not in values:
            self.refuse(word.span, f"`{name} => {word.text}` has no counterpart in the store")

    def pairs(self, name: str) -> list[tuple[Word, Value]]:
        """The entries of a hash, or of a list that holds keys and values by turns."""
        found: list[tuple[Word, Value]] = []
        for value in self._values(name):
            if isinstance(value, Hash):
                found += [(pair.key, pair.value) for pair in value.pairs]
            elif isinstance(value, Listed) and len(value.items) % 2 == 0:
                for key, item in zip(value.items[::2], value.items[1::2], strict=True):
                    if isinstance(key, Word):
                        found.append((key, item))
                    else:
                        self.refuse(key.span, f"a key of `{name}` must be a single value")
            else:
                self.refuse(value.span, f"`{name}` must be a hash", 'write `{ "field" => "value" }`')
        return found

    def word_pairs(self, name: str) -> list[tuple[Word, Word]]:
        """The entries of a hash of single values."""
        found = []
        for key, value in self.pairs(name):
            if isinstance(value, Word):
                found.append((key, value))
            else:
                self.refuse(value.span, f"`{key.text}` must be one value")
        return found

    def path(self, word: Word) -> tuple[str, ...] | None:
        """The field that a value names; None (with a finding) where the store cannot have it."""
        try:
            return path_of(word.text)
        except Untranslatable as why:
            self.refuse(word.span, str(why))
            return None

    def paths(self, name: str) -> list[tuple[str, ...]]:
        """The fields that a list names."""
        return [path for word in self.words(name) if (path := self.path(word)) is not None]

    def field(self, name: str, default: str) -> tuple[str, ...]:
        """The field that a setting names."""
        word = self.word(name)
        return (self.path(word) if word is not None else None) or (default,)

    def finish(self) -> None:
        """Tells every setting that was not read: it is in no processor."""
        for one in self.plugin.attributes:
            if one.name.text not in self._read:
                self.refuse(one.name.span, f"its setting `{one.name.text}` has no counterpart in the store")


def _words(value: Value) -> Iterator[Word]:
    if isinstance(value, Word):
        yield value
    elif isinstance(value, Listed):
        for item in value.items:
            yield from _words(item)
    elif isinstance(value, Hash):
        for pair in value.pairs:
            yield pair.key
            yield from _words(pair.value)
    else:
        for attribute in value.attributes:
            yield from _words(attribute.value)
