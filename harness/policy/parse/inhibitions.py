"""The inhibition rules of alertmanager.yml."""

from __future__ import annotations

import re
from typing import Final

from harness.model.matching import Inhibition, Matcher, Operator
from harness.policy.parse.reading import Reading
from harness.policy.parse.yaml import Scalar, Table

# Alertmanager's manual, "Matcher": a label's name, one of four operators, a value that may stand in double quotes.
_MATCHER: Final = re.compile(r"\s*([^\s{}!=~,\\\"'`]+|\"(?:[^\"\\]|\\.)*\")\s*(=~|!~|!=|=)\s*(.*?)\s*", re.DOTALL)
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)
_MEANS: Final = {"n": "\n"}


def read(reading: Reading, document: Table) -> tuple[Inhibition, ...]:
    """The inhibition rules of a document; a matcher that is none is a finding."""
    return tuple(
        Inhibition(
            sources=_matchers(reading, entry, "source"),
            targets=_matchers(reading, entry, "target"),
            equal=tuple(label.text for label in reading.scalars(entry.get("equal"), "equal")),
        )
        for entry in reading.tables(document.get("inhibit_rules"), "inhibit_rules")
    )


def matcher(text: str) -> Matcher | None:
    """One matcher as it is written (`alertname =~ "A|B"`); None where it is none."""
    found = _MATCHER.fullmatch(text)
    return None if found is None else Matcher(_unquoted(found[1]), Operator(found[2]), _unquoted(found[3]))


def _matchers(reading: Reading, entry: Table, side: str) -> tuple[Matcher, ...]:
    """`source_matchers`, and the older `source_match` and `source_match_re`; likewise for targets."""
    found = []
    for scalar in reading.scalars(entry.get(f"{side}_matchers"), f"{side}_matchers"):
        read_as = matcher(scalar.text)
        if read_as is None:
            reading.error(
                "no-matcher",
                scalar.span,
                f"{scalar.text!r} is no matcher",
                fix='write a label, one of = != =~ !~, and a value, e.g. severity = "critical"',
            )
        else:
            found.append(read_as)
    for key, operator in ((f"{side}_match", Operator.EQUAL), (f"{side}_match_re", Operator.MATCHES)):
        older = reading.table(entry.get(key), key)
        pairs = older.entries if older else ()
        found += [Matcher(one.key.text, operator, one.value.text) for one in pairs if isinstance(one.value, Scalar)]
    return tuple(found)


def _unquoted(text: str) -> str:
    if len(text) >= 2 and text[0] == text[-1] == '"':
        return _ESCAPED.sub(lambda match: _MEANS.get(match[1], match[1]), text[1:-1])
    return text
