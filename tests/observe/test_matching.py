"""A query, evaluated over what is known of a record: it finds it, it does not, or nobody can say."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from harness.model.records import Announced
from harness.observe.records.announcements import OfAnnouncement
from harness.observe.records.matching import Between, Matcher, NotHeldError, OfDocument
from harness.observe.records.searching import Hit, newest_first

NOW = 1_800_000_000.0
FIELDS = {
    "level": "keyword",
    "status": "integer",
    "duration": "double",
    "message": "text",
    "error.message": "text",
    "fields.log": "keyword",
    "fields.environment": "keyword",
    "metadata.requestId": "keyword",
    "@timestamp": "date",
}
DOCUMENT = OfDocument(
    {
        "@timestamp": "2027-01-15T07:50:00.000Z",
        "level": "ERROR",
        "status": 500,
        "duration": 12.5,
        "tags": ["error", "json"],
        "error": {"message": "Deadlock found when trying; (1213)"},
        "metadata.requestId": "r1",
        "fields": {"log": "application", "environment": None},
    }
)
ANNOUNCED = OfAnnouncement(
    Announced("run/application.lane-1.1/1", NOW - 600, "application", "lane-1", "ERROR", "d"),
    frozenset({"application"}),
)


@pytest.mark.parametrize(
    ("query", "document", "announced"),
    [
        ({"match_all": {}}, True, True),
        ({"term": {"level": "ERROR"}}, True, True),
        ({"term": {"level": {"value": "INFO"}}}, False, False),
        ({"term": {"level": "error"}}, False, False),
        ({"terms": {"status": [404, 500]}}, True, None),
        ({"term": {"status": "500"}}, True, None),
        ({"term": {"tags": "json"}}, True, None),
        ({"term": {"metadata.requestId": "r2"}}, False, None),
        ({"prefix": {"metadata.requestId": "r"}}, True, None),
        ({"exists": {"field": "fields.environment"}}, False, True),
        ({"exists": {"field": "error.message"}}, True, None),
        ({"match": {"error.message": "deadlock nonsense"}}, True, None),
        ({"match": {"error.message": {"query": "deadlock nonsense", "operator": "and"}}}, False, None),
        ({"match_phrase": {"error.message": "when TRYING 1213"}}, True, None),
        ({"match_phrase": {"error.message": "trying when"}}, False, None),
        ({"match": {"level": "ERROR"}}, True, True),
        ({"multi_match": {"query": "found", "fields": ["message", "error.message^2"]}}, True, None),
        ({"multi_match": {"query": "lost", "fields": ["message", "error.message"]}}, False, None),
        ({"range": {"duration": {"gt": 12.5}}}, False, None),
        ({"range": {"duration": {"gte": 12.5, "lt": 13}}}, True, None),
        ({"range": {"@timestamp": {"gte": "now-1h"}}}, True, True),
        ({"range": {"@timestamp": {"gte": "now-5m"}}}, False, False),
        ({"range": {"@timestamp": {"gte": "now-10m"}}}, None, None),
        ({"range": {"@timestamp": {"gte": "2027-01-15T07:00:00Z", "lte": "2027-01-15T07:49:59Z"}}}, False, None),
        ({"bool": {"must_not": [{"term": {"level": "ERROR"}}]}}, False, False),
        ({"bool": {"must_not": {"term": {"status": 200}}}}, True, None),
        ({"bool": {"filter": [{"term": {"status": 500}}, {"term": {"level": "INFO"}}]}}, False, False),
        ({"bool": {"should": [{"term": {"level": "INFO"}}, {"term": {"level": "ERROR"}}]}}, True, True),
        ({"bool": {"should": [{"term": {"level": "INFO"}}], "filter": {"match_all": {}}}}, True, True),
        ({"bool": {"should": [{"term": {"level": "INFO"}}, {"term": {"status": 1}}], "minimum_should_match": 1}},
         False, None),
        ({"constant_score": {"filter": {"term": {"fields.log": "application"}}}}, True, True),
    ],
    ids=str,
)  # fmt: skip
def test_what_a_query_finds(query: Mapping[str, object], document: bool, announced: bool | None) -> None:
    """Of a whole document everything is known; of an announcement some, and the rest is not guessed."""
    matches = Matcher(query, FIELDS, NOW)
    assert matches(DOCUMENT) is document
    assert matches(ANNOUNCED) is announced


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"term": {"level": "x"}, "exists": {"field": "y"}},
        {"query_string": {"query": "level:ERROR"}},
        {"term": {"level": "x", "status": 1}},
        {"range": {"@timestamp": {"gte": "yesterday"}}},
        {"range": {"@timestamp": {"gte": "now/d"}}},
        {"range": {"duration": {"gte": "long"}}},
        {"multi_match": {"query": "x", "fields": ["error.*"]}},
        {"multi_match": {"query": "x", "fields": ["message"], "type": "cross_fields"}},
        {"term": {"@timestamp": "now"}},
        {"bool": {"filter": [{"script": {}}]}},
    ],
    ids=str,
)
def test_what_cannot_be_evaluated_is_said(query: Mapping[str, object]) -> None:
    """Rather than guessed."""
    with pytest.raises(NotHeldError):
        Matcher(query, FIELDS, NOW)(DOCUMENT)


def test_the_newest_first() -> None:
    """By what was announced; what may be either way is right, and so is a record whose clock was stepped."""
    must = {"a": Between(10, 12), "b": Between(9, 11), "c": Between(1, 3)}
    hits = {name: Hit(name, known, True) for name, known in must.items()}
    assert newest_first([hits["a"], hits["b"], hits["c"]], must)
    assert newest_first([hits["b"], hits["a"], hits["c"]], must)
    assert not newest_first([hits["a"], hits["c"], hits["b"]], must)
    assert newest_first([hits["a"], Hit("c", Between(99, 99), True), hits["b"]], must)
    assert newest_first([], must)
