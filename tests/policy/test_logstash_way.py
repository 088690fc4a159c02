"""logstash.conf between Filebeat and the store: loaded, held together with both, and its filters alone in the copy."""

from __future__ import annotations

from pathlib import Path

import pytest
from policy_folders import loaded
from test_logs import copied, folder, ours, with_logs

from harness.errors import PolicyError
from harness.model.findings import Severity
from harness.policy.rewire import logstash
from harness.policy.rewire.rewiring import rewire

OUT = "output.elasticsearch:"
TO_LOGSTASH = 'output.logstash:\n  hosts: ["logstash:5044"]\noutput.unused:'


def told(root: Path) -> dict[str, tuple[Severity, str]]:
    """Findings of Logstash by id: how bad, and the line."""
    try:
        findings = ours(root).findings
    except PolicyError as error:
        findings = error.findings
    return {
        one.id: (one.severity, f"{Path(one.span.file).name}:{one.span.line}")
        for one in findings
        if one.id.startswith("logstash/")
    }


def test_the_shipped_file_agrees_with_the_way_past_it() -> None:
    """Port, store and index are Filebeat's; that it is passed by is told, and nothing else."""
    found = loaded()
    logs = found.policies.logs
    assert logs is not None
    piped = logs.logstash
    assert piped is not None
    assert (piped.ports, piped.hosts) == ((5044,), logs.hosts)
    assert piped.indices == ("community-platform-%{+YYYY.MM.dd}",)
    assert "logs/error.schema.json" in piped.schemas
    assert {"logstash.conf", *piped.schemas} <= set(found.policies.documents)
    assert not [one for one in found.findings if one.id.startswith("logstash/")]


def test_a_folder_without_it_is_whole(tmp_path: Path) -> None:
    """Nothing is asked of Logstash where a team has none."""
    root = folder(tmp_path, {"logstash.conf": None})
    logs = ours(root).policies.logs
    assert logs is not None
    assert logs.logstash is None
    assert told(root) == {}


@pytest.mark.parametrize(
    ("edits", "ident", "severity", "place"),
    [
        ({"logstash.conf": ("+YYYY.MM.dd", "+YYYY.MM")}, "index", Severity.WARNING, "logstash.conf:36"),
        ({"logstash.conf": ("elasticsearch:9200", "other:9200")}, "host", Severity.WARNING, "logstash.conf:35"),
        ({"logstash.conf": ("port => 5044", 'port => "x"')}, "port", Severity.ERROR, "logstash.conf:5"),
        ({"logstash.conf": ("port => 5044", "codec => json")}, "untranslated", Severity.ERROR, "logstash.conf:5"),
        ({"logstash.conf": ("beats {", "tcp {")}, "input", Severity.WARNING, "logstash.conf:5"),
        (
            {"logstash.conf": ("  elasticsearch {", "  stdout { }\n  elasticsearch {")},
            "output",
            Severity.WARNING,
            "logstash.conf:34",
        ),
        ({"logstash.conf": ("document_id", "routing")}, "no-identity", Severity.WARNING, "logstash.conf:34"),
        ({"logstash.conf": ("mutate {", "ruby {")}, "untranslated", Severity.ERROR, "logstash.conf:29"),
        ({"logstash.conf": ("filter {", "filter")}, "syntax", Severity.ERROR, "logstash.conf:10"),
    ],
)
def test_every_disagreement_is_told_where_it_stands(
    tmp_path: Path, edits: dict[str, tuple[str, str]], ident: str, severity: Severity, place: str
) -> None:
    """An edit of one place of the shipped file, and the finding that it makes."""
    assert told(folder(tmp_path, edits))[f"logstash/{ident}"] == (severity, place)


def test_filebeat_that_sends_to_logstash_must_meet_it(tmp_path: Path) -> None:
    """The same port is well, another is an error in filebeat.yml; then nothing is said of passing by."""
    right = told(folder(tmp_path / "a", {"filebeat.yml": (OUT, TO_LOGSTASH)}))
    assert right == {}
    wrong = told(folder(tmp_path / "b", {"filebeat.yml": (OUT, TO_LOGSTASH.replace("5044", "5045"))}))
    assert {one: severity for one, (severity, _) in wrong.items()} == {"logstash/port": Severity.ERROR}


def test_the_copy_has_the_filters_alone_at_their_lines(tmp_path: Path) -> None:
    """Passwords and addresses of production are in no copy; places still lead to the team's own file."""
    root = folder(tmp_path, {"logstash.conf": ("manage_template => false", 'password => "hunter2"')})
    policies = ours(root).policies
    found = rewire(policies, with_logs())
    text, original = found.files["logstash.conf"], policies.documents["logstash.conf"]
    assert "hunter2" in original
    assert "hunter2" not in text
    assert "elasticsearch" not in text
    assert text.split("\n")[7:31] == original.split("\n")[7:31]
    assert [(one.file, one.path) for one in found.differences if one.file == "logstash.conf"] == [
        ("logstash.conf", "input"),
        ("logstash.conf", "output"),
    ]
    assert copied(tmp_path / "other")["output.elasticsearch"]["hosts"]


def test_sections_on_one_line_are_told_apart() -> None:
    """A filter keeps its column."""
    text, _ = logstash.rewire('input { a { b => "x" } } filter { drop { } } output { c { } }', "f")
    assert text == " " * 25 + "filter { drop { } }"
