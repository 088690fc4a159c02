"""Prometheus rule files: the alerts in them, with the series that each reads."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from harness.model.findings import Subject
from harness.model.policy import Alert
from harness.policy.parse import promql
from harness.policy.parse.reading import Parsed, Reading
from harness.policy.parse.suggest import closest
from harness.policy.parse.yaml import Scalar, Table

_RULE_KEYS = ("alert", "annotations", "expr", "for", "keep_firing_for", "labels", "record")


@dataclass(frozen=True, slots=True)
class RuleFile:
    """What a rule file holds; recording rules are counted, their expressions checked."""

    alerts: tuple[Alert, ...]
    recordings: int


def parse(text: str, file: str) -> Parsed[RuleFile]:
    """Reads a rule file in Prometheus's own format."""
    reading = Reading("rules", file)
    alerts: list[Alert] = []
    recordings = 0
    if not text.strip("\ufeff \r\n"):
        reading.warning("empty", reading.start(), "the file is empty: Prometheus reads no rule from it")
        return Parsed(RuleFile((), 0), tuple(reading.findings))
    document = reading.document(text)
    groups = document.get("groups") if document else None
    if document is not None and groups is None:
        fix = (
            ""
            if document.get("kind") is None
            else "this is a Kubernetes object: what stands under `spec` is the rule file"
        )
        reading.warning(
            "no-groups", document.span, "the file has no `groups`: Prometheus reads no rule from it", fix=fix
        )
    for group in reading.tables(groups, "groups"):
        name = reading.scalar(group.get("name"), "name")
        if name is None:
            reading.error("group-without-name", group.span, "a group has no name")
        for rule in reading.tables(group.get("rules"), "rules"):
            if rule.get("alert") is not None:
                alert = _alert(reading, rule, name.text if name else "")
                if alert is not None:
                    alerts.append(alert)
            elif rule.get("record") is not None:
                recordings += 1
                _expression(reading, rule)
            else:
                _neither(reading, rule)
    return Parsed(RuleFile(tuple(alerts), recordings), tuple(reading.findings))


def _neither(reading: Reading, rule: Table) -> None:
    meant = next(
        (e.key for e in rule.entries if e.key.text not in _RULE_KEYS and closest(e.key.text, _RULE_KEYS)), None
    )
    fix = f"{meant.text!r} is no key of a rule; did you mean {closest(meant.text, _RULE_KEYS)!r}?" if meant else ""
    reading.error("neither", rule.span, "a rule has neither `alert` nor `record`", fix=fix)


def _expression(reading: Reading, rule: Table) -> tuple[Scalar, promql.Expression] | None:
    node = reading.scalar(rule.get("expr"), "expr")
    if node is None:
        if rule.get("expr") is None or isinstance(rule.get("expr"), Scalar):
            reading.error("no-expr", rule.span, "a rule has no `expr`")
        return None
    try:
        return node, promql.parse(node.text)
    except promql.NotPromQL as error:
        reading.error("syntax", node.span, f"not PromQL: {error}", details=f"in the expression {_one_line(node.text)}")
        return None


def _alert(reading: Reading, rule: Table, group: str) -> Alert | None:
    name = reading.scalar(rule.get("alert"), "alert")
    read = _expression(reading, rule)
    if name is None:
        reading.error("alert-without-name", rule.span, "an alert has no name")
        return None
    if read is None:
        return None
    expr, expression = read
    if rule.key("record") is not None:
        reading.error(
            "alert-and-record",
            rule.span,
            f"the rule {name.text!r} has both `alert` and `record`",
            about=Subject("alert", name.text),
        )
    return Alert(
        name=name.text,
        expr=expr.text.strip(),
        hold=reading.duration(rule.get("for"), "for", timedelta(0)),
        labels=reading.strings(rule.get("labels"), "labels"),
        annotations=reading.strings(rule.get("annotations"), "annotations"),
        group=group,
        file=reading.file,
        span=rule.span,
        keep_firing_for=reading.duration(rule.get("keep_firing_for"), "keep_firing_for", timedelta(0)),
        selectors=expression.selectors,
    )


def _one_line(text: str) -> str:
    joined = " ".join(text.split())
    return joined if len(joined) <= 100 else joined[:99] + "…"
