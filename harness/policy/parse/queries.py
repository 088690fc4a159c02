"""The operator's queries, `elasticsearch/queries/*.json`: bodies of `POST <indices>/_search/template`.

A field that the index template does not map is found by nothing, and the store says nothing of it: that is a finding.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Any, Final

import orjson

from harness.model.findings import Subject
from harness.model.searching import PARAMETER, SavedQuery
from harness.policy.parse import json_tree
from harness.policy.parse.dotted import find
from harness.policy.parse.reading import Parsed, Reading
from harness.policy.parse.suggest import hint
from harness.policy.parse.yaml import Items, Node, Scalar, Table

FOLDER: Final = "elasticsearch/queries"
PATTERN: Final = f"{FOLDER}/*.json"

_BY_FIELD: Final = frozenset(
    {"term", "terms", "match", "match_phrase", "match_phrase_prefix", "match_bool_prefix"}
    | {"range", "prefix", "wildcard", "regexp", "fuzzy"}
)
"""Clauses whose one key is a field."""

_OVER_FIELDS: Final = frozenset({"multi_match", "query_string", "simple_query_string"})
_OF_ITSELF: Final = frozenset({"_id", "_index", "_score", "_doc", "_shard_doc"})
_BESIDE: Final = frozenset({"boost", "_name"})


def fields_of(text: str, file: str) -> Mapping[str, str]:
    """The fields that an index template maps, with dots between, each with its type; none where it is no template."""
    document = json_tree.read(Reading("elasticsearch", file), text)
    properties = find(document, "template.mappings.properties") if document is not None else None
    return dict(_mapped(properties, "")) if isinstance(properties, Table) else {}


def parse(text: str, file: str, name: str, fields: Mapping[str, str]) -> Parsed[SavedQuery | None]:
    """Reads one query.

    Args:
        text: the file's text.
        file: how it is shown in findings.
        name: its path relative to the policies folder.
        fields: what the index template maps, from `fields_of`.
    """
    reading = Reading("query", file)
    document = json_tree.read(reading, text)
    if document is None:
        return Parsed(None, tuple(reading.findings))
    source = reading.table(document.get("source"), "source")
    query = reading.table(source.get("query"), "source.query") if source is not None else None
    if source is None or query is None:
        if not reading.findings:
            reading.error(
                "no-query",
                document.span,
                "the file has no `source` with a `query` in it",
                fix='write what `POST _search/template` takes: {"source": {"query": ...}, "params": {...}}',
            )
        return Parsed(None, tuple(reading.findings))
    params = reading.strings(document.get("params"), "params")
    for field in (*_asked(query), *_sorted_by(source.get("sort"))):
        _known(reading, field, fields)
    _parameters(reading, document, source, params)
    _order(reading, source, fields)
    body: Any = orjson.loads(text)
    return Parsed(SavedQuery(PurePosixPath(name).stem, name, body["source"], params), tuple(reading.findings))


def _mapped(properties: Table, before: str) -> Iterator[tuple[str, str]]:
    for entry in properties.entries:
        if not isinstance(entry.value, Table):
            continue
        path = before + entry.key.text
        kind = entry.value.get("type")
        if isinstance(kind, Scalar):
            yield path, kind.text
        for inner in ("properties", "fields"):
            more = entry.value.get(inner)
            if isinstance(more, Table):
                yield from _mapped(more, f"{path}.")


def _asked(query: Node | None) -> Iterator[Scalar]:
    """Every field that the clauses of a query ask for."""
    if isinstance(query, Items):
        for item in query.items:
            yield from _asked(item)
    if not isinstance(query, Table):
        return
    for entry in query.entries:
        name, value = entry.key.text, entry.value
        if name in _BY_FIELD and isinstance(value, Table):
            yield from (one.key for one in value.entries if one.key.text not in _BESIDE)
        elif name == "exists" and isinstance(value, Table):
            field = value.get("field")
            yield from (field,) if isinstance(field, Scalar) else ()
        elif name in _OVER_FIELDS and isinstance(value, Table):
            for key in ("fields", "default_field"):
                named = value.get(key)
                items = named.items if isinstance(named, Items) else (named,)
                yield from (one for one in items if isinstance(one, Scalar))
        else:
            yield from _asked(value)


def _sorted_by(sort: Node | None) -> Iterator[Scalar]:
    for item in sort.items if isinstance(sort, Items) else (sort,):
        if isinstance(item, Scalar):
            yield item
        elif isinstance(item, Table):
            yield from (entry.key for entry in item.entries)


def _known(reading: Reading, field: Scalar, fields: Mapping[str, str]) -> None:
    name = field.text.partition("^")[0]
    if name in _OF_ITSELF or any(fnmatchcase(one, name) for one in fields):
        return
    reading.error(
        "unknown-field",
        field.span,
        f"the index template does not map {name!r}: a search for it finds nothing",
        fix=f"{hint(name, fields)}, or map it in elasticsearch/index-template.json",
        about=Subject("field", name),
    )


def _parameters(reading: Reading, document: Table, source: Table, params: Mapping[str, str]) -> None:
    """Every `{{name}}` has a value in `params`, and every value a place."""
    used = {name: scalar for scalar in _texts(source) for name in PARAMETER.findall(scalar.text)}
    for name, scalar in used.items():
        if name not in params:
            reading.error(
                "unknown-parameter",
                scalar.span,
                f"{{{{{name}}}}} has no value in `params`",
                fix=f'add `"{name}": "..."` to `params`, an example that whoever asks replaces',
            )
    table = document.get("params")
    for entry in table.entries if isinstance(table, Table) else ():
        if entry.key.text not in used:
            reading.warning(
                "unused-parameter", entry.key.span, f"the query has no place for the parameter {entry.key.text!r}"
            )


def _order(reading: Reading, source: Table, fields: Mapping[str, str]) -> None:
    """An operator reads the newest first; a text cannot be sorted by."""
    sort = source.get("sort")
    for field in _sorted_by(sort):
        if fields.get(field.text) == "text":
            reading.error("sort", field.span, f"{field.text} is a text, which the store does not sort by")
    first = sort.items[0] if isinstance(sort, Items) and sort.items else sort
    entry = first.entries[0] if isinstance(first, Table) and first.entries else None
    way = find(entry.value, "order") if entry is not None and isinstance(entry.value, Table) else None
    spelled = entry.value if entry is not None and isinstance(entry.value, Scalar) else way
    newest = (
        entry is not None
        and fields.get(entry.key.text) == "date"
        and isinstance(spelled, Scalar)
        and spelled.text == "desc"
    )
    if not newest:
        reading.warning(
            "order",
            (sort or source).span,
            "the newest records do not come first",
            fix='write `"sort": [{"@timestamp": "desc"}]`',
        )


def _texts(node: Node) -> Iterator[Scalar]:
    if isinstance(node, Scalar):
        yield node
    for part in node.items if isinstance(node, Items) else ():
        yield from _texts(part)
    for entry in node.entries if isinstance(node, Table) else ():
        yield from _texts(entry.value)
