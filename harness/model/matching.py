"""Matchers and inhibition rules, as Alertmanager understands them.

Source: Alertmanager's manual, "Configuration": a matcher on a label that an alert does not carry sees an empty value;
a regular expression is anchored at both ends; of `equal` a label that both lack counts as equal.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Operator(StrEnum):
    """How a matcher compares."""

    EQUAL = "="
    NOT_EQUAL = "!="
    MATCHES = "=~"
    DOES_NOT_MATCH = "!~"


@dataclass(frozen=True, slots=True)
class Matcher:
    """One condition on one label."""

    label: str
    operator: Operator
    value: str

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether an alert with these labels fulfils it; a regular expression that cannot be read matches nothing."""
        carried = labels.get(self.label, "")
        if self.operator in {Operator.EQUAL, Operator.NOT_EQUAL}:
            return (carried == self.value) is (self.operator is Operator.EQUAL)
        try:
            found = re.fullmatch(self.value, carried, re.DOTALL) is not None
        except re.error:
            return False
        return found is (self.operator is Operator.MATCHES)


@dataclass(frozen=True, slots=True)
class Inhibition:
    """While an alert that all `sources` match is firing, those that all `targets` match notify nobody."""

    sources: tuple[Matcher, ...]
    targets: tuple[Matcher, ...]
    equal: tuple[str, ...]

    def silences(self, source: Mapping[str, str], target: Mapping[str, str]) -> bool:
        """Whether an alert with the labels `source` keeps one with the labels `target` from being heard."""
        return (
            all(matcher.matches(source) for matcher in self.sources)
            and all(matcher.matches(target) for matcher in self.targets)
            and all(source.get(label, "") == target.get(label, "") for label in self.equal)
        )
