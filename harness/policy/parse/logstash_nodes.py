"""What a logstash.conf is made of: sections, plugins, branches and conditions, each with its place."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from harness.model.source import Span


@dataclass(frozen=True, slots=True)
class Word:
    """A single value. `text` has no quotes and no escape undone, as Logstash has it unless told otherwise.

    `kind` is `string` (quoted), `bare` or `number`.
    """

    text: str
    kind: str
    span: Span


@dataclass(frozen=True, slots=True)
class Listed:
    """A list."""

    items: tuple[Value, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Pair:
    """One entry of a hash."""

    key: Word
    value: Value


@dataclass(frozen=True, slots=True)
class Hash:
    """A hash; the same key may come twice, which Logstash refuses."""

    pairs: tuple[Pair, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Attribute:
    """A setting of a plugin."""

    name: Word
    value: Value


@dataclass(frozen=True, slots=True)
class Plugin:
    """An input, filter, output or codec with its settings."""

    name: Word
    attributes: tuple[Attribute, ...]
    span: Span

    def get(self, name: str) -> Value | None:
        """The first setting of that name."""
        return next((one.value for one in self.attributes if one.name.text == name), None)


@dataclass(frozen=True, slots=True)
class Field:
    """A reference to a field, `[a][b]`: `path` is its names, outermost first."""

    path: tuple[str, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Regexp:
    """A regular expression; what stands between its slashes, or in the quotes of a string that is used as one."""

    pattern: str
    span: Span


@dataclass(frozen=True, slots=True)
class Truthy:
    """A value that stands alone as a condition."""

    operand: Operand
    span: Span


@dataclass(frozen=True, slots=True)
class Compared:
    """Two values with `==`, `!=`, `<`, `<=`, `>` or `>=` between them."""

    operator: str
    left: Operand
    right: Operand
    span: Span


@dataclass(frozen=True, slots=True)
class Matched:
    """A value held against a regular expression: `=~`; `!~` is the `Not` of one."""

    left: Operand
    pattern: Regexp
    span: Span


@dataclass(frozen=True, slots=True)
class Contained:
    """`left in right`; `not in` is the `Not` of one."""

    left: Operand
    right: Operand
    span: Span


@dataclass(frozen=True, slots=True)
class Not:
    """The contrary of a condition."""

    condition: Condition
    span: Span


@dataclass(frozen=True, slots=True)
class Joined:
    """Conditions with `and`, `or`, `xor` or `nand` between them, all the same; the latter two join two."""

    operator: str
    parts: tuple[Condition, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Arm:
    """`if`, `else if` or (without a condition) `else`, and what is then done."""

    condition: Condition | None
    body: tuple[Step, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Branch:
    """An `if` with what belongs to it."""

    arms: tuple[Arm, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Section:
    """`input`, `filter` or `output`."""

    kind: str
    body: tuple[Step, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A whole file. A section may come more than once; the parts of a kind follow each other."""

    sections: tuple[Section, ...]

    def steps(self, kind: str) -> tuple[Step, ...]:
        """What stands in the sections of a kind, in order."""
        return tuple(step for section in self.sections if section.kind == kind for step in section.body)

    def plugins(self, kind: str) -> Iterator[Plugin]:
        """Every plugin in the sections of a kind, whatever it depends on."""
        yield from _plugins(self.steps(kind))


def _plugins(steps: tuple[Step, ...]) -> Iterator[Plugin]:
    for step in steps:
        if isinstance(step, Plugin):
            yield step
        else:
            for arm in step.arms:
                yield from _plugins(arm.body)


Value: TypeAlias = Word | Listed | Hash | Plugin
Operand: TypeAlias = Word | Listed | Field | Regexp
Condition: TypeAlias = Truthy | Compared | Matched | Contained | Not | Joined
Step: TypeAlias = Plugin | Branch
