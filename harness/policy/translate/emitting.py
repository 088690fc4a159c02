"""An ingest pipeline as it grows: processors, the conditions that guard them, and flags that remember what happened.

Logstash asks a condition once, before the body of its `if`; a processor asks its own when its turn comes. So what was
decided is kept in a field of the record (`SCRATCH`) until the pipeline's end, and processors ask that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

SCRATCH: Final = "tocsin_logstash"
"""The field that holds flags and copies while the pipeline runs; its last processor removes it."""

ALWAYS: Final = ""
"""The guard of what is always done."""

# Functions that conditions may call. Painless: the language of conditions in an ingest pipeline.
_FUNCTIONS: Final = {
    "at": "def at(def it, List path) "
    "{ for (def name : path) { if (!(it instanceof Map)) { return null } it = it.get(name) } return it }",
    "same": "boolean same(def a, def b) { if (a == null || b == null) { return a == null && b == null } "
    "if (a instanceof Number && b instanceof Number) { return a == b } "
    "if (a instanceof List && b instanceof List) { if (a.size() != b.size()) { return false } "
    "for (int i = 0; i < a.size(); i++) { if (!same(a.get(i), b.get(i))) { return false } } return true } "
    "return a.equals(b) }",
    "less": "boolean less(def a, def b, boolean orSame) { if (a instanceof Number && b instanceof Number) "
    "{ return orSame ? a <= b : a < b } if (a instanceof String && b instanceof String) "
    "{ int way = a.compareTo(b); return orSame ? way <= 0 : way < 0 } return false }",
    "truthy": "boolean truthy(def a) { if (a == null) { return false } "
    "String text = a.toString(); return text != '' && text != 'false' }",
    "within": "boolean within(def a, def b) { if (b instanceof List) { for (def one : b) { if (same(a, one)) "
    "{ return true } } return false } if (a instanceof String && b instanceof String) { return b.contains(a) } "
    "return false }",
}
_NEEDS: Final = {"within": ("same",)}


def quoted(text: str) -> str:
    """A text as Painless writes it."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def value_at(path: Sequence[str]) -> str:
    """An expression: what a field holds, null where there is none."""
    return f"at(ctx, [{', '.join(map(quoted, path))}])"


def both(*guards: str) -> str:
    """The guard of what is done where all of these hold."""
    held = [guard for guard in guards if guard != ALWAYS]
    return held[0] if len(held) == 1 else " && ".join(f"({guard})" for guard in held)


def script(guard: str) -> str:
    """A condition with the functions that it calls."""
    called = [name for name in _FUNCTIONS if f"{name}(" in guard]
    needed = dict.fromkeys([*(other for name in called for other in _NEEDS.get(name, ())), *called])
    return " ".join([*(_FUNCTIONS[name] for name in needed), f"return {guard};"]) if needed else guard


def tagging(tags: Sequence[str], guard: str = ALWAYS) -> dict[str, Any]:
    """The processor that adds tags which are not there yet."""
    body: dict[str, Any] = {"field": "tags", "value": list(tags), "allow_duplicates": False}
    return {"append": {**body, "if": script(guard)} if guard else body}


class Emitter:
    """Collects the processors of one pipeline."""

    def __init__(self) -> None:
        self.processors: list[dict[str, Any]] = []
        self._names = 0

    def name(self) -> str:
        """A field of the scratch that nobody has yet."""
        self._names += 1
        return f"{SCRATCH}.f{self._names}"

    def emit(
        self,
        kind: str,
        body: Mapping[str, Any],
        guard: str = ALWAYS,
        *,
        failing: Sequence[Mapping[str, Any]] = (),
        lenient: bool = False,
    ) -> None:
        """Adds a processor.

        Args:
            kind: which, e.g. `set`.
            body: its settings.
            guard: a Painless expression: when it acts.
            failing: what is done where it fails.
            lenient: whether a record goes on unchanged where it fails.
        """
        made = dict(body)
        if guard:
            made["if"] = script(guard)
        if failing:
            made["on_failure"] = [dict(one) for one in failing]
        elif lenient:
            made["ignore_failure"] = True
        self.processors.append({kind: made})

    def remember(self, guard: str, value: int = 1) -> str:
        """Asks a guard now; the guard of what is done later where it held."""
        if guard == ALWAYS:
            return ALWAYS
        name = self.name()
        self.decide(name, value, guard)
        return self.decided(name, value)

    def decide(self, name: str, value: int, guard: str = ALWAYS) -> None:
        """Sets a flag where a guard holds."""
        self.emit("set", {"field": name, "value": value}, guard)

    def decided(self, name: str, value: int) -> str:
        """The guard of what is done where a flag has a value."""
        return f"ctx.{SCRATCH}?.{name.removeprefix(f'{SCRATCH}.')} == {value}"

    def attempt(self, kind: str, body: Mapping[str, Any], guard: str, tags: Sequence[str]) -> str:
        """A processor that may fail, which tags the record; the guard of what is done where it did not."""
        name = self.name()
        self.decide(name, 1, guard)
        failed: list[Mapping[str, Any]] = [{"set": {"field": name, "value": 0}}]
        if tags:
            failed.append(tagging(tags))
        self.emit(kind, body, self.decided(name, 1), failing=failed)
        return self.decided(name, 1)
