"""The operator's saved queries: read with places, and held against what the index template maps."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml
from policy_folders import CHANNELS, FAULTS, KINDS, SHIPPED

from harness.errors import PolicyError
from harness.model.findings import Finding, Severity
from harness.policy.parse import queries
from harness.policy.parse.policies import load

TEMPLATE = (SHIPPED / "elasticsearch" / "index-template.json").read_text(encoding="utf-8")
FIELDS = queries.fields_of(TEMPLATE, "t.json")
SORT = [{"@timestamp": "desc"}]


def ids(source: object, **more: object) -> list[str]:
    """What is found in a query, with the place of each."""
    text = json.dumps({"source": source, **more}, indent=1)
    parsed = queries.parse(text, "q.json", "elasticsearch/queries/q.json", FIELDS)
    assert all(finding.span.file == "q.json" and finding.span.line > 0 for finding in parsed.findings)
    return [finding.id for finding in parsed.findings]


def test_the_template_s_fields() -> None:
    """Nested ones with dots, each with its type."""
    assert FIELDS["metadata.requestId"] == "keyword"
    assert FIELDS["error.message"] == "text"
    assert FIELDS["@timestamp"] == "date"
    assert "metadata" not in FIELDS


@pytest.mark.parametrize(
    "path", sorted((SHIPPED / "elasticsearch" / "queries").glob("*.json")), ids=lambda path: path.stem
)
def test_the_shipped_queries_are_right(path: Path) -> None:
    """Without a finding; and filled in, nothing is left of a parameter."""
    parsed = queries.parse(path.read_text(), path.name, f"elasticsearch/queries/{path.name}", FIELDS)
    assert parsed.findings == ()
    assert parsed.value is not None
    assert parsed.value.name == path.stem
    assert "{{" not in json.dumps(parsed.value.body({}))
    asked = dict.fromkeys(parsed.value.params, 'a"b\\')
    assert 'a\\"b\\\\' in json.dumps(parsed.value.body(asked))


def test_a_field_that_is_not_mapped_is_told_at_its_place() -> None:
    """In any clause, in the sort, in a list of fields; with the nearest that there is."""
    text = '{"source": {"query": {"term": {"metadata.requestid": "x"}},\n"sort": [{"@timestamp": "desc"}]}}'
    [finding] = queries.parse(text, "q.json", "q.json", FIELDS).findings
    assert (finding.id, str(finding.span)) == ("query/unknown-field", "q.json:1:32")
    assert "metadata.requestId" in finding.fix
    for query in (
        {"bool": {"must_not": [{"range": {"nope": {"gte": 1}}}]}},
        {"exists": {"field": "nope"}},
        {"multi_match": {"query": "x", "fields": ["nope^2", "message"]}},
        {"query_string": {"query": "x", "default_field": "nope"}},
    ):
        assert ids({"query": query, "sort": SORT}) == ["query/unknown-field"], query
    assert ids({"query": {"match_all": {}}, "sort": [*SORT, "nope"]}) == ["query/unknown-field"]
    assert ids({"query": {"multi_match": {"query": "x", "fields": ["error.*"]}}, "sort": SORT}) == []


def test_parameters_without_a_value_or_a_place() -> None:
    """Both are told."""
    asked = {"query": {"term": {"level": "{{level}}"}}, "sort": SORT}
    assert ids(asked, params={"level": "ERROR"}) == []
    assert ids(asked) == ["query/unknown-parameter"]
    assert ids(asked, params={"level": "ERROR", "user": "1"}) == ["query/unused-parameter"]


def test_an_order_that_no_operator_wants() -> None:
    """Oldest first, by score, by a text."""
    anything: dict[str, object] = {"query": {"match_all": {}}}
    assert ids({**anything, "sort": {"@timestamp": {"order": "desc"}}}) == []
    for sort in ([{"@timestamp": "asc"}], ["_score"], ["@timestamp"], [{"level": "desc"}]):
        assert ids({**anything, "sort": sort}) == ["query/order"], sort
    assert ids(anything) == ["query/order"]
    assert ids({**anything, "sort": [{"message": "desc"}]}) == ["query/sort", "query/order"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"source": }', "query/not-json"),
        ("[]", "query/shape"),
        ("{}", "query/no-query"),
        ('{"source": {"size": 1}}', "query/no-query"),
        ('{"source": [1]}', "query/shape"),
        ("", "query/not-json"),
    ],
)
def test_what_is_no_query(text: str, found: str) -> None:
    """A finding, and nothing is tried."""
    parsed = queries.parse(text, "q.json", "q.json", FIELDS)
    assert parsed.value is None
    assert [finding.id for finding in parsed.findings] == [found]


def test_queries_are_loaded_with_the_policies(tmp_path: Path) -> None:
    """The shipped five; one that cannot work keeps the policies from running, and the twin without it does not."""
    root = tmp_path / "policies"
    shutil.copytree(SHIPPED, root)

    def loaded() -> list[str]:
        logs = load(root, faults=FAULTS, channels=CHANNELS, components=KINDS).policies.logs
        assert logs is not None
        assert logs.search is not None
        return [one.name for one in logs.search.queries]

    assert loaded() == ["by-request-id", "by-user", "errors-of-the-last-hour", "full-text", "logs-of-an-alert"]
    bad = root / "elasticsearch" / "queries" / "bad.json"
    bad.write_text('{"source": {"query": {"term": {"lvel": "x"}}}}')
    with pytest.raises(PolicyError) as refused:
        loaded()
    assert {finding.id for finding in refused.value.findings} >= {"query/unknown-field"}


@pytest.mark.parametrize("left", [None, (), ("notes.txt",)], ids=["no folder", "empty", "other files"])
def test_a_store_that_nobody_asks_is_told(tmp_path: Path, left: tuple[str, ...] | None) -> None:
    """A warning at the store in stack.yaml; the policies are loaded, and nothing is searched."""
    root = tmp_path / "policies"
    shutil.copytree(SHIPPED, root)
    shutil.rmtree(root / "elasticsearch" / "queries")
    if left is not None:
        (root / "elasticsearch" / "queries").mkdir()
    for name in left or ():
        (root / "elasticsearch" / "queries" / name).write_text("{}")
    [finding] = searched(root)
    lines = (root / "stack.yaml").read_text().splitlines()
    assert (finding.id, finding.severity) == ("query/none", Severity.WARNING)
    assert finding.span.file == str(root / "stack.yaml")
    assert "elasticsearch" in lines[finding.span.line - 1]
    assert f"{root / 'elasticsearch' / 'queries'} holds no search" in finding.summary
    assert "elasticsearch/queries/*.json" in finding.details
    assert '"source"' in finding.fix


def test_who_asks_or_keeps_no_logs_is_not_told(tmp_path: Path) -> None:
    """The twins: one query is enough, and without a store there is nothing to ask."""
    root = tmp_path / "policies"
    shutil.copytree(SHIPPED, root)
    for path in (root / "elasticsearch" / "queries").glob("[!e]*.json"):
        path.unlink()
    assert searched(root) == []
    shutil.rmtree(root / "elasticsearch" / "queries")
    stack = yaml.safe_load((root / "stack.yaml").read_text())
    stack["components"] = [one for one in stack["components"] if one["kind"] not in {"elasticsearch", "filebeat"}]
    (root / "stack.yaml").write_text(yaml.safe_dump(stack, sort_keys=False))
    assert searched(root) == []


def searched(root: Path) -> list[Finding]:
    """What is found of queries in a folder."""
    findings = load(root, faults=FAULTS, channels=CHANNELS, components=KINDS).findings
    return [one for one in findings if one.id.startswith("query/")]
