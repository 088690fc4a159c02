"""A translated logstash.conf in the store: installed beside its own pipeline, tried before any record comes.

Tried means `_simulate`: records that the declared schemas allow go through it, as the lines that they were (where its
filters read lines) and as Filebeat sends them once it has read the lines itself. What comes out must be such records
still, with no mark of a failure on them. A record that a filter drops is not missed, as long as others of its source
are kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import jsonschema_rs
import orjson

from harness.errors import StackError
from harness.model.records import RecordSchema
from harness.policy.parse import records
from harness.policy.parse.logstash_way import FILE, SCHEMAS
from harness.policy.translate.pipeline import translated
from harness.policy.translate.specimens import specimens
from harness.stack.search import Search

_SIGNS: Final = ("_jsonparsefailure", "_grokparsefailure", "_dateparsefailure", "_dissectfailure", "_kv_filter_error")
_MARKS: Final = frozenset({*_SIGNS, "_mutate_error"})
"""Tags of a filter that failed, unless the team named others."""


@dataclass(frozen=True, slots=True)
class Tried:
    """A record to try: `form` says how it comes (`line`, `read`), `document` is what the pipeline is given."""

    schema: RecordSchema
    form: str
    document: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """A translated pipeline: what it is called in the store, its body, and what it is tried on."""

    name: str
    body: Mapping[str, Any]
    tried: tuple[Tried, ...]


def name_of(template: str) -> str:
    """What the translated pipeline is called beside a template."""
    return f"{template}-logstash"


def rehearsal(folder: Path, template: str, *, then: str) -> Rehearsal | None:
    """The pipeline of the logstash.conf of a folder of policies; None where it has none.

    Args:
        folder: the folder.
        template: what the index template is called.
        then: the store's own pipeline, which records go through after Logstash; "" where there is none.

    Raises:
        StackError: it cannot be read or translated (in a copy of policies that were loaded it can), or a schema is
            beyond us.
    """
    path = folder / FILE
    try:
        if not path.exists():
            return None
        parsed = translated(path.read_text(encoding="utf-8"), FILE)
        if parsed.value is None or parsed.findings:
            raise StackError(f"{FILE} cannot be translated", seen=str(next(iter(parsed.findings), "nothing")))
        found = [records.parse(one.read_text(encoding="utf-8"), one.name, one.name) for one in folder.glob(SCHEMAS)]
    except (OSError, ValueError) as error:
        raise StackError(f"What Logstash was to do cannot be read from {folder}", seen=str(error)) from error
    schemas = sorted((one.value for one in found if one.value is not None), key=lambda one: one.source)
    tried = tuple(one for schema in schemas for one in _tried(schema, parsed.value.reads_lines))
    return Rehearsal(name_of(template), parsed.value.body(then=then), tried)


def _tried(schema: RecordSchema, lines: bool) -> Sequence[Tried]:
    made = specimens(schema)
    if not made:
        raise StackError(
            f"No record could be made that {schema.file} allows: what {FILE} does to one cannot be tried",
            hint="give its fields `examples`",
        )
    around = {"fields": {"log": schema.source}, "@timestamp": "2026-11-30T05:00:00.000Z"}
    read = [Tried(schema, "read", {**around, **one}) for one in made]
    if not lines:
        return read
    return [*read, *(Tried(schema, "line", {**around, "message": orjson.dumps(one).decode()}) for one in made)]


async def rehearse(search: Search, told: Rehearsal) -> int:
    """Installs a translated pipeline and tries it; how many records came out of it as they should.

    Raises:
        StackError: the store does not take it, or a record comes out of it that its schema does not allow.
    """
    path = f"/_ingest/pipeline/{told.name}"
    what = f"The store at {search.address} did not take {FILE}, translated into the ingest pipeline {told.name}"
    await search.done("PUT", path, told.body, what=what)
    if not told.tried:
        return 0
    body = {"docs": [{"_index": "tried", "_id": "1", "_source": one.document} for one in told.tried]}
    what = f"The store at {search.address} did not try the ingest pipeline {told.name}"
    answer = await search.done("POST", f"{path}/_simulate", body, what=what)
    found = answer.get("docs") if isinstance(answer, dict) else None
    if not isinstance(found, list) or len(found) != len(told.tried):
        raise StackError(what, expected=f"{len(told.tried)} records", seen=str(answer)[:300])
    validators = {one.schema.source: jsonschema_rs.validator_for(dict(one.schema.document)) for one in told.tried}
    kept = dict.fromkeys(validators, 0)
    for one, made in zip(told.tried, found, strict=True):
        if made is None:
            continue  # dropped
        wrong = _wrong(validators[one.schema.source], made)
        if wrong:
            raise StackError(
                f"{FILE} makes of a record of {one.schema.source!r} what {one.schema.file} does not allow",
                expected=f"a record that comes as a {one.form} one comes out as its schema says, and no filter fails",
                seen=f"{wrong}; it came as {orjson.dumps(one.document).decode()[:300]}",
                hint="docs/logstash.md says how filters are translated",
            )
        kept[one.schema.source] += 1
    gone = next((source for source, count in kept.items() if not count), None)
    if gone is not None:
        raise StackError(f"{FILE} drops every record of {gone!r}", expected="one at least that is kept")
    return sum(kept.values())


def _wrong(validator: jsonschema_rs.Validator, made: Any) -> str:
    """What is wrong with a record as it came out; "" where nothing is."""
    if not isinstance(made, dict) or "doc" not in made:
        return f"the store says {orjson.dumps(made).decode()[:300]}"
    source = made["doc"]["_source"]
    event = source.get("event")
    if isinstance(event, dict) and "ingest_error" in event:
        return f"a processor failed: {event['ingest_error']}"
    tags = source.get("tags")
    marks = sorted(_MARKS.intersection(one for one in tags if isinstance(one, str))) if isinstance(tags, list) else []
    if marks:
        return f"it is tagged {', '.join(marks)}"
    error = next(validator.iter_errors(source), None)
    return "" if error is None else f"{'.'.join(map(str, error.instance_path)) or 'the record'}: {error.message}"
