"""What a search must find, decided from what is known of a record, not from the store: the query itself, evaluated.

The answer may be that nobody can say: an announcement tells a record's source, lane, level and instant, not its text.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Protocol

from harness.model.time import from_rfc3339

Truth = bool | None
"""Whether a query finds a record; None where that cannot be said."""

ASKING_SECONDS: Final = 90.0
"""How much later than this room's `now` the store's may be: a search is repeated until its records are due."""

DATES: Final = frozenset({"date", "date_nanos"})

_MILLISECOND = 0.001
_WORD = re.compile(r"\w+")
_NOW = re.compile(r"now((?:[+-]\d+[smhdw])*)")
_STEP = re.compile(r"([+-]\d+)([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class NotHeldError(ValueError):
    """A clause that this cannot evaluate, and so hold against what was announced."""


@dataclass(frozen=True, slots=True)
class Between:
    """An instant that is known to lie between two others, Unix seconds, both included."""

    earliest: float
    latest: float


class Facts(Protocol):
    """What is known of one record."""

    def values(self, field: str) -> Sequence[object] | None:
        """The values of a field, none where it is known to have none; None where nobody knows."""


@dataclass(frozen=True, slots=True)
class OfDocument:
    """The facts of a whole document: whatever does not stand in it is not there."""

    document: Mapping[str, object]

    def values(self, field: str) -> Sequence[object]:
        """Those that stand under the field's name, split at its dots in any way."""
        return tuple(_standing(self.document, field))


class Matcher:
    """The `query` of a search, ready to be evaluated.

    Args:
        query: its clauses; what a filter is and what counts for the score is all the same here.
        fields: the types of fields, from the index template.
        now: the instant that `now` means, Unix seconds.

    Raises:
        NotHeldError: it has a clause that this does not know.
    """

    def __init__(self, query: Mapping[str, object], fields: Mapping[str, str], now: float | None = None) -> None:
        self._fields = fields
        self._now = time.time() if now is None else now
        self._matches = self._clause(query)

    def __call__(self, facts: Facts) -> Truth:
        """Whether the query finds a record of which this is known."""
        return self._matches(facts)

    def _clause(self, query: object) -> Callable[[Facts], Truth]:
        if not isinstance(query, Mapping) or len(query) != 1:
            raise NotHeldError(f"a clause must be one mapping of one name, and here stands {query!r}")
        [(name, body)] = query.items()
        if name == "match_all":
            return lambda _: True
        known: Mapping[str, Callable[[Mapping[str, object]], Callable[[Facts], Truth]]] = {
            "bool": self._bool,
            "constant_score": lambda body: self._clause(body.get("filter")),
            "exists": self._exists,
            "term": lambda body: self._of_field(body, "value", self._equal),
            "terms": self._terms,
            "prefix": lambda body: self._of_field(body, "value", _begins),
            "range": self._range,
            "match": lambda body: self._of_field(body, "query", self._match),
            "match_phrase": lambda body: self._of_field(body, "query", self._phrase),
            "multi_match": self._multi,
        }
        if name not in known or not isinstance(body, Mapping):
            raise NotHeldError(f"the clause {name!r} cannot be held against what was announced")
        return known[name](body)

    def _bool(self, body: Mapping[str, object]) -> Callable[[Facts], Truth]:
        parts = {
            name: [self._clause(one) for one in _listed(body.get(name))]
            for name in ("must", "filter", "should", "must_not")
        }
        needed = [*parts["must"], *parts["filter"]]
        least = int(str(body.get("minimum_should_match", 0 if needed or not parts["should"] else 1)))

        def matches(facts: Facts) -> Truth:
            told = [one(facts) for one in needed]
            told += [_not(one(facts)) for one in parts["must_not"]]
            if least:
                told.append(_least(least, [one(facts) for one in parts["should"]]))
            return every(told)

        return matches

    def _exists(self, body: Mapping[str, object]) -> Callable[[Facts], Truth]:
        field = str(body.get("field"))

        def matches(facts: Facts) -> Truth:
            values = facts.values(field)
            return None if values is None else bool(values)

        return matches

    def _of_field(
        self,
        body: Mapping[str, object],
        key: str,
        test: Callable[[str, object, Mapping[str, object]], Callable[[object], Truth]],
    ) -> Callable[[Facts], Truth]:
        """A clause of one field, in its short or its long form (`{"level": "ERROR"}`, `{"level": {"value": …}}`)."""
        named = [(name, one) for name, one in body.items() if name not in {"boost", "_name"}]
        if len(named) != 1:
            raise NotHeldError(f"a clause must name one field, and here stands {sorted(body)}")
        [(field, told)] = named
        options = _options(told) or {key: told}
        return _any_value(field, test(field, options.get(key), options))

    def _terms(self, body: Mapping[str, object]) -> Callable[[Facts], Truth]:
        named = [(name, one) for name, one in body.items() if name not in {"boost", "_name"}]
        if len(named) != 1 or not isinstance(named[0][1], list):
            raise NotHeldError("`terms` must name one field with a list of values")
        [(field, wanted)] = named
        tests = [self._equal(field, one, {}) for one in _listed(wanted)]
        return _any_value(field, lambda value: some(test(value) for test in tests))

    def _equal(self, field: str, wanted: object, _: Mapping[str, object]) -> Callable[[object], Truth]:
        if self._fields.get(field) in DATES:
            raise NotHeldError(f"{field} is an instant, which is asked for by `range`")
        if self._fields.get(field) == "text":
            return lambda value: _spelled(wanted) in words(value)
        return lambda value: _spelled(value) == _spelled(wanted)

    def _match(self, field: str, wanted: object, options: Mapping[str, object]) -> Callable[[object], Truth]:
        if self._fields.get(field) != "text":
            return self._equal(field, wanted, options)
        asked, needed = words(wanted), every if str(options.get("operator", "or")).lower() == "and" else some

        def matches(value: object) -> Truth:
            there = set(words(value))
            return bool(asked) and needed(one in there for one in asked)

        return matches

    def _phrase(self, field: str, wanted: object, options: Mapping[str, object]) -> Callable[[object], Truth]:
        if self._fields.get(field) != "text":
            return self._equal(field, wanted, options)
        asked = words(wanted)

        def matches(value: object) -> Truth:
            there = words(value)
            return bool(asked) and any(
                there[at : at + len(asked)] == asked for at in range(len(there) - len(asked) + 1)
            )

        return matches

    def _multi(self, body: Mapping[str, object]) -> Callable[[Facts], Truth]:
        kind = str(body.get("type", "best_fields"))
        if kind not in {"best_fields", "most_fields", "phrase"}:
            raise NotHeldError(f"`multi_match` of the type {kind!r} cannot be held against what was announced")
        fields = [str(name).partition("^")[0] for name in _listed(body.get("fields"))]
        if not fields or any("*" in name for name in fields):
            raise NotHeldError("`multi_match` must name its fields one by one")
        test = self._phrase if kind == "phrase" else self._match
        each = [_any_value(field, test(field, body.get("query"), body)) for field in fields]
        return lambda facts: some(one(facts) for one in each)

    def _range(self, body: Mapping[str, object]) -> Callable[[Facts], Truth]:
        named = [(name, one) for name, one in body.items() if name not in {"boost", "_name"}]
        if len(named) != 1 or not _options(named[0][1]):
            raise NotHeldError("`range` must name one field with its bounds")
        [(field, bounds)] = named
        limits = {name: one for name, one in _options(bounds).items() if name in {"gt", "gte", "lt", "lte"}}
        dated = self._fields.get(field) in DATES
        edges = {name: self._instant(one) if dated else _exactly(_number(one)) for name, one in limits.items()}
        return _any_value(field, lambda value: _within(_interval(value, dated=dated), edges))

    def _instant(self, told: object) -> Between:
        text = str(told)
        found = _NOW.fullmatch(text)
        if found is None:
            try:
                return _exactly(from_rfc3339(text))
            except ValueError:
                raise NotHeldError(f"{text!r} is no instant that can be held against what was announced") from None
        steps = (timedelta(**{_UNITS[unit]: int(count)}) for count, unit in _STEP.findall(found[1]))
        at = self._now + sum(step.total_seconds() for step in steps)
        return Between(at, at + ASKING_SECONDS)


def every(told: Iterable[Truth]) -> Truth:
    """Whether all of them hold."""
    known = list(told)
    return False if False in known else None if None in known else True


def some(told: Iterable[Truth]) -> Truth:
    """Whether one of them holds."""
    known = list(told)
    return True if True in known else None if None in known else False


def words(value: object) -> list[str]:
    """The words of a text, as the store's standard analyzer parts them."""
    return [one.lower() for one in _WORD.findall(str(value))]


def instants_of(value: object) -> Between:
    """The instants at which a date may be: one, where it is written out.

    Raises:
        ValueError: it is no date.
    """
    if isinstance(value, Between):
        return value
    at = from_rfc3339(str(value))
    return Between(at - _MILLISECOND, at + _MILLISECOND)  # which is as finely as a store compares them


def _any_value(field: str, test: Callable[[object], Truth]) -> Callable[[Facts], Truth]:
    def matches(facts: Facts) -> Truth:
        values = facts.values(field)
        return None if values is None else some(test(value) for value in values)

    return matches


def _not(told: Truth) -> Truth:
    return None if told is None else not told


def _least(least: int, told: Sequence[Truth]) -> Truth:
    held = sum(one is True for one in told)
    return True if held >= least else None if held + told.count(None) >= least else False


def _begins(_: str, wanted: object, __: Mapping[str, object]) -> Callable[[object], Truth]:
    return lambda value: _spelled(value).startswith(_spelled(wanted))


def _interval(value: object, *, dated: bool) -> Between | None:
    try:
        if dated:
            return instants_of(value)
        number = _number(value)
    except ValueError:
        return None  # the store keeps a value that it cannot read, and finds nothing by it
    return _exactly(number)


def _exactly(value: float) -> Between:
    return Between(value, value)


def _within(known: Between | None, edges: Mapping[str, Between]) -> Truth:
    if known is None:
        return False
    told: list[Truth] = []
    for name, edge in edges.items():
        low, high = (known, edge) if name.startswith("l") else (edge, known)
        sure, never = low.latest < high.earliest, low.earliest > high.latest
        if known.earliest == known.latest == edge.earliest == edge.latest:
            sure, never = name.endswith("e"), not name.endswith("e")
        told.append(True if sure else False if never else None)
    return every(told)


def _number(value: object) -> float:
    try:
        return float(str(value))
    except ValueError:
        raise NotHeldError(f"{value!r} is no number") from None


def _options(node: object) -> Mapping[str, object]:
    return node if isinstance(node, Mapping) else {}


def _spelled(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _listed(value: object) -> list[object]:
    return list(value) if isinstance(value, list) else [] if value is None else [value]


def _standing(node: object, field: str) -> Iterable[object]:
    if isinstance(node, list):
        for one in node:
            yield from _standing(one, field)
    elif isinstance(node, Mapping):
        for name, value in node.items():
            if name == field:
                yield from (one for one in _listed(value) if one is not None and not isinstance(one, Mapping))
            elif field.startswith(f"{name}."):
                yield from _standing(value, field.removeprefix(f"{name}."))
