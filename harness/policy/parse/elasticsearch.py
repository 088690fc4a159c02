"""The folder `elasticsearch/`: index template, ingest pipeline, lifecycles, retention and snapshots, held together."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from harness.model.findings import Subject
from harness.model.logs import Retention, SearchPolicy, Snapshots
from harness.model.records import IDENTITY_FIELD
from harness.model.source import Span
from harness.model.time import parse_duration
from harness.policy.parse import json_tree, schema
from harness.policy.parse.dotted import find
from harness.policy.parse.reading import Parsed, Reading, describe
from harness.policy.parse.yaml import Items, Node, Scalar, Table

KIND: Final = "elasticsearch"
FOLDER: Final = "elasticsearch"
TEMPLATE: Final = "index-template.json"
PIPELINE: Final = "ingest-pipeline.json"
RETENTION: Final = "retention.json"
SNAPSHOT: Final = "snapshot.json"
ILM: Final = "lifecycle-ilm.json"
ISM: Final = "lifecycle-ism.json"

INGESTED: Final = "event.ingested"
"""Where a document says when the store took it in."""

_SETTINGS = "template.settings"
_DEFAULT_REFRESH = timedelta(seconds=1)
_DATE = re.compile(r"%\{\+[^}]*\}")
_AGE = re.compile(r"(\d+)(d|h|m|s|ms|micros|nanos)")
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Template:
    """An index template: the `pattern` that it is for, the pipeline that it names, how often its indices refresh."""

    pattern: str
    pipeline: str
    refresh: timedelta

    @property
    def name(self) -> str:
        """What it is called in the store: its pattern without `-*`."""
        return self.pattern.replace("*", "").strip("-_.")


def template(text: str, file: str) -> Parsed[Template | None]:
    """Reads an index template: the body of `PUT _index_template/<name>`."""
    reading = Reading("elasticsearch", file)
    document = json_tree.read(reading, text)
    if document is None:
        return Parsed(None, tuple(reading.findings))
    patterns = tuple(reading.scalars(document.get("index_patterns"), "index_patterns"))
    if len(patterns) != 1 or patterns[0].text.count("*") != 1 or not patterns[0].text.strip("-_.*"):
        at = document.get("index_patterns") or document
        reading.error(
            "pattern",
            at.span,
            "the template must be for one pattern with one `*` in it",
            details="it is called by its pattern without `-*`, and what it would catch beside is somebody else's",
            fix='write e.g. `"index_patterns": ["community-platform-*"]`',
        )
        return Parsed(None, tuple(reading.findings))
    pipeline = _setting(reading, document, "default_pipeline") or _setting(reading, document, "final_pipeline")
    if pipeline is None:
        reading.error(
            "no-pipeline",
            document.span,
            f"the template names no `default_pipeline`: nothing says when a record was taken in ({INGESTED})",
            details="a record that comes with an _id skips the pipeline that Filebeat's output names",
            fix=f'add `"index.default_pipeline": "{patterns[0].text.replace("*", "").strip("-_.")}"` to its settings',
        )
    _identity(reading, document)
    durability = _setting(reading, document, "translog.durability")
    if durability is not None and durability.text.lower() == "async":
        reading.warning(
            "durability",
            durability.span,
            "what was acknowledged is lost when the store is killed: `index.translog.durability` is async",
            fix="write `request`",
        )
    return Parsed(
        Template(patterns[0].text, pipeline.text if pipeline else "", _refresh(reading, document)),
        tuple(reading.findings),
    )


def pipeline(text: str, file: str) -> Parsed[bool]:
    """Reads an ingest pipeline: the body of `PUT _ingest/pipeline/<name>`; whether it could be read."""
    reading = Reading("elasticsearch", file)
    document = json_tree.read(reading, text)
    if document is None:
        return Parsed(False, tuple(reading.findings))
    steps = list(reading.tables(document.get("processors"), "processors"))
    fields = [find(step, "set.field") for step in steps]
    if not any(isinstance(field, Scalar) and field.text == INGESTED for field in fields):
        reading.error(
            "no-ingested",
            (document.get("processors") or document).span,
            f"no processor sets {INGESTED}: nobody can say how late a record was",
            fix=f'add `{{"set": {{"field": "{INGESTED}", "value": "{{{{{{_ingest.timestamp}}}}}}"}}}}`',
        )
    return Parsed(True, tuple(reading.findings))


def retention(text: str, file: str) -> Parsed[Retention | None]:
    """Reads retention.json."""
    reading = Reading("retention", file)
    document = json_tree.read(reading, text)
    if document is not None:
        reading.findings.extend(schema.validate(document, "retention"))
    if document is None or reading.findings:
        return Parsed(None, tuple(reading.findings))
    days = document.get("keep_days")
    return Parsed(
        Retention(
            _text(document, "index_pattern"),
            _text(document, "date_format"),
            int(_text(document, "keep_days")),
            days.span if days else document.span,
        ),
        (),
    )


def snapshot(text: str, file: str) -> Parsed[Snapshots | None]:
    """Reads a snapshot policy: the body of `PUT _slm/policy/<name>`."""
    reading = Reading("snapshot", file)
    document = json_tree.read(reading, text)
    if document is None:
        return Parsed(None, tuple(reading.findings))
    repository = reading.scalar(document.get("repository"), "repository")
    where = find(document, "config.indices")
    indices = (where,) if isinstance(where, Scalar) else tuple(reading.scalars(where, "indices"))
    for value, name in ((repository, "repository"), (indices, "config.indices")):
        if not value:
            reading.error("missing-key", document.span, f"the file has no {name!r}")
    if reading.findings or repository is None:
        return Parsed(None, tuple(reading.findings))
    return Parsed(Snapshots(repository.text, tuple(one.text for one in indices), document.span), ())


def lifecycle(text: str, file: str, kept: Retention) -> Parsed[timedelta | None]:
    """Reads an ILM or an ISM policy; the age at which it deletes an index, which must be what retention.json says."""
    reading = Reading("lifecycle", file)
    document = json_tree.read(reading, text)
    if document is None:
        return Parsed(None, tuple(reading.findings))
    age = _deleting(document)
    wanted = timedelta(days=kept.keep_days) + _DAY
    if age is None:
        reading.error(
            "never-deletes",
            document.span,
            "this lifecycle deletes nothing, and retention.json does",
            fix=f"delete at an age of {wanted.days}d",
        )
        return Parsed(None, tuple(reading.findings))
    seen = _age(age.text)
    if seen is None:
        reading.error("duration", age.span, f"the age is {age.text!r}, which is not one", fix=f"write {wanted.days}d")
    elif seen != wanted:
        reading.error(
            "disagrees",
            age.span,
            f"an index is deleted at an age of {age.text}, and by retention.json at {wanted.days}d",
            details=f"a day's index begins with the day: its last record is {kept.keep_days} d old one day later",
            fix=f"write {wanted.days}d, or change `keep_days` at {kept.span}",
        )
    return Parsed(seen, tuple(reading.findings))


def covers(found: Template, index: str, at: Span, reading: Reading) -> None:
    """Holds the index that Filebeat writes to against the template's pattern."""
    example = _DATE.sub("0000.00.00", index)
    head, _, tail = found.pattern.partition("*")
    if not (example.startswith(head) and example.endswith(tail) and len(example) > len(head) + len(tail)):
        reading.error(
            "index",
            at,
            f"records go to {index!r}, which the index template ({found.pattern}) does not cover",
            fix=f"write `{found.pattern.replace('*', '%{+yyyy.MM.dd}')}`",
            about=Subject("index", index),
        )


def policy(
    found: Template, *, pipeline_file: str | None, kept: Retention | None, snapshots: Snapshots | None
) -> SearchPolicy:
    """The files, together."""
    return SearchPolicy(
        folder=FOLDER,
        template_file=f"{FOLDER}/{TEMPLATE}",
        pipeline_file=pipeline_file,
        name=found.name,
        pattern=found.pattern,
        pipeline=found.pipeline,
        refresh=found.refresh,
        retention=kept,
        snapshots=snapshots,
    )


def _identity(reading: Reading, document: Table) -> None:
    """A record is found by its identity only where that is a keyword."""
    path = f"template.mappings.properties.{'.properties.'.join(IDENTITY_FIELD.split('.'))}.type"
    kind = find(document, path)
    if isinstance(kind, Scalar) and kind.text == "keyword":
        return
    reading.error(
        "identity",
        (kind or document).span,
        f"{IDENTITY_FIELD} must be mapped as a keyword; here stands {describe(kind) if kind else 'nothing'}",
        details="it is the identity by which every record is found again",
        fix='add `"metadata": {"properties": {"sequence": {"type": "keyword"}}}` to the properties',
    )


def _setting(reading: Reading, document: Table, name: str) -> Scalar | None:
    """A setting of the template's indices, with or without `index.` before it."""
    for path in (f"{_SETTINGS}.index.{name}", f"{_SETTINGS}.{name}"):
        if (node := find(document, path)) is not None:
            return reading.scalar(node, name)
    return None


def _refresh(reading: Reading, document: Table) -> timedelta:
    setting = _setting(reading, document, "refresh_interval")
    if setting is None:
        return _DEFAULT_REFRESH
    if setting.text == "-1":
        reading.error(
            "refresh", setting.span, "indices never refresh: no record is ever found by a search", fix='write "1s"'
        )
        return _DEFAULT_REFRESH
    try:
        return parse_duration(setting.text)
    except (ValueError, OverflowError):
        reading.error("duration", setting.span, f"refresh_interval is {setting.text!r}, which is not a duration")
        return _DEFAULT_REFRESH


def _deleting(document: Table) -> Scalar | None:
    """The age at which a lifecycle deletes: ILM's phase `delete`, or ISM's transition into a state that deletes."""
    if find(document, "policy.phases.delete.actions.delete") is not None:
        age = find(document, "policy.phases.delete.min_age")
        return age if isinstance(age, Scalar) else None
    states = find(document, "policy.states")
    tables = [state for state in (states.items if isinstance(states, Items) else ()) if isinstance(state, Table)]
    deleting = {_text(state, "name") for state in tables if _has_delete(state.get("actions"))}
    for state in tables:
        transitions = state.get("transitions")
        for step in transitions.items if isinstance(transitions, Items) else ():
            if isinstance(step, Table) and _text(step, "state_name") in deleting:
                age = find(step, "conditions.min_index_age")
                return age if isinstance(age, Scalar) else None
    return None


def _has_delete(actions: Node | None) -> bool:
    return any(
        isinstance(action, Table) and action.get("delete") is not None
        for action in (actions.items if isinstance(actions, Items) else ())
    )


def _age(text: str) -> timedelta | None:
    match = _AGE.fullmatch(text)
    if match is None:
        return None
    unit = {"d": "days", "h": "hours", "m": "minutes", "s": "seconds", "ms": "milliseconds"}.get(match[2])
    return timedelta(**{unit: int(match[1])}) if unit else timedelta(0)


def _text(table: Table, name: str) -> str:
    value = table.get(name)
    return value.text if isinstance(value, Scalar) else ""
